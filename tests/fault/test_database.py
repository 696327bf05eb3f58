"""A database that gives a step up, or never says whether it kept it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy import text

from billing.errors import DatabaseUnavailable, RuleError
from billing.store.unit import Tx
from tests.kit.world import World

T = TypeVar("T")

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


@pytest.mark.parametrize("moment", ["begin", "charge"])
def test_a_start_whose_commit_was_lost_is_asked_for_again_and_is_one_subscription(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The host learns nothing, and asks again under the key of its order."""
    mina = world.customer()
    honest = world.app.store.run
    steps = iter(["begin", "charge"])

    def unheard(work: Callable[[Tx], T]) -> T:
        done = honest(work)
        if next(steps, None) == moment:
            raise DatabaseUnavailable("the connection broke at COMMIT")
        return done

    monkeypatch.setattr(world.app.store, "run", unheard)
    if moment == "begin":
        with pytest.raises(DatabaseUnavailable):
            world.app.subscriptions.start(mina, "pro-monthly", request_key="order-1", actor="host")
    else:
        first = world.app.subscriptions.start(mina, "pro-monthly", request_key="order-1", actor="host")
        assert [one.name for one in first.verdicts] == ["unknown"]
    monkeypatch.undo()
    world.later(minutes=4)

    again = world.app.subscriptions.start(mina, "pro-monthly", request_key="order-1", actor="host")
    assert [one.name for one in again.verdicts] == ["paid"]
    assert world.app.subscriptions.start(mina, "pro-monthly", request_key="order-1", actor="host").verdicts == ()
    assert len(world.app.views.subscriptions(of=mina)) == 1
    assert len(world.pg.kept()) == 1
    assert world.is_proven()


def test_what_was_declined_is_not_tried_again_because_somebody_asked_twice(world: World) -> None:
    poor = world.customer("balance")
    first = world.app.subscriptions.start(poor, "pro-monthly", request_key="order-1", actor="host")
    arrivals = len(world.pg.arrivals())
    again = world.app.subscriptions.start(poor, "pro-monthly", request_key="order-1", actor="host")
    assert again.subscription_id == first.subscription_id
    assert len(world.pg.arrivals()) == arrivals


def test_a_key_names_one_request(world: World) -> None:
    mina, jun = world.customer(), world.customer()
    world.app.subscriptions.start(mina, "pro-monthly", request_key="order-1", actor="host")
    for customer, price, quantity in ((jun, "pro-monthly", 1), (mina, "pro-weekly", 1), (mina, "pro-monthly", 2)):
        with pytest.raises(RuleError, match="key: named a subscription to 1 × pro-monthly"):
            world.app.subscriptions.start(customer, price, quantity=quantity, request_key="order-1", actor="host")
    with pytest.raises(RuleError, match="1 to 120 printable characters"):
        world.app.subscriptions.start(mina, "pro-monthly", request_key="", actor="host")
    assert len(world.app.views.subscriptions()) == 1
