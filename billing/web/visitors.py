"""Those who ask from a browser: how often they may, and how many of them may wait for the PG at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from billing.app import Billing
from billing.web.client import client_of
from billing.web.limits import Rates, refuse_many_headers

T = TypeVar("T")

_ASKING_MAX = 16


class Visitors:
    """One per process. Notices of the PG are counted apart: no crowd of buyers shuts them out, nor takes their threads."""

    def __init__(self) -> None:
        self._rates = Rates()
        self._asking = CapacityLimiter(_ASKING_MAX)

    def admit(self, request: Request, billing: Billing) -> None:
        """Count one request.

        Raises:
            Refused: too many of them, or too many headers.
        """
        self._rates.admit(client_of(request, billing.settings.proxies), billing.clock.monotonic())
        refuse_many_headers(request)

    async def look(self, work: Callable[[], T]) -> T:
        """Do what only our own database is asked for."""
        return await run_in_threadpool(work)

    async def ask(self, work: Callable[[], T]) -> T:
        """Do what the PG may be asked for: so many at a time, and the others wait."""
        return await to_thread.run_sync(work, limiter=self._asking)
