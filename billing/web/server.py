"""uvicorn, as a door to strangers: it hangs up on whoever begins a request and does not come to its point."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from billing.app import Billing
from billing.web.asgi import app

HEAD_SECONDS = 5.0
GRACE_SECONDS = 20
CONNECTIONS_MAX = 512


def serve(billing: Billing, listening: socket.socket) -> None:
    """Serve the routes until a signal; what is being answered is answered."""
    config = uvicorn.Config(
        app(billing),
        http=Impatient,
        log_config=None,  # into our JSON lines
        access_log=False,  # a query string may carry the webhook's secret
        proxy_headers=False,  # uvicorn would believe X-Forwarded-For before we ask who says so
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        limit_concurrency=CONNECTIONS_MAX,
        lifespan="on",
    )
    uvicorn.Server(config).run(sockets=[listening])


class Impatient(HttpToolsProtocol):
    """HTTP whose headers must be complete in five seconds, counted from the connection or from the request's first byte.

    uvicorn bounds only the pause between two requests, so connections that say nothing would be kept for ever.
    """

    _hurry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start counting."""
        super().connection_made(transport)
        self._expect_headers()

    def on_message_begin(self) -> None:
        """Count anew for each request of a connection."""
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        """From here on the route bounds the body."""
        self._stop_counting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._stop_counting()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._stop_counting()
        self._hurry = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.transport.close)

    def _stop_counting(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None
