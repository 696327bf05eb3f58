"""Cash receipts of bank money, and of money that never passed the PG."""

import json
from typing import Any

from billing.sandbox import payments
from billing.sandbox.call import Call
from billing.sandbox.lookups import NOT_FOUND
from billing.sandbox.wire import Refused, number, text, to_json

NO_RECEIPT = "현금영수증 발급 내역이 존재하지 않습니다."
_CASH = ("vbank", "trans")


def issue(call: Call) -> dict[str, Any]:
    """Issue the receipt of a paid transfer. Source: PortOne REST V1, `POST /receipts/{imp_uid}`; cards get none."""
    row = payments.by_imp_uid(call, call.ids[0])
    if row is None:
        raise call.not_found(NOT_FOUND)
    if row["pay_method"] not in _CASH or not row["paid_at"]:
        raise Refused(1, "현금영수증을 발급할 수 없는 결제건입니다.", status=400)
    return _issued(call, "imp_uid", call.ids[0], row["amount"])


def issue_external(call: Call) -> dict[str, Any]:
    """Issue a receipt for money the PG never saw. Source: PortOne REST V1, `POST /receipts/external/{merchant_uid}`."""
    amount = number(call.fields, "amount")
    if amount is None or not call.fields.get("name"):
        raise Refused(1, '["name","amount"] 파라메터는 필수입니다.', status=400)
    return _issued(call, "merchant_uid", call.ids[0], amount)


def show(call: Call) -> dict[str, Any]:
    """Show the receipt of a payment."""
    return _shown("imp_uid", call.ids[0], _row(call, "imp_uid"))


def show_external(call: Call) -> dict[str, Any]:
    """Show the receipt of an order outside the PG."""
    return _shown("merchant_uid", call.ids[0], _row(call, "merchant_uid"))


def revoke(call: Call) -> dict[str, Any]:
    """Revoke the receipt of a payment. Source: PortOne REST V1: 400 when none was issued."""
    return _revoked(call, "imp_uid", Refused(1, NO_RECEIPT, status=400))


def revoke_external(call: Call) -> dict[str, Any]:
    """Revoke the receipt of an order outside the PG. Source: PortOne REST V1: 404 when none was issued."""
    return _revoked(call, "merchant_uid", call.not_found(NO_RECEIPT))


def _issued(call: Call, kind: str, ref: str, amount: float) -> dict[str, Any]:
    if not call.fields.get("identifier"):
        raise Refused(1, '["identifier"] 파라메터는 필수입니다.', status=400)
    key = f"{kind}:{ref}"
    if call.state.one("SELECT 1 FROM receipts WHERE ref = ? AND cancelled_at = 0", (key,)):
        raise Refused(1, "이미 현금영수증이 발급된 건입니다.", status=400)
    serial = call.state.mint()
    taxed = amount - (number(call.fields, "tax_free") or 0)
    vat = number(call.fields, "vat_amount")
    facts = {
        "receipt_tid": serial.pg_tid,
        "apply_num": serial.apply_num,
        "type": text(call.fields, "type") or "person",
        "amount": int(amount),
        "vat": int(taxed * 10 // 110 if vat is None else vat),
        "receipt_url": None,
    }
    call.state.run("DELETE FROM receipts WHERE ref = ?", (key,))
    call.state.insert("receipts", ref=key, facts=to_json(facts), applied_at=call.now)
    return _shown(kind, ref, call.state.one("SELECT * FROM receipts WHERE ref = ?", (key,)))


def _row(call: Call, kind: str) -> Any:
    row = call.state.one("SELECT * FROM receipts WHERE ref = ?", (f"{kind}:{call.ids[0]}",))
    if row is None:
        raise call.not_found(NO_RECEIPT)
    return row


def _revoked(call: Call, kind: str, refusal: Refused) -> dict[str, Any]:
    key = f"{kind}:{call.ids[0]}"
    if not call.state.count("UPDATE receipts SET cancelled_at = ? WHERE ref = ? AND cancelled_at = 0", (call.now, key)):
        raise refusal
    return _shown(kind, call.ids[0], call.state.one("SELECT * FROM receipts WHERE ref = ?", (key,)))


def _shown(kind: str, ref: str, row: Any) -> dict[str, Any]:
    """Return a receipt. Source: PortOne REST V1, `ReceiptAnnotation` and `ExternalReceiptAnnotation`."""
    return {
        kind: ref,
        **json.loads(row["facts"]),
        "applied_at": int(row["applied_at"]),
        "cancelled_at": int(row["cancelled_at"]),
    }
