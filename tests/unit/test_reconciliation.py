"""One record of the PG against our rows, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from billing.domain.attempt import AttemptState as S
from billing.domain.attempt import ChargeAttempt, Trigger, Way, is_number_of, merchant_uid, merchant_uid_stem, uid_prefix_of
from billing.domain.charging import ledger_of, order_of
from billing.domain.evidence import PaymentFact, PaymentStatus, UnreadRecord
from billing.domain.reconciliation import (
    LONGEST_LIST,
    Adopt,
    Balance,
    Difference,
    Known,
    Settle,
    Whose,
    Window,
    compared,
    is_past,
    left_over,
    unreadable,
    windows,
)

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
LEDGER = "01a1fe09-1c64-75d4-8368-4ca9cd49f31a"
PREFIX = uid_prefix_of(LEDGER)
OURS = Whose(LEDGER, PREFIX)
UID = merchant_uid(merchant_uid_stem(PREFIX, LEDGER, "subscription", "renewal", 1), 1)
P = PaymentStatus


def record(status: P = P.PAID, **given: object) -> PaymentFact:
    """A record of the PG under a number of ours."""
    fact = PaymentFact("imp_1", UID, status, 9900, 0, "KRW", True, customer_uid="gdc1", paid_at=NOW)
    return fact._replace(**given)  # type: ignore[arg-type]


def tried(state: S, **given: object) -> ChargeAttempt:
    """Our row about it."""
    one = ChargeAttempt(
        "a", "i", "s", "c", 0, 1, UID, "gdc1", Way.KEY, Trigger.AUTOMATIC, 9900, "KRW", 0, 900, "Pro", "", "", "", state, NOW, NOW
    )
    return one._replace(**given)  # type: ignore[arg-type]


BOOKED = Balance(9900, "KRW", 0, 0)


@pytest.mark.parametrize(
    ("fact", "known", "step"),
    [
        (record(), Known(tried(S.PAID, imp_uid="imp_1"), BOOKED), None),
        (record(P.FAILED), Known(tried(S.DECLINED)), None),
        (record(), Known(tried(S.DECLINED)), Settle(UID)),
        (record(), Known(tried(S.REJECTED)), Settle(UID)),
        (record(), Known(tried(S.VOID)), Settle(UID)),
        (record(), Known(tried(S.UNKNOWN)), Settle(UID)),
        (record(P.FAILED), Known(tried(S.UNKNOWN)), Settle(UID)),
        (record(P.READY), Known(tried(S.UNKNOWN)), None),
        (record(imp_uid="imp_2"), Known(tried(S.PAID, imp_uid="imp_1")), Settle(UID)),
        (record(), Known(tried(S.SENDING, wake_at=NOW + timedelta(minutes=1))), None),
        (record(), Known(tried(S.SENDING, wake_at=NOW - timedelta(minutes=1))), Settle(UID)),
        (record(P.CANCELLED, cancel_amount=9900), Known(tried(S.PAID), BOOKED), Adopt("imp_1")),
        (record(P.CANCELLED, cancel_amount=9900), Known(tried(S.PAID), BOOKED._replace(refunded=9900)), None),
    ],
)
def test_what_our_rows_can_set_right_is_settled_or_adopted(fact: PaymentFact, known: Known, step: object) -> None:
    assert compared(fact, known, OURS, now=NOW) == step


@pytest.mark.parametrize(
    ("fact", "known", "kind"),
    [
        (record(), Known(), "stranger"),
        (record(P.FAILED), Known(), "stranger"),
        (record(custom_data=f'{{"ledger":"{LEDGER}"}}', merchant_uid="else-1"), Known(), "stranger"),
        (record(custom_data='{"ledger":"another"}'), Known(), None),
        (record(merchant_uid="else-1"), Known(), None),
        (record(merchant_uid="gd" + UID[4:]), Known(), None),
        (record(merchant_uid="else-1"), Known(owner="c"), "scheduled_charge"),
        (record(P.FAILED, merchant_uid="else-1", usage="payment.scheduled"), Known(owner="c"), "scheduled_charge"),
        (record(merchant_uid="else-1", usage="issue"), Known(owner="c"), None),
        (record(amount=9899), Known(tried(S.PAID), BOOKED), "amount_differs"),
        (record(currency="USD"), Known(tried(S.PAID), BOOKED), "amount_differs"),
        (record(P.FAILED), Known(tried(S.PAID), BOOKED), "amount_differs"),
        (record(), Known(tried(S.PAID), BOOKED._replace(refunded=100)), "amount_differs"),
        (record(P.CANCELLED, cancel_amount=100), Known(tried(S.PAID), BOOKED), "cancelled_at_pg"),
        (record(P.CANCELLED, cancel_amount=100), Known(tried(S.PAID), BOOKED._replace(reserved=100)), None),
        (record(imp_uid="imp_2"), Known(tried(S.MISMATCH, imp_uid="imp_1")), "unbooked"),
        (record(), Known(tried(S.DECLINED)), "unbooked"),
        (record(), Known(tried(S.UNKNOWN)), None),
        (record(), Known(tried(S.PAID, imp_uid="imp_1"), BOOKED), None),
    ],
)
def test_what_is_left_over_is_a_finding_of_one_kind(fact: PaymentFact, known: Known, kind: str | None) -> None:
    found = left_over(fact, known, OURS, now=NOW)
    assert (found.kind.value if found else None) == kind


def test_a_number_of_ours_says_whose_it_is_and_so_does_its_note() -> None:
    assert len(PREFIX) == 4
    assert PREFIX.startswith("gd")
    assert is_number_of(PREFIX, UID)
    assert not is_number_of("gd", UID)
    assert not is_number_of(PREFIX, "gdzz" + UID[4:])
    assert not is_number_of(PREFIX, UID.upper())
    assert not is_number_of(PREFIX, UID[:-2] + "xx")
    note = order_of(tried(S.PLANNED), LEDGER).custom_data
    assert ledger_of(note) == LEDGER
    assert [ledger_of(text) for text in (None, "", "i-1", "[1]", '{"ledger":7}', "[" * 100_000)] == [None] * 6


def test_an_unreadable_record_is_only_reported_where_it_is_ours() -> None:
    one = UnreadRecord("imp_1", "else-1", "cu", None, "amount is not an amount")
    assert unreadable(one, OURS, is_known=False) is None
    assert isinstance(unreadable(one, OURS, is_known=True), Difference)
    assert isinstance(unreadable(one._replace(merchant_uid=UID), OURS, is_known=False), Difference)
    assert unreadable(one._replace(imp_uid="", merchant_uid=""), OURS, is_known=True) is None


def test_a_page_is_past_when_all_of_it_is() -> None:
    old, new = record(paid_at=NOW - timedelta(hours=2)), record()
    since = NOW - timedelta(hours=1)
    assert is_past([old, old], since)
    assert not is_past([old, new], since)
    assert not is_past([record(paid_at=NOW - timedelta(hours=2), cancelled_at=NOW)], since)
    assert not is_past([record(P.READY, paid_at=None)], since), "a record without any instant proves nothing"


def test_a_long_span_is_split_without_a_gap() -> None:
    since = NOW - timedelta(days=400)
    newest, *older = windows(since, None, NOW)
    assert newest == Window()
    assert older[0].until == NOW - LONGEST_LIST
    assert older[-1].since == since
    assert all(one.since == two.until for one, two in pairwise(older))
    assert all(one.until - one.since <= LONGEST_LIST for one in older if one.since and one.until)
    assert windows(NOW - timedelta(days=2), None, NOW) == [Window()]
    assert windows(since, since + timedelta(days=1), NOW) == [Window(since, since + timedelta(days=1))]
