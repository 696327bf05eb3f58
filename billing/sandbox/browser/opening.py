"""What `IMP.request_pay` asks for: checked, and a window with its `ready` record opened, or refused."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from billing.sandbox import charges, payments
from billing.sandbox.browser import pages, results, windows
from billing.sandbox.browser.windows import Window
from billing.sandbox.call import Call
from billing.sandbox.cards import KST
from billing.sandbox.config import Channel
from billing.sandbox.wire import JSON_HEADERS, Answer, Refused, text, to_json

_PAY_METHODS = """
    card trans vbank phone samsung samsungpay applepay kakaopay naverpay naverpay_card naverpay_point payco lpay ssgpay
    ssgpay_bank tosspay tosspay_card tosspay_money toss_brandpay kpay pinpay skpay point paypal cultureland smartculture
    culturegift booknlife happymoney wechat alipay unionpay tenpay paysbuy econtext molpay cvs
"""
"""Source: PortOne JavaScript SDK V1, `pay_method`."""

_KEPT = """
    pay_method merchant_uid name amount custom_data tax_free vat_amount currency buyer_name buyer_tel buyer_email
    buyer_addr buyer_postcode confirm_url notice_url customer_uid vbank_due m_redirect_url display card
"""
"""What a window goes by, by name; whatever else a page sends is forgotten."""

_DEPTH_MAX = 20
_URL_MAX = 2000
_MOBILE = re.compile(r"Android|iPhone|iPad|iPod|Mobile", re.IGNORECASE)


def answer(call: Call) -> Answer:
    """Open a window: `{"window": "window/ID", "redirects": bool}`, or `{"refused": what the page is told, "redirect": URL}`.

    Source: PortOne JavaScript SDK V1: on a computer a refusal comes to the callback, on a phone
    the browser is sent to `m_redirect_url`, where there is one.
    """
    given = call.fields.get("params")
    params: dict[str, Any] = given if isinstance(given, dict) else {}
    try:
        if _is_deeper(params, _DEPTH_MAX):
            raise Refused(1, "결제 요청 파라미터를 해석할 수 없습니다.")
        window = _opened(call, params)
        content: dict[str, Any] = {"window": f"window/{window.id}", "redirects": window.redirects_to is not None}
    except Refused as refusal:
        result = results.refused(params, refusal)
        redirect = results.address(str(params["m_redirect_url"]), result) if _is_mobile(call) and _is_url(params) else None
        content = {"refused": result, "redirect": redirect}
    return Answer(200, {**JSON_HEADERS, **pages.SHARED}, to_json(content).encode())


def order_of(call: Call, asked: Mapping[str, Any], imp_uid: str, opened_at: float, quota: int = 0) -> charges.Order:
    """Return what a window charges or registers, as far as its page said; what the buyer pays with is still open.

    Raises:
        Refused: a parameter is missing, too long or of the wrong kind.
    """
    channel, is_issue = channel_of(call, asked), bool(asked.get("customer_uid"))
    order = charges.order_of(
        call,
        {**asked, "custom_data": _as_json(asked.get("custom_data")), "card_quota": quota},
        imp_uid=imp_uid,
        customer_uid=text(asked, "customer_uid", 80),
        usage="issue" if is_issue else None,
        keeps_card=is_issue,
        takes_money=not is_issue or (channel.charges_at_issue and asked["amount"] > 0),
        pay_method=asked["pay_method"],
        channel=channel,
    )
    shown = {
        **order.shown,
        "pg_provider": channel.pg_provider,
        "pg_id": channel.pg_id,
        "channel": asked["channel"],
        "user_agent": asked["user_agent"],
    }
    return replace(order, started_at=opened_at, shown=shown)


def channel_of(call: Call, asked: Mapping[str, Any]) -> Channel:
    """Return the PG contract a window works with: the one that is named, or the first of its purpose.

    Source: PortOne JavaScript SDK V1, `pg`: `provider` or `provider.MID`; one that is missing or
    unknown means the default. That an unknown `channelKey` does is not written: it is the answer that hurts.
    """
    pg, key, is_issue = asked["pg"], asked["channelKey"], bool(asked.get("customer_uid"))
    channels = call.config.channels
    for channel in channels:
        if key == channel.channel_key or (key is None and pg == f"{channel.pg_provider}.{channel.pg_id}"):
            return channel
    of_purpose = [channel for channel in channels if channel.bills == is_issue] or list(channels)
    return next((channel for channel in of_purpose if key is None and pg == channel.pg_provider), of_purpose[0])


def due_of(call: Call, given: str | None) -> int:
    """Return until when a virtual account takes money, in Unix seconds; a day alone means its end in Korea.

    Source: PortOne JavaScript SDK V1, `vbank_due`: `YYYY-MM-DD`, `YYYYMMDD`, both also with a time.

    Raises:
        Refused: it cannot be read, or has passed.
    """
    if given is None:
        last = datetime.fromtimestamp(call.now, KST) + timedelta(days=call.config.vbank_days)
        return int(last.replace(hour=23, minute=59, second=59).timestamp())
    digits = re.sub(r"[-\s:T]", "", given)
    try:
        due = datetime.strptime(digits.ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=KST)
    except ValueError:
        raise Refused(1, f"vbank_due({given})를 해석할 수 없습니다.") from None
    if len(digits) not in (8, 12, 14):
        raise Refused(1, f"vbank_due({given})를 해석할 수 없습니다.")
    if len(digits) == 8:
        due = due.replace(hour=23, minute=59, second=59)
    if due.timestamp() <= call.now:
        raise Refused(1, "가상계좌 입금기한은 현재 시각 이후여야 합니다.")
    return int(due.timestamp())


def _opened(call: Call, params: Mapping[str, Any]) -> Window:
    asked = {name: params[name] for name in _KEPT.split() if params.get(name) not in (None, "")}
    asked |= {
        "code": _merchant(call),
        "pg": text(params, "pg", 80),
        "channelKey": text(params, "channelKey", 55),
        "channel": "mobile" if _is_mobile(call) else "pc",
        "user_agent": call.request.headers.get("user-agent", "")[:200],
        "pay_method": text(params, "pay_method", 20) or "card",
    }
    _check(call, asked)
    serial = call.state.mint()
    order = order_of(call, asked, serial.window_imp_uid, call.now)
    payments.book(call, status="ready", **facts_of(order))
    return windows.opened(call, serial, asked=asked, origin=call.request.headers.get("origin", ""))


def facts_of(order: charges.Order) -> dict[str, Any]:
    """Return what a window's record says, whatever became of it."""
    return {
        "imp_uid": order.imp_uid,
        "merchant_uid": order.merchant_uid,
        "amount": order.amount,
        "started_at": order.started_at,
        "shown": order.shown,
        "pay_method": order.pay_method,
        "currency": order.currency,
        "customer_uid": order.customer_uid,
        "usage": order.usage,
        "notice_url": order.notice_url,
        "tax_free": order.tax_free,
        "vat_amount": order.vat_amount,
        "takes_money": order.takes_money,
    }


