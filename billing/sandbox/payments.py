"""Payment records: how they come to be, how they turn, and how the PG shows them."""

import json
from collections.abc import Mapping
from typing import Any

from billing.sandbox import webhooks
from billing.sandbox.call import Call
from billing.sandbox.wire import to_json

_ANNOTATION = {
    "emb_pg_provider": None,
    "escrow": False,
    "apply_num": None,
    "bank_code": None,
    "bank_name": None,
    "card_code": None,
    "card_name": None,
    "card_issuer_code": None,
    "card_issuer_name": None,
    "card_publisher_code": None,
    "card_publisher_name": None,
    "card_quota": 0,
    "card_type": None,
    "vbank_code": None,
    "vbank_name": None,
    "vbank_num": None,
    "vbank_holder": None,
    "vbank_date": 0,
    "vbank_issued_at": 0,
    "name": None,
    "buyer_name": None,
    "buyer_email": None,
    "buyer_tel": None,
    "buyer_addr": None,
    "buyer_postcode": None,
    "custom_data": None,
    "user_agent": "sorry_not_supported_anymore",
    "channel": "api",
    "receipt_url": None,
    "promotion": None,
}


def annotation(call: Call, row: Any) -> dict[str, Any]:
    """Return a payment as every call shows it, with all documented fields.

    Source: PortOne REST V1, `PaymentAnnotation`; times are Unix seconds and 0 when they do not apply.
    """
    echo = json.loads(row["echo"])
    refunds = (
        call.state.all("SELECT * FROM refunds WHERE imp_uid = ? ORDER BY seq", (row["imp_uid"],)) if row["cancel_amount"] else []
    )
    deposits = (
        call.state.all("SELECT * FROM deposits WHERE imp_uid = ? ORDER BY seq", (row["imp_uid"],))
        if row["pay_method"] == "vbank"
        else []
    )
    return {
        **_ANNOTATION,
        **echo["shown"],
        "imp_uid": row["imp_uid"],
        "merchant_uid": row["merchant_uid"],
        "pay_method": row["pay_method"],
        "sandbox": bool(row["sandbox"]),
        "card_number": row["card_number"],
        "amount": row["amount"],
        "cancel_amount": row["cancel_amount"],
        "currency": row["currency"],
        "status": row["status"],
        "started_at": int(row["started_at"]),
        "paid_at": int(row["paid_at"]),
        "failed_at": int(row["failed_at"]),
        "cancelled_at": int(row["cancelled_at"]),
        "fail_reason": row["fail_reason"],
        "cancel_reason": row["cancel_reason"],
        "cancel_history": [
            {
                "pg_tid": refund["pg_tid"],
                "amount": refund["amount"],
                "cancelled_at": int(refund["cancelled_at"]),
                "reason": refund["reason"],
                "cancellation_id": refund["cancellation_id"],
                "receipt_url": None,
            }
            for refund in refunds
        ],
        "cancel_receipt_urls": [],
        "deposit_history": [
            {
                "pg_tid": deposit["pg_tid"],
                "amount": deposit["amount"],
                "reason": None,
                "depositor_name": deposit["depositor_name"],
                "deposited_at": int(deposit["deposited_at"]),
            }
            for deposit in deposits
        ],
        "cash_receipt_issued": _has_receipt(call, row),
        "customer_uid": row["customer_uid"],
        "customer_uid_usage": row["usage"],
    }


def _has_receipt(call: Call, row: Any) -> bool:
    if row["pay_method"] == "card":
        return False
    found = call.state.one("SELECT 1 FROM receipts WHERE ref = ? AND cancelled_at = 0", (f"imp_uid:{row['imp_uid']}",))
    return found is not None


def book(
    call: Call,
    *,
    merchant_uid: str,
    amount: float,
    status: str,
    started_at: float,
    shown: Mapping[str, Any],
    pay_method: str = "card",
    currency: str = "KRW",
    customer_uid: str | None = None,
    card_number: str | None = None,
    usage: str | None = None,
    fail_reason: str | None = None,
    becomes_paid_at: float | None = None,
    invisible_seconds: float = 0.0,
    notice_url: str | None = None,
    tax_free: float = 0,
    vat_amount: float | None = None,
    takes_money: bool = True,
    imp_uid: str | None = None,
) -> Any:
    """Write a payment record and return its row.

    Args:
        takes_money: whether the record moves money when it is paid.
        imp_uid: of a record a browser window opened, which is written over; None makes a new one.
        shown: fields of the annotation that are echoed as they came.
        becomes_paid_at: when a record that is not paid now will turn paid by itself.
        invisible_seconds: how long look-ups will not see it, on top of the configured lag.
    """
    serial, now = call.state.mint(), call.now
    channel = call.config.billing_channel
    echo = {
        "shown": {
            "pg_provider": channel.pg_provider,
            "pg_id": channel.pg_id,
            "pg_tid": serial.pg_tid,
            "apply_num": serial.apply_num if status == "paid" and pay_method == "card" else None,
            **shown,
        },
        "tax_free": tax_free,
        "vat_amount": vat_amount,
        "takes_money": takes_money,
    }
    sandbox = call.config.sandbox
    if status == "paid" and call.strikes("live_record"):
        sandbox = not sandbox
    lag = call.config.find_lag_seconds + invisible_seconds
    call.state.insert(
        "payments",
        over="" if imp_uid is None else "imp_uid",
        imp_uid=imp_uid or serial.imp_uid,
        merchant_uid=merchant_uid,
        uid_key=call.uid_key(merchant_uid),
        customer_uid=customer_uid,
        card_number=card_number,
        usage=usage,
        pay_method=pay_method,
        amount=amount,
        currency=currency,
        status=status,
        started_at=started_at,
        paid_at=now if status == "paid" else 0,
        failed_at=now if status == "failed" else 0,
        moved_at=started_at if status == "ready" else now,
        updated_at=now,
        visible_at=now + lag,
        becomes_paid_at=becomes_paid_at,
        sandbox=sandbox,
        fail_reason=fail_reason,
        notice_url=notice_url,
        echo=to_json(echo),
    )
    return by_imp_uid(call, imp_uid or serial.imp_uid)


def by_imp_uid(call: Call, imp_uid: str) -> Any:
    """Return the row of one payment, visible or not, or None."""
    return call.state.one("SELECT * FROM payments WHERE imp_uid = ?", (imp_uid,))


def took_money(row: Any) -> bool:
    """Return whether a record moved money. Issuing a key does only where the channel charges for it at once.

    Source: PortOne non-authenticated payment guide V1: a key issue leaves a paid record, though no money moved.
    """
    return row["paid_at"] > 0 and (row["usage"] != "issue" or bool(json.loads(row["echo"])["takes_money"]))


def pay(call: Call, imp_uid: str) -> Any:
    """Turn a record paid now, tell the merchant, and return its row."""
    call.state.run(
        "UPDATE payments SET status = 'paid', paid_at = ?, failed_at = 0, fail_reason = NULL, moved_at = ?,"
        " updated_at = ?, becomes_paid_at = NULL WHERE imp_uid = ?",
        (call.now, call.now, call.now, imp_uid),
    )
    row = by_imp_uid(call, imp_uid)
    webhooks.tell(call, row)
    return row


def turn_late_ones(call: Call) -> None:
    """Turn paid whatever the PG approves late.

    Source: PortOne webhook guide V1: with some PGs a failed payment may be approved afterwards.
    """
    due = call.state.all("SELECT imp_uid FROM payments WHERE becomes_paid_at <= ? ORDER BY seq", (call.now,))
    for row in due:
        pay(call, row["imp_uid"])
