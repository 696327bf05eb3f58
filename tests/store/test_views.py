"""The read-only questions: right on both databases, one statement however many rows, and nothing secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, event, update

from billing.clock import SystemClock
from billing.errors import NotFound
from billing.store import tables
from billing.store.unit import Store
from billing.store.views import Views
from tests.kit import rows

MASKED = "424242******4242"


@pytest.fixture
def views(engine: Engine) -> Views:
    return Views(Store(engine, SystemClock(), lambda: "id"))


def _lived(conn: Connection) -> dict[str, str]:
    """One customer with a card and a paid invoice; returns the ids of what was made."""
    customer = rows.customer(conn)
    rows.billing_key(conn, customer_id=customer["id"], card_name="Shinhan", card_number=MASKED)
    subscription = rows.subscription(conn, customer_id=customer["id"])
    bill = rows.invoice(conn, customer_id=customer["id"], subscription_id=subscription["id"])
    rows.invoice_line(conn, invoice_id=bill["id"], price_id=subscription["price_id"])
    attempt = rows.attempt(conn, invoice=bill)
    imp_uid = rows.new_id("imp")
    _settle(conn, attempt, "paid", imp_uid=imp_uid)
    rows.payment(conn, attempt=attempt, imp_uid=imp_uid)
    rows.virtual_account(conn, attempt=attempt)
    rows.checkout(conn, invoice=bill)
    rows.outbox_event(conn, customer_id=customer["id"], subscription_id=subscription["id"])
    return {
        "customer": customer["id"],
        "subscription": subscription["id"],
        "invoice": bill["id"],
        "attempt": attempt["id"],
        "number": str(bill["number"]),
    }


def _settle(conn: Connection, attempt: rows.Values, state: str, **values: object) -> None:
    """Take a planned attempt the legal way: the database draws no other arrow."""
    row = update(tables.attempt).where(tables.attempt.c.id == attempt["id"])
    conn.execute(row.values(state="sending", token_fp="fingerprint", wake_at=rows.NOW, wire_count=1))
    conn.execute(row.values(state=state, wake_at=None, **values))


@contextmanager
def _statements(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_an_invoice_is_shown_whole_by_id_and_by_number(engine: Engine, views: Views) -> None:
    with engine.begin() as conn:
        made = _lived(conn)
    one = views.invoice(made["invoice"])
    assert one == views.invoice(made["number"])
    assert (one["state"], one["total"], one["customer"]) == ("open", {"amount": 9900, "currency": "KRW"}, made["customer"])
    assert [line["amount"]["amount"] for line in one["lines"]] == [9900]
    assert [each["state"] for each in one["attempts"]] == ["paid"]
    assert [each["role"] for each in one["payments"]] == ["invoice"]
    assert [(each["number"], each["amount"]["amount"], each["due_at"]) for each in one["accounts"]] == [("110-222", 9900, None)]
    assert [(each["methods"], each["invoice_number"], each["customer"]) for each in one["windows"]] == [
        (["card", "vbank"], one["number"], made["customer"])
    ]
    assert one["opened_at"] == "2026-11-21T03:00:00+00:00"
    assert views.attempt(made["attempt"])["invoice_number"] == one["number"]
    assert views.subscription(made["subscription"])["invoices"][0]["id"] == made["invoice"]
    customer = views.customer(made["customer"])
    assert [card["card_number"] for card in customer["cards"]] == [MASKED]
    assert views.customers()[0]["card"] == f"Shinhan {MASKED}"


def test_a_list_costs_the_same_for_one_row_and_for_twenty(engine: Engine, views: Views) -> None:
    def ask() -> list[int]:
        asked = []
        lists = (views.customers, views.plans, views.subscriptions, views.invoices, views.attempts, views.checkouts, views.events)
        for question in lists:
            with _statements(engine) as seen:
                question()
            asked.append(len(seen))
        return asked

    with engine.begin() as conn:
        _lived(conn)
    first = ask()
    with engine.begin() as conn:
        for _ in range(20):
            _lived(conn)
    assert ask() == first


def test_filters_narrow_and_pages_join(engine: Engine, views: Views) -> None:
    with engine.begin() as conn:
        made = [_lived(conn) for _ in range(5)]
        rows.invoice(conn, state="void")
    assert len(views.invoices(state="void")) == 1
    assert [one["id"] for one in views.invoices(of=made[2]["customer"])] == [made[2]["invoice"]]
    assert [one["id"] for one in views.attempts(of=made[2]["customer"], state="paid")] == [made[2]["attempt"]]
    assert [one["invoice_id"] for one in views.checkouts(of=made[2]["customer"])] == [made[2]["invoice"]]
    assert len(views.events(topic="invoice.paid")) == 5
    assert views.events(topic="invoice.void") == []
    everything = [one["id"] for one in views.invoices()]
    paged, after = [], None
    while page := views.invoices(limit=2, after=after):
        paged += [one["id"] for one in page]
        after = page[-1]["id"]
    assert paged == everything


def test_what_does_not_exist_is_named(views: Views) -> None:
    for ask in (views.customer, views.plan, views.subscription, views.invoice, views.attempt):
        with pytest.raises(NotFound, match="nope"):
            ask("nope")
    with pytest.raises(NotFound, match="7"):
        views.invoice_ids(["7"])


def test_nothing_secret_and_no_token_leaves(engine: Engine, views: Views) -> None:
    with engine.begin() as conn:
        made = _lived(conn)
    said = json.dumps(
        [views.invoice(made["invoice"]), views.attempt(made["attempt"]), views.customer(made["customer"]), views.attempts()]
    )
    assert "fingerprint" not in said
    assert "audit_head" not in said


def test_what_wants_attention_is_counted(engine: Engine, views: Views) -> None:
    assert set(views.attention().values()) == {0}
    with engine.begin() as conn:
        _lived(conn)
        rows.subscription(conn, parked_reason="poison")
        _settle(conn, rows.attempt(conn), "unknown")
        _settle(conn, rows.attempt(conn), "mismatch", imp_uid="imp_m")
        rows.billing_key(conn, state="retired")
    counts = views.attention()
    wanted = ("parked_subscriptions", "undecided_attempts", "mismatches", "retired_keys")
    assert [counts[name] for name in wanted] == [1, 1, 1, 1]
