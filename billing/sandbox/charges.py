"""Charges: by a kept key, by card data once, and on behalf of a schedule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from billing.sandbox import keys, payments, webhooks
from billing.sandbox.call import Approval, Call
from billing.sandbox.cards import MAGIC_CARDS, Card, decline_code, read_card, reason
from billing.sandbox.config import Channel
from billing.sandbox.faults import Subject, seconds
from billing.sandbox.wire import Refused, listing, number, require, text

USED = "이미 주문이 이루어진 건입니다. (동일한 merchant_uid로 결제 또는 취소된 기록이 있습니다)"
UNKNOWN_KEY = "등록되지 않은 구매자입니다."
BUSY = "동일한 merchant_uid로 처리 중인 요청이 있습니다."
_CARD_REFUSAL = "카드정보 인증에 실패하였습니다."
_BUYER_LIMITS = {"buyer_name": 16, "buyer_email": 64, "buyer_tel": 16, "buyer_addr": 128, "buyer_postcode": 8}
INSTALMENT_MIN = 50_000
_DEAF_EVERY = 4


@dataclass(frozen=True, slots=True)
class Order:
    """One charge that was admitted: everything the approval needs, checked.

    `imp_uid` is of the record a browser window opened for it, and `channel` where. Without
    `takes_money` only a key is issued, and the amount is for show.
    """

    merchant_uid: str
    amount: float
    currency: str
    started_at: float
    shown: Mapping[str, Any]
    quota: int = 0
    notice_url: str | None = None
    tax_free: float = 0
    vat_amount: float | None = None
    customer_uid: str | None = None
    key_id: int | None = None
    card: Card | None = None
    keeps_card: bool = False
    usage: str | None = None
    owner: dict[str, str | None] = field(default_factory=dict)
    pay_method: str = "card"
    channel: Channel | None = None
    takes_money: bool = True
    imp_uid: str | None = None


def again(call: Call) -> Approval:
    """Charge a kept key.

    Source: PortOne REST V1, `POST /subscribe/payments/again`: HTTP 200 with code 0 says that
    the card network was reached, `response.status` says how it ended.
    """
    require(call.fields, "customer_uid")
    require(call.fields, "merchant_uid")
    require(call.fields, "amount")
    customer_uid = text(call.fields, "customer_uid", 80) or ""
    key = keys.current(call, customer_uid)
    if key is None:
        raise Refused(1, UNKNOWN_KEY)
    require(call.fields, "name")
    order = order_of(call, call.fields, customer_uid=customer_uid, key_id=key["id"], usage="payment")
    refuse_used(call, order.merchant_uid)
    return Approval(lambda later: approve(later, order))


def onetime(call: Call) -> Approval:
    """Charge card data once, and keep the card under `customer_uid` if one is given and the charge is paid.

    Source: PortOne REST V1, `POST /subscribe/payments/onetime`.
    """
    for name in ("merchant_uid", "amount", "card_number", "expiry"):
        require(call.fields, name)
    keys.check_channel(call)
    customer_uid = text(call.fields, "customer_uid", 80)
    refuse_used(call, text(call.fields, "merchant_uid", 40) or "")
    card = read_card(call.fields, now=call.now, refusal=_CARD_REFUSAL)
    order = order_of(
        call,
        call.fields,
        customer_uid=customer_uid,
        card=card,
        keeps_card=customer_uid is not None,
        usage="payment" if customer_uid else None,
    )
    return Approval(lambda later: approve(later, order))


def order_of(call: Call, fields: Mapping[str, Any], **known: Any) -> Order:
    """Read the fields that every kind of charge shares, and check their lengths.

    Source: PortOne REST V1, parameters of `again` and `onetime`.
    """
    amount = number(fields, "amount")
    if amount is None or amount < 0 or (amount == 0 and known.get("takes_money", True)):
        raise Refused(1, "결제금액은 0보다 커야 합니다.")
    buyer = {name: text(fields, name, limit) for name, limit in _BUYER_LIMITS.items()}
    quota = int(number(fields, "card_quota") or 0)
    shown = {
        "name": text(fields, "name", 40),
        **buyer,
        "custom_data": text(fields, "custom_data"),
        "card_quota": quota,
    }
    return Order(
        merchant_uid=text(fields, "merchant_uid", 40) or "",
        amount=amount,
        currency=text(fields, "currency", 3) or "KRW",
        started_at=call.now,
        shown=shown,
        quota=quota,
        notice_url=" ".join(listing(fields, "notice_url")) or None,
        tax_free=number(fields, "tax_free") or 0,
        vat_amount=number(fields, "vat_amount"),
        owner={name.replace("buyer", "customer"): value for name, value in buyer.items()},
        **known,
    )


def refuse_used(call: Call, merchant_uid: str) -> None:
    """Refuse an order number as far as the configured PG does; by default it does not."""
    config, key = call.config, call.uid_key(merchant_uid)
    if config.dedupes_in_flight:
        running = call.state.one("SELECT 1 FROM arrivals WHERE merchant_uid = ? AND finished_at IS NULL", (merchant_uid,))
        if running is not None:
            raise Refused(1, BUSY)
    if config.refuses_paid_uid:
        used = call.state.one("SELECT 1 FROM payments WHERE uid_key = ? AND status IN ('paid', 'cancelled')", (key,))
        if used is not None:
            raise Refused(1, USED)
    if not config.failed_uid_reusable:
        failed = call.state.one("SELECT 1 FROM payments WHERE uid_key = ? AND status = 'failed'", (key,))
        if failed is not None:
            raise Refused(1, USED)


def approve(call: Call, order: Order) -> dict[str, Any]:
    """Ask the issuer, write the record, tell the merchant, and show the record."""
    return payments.annotation(call, charge(call, order))


def charge(call: Call, order: Order) -> Any:
    """Let the issuer decide about an order and return the row of the record it leaves."""
    card, charges, is_alive = _card_of(call, order)
    call.subject = Subject(order.merchant_uid, order.customer_uid, card.masked)
    invisible, early = _struck(call, "lookup_lag"), call.strikes("webhook_early")
    facts: dict[str, Any] = {
        "merchant_uid": order.merchant_uid,
        "amount": order.amount,
        "currency": order.currency,
        "started_at": order.started_at,
        "customer_uid": order.customer_uid,
        "card_number": card.masked,
        "usage": order.usage,
        "notice_url": order.notice_url,
        "tax_free": order.tax_free,
        "vat_amount": order.vat_amount,
        "pay_method": order.pay_method,
        "takes_money": order.takes_money,
        "invisible_seconds": 0.0 if invisible is None else seconds(invisible or None, 60),
        "shown": {**order.shown, "card_name": card.issuer_name, "card_code": card.issuer_code},
    }
    if early is not None:
        facts["invisible_seconds"] += seconds(early["value"], 0)
    declined = _struck(call, "decline")
    if not is_alive:
        code: str | None = "550997"
    elif declined is not None:
        code = declined or "120054"
    else:
        code = _decline(call, order, card, charges)
    if code is not None:
        row = payments.book(call, status="failed", fail_reason=reason(code), imp_uid=order.imp_uid, **facts)
    else:
        row = _approved(call, order, card, facts)
    if card.behaviour == "deaf" and charges % _DEAF_EVERY == 0:
        call.loses_reply = True
    is_kept = row["status"] == "paid" or (row["usage"] == "issue" and row["becomes_paid_at"])
    if is_kept and order.keeps_card and order.customer_uid is not None:
        keys.keep(call, order.customer_uid, card, order.owner, order.channel)
    if row["status"] == "paid" or (row["status"] == "failed" and order.usage == "payment.scheduled"):
        webhooks.tell(call, row, early=early is not None)
    return row


def _approved(call: Call, order: Order, card: Card, facts: dict[str, Any]) -> Any:
    """Write the record of a charge the issuer approves, as truthfully as the faults let it."""
    late, pending = _struck(call, "late_approval"), _struck(call, "pending")
    if late is not None or card.behaviour == "late":
        wait = call.config.late_card_seconds if late is None else seconds(late or None, 60)
        code = MAGIC_CARDS["late"].code or ""
        return payments.book(
            call,
            status="failed",
            fail_reason=reason(code),
            becomes_paid_at=call.now + wait,
            imp_uid=order.imp_uid,
            **facts,
        )
    if pending is not None:
        becomes_paid_at = call.now + seconds(pending or None, 60)
        return payments.book(call, status="ready", becomes_paid_at=becomes_paid_at, imp_uid=order.imp_uid, **facts)
    wrong_amount, wrong_customer = _struck(call, "wrong_amount"), _struck(call, "wrong_customer")
    if wrong_amount is not None and order.takes_money:
        facts["amount"] = float(wrong_amount) if wrong_amount else order.amount - 1
    if wrong_customer is not None:
        facts["customer_uid"] = wrong_customer or "sandbox-stranger"
    row = payments.book(call, status="paid", imp_uid=order.imp_uid, **facts)
    if _struck(call, "shadowed_paid") is not None:
        payments.book(call, status="failed", fail_reason=reason("120054"), **facts)
    return row


def _struck(call: Call, fault: str) -> str | None:
    """Return the value of a fault that strikes ("" when it has none), or None when it does not strike."""
    row = call.strikes(fault)
    return None if row is None else row["value"] or ""


def _decline(call: Call, order: Order, card: Card, charges: int) -> str | None:
    """Return why the PG or the issuer declines, or None. Nobody is asked where no money moves.

    Source: INICIS code list (550690 below 100 won); PortOne REST V1, `card_quota` (two
    months or more from 50,000 won).
    """
    if not order.takes_money:
        return None
    if order.currency == "KRW" and order.amount < call.config.amount_min:
        return "550690"
    if order.quota >= 2 and order.amount < INSTALMENT_MIN:
        return "120006"
    return decline_code(card.behaviour, charges=charges, valid_until=card.valid_until, now=call.now)


def _card_of(call: Call, order: Order) -> tuple[Card, int, bool]:
    """Return the card to charge, the how-manieth charge of its key this is, and whether the PG still has the key."""
    if order.card is not None:
        return order.card, 1, True
    row = call.state.one("UPDATE billing_keys SET charges = charges + 1 WHERE id = ? RETURNING *", (order.key_id,))
    return keys.card_of(row), row["charges"], bool(row["alive_at_pg"])
