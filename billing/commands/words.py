"""Tables, money and times for people. Whatever comes from outside is printed as text, never as markup."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing.redaction import one_line
from plans.money import Money

_PIPE_WIDTH = 200
_GOOD, _BAD, _WAITING = "green", "red", "yellow"
_STYLES = {
    **dict.fromkeys(("paid", "active", "current", "trialing", "opened", "done"), _GOOD),
    **dict.fromkeys(("declined", "rejected", "refused", "mismatch", "surplus", "canceled", "uncollectible", "past_due"), _BAD),
    **dict.fromkeys(
        ("open", "unknown", "sending", "planned", "pending", "incomplete", "paused", "not_tried", "unsent"), _WAITING
    ),
    "✓": _GOOD,
    "!": _WAITING,
    "✗": _BAD,
}

Cell = object


class Words:
    """A page of words on standard output.

    Args:
        zone: the merchant's; instants are shown on its wall clock.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        # A pipe has no width: lines cut at 80 would break `grep`.
        width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE_WIDTH
        self._console = Console(highlight=False, markup=False, emoji=False, width=width)

    def line(self, text: str = "", style: str = "") -> None:
        """One line."""
        self._console.print(Text(one_line(text), style=style))

    def whole(self, text: str) -> None:
        """One line that is never cut, however narrow the terminal: something to copy."""
        self._console.print(Text(one_line(text), style="bold"), soft_wrap=True)

    def hint(self, text: str) -> None:
        """What to do next, set back."""
        self.line(text, "dim")

    def facts(self, pairs: Mapping[str, Cell]) -> None:
        """Names and values below each other; a value of None is left out."""
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs.items():
            if value is not None:
                table.add_row(name, self._cell(value))
        self._console.print(table)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str = "Nothing there.") -> None:
        """Rows under headings; a heading that starts with `>` is set to the right, one with `!` never breaks."""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
        for column in columns:
            name = column.lstrip(">!")
            table.add_column(name, justify="right" if ">" in column else "left", no_wrap=column != name, overflow="fold")
        for row in rows:
            table.add_row(*(self._cell(value) for value in row))
        if table.row_count:
            self._console.print(table)
        else:
            self.hint(empty)

    def money(self, amount: Mapping[str, Any]) -> str:
        """An amount as its currency is written: ₩9,900."""
        return str(Money(amount["amount"], amount["currency"]))

    def when(self, instant: str | None) -> str | None:
        """An ISO instant on the merchant's wall clock, to the minute."""
        return None if instant is None else f"{datetime.fromisoformat(instant).astimezone(self._zone):%Y-%m-%d %H:%M}"

    def day(self, instant: str | None, zone: str | None = None) -> str | None:
        """The local date of an ISO instant, in the customer's zone where one is given."""
        there = ZoneInfo(zone) if zone else self._zone
        return None if instant is None else f"{datetime.fromisoformat(instant).astimezone(there):%Y-%m-%d}"

    def days(self, period: Mapping[str, Any] | None, zone: str | None = None) -> str | None:
        """A half-open period by its local dates."""
        return None if period is None else f"{self.day(period['start'], zone)} → {self.day(period['end'], zone)}"

    def _cell(self, value: Cell) -> Text:
        text = "" if value is None else one_line(str(value))
        return Text(text, style=_STYLES.get(text, ""))
