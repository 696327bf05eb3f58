"""Compare what the PG holds with what our rows say. Pure: one record and our rows in, one step out.

Ours is a record under an order number of our shape and prefix, and one on a card of ours. Whatever else
lives on the same PG account (another shop, another ledger) is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from billing.domain.attempt import LIVE, AttemptState, ChargeAttempt, is_number_of
from billing.domain.charging import is_news, ledger_of
from billing.domain.events import Json
from billing.domain.evidence import PaymentFact, PaymentStatus, UnreadRecord
from billing.domain.refund import Refund
from billing.domain.settlement import Verdict

LONGEST_LIST = timedelta(days=89)
"""How much of the PG's list one call may ask for, a day below its own limit, because two clocks count it.

Source: PortOne REST V1, GET /payments/status/{payment_status} (`from` and `to` at most 90 days apart).
"""

_MONEY = (PaymentStatus.PAID, PaymentStatus.CANCELLED)
_DECIDED = (*_MONEY, PaymentStatus.FAILED)
_NOTE_MAX = 500


class FindingKind(StrEnum):
    """What can differ so that no rule of ours sets it right."""

    STRANGER = "stranger"  # our order number and no row: this database has forgotten something, or has a twin
    UNASKED = "unasked"  # paid in a browser under a name of ours we never gave out: a tampered page, or a forgotten window
    SCHEDULED_CHARGE = "scheduled_charge"  # a card of ours was charged under a number not ours: a second engine
    CANCELLED_AT_PG = "cancelled_at_pg"  # more was given back at the PG than our books know
    AMOUNT_DIFFERS = "amount_differs"  # a payment we booked stands otherwise at the PG: amount, currency, not paid
    MISSING_AT_PG = "missing_at_pg"  # a payment we booked is in neither its list nor its look-up
    UNBOOKED = "unbooked"  # paid under a number of ours, and settling did not book it
    UNREADABLE = "unreadable"  # a record of ours that breaks the PG's own contract
    LOST_CARD = "lost_card"  # a customer of ours was charged on a card this database has forgotten


ORPHANS = (FindingKind.STRANGER, FindingKind.LOST_CARD)
"""What keeps charging frozen until somebody has explained it: signs that this database is not all there is."""


class Finding(NamedTuple):
    """One difference, kept for good. (`kind`, `ref`) happens once, however many runs meet it.

    Args:
        ref: the PG's id of the record; its order number where the PG gave none.
        details: what stood at the PG and with us when it was found.
        explained_at: when it was explained, by whom, and how; None while it asks for somebody.
    """

    id: str
    kind: FindingKind
    ref: str
    imp_uid: str
    merchant_uid: str
    amount: int
    currency: str
    details: Json
    found_at: datetime
    explained_at: datetime | None = None
    explained_by: str | None = None
    explanation: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one reconciliation compared, set right and could not set right. Amounts are minor units.

    Args:
        since, until: the PG's records that moved in between were compared.
        pages: how often the PG's list was asked.
        payments: how many records were seen, other people's included.
        settled: outcomes nobody had booked: late approvals, unknown attempts.
        adopted: refunds that the PG's history shows and our books did not: made in its console, or ours with a lost answer.
        new: what this run found for the first time.
        unexplained: everything found so far that still waits for an explanation.
        is_frozen: charging is switched off now.
    """

    since: datetime
    until: datetime
    pages: int = 0
    payments: int = 0
    settled: tuple[Verdict, ...] = ()
    adopted: tuple[Refund, ...] = ()
    new: tuple[Finding, ...] = ()
    unexplained: tuple[Finding, ...] = ()
    is_frozen: bool = False

    @property
    def is_clean(self) -> bool:
        """True when nothing had to be set right and nothing waits for an explanation."""
        return not (self.settled or self.adopted or self.new or self.unexplained)


class Balance(NamedTuple):
    """A payment as we booked it: what came, what went back, what refunds under way have reserved."""

    amount: int
    currency: str
    refunded: int
    reserved: int


