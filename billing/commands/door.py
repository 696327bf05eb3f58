"""What every verb shares: --json, --verbose, --actor, the engine it opens, and the one answer it gives."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import rich_click as click
from click.exceptions import Exit

from billing.errors import DatabaseUnavailable, RuleError, SettingsError

if TYPE_CHECKING:
    from billing.app import Billing
    from billing.commands.words import Words
    from billing.settings import Settings

Verb = Callable[..., int | None]


class Door:
    """One call of one verb."""

    def __init__(self, *, as_json: bool, is_verbose: bool = False, actor: str | None = None) -> None:
        self.as_json = as_json
        self._is_verbose = is_verbose
        self._actor = actor
        self._open = ExitStack()

    def __enter__(self) -> Door:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    @functools.cached_property
    def settings(self) -> Settings:
        """What `BILLING_*` says.

        Raises:
            SettingsError: it does not fit together.
        """
        from billing.settings import Settings

        return Settings.from_env()

    @functools.cached_property
    def app(self) -> Billing:
        """The engine, on a database that is there already."""
        self._refuse_without_file()
        return self.founding_app

    @functools.cached_property
    def founding_app(self) -> Billing:
        """The engine, for the verbs that may make the database."""
        from billing.app import Billing

        return self._open.enter_context(Billing(self.settings))

    def served(self, buckets: range) -> Billing:
        """The engine of a process that stays, for the customers of these buckets; from here on logs are JSON."""
        from billing.app import Billing
        from billing.logs import for_process

        self._refuse_without_file()
        for_process(is_verbose=self._is_verbose)
        return self._open.enter_context(Billing(self.settings, buckets=buckets))

    def _refuse_without_file(self) -> None:
        missing = missing_file(self.settings)
        if missing is not None:
            raise DatabaseUnavailable(f"there is no database {missing} here; run `billing init`, or check BILLING_DATABASE_URL")

    @property
    def actor(self) -> str:
        """Who is written to the audit trail."""
        # Whichever engine the verb opened; asking for it must not make a database where none is.
        engine = self.__dict__.get("founding_app") or self.app
        actor = engine.actor if self._actor is None else self._actor
        if not actor.strip() or len(actor) > 200 or not actor.isprintable():
            raise RuleError("--actor", "must be a name of at most 200 printable characters", "write for example --actor mina")
        return actor

    def answer(self, document: Mapping[str, Any], words: Callable[[Words], None]) -> None:
        """Print the outcome: the document with --json, else the words."""
        if self.as_json:
            is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
            print(json.dumps(document, ensure_ascii=not is_unicode, indent=2))  # noqa: T201  (this is the command line)
            return
        from billing.commands.words import Words

        try:
            zone = self.settings.zone
        except SettingsError:  # only `doctor` has something to say about settings that do not fit
            zone = ZoneInfo("Asia/Seoul")
        words(Words(zone))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be undone, where somebody is there to answer.

        Raises:
            RuleError: the answer was no.
        """
        if yes or self.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return
        if not click.confirm(question, err=True):
            raise RuleError("--yes", "not confirmed, nothing was changed")


def missing_file(settings: Settings) -> str | None:
    """The SQLite file the settings name, when it does not exist yet: opening it would leave an empty one behind."""
    url = settings.database_url.get_secret_value()
    name = url.partition("?")[0].partition("///")[2]
    if not url.startswith("sqlite") or not name or name == ":memory:" or "file:" in name:
        return None
    return None if Path(name).exists() else name


def verb(*, changes: bool = False) -> Callable[[Verb], Callable[..., None]]:
    """Make a function a verb: it gets a `Door` first, and returns its exit status (None is 0).

    Args:
        changes: it changes something, so it takes --actor.
    """

    def decorate(function: Verb) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, as_json: bool, verbose: bool, actor: str | None = None, **kwargs: Any) -> None:
            from billing.logs import for_command_line

            for_command_line(is_verbose=verbose)
            with Door(as_json=as_json, is_verbose=verbose, actor=actor) as door:
                status = function(door, *args, **kwargs)
            raise Exit(status or 0)

        wrapped: Callable[..., None] = click.option("--verbose", is_flag=True, help="Tell on stderr what is being done.")(run)
        wrapped = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of words.")(wrapped)
        if changes:
            wrapped = click.option("--actor", metavar="NAME", help="Who does this, for the audit trail. [default: OS user]")(
                wrapped
            )
        return wrapped

    return decorate


def paged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a list --limit and --after."""
    wrapped = click.option("--after", metavar="ID", help="Go on after this one, the last of the page before.")(function)
    return click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")(wrapped)


def page(noun: str, rows: list[dict[str, Any]], limit: int, *, by: str = "id") -> dict[str, Any]:
    """A page of a list: the rows, and what to give --after for the next one (None on the last)."""
    return {noun: rows, "next": rows[-1][by] if len(rows) == limit else None}
