"""What the PG told us: replies, payment records, and what we ask of it.

Plain values. How they look on the wire is `billing.gateway.wire`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from billing.domain.channel import takes_nothing_at_issue


class PaymentStatus(StrEnum):
    """Status of a record at the PG. Source: PortOne REST V1, PaymentAnnotation.status."""

    READY = "ready"  # an unfinished window, an unpaid virtual account, a deferred approval
    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"  # after any refund, also a partial one
    OTHER = "other"  # a word the documents do not list: new values may appear at any time


class DeclineClass(StrEnum):
    """What a decline asks of us; the judgement lives in the decline table of the gateway."""

    HARD = "hard"  # lost, stolen, closed: never again on this card
    NEEDS_NEW_CARD = "needs-new-card"  # expired, wrong number: only another card helps
    SOFT = "soft-retry-later"  # balance, limits: a later day may do
    TRANSIENT = "transient"  # maintenance, network: not the card's fault
    CONFIG = "config-error"  # contract, MID, amount: ours to mend, not the customer's
    UNKNOWN = "unknown-outcome"  # no table knows it: soft for retries, never hard


class Cancellation(NamedTuple):
    """One entry of a record's history of refunds, ours or a console's; `amount` in minor units.

    Source: PortOne REST V1, PaymentAnnotation.cancel_history (`cancellation_id` is assigned by PortOne; older
    entries have none).
    """

    amount: int
    reason: str | None = None
    cancellation_id: str | None = None
    cancelled_at: datetime | None = None


class VirtualAccount(NamedTuple):
    """An account number a buyer may pay into until `due_at`; at a bank, by whatever name.

    Source: PortOne REST V1, PaymentAnnotation (vbank_code, vbank_name, vbank_num <= 32, vbank_holder, vbank_date).
    """

    bank_code: str
    bank_name: str
    number: str
    holder: str
    due_at: datetime | None
    issued_at: datetime | None = None


class PaymentFact(NamedTuple):
    """One payment record, read from the PG by our own look-up (never from a notice's body).

    Amounts are minor units. `cancel_amount` is what has been refunded so far; `amount` does not
    shrink with it. Source: PortOne REST V1, PaymentAnnotation.
    """

    imp_uid: str
    merchant_uid: str
    status: PaymentStatus
    amount: int
    cancel_amount: int
    currency: str
    sandbox: bool
    customer_uid: str | None = None
    usage: str | None = None
    pg_provider: str | None = None
    pg_tid: str | None = None
    paid_at: datetime | None = None
    failed_at: datetime | None = None
    cancelled_at: datetime | None = None
    fail_reason: str | None = None
    fail_code: str | None = None
    decline_class: DeclineClass | None = None
    card_name: str | None = None
    receipt_url: str | None = None
    custom_data: str | None = None
    cancel_history: tuple[Cancellation, ...] = ()
    started_at: datetime | None = None
    channel: str | None = None
    pay_method: str | None = None
    account: VirtualAccount | None = None

    @property
    def is_money(self) -> bool:
        """True for a record of money the PG took, whether or not it was given back since."""
        return self._says_paid and self.amount > 0 and not self._only_registers

    @property
    def is_over_nothing(self) -> bool:
        """True for a record that says paid and is of no money: what a card leaves that is registered in a window.

        Any browser can make one under any order number, so it may say nothing about an attempt.
        Source: PortOne REST V1, PaymentAnnotation.customer_uid_usage `issue` (the amount is the one the window showed).
        """
        return self._says_paid and not self.is_money

    @property
    def _says_paid(self) -> bool:
        return self.status in (PaymentStatus.PAID, PaymentStatus.CANCELLED)

    @property
    def _only_registers(self) -> bool:
        """True for a card registered in a window of a PG that shows an amount there, and takes none.

        Its record can carry the very number, amount and card of a charge of ours: all three are the page's to write.
        """
        return self.usage == "issue" and self.is_from_a_browser and takes_nothing_at_issue(self.pg_provider or "")

    @property
    def is_from_a_browser(self) -> bool:
        """True where a buyer's browser began it: under any number and note it likes, because the SDK's parameters are its own.

        Source: PortOne REST V1, PaymentAnnotation.channel (`pc`, `mobile`, `api`).
        """
        return self.channel in ("pc", "mobile")


class UnreadRecord(NamedTuple):
    """A record of a list that breaks the PG's contract: what can be said of it all the same, empty where nothing can."""

    imp_uid: str
    merchant_uid: str
    customer_uid: str
    custom_data: str | None
    why: str


class ChargeOrder(NamedTuple):
    """Everything one `again` call carries, frozen when the attempt was planned."""

    attempt_id: str
    merchant_uid: str
    customer_uid: str
    amount: int
    currency: str
    name: str
    tax_free: int = 0
    vat_amount: int | None = None
    buyer_name: str = ""
    buyer_email: str = ""
    buyer_tel: str = ""
    custom_data: str = ""


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """A refund as the PG wants it; `checksum` is the balance we believe is still refundable."""

    imp_uid: str
    amount: int
    checksum: int
    reason: str
    currency: str = "KRW"
    tax_free: int = 0
    vat_amount: int | None = None

    def __post_init__(self) -> None:
        # An amount of 0 means "everything" to the PG. Source: PortOne REST V1, POST /payments/cancel.
        if self.amount <= 0 or self.checksum < self.amount:
            raise ValueError(f"a refund of {self.amount} out of {self.checksum} is not one")


@dataclass(frozen=True, slots=True)
class Channel:
    """A payment channel as the PG has it configured. Source: PortOne REST V1, GET /users/pg."""

    pg_provider: str
    pg_id: str
    sandbox: bool
    type: str = ""
    name: str = ""
    key: str = ""


# --- replies to an order -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """HTTP 200, code 0, with a record. Only `fact.status` says whether money moved."""

    fact: PaymentFact


class RefusalKind(StrEnum):
    """What an envelope with code ≠ 0 means for the attempt."""

    DUPLICATE = "duplicate"  # the order number was used before: an earlier send may have worked
    FINAL = "final"  # unknown key, bad parameter, no contract: refused before the card network
    UNCLEAR = "unclear"  # any other text: possibly below PortOne, so look before believing


@dataclass(frozen=True, slots=True)
class Refusal:
    """HTTP 200 with code ≠ 0 and no record."""

    kind: RefusalKind
    code: int
    message: str
    decline_class: DeclineClass = DeclineClass.UNKNOWN


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """HTTP 401: refused at the door, before execution."""


@dataclass(frozen=True, slots=True)
class RateLimited:
    """HTTP 429: probably not executed; the channel is asked to slow down."""

    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """No usable answer. `sent=False` only where it is proven that no byte of it left us."""

    sent: bool
    why: str


Reply = Answered | Refusal | Unauthorized | RateLimited | Silence


def asked_to_wait(reply: Reply | None) -> timedelta:
    """What Retry-After asks for, an hour at most: a wrong header must not park a charge."""
    seconds = reply.retry_after_seconds if isinstance(reply, RateLimited) else None
    return timedelta(seconds=min(max(seconds or 0.0, 0.0), 3600.0))
