"""Decide how refunds ended from the PG's own history of a payment. Pure: record in, verdict out.

Two dangers, two guards. A request that arrives *late* carries the balance it was armed under; once another
refund went through, that balance is history and the PG refuses it. A request that is still *being executed* has
passed that check already; so a repeat waits until no request can be running any more (`Patience.admission`).
Source: PortOne REST V1, POST /payments/cancel (checksum: a mismatch is refused and nothing is sent to the PG).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, NamedTuple

from billing.domain.evidence import Answered, Cancellation, PaymentFact, RateLimited, Refusal, Reply, Silence, Unauthorized
from billing.domain.patience import Patience
from billing.domain.refund import IN_FLIGHT, RESERVED, Refund, RefundState, again_key, tag_of

_CLOCKS_APART = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class RefundVerdict:
    """How one refund stands after a look; `name` is what logs and counts say."""

    name: ClassVar[str] = "refund"
    refund_id: str


@dataclass(frozen=True, slots=True)
class Done(RefundVerdict):
    """The PG's history shows it."""

    name: ClassVar[str] = "refunded"


@dataclass(frozen=True, slots=True)
class Refused(RefundVerdict):
    """It was not executed and will not be: a human decides what comes next."""

    name: ClassVar[str] = "refund_refused"
    why: str


@dataclass(frozen=True, slots=True)
class Waiting(RefundVerdict):
    """Nothing is known yet and nothing is booked; look again later."""

    name: ClassVar[str] = "refund_unknown"
    why: str


@dataclass(frozen=True, slots=True)
class NotSent(RefundVerdict):
    """No byte of the request can have been executed; the refund is as good as new."""

    name: ClassVar[str] = "refund_unsent"
    why: str


@dataclass(frozen=True, slots=True)
class Outdated(RefundVerdict):
    """Refused unread because another balance stands at the PG; it may be armed anew under that one."""

    name: ClassVar[str] = "refund_outdated"
    balance: int


@dataclass(frozen=True, slots=True)
class Repeat(RefundVerdict):
    """Not in the history, and no request of it can be running: the same amount may be sent under the same checksum."""

    name: ClassVar[str] = "refund_repeated"


@dataclass(frozen=True, slots=True)
class Settled(RefundVerdict):
    """Nothing is to be learned or done."""

    name: ClassVar[str] = "refund_settled"
    state: RefundState


class Account(NamedTuple):
    """What a record's history says about all refunds of its payment.

    Args:
        done: refunds of ours that the history shows and our books do not, by id.
        strangers: cancellations that no refund of ours explains, by the request key they get.
        crowded: refunds of ours that cannot happen any more, by id, with the reason.
        unnamed: every cancellation that carries no name of ours.
        unexplained: what the PG says it gave back beyond its own history.
    """

    done: dict[str, Cancellation]
    strangers: dict[str, Cancellation]
    crowded: dict[str, str]
    unnamed: list[Cancellation]
    unexplained: int = 0


def accounted(refunds: Sequence[Refund], fact: PaymentFact) -> Account:
    """Return what `fact` says about `refunds`, all of one payment, oldest first.

    Each cancellation is taken by one refund at most. One that a PG executed twice stands in the history
    twice, and the second is a stranger: a real double is recorded, never explained away.
    """
    entries = {_key(fact, number, one): one for number, one in enumerate(fact.cancel_history)}
    tags = [tag_of(one.request_key) for one in refunds]
    unnamed = [one for one in entries.values() if not any(tag in (one.reason or "") for tag in tags)]
    done: dict[str, Cancellation] = {}
    for one in sorted(refunds, key=lambda refund: refund.state is not RefundState.DONE):
        key = next((key for key, entry in entries.items() if _is(one, key, entry)), None)
        entry = entries.pop(key) if key is not None else None
        if entry is not None and one.state is not RefundState.DONE:
            done[one.id] = entry
    booked = sum(one.amount for one in refunds if one.state is RefundState.DONE or one.id in done)
    strangers: dict[str, Cancellation] = {}
    for key, entry in entries.items():
        # A history that contradicts the sum beside it is believed up to the sum.
        if 0 < entry.amount <= fact.cancel_amount - booked:
            strangers[key] = entry
            booked += entry.amount
    crowded = _crowded(refunds, done, fact.amount - booked)
    return Account(done, strangers, crowded, unnamed, fact.cancel_amount - booked)


def _key(fact: PaymentFact, number: int, entry: Cancellation) -> str:
    return f"pg:{entry.cancellation_id}" if entry.cancellation_id else f"pg:{fact.imp_uid}:{number}"


def _is(refund: Refund, key: str, entry: Cancellation) -> bool:
    if refund.cancellation_id and entry.cancellation_id:
        return refund.cancellation_id == entry.cancellation_id
    return refund.request_key == key or (tag_of(refund.request_key) in (entry.reason or "") and entry.amount == refund.amount)


