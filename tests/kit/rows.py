"""Rows written by direct SQL, past every rule of the engine: what an attacker, or a bug, would do.

Each maker writes what it needs around it, so one line gives an attempt with its invoice and
customer. Values can be given by column name.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, Protocol

from sqlalchemy import Connection, Table, insert

from billing.store import tables

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
_number = count(1)

Values = dict[str, Any]


class Maker(Protocol):
    """Writes one row, and what it refers to, and returns its values."""

    def __call__(self, conn: Connection, /, **given: Any) -> Values: ...


def put(conn: Connection, table: Table, values: Values) -> Values:
    """Insert one row and return it."""
    conn.execute(insert(table), values)
    return values


def new_id(kind: str) -> str:
    """An id nothing else has in this run."""
    return f"{kind}-{next(_number)}"


def customer(conn: Connection, /, **given: Any) -> Values:
    it = new_id("customer")
    own = {"id": it, "external_id": it, "name": "Mina", "email": "mina@example.com", "tel": "", "time_zone": "Asia/Seoul"}
    return put(conn, tables.customer, {**own, "bucket": 7, "created_at": NOW, **given})


def billing_key(conn: Connection, /, **given: Any) -> Values:
    own = {"id": new_id("key"), "customer_uid": new_id("uid"), "state": "current", "created_at": NOW}
    if "customer_id" not in given:
        given["customer_id"] = customer(conn)["id"]
    return put(conn, tables.billing_key, {**own, **given})


def price(conn: Connection, /, **given: Any) -> Values:
    plan_id = new_id("plan")
    put(conn, tables.plan, {"id": plan_id, "code": plan_id, "name": "Pro", "created_at": NOW})
    own = {"id": new_id("price"), "plan_id": plan_id, "code": new_id("pro"), "version": 1, "name": "Pro", "amount": 9900}
    terms = {"currency": "KRW", "interval_count": 1, "interval_unit": "month", "alignment": "anniversary", "trial_days": 0}
    rest = {"setup_fee": 0, "is_tax_free": False, "is_current": True, "created_at": NOW}
    return put(conn, tables.price, {**own, **terms, **rest, **given})


def subscription(conn: Connection, /, **given: Any) -> Values:
    day = date(2026, 11, 21)
    own: Values = {"id": new_id("subscription"), "bucket": 7, "quantity": 1, "state": "active", "time_zone": "Asia/Seoul"}
    dates = {"start_on": day, "first_on": day, "anchor_on": day, "interval_count": 1, "interval_unit": "month"}
    rest = {"next_index": 1, "cancel_at_end": False, "version": 1, "audit_head": "", "created_at": NOW}
    for column, maker in (("customer_id", customer), ("price_id", price)):
        if column not in given:
            given[column] = maker(conn)["id"]
    return put(conn, tables.subscription, {**own, **dates, **rest, **given})


def invoice(conn: Connection, /, **given: Any) -> Values:
    if "subscription_id" not in given:
        made = subscription(conn)
        given |= {"subscription_id": made["id"], "customer_id": made["customer_id"]}
    own = {"id": new_id("invoice"), "number": next(_number), "bucket": 7, "purpose": "period", "period_index": 0}
    span = {"period_start": NOW, "period_end": NOW, "uid_stem": new_id("stem"), "state": "open", "currency": "KRW"}
    money = {"total": 9900, "tax_free": 0, "vat": 900, "order_name": "Pro", "opened_at": NOW, "moved_at": NOW}
    return put(conn, tables.invoice, {**own, **span, **money, "collection": "charge", **given})


def invoice_line(conn: Connection, /, **given: Any) -> Values:
    own: Values = {"position": 1, "kind": "recurring", "description": "Pro", "quantity": 1, "unit_amount": 9900}
    for column, maker in (("invoice_id", invoice), ("price_id", price)):
        if column not in given:
            given[column] = maker(conn)["id"]
    days = {"part_days": 30, "natural_days": 30}
    return put(conn, tables.invoice_line, {**own, "amount": 9900, "is_tax_free": False, "vat": 900, **days, **given})


def attempt(conn: Connection, /, **given: Any) -> Values:
    """A planned attempt; `invoice` may be given as its whole row."""
    bill = given.pop("invoice", None) or invoice(conn)
    own = {"id": new_id("attempt"), "invoice_id": bill["id"], "subscription_id": bill["subscription_id"]}
    name = {"customer_id": bill["customer_id"], "bucket": 7, "seq": 1, "merchant_uid": f"gdtest{next(_number):022d}a01"}
    way = {"customer_uid": new_id("uid"), "way": "key", "trigger": "automatic", "amount": bill["total"], "currency": "KRW"}
    more = {"tax_free": 0, "vat": 900, "order_name": "Pro", "buyer_name": "Mina", "buyer_email": "", "buyer_tel": ""}
    rest = {"state": "planned", "fence": 0, "wire_count": 0, "looks": 0, "created_at": NOW, "moved_at": NOW}
    return put(conn, tables.attempt, {**own, **name, **way, **more, **rest, **given})


def payment(conn: Connection, /, **given: Any) -> Values:
    """A payment of 9,900; `attempt` may be given as its whole row."""
    paid = given.pop("attempt", None) or attempt(conn)
    own = {"imp_uid": new_id("imp"), "attempt_id": paid["id"], "invoice_id": paid["invoice_id"]}
    money = {"merchant_uid": paid["merchant_uid"], "role": "invoice", "amount": 9900, "currency": "KRW"}
    rest = {"pg_provider": "html5_inicis", "pg_tid": "", "card_name": "", "receipt_url": "", "paid_at": NOW, "booked_at": NOW}
    return put(conn, tables.payment, {**own, **money, **rest, **given})


def refund(conn: Connection, /, **given: Any) -> Values:
    """A planned refund of 1,000; `imp_uid` names its payment."""
    if "imp_uid" not in given:
        given["imp_uid"] = payment(conn)["imp_uid"]
    own = {
        "id": new_id("refund"),
        "invoice_id": new_id("invoice"),
        "request_key": new_id("key"),
        "origin": "operator",
        "actor": "test",
    }
    money = {"amount": 1000, "currency": "KRW", "checksum": 9900, "state": "planned", "reason": "asked for"}
    return put(conn, tables.refund, {**own, **money, "created_at": NOW, "moved_at": NOW, **given})


def checkout(conn: Connection, /, **given: Any) -> Values:
    """A link that pays an invoice, which may be given as its whole row."""
    bill = given.pop("invoice", None) or invoice(conn)
    own = {"id": new_id("checkout"), "purpose": "invoice", "customer_id": bill["customer_id"], "invoice_id": bill["id"]}
    how = {"pay_methods": "card,vbank", "language": "ko", "return_url": "", "options": "{}", "actor": "test", "state": "open"}
    return put(conn, tables.checkout, {**own, **how, "created_at": NOW, "expires_at": NOW + timedelta(days=1), **given})


def virtual_account(conn: Connection, /, **given: Any) -> Values:
    """An account that waits for 9,900; `attempt` may be given as its whole row."""
    asked = given.pop("attempt", None) or attempt(conn)
    own = {"imp_uid": new_id("imp"), "attempt_id": asked["id"], "invoice_id": asked["invoice_id"]}
    bank = {"bank_code": "004", "bank_name": "국민은행", "number": "110-222", "holder": "Mina", "amount": 9900, "currency": "KRW"}
    return put(conn, tables.virtual_account, {**own, **bank, "due_at": None, "issued_at": NOW, **given})


def ledger_transfer(conn: Connection, /, **given: Any) -> Values:
    own = {"id": new_id("transfer"), "kind": "payment", "ref": new_id("ref"), "debit": "pg:receivable", "credit": "customer"}
    return put(conn, tables.ledger_transfer, {**own, "amount": 9900, "currency": "KRW", "booked_at": NOW, **given})


def audit(conn: Connection, /, **given: Any) -> Values:
    own = {"id": new_id("audit"), "actor": "test", "action": "paid", "subject": "invoice", "details": "{}"}
    return put(conn, tables.audit, {**own, "previous": "", "digest": new_id("digest"), "at": NOW, **given})


def outbox_event(conn: Connection, /, **given: Any) -> Values:
    own = {"id": new_id("event"), "key": new_id("key"), "topic": "invoice.paid", "customer_id": "c", "version": 1}
    return put(conn, tables.outbox_event, {**own, "payload": "{}", "occurred_at": NOW, **given})


def charge_day(conn: Connection, /, **given: Any) -> Values:
    if "subscription_id" not in given:
        given["subscription_id"] = subscription(conn)["id"]
    return put(conn, tables.charge_day, {"local_day": date(2026, 11, 21), "attempt_id": "a", **given})


def identity(conn: Connection, /, **given: Any) -> Values:
    own = {"id": 1, "ledger_id": "ledger", "uid_prefix": "gd", "mode": "sandbox", "api_key_fp": "", "created_at": NOW}
    return put(conn, tables.identity, {**own, **given})
