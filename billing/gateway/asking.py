"""Authorised questions to the PG: the token, the one repeat after a 401, and trouble in plain words.

Questions may be asked twice, orders never are. Charges do not pass here at all.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from billing.errors import CredentialsRefused, GatewayUnavailable
from billing.gateway import wire
from billing.gateway.http import Answer, Http, Lost
from billing.gateway.token import TokenKeeper

log = logging.getLogger("billing.gateway")

# Whole phrases: "…사용정보를 찾을 수 없습니다" is a missing contract, not a missing payment.
_ABSENT = ("로등록된정보를찾을수없", "등록되지않은구매자", "존재하지않는결제정보", "결제정보가존재하지않")


class Asking:
    """Puts questions with the current token."""

    def __init__(self, http: Http, tokens: TokenKeeper) -> None:
        self._http, self._tokens = http, tokens

    def get(self, target: str, about: str, *, absent: Collection[int] = (404,)) -> wire.Envelope | None:
        """The envelope of a look-up, None for the PG's own "not found", which it says with a status of `absent`.

        A 401 is answered with one fresh token and one repeat: a look-up may be asked twice.
        `about` names the question in logs and errors, `"find gd7x…"`; never the URL.

        Raises:
            GatewayUnavailable: anything but 200, 207 and an absence the PG itself tells of. A 404 in HTML
                is some proxy's and says nothing about the payment.
            CredentialsRefused: even a fresh token got 401.

        Source: PortOne REST V1, look-ups answer 200, 207 (bulk, some found), 401, 404.
        """
        answer = self._asked(target, about)
        if answer.status not in (200, 207, *absent):
            raise self.unavailable(about, f"HTTP {answer.status}{said(answer)}")
        frame = self.frame(answer, about)
        if answer.status in absent or (frame.code != 0 and frame.response is None and is_absence(frame.message)):
            return None
        if frame.code != 0:
            raise self.unavailable(about, f"code {frame.code}: {frame.message[:200]}")
        return frame

    def order(self, method: str, target: str, about: str, *, body: bytes | None = None) -> Answer:
        """The answer to something the PG shall do. Sent once, also after a 401: the caller looks, then orders anew.

        Raises:
            GatewayUnavailable: no answer, or 3xx, 429, 5xx: whether it was done is not known. Or 401: it was not.
        """
        token = self._tokens.get()
        answer = self._http.call(method, target, token=token, body=body)
        if isinstance(answer, Lost):
            raise self.unavailable(about, f"{answer.why}; whether it was done is not known")
        if answer.status == 401:
            self._tokens.discard(token.fingerprint)
            raise self.unavailable(about, "the access token was refused, so nothing was done; try again")
        if answer.status != 200 and (answer.status < 400 or answer.status == 429 or answer.status >= 500):
            raise self.unavailable(about, f"HTTP {answer.status}; whether it was done is not known")
        return answer

    def frame(self, answer: Answer, about: str) -> wire.Envelope:
        """The envelope of an answer; raise `GatewayUnavailable` without one."""
        try:
            frame = wire.envelope(answer.body)
        except wire.Unreadable as problem:
            why = f"HTTP {answer.status}: {problem}"
        else:
            if frame.code != 0 or answer.status in (200, 207):
                return frame
            why = f"HTTP {answer.status} with code 0 contradicts itself"
        raise self.unavailable(about, why)

    def unavailable(self, about: str, why: str) -> GatewayUnavailable:
        """One line for logs and callers: host, question, what failed."""
        log.warning("%s failed: %s", about, why)
        return GatewayUnavailable(f"{self._http.host}: {about}: {why}")

    def _asked(self, target: str, about: str) -> Answer:
        for _ in range(2):
            token = self._tokens.get()
            answer = self._http.call("GET", target, token=token)
            if isinstance(answer, Lost):
                raise self.unavailable(about, answer.why)
            if answer.status != 401:
                return answer
            self._tokens.discard(token.fingerprint)
        log.warning("%s refused: HTTP 401 with a fresh token", about)
        raise CredentialsRefused(
            f"{self._http.host} refuses even a fresh token (HTTP 401 on {about}): "
            "check BILLING_IMP_KEY, BILLING_IMP_SECRET and the list of allowed servers in the console"
        )


def is_absence(message: str) -> bool:
    """True for the texts that say a record is not known; live servers answered them with HTTP 200 too.

    Source: answers of the live API as public client test suites assert them (unknown customer_uid: code 1).
    """
    plain = message.replace(" ", "")
    return any(text in plain for text in _ABSENT)


def said(answer: Answer) -> str:
    """The PG's own words in a refusing answer, for the error line; nothing where there are none."""
    try:
        message = wire.envelope(answer.body).message
    except wire.Unreadable:
        return ""
    return f": {message[:200]}" if message else ""
