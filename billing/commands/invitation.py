"""What `card window` and `invoice window` share: how a link is wished for, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door
from billing.errors import RuleError

if TYPE_CHECKING:
    from billing.checkouts import Invitation
    from billing.commands.words import Words

_FILE_BYTES_MAX = 65_536
_HOURS_MAX = 720


def invites(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb that makes a link --hours, --language, --return-url and --options; `wished` reads them."""
    options = (
        click.option(
            "--hours", type=click.IntRange(1, _HOURS_MAX), default=24, show_default=True, help="How long the link is good."
        ),
        click.option("--language", metavar="ko|en", default="ko", show_default=True, help="Of the page and of the window."),
        click.option("--return-url", metavar="URL", default="", help="Where the page sends the buyer afterwards."),
        click.option(
            "--options",
            "file",
            metavar="FILE",
            default="",
            help="JSON file: further parameters of the window, in the PG's names.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def wished(*, hours: int, language: str, return_url: str, file: str) -> dict[str, Any]:
    """The options of `invites`, as `Billing.checkouts` takes them.

    Raises:
        RuleError: the file cannot be read, or is no JSON object; names the line.
    """
    options = _read(file) if file else {}
    return {"lifetime": timedelta(hours=hours), "language": language, "return_url": return_url, "options": options}


def told(door: Door, made: Invitation, what: str, about: dict[str, Any]) -> None:
    """Print the link, what it does, and how careful to be with it."""
    document = {
        "checkout_id": made.checkout_id,
        "purpose": made.purpose.value,
        **about,
        "url": made.url,
        "expires_at": made.expires_at.isoformat(),
    }

    def words(out: Words) -> None:
        out.whole(made.url)
        out.line(f"{what}, until {out.when(document['expires_at'])}.")
        out.hint("Whoever has the link can use it: give it to nobody else.")

    door.answer({"link": document}, words)


def _read(name: str) -> dict[str, Any]:
    try:
        with Path(name).open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # a ValueError: the name has a zero byte
        raise _wrong(name, f"cannot be read: {getattr(error, 'strerror', None) or 'no such file'}", "check the path") from None
    if len(content) > _FILE_BYTES_MAX:
        raise _wrong(name, f"is larger than {_FILE_BYTES_MAX:,} bytes", "window options are a few lines")
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _wrong(name, "is not UTF-8 text", "save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _wrong(f"{name}:{error.lineno}", f"is not JSON: {error.msg}", "mend that line") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or brackets without end
        raise _wrong(name, "is no JSON a window can be opened with", "window options are a few lines") from None
    if not isinstance(found, dict):
        raise _wrong(name, "is not a JSON object", "write names and values between { and }")
    return found


def _wrong(where: str, problem: str, cure: str) -> RuleError:
    return RuleError("--options", f"{where} {problem}", cure)
