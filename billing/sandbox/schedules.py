"""Scheduled charges: the PG runs `again` by itself when their time has come."""

import json
from dataclasses import replace
from typing import Any

from billing.sandbox import charges, keys, payments, webhooks
from billing.sandbox.call import Approval, Call
from billing.sandbox.cards import read_card
from billing.sandbox.faults import SCHEDULED
from billing.sandbox.lookups import page_object, page_of
from billing.sandbox.wire import Refused, listing, number, require, text, to_json

NO_CUSTOMER = "등록된 고객정보가 없습니다."
NOTHING_TO_REVOKE = "취소할 예약결제 기록이 존재하지 않습니다."
NOT_FOUND = "존재하지 않는 예약결제정보입니다."
NOT_PENDING = "이미 실행되었거나 취소된 예약결제입니다."
NOT_RETRYABLE = "실패하였거나 취소된 예약결제만 다시 시도할 수 있습니다."
IN_THE_PAST = "schedule_at은 현재 시각 이후여야 합니다."
_CARD_REFUSAL = "카드정보 인증에 실패하였습니다."
_STATUSES = ("scheduled", "executed", "revoked")
_ECHOED = ("name", "buyer_name", "buyer_email", "buyer_tel", "buyer_addr", "buyer_postcode", "custom_data")
_KEPT = (
    *_ECHOED,
    "merchant_uid",
    "amount",
    "currency",
    "tax_free",
    "vat_amount",
    "card_quota",
    "notice_url",
    "customer_id",
    "promotion_id",
)
"""What is kept of an item, by name: whatever else a caller puts there (card data, by mistake) is forgotten."""
_WINDOW_SECONDS = 93 * 86_400
_FILTER = "(? IS NULL OR customer_uid = ?) AND (? IS NULL OR status = ?)"
_NEWEST, _OLDEST = "schedule_at DESC, seq DESC", "schedule_at, seq"


def create(call: Call) -> list[dict[str, Any]]:
    """Schedule charges of a key; without a key, issue one from the card data first.

    `schedule_at` is seconds: milliseconds are taken silently for a date in the far future.

    Source: PortOne REST V1, `POST /subscribe/payments/schedule`.
    """
    require(call.fields, "customer_uid")
    customer_uid = text(call.fields, "customer_uid", 80) or ""
    items = call.fields.get("schedules")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise Refused(1, '["schedules"] 파라메터는 필수입니다.')
    key = keys.current(call, customer_uid)
    if key is None and not call.fields.get("card_number"):
        raise Refused(1, NO_CUSTOMER)
    orders = [_checked(call, item, customer_uid) for item in items]
    if key is None:
        require(call.fields, "expiry")
        keys.check_channel(call)
        keys.keep(call, customer_uid, read_card(call.fields, now=call.now, refusal=_CARD_REFUSAL), {})
    return [annotation(call, _row(call, _inserted(call, order, customer_uid))) for order in orders]


def _checked(call: Call, item: dict[str, Any], customer_uid: str) -> dict[str, Any]:
    for name in ("merchant_uid", "schedule_at", "amount"):
        require(item, name)
    order = charges.order_of(call, item, customer_uid=customer_uid)
    schedule_at = number(item, "schedule_at") or 0
    if schedule_at < call.now and not call.config.schedule_accepts_past:
        raise Refused(1, IN_THE_PAST)
    known = call.state.one("SELECT 1 FROM schedules WHERE uid_key = ?", (call.uid_key(order.merchant_uid),))
    if known is not None and not call.config.schedule_accepts_known_uid:
        raise Refused(1, charges.USED)
    return {**{name: item[name] for name in _KEPT if name in item}, "schedule_at": schedule_at}


def _inserted(call: Call, item: dict[str, Any], customer_uid: str) -> int:
    merchant_uid = str(item["merchant_uid"])
    return call.state.insert(
        "schedules",
        merchant_uid=merchant_uid,
        uid_key=call.uid_key(merchant_uid),
        customer_uid=customer_uid,
        amount=number(item, "amount"),
        currency=text(item, "currency", 3) or "KRW",
        schedule_at=item["schedule_at"],
        echo=to_json(item),
    )


