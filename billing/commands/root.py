"""The group `billing`: its verbs, and the last word on every error.

Exit status: 0 done · 1 done, but the outcome is not the wished one · 2 refused · 3 gateway or database
unavailable · 4 frozen, guard missing or books disagree · 70 a bug of ours · 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
import rich_click

from billing.commands.lazy import LazyGroup

_PROVING = {
    "simulate": "Live through seeded months in which everything goes wrong, and check every promise.",
}
_FIRST_LOOK = {
    "demo": "Watch a year of subscription billing go by, in under a minute; no real money.",
}
_SETTING_UP = {
    "init": "Make the database ready: migrate it, name it, check its guards. Safe to repeat.",
    "doctor": "Say what is wrong with this configuration, and what to do about it.",
    "channel": "Read which channel serves what, and compare them with those the PG has.",
    "db": "Move the schema of the database, or say where it stands.",
    "clock": "Read or move the test clock (not in live mode).",
    "restore": "Make a restored or copied database the one that charges.",
    "freeze": "Stop all charging, allow it again, or say how it stands.",
}
_SELLING = {
    "plan": "Put plans on sale from plan files, list, compare and archive them.",
    "customer": "Add and look up those who pay.",
    "card": "Register, list and remove the cards of a customer; charge one that is typed in.",
    "subscription": "Start, look up, pause and cancel subscriptions.",
}
_COLLECTING = {
    "renew": "Do everything that is due now: renewals, retries, unknown outcomes.",
    "retry": "Charge open invoices now.",
    "invoice": "Look up invoices; invite to pay one, void one, or give it up.",
    "checkout": "Read who was invited to register a card or to pay.",
    "refund": "Give money back, look up and retry refunds.",
    "attempt": "Look up charge attempts; decide one that only a human can.",
    "events": "Read what the host is told, hand it over, and tell it again.",
    "webhook": "Read which notices the PG sent, look into some once more, and try the way they take.",
    "reconcile": "Compare the PG's own list of payments with the books.",
    "finding": "Read what differs between the PG and the books; explain it.",
    "verify": "Prove that books, ledger, attempts and the PG say the same.",
}
_PROCESSES = {
    "scheduler": "Run the process that renews, retries and resolves, until it is stopped.",
    "serve": "Serve the checkout pages and the addresses the PG calls, until it is stopped.",
    "sandbox": "Serve the fake PG over HTTP, with faults and magic cards.",
}
_PANELS = {
    "First look": _FIRST_LOOK,
    "Setting up": _SETTING_UP,
    "Selling": _SELLING,
    "Collecting": _COLLECTING,
    "Processes": _PROCESSES,
    "Proving": _PROVING,
}

VERBS = {name: (f"billing.commands.{name}", sentence) for verbs in _PANELS.values() for name, sentence in verbs.items()}
"""Verb → (module, sentence). A new verb is one line in a panel above and one file of that name."""


class Root(LazyGroup):
    """The outermost group: whatever goes wrong below ends here as one line and an exit status."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run, print, and end the process; never a traceback."""
        _leave_no_core()
        words = list(sys.argv[1:] if args is None else args)
        name = prog_name or "billing"
        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show ₩ or 한글 shows a question mark; a verb that has charged must not fail there.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        if not standalone_mode:
            return super().main(words, name, standalone_mode=False, **extra)
        try:
            status = super().main(words, name, standalone_mode=False, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read us has seen enough (`billing invoice list | head`).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 141
        except BaseException as error:  # noqa: BLE001 — a user never sees a traceback
            from billing.commands.mishaps import told

            status = told(error, words)
        sys.exit(status if isinstance(status, int) else 0)


def _leave_no_core() -> None:
    """A process that dies must not write its memory, and with it keys and cards, to a file."""
    try:
        import resource
    except ImportError:  # Windows writes none
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _tell_version(ctx: click.Context, _param: click.Parameter, is_wanted: bool) -> None:
    from billing.release import installed_version

    if is_wanted:
        click.echo(f"billing {installed_version()}")
        ctx.exit()


@rich_click.command(
    cls=Root,
    verbs=VERBS,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@rich_click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help="Show the version and exit."
)
@rich_click.rich_config(
    {
        "command_groups": {"billing": [{"name": name, "commands": list(verbs)} for name, verbs in _PANELS.items()]},
        "text_markup": "ansi",
    }
)
def root() -> None:
    """Subscription billing on i'mport (PortOne V1) billing keys.

    Every verb takes --json (one document on standard output) and ends with 0 done · 1 done, but not as wished ·
    2 refused · 3 try later · 4 call someone.
    """
