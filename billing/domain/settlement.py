"""Decide how an attempt ended from what the PG's own records say. Pure: facts in, verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, NamedTuple

from billing.domain.attempt import BROWSER_WAYS, AttemptState, ChargeAttempt, Way
from billing.domain.evidence import (
    Answered,
    DeclineClass,
    PaymentFact,
    PaymentStatus,
    RateLimited,
    Refusal,
    RefusalKind,
    Reply,
    Silence,
    Unauthorized,
)
from billing.domain.invoice import InvoiceState
from billing.domain.patience import Patience


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one attempt stands after a look; `name` is what logs and counts say."""

    name: ClassVar[str] = "verdict"
    merchant_uid: str
    invoice_id: str


@dataclass(frozen=True, slots=True)
class Paid(Verdict):
    """The PG holds a paid record and every field equals ours."""

    name: ClassVar[str] = "paid"
    fact: PaymentFact


@dataclass(frozen=True, slots=True)
class PaidTwice(Verdict):
    """Real money for an invoice that needs none: booked as surplus, to be given back."""

    name: ClassVar[str] = "surplus"
    fact: PaymentFact


@dataclass(frozen=True, slots=True)
class Declined(Verdict):
    """Every record of this number says failed, and no paid one hides behind them."""

    name: ClassVar[str] = "declined"
    fact: PaymentFact


@dataclass(frozen=True, slots=True)
class Rejected(Verdict):
    """Refused without a record at the PG."""

    name: ClassVar[str] = "rejected"
    reason: str
    decline_class: DeclineClass


@dataclass(frozen=True, slots=True)
class Mismatch(Verdict):
    """Paid, but not what we asked for: parked for a human, nothing is granted or repeated."""

    name: ClassVar[str] = "mismatch"
    fact: PaymentFact
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait(Verdict):
    """Nothing is known yet and nothing is booked; look again later."""

    name: ClassVar[str] = "unknown"
    why: str
    is_negative: bool = False


@dataclass(frozen=True, slots=True)
class AccountIssued(Verdict):
    """A virtual account waits for the buyer's deposit; every field it names equals ours. No money yet."""

    name: ClassVar[str] = "account_issued"
    fact: PaymentFact


@dataclass(frozen=True, slots=True)
class Lapsed(Verdict):
    """Nobody paid in the window, or into the account, while that was possible. It may be opened again under its number."""

    name: ClassVar[str] = "lapsed"
    fact: PaymentFact | None = None


@dataclass(frozen=True, slots=True)
class NeverArrived(Verdict):
    """Dead-proof and enough negatives: the *same* number may be sent again. Never proof that nothing happened."""

    name: ClassVar[str] = "never_arrived"


@dataclass(frozen=True, slots=True)
class Unsent(Verdict):
    """No byte of the request can have been executed; the attempt is as good as new."""

    name: ClassVar[str] = "unsent"
    why: str
    is_unauthorized: bool = False


@dataclass(frozen=True, slots=True)
class Booked(Verdict):
    """Somebody booked this attempt before; nothing is left to do."""

    name: ClassVar[str] = "booked"
    state: AttemptState


@dataclass(frozen=True, slots=True)
class NotTried(Verdict):
    """No attempt was made; nothing was sent."""

    name: ClassVar[str] = "not_tried"
    why: str


class Evidence(NamedTuple):
    """All that is known about one attempt at one look.

    Args:
        facts: every record of its `merchant_uid` that the look-ups showed.
        reply: the answer to the send, when this look follows one; a hint, never proof of payment.
        absence_counts: False when the look-up itself was blind (the canary was missing).
        token_fp: fingerprint of the access token the look-up used.
    """

    facts: tuple[PaymentFact, ...] = ()
    reply: Reply | None = None
    absence_counts: bool = True
    token_fp: str | None = None


