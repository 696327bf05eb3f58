"""The PG's own truth, for whoever wants to check an engine's books against it."""

import json
from typing import Any

from billing.sandbox import payments
from billing.sandbox.state import State

_PAYMENT = (
    "imp_uid",
    "merchant_uid",
    "customer_uid",
    "amount",
    "cancel_amount",
    "currency",
    "status",
    "usage",
    "pay_method",
    "card_number",
    "started_at",
    "paid_at",
    "failed_at",
    "cancelled_at",
    "visible_at",
    "fail_reason",
)
_KEY = ("customer_uid", "card_number", "behaviour", "charges", "inserted", "updated", "deleted_at")


def ledger(state: State, now: float) -> dict[str, Any]:
    """Return everything that happened, with no lag, no hiding and no fault in between.

    `payments` are all records; `arrivals` every call of the API that asked to move money, with
    the instants between which it ran and what came of it (a buyer in a window calls no API); `double_charged` the order numbers
    for which more than one payment keeps money.
    """
    records = [_payment(row) for row in state.all("SELECT * FROM payments ORDER BY seq")]
    refunds = [dict(row) for row in state.all("SELECT * FROM refunds ORDER BY seq")]
    keeping = [record for record in records if record["kept"] > 0]
    return {
        "now": now,
        "payments": records,
        "refunds": refunds,
        "arrivals": [dict(row) for row in state.all("SELECT * FROM arrivals ORDER BY seq")],
        "billing_keys": [_key(row) for row in state.all("SELECT * FROM billing_keys ORDER BY id")],
        "schedules": [_schedule(row) for row in state.all("SELECT * FROM schedules ORDER BY seq")],
        "notices": [{**dict(row), "facts": json.loads(row["facts"])} for row in state.all("SELECT * FROM notices ORDER BY id")],
        "totals": {
            "payments": len(records),
            "paid": len(keeping),
            "failed": sum(record["status"] == "failed" for record in records),
            "charged": sum(record["amount"] for record in records if record["took_money"]),
            "refunded": sum(record["cancel_amount"] for record in records),
            "kept": sum(record["kept"] for record in records),
        },
        "double_charged": _doubles(keeping),
    }


def changed_since(state: State, instant: float) -> dict[str, list[dict[str, Any]]]:
    """Return the part of the ledger that moved at `instant` or later."""
    records = state.all("SELECT * FROM payments WHERE updated_at >= ? ORDER BY seq", (instant,))
    refunds = state.all("SELECT * FROM refunds WHERE cancelled_at >= ? ORDER BY seq", (instant,))
    return {"payments": [_payment(row) for row in records], "refunds": [dict(row) for row in refunds]}


def _payment(row: Any) -> dict[str, Any]:
    """Return a record; `kept` is the money of it that the merchant has."""
    took_money = payments.took_money(row)
    return {
        **{name: row[name] for name in _PAYMENT},
        "sandbox": bool(row["sandbox"]),
        "took_money": took_money,
        "kept": row["amount"] - row["cancel_amount"] if took_money else 0,
    }


def _key(row: Any) -> dict[str, Any]:
    flags = {"is_current": bool(row["is_current"]), "alive_at_pg": bool(row["alive_at_pg"])}
    return {**{name: row[name] for name in _KEY}, **flags}


def _schedule(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in row.keys() if name not in ("seq", "uid_key", "echo")}  # noqa: SIM118 - a sqlite3.Row


def _doubles(keeping: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for payment in keeping:
        groups.setdefault(payment["merchant_uid"], []).append(payment)
    return [
        {
            "merchant_uid": merchant_uid,
            "imp_uids": [payment["imp_uid"] for payment in group],
            "kept": sum(payment["kept"] for payment in group),
        }
        for merchant_uid, group in groups.items()
        if len(group) > 1
    ]
