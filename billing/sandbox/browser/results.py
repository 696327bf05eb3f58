"""What a page is told in the end: as an object to its callback, or in an address. Nobody may believe it."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from billing.sandbox import payments
from billing.sandbox.browser.windows import Window
from billing.sandbox.call import Call
from billing.sandbox.wire import Refused

PAID = "이미 결제가 이루어진 거래건입니다."
CLOSED = "사용자가 결제를 취소하셨습니다"
_PENDING = "결제가 진행 중입니다."
_CODE_OF = {PAID: "F1002"}
_OTHER_CODE = "F1000"
"""Of refusals to open a window: no document gives the others a code."""

_TOLD = """
    imp_uid merchant_uid pay_method status name pg_provider emb_pg_provider pg_tid buyer_name buyer_email buyer_tel buyer_addr
    buyer_postcode paid_at receipt_url apply_num card_name card_number card_quota currency bank_name vbank_num vbank_name
    vbank_holder vbank_date
"""


def refused(params: Mapping[str, Any], refusal: Refused) -> dict[str, Any]:
    """Return what a page is told whose window did not open. Source: PortOne JavaScript SDK V1: there is no imp_uid then."""
    merchant_uid = params.get("merchant_uid")
    return {
        "success": False,
        "imp_success": False,
        "imp_uid": None,
        "merchant_uid": merchant_uid if isinstance(merchant_uid, str | int) else None,
        "error_code": _CODE_OF.get(refusal.message, _OTHER_CODE),
        "error_msg": refusal.message,
    }


def closed(window: Window) -> dict[str, Any]:
    """Return what a page is told whose window the buyer closed; no document names a code for it."""
    return {**_failure(window), "error_code": None, "error_msg": CLOSED}


def ended(call: Call, window: Window, row: Any) -> dict[str, Any]:
    """Return what a page is told of the record its window left.

    Source: PortOne JavaScript SDK V1, answer of `request_pay`: an account that waits for its deposit is a success.
    """
    payment = payments.annotation(call, row)
    if payment["status"] == "paid" or (payment["status"], payment["pay_method"]) == ("ready", "vbank"):
        told = {name: payment[name] for name in _TOLD.split()}
        own = {"paid_amount": payment["amount"], "pg_type": "payment", "custom_data": window.asked.get("custom_data")}
        return {"success": True, "imp_success": True, **told, **own, "error_code": None, "error_msg": None}
    words = payment["fail_reason"] or _PENDING
    code = re.match(r"\[(\w+)\]", words)
    failure = {**_failure(window), "status": payment["status"], "pg_provider": payment["pg_provider"]}
    return {**failure, "error_code": code[1] if code else None, "error_msg": words}


def address(url: str, result: Mapping[str, Any]) -> str:
    """Return the address that brings a result to the merchant.

    Source: PortOne JavaScript SDK V1: imp_uid, merchant_uid, imp_success (older generations), and on
    failure error_code and error_msg.
    """
    names = ("imp_uid", "merchant_uid", "error_code", "error_msg")
    told = {name: result[name] for name in names if result[name] is not None}
    told["imp_success"] = "true" if result["success"] else "false"
    page, mark, fragment = url.partition("#")
    return f"{page}{'&' if '?' in page else '?'}{urlencode(told)}{mark}{fragment}"


def _failure(window: Window) -> dict[str, Any]:
    return {
        "success": False,
        "imp_success": False,
        "imp_uid": window.imp_uid,
        "merchant_uid": str(window.asked["merchant_uid"]),
        "pay_method": window.asked["pay_method"],
        "pg_type": "payment",
    }
