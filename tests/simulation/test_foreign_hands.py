"""Every guard of the database: another program is refused; without the guard it gets through, and the checker sees it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from random import Random

import pytest

from billing.simulate.ablation import ABLATIONS, SECOND_BELTS, weaken
from billing.simulate.foreign import HANDS, Hand
from billing.store.guards import guards
from tests.simulation.shop import Shop, shop


@pytest.fixture(scope="module")
def books() -> Iterator[tuple[Shop, sqlite3.Connection]]:
    with shop() as one:
        yield one, one.house.snapshot()


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: f"{'+'.join(hand.guards)}: {hand.name}")
def test_a_foreign_hand_is_refused_and_without_its_guard_is_seen(books: tuple[Shop, sqlite3.Connection], hand: Hand) -> None:
    one, snapshot = books
    one.house.restore(snapshot)
    checker = one.checker()
    if hand.tries(one.db, Random(1)) == "found nobody":
        pytest.fail(f"nobody in the shop {hand.name}")
    checker.look(closely=True, force=True)
    assert checker.broken == []

    weaken(one.db, hand.guards)
    outcome = hand.tries(one.db, Random(1))
    checker.look(closely=True, force=True)

    assert outcome == "went through"
    assert checker.broken, "it went through and nobody saw it"


def test_every_guard_of_the_database_is_switched_off_by_somebody() -> None:
    """A guard nobody can miss is not tested: each is in the registry, or on the list of second belts with a reason."""
    off = {name for one in ABLATIONS.values() for name in one.guards}
    listed = {name for name in SECOND_BELTS if name.startswith("billing_")}
    missing = {guard.name for guard in guards("sqlite")} - off - listed
    assert missing == set()
    assert off - {guard.name for guard in guards("sqlite")} == set()
