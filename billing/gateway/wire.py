"""Answers of the PG: JSON in, evidence out. Read by hand, field by field, and never half.

Why no pydantic model here: a record arrives once per charge and once per look-up, and these
checks need things a model would have to be talked into one validator at a time — amounts as
exact decimals of their own currency, 0 for "no such moment", optional fields that must never
cost us a paid record. Measured, the two cost the same; this one can be read from top to bottom.
The JSON itself is parsed by pydantic's parser, three times as fast as the standard one.

The rule for damage: a field that says whose money moved, how much and in which world (`imp_uid`,
`merchant_uid`, `status`, `amount`, `currency`, `sandbox`) must be there and be right, otherwise
the whole record is refused as unreadable. Any other field is taken if it makes sense and is
dropped if not. Unknown fields and words are ignored, as the PG may add them at any time.

Source: PortOne REST V1, schemas PaymentAnnotation, CustomerAnnotation and the paged lists;
compatibility policy (new fields and enum values appear without notice).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic_core import from_json

from billing.domain.customer import KeyFact
from billing.domain.evidence import Cancellation, Channel, PaymentFact, PaymentStatus, UnreadRecord, VirtualAccount
from billing.gateway.declines import DeclineTable
from billing.gateway.http import Answer
from billing.redaction import redacted
from plans.money import MINOR_DIGITS

Json = dict[str, Any]

_STATUSES = {status.value: status for status in PaymentStatus}
_LAST_MOMENT = 253_402_300_799  # the year 9999; milliseconds passed off as seconds lie beyond
_TEXT_MAX = 1000
_AMOUNT_END = 10**15  # a BIGINT holds it, and so does a double


class Unreadable(ValueError):
    """The JSON is not what the PG documents. Names the field, never the value."""


@dataclass(frozen=True, slots=True, repr=False)
class Envelope:
    """`{code, message, response}`, the frame around every answer. Source: PortOne REST V1, all calls.

    The repr shows no content: it stands in the frame of many an exception.
    """

    code: int
    message: str
    response: object

    def __repr__(self) -> str:
        return f"Envelope({self.code})"


def envelope(body: bytes) -> Envelope:
    """Read the frame of an answer.

    Raises:
        Unreadable: not JSON, not an object, or without an integer `code` and a `response`, be it null.
            Gateways in between say `{"code": 404, "message": …}` in JSON too; those are not the PG's words.
    """
    frame = _parsed(body)
    if not isinstance(frame, dict):
        raise Unreadable("the answer is not a JSON object")
    code = frame.get("code")
    if isinstance(code, bool) or not isinstance(code, int) or "response" not in frame:
        raise Unreadable("the answer is not the PG's envelope")
    return Envelope(code, _said(frame.get("message")) or "", frame.get("response"))


def payment(record: object, declines: DeclineTable) -> PaymentFact:
    """One payment record as evidence.

    Raises:
        Unreadable: a field that decides about money is missing or makes no sense.
    """
    if not isinstance(record, dict):
        raise Unreadable("the payment is not an object")
    get = record.get
    status = _STATUSES.get(_needed(record, "status"), PaymentStatus.OTHER)
    currency = _needed(record, "currency").upper()
    refunded = get("cancel_amount")
    if refunded is None and status is PaymentStatus.CANCELLED:
        raise Unreadable("cancel_amount is missing")
    provider = _text(get("pg_provider"))
    reason = _text(get("fail_reason"))
    code, decline = None, None
    if status is PaymentStatus.FAILED:
        code, decline = declines.classify(provider or "", reason or "")
    return PaymentFact(
        imp_uid=_needed(record, "imp_uid"),
        merchant_uid=_needed(record, "merchant_uid"),
        status=status,
        amount=_minor("amount", get("amount"), currency),
        cancel_amount=0 if refunded is None else _minor("cancel_amount", refunded, currency),
        currency=currency,
        sandbox=_flag(record, "sandbox"),
        customer_uid=_text(get("customer_uid")),
        usage=_text(get("customer_uid_usage")),
        pg_provider=provider,
        pg_tid=_text(get("pg_tid")),
        paid_at=_moment(get("paid_at")),
        failed_at=_moment(get("failed_at")),
        cancelled_at=_moment(get("cancelled_at")),
        fail_reason=_said(reason),
        fail_code=code,
        decline_class=decline,
        card_name=_said(get("card_name")),
        receipt_url=_text(get("receipt_url")),
        custom_data=_custom(get("custom_data")),
        cancel_history=_history(get("cancel_history"), currency),
        started_at=_moment(get("started_at")),
        channel=_text(get("channel")),
        pay_method=_text(get("pay_method")),
        account=_account(record),
    )


def seen(record: object, declines: DeclineTable) -> PaymentFact:
    """One record of a look-up; one that cannot be read still says that there is one, and which.

    Anybody with a browser can leave a record of half a won under a number of ours. It proves nothing, but so would its
    absence, and it must not keep others of the same look-up from being read.

    Raises:
        Unreadable: it does not even say whose it is.
    """
    try:
        return payment(record, declines)
    except Unreadable:
        found = _object(record)
        return PaymentFact(
            imp_uid=_needed(found, "imp_uid"),
            merchant_uid=_needed(found, "merchant_uid"),
            status=PaymentStatus.OTHER,
            amount=0,
            cancel_amount=0,
            currency="",
            sandbox=found.get("sandbox") is True,
            started_at=_moment(found.get("started_at")),
            channel=_text(found.get("channel")),
        )


def payments(records: object, declines: DeclineTable) -> list[PaymentFact]:
    """The records of a look-up, the earliest started first, whatever order they came in; see `seen`.

    Raises:
        Unreadable: not a list, or one of the records does not even say whose it is.
    """
    if not isinstance(records, list):
        raise Unreadable("the payments are not a list")
    facts = [(_seconds(record.get("started_at")) or 0, seen(record, declines)) for record in map(_object, records)]
    facts.sort(key=lambda pair: pair[0])
    return [fact for _, fact in facts]


def listed(records: list[object], declines: DeclineTable) -> tuple[list[PaymentFact], list[UnreadRecord]]:
    """The records of a list, in its order, and apart those that cannot be read: one of them must not hide the others."""
    facts, unread = [], []
    for record in records:
        try:
            facts.append(payment(record, declines))
        except Unreadable as problem:
            get: Callable[[str], object] = record.get if isinstance(record, dict) else lambda _name: None
            names = [_text(get(name)) or "" for name in ("imp_uid", "merchant_uid", "customer_uid")]
            unread.append(UnreadRecord(names[0], names[1], names[2], _custom(get("custom_data")), str(problem)))
    return facts, unread


def page(response: object) -> tuple[list[object], int, int]:
    """A paged list as (records, total, next page or 0).

    Raises:
        Unreadable: not the documented `{total, previous, next, list}`.
    """
    if not isinstance(response, dict) or not isinstance(response.get("list"), list):
        raise Unreadable("the page has no list")
    records: list[object] = response["list"]
    return records, _seconds(response.get("total")) or len(records), _seconds(response.get("next")) or 0


def key(record: object) -> KeyFact:
    """One billing key as evidence.

    Raises:
        Unreadable: `customer_uid` is missing, or it is not an object.
    """
    found = _object(record)
    get = found.get
    kind = get("card_type")
    return KeyFact(
        customer_uid=_needed(found, "customer_uid"),
        pg_provider=_text(get("pg_provider")) or "",
        pg_id=_text(get("pg_id")) or "",
        sandbox=get("sandbox") is True,
        card_name=_said(get("card_name")) or "",
        card_code=_text(get("card_code")) or "",
        card_number=_masked(_text(get("card_number")) or ""),
        card_type=kind if isinstance(kind, int) and not isinstance(kind, bool) else None,
        inserted=_seconds(get("inserted")) or 0,
        updated=_seconds(get("updated")) or 0,
    )


def keys(records: object) -> list[KeyFact]:
    """A list of billing keys; raise `Unreadable` where it is none."""
    if not isinstance(records, list):
        raise Unreadable("the billing keys are not a list")
    return [key(record) for record in records]


def channels(records: object) -> list[Channel]:
    """The configured channels; raise `Unreadable` where it is no list of them."""
    if not isinstance(records, list):
        raise Unreadable("the channels are not a list")
    return [
        Channel(
            pg_provider=_needed(channel, "pg_provider"),
            pg_id=_text(channel.get("pg_id")) or "",
            sandbox=_flag(channel, "sandbox"),
            type=_text(channel.get("type")) or "",
            name=_text(channel.get("channel_name")) or "",
            key=_text(channel.get("channel_key")) or "",
        )
        for channel in map(_object, records)
    ]


def prepared_amount(response: object) -> int:
    """The registered amount of a prepare record in minor units; raise `Unreadable` without one."""
    record = _object(response)
    return _minor("amount", record.get("amount"), (_text(record.get("currency")) or "KRW").upper())


def issued_token(answer: Answer) -> tuple[str, float, int] | None:
    """The token, its life in seconds and the PG's own clock; None when the answer holds none that can be used.

    Returns instead of raising: the frame that reads this body holds the token.
    """
    try:
        response = envelope(answer.body).response
    except Unreadable:
        return None
    if not isinstance(response, dict):
        return None
    value = response.get("access_token")
    end, now = _seconds(response.get("expired_at")), _seconds(response.get("now"))
    # It goes into a header: anything but plain visible ASCII would break, or break out of, the line.
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        return None
    if end is None or now is None or end <= now:
        return None
    return value, float(end - now), now


def _parsed(body: bytes) -> object:
    try:
        return from_json(body)
    except ValueError:
        # It insists on UTF-8 and whole characters; a name cut through an emoji must not hide a payment.
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None


# --- fields --------------------------------------------------------------------------------------


def _object(record: object) -> Json:
    if not isinstance(record, dict):
        raise Unreadable("a record is not an object")
    return record


def _needed(record: Json, name: str) -> str:
    text = _text(record.get(name))
    if text is None:
        raise Unreadable(f"{name} is missing")
    return text


def _text(value: object) -> str | None:
    """A text that every database and terminal can take; None for null, empty and other types."""
    if type(value) is not str:
        # Order numbers made of digits have been seen to come back as numbers.
        return str(value) if type(value) is int else None
    if not value.isprintable():
        # PostgreSQL refuses NUL, UTF-8 refuses half a surrogate pair: neither may stop a batch.
        value = value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return value[:_TEXT_MAX] or None


def _said(value: object) -> str | None:
    """Words of the PG or the issuer, fit to be kept and shown: some quote the card number they refuse."""
    text = _text(value)
    return redacted(text) if text is not None and len(text) >= 13 else text


def _flag(record: Json, name: str) -> bool:
    value = record.get(name)
    if not isinstance(value, bool):
        raise Unreadable(f"{name} is missing")
    return value


def _minor(name: str, value: object, currency: str) -> int:
    """An amount in minor units: 9900, 9900.0 and "9900" are 9,900 won, 9900.5 is none."""
    digits = MINOR_DIGITS.get(currency)
    if type(value) is int and digits == 0 and 0 <= value < _AMOUNT_END:
        return value
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        raise Unreadable(f"{name} is not an amount")
    if digits is None:
        raise Unreadable("the currency is not known here")
    try:
        # By way of its shortest decimal: 9.99 as a float is a little less than 9.99.
        exact = Decimal(repr(value) if isinstance(value, float) else value).scaleb(digits)
        # Bounded before it becomes an int: 1e999999 is a short text and a very long number.
        if not 0 <= exact < _AMOUNT_END or exact != exact.to_integral_value():
            raise Unreadable(f"{name} is not a whole number of minor units")
    except ArithmeticError:
        raise Unreadable(f"{name} is not an amount") from None
    return int(exact)


def _seconds(value: object) -> int | None:
    """Unix seconds or a count, None where there is none (null, 0, nonsense)."""
    is_digits = type(value) is str and value.isascii() and value.isdigit() and len(value) < 16
    if is_digits or (type(value) is float and abs(value) <= _LAST_MOMENT):
        value = int(value)  # type: ignore[call-overload]
    return value if type(value) is int and 0 < value <= _LAST_MOMENT else None


def _moment(value: object) -> datetime | None:
    seconds = _seconds(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _history(entries: object, currency: str) -> tuple[Cancellation, ...]:
    """The refunds of a record, in its own order; an entry without a readable amount is left out.

    Reasons are given as they stand: hiding anything in them could hide the name of a refund of ours.
    """
    if not entries or not isinstance(entries, list):
        return ()
    found = []
    for entry in entries:
        try:
            amount = _minor("amount", _object(entry).get("amount"), currency)
        except Unreadable:
            continue
        identity = (_text(entry.get("cancellation_id")) or "")[:64] or None
        found.append(Cancellation(amount, _text(entry.get("reason")), identity, _moment(entry.get("cancelled_at"))))
    return tuple(found)


def _account(record: Json) -> VirtualAccount | None:
    """The virtual account of a record, None for every other way to pay."""
    number = _text(record.get("vbank_num"))
    if number is None:
        return None
    return VirtualAccount(
        bank_code=(_text(record.get("vbank_code")) or "")[:8],
        bank_name=(_text(record.get("vbank_name")) or "")[:40],
        number=number[:32],
        holder=(_text(record.get("vbank_holder")) or "")[:40],
        due_at=_moment(record.get("vbank_date")),
        issued_at=_moment(record.get("vbank_issued_at")),
    )


def _custom(value: object) -> str | None:
    """Our own note on the record; an object passed to the browser SDK comes back as JSON text or object."""
    if isinstance(value, dict | list):
        return _text(json.dumps(value, ensure_ascii=False, default=str))
    return _text(value)


def _masked(number: str) -> str:
    """The card number as the PG masked it; one that it failed to mask is not let in."""
    return number if sum(map(str.isdigit, number)) <= 12 else ""
