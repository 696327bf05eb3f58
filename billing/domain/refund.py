"""Refunds: their record, their states, and who may draw which arrow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from hashlib import sha256
from typing import NamedTuple

from billing.domain.evidence import CancelOrder
from billing.domain.invoice import Invoice
from billing.domain.wording import refuse_card_numbers
from billing.errors import IllegalTransition, RuleError
from plans.money import Money, share

REASON_MAX = 200
KEY_MAX = 100
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
SURPLUS_REASON = "중복 결제 환불 (paid twice)"


class RefundState(StrEnum):
    """Where a refund stands. Its amount is reserved on the payment until it is done or refused."""

    PLANNED = "planned"  # the row exists; nothing can be on the wire
    SENDING = "sending"  # armed under a checksum: one request may be under way
    UNKNOWN = "unknown"  # a request may have been executed; how it ended is not known
    DONE = "done"  # the PG's history shows it
    REFUSED = "refused"  # the PG said no: a manual path, nothing moved


R = RefundState

IN_FLIGHT = frozenset({R.SENDING, R.UNKNOWN})
RESERVED = frozenset({R.PLANNED, R.SENDING, R.UNKNOWN})

ARROWS: dict[RefundState, frozenset[RefundState]] = {
    # Done at once: somebody gave it back in the PG's console, or the PG remembers what a restored backup forgot.
    R.PLANNED: frozenset({R.SENDING, R.DONE, R.REFUSED}),
    # Planned again: no byte of it left us, or the PG refused it unread because the balance had changed.
    R.SENDING: frozenset({R.PLANNED, R.UNKNOWN, R.DONE, R.REFUSED}),
    R.UNKNOWN: frozenset({R.SENDING, R.DONE, R.REFUSED}),
    # The PG's history always wins over what it answered.
    R.REFUSED: frozenset({R.DONE}),
    R.DONE: frozenset(),
}


class Origin(StrEnum):
    """Who wanted the money back."""

    OPERATOR = "operator"  # the merchant, by command or library call
    SURPLUS = "surplus"  # the engine: it was paid twice
    PG = "pg"  # somebody at the PG: a cancellation that none of our requests explains


class Refund(NamedTuple):
    """One amount given back, or to be given back, of one payment.

    `request_key` makes a request repeatable: the same key is the same refund. `checksum` is the balance we believed
    in when it was armed, in minor units like `amount`; a repeat carries the same one. `wake_at` is when anyone may
    take it up: None where nothing is left to do, or only a human may start it. `fence` grows with every taker.
    """

    id: str
    imp_uid: str
    invoice_id: str
    request_key: str
    origin: Origin
    actor: str
    reason: str
    amount: int
    currency: str
    tax_free: int
    vat: int
    state: RefundState
    created_at: datetime
    moved_at: datetime
    checksum: int | None = None
    fence: int = 0
    wire_count: int = 0
    looks: int = 0
    wake_at: datetime | None = None
    sent_at: datetime | None = None
    refusal: str | None = None
    cancellation_id: str | None = None


class Taxes(NamedTuple):
    """The parts of an amount that are free of VAT, and that are VAT."""

    tax_free: int
    vat: int


def refuse_unless_legal(refund: Refund, there: RefundState) -> None:
    """Raise `IllegalTransition` where no arrow leads from the refund's state to `there`."""
    if there not in ARROWS[refund.state]:
        raise IllegalTransition(f"refund {refund.id}", refund.state, there)


def checked_terms(amount: int | None, *, full: bool, reason: str, request_key: str | None) -> None:
    """Refuse a request that could give back something else than was meant, before anything is written.

    To the PG an amount of 0, or none, means everything. Here everything has to be asked for by name.
    Source: PortOne REST V1, POST /payments/cancel.

    Raises:
        RuleError: names the field and the cure.
    """
    whole = "give a positive amount in minor units, or --full for all that is left"
    if full and amount is not None:
        raise RuleError("amount", "was given together with --full", "give one of them")
    if not full and amount is None:
        raise RuleError("amount", "is missing", whole)
    if amount is not None and (isinstance(amount, bool) or not isinstance(amount, int)):
        raise RuleError("amount", "is not a whole number", whole)
    if amount is not None and amount <= 0:
        raise RuleError("amount", f"{amount} gives nothing back", whole)
    if not reason.strip():
        raise RuleError("reason", "is missing", "say why in a few words: --reason TEXT")
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise RuleError(
            "reason", f"is longer than {REASON_MAX} characters, or not printable", "the PG's history shows it: be brief"
        )
    refuse_card_numbers({"reason": reason, "key": request_key})
    if request_key is not None and (not 0 < len(request_key) <= KEY_MAX or not request_key.isprintable()):
        raise RuleError("key", f"must have 1 to {KEY_MAX} printable characters", "name the request, for example --key ticket-17")
    if request_key is not None and request_key.startswith(_RESERVED_KEYS):
        raise RuleError("key", f"must not begin with {' or '.join(_RESERVED_KEYS)}", "those are the engine's own")


_RESERVED_KEYS = ("surplus:", "pg:", "again:")


def surplus_key(imp_uid: str) -> str:
    """The request key of the one refund a surplus payment gets by itself."""
    return f"surplus:{imp_uid}"


def again_key(refund_id: str) -> str:
    """The request key of the one refund that repeats a refused one."""
    return f"again:{refund_id}"


def tag_of(request_key: str) -> str:
    """What names a refund of ours in the PG's history. It leads the reason, so that no cut takes it off.

    Derived like an order number: a request repeated after its row was forgotten has the same name. Letters alone, so that
    nothing in it ever reads as a card number.
    """
    return f"[rf_{sha256(request_key.encode()).hexdigest()[:32].translate(_LETTERS)}]"


def order_of(refund: Refund) -> CancelOrder:
    """What the wire carries for an armed refund."""
    if refund.checksum is None:
        raise AssertionError("a refund is armed under a checksum")
    return CancelOrder(
        imp_uid=refund.imp_uid,
        amount=refund.amount,
        checksum=refund.checksum,
        reason=f"{tag_of(refund.request_key)} {refund.reason}",
        currency=refund.currency,
        tax_free=refund.tax_free,
        vat_amount=refund.vat,
    )


def taxes_of(invoice: Invoice, paid: int) -> Taxes:
    """What is tax-free and what is VAT in a payment of an invoice; in proportion where another amount was paid."""
    if paid == invoice.total:
        return Taxes(invoice.tax_free, invoice.vat)
    ratio = Fraction(paid, invoice.total)
    return Taxes(*(share(Money(part, invoice.currency), ratio).amount for part in (invoice.tax_free, invoice.vat)))


def taxes_inside(amount: int, *, paid: int, whole: Taxes, refunds: Iterable[Refund], currency: str) -> Taxes:
    """What of `amount` is tax-free and what is VAT, so that all refunds of a payment together take back exactly `whole`.

    Counted from what is left and not from the whole: whoever refunds the rest takes every unit that rounding left.

    Args:
        paid: the payment's amount.
        refunds: every other refund of the payment; refused ones took nothing.
    """
    others = [one for one in refunds if one.state is not R.REFUSED]
    ratio = Fraction(amount, paid - sum(one.amount for one in others))
    tax_free = whole.tax_free - sum(one.tax_free for one in others)
    vat = whole.vat - sum(one.vat for one in others)
    return Taxes(share(Money(tax_free, currency), ratio).amount, share(Money(vat, currency), ratio).amount)
