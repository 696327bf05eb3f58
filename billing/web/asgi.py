"""The router and the app: whose engine they speak to, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Lock

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from billing.app import Billing
from billing.web import health
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
        GET  /health, GET /ready        is it alive; would it store a notice

    Args:
        billing: the host's own engine, which the host closes. Without one `BILLING_*` describes it.

    Where a server in front of this app rewrites the peer's address from `X-Forwarded-For` (uvicorn does so for
    127.0.0.1 unless told `--no-proxy-headers`), that server decides who asked, and BILLING_TRUSTED_PROXIES nothing.
    """
    engine, webhook = _Engine(billing), Webhook()

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        engine()
        try:
            yield
        finally:
            engine.close()

    routes = APIRouter(lifespan=lifespan, tags=["billing"])

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

    return routes


def app(billing: Billing | None = None) -> FastAPI:
    """The routes as an app of their own; see `router`."""
    made = FastAPI(title="billing", openapi_url=None)
    made.include_router(router(billing))
    return made
