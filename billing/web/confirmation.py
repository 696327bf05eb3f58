"""`POST /payments/confirm`: for ten seconds the PG asks whether it may approve what a buyer began. All but 200 stops it."""

from __future__ import annotations

from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from billing.app import Billing
from billing.errors import BillingError
from billing.flow.confirming import STOPPED
from billing.web.answers import ConfirmRequest, Stop, headers_of, status_of, taken
from billing.web.client import client_of
from billing.web.headers import SAFE
from billing.web.limits import Rates, Refused, refuse_many_headers, refuse_strangers


class Confirmations:
    """Takes the PG's question in, from where its notices come from.

    Source: PortOne confirm process V1 (JSON or form as the console says; `reason` is shown to the buyer).
    """

    def __init__(self) -> None:
        self._rates = Rates()

    async def confirm(self, request: Request, billing: Billing) -> JSONResponse:
        """200 to go on; whatever goes wrong here is a stop."""
        address = client_of(request, billing.settings.proxies)
        try:
            refuse_strangers(address, billing.settings.webhook_sources)
            self._rates.admit(address, billing.clock.monotonic())
            refuse_many_headers(request)
            given = await taken(request, ConfirmRequest, forms=True)
            why = await run_in_threadpool(partial(billing.checkouts.confirm, given.merchant_uid, given.amount))
        except (BillingError, Refused) as error:
            return _stop(status_of(error), STOPPED, headers_of(error))
        return JSONResponse({}, headers=SAFE) if why is None else _stop(409, why, {})


def _stop(status: int, reason: str, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(Stop(reason=reason).model_dump(), status, {**SAFE, **headers})