class Known(NamedTuple):
    """Our rows about one record: the attempt of its order number, the payment, the customer of its card."""

    attempt: ChargeAttempt | None = None
    payment: Balance | None = None
    owner: str | None = None


class Whose(NamedTuple):
    """What tells our order numbers from everybody else's."""

    ledger_id: str
    uid_prefix: str

    def minted(self, merchant_uid: str, custom_data: str | None) -> bool:
        """True for a number of our shape and prefix, unless its note names another ledger: four letters can collide."""
        return is_number_of(self.uid_prefix, merchant_uid) and ledger_of(custom_data) in (None, self.ledger_id)

    def named(self, merchant_uid: str, custom_data: str | None) -> bool:
        """True also for a registration's number, and for any number whose note names this ledger."""
        is_card = is_number_of(self.uid_prefix, merchant_uid, "k") and ledger_of(custom_data) is None
        return is_card or self.minted(merchant_uid, custom_data) or ledger_of(custom_data) == self.ledger_id


class Settle(NamedTuple):
    """The record says more than our row: look it up and book it."""

    merchant_uid: str


class Adopt(NamedTuple):
    """More was given back at the PG than we know of: take its refunds over."""

    imp_uid: str


class Difference(NamedTuple):
    """Something to find: what `Finding` keeps, without its history."""

    kind: FindingKind
    ref: str
    imp_uid: str
    merchant_uid: str
    amount: int
    currency: str
    details: Json


Step = Settle | Adopt | Difference | None


def compared(fact: PaymentFact, known: Known, whose: Whose, *, now: datetime) -> Step:
    """What to do about one record of the PG; None for nothing.

    Args:
        now: the system clock: an attempt in somebody's hands is theirs to finish.
    """
    if known.payment is not None:
        return _against_payment(fact, known.payment)
    if known.attempt is not None:
        return _against_attempt(fact, known.attempt, now)
    if whose.named(fact.merchant_uid, fact.custom_data):
        return _unasked(fact, whose)
    # A card registered in the PG's window leaves a record that moved no money. Source: PortOne REST V1, usage `issue`.
    if known.owner is not None and fact.usage != "issue":
        return _difference(FindingKind.SCHEDULED_CHARGE, fact, customer_id=known.owner)
    return None


def _unasked(fact: PaymentFact, whose: Whose) -> Step:
    """A record under a name of ours without a row.

    Our server alone can make one that did not come from a browser. In a browser anybody can, under any number and note:
    were that a stranger, too, everybody with a card could switch charging off. There, only money is worth a look.
    """
    if not fact.is_from_a_browser:
        return _difference(FindingKind.STRANGER, fact)
    is_registration = fact.usage == "issue" and not whose.minted(fact.merchant_uid, fact.custom_data)
    return None if is_registration or not fact.is_money else _difference(FindingKind.UNASKED, fact)


def left_over(fact: PaymentFact, known: Known, whose: Whose, *, now: datetime) -> Difference | None:
    """What still differs after settling and adopting."""
    step = compared(fact, known, whose, now=now)
    if isinstance(step, Settle):
        is_decided = known.attempt is not None and (
            known.attempt.state not in LIVE or known.attempt.state is AttemptState.MISMATCH
        )
        if not is_decided or not fact.is_money:
            return None
        return _difference(FindingKind.UNBOOKED, fact, attempt=known.attempt.state if known.attempt else None)
    if isinstance(step, Adopt):
        payment = known.payment
        # What a refund of ours under way has reserved may be what the PG shows already.
        if payment is None or fact.cancel_amount <= payment.refunded + payment.reserved:
            return None
        return _difference(FindingKind.CANCELLED_AT_PG, fact, refunded=payment.refunded, reserved=payment.reserved)
    return step