def _crowded(refunds: Sequence[Refund], done: dict[str, Cancellation], left: int) -> dict[str, str]:
    """Live refunds for which the PG has nothing left, the newest first, and repeats of what was done after all."""
    late = {again_key(one.id) for one in refunds if one.id in done and one.state is RefundState.REFUSED}
    crowded: dict[str, str] = {}
    live = [one for one in refunds if one.state in RESERVED and one.id not in done]
    for one in sorted(live, key=lambda refund: refund.state not in IN_FLIGHT):
        if one.request_key in late:
            crowded[one.id] = "the refund it repeats was done after all"
        elif one.amount > left:
            crowded[one.id] = f"only {left} of the payment is left at the PG"
        else:
            left -= one.amount
    return crowded


def judge(
    refund: Refund, account: Account | None, fact: PaymentFact | None, reply: Reply | None, *, now: datetime, patience: Patience
) -> RefundVerdict:
    """Return how `refund` stands. The PG's history beats every reply and every timer.

    Args:
        account: what `accounted` made of `fact`; both are None where the record could not be read.
        reply: the answer to the send, when this look follows one; a hint, never proof.
        now: the system clock.
    """
    if account is not None and refund.id in account.done:
        return Done(refund.id)
    if account is not None and refund.id in account.crowded:
        return Refused(refund.id, account.crowded[refund.id])
    if refund.state not in IN_FLIGHT:
        return Settled(refund.id, refund.state)
    match reply:
        case Silence(sent=False, why=why):
            return _unsent(refund, why)
        case Unauthorized():
            return _unsent(refund, "the access token was refused")
        case Refusal(message=message):
            return _after_refusal(refund, account, fact, message)
        case Answered():
            return Waiting(refund.id, "the PG says it is done, but its history does not show it yet")
        case Silence(why=why):
            return Waiting(refund.id, f"no usable answer: {why}")
        case RateLimited():
            return Waiting(refund.id, "the PG asked us to slow down")
    return _after_silence(refund, account, fact, now=now, patience=patience)


def _unsent(refund: Refund, why: str) -> RefundVerdict:
    # A repeat that never left says nothing about the request before it.
    return Waiting(refund.id, f"the repeat was not sent: {why}") if _is_repeat(refund) else NotSent(refund.id, why)


def _is_repeat(refund: Refund) -> bool:
    """True when an earlier request of it was never answered: only a look makes a repeat, and planning starts at none."""
    return refund.looks > 0


def _after_refusal(refund: Refund, account: Account | None, fact: PaymentFact | None, message: str) -> RefundVerdict:
    if account is None or fact is None:
        return Waiting(refund.id, f"refused, but the record could not be read: {message}")
    if fact.amount - fact.cancel_amount == refund.checksum:
        if _is_repeat(refund):
            return Waiting(refund.id, f"refused; looking once more before believing it: {message}")
        return Refused(refund.id, message or "refused without a reason")
    if _is_repeat(refund) and _is_doubtful(refund, account):
        return Refused(refund.id, _DOUBT)
    if account.unexplained:
        return Refused(refund.id, f"{_unexplained(account)}: {message}")
    return Outdated(refund.id, fact.amount - fact.cancel_amount)


def _after_silence(
    refund: Refund, account: Account | None, fact: PaymentFact | None, *, now: datetime, patience: Patience
) -> RefundVerdict:
    if account is None or fact is None or refund.sent_at is None:
        return Waiting(refund.id, "the PG does not show the payment now")
    age = now - refund.sent_at
    is_unchanged = fact.amount - fact.cancel_amount == refund.checksum
    if refund.refusal is not None and is_unchanged and age >= patience.refusal_gap:
        return Refused(refund.id, refund.refusal)
    if age < patience.admission:
        return Waiting(refund.id, "not in the history, and its request may still be running")
    if account.unexplained:
        return Waiting(refund.id, _unexplained(account))
    if _is_doubtful(refund, account):
        return Refused(refund.id, _DOUBT)
    return Repeat(refund.id)


def _unexplained(account: Account) -> str:
    return f"what the PG gave back and its history differ by {account.unexplained}"


_DOUBT = "the PG gave the same amount back meanwhile without naming this refund; look in its console, then repeat it if need be"


def _is_doubtful(refund: Refund, account: Account) -> bool:
    """True when a nameless cancellation could be this very refund: a PG that drops our reason must not cost it twice."""
    since = refund.created_at - _CLOCKS_APART
    same = (one for one in account.unnamed if one.amount == refund.amount)
    return any(one.cancelled_at is None or one.cancelled_at >= since for one in same)
