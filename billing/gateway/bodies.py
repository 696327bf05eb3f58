"""Orders to the PG: values in, JSON out. Fields that say nothing are left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

from billing.domain.amount import major, tax_fields
from billing.domain.channel import KEY_PREFIX
from billing.domain.evidence import CancelOrder, ChargeOrder
from billing.errors import RuleError
from billing.gateway.sealed import Sealed

BUYER_NAME_MAX, BUYER_EMAIL_MAX, BUYER_TEL_MAX = 16, 64, 16
_CUSTOMER_FIELDS = {"name": 20, "tel": 20, "email": 200, "addr": 200, "postcode": 8}


def again(order: ChargeOrder) -> bytes:
    """The body of one charge.

    Raises:
        ValueError: the order number is longer than the PG keeps. It cuts silently, and two numbers
            could become one.

    Source: PortOne REST V1, POST /subscribe/payments/again (merchant_uid ≤ 40, customer_uid ≤ 80,
    name ≤ 40, buyer_name ≤ 16, buyer_email ≤ 64, buyer_tel ≤ 16; amount is a JSON number).
    """
    if not order.customer_uid:
        raise ValueError("a charge by key names its card")
    return _json({"customer_uid": order.customer_uid} | _ordered(order))


def onetime(order: ChargeOrder, revealed: Mapping[str, str], pg: str) -> Sealed:
    """The body of one charge of raw card data. The caller holds card data in this very frame.

    Raises:
        ValueError: as for `again`.

    Source: PortOne REST V1, POST /subscribe/payments/onetime (the fields of `again`, those of a card, and `pg`;
    `customer_uid` is optional and keeps the card).
    """
    fields = _ordered(order) | dict(revealed)
    if order.customer_uid:
        fields["customer_uid"] = order.customer_uid
    if pg:
        fields["channel_key" if pg.startswith(KEY_PREFIX) else "pg"] = pg
    return Sealed(_json(fields))


def _ordered(order: ChargeOrder) -> dict[str, object]:
    """What every charge says, whatever it is charged to."""
    if not 0 < len(order.merchant_uid) <= 40 or len(order.customer_uid) > 80:
        raise ValueError("merchant_uid or customer_uid does not fit the PG")
    if order.amount <= 0:
        raise ValueError("a charge takes a positive amount")
    fields: dict[str, object] = {
        "merchant_uid": order.merchant_uid,
        "amount": major(order.amount, order.currency),
        "name": order.name,  # its length was checked when the attempt was planned
    }
    if order.currency != "KRW":
        fields["currency"] = order.currency
    fields |= tax_fields(order.tax_free, order.vat_amount, order.currency)
    # The buyer is decoration: a long name must not refuse a renewal, so it is cut. A cut address or
    # number would be somebody else's, so those that do not fit stay at home.
    if order.buyer_name:
        fields["buyer_name"] = order.buyer_name[:BUYER_NAME_MAX]
    if 0 < len(order.buyer_email) <= BUYER_EMAIL_MAX:
        fields["buyer_email"] = order.buyer_email
    if 0 < len(order.buyer_tel) <= BUYER_TEL_MAX:
        fields["buyer_tel"] = order.buyer_tel
    if order.custom_data:
        fields["custom_data"] = order.custom_data
    return fields


def cancel(order: CancelOrder) -> bytes:
    """The body of one refund.

    `CancelOrder` itself refuses an amount of 0, which would mean "everything". `checksum` turns a
    repeated refund into a refusal. Our own refunds notify nobody: we know of them already.

    Source: PortOne REST V1, POST /payments/cancel (amount 0 or absent cancels all; checksum is the
    balance the caller believes in; enable_webhook defaults to false).
    """
    return _json(
        {
            "imp_uid": order.imp_uid,
            "amount": major(order.amount, order.currency),
            "checksum": major(order.checksum, order.currency),
            "reason": order.reason,
            "enable_webhook": False,
        }
        | tax_fields(order.tax_free, order.vat_amount, order.currency)
    )


def card(revealed: Mapping[str, str], pg: str, buyer: Mapping[str, str] | None) -> Sealed:
    """The body that registers a card. The caller holds card data in this very frame.

    Source: PortOne REST V1, POST /subscribe/customers/{customer_uid} (`channel_key`, or `pg` as `provider.MID`;
    customer_name ≤ 20, _tel ≤ 20, _email ≤ 200, _addr ≤ 200, _postcode ≤ 8).
    """
    fields: dict[str, object] = dict(revealed)
    if pg:
        fields["channel_key" if pg.startswith(KEY_PREFIX) else "pg"] = pg
    for name, longest in _CUSTOMER_FIELDS.items():
        value = (buyer or {}).get(name, "")
        if 0 < len(value) <= longest:
            fields[f"customer_{name}"] = value
    return Sealed(_json(fields))


def prepare(merchant_uid: str, amount: int) -> bytes:
    """The body that registers the amount of a window. Source: PortOne REST V1, POST /payments/prepare."""
    return _json({"merchant_uid": merchant_uid, "amount": amount})


def segment(name: str, value: str) -> str:
    """An id as one segment of a path.

    Raises:
        RuleError: an empty id would address the list above it, a dotted one a neighbour; the ids of
            notices and redirects are a stranger's words.
    """
    if not 0 < len(value) <= 80 or value.strip(".") == "" or not value.isprintable():
        raise RuleError(name, "is not an id of the PG", "pass the id as the PG gave it")
    return quote(value, safe="")


def query(pairs: Iterable[tuple[str, str]]) -> str:
    """A query string; names such as `merchant_uid[]` may repeat."""
    return "&".join(
        f"{_quoted(name)}={value if value.isalnum() and value.isascii() else quote(value, safe='')}" for name, value in pairs
    )


@lru_cache(maxsize=32)
def _quoted(name: str) -> str:
    return quote(name, safe="")


def _json(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
