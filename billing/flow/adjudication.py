"""A human decides what the rules cannot: parked money, and outcomes that never became known."""

from __future__ import annotations

from enum import StrEnum

from billing.domain import ledger
from billing.domain.attempt import AttemptState, ChargeAttempt, refuse_unless_legal
from billing.domain.booking import Pen, closed, paid_invoice
from billing.domain.invoice import Collection, InvoiceState
from billing.domain.policy import Policy
from billing.domain.subscription import OVER
from billing.errors import RuleError
from billing.flow.journal import post_pen
from billing.flow.settlement import Settlement
from billing.flow.surplus import plan_surplus
from billing.store.unit import Store, Tx


class Ruling(StrEnum):
    """What a human may say of an undecided attempt."""

    PAID = "paid"  # the parked money pays the invoice as it is
    SURPLUS = "surplus"  # the parked money is to be given back
    VOID = "void"  # nothing moved: the merchant saw it in the PG's console


class Adjudication:
    """Rulings on attempts."""

    def __init__(self, store: Store, settlement: Settlement, policy: Policy) -> None:
        self._store = store
        self._settlement = settlement
        self._policy = policy

    def resolve(self, attempt: str, ruling: Ruling, *, reason: str, actor: str) -> ChargeAttempt:
        """Decide an attempt by hand, after the PG was asked once more.

        If the PG's own record decides it meanwhile, that stands and the ruling is refused. Parked money
        (mismatch) may be ruled paid or surplus; an unknown outcome may be ruled void, which lets the
        invoice be tried again under the next number.

        Args:
            attempt: id or merchant_uid.

        Raises:
            NotFound, RuleError, GatewayError: no such attempt; the ruling does not fit; the PG could not be asked.
        """
        if not reason.strip():
            raise RuleError("reason", "is missing", "say what you saw at the PG: --reason TEXT")
        with self._store.read() as tx:
            found = tx.attempts.find(attempt)
        self._settlement.settle([found.merchant_uid])
        return self._store.run(lambda tx: self._ruled(tx, found, ruling, reason, actor))

    def _ruled(self, tx: Tx, found: ChargeAttempt, ruling: Ruling, reason: str, actor: str) -> ChargeAttempt:
        ((invoice, subscription),) = tx.invoices.lock([found.invoice_id])
        attempt = tx.attempts.locked([found.id])[found.id]
        allowed = {AttemptState.MISMATCH: (Ruling.PAID, Ruling.SURPLUS), AttemptState.UNKNOWN: (Ruling.VOID,)}
        if ruling not in allowed.get(attempt.state, ()):
            choices = " or ".join(allowed.get(attempt.state, ())) or "nothing: it is decided"
            raise RuleError("attempt", f"{attempt.merchant_uid} is {attempt.state}", f"it can be resolved as {choices}")
        if ruling is Ruling.PAID and invoice.state is not InvoiceState.OPEN:
            raise RuleError("attempt", f"invoice {invoice.number} is {invoice.state}", "resolve it as surplus")
        state = AttemptState(ruling.value)
        refuse_unless_legal(attempt, state)
        after = attempt._replace(state=state, wake_at=None, moved_at=tx.now)
        pen = Pen(subscription)
        pen.note("attempt.resolved", attempt.merchant_uid, actor, ruling=ruling.value, reason=reason)
        pen.tell("charge.resolved", invoice_id=invoice.id, merchant_uid=attempt.merchant_uid, ruling=ruling.value)
        tx.attempts.update([after], was=[attempt])
        now = tx.business_now
        if ruling is Ruling.VOID and subscription.state in OVER and invoice.state is InvoiceState.OPEN:
            tx.invoices.update([closed(invoice, InvoiceState.VOID, pen, now, actor=actor, reason="the subscription is over")])
        elif ruling is Ruling.VOID and invoice.state is InvoiceState.OPEN:
            tx.invoices.update([invoice._replace(next_attempt_at=now, collection=Collection.CHARGE)])
        elif ruling is not Ruling.VOID:
            self._release(tx, after, ruling)
            if ruling is Ruling.PAID:
                tx.invoices.update([paid_invoice(invoice, pen, at=now, imp_uid=attempt.imp_uid)])
                tx.ledger.post([row for row in ledger.payment_transfers(invoice, "") if row.kind != "charge"], now)
        post_pen(tx, pen, business_now=now)
        if ruling is Ruling.SURPLUS and after.imp_uid is not None:
            plan_surplus(tx, invoice.id, after.imp_uid, self._policy)
        return after

    def _release(self, tx: Tx, attempt: ChargeAttempt, ruling: Ruling) -> None:
        """Move parked money out of suspense; money that never was a balance of ours cannot be released."""
        payments = [one for one in tx.payments.of_attempt(attempt.id) if one.role == "mismatch"]
        for one in payments:
            if not tx.ledger.has("charge", one.imp_uid):
                raise RuleError(
                    "attempt", "its money is in another mode or currency", "clear it at the PG, nothing can be booked here"
                )
            kept = one.amount - one.refunded
            if ruling is Ruling.PAID and kept != attempt.amount:
                problem = f"{kept} was paid and kept for an invoice of {attempt.amount}"
                raise RuleError("attempt", problem, "resolve it as surplus")
            row = (
                ledger.released_transfer(ledger.MISMATCH, one.imp_uid, kept, one.currency)
                if ruling is Ruling.PAID
                else ledger.moved_to_surplus(one.imp_uid, kept, one.currency)
            )
            tx.ledger.post([row] if kept else [], tx.business_now)
            tx.payments.set_role(one.imp_uid, "invoice" if ruling is Ruling.PAID else "surplus")
