"""Access tokens: one at a time, the same until it expires, a little longer for whoever asks in its last minute."""

import hashlib
from typing import Any

from billing.sandbox.call import Call
from billing.sandbox.wire import Refused, require

_LAST_MINUTE = 60
_EXTENSION = 300


def get_token(call: Call) -> dict[str, Any]:
    """Issue the access token, or hand out the living one again.

    Source: PortOne REST V1, authentication: a token asked for again before its expiry is
    the same one; asked for with at most a minute left it is extended by five minutes;
    after expiry a new one is issued for thirty minutes; a wrong pair answers 401.
    """
    fields, state, now = call.request.fields, call.state, int(call.now)
    require(fields, "imp_key", "imp_secret")
    if (fields["imp_key"], fields["imp_secret"]) != call.credentials:
        raise unauthorized(call)
    living = state.one("SELECT * FROM tokens WHERE expired_at > ? AND NOT revoked ORDER BY issued_at DESC LIMIT 1", (call.now,))
    if living is None or call.config.several_live_tokens:
        token, expired_at = state.mint().token, now + call.config.token_seconds
        state.insert("tokens", token=token, issued_at=call.now, expired_at=expired_at)
        return {"access_token": token, "expired_at": expired_at, "now": now}
    expired_at = int(living["expired_at"])
    may_extend = call.config.token_extended_more_than_once or living["extensions"] == 0
    if expired_at - call.now <= _LAST_MINUTE and may_extend:
        expired_at += _EXTENSION
        state.run(
            "UPDATE tokens SET expired_at = ?, extensions = extensions + 1 WHERE token = ?",
            (expired_at, living["token"]),
        )
    return {"access_token": living["token"], "expired_at": expired_at, "now": now}


def admit(call: Call) -> None:
    """Let a call pass whose token lives; the door of every call but `getToken`.

    Source: PortOne REST V1, authentication: `Authorization: Bearer <token>` is documented,
    the bare token is what the official samples send; both are accepted.

    Raises:
        Refused: HTTP 401, before anything was executed.
    """
    token = presented(call)
    row = call.state.one("SELECT expired_at, revoked FROM tokens WHERE token = ?", (token,)) if token else None
    if row is None or row["revoked"] or row["expired_at"] <= call.now:
        raise unauthorized(call)


def revoke(call: Call) -> None:
    """Kill the token this call presents, as a rotation by someone else would."""
    call.state.run("UPDATE tokens SET revoked = 1 WHERE token = ?", (presented(call),))


def presented(call: Call) -> str:
    """Return the token a call carries, without its scheme."""
    given = call.request.headers.get("authorization", "").strip()
    return given[7:].strip() if given[:7].lower() == "bearer " else given


def fingerprint(call: Call) -> str | None:
    """Return a short hash of the presented token, to tell tokens apart without writing them down."""
    token = presented(call)
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else None


def unauthorized(call: Call) -> Refused:
    """Return the 401 of the PG."""
    return Refused(call.config.unauthorized_code, "Unauthorized", status=401)
