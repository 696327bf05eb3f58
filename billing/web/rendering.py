"""Pages: templates, their words in each language, and the files beside them. Whatever is filled in is shown as text."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from billing.flow.inviting import LANGUAGES
from billing.settings import Settings
from billing.web.headers import FOR_EVER, page_headers
from plans.money import Money

_FOLDER = Path(__file__).parent / "pages"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_KOREA = ZoneInfo("Asia/Seoul")

_templates = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


class Language(NamedTuple):
    """A language pages are shown in."""

    code: str
    words: Mapping[str, Any]

    def amount(self, amount: int | None, currency: str) -> str:
        """An amount in minor units as people write it; empty for none."""
        if amount is None:
            return ""
        if currency == "KRW":
            return str(self.words["won"]).format(number=f"{amount:,}")
        return str(Money(amount, currency))

    def deadline(self, at: datetime | None) -> str:
        """Until when a deposit is taken, by the banks' clock, which is Korea's; empty where nobody said."""
        if at is None:
            return ""
        there = at.astimezone(_KOREA)
        return str(self.words["due"]).format(
            year=there.year,
            month=self.words["months"][there.month - 1],
            day=there.day,
            weekday=self.words["weekdays"][there.weekday()],
            time=f"{there:%H:%M}",
        )


@cache
def language(code: str) -> Language:
    """The language with this code, one of `LANGUAGES`."""
    return Language(code, tomllib.loads((_FOLDER / f"{code}.toml").read_text(encoding="utf-8")))


def language_of(request: Request, code: str | None = None) -> Language:
    """The language to answer in: what the address asks for, else `code`, else what the browser would rather read."""
    wishes = [request.query_params.get("lang", ""), code or ""]
    wishes += [part.partition(";")[0].strip()[:2].lower() for part in request.headers.get("accept-language", "").split(",")]
    return language(next((wish for wish in wishes if wish in LANGUAGES), LANGUAGES[0]))


class StaticFile(NamedTuple):
    """A file beside the pages, under a name that changes with its content."""

    name: str
    media_type: str
    content: bytes


@cache
def static_files() -> Mapping[str, StaticFile]:
    """The files by the name they have on disk."""
    found = {}
    for path in sorted((_FOLDER / "static").iterdir()):
        if path.suffix in _KINDS:
            content = path.read_bytes()
            name = f"{path.stem}.{sha256(content).hexdigest()[:12]}{path.suffix}"
            found[path.name] = StaticFile(name, _KINDS[path.suffix], content)
    return found


def static_answer(name: str) -> Response:
    """A file by the name pages link to; kept by browsers for as long as they like."""
    for one in static_files().values():
        if one.name == name:
            return Response(one.content, media_type=one.media_type, headers=FOR_EVER)
    return Response(status_code=404)


def page(
    template: str,
    spoken: Language,
    settings: Settings,
    *,
    root: str,
    status: int = 200,
    headers: Mapping[str, str] = {},
    **facts: Any,
) -> HTMLResponse:
    """A page.

    Args:
        root: the way from the page's own address to where the routes are mounted, such as `../`. Links are relative, so
            they hold under any prefix and behind any proxy, and no header of a request comes to stand in one.

    Raises:
        SettingsError: nobody has said where we are mounted.
    """
    html = _templates.get_template(template).render(
        language=spoken.code,
        words=spoken.words,
        mode=settings.mode.value,
        root=root,
        static={name: one.name for name, one in static_files().items()},
        **facts,
    )
    return HTMLResponse(html, status, {**page_headers(settings), **headers})
