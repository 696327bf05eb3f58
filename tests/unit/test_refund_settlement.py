"""How a refund ended: what the PG's history, the reply and the clock say, and which of them wins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.domain.evidence import (
    Answered,
    Cancellation,
    PaymentFact,
    PaymentStatus,
    RateLimited,
    Refusal,
    RefusalKind,
    Reply,
    Silence,
    Unauthorized,
)
from billing.domain.patience import Patience
from billing.domain.refund import Origin, Refund, RefundState, again_key, tag_of
from billing.domain.refund_settlement import (
    Done,
    NotSent,
    Outdated,
    RefundVerdict,
    Refused,
    Repeat,
    Settled,
    Waiting,
    accounted,
    judge,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
R = RefundState
NO = Refusal(RefusalKind.UNCLEAR, -1, "[8178] 취소 가능 금액이 부족합니다.")


def refund(id: str = "r-1", amount: int = 3000, state: RefundState = R.SENDING, **more: Any) -> Refund:
    given: dict[str, Any] = {
        "imp_uid": "imp_1", "invoice_id": "i-1", "request_key": id, "origin": Origin.OPERATOR, "actor": "mina", "reason": "반품",
        "currency": "KRW", "tax_free": 0, "vat": 0, "created_at": NOW, "moved_at": NOW, "checksum": 9900, "sent_at": NOW,
    }  # fmt: skip
    return Refund(id=id, amount=amount, state=state, **{**given, **more})


def ours(one: Refund, **more: Any) -> Cancellation:
    """An entry that names this refund."""
    return Cancellation(
        **{"amount": one.amount, "reason": f"{tag_of(one.request_key)} 반품", "cancellation_id": f"c-{one.id}", **more}
    )


def theirs(amount: int = 3000, number: str = "c-x", **more: Any) -> Cancellation:
    """An entry of somebody in the console."""
    return Cancellation(**{"amount": amount, "reason": "by hand", "cancellation_id": number, "cancelled_at": NOW, **more})


def fact(*history: Cancellation, cancelled: int | None = None) -> PaymentFact:
    total = sum(one.amount for one in history) if cancelled is None else cancelled
    status = PaymentStatus.CANCELLED if total else PaymentStatus.PAID
    return PaymentFact("imp_1", "gd1", status, 9900, total, "KRW", True, cancel_history=history)


def judged(one: Refund, shown: PaymentFact | None, reply: Reply | None = None, *, after: float = 0.0) -> RefundVerdict:
    account = accounted([one], shown) if shown is not None else None
    return judge(one, account, shown, reply, now=NOW + timedelta(minutes=after), patience=Patience())


FIRST = refund()
SILENT = refund(state=R.UNKNOWN)
REPEATED = refund(looks=3)
LOST = Silence(True, "the connection broke")


@pytest.mark.parametrize("reply", [None, LOST, NO, Unauthorized(), RateLimited(), Silence(False, "refused"), Answered(fact())])
@pytest.mark.parametrize("one", [FIRST, SILENT, REPEATED, refund(state=R.PLANNED), refund(state=R.REFUSED)])
def test_the_history_beats_every_reply_and_every_state(one: Refund, reply: Reply | None) -> None:
    assert judged(one, fact(ours(one)), reply) == Done("r-1")


@pytest.mark.parametrize(
    ("one", "shown", "reply", "after", "verdict"),
    [
        # Provably unsent: as good as new, unless an earlier request may have been executed.
        (FIRST, None, Silence(False, "refused"), 0, NotSent),
        (FIRST, None, Unauthorized(), 0, NotSent),
        (REPEATED, None, Silence(False, "refused"), 0, Waiting),
        (REPEATED, None, Unauthorized(), 0, Waiting),
        # No usable answer: unknown, however clearly the record shows nothing.
        (FIRST, fact(), LOST, 0, Waiting),
        (FIRST, fact(), RateLimited(), 0, Waiting),
        (FIRST, fact(), Answered(fact(theirs())), 0, Waiting),
        (FIRST, None, LOST, 0, Waiting),
        # Refused: believed at once where the balance is as we said and nothing of it was sent before.
        (FIRST, fact(), NO, 0, Refused),
        (FIRST, None, NO, 0, Waiting),
        (REPEATED, fact(), NO, 0, Waiting),
        # Another balance stands: the refusal was unread.
        (FIRST, fact(theirs(2000)), NO, 0, Outdated),
        (FIRST, fact(theirs(3000)), NO, 0, Outdated),
        (REPEATED, fact(theirs(2000)), NO, 0, Outdated),
        (REPEATED, fact(theirs(3000)), NO, 0, Refused),
        (FIRST, fact(cancelled=2000), NO, 0, Refused),
        # A later look: a request may be running for ten minutes, then the same one may be sent again.
        (SILENT, fact(), None, 9, Waiting),
        (SILENT, fact(), None, 10, Repeat),
        (SILENT, None, None, 60, Waiting),
        (SILENT, fact(theirs(2000)), None, 10, Repeat),
        # What could be ours without our name is not asked for again.
        (SILENT, fact(theirs(3000)), None, 10, Refused),
        (SILENT, fact(theirs(3000, cancelled_at=NOW - timedelta(minutes=2))), None, 10, Repeat),
        (SILENT, fact(theirs(3000, cancelled_at=None)), None, 10, Refused),
        (SILENT, fact(cancelled=3000), None, 60, Waiting),
        # A refusal that was not believed at first is, a minute later.
        (refund(state=R.UNKNOWN, refusal="no", looks=3), fact(), None, 0.5, Waiting),
        (refund(state=R.UNKNOWN, refusal="no", looks=3), fact(), None, 1, Refused),
        # The PG has not enough left: it cannot happen any more.
        (SILENT, fact(theirs(7000)), None, 0, Refused),
        (refund(state=R.PLANNED), fact(theirs(7000)), None, 0, Refused),
        # Nothing to learn.
        (refund(state=R.PLANNED), fact(), None, 60, Settled),
        (refund(state=R.REFUSED), fact(), None, 60, Settled),
        (refund(state=R.DONE), fact(), None, 60, Settled),
    ],
)
def test_verdicts(one: Refund, shown: PaymentFact | None, reply: Reply | None, after: float, verdict: type) -> None:
    assert type(judged(one, shown, reply, after=after)) is verdict


def test_a_full_cancel_in_place_of_a_part_is_a_strangers() -> None:
    """Some cards can only be given back in full: what was executed is booked, and ours did not happen."""
    whole = ours(FIRST, amount=9900)
    account = accounted([FIRST], fact(whole))
    assert (account.done, list(account.strangers.values()), list(account.crowded)) == ({}, [whole], ["r-1"])


def test_a_refund_the_pg_executed_twice_is_done_once_and_recorded_twice() -> None:
    twice = fact(ours(FIRST), ours(FIRST, cancellation_id="c-2"))
    account = accounted([FIRST], twice)
    assert account.done == {"r-1": ours(FIRST)}
    assert account.strangers == {"pg:c-2": ours(FIRST, cancellation_id="c-2")}


def test_what_is_booked_is_known_again_by_id_by_key_and_by_name() -> None:
    new = theirs(3000, "c-new")
    by_id = refund("a", state=R.DONE, cancellation_id="c-x")
    by_key = refund("b", 2000, state=R.DONE, request_key="pg:imp_1:1", origin=Origin.PG)
    by_name = refund("c", 1000, state=R.DONE)
    shown = fact(theirs(), Cancellation(2000, "by hand"), Cancellation(1000, f"{tag_of('c')} 반품"), new)
    account = accounted([by_id, by_key, by_name], shown)
    assert (account.done, account.strangers, account.unexplained) == ({}, {"pg:c-new": new}, 0)


def test_the_newest_that_does_not_fit_gives_way_and_what_is_in_flight_last() -> None:
    queue = [refund("a", 4000, R.PLANNED), refund("b", 3000, R.UNKNOWN), refund("c", 2000, R.PLANNED)]
    assert list(accounted(queue, fact(theirs(2000))).crowded) == ["c"]
    assert list(accounted(queue, fact(theirs(4000))).crowded) == ["a"]
    assert list(accounted(queue, fact(theirs(9900))).crowded) == ["b", "a", "c"]


def test_what_repeats_a_refund_that_was_done_after_all_gives_way() -> None:
    late = refund("a", state=R.REFUSED)
    again = refund("b", state=R.PLANNED, request_key=again_key("a"))
    account = accounted([late, again], fact(ours(late)))
    assert (list(account.done), account.crowded) == (["a"], {"b": "the refund it repeats was done after all"})


def test_a_history_is_believed_up_to_the_sum_beside_it() -> None:
    account = accounted([], fact(theirs(3000), theirs(4000, "c-y"), cancelled=5000))
    assert (list(account.strangers), account.unexplained) == (["pg:c-x"], 2000)