def revoke(call: Call) -> list[dict[str, Any]]:
    """Revoke pending schedules of a key, of order numbers, or of both together.

    Source: PortOne REST V1, `POST /subscribe/payments/unschedule`.
    """
    customer_uid, merchant_uids = text(call.fields, "customer_uid", 80), listing(call.fields, "merchant_uid")
    if customer_uid is None and not merchant_uids:
        raise Refused(1, '["customer_uid"] 파라메터는 필수입니다.')
    wanted = {call.uid_key(uid) for uid in merchant_uids}
    rows = [
        row
        for row in call.state.all("SELECT * FROM schedules WHERE status = 'scheduled' ORDER BY seq")
        if customer_uid in (None, row["customer_uid"]) and (not wanted or row["uid_key"] in wanted)
    ]
    if not rows:
        raise Refused(1, NOTHING_TO_REVOKE)
    for row in rows:
        call.state.run("UPDATE schedules SET status = 'revoked', revoked_at = ? WHERE seq = ?", (call.now, row["seq"]))
    return [annotation(call, _row(call, row["seq"])) for row in rows]


def one(call: Call) -> dict[str, Any]:
    """Show the newest schedule of an order number."""
    return annotation(call, _by_uid(call))


def move(call: Call) -> dict[str, Any]:
    """Move a pending schedule to another time. Source: PortOne REST V1, `PUT /subscribe/payments/schedule/{uid}`."""
    return annotation(call, _replanned(call, may=lambda row: row["status"] == "scheduled", refusal=NOT_PENDING))


def replan(call: Call) -> dict[str, Any]:
    """Schedule a failed or revoked one anew. Source: PortOne REST V1, `POST .../schedule/{uid}/reschedule`."""
    return annotation(call, _replanned(call, may=_is_retryable, refusal=NOT_RETRYABLE))


def retry(call: Call) -> Approval:
    """Charge a failed or revoked schedule now. Source: PortOne REST V1, `POST .../schedule/{uid}/retry`."""
    row = _by_uid(call)
    if not _is_retryable(row):
        raise Refused(1, NOT_RETRYABLE, status=400)
    key = keys.current(call, row["customer_uid"])
    if key is None:
        raise call.not_found(charges.UNKNOWN_KEY)
    order = _order(call, row, key)

    def finish(later: Call) -> dict[str, Any]:
        paid = charges.charge(later, order)
        _conclude(later, row, paid["imp_uid"], paid["status"], paid["fail_reason"])
        return payments.annotation(later, paid)

    return Approval(finish)


def by_time(call: Call) -> Any:
    """List schedules by time, newest first unless `sorting=scheduled`; at most three months at once."""
    since, to = number(call.query, "schedule_from"), number(call.query, "schedule_to")
    order = _OLDEST if call.query.get("sorting") == "scheduled" else _NEWEST
    return _listed(call, None, since, to, call.query.get("schedule_status"), order)


def of_customer(call: Call) -> Any:
    """List schedules of one key; here the parameter is `schedule-status`, with a hyphen.

    Source: PortOne REST V1, `GET /subscribe/customers/{customer_uid}/schedules`.
    """
    since, to = number(call.query, "from"), number(call.query, "to")
    return _listed(call, keys.uid_of_path(call), since, to, call.query.get("schedule-status"), _NEWEST)


def _listed(call: Call, customer_uid: str | None, since: float | None, to: float | None, status: Any, order: str) -> Any:
    if since is None or to is None or since > to or to - since > _WINDOW_SECONDS:
        raise Refused(1, "조회 시작과 종료 시각이 필요하며 최대 3개월까지 조회할 수 있습니다.", status=400)
    if status not in (None, "", *_STATUSES):
        raise Refused(1, "지원되지 않는 상태값입니다.", status=400)
    page, limit = page_of(call)
    rows = call.state.all(
        f"SELECT * FROM schedules WHERE schedule_at >= ? AND schedule_at < ? AND {_FILTER} ORDER BY {order}",  # noqa: S608
        (since, to, customer_uid, customer_uid, status or None, status or None),
    )
    part = [annotation(call, row) for row in rows[(page - 1) * limit : page * limit]]
    return page_object(len(rows), page, limit, part) if call.config.schedule_lists_are_pages else part


