"""How much a stranger may send, how slowly, and how often. Memory stays flat whatever comes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from starlette.requests import ClientDisconnect, Request

from billing.domain.allowance import Allowance
from billing.web.client import PG_ADDRESSES, Address, neighbourhood

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
        self.status, self.problem, self.retry_after = status, problem, retry_after


class Rates:
    """How often each sender may ask, and everybody together. One per process, on one event loop."""

    def __init__(self) -> None:
        self._everybody = Allowance(_EVERYBODY_BURST, _EVERYBODY_SECONDS)
        self._senders: OrderedDict[str, Allowance] = OrderedDict()

    def admit(self, address: Address | None, at: float) -> None:
        """Count one request at monotonic second `at`.

        The PG's own addresses are not counted among everybody: a flood from elsewhere must not shut its notices out.

        Raises:
            Refused: 429, with when to come again.
        """
        sender = neighbourhood(address)
        own = self._senders.pop(sender, None) or Allowance(_SENDER_BURST, _SENDER_SECONDS)
        self._senders[sender] = own
        if len(self._senders) > _SENDERS_KEPT:
            self._senders.popitem(last=False)
        for allowance in [own] if address in PG_ADDRESSES else [own, self._everybody]:
            if not allowance.take(at):
                raise Refused(429, "too many requests", retry_after=allowance.wait(at))


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
