"""Checkouts: what one link lets one customer do in a browser, and how that can end. Pure: records in, words out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from billing.domain.attempt import AttemptState, ChargeAttempt, stem
from billing.domain.evidence import DeclineClass, PaymentFact, PaymentStatus, VirtualAccount
from billing.domain.settlement import AccountIssued, Booked, Declined, Mismatch, Paid, PaidTwice, Verdict, unlike


class Purpose(StrEnum):
    """What a checkout is for; one link does one thing."""

    CARD = "card"  # register a card in the window; no money moves
    INVOICE = "invoice"  # pay an invoice in the window


class CheckoutState(StrEnum):
    """The life of a checkout. One that was not used in time stays open and is refused by its date."""

    OPEN = "open"
    DONE = "done"  # the card is registered; of an invoice, its own state says so


CHECKOUT_ARROWS = {CheckoutState.OPEN: frozenset({CheckoutState.DONE}), CheckoutState.DONE: frozenset[CheckoutState]()}


class Checkout(NamedTuple):
    """One link, bound to one customer and one purpose.

    Args:
        invoice_id: what is paid; for a card, what is charged as soon as it is registered, or None.
        pay_methods: what the buyer may choose from, separated by commas.
        options: window options as JSON, checked when the checkout was made.
        merchant_uid: the order number the window was opened under last, None before the first time.
        customer_uid: for a card, the name it will have at the PG.
        openings: how many order numbers of its own a card's checkout has used.
        opened_at: system instant of the last opening; until a window's life later it may still be open.
    """

    id: str
    purpose: Purpose
    customer_id: str
    invoice_id: str | None
    pay_methods: str
    language: str
    return_url: str
    options: str
    actor: str
    created_at: datetime
    expires_at: datetime
    state: CheckoutState = CheckoutState.OPEN
    merchant_uid: str | None = None
    customer_uid: str | None = None
    openings: int = 0
    opened_at: datetime | None = None
    done_at: datetime | None = None

    @property
    def methods(self) -> list[str]:
        """`pay_methods`, one by one."""
        return self.pay_methods.split(",")


def registration_uid(prefix: str, ledger_id: str, checkout_id: str, opening: int) -> str:
    """The order number of opening `opening` (1–99) of a card's checkout: shaped so that no invoice can ever have it.

    Derived like an attempt's; the PG keeps a record of it, status paid, though no money moved.
    Source: PortOne REST V1, PaymentAnnotation.customer_uid_usage `issue`.
    """
    return f"{prefix}{stem(f'card|{ledger_id}|{checkout_id}')}k{opening:02d}"


class Completion(StrEnum):
    """How a window ended, as far as our own look at the PG tells; the last two it cannot tell, only what the browser says."""

    PAID = "paid"
    REGISTERED = "registered"  # a card was registered; what was to be charged on it at once is told apart
    ACCOUNT_ISSUED = "account_issued"  # a virtual account waits for the deposit
    PENDING = "pending"  # the PG does not say yet; nobody should pay again meanwhile
    FAILED = "failed"
    SUSPENDED = "suspended"  # the issuer has stopped the card
    FORGED = "forged"  # what came back is not what was asked for: nothing is granted, and somebody looks
    CLOSED = "closed"  # by the buyer
    NOT_OPENED = "not_opened"  # the PG did not let the window open


_STATUS = {
    Completion.PAID: "success",
    Completion.REGISTERED: "success",
    Completion.ACCOUNT_ISSUED: "vbankIssued",
    Completion.PENDING: "pending",
    Completion.FORGED: "forgery",
}


class Outcome(NamedTuple):
    """What a completion came to.

    Args:
        message: the PG's own words where it refused, fit to be shown to the buyer; else empty.
        account: where to pay, after ACCOUNT_ISSUED.
        charge: after REGISTERED, how the charge that followed at once ended; None where none did.
    """

    completion: Completion
    merchant_uid: str
    message: str = ""
    account: VirtualAccount | None = None
    charge: Completion | None = None

    @property
    def status(self) -> str:
        """`success`, `vbankIssued`, `pending`, `failed` or `forgery`: the five answers of the completion routes."""
        return _STATUS.get(self.completion, "failed")


def outcome_of(verdict: Verdict | None, attempt: ChargeAttempt, fact: PaymentFact | None, *, is_live: bool, told: str) -> Outcome:
    """How a payment window ended.

    Args:
        verdict: what settling the attempt came to just now.
        attempt: as it stands after that.
        fact: the record the browser named, read at the PG.
        told: what the browser says went wrong; believed only in choosing between words for "nothing was paid".
    """
    uid = attempt.merchant_uid
    match verdict:
        case Paid() | PaidTwice():
            return Outcome(Completion.PAID, uid)
        case Mismatch():
            return Outcome(Completion.FORGED, uid)
        case Declined(fact=failed):
            return refused(uid, failed)
        case AccountIssued(fact=issued):
            return Outcome(Completion.ACCOUNT_ISSUED, uid, account=issued.account)
        case Booked(state=AttemptState.PAID | AttemptState.SURPLUS):
            return Outcome(Completion.PAID, uid)
        case Booked(state=AttemptState.MISMATCH):
            return Outcome(Completion.FORGED, uid)
        case Booked(state=AttemptState.DECLINED | AttemptState.REJECTED):
            return Outcome(_failed(attempt.fail_reason or "", attempt.fail_class), uid, attempt.fail_reason or "")
    # An account for something else, or a card registered where a payment was asked for.
    is_answer = fact is not None and (fact.account is not None or fact.is_over_nothing)
    if is_answer and fact is not None and unlike(attempt, fact, is_live=is_live):
        return Outcome(Completion.FORGED, uid)
    return unfinished(uid, fact, told)


def refused(merchant_uid: str, fact: PaymentFact) -> Outcome:
    """The outcome of a window whose record says failed."""
    return Outcome(_failed(fact.fail_reason or "", fact.decline_class), merchant_uid, fact.fail_reason or "")


def unfinished(merchant_uid: str, fact: PaymentFact | None, told: str) -> Outcome:
    """The outcome where the PG shows neither money nor a refusal: only the browser knows why."""
    if told and (fact is None or fact.status is PaymentStatus.READY):
        closed = _is_closing(told)
        # A window that never opened leaves no record. Source: PortOne V1 SDK (imp_uid is null when refused before start).
        if closed or fact is None:
            return Outcome(Completion.CLOSED if closed else Completion.NOT_OPENED, merchant_uid, told)
        return Outcome(_failed(told), merchant_uid, told)
    return Outcome(Completion.PENDING, merchant_uid)


def _failed(reason: str, decline_class: str | None = None) -> Completion:
    """Which words fit a failure. Where no code tells, the free text is guessed at; nothing but wording hangs on it."""
    if _is_closing(reason):
        return Completion.CLOSED
    is_stopped = decline_class == DeclineClass.HARD or "정지" in reason.replace(" ", "")
    return Completion.SUSPENDED if is_stopped else Completion.FAILED


def _is_closing(text: str) -> bool:
    plain = text.replace(" ", "").lower()
    return (
        ("사용자" in plain and "취소" in plain) or "결제를취소" in plain or "cancelledbyuser" in plain or "user_cancel" in plain
    )
