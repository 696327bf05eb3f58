"""Many seeds over many processes, and what came of them."""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from billing import collector
from billing.clock import SystemClock
from billing.errors import RuleError
from billing.simulate.ablation import ABLATIONS, Ablation, weaken
from billing.simulate.house import House
from billing.simulate.life import Life, Outcome

DAYS = 60
_CHUNK = 4

_house: House | None = None
_ablation: Ablation | None = None
_life_long = ExitStack()


@dataclass(slots=True)
class Report:
    """What all seeds together came to."""

    seeds: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True when every promise was kept in every life."""
        return not self.failed


def ablation(name: str | None) -> Ablation | None:
    """The guard to switch off; None for none.

    Raises:
        RuleError: there is no such guard.
    """
    if name is None:
        return None
    found = ABLATIONS.get(name) or ABLATIONS.get(name.removeprefix("billing_"))
    if found is None:
        raise RuleError("guard", f"there is no guard {name!r} to switch off", "see `billing simulate --list-guards`")
    return found


def run(
    seeds: Sequence[int],
    *,
    days: int = DAYS,
    jobs: int = 1,
    without: str | None = None,
    stops_at: int | None = None,
    tell: Callable[[Outcome, Report], None] = lambda _outcome, _report: None,
) -> Report:
    """Live every seed and report.

    Args:
        jobs: processes; 1 lives them all in this one.
        without: the guard that is switched off.
        stops_at: stop after this many seeds have failed.
        tell: called after every life.

    Raises:
        RuleError: there is no such guard.
    """
    ablation(without)
    clock, report = SystemClock(), Report()
    began = clock.monotonic()
    for outcome in _lived(seeds, days, jobs, without):
        report.seeds += 1
        report.counts.update(outcome.counts)
        if outcome.broken:
            report.failed.append(outcome)
        report.seconds = clock.monotonic() - began
        tell(outcome, report)
        if stops_at is not None and len(report.failed) >= stops_at:
            break
    report.failed.sort(key=lambda one: one.seed)
    return report


def live(seed: int, *, days: int = DAYS, without: str | None = None, show: Callable[[str], None] | None = None) -> Outcome:
    """Live one seed in this process; `show` gets its story line by line."""
    with _prepared(without) as (house, guard):
        return Life(house, seed, days=days, show=show, hands=guard.hands if guard else ()).live()


def _lived(seeds: Sequence[int], days: int, jobs: int, without: str | None) -> Iterator[Outcome]:
    if jobs <= 1:
        with _prepared(without) as (house, guard):
            for seed in seeds:
                yield Life(house, seed, days=days, hands=guard.hands if guard else ()).live()
        return
    with multiprocessing.get_context("spawn").Pool(jobs, _begin, (without,)) as pool:
        yield from pool.imap_unordered(partial(_live, days), seeds, _CHUNK)


@contextmanager
def _prepared(without: str | None) -> Iterator[tuple[House, Ablation | None]]:
    """A house to live in, without that guard; the engine is silent meanwhile."""
    guard = ablation(without)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    house = House(partial(weaken, names=guard.guards) if guard and guard.guards else None)
    try:
        with guard.in_force() if guard else ExitStack():
            yield house, guard
    finally:
        house.close()
        logging.disable(before)


def _begin(without: str | None) -> None:
    """Prepare a process of the pool; it lives until the pool ends it."""
    global _house, _ablation
    _house, _ablation = _life_long.enter_context(_prepared(without))
    collector.calm()


def _live(days: int, seed: int) -> Outcome:
    assert _house is not None
    return Life(_house, seed, days=days, hands=_ablation.hands if _ablation else ()).live()