def judge(
    attempt: ChargeAttempt,
    invoice_state: InvoiceState,
    evidence: Evidence,
    *,
    is_live: bool,
    now: datetime,
    patience: Patience,
) -> Verdict:
    """Return how `attempt` stands.

    Verified money always wins: a paid record beats every reply, every earlier verdict and every
    timer. Only records say paid or failed; without any, the reply says at most that nothing was sent.

    Args:
        is_live: the mode of the engine; a record of the other mode is a mismatch.
        now: the system clock, which times the looks.
    """
    uid, invoice_id = attempt.merchant_uid, attempt.invoice_id
    evidence = evidence._replace(facts=tuple(fact for fact in evidence.facts if _is_about(attempt, fact)))
    money = sorted((fact for fact in evidence.facts if fact.is_money), key=_first_paid)
    if attempt.state in (AttemptState.PAID, AttemptState.SURPLUS, AttemptState.MISMATCH):
        extra = [fact for fact in money if fact.imp_uid != attempt.imp_uid]
        return PaidTwice(uid, invoice_id, extra[0]) if extra else Booked(uid, invoice_id, attempt.state)
    if money:
        fact = money[0]
        differs = differing(attempt, fact, is_live=is_live)
        if differs:
            return Mismatch(uid, invoice_id, fact, differs)
        if invoice_state in (InvoiceState.PAID, InvoiceState.VOID):
            return PaidTwice(uid, invoice_id, fact)
        return Paid(uid, invoice_id, fact)
    if attempt.state in (AttemptState.DECLINED, AttemptState.REJECTED, AttemptState.VOID):
        return Booked(uid, invoice_id, attempt.state)
    if attempt.way in BROWSER_WAYS and attempt.state is not AttemptState.PLANNED:
        return _out_of_a_window(attempt, evidence, is_live=is_live, now=now, patience=patience)
    if any(fact.status is not PaymentStatus.FAILED for fact in evidence.facts):
        return Wait(uid, invoice_id, "the PG has not decided yet")
    if evidence.facts:
        return Declined(uid, invoice_id, evidence.facts[-1])
    return _without_a_record(attempt, evidence, now=now, patience=patience)


def _is_about(attempt: ChargeAttempt, fact: PaymentFact) -> bool:
    """True where a record can say how an attempt ended.

    Money always can. What a browser does under the number of a charge of ours that may be on its way says nothing of it.
    """
    if fact.is_money or not fact.is_from_a_browser:
        return not fact.is_over_nothing
    is_its_own = attempt.way in BROWSER_WAYS or attempt.state not in (AttemptState.SENDING, AttemptState.UNKNOWN)
    return is_its_own and not fact.is_over_nothing


def _first_paid(fact: PaymentFact) -> tuple[float, str]:
    return (fact.paid_at.timestamp() if fact.paid_at else float("inf"), fact.imp_uid)


def differing(attempt: ChargeAttempt, fact: PaymentFact, *, is_live: bool) -> tuple[str, ...]:
    """The names of the fields in which a paid record differs from what was asked for.

    A record that was refunded at the PG before we ever booked it differs too: nobody here can
    know whether the service is owed.
    """
    differs = unlike(attempt, fact, is_live=is_live)
    return differs if fact.status is PaymentStatus.PAID else (*differs, "status")


def unlike(attempt: ChargeAttempt, fact: PaymentFact, *, is_live: bool) -> tuple[str, ...]:
    """The names of the fields in which a record of any status is not what was asked for."""
    # A number that never left us by key and was paid in a browser: a window of a life this database forgot. It keeps no card.
    is_forgotten_window = attempt.way is Way.KEY and not attempt.wire_count and fact.is_from_a_browser
    card = None if is_forgotten_window else attempt.customer_uid or None
    wanted: dict[str, tuple[object, object]] = {
        "merchant_uid": (attempt.merchant_uid, fact.merchant_uid),
        "amount": (attempt.amount, fact.amount),
        "currency": (attempt.currency, fact.currency),
        "customer_uid": (card, fact.customer_uid),  # a payment that keeps no card names none
        "sandbox": (not is_live, fact.sandbox),
        # A card registered in a window is no payment of anything else, whatever number and amount its page wrote.
        "usage": (attempt.way is Way.ISSUE, fact.usage == "issue" and fact.is_from_a_browser),
    }
    return tuple(name for name, (ours, theirs) in wanted.items() if ours != theirs)


def _out_of_a_window(attempt: ChargeAttempt, evidence: Evidence, *, is_live: bool, now: datetime, patience: Patience) -> Verdict:
    """What records without money say about an attempt that a browser finishes, or does not.

    Nobody tells us when a window closes. What the browser says of it is no proof, and an abandoned one may leave a
    `ready` record for ever, or none.
    """
    uid, invoice_id = attempt.merchant_uid, attempt.invoice_id
    facts = sorted(evidence.facts, key=lambda fact: fact.started_at.timestamp() if fact.started_at else 0.0)
    open_for = now - attempt.sent_at if attempt.sent_at is not None else timedelta()
    waiting = [fact for fact in facts if fact.account is not None and fact.status is PaymentStatus.READY]
    # Whoever pays into an account for something else is not paying this; until then it is as good as none.
    account = next((fact for fact in reversed(waiting) if not unlike(attempt, fact, is_live=is_live)), None)
    if account is not None and _takes_deposits(account, now - patience.deposit_grace, at_most=patience.deposit):
        return AccountIssued(uid, invoice_id, account)
    if facts and all(fact.status is PaymentStatus.FAILED for fact in facts):
        return Declined(uid, invoice_id, facts[-1])
    if open_for < patience.window:
        return Wait(uid, invoice_id, "the window may still be open")
    is_unclear = any(fact.status is PaymentStatus.OTHER for fact in facts) and open_for < patience.deposit
    if not evidence.absence_counts or is_unclear:
        return Wait(uid, invoice_id, "what the PG shows says neither yes nor no")
    return Lapsed(uid, invoice_id, account)


