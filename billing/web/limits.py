"""How much a stranger may send, how slowly, and how often. Memory stays flat whatever comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from math import ceil

from starlette.requests import ClientDisconnect, Request

from billing.domain.allowance import Allowance, Rations
from billing.settings import Network
from billing.web.client import PG_ADDRESSES, Address, is_in, neighbourhood

log = logging.getLogger("billing.web")

BODY_SECONDS = 5.0
HEADERS_MAX = 100

# The PG notifies of every charge, so one sender may do as much as we charge in a second, and more for a while.
_SENDER_BURST, _SENDER_SECONDS = 500, 10.0
_EVERYBODY_BURST, _EVERYBODY_SECONDS = 2000, 10.0
_SENDERS_KEPT = 4096


class Refused(Exception):
    """The request goes no further: an HTTP status, and words that repeat nothing of what was sent."""

    def __init__(self, status: int, problem: str, *, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.status, self.problem = status, problem
        self.headers = {} if retry_after is None else {"retry-after": str(max(1, ceil(retry_after)))}


class Rates:
    """How often each sender may ask, and everybody together. One per process, on one event loop."""

    def __init__(self) -> None:
        self._everybody = Allowance(_EVERYBODY_BURST, _EVERYBODY_SECONDS)
        self._senders = Rations(_SENDER_BURST, _SENDER_SECONDS, _SENDERS_KEPT)

    def admit(self, address: Address | None, at: float) -> None:
        """Count one request at monotonic second `at`.

        The PG's own addresses are not counted among everybody: a flood from elsewhere must not shut its notices out.

        Raises:
            Refused: 429, with when to come again.
        """
        own = self._senders.of(neighbourhood(address))
        for allowance in [own] if address in PG_ADDRESSES else [own, self._everybody]:
            spend(allowance, at)


def spend(allowance: Allowance, at: float) -> None:
    """Take one of an allowance at monotonic second `at`.

    Raises:
        Refused: 429, with when to come again.
    """
    if not allowance.take(at):
        raise Refused(429, "too many requests", retry_after=allowance.wait(at))


def refuse_strangers(address: Address | None, allowed: Sequence[Network]) -> None:
    """Let in only who asks from one of these networks; none of them let everybody in.

    Raises:
        Refused: 403.
    """
    if allowed and (address is None or not is_in(address, allowed)):
        log.warning("a request from %s was refused: not in BILLING_WEBHOOK_ALLOW", address)
        raise Refused(403, "not allowed from here")


def refuse_many_headers(request: Request) -> None:
    """Let in only a request with as many headers as anybody needs.

    Raises:
        Refused: 431.
    """
    if len(request.headers.raw) > HEADERS_MAX:
        raise Refused(431, f"more than {HEADERS_MAX} headers")


async def read_body(request: Request, *, most: int) -> bytes:
    """The body, read piece by piece and given up as soon as it is too long or too slow.

    Raises:
        Refused: 413, 408, or 400 for one that broke off.
    """
    if _announced(request) > most:
        raise Refused(413, f"the body is longer than {most} bytes")
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise Refused(413, f"the body is longer than {most} bytes")
    except TimeoutError:
        raise Refused(408, f"the body took longer than {BODY_SECONDS:.0f} seconds") from None
    except ClientDisconnect:
        raise Refused(400, "the body broke off") from None
    return body


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