def is_resolved(finding: Finding, known: Known) -> bool:
    """True when our rows have caught up with a finding, so that it needs no human any more."""
    if finding.kind in (FindingKind.STRANGER, FindingKind.UNASKED):
        return known.attempt is not None
    if finding.kind is FindingKind.UNBOOKED:
        return known.payment is not None
    if finding.kind is FindingKind.CANCELLED_AT_PG:
        there = finding.details.get("cancel_amount")
        return known.payment is not None and isinstance(there, int) and known.payment.refunded >= there
    return False


def missing(imp_uid: str, merchant_uid: str, balance: Balance) -> Difference:
    """A payment of ours that the PG does not show."""
    details = {"refunded": balance.refunded, "reserved": balance.reserved}
    return Difference(FindingKind.MISSING_AT_PG, imp_uid, imp_uid, merchant_uid, balance.amount, balance.currency, details)


def unreadable(record: UnreadRecord, whose: Whose, *, is_known: bool) -> Difference | None:
    """A record that cannot be read, if it is ours: by its number, or because our rows know number or card."""
    ref = record.imp_uid or record.merchant_uid
    if not ref or not (is_known or whose.minted(record.merchant_uid, record.custom_data)):
        return None
    return Difference(FindingKind.UNREADABLE, ref[:80], record.imp_uid[:64], record.merchant_uid[:80], 0, "", {"why": record.why})


def last_moved(fact: PaymentFact) -> datetime | None:
    """The latest instant the record itself names; the PG's own `updated`, which it sorts by, is never earlier."""
    return max((at for at in (fact.started_at, fact.paid_at, fact.failed_at, fact.cancelled_at) if at), default=None)


def is_past(facts: Sequence[PaymentFact], since: datetime) -> bool:
    """True when every record of a page moved before `since`: the pages after it, sorted by -updated, did too."""
    return all((at := last_moved(fact)) is not None and at < since for fact in facts)


class Window(NamedTuple):
    """A stretch of the PG's list; without ends it is the PG's own last 90 days."""

    since: datetime | None = None
    until: datetime | None = None


def windows(since: datetime, until: datetime | None, now: datetime) -> list[Window]:
    """The stretches to ask for, newest first, none longer than the PG allows.

    The newest has no ends: the PG compares ends with the time of a record's *status*, so a payment of last month
    that was partly refunded an hour ago would fall out of a narrow one. What is new is told by the order instead.

    Args:
        until: None for everything up to now.
    """
    found = [] if until else [Window()]
    end = until or now - LONGEST_LIST
    while since < end:
        start = max(since, end - LONGEST_LIST)
        found.append(Window(start, end))
        end = start
    return found


def _against_payment(fact: PaymentFact, payment: Balance) -> Step:
    is_same = (fact.amount, fact.currency) == (payment.amount, payment.currency) and fact.status in _MONEY
    if not is_same or fact.cancel_amount < payment.refunded:
        ours = {"amount": payment.amount, "currency": payment.currency, "refunded": payment.refunded}
        return _difference(FindingKind.AMOUNT_DIFFERS, fact, ours=ours)
    return Adopt(fact.imp_uid) if fact.cancel_amount > payment.refunded else None


def _against_attempt(fact: PaymentFact, attempt: ChargeAttempt, now: datetime) -> Step:
    is_held = attempt.state is not AttemptState.UNKNOWN and attempt.wake_at is not None and attempt.wake_at > now
    if is_held or fact.status not in _DECIDED or not is_news(fact, attempt):
        return None
    return Settle(attempt.merchant_uid)


def _difference(kind: FindingKind, fact: PaymentFact, **ours: object) -> Difference:
    there = {
        "status": fact.status.value,
        "cancel_amount": fact.cancel_amount,
        "usage": fact.usage,
        "customer_uid": fact.customer_uid,
        "paid_at": fact.paid_at.isoformat() if fact.paid_at else None,
        "custom_data": fact.custom_data[:_NOTE_MAX] if fact.custom_data else None,
    }
    return Difference(
        kind,
        fact.imp_uid[:80],
        fact.imp_uid[:64],
        fact.merchant_uid[:80],
        fact.amount,
        fact.currency,
        {name: value for name, value in (there | ours).items() if value is not None},
    )
