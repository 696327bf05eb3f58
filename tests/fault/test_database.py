"""A database that gives a step up, or never says whether it kept it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from billing.errors import DatabaseUnavailable
from billing.store.unit import Tx
from tests.kit.world import World

GIVEN_UP = ["40001", "40P01", "55P03"]


def _raising(code: str) -> str:
    """What PostgreSQL does when it gives a step up: a serialization failure, a deadlock, a lock it did not get."""
    return f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("code", GIVEN_UP)
def test_a_step_the_database_gave_up_is_done_again(world: World, code: str) -> None:
    tries = 0

    def work(tx: Tx) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            tx.connection.execute(text(_raising(code)))
        return "done"

    assert world.app.store.run(work) == "done"
    assert tries == 3


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_step_that_is_always_given_up_is_an_outage_and_no_poison(world: World) -> None:
    tries = 0

    def work(tx: Tx) -> None:
        nonlocal tries
        tries += 1
        tx.connection.execute(text(_raising("40P01")))

    with pytest.raises(DatabaseUnavailable):
        world.app.store.run(work)
    assert tries == 5
