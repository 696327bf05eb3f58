"""Charge attempts: their name at the PG, their states, and who may draw which arrow."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from billing.errors import IllegalTransition

NUMBERS_PER_INVOICE = 16
"""Attempts 01…16 are the complete name space of an invoice: no charge of it can hide elsewhere."""

PROBE_WINDOW = 6
"""How many numbers the first probe asks for, and one more than may stand in a row without a record.

A number is only given out while one of the five before it has a record at the PG (or there are
fewer than five). So if the PG holds any record of an invoice, it holds one among the first six,
and a probe of six that finds nothing has proven the whole name space empty.
"""


class AttemptState(StrEnum):
    """Where an attempt stands. *Live* states block any other attempt of the same invoice."""

    PLANNED = "planned"  # the row exists; nothing can be on the wire
    SENDING = "sending"  # armed: exactly one send may be under way, by the holder of the fence
    UNKNOWN = "unknown"  # a send may have happened; how it ended is not known
    PAID = "paid"  # the PG's record says paid and every field matches ours
    DECLINED = "declined"  # every record of this number at the PG says failed
    REJECTED = "rejected"  # refused without a record at the PG
    MISMATCH = "mismatch"  # paid, but a field differs: a human decides, nothing else moves
    SURPLUS = "surplus"  # paid, but the invoice was settled or void already: money to give back
    VOID = "void"  # proven never to have reached the PG, and no longer wanted; or a window nobody paid in


S = AttemptState

LIVE = frozenset({S.PLANNED, S.SENDING, S.UNKNOWN, S.MISMATCH})

ARROWS: dict[AttemptState, frozenset[AttemptState]] = {
    # The probe can find an older life of this number (a restored backup): evidence books it at once.
    S.PLANNED: frozenset({S.SENDING, S.VOID, S.PAID, S.DECLINED, S.MISMATCH, S.SURPLUS}),
    S.SENDING: frozenset({S.PLANNED, S.UNKNOWN, S.PAID, S.DECLINED, S.REJECTED, S.MISMATCH, S.SURPLUS}),
    S.UNKNOWN: frozenset({S.SENDING, S.PAID, S.DECLINED, S.REJECTED, S.MISMATCH, S.SURPLUS, S.VOID}),
    # Approved late: verified money always wins.
    S.DECLINED: frozenset({S.PAID, S.MISMATCH, S.SURPLUS}),
    S.REJECTED: frozenset({S.PAID, S.MISMATCH, S.SURPLUS}),
    S.VOID: frozenset({S.PAID, S.MISMATCH, S.SURPLUS}),
    # A human looked: the amount was right after all, is to be given back, or never was.
    S.MISMATCH: frozenset({S.PAID, S.SURPLUS, S.VOID}),
    S.PAID: frozenset(),  # undone only by a refund, which lives on the payment
    S.SURPLUS: frozenset(),
}


class Way(StrEnum):
    """How the money is asked for. All five walk the same road."""

    KEY = "key"  # POST /subscribe/payments/again
    WINDOW = "window"  # the buyer pays in the browser
    ISSUE = "issue"  # the window registers a card at a PG that charges for it at once
    ONETIME = "onetime"  # key-in, nothing kept
    ONETIME_KEY = "onetime_key"  # key-in, charged and the key kept


BROWSER_WAYS = frozenset({Way.WINDOW, Way.ISSUE})
"""The buyer's browser sends: armed means that a window may be open, and only time says that it is not."""

OPENINGS_MAX = 48
"""How often a window may be opened under one number, or be given a go: each puts off for an hour what collects by itself."""

KEEPS_NO_CARD = frozenset({Way.WINDOW, Way.ONETIME})
"""Such an attempt names no card, and neither does its record."""


REOPENED: dict[AttemptState, frozenset[AttemptState]] = {
    # Under the same number: should the first window be paid after all, the PG refuses to open another for it.
    S.VOID: frozenset({S.SENDING}),
}
"""Arrows of windows alone, beside `ARROWS`. Source: PortOne V1 SDK (a merchant_uid that was paid is refused, F1002)."""


