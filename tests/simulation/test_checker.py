"""Each promise of the checker can break: the books, the PG's ledger or a request are doctored, and it is named."""

from __future__ import annotations

import hmac
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from billing.simulate.ablation import weaken
from billing.simulate.checker import Checker
from billing.simulate.house import SECRET
from billing.store.guards import guards
from tests.simulation.shop import Shop, shop

PAID = "(SELECT imp_uid FROM billing_payment WHERE role = 'invoice' ORDER BY rowid LIMIT 1)"

STEP = [
    ("I1", f"INSERT INTO pg_payment SELECT imp_uid || 'x', merchant_uid, stem, customer_uid, amount, cancel_amount, currency,"
           f" status, sandbox, took, kept, started_at, paid_at, visible_at, NULL FROM pg_payment WHERE imp_uid = {PAID}"),
    ("I2", f"DELETE FROM billing_payment WHERE imp_uid = {PAID}"),
    ("I3", f"UPDATE pg_payment SET amount = amount - 1 WHERE imp_uid = {PAID}"),
    ("I3", "UPDATE billing_invoice SET state = 'paid' WHERE state = 'open'"),
    ("I3", f"UPDATE pg_payment SET customer_uid = 'a stranger' WHERE imp_uid = {PAID}"),
    ("I4", "UPDATE billing_attempt SET state = 'unknown', invoice_id = (SELECT min(invoice_id) FROM billing_attempt)"),
    ("I7", "UPDATE billing_attempt SET state = 'declined' WHERE state = 'paid'"),
    ("I7", "UPDATE billing_attempt SET fence = fence - 1"),
    ("I10", "UPDATE billing_ledger_transfer SET amount = amount + 1 WHERE kind = 'charge'"),
    ("I10", "DELETE FROM billing_ledger_transfer WHERE kind = 'vat'"),
    ("I11", f"UPDATE billing_payment SET refunded = refunded + 1 WHERE imp_uid = {PAID}"),
    ("I11", "DELETE FROM pg_refund"),
    ("I12", "DELETE FROM billing_outbox_event WHERE topic = 'invoice.paid'"),
    ("I12", "DELETE FROM billing_outbox_event WHERE topic = 'invoice.opened'"),
    ("I15", "UPDATE billing_audit SET actor = 'nobody' WHERE rowid = 40"),
    ("I15", "DELETE FROM billing_audit WHERE subscription_id IS NOT NULL AND rowid > 40"),
    ("I21", "UPDATE billing_invoice SET total = total + 1"),
]  # fmt: skip


@pytest.fixture(scope="module")
def books() -> Iterator[tuple[Shop, sqlite3.Connection]]:
    with shop() as one:
        one.db.execute("PRAGMA foreign_keys = OFF")
        one.db.execute("PRAGMA ignore_check_constraints = ON")
        off = ("trigger", "unique index")
        weaken(one.db, [guard.name for guard in guards("sqlite") if guard.kind in off or guard.name.endswith("_seq_key")])
        yield one, one.house.snapshot()


@pytest.fixture
def doctored(books: tuple[Shop, sqlite3.Connection]) -> Shop:
    one, snapshot = books
    one.house.restore(snapshot)
    return one


@pytest.mark.parametrize(("promise", "statement"), STEP, ids=lambda one: one[:60])
def test_a_doctored_book_breaks_its_promise(doctored: Shop, promise: str, statement: str) -> None:
    checker = doctored.checker()

    assert doctored.db.execute(statement).rowcount
    checker.look(closely=True, force=True)

    assert any(one.startswith(promise + ":") for one in checker.broken), checker.broken


def test_periods_stand_where_their_anchor_puts_them(doctored: Shop) -> None:
    """I13: thirty-first of January, end of February, thirty-first of March."""
    doctored.db.execute("UPDATE billing_invoice SET period_end = '2024-01-30T15:00:00.000000Z' WHERE rowid = 1")

    checker = Checker(
        doctored.db,
        changes=doctored.sandbox.changed_since,
        prefix=doctored.house.prefix,
        secret="",
        now=lambda: doctored.clock.now().timestamp(),
    )
    checker.look(closely=True)

    assert [one[:4] for one in checker.broken] == ["I13:"]


