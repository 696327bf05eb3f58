"""What the wire does to us: nothing is charged twice, nothing is lost, everything is decided in the end."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from billing.domain.invoice import InvoiceState
from billing.domain.subscription import SubscriptionState as S
from billing.errors import CredentialsRefused, Frozen, GatewayUnavailable
from billing.flow.adjudication import Ruling
from billing.store import tables
from tests.kit.world import World, seoul


def due(world: World, count: int = 1) -> list[str]:
    """Subscribers whose renewal is due now."""
    ids = [world.subscriber() for _ in range(count)]
    world.at("2024-02-29 10:00")
    return ids


def differing_fields(world: World, subscription: str) -> list[str]:
    """What the host was told is wrong with the payment."""
    one = tables.outbox_event
    with world.app.store.read() as tx:
        query = select(one.c.payload).where(one.c.subscription_id == subscription, one.c.topic == "charge.mismatch")
        return list(json.loads(tx.connection.execute(query).scalar_one())["differs"])


def one_charge_each(world: World, ids: list[str]) -> None:
    """Every subscriber paid for January and February, once each, under one number each."""
    for id in ids:
        assert world.states(id) == ["paid", "paid"], world.attempts(id)
        assert world.subscription(id).state is S.ACTIVE
    assert len(world.pg.kept()) == 2 * len(ids)
    assert world.pg.double_charged() == []
    assert world.is_proven()


def test_a_charge_whose_answer_was_lost_is_found_and_never_made_twice(world: World) -> None:
    ids = due(world)
    world.pg.fault("lost_reply", times=1)
    assert world.tick()["paid"] == 1
    one_charge_each(world, ids)
    assert len(world.pg.arrivals()) == 2


@pytest.mark.parametrize("fault", ["lost_reply", "error_after_approval", "garbage"])
def test_an_answer_lost_while_look_ups_lag_behind_is_found_later(world: World, fault: str) -> None:
    ids = due(world)
    world.pg.fault(fault, times=1)
    world.pg.fault("lookup_lag", times=1, value=300)
    assert world.tick()["unknown"] == 1
    assert world.subscription(ids[0]).state is S.ACTIVE
    world.until_decided()
    one_charge_each(world, ids)
    assert len(world.pg.arrivals()) == 2


@pytest.mark.parametrize("fault", ["lost_request", "server_error"])
def test_a_request_that_never_arrived_is_repeated_under_its_own_number_once_the_old_token_is_dead(
    world: World, fault: str
) -> None:
    ids = due(world)
    world.pg.fault(fault, times=1)
    assert world.tick()["unknown"] == 1
    uid = world.attempts(ids[0])[-1].merchant_uid
    before = len(world.pg.arrivals())

    for _ in range(5):
        world.later(minutes=5).tick()
        assert world.states(ids[0])[-1] == "unknown", "the token it carried still lives: it may arrive yet"
    assert len(world.pg.arrivals()) == before
    world.until_decided()

    one_charge_each(world, ids)
    assert set(world.pg.arrivals()[before:]) <= {uid}
    assert world.attempts(ids[0])[-1].wire_count == 2


def test_a_refused_connection_consumes_nothing(world: World) -> None:
    ids = due(world)
    world.pg.fault("refuse_connection", times=1)
    assert world.tick()["unsent"] == 1
    assert world.states(ids[0])[-1] == "planned"
    world.later(minutes=1).tick()
    one_charge_each(world, ids)


def test_a_token_that_dies_in_the_middle_of_a_batch_costs_nobody_anything(world: World) -> None:
    ids = due(world, 8)
    world.pg.fault("token_revoked", path="/subscribe/payments/again", times=1)
    assert world.tick()["paid"] == 8
    one_charge_each(world, ids)


def test_dead_credentials_halt_the_channel_and_consume_no_attempt(world: World) -> None:
    ids = due(world, 3)
    world.pg.fault("auth_dead")
    with pytest.raises(CredentialsRefused):
        world.tick()
    assert all(world.subscription(id).state is S.ACTIVE for id in ids)
    assert all(world.states(id)[1:] in ([], ["planned"]) for id in ids)
    world.pg.heals()
    world.later(minutes=1).tick()
    one_charge_each(world, ids)


def test_a_slowed_down_channel_is_no_decline(world: World) -> None:
    ids = due(world)
    world.pg.fault("rate_limit", times=1, value=120)
    world.tick()
    assert "charge.declined" not in world.topics(ids[0])
    assert not world.later(seconds=110).tick(), "Retry-After is honoured"
    world.until_decided()
    one_charge_each(world, ids)


def test_a_pending_approval_is_waited_for_however_long(world: World) -> None:
    ids = due(world)
    world.pg.fault("pending", times=1, value="26h")
    assert world.tick()["unknown"] == 1
    world.until_decided(hours=40)
    one_charge_each(world, ids)
    assert len(world.pg.arrivals()) == 2


def test_a_failed_record_does_not_hide_a_paid_one(world: World) -> None:
    ids = due(world)
    world.pg.fault("shadowed_paid", times=1)
    assert world.tick()["paid"] == 1
    one_charge_each(world, ids)


def test_an_approval_after_the_decline_pays_the_invoice_instead_of_a_second_charge(world: World) -> None:
    ids = due(world)
    world.pg.fault("late_approval", times=1, value=600)
    assert world.tick()["declined"] == 1
    # By the probe alone; with the PG's list compared first, a second attempt is not even planned.
    world.later(days=1).app.worker.renew()
    world.later(minutes=1).app.worker.renew()
    assert world.states(ids[0]) == ["paid", "paid", "void"]
    assert len(world.pg.kept()) == 2
    assert world.subscription(ids[0]).state is S.ACTIVE
    assert world.is_proven()


@pytest.mark.parametrize(
    ("fault", "field"), [("wrong_amount", "amount"), ("wrong_customer", "customer_uid"), ("live_record", "sandbox")]
)
def test_a_payment_that_is_not_what_we_asked_for_is_parked_and_grants_nothing(world: World, fault: str, field: str) -> None:
    ids = due(world)
    world.pg.fault(fault, times=1)
    assert world.tick()["mismatch"] == 1
    world.days(10)
    assert world.states(ids[0]) == ["paid", "mismatch"]
    assert field in differing_fields(world, ids[0])
    assert str(world.period(ids[0])[1]) == "2024-02-29"
    assert world.topics(ids[0]).count("charge.mismatch") == 1
    assert len(world.pg.kept()) == 2
    assert world.is_proven()


def test_an_unreachable_pg_stops_the_pass_before_anything_is_sent(world: World) -> None:
    ids = due(world, 2)
    world.pg.fault("refuse_connection", path="/payments*")
    world.pg.fault("refuse_connection", path="/payments")
    with pytest.raises(GatewayUnavailable):
        world.tick()
    assert len(world.pg.arrivals()) == 2
    world.pg.heals()
    world.later(minutes=1).tick()
    one_charge_each(world, ids)


def test_a_frozen_engine_charges_nothing_and_still_settles(world: World) -> None:
    ids = due(world, 2)
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=60)
    world.tick()
    world.app.controls.set_freeze(is_frozen=True, reason="drill", actor="admin")
    world.later(minutes=5)
    with pytest.raises(Frozen):
        world.tick()
    world.app.settle([one.merchant_uid for id in ids for one in world.attempts(id)])
    one_charge_each(world, ids)


def test_one_look_that_finds_nothing_is_never_enough(world: World) -> None:
    ids = due(world)
    world.pg.fault("lost_request", times=1)
    world.tick()
    before = len(world.pg.arrivals())
    world.later(hours=25).tick()
    assert world.states(ids[0])[-1] == "unknown"
    assert len(world.pg.arrivals()) == before
    world.later(minutes=10)
    world.until_decided()
    one_charge_each(world, ids)


def test_a_charge_that_leaves_a_day_late_uses_up_the_day_it_leaves_on(world: World) -> None:
    """Its day was taken when it was planned; without the second one a new card would be charged within the hour."""
    (mina,) = due(world)
    world.pg.fault("refuse_connection", times=1)
    assert world.tick()["unsent"] == 1
    world.pg.fault("decline", times=1)
    assert world.later(days=1).tick()["declined"] == 1

    world.card(world.subscription(mina).customer_id)
    world.later(hours=1).tick()
    assert world.states(mina) == ["paid", "declined"]
    world.later(days=1).tick()
    assert world.states(mina) == ["paid", "declined", "paid"]


def test_money_for_an_older_invoice_makes_no_later_period_due(world: World) -> None:
    """The PG approves late what was given up, while the next invoice is being dunned: that one stays the newest."""
    mina = world.subscriber()
    world.pg.fault("late_approval", times=1, value=31 * 86_400 + 3600)
    world.at("2024-02-29 10:00").tick()
    assert world.states(mina)[-1] == "declined"
    world.app.invoices.close(world.invoice(mina).id, InvoiceState.UNCOLLECTIBLE, reason="gave up", actor="test")
    world.pg.fault("decline")
    world.at("2024-03-31 10:00").tick()
    late = world.attempts(mina)[1].merchant_uid
    before = world.topics(mina)
    world.at("2024-04-01 11:00").app.settle([late])
    assert [one.state.value for one in world.invoices(mina)] == ["paid", "paid", "open"]
    assert world.subscription(mina).state is S.PAST_DUE
    assert world.topics(mina)[len(before) :] == ["invoice.paid"], "nobody is told of a renewal that was none"

    world.days(2)
    assert len(world.invoices(mina)) == 3
    world.pg.heals()
    world.days(5)
    assert [one.state.value for one in world.invoices(mina)] == ["paid"] * 3
    assert len(world.pg.kept()) == 3
    assert world.is_proven()


def test_a_night_in_which_nothing_may_be_repeated_is_not_mistaken_for_a_month_of_looks(world: World) -> None:
    """What never arrived waits for the morning; one look that fails then must not be the last one ever."""
    (mina,) = ids = due(world)
    world.pg.fault("lost_request", times=1)
    world.at("2024-02-29 21:55").tick()
    while world.clock.now() < seoul("2024-03-01 08:56"):
        world.later(minutes=4).tick()
    assert world.states(mina) == ["paid", "unknown"]

    world.pg.fault("refuse_connection", path="/payments", times=1)
    world.later(minutes=4).tick()
    world.until_decided()
    one_charge_each(world, ids)


def test_an_outcome_nobody_looks_for_any_more_is_looked_up_by_a_retry_and_nothing_new_is_planned(world: World) -> None:
    """35 days of looks brought nothing: the attempt is still undecided, and a human asks for the invoice again."""
    (mina,) = due(world)
    world.pg.fault("lost_request", times=1)
    world.tick()
    lost = world.attempts(mina)[-1]
    with world.app.store.begin() as tx:
        tx.attempts.update([lost._replace(wake_at=None)], was=[lost])
    assert [one.name for one in world.app.retry([world.invoice(mina).id])] == ["unknown"]
    assert world.states(mina) == ["paid", "unknown"]


def test_an_attempt_ruled_void_after_its_subscription_ended_leaves_nothing_owed(world: World) -> None:
    (mina,) = due(world)
    world.pg.fault("lost_request", times=1)
    world.tick()
    world.app.subscriptions.cancel(mina, at_period_end=False, actor="mina")
    assert world.invoice(mina).state is InvoiceState.OPEN, "its charge is under way"
    world.app.attempts.resolve(world.attempts(mina)[-1].id, Ruling.VOID, reason="not in the console", actor="mina")
    assert world.invoice(mina).state is InvoiceState.VOID
    assert world.is_proven()
