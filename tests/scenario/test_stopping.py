"""Cancel, uncancel, pause, resume, void."""

from __future__ import annotations

import pytest

from billing.domain.invoice import InvoiceState
from billing.domain.subscription import SubscriptionState as S
from billing.errors import IllegalTransition, RuleError
from tests.kit.world import World


def test_a_cancellation_at_the_periods_end_can_be_taken_back(world: World) -> None:
    mina = world.subscriber()
    world.app.subscriptions.cancel(mina, at_period_end=True, actor="admin")
    assert world.subscription(mina).state is S.ACTIVE
    world.app.subscriptions.uncancel(mina, actor="admin")
    world.at("2024-02-29 10:00").tick()
    assert len(world.pg.kept()) == 2


def test_a_planned_cancellation_ends_it_without_another_charge(world: World) -> None:
    mina = world.subscriber()
    world.app.subscriptions.cancel(mina, at_period_end=True, actor="admin")
    world.days(60)
    assert world.subscription(mina).state is S.ENDED
    assert len(world.pg.kept()) == 1
    with pytest.raises(RuleError):
        world.app.subscriptions.uncancel(mina, actor="admin")


def test_canceling_now_voids_what_is_owed_and_charges_nothing_more(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("decline")
    world.at("2024-02-29 10:00").tick()
    assert world.app.subscriptions.cancel(mina, at_period_end=False, actor="admin").charge_in_flight is False
    world.pg.heals()
    world.days(30)
    assert world.subscription(mina).state is S.CANCELED
    assert world.invoice(mina).state is InvoiceState.VOID
    assert len(world.pg.kept()) == 1
    with pytest.raises(IllegalTransition):
        world.app.subscriptions.cancel(mina, at_period_end=False, actor="admin")


def test_canceling_while_a_charge_is_in_flight_says_so_and_the_money_is_still_booked(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=60)
    world.at("2024-02-29 10:00").tick()
    assert world.states(mina)[-1] == "unknown"

    assert world.app.subscriptions.cancel(mina, at_period_end=False, actor="admin").charge_in_flight is True
    world.later(minutes=5).tick()

    assert world.states(mina)[-1] == "paid"
    assert world.invoice(mina).state is InvoiceState.PAID
    assert world.subscription(mina).state is S.CANCELED
    world.days(60)
    assert len(world.pg.kept()) == 2
    assert world.is_proven()


def test_canceling_while_a_charge_that_fails_is_in_flight_voids_the_invoice(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=60)
    world.pg.fault("decline", times=1)
    world.at("2024-02-29 10:00").tick()
    world.app.subscriptions.cancel(mina, at_period_end=False, actor="admin")
    world.later(minutes=5).tick()
    assert world.states(mina)[-1] == "declined"
    assert world.invoice(mina).state is InvoiceState.VOID


def test_nothing_is_billed_while_paused_and_the_period_that_runs_on_resume_is_billed(world: World) -> None:
    mina = world.subscriber()
    world.app.subscriptions.pause(mina, actor="admin")
    world.days(75)
    assert len(world.pg.kept()) == 1
    world.app.subscriptions.resume(mina, actor="admin")
    assert world.tick()["paid"] == 1
    assert str(world.period(mina)[0]) == "2024-03-31"
    assert len(world.pg.kept()) == 2


def test_resuming_within_the_paid_period_uses_it_up_first(world: World) -> None:
    mina = world.subscriber()
    world.app.subscriptions.pause(mina, actor="admin")
    world.later(days=5)
    world.app.subscriptions.resume(mina, actor="admin")
    assert not world.tick()
    world.at("2024-02-29 10:00").tick()
    assert len(world.pg.kept()) == 2


def test_a_pause_in_the_trial_does_not_end_it(world: World) -> None:
    mina = world.subscriber("pro-trial")
    world.app.subscriptions.pause(mina, actor="admin")
    world.later(days=3)
    assert world.app.subscriptions.resume(mina, actor="admin").state is S.TRIALING
    world.at("2024-02-14 10:00").tick()
    assert world.subscription(mina).state is S.ACTIVE


def test_a_voided_invoice_is_not_collected_and_the_next_period_is_billed(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("decline", times=1)
    world.at("2024-02-29 10:00").tick()
    world.app.invoices.close(world.invoice(mina).id, InvoiceState.VOID, reason="goodwill", actor="admin")
    world.days(31)
    assert [one.state.value for one in world.invoices(mina)] == ["paid", "void", "paid"]
    assert str(world.period(mina)[0]) == "2024-03-31"
    assert world.is_proven()


def test_a_paid_invoice_cannot_be_voided(world: World) -> None:
    mina = world.subscriber()
    with pytest.raises(IllegalTransition):
        world.app.invoices.close(world.invoice(mina).id, InvoiceState.VOID, reason="mistake", actor="admin")
