"""The router and the app: whose engine they speak to, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Lock
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from billing.app import Billing
from billing.release import installed_version
from billing.web import health
from billing.web.answers import (
    CompleteAnswer,
    CompleteRequest,
    ConfirmAnswer,
    ConfirmRequest,
    OpenAnswer,
    OpenRequest,
    Refusal,
    Stop,
    body_of,
)
from billing.web.checkout import CheckoutPage
from billing.web.completion import Completions
from billing.web.confirmation import Confirmations
from billing.web.practice import Practice
from billing.web.rendering import static_answer
from billing.web.visitors import Visitors
from billing.web.webhook import Webhook


class _Engine:
    """The host's engine, or one made from the environment when the app starts, and closed with it."""

    def __init__(self, given: Billing | None) -> None:
        self._given = given
        self._made: Billing | None = None
        self._lock = Lock()

    def __call__(self) -> Billing:
        if self._given is not None:
            return self._given
        with self._lock:
            self._made = self._made or Billing.from_env()
            return self._made

    def close(self) -> None:
        """Close what was made here."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()


def router(billing: Billing | None = None) -> APIRouter:
    """The engine's routes, for `FastAPI.include_router` or for `app`.

        POST /webhooks/iamport          the address to give the PG; with BILLING_WEBHOOK_SECRET set, followed by
                                        `/SECRET` or `?token=SECRET`
        GET  /checkout/{token}          the page behind a link of `billing.checkouts`: register a card, pay an invoice
        POST /checkout/{token}/open     what that page opens the PG's window with
        POST /payments/complete         how a window ended, for the callback of a page, ours or the host's own
        GET  /payments/complete/mobile  the same, where a phone's browser comes back to
        POST /payments/confirm          the PG's confirm process: may this be approved
        GET  /health, GET /ready        is it alive; would it store a notice
        /sandbox/…                      the browser half of the sandbox in this process; not there in test and live mode

    BILLING_PUBLIC_URL says where they are mounted, as browsers and the PG see it.

    Args:
        billing: the host's own engine, which the host closes. Without one `BILLING_*` describes it.

    Nothing depends on a lifespan, which neither a mounted app nor a WSGI bridge gets: an engine is made when it is first
    asked for. Such a host passes its own, and closes it when it ends.

    Where a server in front of this app rewrites the peer's address from `X-Forwarded-For` (uvicorn does so for
    127.0.0.1 unless told `--no-proxy-headers`), that server decides who asked, and BILLING_TRUSTED_PROXIES nothing.
    """
    engine, practice = _Engine(billing), Practice()

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        engine()
        try:
            yield
        finally:
            await run_in_threadpool(practice.close)
            engine.close()

    routes = APIRouter(lifespan=lifespan, tags=["billing"])
    _add_notices(routes, engine)
    _add_checkouts(routes, engine)
    _add_practice(routes, engine, practice)
    return routes


def app(billing: Billing | None = None) -> FastAPI:
    """The routes as an app of their own; see `router`. /openapi.json describes those that speak JSON."""
    made = FastAPI(title="gudok", version=installed_version(), docs_url=None, redoc_url=None, redirect_slashes=False)
    made.include_router(router(billing))
    return made


def _add_notices(routes: APIRouter, engine: _Engine) -> None:
    webhook = Webhook()

    @routes.post("/webhooks/iamport", include_in_schema=False)
    @routes.post("/webhooks/iamport/{token}", include_in_schema=False)
    async def iamport(request: Request, token: str | None = None) -> JSONResponse:
        return await webhook.receive(request, engine(), token)

    @routes.get("/health", include_in_schema=False)
    async def alive() -> JSONResponse:
        return health.alive()

    @routes.get("/ready", include_in_schema=False)
    async def ready() -> JSONResponse:
        return await health.ready(engine())


def _add_checkouts(routes: APIRouter, engine: _Engine) -> None:
    visitors, confirmations = Visitors(), Confirmations()
    checkout, completions = CheckoutPage(visitors), Completions(visitors)

    @routes.api_route("/checkout/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def static(name: str) -> Response:
        return static_answer(name)

    @routes.api_route("/checkout/{token}", methods=["GET", "HEAD"], include_in_schema=False)
    async def show(request: Request, token: str) -> Response:
        return await checkout.show(request, engine(), token)

    @routes.post(
        "/checkout/{token}/open",
        response_model=OpenAnswer,
        responses=_refusals(404, 409, 410),
        openapi_extra=body_of(OpenRequest),
    )
    async def open_window(request: Request, token: str) -> Response:
        """What to open the PG's window with, or how that ended already."""
        return await checkout.open(request, engine(), token)

    @routes.post(
        "/payments/complete",
        response_model=CompleteAnswer,
        responses=_refusals(409),
        openapi_extra=body_of(CompleteRequest),
    )
    async def complete(request: Request) -> Response:
        """How a window ended, by the PG's own record."""
        return await completions.complete(request, engine())

    @routes.get("/payments/complete/mobile", include_in_schema=False)
    async def mobile(request: Request) -> Response:
        return await completions.mobile(request, engine())

    @routes.post(
        "/payments/confirm",
        response_model=ConfirmAnswer,
        responses={status: {"model": Stop} for status in (*_SHAPES, 403, 409)},
        openapi_extra=body_of(ConfirmRequest, forms=True),
    )
    async def confirm(request: Request) -> Response:
        """Whether the PG may approve this payment: only 200 says yes."""
        return await confirmations.confirm(request, engine())


def _add_practice(routes: APIRouter, engine: _Engine, practice: Practice) -> None:
    @routes.api_route("/sandbox/{path:path}", methods=_EVERY_METHOD, include_in_schema=False)
    async def sandbox(path: str) -> Response:
        return practice.answer(engine(), path)


_EVERY_METHOD = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
_SHAPES = (400, 408, 413, 415, 422, 429, 431, 503)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal} for status in (*_SHAPES, *statuses)}
