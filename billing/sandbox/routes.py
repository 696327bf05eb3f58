"""Which handler answers which call."""

from collections.abc import Callable
from typing import Any

from billing.sandbox import charges, codes, keys, lookups, receipts, refunds, schedules, tokens, vbanks
from billing.sandbox.call import Call

Handler = Callable[[Call], Any]
GET_TOKEN = ("users", "getToken")

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/users/getToken", tokens.get_token),
    ("GET", "/users/pg", codes.channels),
    ("GET", "/subscribe/customers", keys.look_up_many),
    ("POST", "/subscribe/customers/*", keys.issue),
    ("GET", "/subscribe/customers/*", keys.look_up),
    ("DELETE", "/subscribe/customers/*", keys.delete),
    ("GET", "/subscribe/customers/*/payments", keys.payments),
    ("GET", "/subscribe/customers/*/schedules", schedules.of_customer),
    ("POST", "/subscribe/payments/again", charges.again),
    ("POST", "/subscribe/payments/onetime", charges.onetime),
    ("POST", "/subscribe/payments/foreign", codes.gone),
    ("POST", "/subscribe/payments/schedule", schedules.create),
    ("GET", "/subscribe/payments/schedule", schedules.by_time),
    ("POST", "/subscribe/payments/unschedule", schedules.revoke),
    ("GET", "/subscribe/payments/schedule/customers/*", schedules.of_customer),
    ("GET", "/subscribe/payments/schedule/*", schedules.one),
    ("PUT", "/subscribe/payments/schedule/*", schedules.move),
    ("POST", "/subscribe/payments/schedule/*/reschedule", schedules.replan),
    ("POST", "/subscribe/payments/schedule/*/retry", schedules.retry),
    ("GET", "/payments", lookups.many),
    ("POST", "/payments/prepare", codes.prepare),
    ("PUT", "/payments/prepare", codes.change_prepared),
    ("GET", "/payments/prepare/*", codes.prepared),
    ("POST", "/payments/cancel", refunds.cancel),
    ("GET", "/payments/find/*", lookups.find),
    ("GET", "/payments/find/*/*", lookups.find),
    ("GET", "/payments/findAll/*", lookups.find_all),
    ("GET", "/payments/findAll/*/*", lookups.find_all),
    ("GET", "/payments/status/*", lookups.by_status),
    ("GET", "/payments/*", lookups.one),
    ("GET", "/payments/*/balance", lookups.balance),
    ("POST", "/vbanks", vbanks.issue),
    ("PUT", "/vbanks/*", vbanks.change),
    ("DELETE", "/vbanks/*", vbanks.void),
    ("GET", "/receipts/external/*", receipts.show_external),
    ("POST", "/receipts/external/*", receipts.issue_external),
    ("DELETE", "/receipts/external/*", receipts.revoke_external),
    ("GET", "/receipts/*", receipts.show),
    ("POST", "/receipts/*", receipts.issue),
    ("DELETE", "/receipts/*", receipts.revoke),
    ("GET", "/cards", codes.cards),
    ("GET", "/cards/*", codes.card),
    ("GET", "/banks", codes.banks),
    ("GET", "/banks/*", codes.bank),
    ("GET", "/tiers/*", codes.tier),
    ("POST", "/certifications/otp/request", codes.certification),
    ("POST", "/certifications/otp/confirm/*", codes.certification),
    ("GET", "/certifications/*", codes.certification),
    ("DELETE", "/certifications/*", codes.certification),
)
"""Method, path and handler of each call; the first that fits wins, `*` is an id."""

MONEY_HANDLERS: frozenset[Handler] = frozenset({charges.again, charges.onetime, schedules.retry, refunds.cancel})
"""Calls that can move money: their arrivals are kept."""

_BY_LENGTH: dict[int, list[tuple[str, tuple[str, ...], Handler]]] = {}
for _method, _path, _handler in _ROUTES:
    _parts = tuple(_path.strip("/").split("/"))
    _BY_LENGTH.setdefault(len(_parts), []).append((_method, _parts, _handler))


def handler_for(method: str, segments: tuple[str, ...]) -> tuple[Handler | None, tuple[str, ...], bool]:
    """Return the handler of a call and the ids in its path, and whether the path exists under any method."""
    is_known = False
    for offered, parts, handler in _BY_LENGTH.get(len(segments), ()):
        if all(part in ("*", segment) for part, segment in zip(parts, segments, strict=True)):
            is_known = True
            if offered == method:
                ids = tuple(segment for part, segment in zip(parts, segments, strict=True) if part == "*")
                return handler, ids, True
    return None, (), is_known
