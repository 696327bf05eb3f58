"""Plan to give back what was paid twice, in the transaction that books it."""

from __future__ import annotations

from billing.domain.booking import ENGINE
from billing.domain.policy import Policy
from billing.domain.refund import SURPLUS_REASON, Origin, surplus_key
from billing.flow.refund_settlement import Page
from billing.store.unit import Tx


def plan_surplus(tx: Tx, invoice_id: str, imp_uid: str, policy: Policy) -> None:
    """Plan the refund of a surplus payment, once.

    Up to the merchant's limit the worker sends it by itself; a larger one waits for `billing refund retry`.
    """
    page = Page.opened(tx, invoice_id, imp_uid)
    if page.left > 0 and tx.refunds.by_key(surplus_key(imp_uid)) is None:
        is_awake = page.left <= policy.surplus_refund_max
        page.plan(
            page.left, key=surplus_key(imp_uid), origin=Origin.SURPLUS, actor=ENGINE, reason=SURPLUS_REASON, is_awake=is_awake
        )
