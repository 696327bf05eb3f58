"""`billing clock …`: the test clock, which says what is due outside live mode."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.kinds import INSTANT, SPAN

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.group()
def clock() -> None:
    """Read or move the test clock (not in live mode).

    It is kept in the database, so every process sees it. Nothing is charged by moving it: run `billing renew`.
    """


@clock.command()
@verb()
def show(door: Door) -> None:
    """Say what time it is for billing, and whether that is a test clock."""
    _tell(door)


@clock.command("set")
@click.argument("instant", type=INSTANT)
@verb(changes=True)
def set_(door: Door, instant: datetime | str) -> None:
    """Set the test clock to INSTANT, such as 2026-01-31T10:00+09:00; `real` takes it away."""
    door.app.controls.set_clock(None if isinstance(instant, str) else instant, actor=door.actor)
    _tell(door, is_moved=True)


@clock.command()
@click.argument("span", type=SPAN)
@verb(changes=True)
def advance(door: Door, span: tuple[int, timedelta]) -> None:
    """Move the test clock forward by SPAN, such as 30m, 12h, 1d, 2w or "1 month"; from now if none is set."""
    here = door.app.now().astimezone(door.settings.zone)
    door.app.controls.set_clock(_later(here, *span), actor=door.actor)
    _tell(door, is_moved=True)


def _later(here: datetime, months: int, rest: timedelta) -> datetime:
    """`here` on the same wall-clock time some months later (clamped in short ones), plus `rest`."""
    from plans.calendar import Interval, Unit

    day = Interval(1, Unit.MONTH).after(here.date(), months) if months else here.date()
    return datetime.combine(day, here.timetz()) + rest


def _tell(door: Door, *, is_moved: bool = False) -> None:
    now, test = door.app.controls.clocks()
    document = {"now": now.isoformat(), "test_clock": test.isoformat() if test else None, "mode": door.settings.mode.value}

    def words(out: Words) -> None:
        zone = door.settings.time_zone
        out.facts({"now": f"{out.when(document['now'])} {zone}", "clock": "test clock" if test else "real time"})
        if is_moved:
            out.hint("Nothing is charged by moving the clock; `billing renew` does what is due now.")

    door.answer(document, words)
