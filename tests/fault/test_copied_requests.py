"""Something between us and the PG repeats a request of ours by itself: two records under one number, perhaps two payments."""

from __future__ import annotations

from billing.domain.invoice import InvoiceState
from billing.sandbox import SandboxConfig
from tests.fault.test_reconciliation import asked
from tests.kit.world import World, world_on


def copied(world: World, subscription: str, times: int) -> None:
    """The last charge of this subscription arrives again, as a proxy would deliver it."""
    sent = world.attempts(subscription)[-1]
    fields = {
        "customer_uid": sent.customer_uid,
        "merchant_uid": sent.merchant_uid,
        "amount": sent.amount,
        "name": sent.order_name,
    }
    for _ in range(times):
        asked(world, "/subscribe/payments/again", fields)


def test_copies_that_are_approved_after_a_decline_end_the_next_attempt(database_url: str) -> None:
    """Found by the simulator: the second payment under a number was news to the probe again and again, for ever."""
    with world_on(database_url, config=SandboxConfig(batch_lists_every_record=True)) as world:
        mina = world.subscriber()
        world.at("2024-02-29 10:00").pg.fault("decline", times=1)
        world.tick()
        world.pg.fault("late_approval", times=1, value=90_000)
        copied(world, mina, times=2)
        world.at("2024-03-01 10:00").app.worker.renew()
        world.later(hours=3)

        for _ in range(3):
            world.later(minutes=20).app.worker.renew()

        assert world.invoice(mina).state is InvoiceState.PAID
        assert world.states(mina)[-2:] == ["paid", "void"]
        assert world.undecided() == 0


def test_every_payment_under_one_number_is_booked(world: World) -> None:
    """One pays, all others are to be given back, however many there are and in whatever order they are shown."""
    mina = world.subscriber()
    world.at("2024-02-29 10:00").tick()
    copied(world, mina, times=3)
    uid = world.attempts(mina)[-1].merchant_uid

    for _ in range(4):
        world.app.reconcile()

    paid = [row["imp_uid"] for row in world.pg.sandbox.ledger()["payments"] if row["merchant_uid"] == uid]
    with world.app.store.read() as tx:
        assert tx.payments.known(paid) == set(paid)
