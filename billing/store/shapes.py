"""Rows as scripts read them: plain JSON values, instants with offset, money with its currency."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from sqlalchemy import RowMapping

from plans.calendar import Interval, Unit

Json = dict[str, Any]
Row = RowMapping


def plain(value: Any) -> Any:
    """`value` as JSON has it."""
    return value.isoformat() if isinstance(value, (date, datetime)) else value


def money(amount: int, currency: str) -> Json:
    """An amount in minor units."""
    return {"amount": amount, "currency": currency}


def picked(row: Row, *names: str) -> Json:
    """These columns of a row."""
    return {name: plain(row[name]) for name in names}


def period(row: Row) -> Json | None:
    """The paid or billed period of a row, half-open; None before the first."""
    if row["period_start"] is None:
        return None
    return {"index": row["period_index"], "start": plain(row["period_start"]), "end": plain(row["period_end"])}


def customer(row: Row) -> Json:
    """A customer."""
    return picked(row, "id", "external_id", "name", "email", "tel", "time_zone", "bucket", "created_at")


def key(row: Row) -> Json:
    """A billing key; the card number is the one the PG masked."""
    names = ("id", "customer_id", "customer_uid", "state", "pg_provider", "pg_id", "card_name", "card_number", "card_type")
    return picked(row, *names, "created_at", "confirmed_at", "removed_at")


def price(row: Row) -> Json:
    """One version of a price."""
    return {
        **picked(row, "id", "code", "version", "name", "is_current"),
        "amount": money(row["amount"], row["currency"]),
        "every": str(Interval(row["interval_count"], Unit(row["interval_unit"]))),
        "align": row["alignment"],
        "trial_days": row["trial_days"],
        "setup_fee": money(row["setup_fee"], row["currency"]),
        "tax_free": row["is_tax_free"],
        "created_at": plain(row["created_at"]),
    }


def subscription(row: Row) -> Json:
    """A subscription with the names of its customer and price; `amount` is one period at its quantity."""
    return {
        **picked(row, "id", "customer_id", "customer", "plan", "price", "price_version", "quantity", "state", "time_zone"),
        "amount": money(row["unit_amount"] * row["quantity"], row["currency"]),
        "every": str(Interval(row["interval_count"], Unit(row["interval_unit"]))),
        "period": period(row),
        **picked(row, "start_on", "first_on", "anchor_on", "trial_end", "next_index", "due_at", "cancel_at_end"),
        **picked(row, "canceled_at", "ended_at", "parked_reason", "version", "created_at"),
    }


def invoice(row: Row) -> Json:
    """An invoice with its customer's external id."""
    currency = row["currency"]
    return {
        **picked(row, "id", "number", "customer_id", "customer", "subscription_id", "time_zone", "state", "order_name"),
        "total": money(row["total"], currency),
        "tax_free": money(row["tax_free"], currency),
        "vat": money(row["vat"], currency),
        "period": period(row),
        **picked(
            row, "opened_at", "moved_at", "next_attempt_at", "collection", "declines", "attempts_planned", "first_failed_at"
        ),
    }


def line(row: Row, currency: str) -> Json:
    """One line of an invoice."""
    return {
        **picked(row, "position", "kind", "description", "quantity"),
        "unit_amount": money(row["unit_amount"], currency),
        "amount": money(row["amount"], currency),
        "vat": money(row["vat"], currency),
        "tax_free": row["is_tax_free"],
        **picked(row, "part_days", "natural_days", "price_id", "period_start", "period_end"),
    }


def attempt(row: Row) -> Json:
    """A charge attempt."""
    return {
        **picked(row, "id", "merchant_uid", "invoice_id", "invoice_number", "subscription_id", "customer_id", "customer"),
        **picked(row, "seq", "state", "way", "trigger", "customer_uid"),
        "amount": money(row["amount"], row["currency"]),
        **picked(row, "imp_uid", "hint_imp_uid", "fail_code", "fail_reason", "fail_class", "refusal", "wire_count", "looks"),
        **picked(row, "sent_at", "wake_at", "created_at", "moved_at"),
    }


def payment(row: Row) -> Json:
    """A payment verified at the PG."""
    currency = row["currency"]
    return {
        **picked(row, "imp_uid", "merchant_uid", "attempt_id", "invoice_id", "role"),
        "amount": money(row["amount"], currency),
        "refunded": money(row["refunded"], currency),
        "refund_reserved": money(row["refund_reserved"], currency),
        **picked(row, "pg_provider", "pg_tid", "card_name", "receipt_url", "paid_at", "booked_at"),
    }


def account(row: Row) -> Json:
    """A virtual account; `due_at` is its last instant, null where the PG named none."""
    return {
        **picked(row, "imp_uid", "attempt_id", "invoice_id", "bank_code", "bank_name", "number", "holder"),
        "amount": money(row["amount"], row["currency"]),
        **picked(row, "due_at", "issued_at"),
    }


def checkout(row: Row) -> Json:
    """Who was invited to what; the link itself is kept nowhere."""
    return {
        **picked(row, "id", "purpose", "customer_id", "customer", "invoice_id", "invoice_number", "invoice_state"),
        "methods": row["pay_methods"].split(","),
        **picked(row, "language", "actor", "state", "created_at", "expires_at", "done_at"),
    }


def webhook(row: Row) -> Json:
    """A notice of the PG, and what came of looking into it."""
    return {
        **picked(row, "id", "imp_uid", "merchant_uid", "status", "source_ip", "times_received", "outcome", "looks"),
        **picked(row, "received_at", "last_received_at", "settled_at", "wake_at"),
    }


def refund(row: Row) -> Json:
    """A refund with the number of its invoice."""
    currency = row["currency"]
    return {
        **picked(row, "id", "imp_uid", "invoice_id", "invoice_number", "customer_id", "customer", "request_key", "origin"),
        **picked(row, "actor", "reason", "state"),
        "amount": money(row["amount"], currency),
        "tax_free": money(row["tax_free"], currency),
        "vat": money(row["vat"], currency),
        "checksum": None if row["checksum"] is None else money(row["checksum"], currency),
        **picked(row, "refusal", "cancellation_id", "wire_count", "looks", "sent_at", "wake_at", "created_at", "moved_at"),
    }


def finding(row: Row) -> Json:
    """A finding of reconciliation; `details` is what stood at the PG and with us."""
    return {
        **picked(row, "id", "kind", "ref", "imp_uid", "merchant_uid"),
        "amount": money(row["amount"], row["currency"]),
        "details": json.loads(row["details"]),
        **picked(row, "found_at", "explained_at", "explained_by", "explanation"),
    }


def event(row: Row) -> Json:
    """An event as the host is told it."""
    names = ("id", "key", "topic", "customer_id", "customer", "subscription_id", "version")
    return {**picked(row, *names), "payload": json.loads(row["payload"]), **picked(row, "occurred_at", "delivered_at")}