def _merchant(call: Call) -> str:
    """Return the merchant code of `IMP.init`. Any will do: the sandbox is the shop of whoever asks."""
    code = text(call.fields, "code", 40)
    if code is None:
        raise Refused(1, "IMP.init(가맹점 식별코드)이 호출되지 않았습니다.")
    return code


def _check(call: Call, asked: dict[str, Any]) -> None:
    """Refuse what the SDK or the PG refuses before a window opens.

    Source: PortOne JavaScript SDK V1: `merchant_uid` is required and must not have been paid, `amount`
    must be a number (texts are refused since 2024-03-15), a phone needs `m_redirect_url`; INICIS: keys
    are issued for cards, and one-off and billing MIDs are different ones; PortOne REST V1,
    `POST /payments/prepare`: another amount than the prepared one is refused. Where no words are
    documented they are ours.
    """
    merchant_uid = text(asked, "merchant_uid", 40)
    if merchant_uid is None:
        raise Refused(1, "merchant_uid는 필수입니다.")
    amount = asked.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise Refused(1, "amount는 숫자 타입이어야 합니다.")
    if asked["channel"] == "mobile" and not _is_url(asked):
        raise Refused(1, "모바일 환경에서는 m_redirect_url이 필수입니다.")
    if asked["pay_method"] not in _PAY_METHODS.split():
        raise Refused(1, f"지원되지 않는 결제수단입니다. ({asked['pay_method']})")
    _check_channel(call, asked)
    due_of(call, text(asked, "vbank_due", 20))
    quotas_of(asked)
    text(asked, "confirm_url", _URL_MAX)
    _check_uid(call, merchant_uid)
    prepared = call.state.one("SELECT * FROM prepared WHERE uid_key = ?", (call.uid_key(merchant_uid),))
    if prepared is not None:
        currency = text(asked, "currency", 3) or "KRW"
        if prepared["amount"] != amount or prepared["currency"] not in (None, currency):
            raise Refused(1, "사전등록된 결제금액과 일치하지 않습니다.")


