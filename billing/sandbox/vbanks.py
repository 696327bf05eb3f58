"""Virtual accounts: an account number to pay into, and the deposit that only a sandbox can fake."""

import json
from typing import Any

from billing.sandbox import payments, webhooks
from billing.sandbox.call import Call
from billing.sandbox.codes import BANKS
from billing.sandbox.lookups import NOT_FOUND
from billing.sandbox.wire import Refused, listing, number, require, text, to_json

NOT_WAITING = "입금대기 상태의 가상계좌가 아닙니다."
TOO_LATE = "입금기한이 지난 가상계좌입니다."
_LIMITS = {
    "name": 40,
    "buyer_name": 16,
    "buyer_email": 64,
    "buyer_tel": 16,
    "buyer_addr": 128,
    "buyer_postcode": 8,
    "custom_data": None,
}


def issue(call: Call) -> dict[str, Any]:
    """Open a virtual account; its record waits as `ready` for the deposit.

    Source: PortOne REST V1, `POST /vbanks`: an order number that was paid once is refused.
    """
    for name in ("merchant_uid", "amount", "vbank_code", "vbank_due", "vbank_holder"):
        require(call.fields, name)
    merchant_uid, amount = text(call.fields, "merchant_uid", 40) or "", number(call.fields, "amount")
    if amount is None or amount <= 0:
        raise Refused(1, "결제금액은 0보다 커야 합니다.")
    paid = call.state.one("SELECT 1 FROM payments WHERE uid_key = ? AND paid_at > 0", (call.uid_key(merchant_uid),))
    if paid is not None:
        raise Refused(1, "이미 결제가 이루어진 거래건입니다.", status=400)
    code = str(call.fields["vbank_code"])
    row = payments.book(
        call,
        merchant_uid=merchant_uid,
        amount=amount,
        status="ready",
        started_at=call.now,
        pay_method="vbank",
        notice_url=" ".join(listing(call.fields, "notice_url")) or None,
        shown={
            **{name: text(call.fields, name, limit) for name, limit in _LIMITS.items()},
            **account(call, code, text(call.fields, "vbank_holder", 16), int(number(call.fields, "vbank_due") or 0)),
            **({"vbank_num": chosen} if (chosen := text(call.fields, "vbank_num", 32)) else {}),
        },
    )
    webhooks.tell(call, row)
    return payments.annotation(call, row)


def account(call: Call, code: str, holder: str | None, due: int) -> dict[str, Any]:
    """Return what a record shows of a new account at the bank `code`, open until `due` (Unix seconds; 0: for ever)."""
    return {
        "vbank_code": code,
        "vbank_name": BANKS.get(code.zfill(3)),
        "vbank_num": call.state.mint().account,
        "vbank_holder": holder,
        "vbank_date": due,
        "vbank_issued_at": int(call.now),
    }


def change(call: Call) -> dict[str, Any]:
    """Change amount or due time of an account that waits. Source: PortOne REST V1, `PUT /vbanks/{imp_uid}`."""
    row = _waiting(call, call.ids[0])
    amount, due = number(call.fields, "amount"), number(call.fields, "vbank_due")
    echo = json.loads(row["echo"])
    if due is not None:
        echo["shown"]["vbank_date"] = int(due)
    call.state.run(
        "UPDATE payments SET amount = ?, echo = ?, updated_at = ? WHERE imp_uid = ?",
        (amount or row["amount"], to_json(echo), call.now, row["imp_uid"]),
    )
    return payments.annotation(call, payments.by_imp_uid(call, row["imp_uid"]))


def void(call: Call) -> dict[str, Any]:
    """Close an account that waits.

    Source: PortOne REST V1, `DELETE /vbanks/{imp_uid}`. The status afterwards is not
    documented; `failed` is the word that nobody can take for money.
    """
    row = _waiting(call, call.ids[0])
    call.state.run(
        "UPDATE payments SET status = 'failed', failed_at = ?, moved_at = ?, updated_at = ?,"
        " fail_reason = '가상계좌 말소' WHERE imp_uid = ?",
        (call.now, call.now, call.now, row["imp_uid"]),
    )
    return payments.annotation(call, payments.by_imp_uid(call, row["imp_uid"]))


def deposit(call: Call) -> dict[str, Any]:
    """Pay into a waiting account, which no API of the PG can do: the buyer does it at a bank.

    An `amount` other than the asked one becomes the record's: the money is there. After its
    time the account takes none.
    """
    row = _waiting(call, str(call.fields.get("imp_uid")))
    due, amount = json.loads(row["echo"])["shown"]["vbank_date"], number(call.fields, "amount")
    if due and call.now > due:
        raise Refused(1, TOO_LATE, status=400)
    if amount is None:
        amount = row["amount"]
    elif amount <= 0:
        raise Refused(1, "결제금액은 0보다 커야 합니다.", status=400)
    call.state.run("UPDATE payments SET amount = ? WHERE imp_uid = ?", (amount, row["imp_uid"]))
    call.state.insert(
        "deposits",
        imp_uid=row["imp_uid"],
        pg_tid=call.state.mint().pg_tid,
        amount=amount,
        depositor_name=text(call.fields, "depositor_name"),
        deposited_at=call.now,
    )
    return payments.annotation(call, payments.pay(call, row["imp_uid"]))


def _waiting(call: Call, imp_uid: str) -> Any:
    row = payments.by_imp_uid(call, imp_uid)
    if row is None:
        raise call.not_found(NOT_FOUND)
    if row["pay_method"] != "vbank" or row["status"] != "ready":
        raise Refused(1, NOT_WAITING, status=400)
    return row
