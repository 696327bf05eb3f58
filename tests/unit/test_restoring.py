"""Which period an order number was minted for, and in which order charges are taken back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from billing.domain.attempt import merchant_uid, merchant_uid_stem
from billing.domain.evidence import PaymentFact, PaymentStatus
from billing.domain.restoring import Home, asked_since, homes, next_steps
from billing.domain.subscription import Subscription, SubscriptionState
from plans import Interval, Unit

NOW = datetime(2024, 2, 10, 3, tzinfo=UTC)


def daily(id: str, *, next_index: int = 1, state: SubscriptionState = SubscriptionState.ACTIVE) -> Subscription:
    day = date(2024, 2, 1)
    return Subscription(
        id=id, customer_id="c", price_id="p", bucket=0, quantity=1, state=state, time_zone="Asia/Seoul", start_on=day,
        first_on=day, anchor_on=day, interval=Interval(1, Unit.DAY), next_index=next_index, due_at=None, cancel_at_end=False,
        version=0, audit_head="", created_at=NOW,
    )  # fmt: skip


def stem(subscription: str, index: int) -> str:
    return merchant_uid_stem("gd", "ledger", subscription, "period", index)


def found(*subscriptions: Subscription, stems: set[str], now: datetime = NOW) -> dict[str, Home]:
    return homes(subscriptions, stems, prefix="gd", ledger_id="ledger", now=now)


def test_every_period_since_the_last_one_known_is_recognised() -> None:
    names = {stem("a", index): Home("a", index) for index in range(1, 10)}
    assert found(daily("a"), daily("b"), stems=set(names)) == names


def test_periods_before_the_next_one_are_recognised_too() -> None:
    """A worker may have skipped them already, before anybody noticed that the database is old."""
    assert found(daily("a", next_index=9), stems={stem("a", 3)}) == {stem("a", 3): Home("a", 3)}


def test_a_test_clock_that_was_set_back_hides_nothing_near() -> None:
    assert found(daily("a"), stems={stem("a", 8)}, now=datetime(2024, 1, 1, tzinfo=UTC)) == {stem("a", 8): Home("a", 8)}


def test_a_stranger_has_no_home_and_neither_has_what_is_over() -> None:
    over = daily("b", state=SubscriptionState.CANCELED)
    other_ledger = merchant_uid_stem("gd", "another", "a", "period", 2)
    assert found(daily("a"), over, stems={stem("x", 2), stem("b", 2), other_ledger}) == {}


def test_each_subscription_takes_back_its_oldest_charge_first() -> None:
    where = {stem(one, index): Home(one, index) for one in "ab" for index in (2, 10)}
    uids = [
        merchant_uid(stem("a", 10), 1),
        merchant_uid(stem("a", 2), 2),
        merchant_uid(stem("a", 2), 1),
        merchant_uid(stem("b", 10), 3),
    ]
    uids.append(merchant_uid(stem("nobody", 1), 1))
    facts = {uid: PaymentFact("imp", uid, PaymentStatus.PAID, 500, 0, "KRW", sandbox=True) for uid in uids}
    assert sorted(next_steps(facts, where)) == sorted([merchant_uid(stem("a", 2), 1), merchant_uid(stem("b", 10), 3)])


def test_the_pg_is_asked_from_two_days_before_what_is_known_and_a_month_at_least() -> None:
    assert asked_since(NOW - timedelta(days=90), NOW) == NOW - timedelta(days=92)
    assert asked_since(NOW, NOW) == NOW - timedelta(days=37)
    assert asked_since(None, NOW) == NOW - timedelta(days=37)