class Trigger(StrEnum):
    """Who wanted the attempt: automatic ones are limited to one per subscription and local day."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class ChargeAttempt(NamedTuple):
    """One try to collect one invoice under one `merchant_uid`.

    Amounts are minor units and, like the card (`customer_uid`), frozen when the row is written.
    `wake_at` is when anyone may look at a live attempt again: the end of the holder's lease, or
    the next look of an unknown one. `fence` grows with every taker; a writer with an old one
    changes nothing.
    """

    id: str
    invoice_id: str
    subscription_id: str
    customer_id: str
    bucket: int
    seq: int
    merchant_uid: str
    customer_uid: str
    way: Way
    trigger: Trigger
    amount: int
    currency: str
    tax_free: int
    vat: int
    order_name: str
    buyer_name: str
    buyer_email: str
    buyer_tel: str
    state: AttemptState
    created_at: datetime
    moved_at: datetime
    fence: int = 0
    wire_count: int = 0
    looks: int = 0
    wake_at: datetime | None = None
    token_fp: str | None = None
    sent_at: datetime | None = None
    first_negative_at: datetime | None = None
    superseded_at: datetime | None = None
    refusal: str | None = None
    hint_imp_uid: str | None = None
    imp_uid: str | None = None
    fail_code: str | None = None
    fail_reason: str | None = None
    fail_class: str | None = None


def refuse_unless_legal(attempt: ChargeAttempt, there: AttemptState) -> None:
    """Raise `IllegalTransition` where no arrow leads from the attempt's state to `there`."""
    ends = ARROWS[attempt.state]
    if attempt.way in BROWSER_WAYS:
        ends |= REOPENED.get(attempt.state, frozenset())
    if there not in ends:
        raise IllegalTransition(f"attempt {attempt.merchant_uid}", attempt.state, there)


ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_STEM_LENGTH = 26


def uid_prefix_of(ledger_id: str) -> str:
    """The first letters of every order number of a ledger: `gd` and two characters that most other ledgers do not share.

    Several databases may live on one PG account. Kept in the database when it is founded; those founded by the first
    version keep their two letters.
    """
    bits = int.from_bytes(sha256(f"prefix|{ledger_id}".encode()).digest()[:2], "big") >> 6
    return "gd" + ALPHABET[bits >> 5] + ALPHABET[bits & 31]


def merchant_uid_stem(prefix: str, ledger_id: str, subscription_id: str, purpose: str, period_index: int) -> str:
    """The part of a `merchant_uid` that all attempts of one invoice share: prefix + 26 characters.

    Derived from what the invoice *is*, never random and never from a sequence or the environment:
    a restored or copied database derives the same names, so the PG can be asked about them.
    130 bits of SHA-256 in Crockford base 32, lower case: letters and digits in one case are what
    every PG accepts.
    Source: PortOne REST V1 (merchant_uid <= 40; Smartro V2 cuts longer or special ones silently).
    """
    return prefix + stem(f"v1|{ledger_id}|{subscription_id}|{purpose}|{period_index}")


def merchant_uid(stem: str, seq: int) -> str:
    """The order number of attempt `seq` (1–16): lower-case letters and digits, 33 with a prefix of four."""
    if not 1 <= seq <= NUMBERS_PER_INVOICE:
        raise ValueError(f"attempt number {seq} is outside 1..{NUMBERS_PER_INVOICE}")
    return f"{stem}a{seq:02d}"


def probe_uids(stem: str, planned: int) -> list[str]:
    """The order numbers a probe asks for: the first six, and never fewer than what was planned so far plus one."""
    return [merchant_uid(stem, n) for n in range(1, min(max(PROBE_WINDOW, planned + 1), NUMBERS_PER_INVOICE) + 1)]


def all_uids(stem: str) -> list[str]:
    """Every order number an invoice can ever have."""
    return [merchant_uid(stem, n) for n in range(1, NUMBERS_PER_INVOICE + 1)]


def stem_of(uid: str) -> tuple[str, int]:
    """Split an order number of ours into stem and attempt number; ValueError for a stranger's."""
    stem, a, number = uid[:-3], uid[-3:-2], uid[-2:]
    if a != "a" or not number.isdigit() or len(stem) < 27:
        raise ValueError(f"{uid!r} is not an order number of ours")
    return stem, int(number)


def is_number_of(prefix: str, uid: str, kind: str = "a") -> bool:
    """True for an order number of the shape this ledger mints; other ledgers' prefixes have another length or letters.

    Args:
        kind: `a` for attempts, `k` for registrations in a window.
    """
    body = uid[len(prefix) :]
    return (
        uid.startswith(prefix)
        and len(body) == _STEM_LENGTH + 3
        and body[-3] == kind
        and body[-2:].isdigit()
        and set(body) <= set(ALPHABET)
    )


def stem(text: str) -> str:
    """26 letters and digits that stand for `text`: 130 bits of SHA-256 in Crockford base 32, lower case."""
    bits = int.from_bytes(sha256(text.encode()).digest()[:17], "big") >> 6
    return "".join(ALPHABET[bits >> shift & 31] for shift in range(125, -1, -5))
