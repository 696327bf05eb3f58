"""The PG approves late what it had declined, while a later number of the same invoice is still in doubt."""

from __future__ import annotations

import pytest

from billing.domain.invoice import InvoiceState
from billing.domain.subscription import SubscriptionState
from tests.kit.world import World


@pytest.mark.parametrize("is_canceled", [False, True])
def test_a_decline_that_becomes_known_after_the_invoice_was_paid_dunns_nobody(world: World, *, is_canceled: bool) -> None:
    """Found by the simulator: the paid invoice was to be tried again, the database refused, and every pass ended there."""
    mina = world.subscriber()
    world.at("2024-02-29 10:00").pg.fault("late_approval", times=1, value=26 * 3600)
    world.tick()
    for name, value in (("decline", None), ("error_after_approval", None), ("lookup_lag", 4 * 3600)):
        world.pg.fault(name, times=1, value=value)
    world.at("2024-03-01 10:00").tick()
    world.at("2024-03-01 13:00").app.reconcile()
    assert world.invoice(mina).state is InvoiceState.PAID
    if is_canceled:
        world.app.subscriptions.cancel(mina, at_period_end=False, actor="test")

    world.at("2024-03-01 15:00").tick()
    world.until_decided()

    assert world.states(mina)[-2:] == ["paid", "declined"]
    assert world.invoice(mina).state is InvoiceState.PAID
    assert world.invoice(mina).next_attempt_at is None
    assert world.subscription(mina).state is (SubscriptionState.CANCELED if is_canceled else SubscriptionState.ACTIVE)
    assert world.is_proven()