def run_due(call: Call) -> None:
    """Execute what is due, and report each by webhook, failures too.

    A schedule whose key is gone, or whose order number the PG refuses, fails.

    Source: PortOne webhook guide V1: scheduled attempts are reported paid and failed alike.
    """
    due = call.state.all(
        "SELECT * FROM schedules WHERE status = 'scheduled' AND schedule_at <= ? ORDER BY schedule_at, seq", (call.now,)
    )
    for row in due:
        own = replace(call, path=SCHEDULED)
        key = keys.current(own, row["customer_uid"])
        order = _order(own, row, key)
        try:
            if key is None:
                raise Refused(1, charges.UNKNOWN_KEY)
            charges.refuse_used(own, row["merchant_uid"])
            record = charges.charge(own, order)
        except Refused as refusal:
            record = payments.book(
                own,
                merchant_uid=row["merchant_uid"],
                amount=row["amount"],
                status="failed",
                started_at=own.now,
                shown=order.shown,
                customer_uid=row["customer_uid"],
                usage="payment.scheduled",
                fail_reason=refusal.message,
                notice_url=order.notice_url,
            )
            webhooks.tell(own, record)
        _conclude(own, row, record["imp_uid"], record["status"], record["fail_reason"])


def _order(call: Call, row: Any, key: Any) -> charges.Order:
    return charges.order_of(
        call,
        {**json.loads(row["echo"]), "merchant_uid": row["merchant_uid"]},
        customer_uid=row["customer_uid"],
        key_id=None if key is None else key["id"],
        usage="payment.scheduled",
    )


def _conclude(call: Call, row: Any, imp_uid: str, status: str, fail_reason: str | None) -> None:
    call.state.run(
        "UPDATE schedules SET status = 'executed', executed_at = ?, payment_status = ?, imp_uid = ?, fail_reason = ?"
        " WHERE seq = ?",
        (call.now, status, imp_uid, fail_reason, row["seq"]),
    )


def _is_retryable(row: Any) -> bool:
    return bool(row["status"] == "revoked" or (row["status"] == "executed" and row["payment_status"] == "failed"))


def _replanned(call: Call, *, may: Any, refusal: str) -> Any:
    row = _by_uid(call)
    schedule_at = number(call.fields, "schedule_at")
    if schedule_at is None:
        raise Refused(1, '["schedule_at"] 파라메터는 필수입니다.', status=400)
    if not may(row):
        raise Refused(1, refusal, status=400)
    if schedule_at < call.now:
        raise Refused(1, IN_THE_PAST, status=400)
    call.state.run(
        "UPDATE schedules SET status = 'scheduled', schedule_at = ?, executed_at = 0, revoked_at = 0,"
        " payment_status = NULL, imp_uid = NULL, fail_reason = NULL WHERE seq = ?",
        (schedule_at, row["seq"]),
    )
    return _row(call, row["seq"])


def _by_uid(call: Call) -> Any:
    row = call.state.one("SELECT * FROM schedules WHERE uid_key = ? ORDER BY seq DESC LIMIT 1", (call.uid_key(call.ids[0]),))
    if row is None:
        raise call.not_found(NOT_FOUND)
    return row


def _row(call: Call, seq: int) -> Any:
    return call.state.one("SELECT * FROM schedules WHERE seq = ?", (seq,))


def annotation(call: Call, row: Any) -> dict[str, Any]:
    """Return a schedule as the PG shows it. Source: PortOne REST V1, `ScheduleResult`; imp_uid is null until executed."""
    echo, channel = json.loads(row["echo"]), call.config.billing_channel
    return {
        "customer_uid": row["customer_uid"],
        "merchant_uid": row["merchant_uid"],
        "imp_uid": row["imp_uid"],
        "pg_provider": channel.pg_provider,
        "pg_id": channel.pg_id,
        "customer_id": echo.get("customer_id"),
        "schedule_at": int(row["schedule_at"]),
        "executed_at": int(row["executed_at"]),
        "revoked_at": int(row["revoked_at"]),
        "amount": row["amount"],
        "currency": row["currency"],
        **{name: echo.get(name) for name in _ECHOED},
        "schedule_status": row["status"],
        "payment_status": row["payment_status"],
        "fail_reason": row["fail_reason"],
        "promotion_id": echo.get("promotion_id"),
    }
