"""Decide whether an open invoice may be charged now, and under which number. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from billing.domain.attempt import (
    BROWSER_WAYS,
    NUMBERS_PER_INVOICE,
    PROBE_WINDOW,
    AttemptState,
    ChargeAttempt,
    Trigger,
    Way,
    merchant_uid,
)
from billing.domain.customer import Customer
from billing.domain.evidence import ChargeOrder, PaymentFact, PaymentStatus
from billing.domain.invoice import Invoice, InvoiceState
from billing.domain.subscription import OVER, Subscription, SubscriptionState

WITHOUT_RECORD = (AttemptState.REJECTED, AttemptState.VOID)

# Limits of the wire; the PG cuts or refuses longer values.
# Source: PortOne REST V1, POST /subscribe/payments/again (buyer_name <= 16, buyer_email <= 64, buyer_tel <= 16).
_BUYER_NAME, _BUYER_EMAIL, _BUYER_TEL = 16, 64, 16


def is_wanted(invoice: Invoice, subscription: Subscription) -> bool:
    """True while this invoice should still be collected; asked again right before every send."""
    return (
        invoice.state is InvoiceState.OPEN
        and subscription.state not in OVER
        and subscription.state is not SubscriptionState.PAUSED
    )


def has_free_number(invoice: Invoice, earlier: Sequence[ChargeAttempt], *, spare: int = 0) -> bool:
    """True when another number may be given out without blinding the probe.

    Five numbers in a row that left no record at the PG would hide whatever came after them from a
    probe of the first six; see `attempt.PROBE_WINDOW`.

    Args:
        spare: how many more must be free after it, should it leave no record either.
    """
    if invoice.attempts_planned + spare >= NUMBERS_PER_INVOICE:
        return False
    most = PROBE_WINDOW - 1 - spare
    tail = sorted(earlier, key=lambda one: one.seq)[-most:]
    return len(tail) < most or any(one.state not in WITHOUT_RECORD for one in tail)


def planned(
    invoice: Invoice,
    subscription: Subscription,
    customer: Customer,
    customer_uid: str,
    *,
    attempt_id: str,
    trigger: Trigger,
    lease_until: datetime,
    now: datetime,
    seq: int | None = None,
    way: Way = Way.KEY,
) -> ChargeAttempt:
    """The next attempt of an invoice, or number `seq` of it: amount, card and name frozen, nothing sent yet.

    Args:
        customer_uid: the card it goes to, or keeps; "" where no card is kept.
    """
    number = seq or invoice.attempts_planned + 1
    return ChargeAttempt(
        id=attempt_id,
        invoice_id=invoice.id,
        subscription_id=subscription.id,
        customer_id=customer.id,
        bucket=invoice.bucket,
        seq=number,
        merchant_uid=merchant_uid(invoice.uid_stem, number),
        customer_uid=customer_uid,
        way=way,
        trigger=trigger,
        amount=invoice.total,
        currency=invoice.currency,
        tax_free=invoice.tax_free,
        vat=invoice.vat,
        order_name=invoice.order_name,
        buyer_name=customer.name[:_BUYER_NAME],
        buyer_email=customer.email if len(customer.email) <= _BUYER_EMAIL else "",
        buyer_tel=customer.tel[:_BUYER_TEL],
        state=AttemptState.PLANNED,
        created_at=now,
        moved_at=now,
        fence=1,
        wake_at=lease_until,
    )


def armed(attempt: ChargeAttempt, *, token_fp: str, now: datetime, until: datetime) -> ChargeAttempt:
    """The attempt with one send under way: to be committed before a byte leaves, or a number is handed out."""
    return attempt._replace(
        state=AttemptState.SENDING,
        wire_count=attempt.wire_count + 1,
        token_fp=token_fp,
        sent_at=now,
        wake_at=until,
        moved_at=now,
        looks=0,
        first_negative_at=None,
        superseded_at=None,
    )


def order_of(attempt: ChargeAttempt, ledger_id: str) -> ChargeOrder:
    """What the wire carries for an attempt.

    `custom_data` comes back with every record: it names the ledger, which tells two databases on one account apart,
    and the invoice, for whoever reads the PG's console. Source: PortOne REST V1 (custom_data is stored and echoed).
    """
    return ChargeOrder(
        attempt_id=attempt.id,
        merchant_uid=attempt.merchant_uid,
        customer_uid=attempt.customer_uid,
        amount=attempt.amount,
        currency=attempt.currency,
        name=attempt.order_name,
        tax_free=attempt.tax_free,
        vat_amount=attempt.vat,
        buyer_name=attempt.buyer_name,
        buyer_email=attempt.buyer_email,
        buyer_tel=attempt.buyer_tel,
        custom_data=json.dumps(note_of(attempt, ledger_id), separators=(",", ":")),
    )


def note_of(attempt: ChargeAttempt, ledger_id: str) -> dict[str, str]:
    """What every record of an attempt carries along as `custom_data`."""
    return {"ledger": ledger_id, "invoice": attempt.invoice_id}


def way_of(fact: PaymentFact) -> Way:
    """How a record nobody here remembers came about, as far as it tells.

    Source: PortOne REST V1, PaymentAnnotation (`customer_uid_usage` issue: a window that kept a card; `channel`).
    """
    if fact.is_from_a_browser:
        return Way.ISSUE if fact.usage == "issue" else Way.WINDOW
    return Way.KEY if fact.customer_uid else Way.ONETIME


def ledger_of(custom_data: str | None) -> str | None:
    """The ledger a record's `custom_data` names; None where it names none."""
    try:
        note = json.loads(custom_data or "")
    except (ValueError, RecursionError):
        return None
    ledger = note.get("ledger") if isinstance(note, dict) else None
    return ledger if isinstance(ledger, str) else None


def is_news(fact: PaymentFact, known: ChargeAttempt | None) -> bool:
    """True when a record the probe found says something our rows do not know yet."""
    is_window = known is not None and known.way in BROWSER_WAYS
    if fact.is_from_a_browser and not fact.is_money and (not is_window or fact.status is not PaymentStatus.FAILED):
        # A window somebody opened and left stays `ready` for ever, one that was declined says failed, and what a card leaves
        # that was registered says paid. Any browser can make them under any number: they must not hold up what collects.
        return False
    if known is None:
        return True
    if known.state in (AttemptState.PAID, AttemptState.SURPLUS, AttemptState.MISMATCH):
        return fact.is_money and fact.imp_uid != known.imp_uid
    if known.state in (AttemptState.DECLINED, AttemptState.REJECTED, AttemptState.VOID):
        return fact.status is not PaymentStatus.FAILED
    return True