@pytest.mark.parametrize(
    ("promise", "statement"),
    [
        ("I1", "UPDATE billing_payment SET role = 'invoice', merchant_uid = 'x'"),
        ("I2", f"DELETE FROM billing_payment WHERE imp_uid = {PAID}"),
        ("I17", "UPDATE billing_attempt SET moved_at = moved_at WHERE state = 'unknown'"),
        ("I17", "UPDATE billing_subscription SET due_at = '2024-01-01T00:00:00.000000Z'"),
        ("I17", "UPDATE billing_invoice SET next_attempt_at = '2024-01-01T00:00:00.000000Z' WHERE state = 'open'"),
    ],
)
def test_what_must_hold_at_rest_can_break(doctored: Shop, promise: str, statement: str) -> None:
    checker = doctored.checker()
    if promise == "I1":
        doctored.db.execute(STEP[0][1])
        statement = (
            f"INSERT INTO billing_payment SELECT {PAID} || 'x', attempt_id, invoice_id, merchant_uid, role, amount, currency,"
            " 0, 0, pg_provider, pg_tid, card_name, receipt_url, paid_at, booked_at FROM billing_payment WHERE imp_uid = " + PAID
        )

    assert doctored.db.execute(statement).rowcount
    checker.look_at_rest()

    assert any(one.startswith(promise + ":") for one in checker.broken), checker.broken


def test_a_pass_that_leaves_something_due_is_seen(doctored: Shop) -> None:
    """I20, and a poisoned row is no excuse for its neighbours."""
    checker = doctored.checker()
    doctored.db.execute("UPDATE billing_subscription SET due_at = '2024-01-01T00:00:00.000000Z'")
    was_due = checker.due()
    poisoned = [min(was_due)[0]]

    checker.completed_pass(was_due, poisoned)

    assert len(checker.broken) == len(was_due) - 1 > 0
    assert all(one.startswith("I20:") for one in checker.broken)


# --- at the door -----------------------------------------------------------------------------------


@dataclass
class Charge:
    """A request as it travels."""

    body: bytes
    headers: dict[str, str]
    sent_at: float
    path: str = "/subscribe/payments/again"
    is_copy: bool = False
    is_late: bool = False


