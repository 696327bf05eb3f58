"""`billing simulate`: months of billing with everything going wrong, checked at every step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.mishaps import CALL_SOMEONE, DONE
from billing.errors import RuleError

if TYPE_CHECKING:
    from rich.console import Console

    from billing.commands.words import Words
    from billing.simulate.life import Outcome
    from billing.simulate.run import Report

_SEED = click.IntRange(0, 2**31 - 1)
_SEEN_WITHIN = 2000
_BELT_TRIED = 100


@click.command()
@click.argument("guards", nargs=-1, metavar="[GUARD]...")
@click.option("--seeds", type=click.IntRange(1, 10_000_000), default=100, show_default=True, help="How many lives.")
@click.option("--from", "first", type=_SEED, default=1, show_default=True, help="The first seed.")
@click.option("--seed", type=_SEED, help="Only this one.")
@click.option("--trace", is_flag=True, help="Tell the story of --seed step by step.")
@click.option("--days", type=click.IntRange(1, 3650), default=60, show_default=True, help="Virtual days before the calm.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes.  [default: one per core]")
@click.option("--without", metavar="GUARD", help="Switch one guard off; the lives should fail.")
@click.option("--ablate", is_flag=True, help="Switch guards off one after the other, the named ones or all.")
@click.option("--list-guards", is_flag=True, help="Name every guard that can be switched off.")
@verb()
def simulate(
    door: Door,
    guards: tuple[str, ...],
    seeds: int,
    first: int,
    seed: int | None,
    trace: bool,
    days: int,
    jobs: int | None,
    without: str | None,
    ablate: bool,
    list_guards: bool,
) -> int:
    """Live through seeded months with faults, dying workers and busy operators; check every promise at every step.

    The engine's own code on SQLite in memory, against the sandbox, in virtual time: nothing outside is touched, and the
    same seed always lives the same life. A life in which a promise breaks is named with the line that shows it again.

    Exit status 0: every promise was kept (with --ablate: every guard was missed, or is a known second belt).
    4: one was not.
    """
    if guards and not ablate:
        raise RuleError("GUARD", "guards are named for --ablate", "write --ablate GUARD..., or --without GUARD for one")
    if trace and (seed is None or door.as_json):
        raise RuleError("--trace", "tells the story of one seed, in words", "add --seed N and leave --json out")
    if list_guards:
        return _listed(door)
    workers = jobs or os.cpu_count() or 1
    if ablate:
        return _ablated(door, guards, seeds=range(first, first + _SEEN_WITHIN), days=days, jobs=workers)
    if seed is not None:
        return _one(door, seed, trace, days, without)
    return _many(door, range(first, first + seeds), days, workers, without)


def _one(door: Door, seed: int, trace: bool, days: int, without: str | None) -> int:
    from billing.simulate.run import live

    outcome = live(seed, days=days, without=without, show=click.echo if trace else None)
    document = {
        "seed": seed,
        "digest": outcome.digest,
        "broken": list(outcome.broken),
        "counts": dict(sorted(outcome.counts.items())),
    }
    door.answer(document, lambda out: out.line(f"seed {seed}: {_verdict(outcome)}, trace {outcome.digest}"))
    for one in outcome.broken if not door.as_json else ():
        click.echo(f"  {one}")
    return CALL_SOMEONE if outcome.broken else DONE


def _many(door: Door, seeds: Sequence[int], days: int, jobs: int, without: str | None) -> int:
    from rich.console import Console

    from billing.simulate.run import run

    console = Console(highlight=False, markup=False, emoji=False, quiet=door.as_json)
    with _bar(console, len(seeds)) as advance:

        def tell(outcome: Outcome, report: Report) -> None:
            if outcome.broken:
                console.print(_replay(outcome, days, without))
            advance(report)

        report = run(seeds, days=days, jobs=jobs, without=without, tell=tell)
    if door.as_json:
        door.answer(_document(report), lambda _: None)
    else:
        _tell(console, report, days)
    return DONE if report.holds else CALL_SOMEONE


def _ablated(door: Door, names: Sequence[str], *, seeds: Sequence[int], days: int, jobs: int) -> int:
    """Each guard off in turn, until a life fails; the second belts are not expected to be missed."""
    from billing.simulate.ablation import ABLATIONS, SECOND_BELTS
    from billing.simulate.run import ablation, run

    chosen = [ablation(name) for name in names] if names else list(ABLATIONS.values())
    rows: list[dict[str, Any]] = []
    for guard in chosen:
        assert guard is not None
        belt = SECOND_BELTS.get(guard.name)
        lives = seeds[:_BELT_TRIED] if belt else seeds
        report = run(lives, days=days, jobs=jobs, without=guard.name, stops_at=1)
        seen = report.failed[0].broken[0] if report.failed else None
        row = {"guard": guard.name, "seeds": report.seeds, "seconds": round(report.seconds, 1), "seen": seen, "second_belt": belt}
        rows.append(row)
        if not door.as_json:
            unseen = f"second belt: {belt}" if belt else "NOBODY MISSED IT"
            said = f"seed {report.failed[0].seed}: {seen}" if seen else unseen
            click.echo(f"{guard.name:<45} {report.seeds:>5} lives {report.seconds:>6.1f} s  {said[:150]}")
    if door.as_json:
        door.answer({"guards": rows}, lambda _: None)
    return DONE if all(row["seen"] or row["second_belt"] for row in rows) else CALL_SOMEONE


def _listed(door: Door) -> int:
    from billing.simulate.ablation import ABLATIONS, SECOND_BELTS

    def words(out: Words) -> None:
        for name in ABLATIONS:
            out.line(name)

    door.answer({"guards": list(ABLATIONS), "second_belts": SECOND_BELTS}, words)
    return DONE


def _verdict(outcome: Outcome) -> str:
    return f"{len(outcome.broken)} promises broken" if outcome.broken else "every promise kept"


def _replay(outcome: Outcome, days: int, without: str | None) -> str:
    """The one line that lives a failed seed again."""
    more = (f" --days {days}" if days != 60 else "") + (f" --without {without}" if without else "")
    return f"billing simulate --seed {outcome.seed}{more} --trace   # {outcome.broken[0]}"


def _bar(console: Console, total: int) -> Any:
    from contextlib import contextmanager

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    @contextmanager
    def bar() -> Any:
        columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=total, said="")
            yield lambda report: progress.update(
                task, completed=report.seeds, said=f"{report.counts['invoices paid']:,} paid · {report.counts['deaths']:,} deaths"
            )

    return bar()


def _document(report: Report) -> dict[str, Any]:
    return {
        "holds": report.holds,
        "seeds": report.seeds,
        "seconds": round(report.seconds, 1),
        "failed": [{"seed": one.seed, "digest": one.digest, "broken": list(one.broken)} for one in report.failed],
        "counts": dict(sorted(report.counts.items())),
    }


def _tell(console: Console, report: Report, days: int) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(justify="left")
    table.add_column(justify="right")
    groups = {
        "PG ": "PG",
        "wire ": "network",
        "death at ": "died",
        "stall at ": "stood still",
        "operator ": "operator",
        "foreign ": "",
    }
    for name, count in sorted(report.counts.items()):
        for prefix, label in groups.items():
            if name.startswith(prefix) and count:
                table.add_row(f"{label} {name.removeprefix(prefix)}".strip(), f"{count:,}")
    console.print(table)
    counts = report.counts
    console.print(
        f"{report.seeds:,} lives of {days} days in {report.seconds:.1f} s: {counts['invoices paid']:,} invoices paid,"
        f" {counts['calls']:,} calls, {counts['deaths']:,} deaths, {counts['checks']:,} checks"
    )
    console.print("every promise was kept" if report.holds else f"{len(report.failed)} lives broke a promise, see above")
