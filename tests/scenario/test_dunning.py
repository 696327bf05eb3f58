"""What follows a decline."""

from __future__ import annotations

import pytest

from billing.domain.attempt import AttemptState
from billing.domain.invoice import InvoiceState
from billing.domain.subscription import SubscriptionState as S
from tests.kit.world import World, world_on


def declines(world: World, code: str = "120054", **facts: object) -> None:
    world.pg.fault("decline", value=code, **facts)


def test_a_soft_decline_is_tried_again_after_1_3_5_and_7_local_days_and_then_given_up(world: World) -> None:
    mina = world.subscriber("pro-monthly")
    declines(world)
    world.at("2024-02-29 10:00").tick()
    assert world.subscription(mina).state is S.PAST_DUE

    world.days(8)
    tried = [one.created_at.astimezone(world.subscription(mina).zone).date().isoformat() for one in world.attempts(mina)]
    assert tried == ["2024-01-31", "2024-02-29", "2024-03-01", "2024-03-03", "2024-03-05", "2024-03-07"]
    assert world.invoice(mina).state is InvoiceState.UNCOLLECTIBLE
    assert world.subscription(mina).state is S.CANCELED
    assert world.subscription(mina).due_at is None
    assert world.is_proven()


def test_a_subscription_may_be_left_past_due_instead(database_url: str) -> None:
    with world_on(database_url, dunning_end="past_due") as world:
        mina = world.subscriber("pro-monthly")
        declines(world)
        world.at("2024-02-29 10:00").tick()
        world.days(30)
        assert world.subscription(mina).state is S.PAST_DUE
        assert world.invoice(mina).state is InvoiceState.OPEN
        assert len(world.attempts(mina)) == 6

        world.pg.heals()
        world.app.retry([world.invoice(mina).id])
        assert world.subscription(mina).state is S.ACTIVE
        assert world.is_proven()


def test_a_retry_that_succeeds_makes_all_good_and_keeps_the_anchor(world: World) -> None:
    mina = world.subscriber("pro-monthly")
    declines(world, times=2)
    world.at("2024-02-29 10:00").tick()
    world.days(3)
    assert world.states(mina) == ["paid", "declined", "declined", "paid"]
    assert world.subscription(mina).state is S.ACTIVE
    assert str(world.period(mina)[1]) == "2024-03-31"


@pytest.mark.parametrize("code", ["120026", "120004"])
def test_a_lost_or_expired_card_is_never_tried_again_and_another_card_is_awaited(world: World, code: str) -> None:
    mina = world.subscriber("pro-monthly")
    declines(world, code)
    world.at("2024-02-29 10:00").tick()
    world.days(6)
    assert world.states(mina) == ["paid", "declined"]
    assert world.subscription(mina).state is S.PAST_DUE
    world.days(1)
    assert world.subscription(mina).state is S.CANCELED


def test_a_new_card_is_tried_by_the_next_pass_and_the_old_key_is_deleted(world: World) -> None:
    mina = world.subscriber("pro-monthly", card="expires", expiry="2024-02")
    world.at("2024-03-02 10:00").tick()
    assert world.states(mina) == ["paid", "declined"]

    new = world.card(world.subscription(mina).customer_id)
    world.at("2024-03-03 10:00").tick()

    assert world.states(mina) == ["paid", "declined", "paid"]
    assert world.attempts(mina)[-1].customer_uid == new.customer_uid
    assert world.subscription(mina).state is S.ACTIVE
    alive = [row["customer_uid"] for row in world.pg.sandbox.ledger()["billing_keys"] if row["alive_at_pg"]]
    assert alive == [new.customer_uid]


def test_maintenance_at_the_issuer_consumes_no_step_of_the_ladder(world: World) -> None:
    mina = world.subscriber("pro-monthly")
    declines(world, "1200B9", times=1)
    world.at("2024-02-29 10:00").tick()
    assert world.invoice(mina).declines == 0
    world.days(1)
    assert world.subscription(mina).state is S.ACTIVE


def test_a_contract_problem_is_ours_and_no_customer_is_told_their_card_failed(world: World) -> None:
    mina = world.subscriber("pro-monthly")
    declines(world, "550431")
    world.at("2024-02-29 10:00").tick()
    world.days(10)
    assert world.states(mina) == ["paid", "declined"]
    assert world.subscription(mina).state is S.ACTIVE
    assert "invoice.needs_attention" in world.topics(mina)
    assert "subscription.past_due" not in world.topics(mina)


def test_at_most_one_automatic_charge_a_day_whatever_is_due(world: World) -> None:
    mina = world.subscriber("pro-monthly")
    declines(world, times=1)
    world.at("2024-02-29 10:00").tick()
    world.card(world.subscription(mina).customer_id)
    assert world.later(hours=1).tick()["not_tried"] == 1
    assert world.states(mina) == ["paid", "declined"]
    assert world.days(1)["paid"] == 1


def test_a_renewal_without_any_card_waits_for_one(world: World) -> None:
    mina = world.subscriber("pro-trial", card=None)
    world.at("2024-02-14 10:00").tick()
    assert world.subscription(mina).state is S.PAST_DUE
    assert world.attempts(mina) == []
    world.card(world.subscription(mina).customer_id)
    world.later(hours=1).tick()
    assert world.subscription(mina).state is S.ACTIVE


def test_a_declined_first_payment_leaves_it_incomplete_until_another_card_pays(world: World) -> None:
    mina = world.subscriber("pro-monthly", card="balance")
    assert world.subscription(mina).state is S.INCOMPLETE
    world.days(1)
    assert world.states(mina) == ["declined"]

    world.card(world.subscription(mina).customer_id)
    world.later(hours=1).tick()
    assert world.subscription(mina).state is S.ACTIVE
    assert str(world.period(mina)[0]) == "2024-01-31"


def test_a_first_payment_nobody_completes_is_canceled_after_three_days(world: World) -> None:
    mina = world.subscriber("pro-monthly", card="balance")
    world.days(4)
    assert world.subscription(mina).state is S.CANCELED
    assert world.invoice(mina).state is InvoiceState.VOID
    assert world.attempts(mina)[0].state is AttemptState.DECLINED


def test_a_first_payment_that_is_still_undecided_is_not_canceled(world: World) -> None:
    world.pg.fault("pending", times=1, value="5d")
    mina = world.subscriber("pro-monthly")
    world.days(4)
    assert world.subscription(mina).state is S.INCOMPLETE
    world.days(3)
    assert world.subscription(mina).state is S.ACTIVE
    assert world.states(mina) == ["paid"]
