"""Code lists and the small calls around them: card companies, banks, channels, prepared amounts, identity checks."""

from typing import Any, NoReturn

from billing.sandbox.call import Call
from billing.sandbox.wire import Refused, number, require, text

CARDS = {
    "361": "BC카드",
    "364": "광주카드",
    "365": "삼성카드",
    "366": "신한카드",
    "367": "현대카드",
    "368": "롯데카드",
    "369": "수협카드",
    "370": "씨티카드",
    "371": "NH카드",
    "372": "전북카드",
    "373": "제주카드",
    "374": "하나SK카드",
    "381": "KB국민카드",
    "041": "우리카드",
    "071": "우체국",
    "002": "KDB산업은행카드",
    "045": "새마을금고카드",
    "048": "신협카드",
    "089": "케이뱅크카드",
    "090": "카카오뱅크카드",
}
BANKS = {
    "002": "KDB산업은행",
    "003": "IBK기업은행",
    "004": "KB국민은행",
    "007": "수협은행",
    "011": "NH농협은행",
    "012": "단위농협(지역농축협)",
    "020": "우리은행",
    "023": "SC제일은행",
    "027": "한국씨티은행",
    "031": "대구은행",
    "032": "부산은행",
    "034": "광주은행",
    "037": "전북은행",
    "039": "경남은행",
    "045": "새마을금고",
    "048": "신협",
    "071": "우체국",
    "081": "하나은행",
    "088": "신한은행",
    "089": "케이뱅크",
    "090": "카카오뱅크",
    "092": "토스뱅크",
}
NOT_PREPARED = "사전등록된 결제정보가 존재하지 않습니다."


def cards(_: Call) -> list[dict[str, str]]:
    """List card companies by their clearing code. Source: PortOne REST V1, `GET /cards`."""
    return [{"code": code, "name": name} for code, name in CARDS.items()]


def card(call: Call) -> dict[str, str]:
    """Name one card company."""
    return _named(call, CARDS, "코드에 해당되는 카드사정보를 찾을 수 없습니다.")


def banks(_: Call) -> list[dict[str, str]]:
    """List banks by their standard code. Source: PortOne REST V1, `GET /banks`."""
    return [{"code": code, "name": name} for code, name in BANKS.items()]


def bank(call: Call) -> dict[str, str]:
    """Name one bank."""
    return _named(call, BANKS, "코드에 해당되는 은행정보를 찾을 수 없습니다.")


def _named(call: Call, names: dict[str, str], refusal: str) -> dict[str, str]:
    code = call.ids[0]
    if code not in names:
        raise call.not_found(refusal)
    return {"code": code, "name": names[code]}


def channels(call: Call) -> list[dict[str, Any]]:
    """List the merchant's PG contracts. Source: PortOne REST V1, `GET /users/pg`."""
    return [
        {
            "pg_provider": channel.pg_provider,
            "pg_id": channel.pg_id,
            "sandbox": call.config.sandbox,
            "type": "payment",
            "channel_name": channel.name,
            "channel_key": channel.channel_key,
        }
        for channel in call.config.channels
    ]


def tier(call: Call) -> NoReturn:
    """Answer that a sub-merchant is unknown: the sandbox has none. Source: PortOne REST V1, `GET /tiers/{tier_code}`."""
    raise call.not_found("등록되지 않은 tier_code입니다.")


def certification(call: Call) -> NoReturn:
    """Answer that an identity check is unknown: the sandbox makes none. Source: PortOne REST V1, `/certifications`."""
    raise call.not_found("인증결과가 존재하지 않습니다.")


def prepare(call: Call) -> dict[str, Any]:
    """Register the amount a browser window may open with. It does not bind `again` or `onetime`.

    Source: PortOne REST V1, `POST /payments/prepare`.
    """
    require(call.fields, "merchant_uid")
    require(call.fields, "amount")
    merchant_uid, amount = text(call.fields, "merchant_uid", 40) or "", number(call.fields, "amount")
    currency = text(call.fields, "currency", 3)
    call.state.run(
        "INSERT INTO prepared (uid_key, merchant_uid, amount, currency) VALUES (?, ?, ?, ?) ON CONFLICT (uid_key)"
        " DO UPDATE SET amount = excluded.amount, currency = excluded.currency",
        (call.uid_key(merchant_uid), merchant_uid, amount, currency),
    )
    return {"merchant_uid": merchant_uid, "amount": amount, "currency": currency}


def change_prepared(call: Call) -> dict[str, Any]:
    """Change a registered amount. Source: PortOne REST V1, `PUT /payments/prepare`: 404 when none is registered."""
    require(call.fields, "merchant_uid")
    _prepared(call, str(call.fields["merchant_uid"]))
    return prepare(call)


def prepared(call: Call) -> dict[str, Any]:
    """Show a registered amount."""
    row = _prepared(call, call.ids[0])
    return {"merchant_uid": row["merchant_uid"], "amount": row["amount"], "currency": row["currency"]}


def _prepared(call: Call, merchant_uid: str) -> Any:
    row = call.state.one("SELECT * FROM prepared WHERE uid_key = ?", (call.uid_key(merchant_uid),))
    if row is None:
        raise call.not_found(NOT_PREPARED)
    return row


def gone(_: Call) -> NoReturn:
    """Refuse a call that the PG took away. Source: `POST /subscribe/payments/foreign` is in old clients only."""
    raise Refused(1, "더 이상 지원되지 않는 API입니다.", status=404)
