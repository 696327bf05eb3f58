"""`billing demo`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.mishaps import CALL_SOMEONE, DONE

if TYPE_CHECKING:
    from rich.console import Console

    from billing.demo.story import Story
    from billing.demo.tally import Tally
    from billing.demo.year import Year

_PEOPLE, _MONTHS, _SEED = click.IntRange(1, 2000), click.IntRange(1, 24), click.IntRange(0, 2**31 - 1)


@click.command()
@click.option("--subscribers", type=_PEOPLE, default=200, show_default=True, help="How many people subscribe.")
@click.option("--months", type=_MONTHS, default=12, show_default=True, help="How many months after the opening one.")
@click.option("--seed", type=_SEED, default=7, show_default=True, help="The same seed gives the same ledger.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("billing-demo"),
    show_default=True,
    help="Folder for demo.db, pg.db and report.html; an earlier demo's are replaced.",
)
@verb()
def demo(door: Door, subscribers: int, months: int, seed: int, out: Path) -> int:
    """Watch a year of subscription billing go by: SQLite, the sandbox and a clock moved by hand. No real money.

    Exit status 0: the books are proven. 4: something contradicts, and every difference is named.
    """
    from rich.console import Console

    from billing.clock import SystemClock
    from billing.demo.cast import STAR, cast
    from billing.demo.folder import REPORT, prepare
    from billing.demo.report import written
    from billing.demo.story import story
    from billing.demo.tables import Page
    from billing.demo.tally import tally
    from billing.demo.year import Year

    clock = SystemClock()
    began = clock.monotonic()
    folder = prepare(out)
    if not door.as_json:
        _never_stumble_over_letters()
    console = Console(highlight=False, markup=False, emoji=False, quiet=door.as_json)
    page = Page(console)
    page.intro(subscribers, months, seed)
    with Year(cast(subscribers, months, seed), months, seed, folder) as year:
        _watch(year, console)
        year.close_books()
        found, life = tally(year), story(year, STAR)
        year.leave_clock(clock.now())
    (folder / REPORT).write_text(written(found, life), encoding="utf-8")
    if door.as_json:
        door.answer(_document(found, life, folder), lambda _: None)
    else:
        page.result(found, life)
        page.ways_on(out, clock.monotonic() - began)
    return DONE if found.holds else CALL_SOMEONE


def _watch(year: Year, console: Console) -> None:
    """Live through the days, with a bar where somebody is watching."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.fields[day]}", style="bold"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    if not console.is_terminal:
        for today in year.days():
            if today.number == today.of:
                console.print(f"  {today.of} days lived: {_counts(today.verdicts)}")
        return
    with Progress(*columns, console=console, transient=False) as progress:
        task = progress.add_task("", total=len(year.calendar), day="", counts="")
        for today in year.days():
            progress.update(task, completed=today.number, day=f"{today.day:%d %b %Y}", counts=_counts(today.verdicts))


def _counts(verdicts: Any) -> str:
    return f"paid {verdicts['paid']:,} · declined {verdicts['declined']:,} · looked again {verdicts['unknown']:,}"


def _document(tally: Tally, story: Story, folder: Path) -> dict[str, Any]:
    """What `--json` prints: the tally, with money as money and the proof as `billing verify` tells it."""
    from billing.demo.folder import DATABASE, PG, REPORT

    def money(amount: int) -> dict[str, object]:
        return {"amount": amount, "currency": "KRW"}

    sums = asdict(tally.money)
    return {
        "seed": tally.seed,
        "simulated": {"first_day": tally.first_day.isoformat(), "last_day": tally.last_day.isoformat()},
        "holds": tally.holds,
        "digest": tally.digest,
        "subscribers": {"by_state": dict(tally.states), "by_price": dict(tally.sold)},
        "invoices": {**asdict(tally.outcomes), "total": tally.outcomes.total, "numbers_have_no_gap": tally.numbers_have_no_gap},
        "doubts": asdict(tally.doubts),
        "money": {name: money(sums[name]) for name in ("payments", "ledger", "pg", "refunded")},
        "double_charges": tally.money.double_charges,
        "months": [
            {**asdict(one), "collected": {price: money(amount) for price, amount in one.collected.items()}}
            for one in tally.months
        ],
        "guards": tally.guards,
        "audit_chains": tally.chains,
        "refused_wishes": list(tally.refused_wishes),
        "differences": list(tally.proof.differences),
        "story": [{"at": one.at.isoformat(), "words": one.words} for one in story.moments],
        "files": {name: str(folder / file) for name, file in (("database", DATABASE), ("pg", PG), ("report", REPORT))},
    }


def _never_stumble_over_letters() -> None:
    """A terminal that cannot show a Korean name shows a question mark instead of a traceback."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        reconfigure(errors="replace")
