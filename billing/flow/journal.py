"""Write bookings: every row of one step, few statements however many cases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from billing.domain.attempt import ChargeAttempt
from billing.domain.booking import Booking, Pen
from billing.domain.evidence import PaymentFact
from billing.store.accounts import Account
from billing.store.payments import Payment
from billing.store.unit import Tx


def post(tx: Tx, bookings: Sequence[Booking], was: dict[str, ChargeAttempt], *, business_now: datetime) -> None:
    """Write settled cases in the order everybody locks: attempt, payment, invoice, subscription, then the books.

    `was` are the attempts as locked. A subscription or invoice that appears twice is written as it
    stood last.
    """
    moved = {one.attempt.id: one.attempt for one in bookings if one.attempt is not None and one.attempt != was[one.attempt.id]}
    tx.attempts.update(list(moved.values()), was=[was[id] for id in moved])
    tx.payments.insert(
        [_payment(fact, role, one, business_now) for one in bookings for fact, role in one.payments],
    )
    tx.accounts.insert([_account(fact, one, business_now) for one in bookings for fact in one.accounts])
    tx.invoices.update(list({one.invoice.id: one.invoice for one in bookings if one.events or one.audits}.values()))
    tx.ledger.post([transfer for one in bookings for transfer in one.transfers], business_now)
    heads: dict[str, str] = {}
    for one in bookings:
        id = one.subscription.id
        heads[id] = tx.audit.chain(id, heads.get(id, one.subscription.audit_head), one.audits, tx.now)
    changed = {one.subscription.id: one.subscription for one in bookings if one.events or one.audits}
    tx.subscriptions.update([one._replace(audit_head=heads[id]) for id, one in changed.items()])
    tx.outbox.publish([event for one in bookings for event in one.events], business_now)
    tx.audit.flush()


def post_pen(tx: Tx, pen: Pen, *, business_now: datetime) -> None:
    """Write one subscription's step that has no attempt: its events, its traces and itself."""
    head = tx.audit.chain(pen.subscription.id, pen.subscription.audit_head, pen.audits, tx.now)
    pen.subscription = pen.subscription._replace(audit_head=head)
    tx.subscriptions.update([pen.subscription])
    tx.outbox.publish(pen.events, business_now)
    tx.audit.flush()


def _account(fact: PaymentFact, booking: Booking, at: datetime) -> Account:
    attempt, account = booking.attempt, fact.account
    if attempt is None or account is None:
        raise AssertionError("an account belongs to an attempt")
    return Account(
        imp_uid=fact.imp_uid,
        attempt_id=attempt.id,
        invoice_id=booking.invoice.id,
        bank_code=account.bank_code,
        bank_name=account.bank_name,
        number=account.number,
        holder=account.holder,
        amount=fact.amount,
        currency=fact.currency,
        due_at=account.due_at,
        issued_at=account.issued_at or at,
    )


def _payment(fact: PaymentFact, role: str, booking: Booking, at: datetime) -> Payment:
    attempt = booking.attempt
    if attempt is None:
        raise AssertionError("a payment belongs to an attempt")
    return Payment(
        imp_uid=fact.imp_uid,
        attempt_id=attempt.id,
        invoice_id=booking.invoice.id,
        merchant_uid=attempt.merchant_uid,
        role=role,
        amount=fact.amount,
        currency=fact.currency,
        pg_provider=fact.pg_provider or "",
        pg_tid=fact.pg_tid or "",
        card_name=fact.card_name or "",
        receipt_url=fact.receipt_url or "",
        paid_at=fact.paid_at,
        booked_at=at,
    )