@dataclass
class Answer:
    """What the PG said."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Client:
    """Who asked."""

    has_failed: bool


class Door:
    """A charge that is just being made, in the books and on the wire; doctor either before it arrives."""

    def __init__(self, one: Shop) -> None:
        self.db, self.now = one.db, one.clock.now().timestamp()
        self.checker = one.checker()
        self.uid, customer_uid, amount = self.db.execute(
            "SELECT merchant_uid, customer_uid, amount FROM billing_attempt WHERE state = 'unknown' ORDER BY rowid"
        ).fetchone()
        at = one.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.db.execute(
            "UPDATE billing_attempt SET state = 'sending', sent_at = ?, wake_at = ?, token_fp = ? WHERE merchant_uid = ?",
            (at, at, fingerprint("a token"), self.uid),
        )
        self.order: dict[str, Any] = {"merchant_uid": self.uid, "customer_uid": customer_uid, "amount": amount}
        self.token = "a token"

    def charge(self, **changes: Any) -> Charge:
        return Charge(json.dumps(self.order | changes).encode(), {"authorization": f"Bearer {self.token}"}, self.now)

    def lets_in(self, parcel: Charge) -> list[str]:
        """It arrives and leaves a record; returns what was broken."""
        arrival = self.checker.doorman.arrives(parcel)
        assert arrival is not None
        self.db.execute(
            "INSERT INTO pg_payment VALUES (?, ?, ?, '', 0, 0, 'KRW', 'failed', 1, 0, 0, ?, 0, ?, NULL)",
            (
                f"imps_{arrival.at}_{self.checker.doorman.arrived[arrival.uid]}",
                arrival.uid,
                arrival.uid[:-3],
                arrival.at,
                arrival.at,
            ),
        )
        self.checker.doorman.served(arrival)
        return self.checker.broken


def fingerprint(token: str) -> str:
    return hmac.digest(SECRET.encode(), token.encode(), "sha256").hex()[:16]


@pytest.fixture
def door(doctored: Shop) -> Door:
    return Door(doctored)


def test_a_charge_as_it_was_written_is_let_in(door: Door) -> None:
    assert door.lets_in(door.charge()) == []


@pytest.mark.parametrize(
    ("promise", "statement"),
    [
        ("I6", "UPDATE billing_attempt SET state = 'planned'"),
        ("I6", "UPDATE billing_attempt SET token_fp = 'another'"),
        ("I7", "UPDATE billing_attempt SET wire_count = 0"),
        ("I5", "UPDATE billing_attempt SET seq = 2, state = iif(merchant_uid = :uid, 'sending', 'unknown'), invoice_id = 'one'"
               " WHERE seq = 1"),
        ("I9", "UPDATE billing_freeze SET is_frozen = 1, changed_at = '2024-01-01T00:00:00.000000Z'"),
        ("I9", "UPDATE billing_subscription SET state = 'canceled', canceled_at = '2024-01-01T00:00:00.000000Z'"),
    ],
)  # fmt: skip
def test_a_charge_that_should_not_have_left_is_named(door: Door, promise: str, statement: str) -> None:
    if promise == "I5":
        invoice = door.db.execute("SELECT invoice_id FROM billing_attempt WHERE merchant_uid = ?", (door.uid,)).fetchone()[0]
        door.db.execute("UPDATE billing_attempt SET seq = 2 WHERE merchant_uid = ?", (door.uid,))
        statement = f"UPDATE billing_attempt SET invoice_id = '{invoice}', state = 'unknown', seq = 1 WHERE state = 'declined'"

    assert door.db.execute(statement, {"uid": door.uid} if ":uid" in statement else {}).rowcount

    assert any(one.startswith(promise + ":") for one in door.lets_in(door.charge())), door.checker.broken


def test_a_charge_nobody_wrote_down_is_named(door: Door) -> None:
    assert door.lets_in(door.charge(merchant_uid="gdxx" + "0" * 27 + "a01")) != []


def test_a_charge_of_another_amount_or_card_is_named(door: Door) -> None:
    assert door.lets_in(door.charge(amount=1)) != []


def test_two_requests_of_one_invoice_at_once_are_named(door: Door) -> None:
    """I8, while a proxy's copy of one and the same is nobody's fault."""
    door.db.execute("UPDATE billing_attempt SET wire_count = 2 WHERE merchant_uid = ?", (door.uid,))
    copy = door.charge()
    copy.is_copy = True
    door.checker.doorman.arrives(copy)
    door.checker.doorman.arrives(door.charge())

    assert [one[:3] for one in door.lets_in(door.charge())] == ["I8:"]


def test_a_paid_number_that_is_charged_again_is_named(door: Door) -> None:
    door.db.execute(
        "INSERT INTO pg_payment VALUES ('imps_p', ?, ?, '', 2900, 0, 'KRW', 'paid', 1, 1, 2900, 1, 1, 1, NULL)",
        (door.uid, door.uid[:-3]),
    )
    assert [one[:3] for one in door.lets_in(door.charge())] == ["I5:"]


def test_a_second_charge_on_one_day_is_named(doctored: Shop, door: Door) -> None:
    """I14: of one subscription, by itself."""
    assert door.lets_in(door.charge()) == []
    subscription = door.db.execute("SELECT subscription_id FROM billing_attempt WHERE merchant_uid = ?", (door.uid,)).fetchone()[
        0
    ]
    other = door.db.execute("SELECT merchant_uid FROM billing_attempt WHERE state = 'paid' AND trigger = 'automatic'").fetchone()[
        0
    ]
    door.db.execute(
        "UPDATE billing_attempt SET subscription_id = ?, state = 'sending', token_fp = ?,"
        " sent_at = (SELECT sent_at FROM billing_attempt WHERE merchant_uid = ?) WHERE merchant_uid = ?",
        (subscription, fingerprint(door.token), door.uid, other),
    )
    customer_uid = door.db.execute("SELECT customer_uid FROM billing_attempt WHERE merchant_uid = ?", (other,)).fetchone()[0]
    doctored.clock.sleep(timedelta(seconds=5).total_seconds())

    broken = door.lets_in(door.charge(merchant_uid=other, customer_uid=customer_uid))

    assert any(one.startswith("I14:") for one in broken), broken


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_who_was_asked_to_wait_waits(door: Door, *, is_forgotten: bool) -> None:
    """I19: Retry-After binds everybody, unless whoever heard it died with it."""
    door.db.execute("UPDATE billing_attempt SET wire_count = 2 WHERE merchant_uid = ?", (door.uid,))
    door.lets_in(door.charge())
    door.checker.heard(door.charge(), Answer(429, {"retry-after": "60"}), Client(is_forgotten))

    broken = door.lets_in(door.charge())

    assert any(one.startswith("I19:") for one in broken) is not is_forgotten