def _check_channel(call: Call, asked: Mapping[str, Any]) -> None:
    is_issue = bool(asked.get("customer_uid"))
    channel = channel_of(call, asked)
    if is_issue and asked["pay_method"] != "card":
        raise Refused(1, "빌링키 발급은 card 결제수단만 지원합니다.")
    if is_issue and not channel.bills:
        raise Refused(1, f"빌링키를 발급할 수 없는 상점아이디입니다. ({channel.pg_id})")
    if not is_issue and channel.bills and any(not other.bills for other in call.config.channels):
        raise Refused(1, f"일반결제를 할 수 없는 정기결제용 상점아이디입니다. ({channel.pg_id})")


def _check_uid(call: Call, merchant_uid: str) -> None:
    rows = call.state.all("SELECT status, paid_at FROM payments WHERE uid_key = ?", (call.uid_key(merchant_uid),))
    if any(row["paid_at"] > 0 for row in rows):
        raise Refused(1, results.PAID)
    states = {row["status"] for row in rows}
    if (call.config.window_refuses_ready_uid and "ready" in states) or (
        call.config.window_refuses_failed_uid and "failed" in states
    ):
        raise Refused(1, charges.USED)


def quotas_of(asked: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the instalments a buyer may choose, in months; 0 is all at once.

    Source: PortOne JavaScript SDK V1: `display.card_quota` lists them beside all at once (an empty
    list: only that), `card.direct.quota` names one for good.

    Raises:
        Refused: they are no months.
    """
    display, card = asked.get("display"), asked.get("card")
    direct = card.get("direct") if isinstance(card, dict) else None
    if isinstance(direct, dict) and "quota" in direct:
        months: Any = [direct["quota"]]
    elif isinstance(display, dict) and "card_quota" in display:
        months = display["card_quota"]
        months = [0, *months] if isinstance(months, list) else None
    else:
        months = [0, *range(2, 13)]
    if not isinstance(months, list) or not all(type(month) is int and 0 <= month <= 36 for month in months):
        raise Refused(1, "할부개월은 숫자여야 합니다.")
    return tuple(dict.fromkeys(0 if month == 1 else month for month in months))


def _is_mobile(call: Call) -> bool:
    return _MOBILE.search(call.request.headers.get("user-agent", "")) is not None


def _is_url(params: Mapping[str, Any]) -> bool:
    """Return whether there is a place to send a browser to: a page, and never a script."""
    url = params.get("m_redirect_url")
    if not isinstance(url, str) or re.search(r"[\x00-\x20\x7f]", url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _as_json(custom_data: Any) -> str | None:
    """Return custom data as it is kept. Source: PortOne JavaScript SDK V1, `custom_data`: an object, kept as JSON text."""
    return custom_data if custom_data is None or isinstance(custom_data, str) else to_json(custom_data)
