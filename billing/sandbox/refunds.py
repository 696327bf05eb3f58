"""Refunds: whole or in part, by the merchant's call or by an operator in the console."""

from typing import Any

from billing.sandbox import payments, webhooks
from billing.sandbox.call import Call
from billing.sandbox.wire import Refused, flag, number, text

NOTHING_TO_CANCEL = "취소할 결제건이 존재하지 않습니다."
ALREADY_CANCELLED = "이미 전액취소된 주문입니다."
NO_BALANCE = "[8178] 취소 가능 금액이 부족합니다."


def cancel(call: Call) -> dict[str, Any]:
    """Give money back.

    An amount that is missing **or 0** refunds everything that is left. `checksum` is what
    the caller believes to be left; a wrong belief refuses the refund before anything moves.

    Source: PortOne REST V1, `POST /payments/cancel`; imp_uid wins over merchant_uid. No
    webhook is sent unless `enable_webhook` asks for one.
    """
    row = _to_cancel(call)
    checksum = number(call.fields, "checksum")
    left = row["amount"] - row["cancel_amount"]
    if checksum is not None and checksum != left:
        raise Refused(1, f"취소 가능 잔액이 일치하지 않습니다. (요청 {checksum}, 잔액 {left})")
    poor = call.strikes("cancel_refused")
    if poor:
        # Source: PortOne help, refusals for want of settlement balance: ordinary business, told by the PG below (code -1).
        raise Refused(-1, str(poor["value"] or NO_BALANCE))
    row, cancellation_id = give_back(call, row, number(call.fields, "amount"), text(call.fields, "reason"), source="api")
    if flag(call.fields, "enable_webhook") and (row["notice_url"] or call.config.webhook_url):
        webhooks.tell(call, row, cancellation_id=cancellation_id)
    return payments.annotation(call, row)


def cancel_in_console(call: Call) -> dict[str, Any]:
    """Refund as an operator does in the PG's console: the merchant learns of it by webhook alone.

    Source: PortOne webhook guide V1: a cancel in the console sends `cancelled` with its cancellation_id.
    """
    row, cancellation_id = give_back(
        call, _to_cancel(call), number(call.fields, "amount"), text(call.fields, "reason"), source="console"
    )
    webhooks.tell(call, row, cancellation_id=cancellation_id)
    return payments.annotation(call, row)


def asked_for(call: Call) -> Any:
    """Return the row of the payment a refund is asked for, or None: imp_uid wins, even a wrong one.

    Of several with one merchant_uid it is the newest that still keeps money.
    """
    imp_uid, merchant_uid = call.fields.get("imp_uid"), call.fields.get("merchant_uid")
    if imp_uid:
        return payments.by_imp_uid(call, str(imp_uid))
    return call.state.one(
        "SELECT * FROM payments WHERE uid_key = ? AND paid_at > 0"
        " ORDER BY cancel_amount < amount DESC, started_at DESC, seq DESC LIMIT 1",
        (call.uid_key(str(merchant_uid)),),
    )


def _to_cancel(call: Call) -> Any:
    if text(call.fields, "imp_uid") is None and text(call.fields, "merchant_uid") is None:
        raise Refused(1, '["imp_uid"] 파라메터는 필수입니다.')
    row = asked_for(call)
    if row is None or not payments.took_money(row):
        raise Refused(1, NOTHING_TO_CANCEL)
    if row["cancel_amount"] >= row["amount"]:
        raise Refused(1, ALREADY_CANCELLED)
    return row


def give_back(call: Call, row: Any, amount: float | None, reason: str | None, *, source: str) -> tuple[Any, str]:
    """Refund `amount` of a payment (None and 0: all that is left); return its new row and the id of the refund.

    Source: PortOne REST V1: `amount` of the record stays, `cancel_amount` grows, `cancel_history` gets an entry.
    """
    left = row["amount"] - row["cancel_amount"]
    part = amount or left
    if part < 0 or part > left:
        raise Refused(1, f"취소요청금액이 취소 가능 잔액을 초과합니다. (요청 {part}, 잔액 {left})")
    status = "cancelled" if part == left else call.config.partial_cancel_status
    serial = call.state.mint()
    call.state.insert(
        "refunds",
        imp_uid=row["imp_uid"],
        cancellation_id=serial.cancellation_id,
        pg_tid=serial.pg_tid,
        amount=part,
        reason=reason,
        cancelled_at=call.now,
        source=source,
    )
    call.state.run(
        "UPDATE payments SET cancel_amount = cancel_amount + ?, status = ?, cancelled_at = ?, cancel_reason = ?,"
        " moved_at = CASE WHEN ? = 'cancelled' THEN ? ELSE moved_at END, updated_at = ? WHERE imp_uid = ?",
        (part, status, call.now, reason, status, call.now, call.now, row["imp_uid"]),
    )
    return payments.by_imp_uid(call, row["imp_uid"]), serial.cancellation_id
