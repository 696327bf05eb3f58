"""The life of an access token: fetched once, used by all, and allowed to die.

The PG answers getToken with the *same* token as long as it lives, and moves its expiry out by
five minutes when asked within its last minute. Whoever renews early or "just in time" therefore
keeps one token alive for ever, and with it every request that was sent under it and lost on the
way: such a request could still be accepted days later. Only another token proves that requests
under the earlier one are dead. So this client does the opposite of renewing: it uses a token
almost to its end, waits the few seconds until it is dead, and only then asks for the next.

Source: PortOne REST V1, POST /users/getToken (30 minutes; same token before expiry; five more
minutes when asked with at most one minute left; 401 after expiry; `now` and `expired_at` in the
answer, Unix seconds).
"""

from __future__ import annotations

import hmac
import json
import logging
import threading
from dataclasses import dataclass

from pydantic import SecretStr

from billing.errors import CredentialsRefused, GatewayUnavailable
from billing.gateway import wire
from billing.gateway.http import Answer, Http, Lost
from billing.gateway.sealed import Sealed, sealed
from billing.ports import Clock, Token

log = logging.getLogger("billing.gateway")

MARGIN_SECONDS_MAX = 5.0
"""How long before its end a token is no longer used, so that a charge does not arrive with a dead one."""


@dataclass(frozen=True, slots=True)
class _Held:
    token: Token
    usable_until: float
    dead_from: float


class TokenKeeper:
    """Hands out one token to all threads; of several that need a new one, one asks and the rest wait.

    Life is counted on the monotonic clock from the answer's own `expired_at - now`, so a wrong or
    stepping wall clock changes nothing.
    """

    def __init__(self, http: Http, *, key: SecretStr, secret: SecretStr, clock: Clock) -> None:
        self._http, self._clock = http, clock
        self._key, self._secret = key, secret
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self.skew_seconds: float | None = None
        """How far the PG's clock stood before ours when it issued the last token; to the second, as it tells the time."""

    def get(self) -> Token:
        """The token in use, or the next one after the last has died (waits a few seconds at most).

        Raises:
            GatewayUnavailable: getToken brought no usable answer.
            CredentialsRefused: the PG does not know the key and secret.
        """
        with self._lock:
            held = self._held
            if held is not None:
                if self._clock.monotonic() < held.usable_until:
                    return held.token
                self._outlive(held)
            self._held = None
            self._held = held = self._fetched()
            return held.token

    def discard(self, fingerprint: str) -> None:
        """Forget this token if it is still the one in use: the PG answered 401 to it."""
        with self._lock:
            if self._held is not None and self._held.token.fingerprint == fingerprint:
                self._held = None

    def __repr__(self) -> str:
        return "TokenKeeper(…)"

    def _outlive(self, held: _Held) -> None:
        """Wait until asking again cannot prolong `held`: the last seconds of its life and one more."""
        left = held.dead_from - self._clock.monotonic()
        if left > 0:
            self._clock.sleep(left)

    def _fetched(self) -> _Held:
        if not self._key.get_secret_value() or not self._secret.get_secret_value():
            raise CredentialsRefused("BILLING_IMP_KEY and BILLING_IMP_SECRET are not set: copy both from the console")
        return sealed(self._issued, lambda bug: GatewayUnavailable(f"{self._http.host}: getToken: the engine failed ({bug})"))

    def _issued(self) -> _Held:
        """Its frames hold the secret and the token; it is called under a seal."""
        asked_at = self._clock.monotonic()
        answer = self._http.call("POST", "/users/getToken", body=self._credentials())
        answered_at = self._clock.monotonic()
        match answer:
            case Lost(why=why):
                raise GatewayUnavailable(f"{self._http.host}: getToken: {why}")
            case Answer(status=401):
                log.warning("getToken refused: HTTP 401")
                raise CredentialsRefused(
                    f"{self._http.host} does not accept BILLING_IMP_KEY with BILLING_IMP_SECRET (HTTP 401 on getToken)"
                )
        issued = wire.issued_token(answer) if answer.status == 200 else None
        if issued is None:
            raise GatewayUnavailable(f"{self._http.host}: getToken: HTTP {answer.status} without a usable token")
        value, life, told = issued
        self.skew_seconds = told - self._clock.now().timestamp()
        margin = min(MARGIN_SECONDS_MAX, life / 10)
        # The whole seconds of the answer hide a fraction, the way there and back hides more: a token
        # is counted as used up from the earliest end it can have, and as dead from the latest.
        return _Held(
            token=Token(value, self._fingerprint(value)),
            usable_until=asked_at + life - margin,
            dead_from=answered_at + life + 1.0,
        )

    def _credentials(self) -> Sealed:
        fields = {"imp_key": self._key.get_secret_value(), "imp_secret": self._secret.get_secret_value()}
        return Sealed(json.dumps(fields).encode())

    def _fingerprint(self, value: str) -> str:
        return hmac.digest(self._secret.get_secret_value().encode(), value.encode(), "sha256").hex()[:16]
