"""Each promise about a window can break: what is handed out, said or looked at is doctored, and it is named."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from billing.simulate.checker import Checker
from tests.simulation.shop import Shop, shop

WINDOW = "SELECT merchant_uid, invoice_id, amount FROM billing_attempt WHERE way = 'window'"


@pytest.fixture(scope="module")
def books() -> Iterator[tuple[Shop, sqlite3.Connection]]:
    with shop() as one:
        one.db.execute("PRAGMA ignore_check_constraints = ON")
        for (trigger,) in one.db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            one.db.execute(f"DROP TRIGGER {trigger}")
        yield one, one.house.snapshot()


@pytest.fixture
def one(books: tuple[Shop, sqlite3.Connection]) -> Checker:
    shop_, snapshot = books
    shop_.house.restore(snapshot)
    checker = shop_.checker()
    shop_.db.execute("UPDATE billing_attempt SET state = 'sending' WHERE way = 'window'")
    return checker


def handed(one: Checker, **other: Any) -> tuple[str, str]:
    """The order number of the shop's window, given to a browser, and its invoice."""
    uid, invoice, amount = one._db.execute(WINDOW).fetchone()
    one.usher.gives({"merchant_uid": uid, "amount": amount, **other}, invoice)
    return uid, invoice


def test_what_a_row_says_may_be_handed_out_again_and_again(one: Checker) -> None:
    handed(one)
    handed(one)

    assert one.broken == []


@pytest.mark.parametrize("other", [{"amount": 1}, {"merchant_uid": "nobody's"}, {"customer_uid": "a card"}], ids=str)
def test_what_no_row_says_may_not_be_handed_out(one: Checker, other: dict[str, Any]) -> None:
    handed(one, **other)

    assert one.broken[0].startswith("I6: ")


def test_a_number_may_not_leave_before_it_is_armed(one: Checker) -> None:
    one._db.execute("UPDATE billing_attempt SET state = 'planned' WHERE way = 'window'")

    handed(one)

    assert one.broken[0].startswith("I6: ")


def test_a_number_pays_for_one_invoice(one: Checker) -> None:
    uid, _ = handed(one)
    (amount,) = one._db.execute("SELECT amount FROM billing_attempt WHERE merchant_uid = ?", (uid,)).fetchone()

    one.usher.gives({"merchant_uid": uid, "amount": amount}, "another invoice")

    assert one.broken == [one.broken[0]]
    assert one.broken[0].startswith(f"I24: {uid}")


def test_a_card_is_registered_for_one_customer(one: Checker) -> None:
    for customer in ("a", "b"):
        one.usher.registers({"merchant_uid": "k01", "customer_uid": "card", "amount": 0}, customer)

    assert one.broken == ["I24: the card card of a is given out to b"]


def test_the_pg_goes_on_only_for_what_is_wanted(one: Checker) -> None:
    uid, amount = one._db.execute("SELECT merchant_uid, amount FROM billing_attempt WHERE way = 'window'").fetchone()
    one.usher.asked("imp_1", uid, amount, None)
    one.usher.asked("imp_1", uid, amount - 1, "another amount")
    assert one.broken == []

    one.usher.asked("imp_1", uid, amount - 1, None)
    one.usher.asked("imp_1", "unknown", amount, None)
    one._db.execute("UPDATE billing_attempt SET state = 'void' WHERE way = 'window'")
    one.usher.asked("imp_1", uid, amount, None)

    assert [each[:4] for each in one.broken] == ["I24:"] * 3


def test_nobody_is_told_that_he_paid_or_registered_what_he_did_not(one: Checker) -> None:
    uid, _ = handed(one)
    done, left = (
        one._db.execute(f"SELECT merchant_uid FROM billing_checkout WHERE purpose = 'card' AND state = '{state}'").fetchone()[0]
        for state in ("done", "open")
    )
    one.usher.answers(done, "registered")
    one.usher.answers(uid, "pending")
    assert one.broken == []

    one.usher.answers(uid, "paid")
    one.usher.answers(left, "registered")

    assert [each[:4] for each in one.broken] == ["I25:"] * 2


def test_a_window_is_open_for_an_hour_and_an_account_until_its_day(one: Checker) -> None:
    uid, _ = handed(one)
    now = one._now()
    (imp_uid,) = one._db.execute("SELECT imp_uid FROM pg_payment WHERE merchant_uid = ?", (uid,)).fetchone()
    one.usher._given[uid].windows.append(imp_uid)

    assert list(one.usher.open_windows(uid[:-3], now + 60)) == [uid]
    assert list(one.usher.open_windows(uid[:-3], now + 4000)) == []
    one.usher.issues(imp_uid, uid, now + 90_000)
    assert list(one.usher.open_windows(uid[:-3], now + 4000)) == [uid]
    assert list(one.usher.open_windows(uid[:-3], now + 90_001)) == []


@pytest.mark.parametrize("wake_at", ["NULL", "'2024-03-01T00:00:00.000000Z'"])
def test_a_window_is_looked_at_again(one: Checker, wake_at: str) -> None:
    one._db.execute(
        f"UPDATE billing_attempt SET wake_at = {wake_at}, sent_at = strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch')"
        " WHERE way = 'window'",
        (one._now(),),
    )

    assert [each[:4] for each in one.usher.closely()] == ["I24:"]


def test_what_a_browser_pays_is_nobodys_charge(one: Checker) -> None:
    one._db.execute("UPDATE billing_finding SET kind = 'stranger', imp_uid = 'imp_1'")

    assert any("was paid in a browser" in each for each in one.usher.closely())