def _takes_deposits(fact: PaymentFact, at: datetime, *, at_most: timedelta) -> bool:
    """True until the deadline of an account, and never longer after it was issued than `at_most`."""
    if fact.account is None:
        return False
    issued_at = fact.account.issued_at or fact.started_at
    is_fresh = issued_at is None or at < issued_at + at_most
    return is_fresh and (fact.account.due_at is None or at < fact.account.due_at)


def _without_a_record(attempt: ChargeAttempt, evidence: Evidence, *, now: datetime, patience: Patience) -> Verdict:
    uid, invoice_id = attempt.merchant_uid, attempt.invoice_id
    match evidence.reply:
        case Silence(sent=False, why=why):
            return Unsent(uid, invoice_id, why)
        case Unauthorized():
            return Unsent(uid, invoice_id, "the access token was refused", is_unauthorized=True)
        case Refusal(kind=RefusalKind.FINAL, message=message, decline_class=of):
            return Rejected(uid, invoice_id, message, of)
        case Refusal(kind=RefusalKind.DUPLICATE):
            return Wait(uid, invoice_id, "the PG says this number was used before, but does not show the record yet")
        case Refusal(message=message):
            return Wait(uid, invoice_id, f"refused with a text we do not know: {message}", is_negative=True)
        case Answered(fact=fact):
            return Wait(uid, invoice_id, f"answered {fact.status}, but the look-up does not show it yet")
        case Silence(why=why):
            return Wait(uid, invoice_id, f"no usable answer: {why}")
        case RateLimited():
            return Wait(uid, invoice_id, "the PG asked us to slow down")
    if attempt.state is AttemptState.PLANNED:
        return Booked(uid, invoice_id, attempt.state)
    return _after_silence(attempt, evidence, now=now, patience=patience)


def _after_silence(attempt: ChargeAttempt, evidence: Evidence, *, now: datetime, patience: Patience) -> Verdict:
    """What a look that finds nothing says about a send whose end is unknown."""
    uid, invoice_id = attempt.merchant_uid, attempt.invoice_id
    if not evidence.absence_counts:
        return Wait(uid, invoice_id, "the look-up missed a payment we know: its silence proves nothing")
    negative_for = now - attempt.first_negative_at if attempt.first_negative_at else None
    if attempt.refusal is not None:
        if negative_for is not None and negative_for >= patience.refusal_gap:
            return Rejected(uid, invoice_id, attempt.refusal, DeclineClass.SOFT)
        return Wait(uid, invoice_id, "refused; looking once more before believing it", is_negative=True)
    if attempt.hint_imp_uid is not None:
        return Wait(uid, invoice_id, f"the PG named {attempt.hint_imp_uid} for it, but shows no record")
    is_twice = negative_for is not None and negative_for >= patience.negative_gap
    if is_twice and _is_dead(attempt, now=now, patience=patience):
        return NeverArrived(uid, invoice_id)
    return Wait(uid, invoice_id, "not found, and a late arrival is still possible", is_negative=True)


def is_superseded(attempt: ChargeAttempt, token_fp: str | None) -> bool:
    """True when the PG now issues another token than the one this attempt carried."""
    return attempt.token_fp is not None and token_fp is not None and attempt.token_fp != token_fp


def _is_dead(attempt: ChargeAttempt, *, now: datetime, patience: Patience) -> bool:
    """Dead-proof: the earlier request can no longer be accepted.

    The PG returns one token as long as it lives, so another token means the old one is dead and
    a late request carrying it gets 401; `admission` covers one that was let in just before.
    Where other software keeps the token alive for ever, a day must do.
    Source: PortOne REST V1, /users/getToken (same token until expiry).
    """
    if attempt.superseded_at is not None and now - attempt.superseded_at >= patience.admission:
        return True
    return attempt.sent_at is not None and now - attempt.sent_at >= patience.stale
