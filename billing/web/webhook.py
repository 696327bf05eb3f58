"""`POST /webhooks/iamport`: a notice is checked for its shape, stored, and answered. Nobody learns whether it meant anything."""

from __future__ import annotations

import hmac
import logging
from hashlib import sha256

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from billing.app import Billing
from billing.domain.notice import BODY_BYTES_MAX, media_type
from billing.errors import RuleError, Unavailable
from billing.settings import Settings
from billing.web.client import Address, client_of
from billing.web.limits import Rates, Refused, read_body, refuse_many_headers, refuse_strangers

log = logging.getLogger("billing.web")


class Webhook:
    """Takes the PG's notices in.

    A refusal is final for the PG (it repeats only after a 5xx, and only where support turned that on), so only what
    can never become a notice is refused: anything else is stored, and its worth is found out later.
    Source: PortOne webhook guide V1.
    """

    def __init__(self) -> None:
        self._rates = Rates()

    async def receive(self, request: Request, billing: Billing, token: str | None) -> JSONResponse:
        """The same 200 for every notice, known or not."""
        settings = billing.settings
        address = client_of(request, settings.proxies)
        try:
            self._admit(request, settings, address, token, at=billing.clock.monotonic())
            body = await read_body(request, most=BODY_BYTES_MAX)
            await run_in_threadpool(
                billing.receive_webhook,
                body,
                content_type=request.headers["content-type"],
                source_ip="" if address is None else str(address),
            )
        except Refused as refusal:
            return _refusal(refusal)
        except RuleError as error:
            return _refusal(Refused(400, str(error)))
        except Unavailable as error:
            log.warning("a notice could not be stored: %s", error)
            return _refusal(Refused(503, "try again later", retry_after=5))
        return JSONResponse({"status": "ok"})

    def _admit(self, request: Request, settings: Settings, address: Address | None, token: str | None, *, at: float) -> None:
        """Everything that can be said before the body is read."""
        refuse_strangers(address, settings.webhook_sources)
        secret = settings.webhook_secret.get_secret_value()
        if secret and not _is_same(secret, token or request.query_params.get("token", "")):
            log.warning("a notice from %s was refused: it does not carry BILLING_WEBHOOK_SECRET", address)
            raise Refused(403, "not allowed from here")
        self._rates.admit(address, at)
        refuse_many_headers(request)
        try:
            media_type(request.headers.get("content-type"))
        except RuleError as error:
            raise Refused(415, str(error)) from None


def _is_same(secret: str, given: str) -> bool:
    """Compared in the same time whatever was given: digests have one length."""
    return hmac.compare_digest(sha256(secret.encode()).digest(), sha256(given.encode("utf-8", "replace")).digest())


def _refusal(refusal: Refused) -> JSONResponse:
    return JSONResponse({"error": refusal.problem}, refusal.status, {"connection": "close", **refusal.headers})
