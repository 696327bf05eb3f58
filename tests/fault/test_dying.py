"""A worker that dies on any line leaves a trace that the next one finishes. Nothing is charged twice or lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from billing import fault
from billing.domain.attempt import AttemptState
from billing.domain.subscription import SubscriptionState as S
from billing.errors import DatabaseUnavailable
from tests.kit.world import World

DATABASE_POINTS = ["K00", "K01", "K02", "K03", "K08", "K09", "K10"]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    fault.arm("")


def dies_at(world: World, point: str) -> None:
    """One pass of a worker that dies at this point."""
    fault.arm(f"{point}=error")
    with pytest.raises(fault.InjectedFault):
        world.tick()
    fault.arm("")


@pytest.mark.parametrize("point", DATABASE_POINTS)
def test_the_next_worker_finishes_what_a_dead_one_left(world: World, point: str) -> None:
    ids = [world.subscriber() for _ in range(3)]
    world.at("2024-02-29 10:00")
    dies_at(world, point)

    world.later(minutes=4).tick()
    world.until_decided()

    for id in ids:
        assert world.states(id) == ["paid", "paid"]
        assert world.subscription(id).state is S.ACTIVE
    assert len(world.pg.kept()) == 6
    assert world.pg.double_charged() == []
    assert world.is_proven()


@pytest.mark.parametrize("point", ["K03", "K08", "K09"])
def test_nobody_touches_an_attempt_while_its_holder_may_still_be_alive(world: World, point: str) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    dies_at(world, point)
    world.later(seconds=170)
    assert not world.tick()
    assert world.states(mina)[-1] == "sending"


def test_a_worker_that_slept_through_its_lease_writes_nothing(world: World) -> None:
    """SIGSTOP after the claim, for longer than the lease: the fence of the next taker is higher."""
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    dies_at(world, "K02")
    stale = world.attempts(mina)[-1]
    world.later(minutes=4).tick()
    assert world.states(mina)[-1] == "paid"

    arrivals = len(world.pg.arrivals())
    assert world.app.charging.drive([stale], began=world.clock.monotonic()) == []
    assert len(world.pg.arrivals()) == arrivals
    assert len(world.pg.kept()) == 2


def test_a_worker_whose_attempt_was_taken_by_another_does_not_send_it(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    dies_at(world, "K02")
    stale = world.attempts(mina)[-1]
    world.later(minutes=4)
    with world.app.store.begin() as tx:
        assert tx.attempts.claim([stale.id], tx.now, tx.now + world.app.policy.patience.lease)

    arrivals = len(world.pg.arrivals())
    assert world.app.charging.drive([stale], began=world.clock.monotonic()) == []
    assert len(world.pg.arrivals()) == arrivals
    assert world.states(mina)[-1] == "planned"


def test_who_does_not_hold_an_attempt_books_nothing_from_an_absence(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    dies_at(world, "K03")
    before = world.attempts(mina)[-1]
    world.app.settle([before.merchant_uid])
    assert world.attempts(mina)[-1] == before


def test_a_worker_that_slept_before_the_send_sends_nothing(world: World) -> None:
    """The gate: a claim from more than a third of a lease ago goes back unsent."""
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    dies_at(world, "K01")
    world.later(minutes=4)
    with world.app.store.begin() as tx:
        held = tx.attempts.claim([world.attempts(mina)[-1].id], tx.now, tx.now + world.app.policy.patience.lease)
    began = world.clock.monotonic()
    world.later(seconds=61)
    arrivals = len(world.pg.arrivals())
    assert [one.name for one in world.app.charging.drive(held, began=began)] == ["unsent"]
    assert len(world.pg.arrivals()) == arrivals
    assert world.attempts(mina)[-1].state is AttemptState.PLANNED


def test_settling_twice_is_settling_once(world: World) -> None:
    mina = world.subscriber()
    before = world.app.verify().totals
    uids = [one.merchant_uid for one in world.attempts(mina)]
    assert [one.name for one in world.app.settle(uids + uids)] == ["booked"]
    assert world.app.verify().totals == before


def test_a_poison_subscription_is_parked_and_delays_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    poison, *healthy = [world.subscriber() for _ in range(4)]
    world.at("2024-02-29 10:00")
    from billing.flow import renewal

    honest = renewal.draft

    def spoiled(subscription, *given, **more):  # type: ignore[no-untyped-def]
        if subscription.id == poison:
            raise ArithmeticError("poison")
        return honest(subscription, *given, **more)

    monkeypatch.setattr(renewal, "draft", spoiled)
    world.tick()
    for id in healthy:
        assert world.states(id) == ["paid", "paid"]
    assert "ArithmeticError" in str(world.subscription(poison).parked_reason)

    monkeypatch.undo()
    world.app.subscriptions.resume(poison, actor="admin")
    world.tick()
    assert world.states(poison) == ["paid", "paid"]


def test_a_poison_invoice_is_parked_and_delays_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    poison, *healthy = [world.subscriber() for _ in range(4)]
    world.at("2024-02-29 10:00")
    from billing.flow import planning

    honest = planning.planned

    def spoiled(invoice, subscription, *given, **more):  # type: ignore[no-untyped-def]
        if subscription.id == poison:
            raise ArithmeticError("poison")
        return honest(invoice, subscription, *given, **more)

    monkeypatch.setattr(planning, "planned", spoiled)
    world.tick()
    for id in healthy:
        assert world.states(id) == ["paid", "paid"]
    assert "invoice.needs_attention" in world.topics(poison)
    assert not world.tick()

    monkeypatch.undo()
    world.app.retry([world.invoice(poison).id])
    assert world.states(poison) == ["paid", "paid"]


def test_an_outage_of_the_database_parks_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [world.subscriber() for _ in range(3)]
    world.at("2024-02-29 10:00")
    from billing.flow import renewal

    def outage(*_given: object, **_more: object) -> None:
        raise DatabaseUnavailable("it restarts")

    monkeypatch.setattr(renewal, "draft", outage)
    with pytest.raises(DatabaseUnavailable):
        world.tick()
    monkeypatch.undo()
    world.tick()
    for id in ids:
        assert world.subscription(id).parked_reason is None
        assert world.states(id) == ["paid", "paid"]
