"""Billing keys: issued from card data, looked up, overwritten, deleted."""

import json
from typing import Any

from billing.sandbox import lookups
from billing.sandbox.call import Call
from billing.sandbox.cards import Card, read_card
from billing.sandbox.config import Channel
from billing.sandbox.wire import Refused, Reply, listing, require, text, to_json

_REFUSAL = "카드정보 인증 및 빌키 발급에 실패하였습니다."
_OWNER_LIMITS = {
    "customer_id": 80,
    "customer_name": 20,
    "customer_tel": 20,
    "customer_email": 200,
    "customer_addr": 200,
    "customer_postcode": 8,
}


def issue(call: Call) -> dict[str, Any]:
    """Issue a billing key from card data.

    A key says that the card exists, not that it can be charged: lost or empty cards register too.

    Source: PortOne REST V1, `POST /subscribe/customers/{customer_uid}`; a refusal by the PG is HTTP 200, code -1.
    """
    customer_uid = uid_of_path(call)
    require(call.fields, "card_number")
    require(call.fields, "expiry")
    check_channel(call)
    owner = {name: text(call.fields, name, limit) for name, limit in _OWNER_LIMITS.items()}
    card = read_card(call.fields, now=call.now, refusal=_REFUSAL)
    return annotation(call, keep(call, customer_uid, card, owner))


def keep(call: Call, customer_uid: str, card: Card, owner: dict[str, str | None], channel: Channel | None = None) -> Any:
    """Point `customer_uid` at a new PG key, of `channel` or else of the one that bills by default, and return its row.

    An earlier key of the same uid is overwritten but stays alive at the PG: nobody
    revokes it, and its card can no longer be reached through this API.

    Source: PortOne non-authenticated payment guide V1: the last card wins, the earlier key is not revoked.
    """
    earlier = current(call, customer_uid)
    if earlier is not None:
        call.state.run("UPDATE billing_keys SET is_current = 0 WHERE id = ?", (earlier["id"],))
    channel = channel or call.config.billing_channel
    echo = {
        "pg_provider": channel.pg_provider,
        "pg_id": channel.pg_id,
        "card_name": card.issuer_name,
        "card_code": card.issuer_code,
        **owner,
    }
    key_id = call.state.insert(
        "billing_keys",
        customer_uid=customer_uid,
        card_number=card.masked,
        behaviour=card.behaviour,
        valid_until=card.valid_until,
        echo=to_json(echo),
        inserted=earlier["inserted"] if earlier is not None else call.now,
        updated=call.now,
    )
    return call.state.one("SELECT * FROM billing_keys WHERE id = ?", (key_id,))


def look_up(call: Call) -> dict[str, Any]:
    """Show one billing key."""
    customer_uid = uid_of_path(call)
    row = current(call, customer_uid)
    if row is None:
        raise _unknown(call, customer_uid)
    return annotation(call, row)


def look_up_many(call: Call) -> Reply:
    """Show several billing keys: 200 when all are known, 207 when some are, 404 when none is.

    Source: PortOne REST V1, `GET /subscribe/customers?customer_uid[]=`.
    """
    asked = listing(call.query, "customer_uid")
    if not asked:
        raise Refused(1, '["customer_uid"] 파라메터는 필수입니다.', status=400)
    rows = [row for uid in dict.fromkeys(asked) if (row := current(call, uid)) is not None]
    if not rows:
        raise call.not_found("요청하신 customer_uid로 등록된 정보를 찾을 수 없습니다.")
    return Reply([annotation(call, row) for row in rows], 200 if len(rows) == len(set(asked)) else 207)


def delete(call: Call) -> dict[str, Any]:
    """Delete a billing key for good and show what it was.

    Source: PortOne REST V1, `DELETE /subscribe/customers/{customer_uid}`; schedules are not said to be revoked.
    """
    customer_uid = uid_of_path(call)
    row = current(call, customer_uid)
    if row is None:
        raise _unknown(call, customer_uid)
    call.state.run("UPDATE billing_keys SET is_current = 0, alive_at_pg = 0, deleted_at = ? WHERE id = ?", (call.now, row["id"]))
    if call.config.deleting_key_revokes_schedules:
        call.state.run(
            "UPDATE schedules SET status = 'revoked', revoked_at = ? WHERE customer_uid = ? AND status = 'scheduled'",
            (call.now, customer_uid),
        )
    return annotation(call, row)


def payments(call: Call) -> dict[str, Any]:
    """List the payments made with a key, newest first."""
    customer_uid = uid_of_path(call)
    rows = call.state.all(
        "SELECT * FROM payments WHERE customer_uid = ? AND visible_at <= ? ORDER BY started_at DESC, seq DESC",
        (customer_uid, call.now),
    )
    if not rows and current(call, customer_uid) is None:
        raise _unknown(call, customer_uid)
    return lookups.paged(call, rows)


def current(call: Call, customer_uid: str) -> Any:
    """Return the row of the key a customer_uid stands for now, or None."""
    return call.state.one("SELECT * FROM billing_keys WHERE customer_uid = ? AND is_current", (customer_uid,))


def card_of(row: Any) -> Card:
    """Return the card behind a key's row."""
    echo = json.loads(row["echo"])
    return Card(row["card_number"], row["behaviour"], row["valid_until"], echo["card_code"], echo["card_name"])


def uid_of_path(call: Call) -> str:
    """Return the customer_uid of the path. Source: PortOne REST V1, at most 80 characters."""
    customer_uid = call.ids[0]
    text({"customer_uid": customer_uid}, "customer_uid", 80)
    return customer_uid


def check_channel(call: Call) -> None:
    """Refuse a channel that may not charge without a browser; an unknown one falls back to the default.

    Source: PortOne REST V1, `pg` of the key issue (silent fall-back); the refusal was observed by clients.
    """
    key, pg = text(call.fields, "channel_key", 55), text(call.fields, "pg", 80)
    for channel in call.config.channels:
        if key == channel.channel_key or (key is None and pg == f"{channel.pg_provider}.{channel.pg_id}"):
            if not channel.bills:
                raise Refused(1, "비인증결제모듈 사용정보를 찾을 수 없습니다.")
            return


def annotation(call: Call, row: Any) -> dict[str, Any]:
    """Return a key as the PG shows it. Source: PortOne REST V1, `CustomerAnnotation`; card_type is null with INICIS."""
    return {
        "customer_uid": row["customer_uid"],
        "sandbox": call.config.sandbox,
        "card_issuer_code": None,
        "card_issuer_name": None,
        "card_publisher_code": None,
        "card_publisher_name": None,
        "card_number": row["card_number"],
        "card_type": None,
        **dict.fromkeys(_OWNER_LIMITS),
        **json.loads(row["echo"]),
        "inserted": int(row["inserted"]),
        "updated": int(row["updated"]),
    }


def _unknown(call: Call, customer_uid: str) -> Refused:
    message = f"요청하신 customer_uid({customer_uid})로 등록된 정보를 찾을 수 없습니다."
    return call.not_found(message) if call.config.unknown_customer_is_404 else Refused(1, message)
