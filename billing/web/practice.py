"""`/sandbox/...`: the browser half of the sandbox inside this process, so that one command is a whole shop to try out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from billing.app import Billing

if TYPE_CHECKING:
    from billing.sandbox.serving import App
    from billing.sandbox.webhooks import CourierThread


class Practice:
    """Hands requests to the sandbox, and carries its notices to wherever they belong. In sandbox mode alone."""

    def __init__(self) -> None:
        self._app: App | None = None
        self._courier: CourierThread | None = None

    def answer(self, billing: Billing, path: str) -> Response:
        """What the sandbox answers; 404 where the PG asked is another one, above all a real one."""
        sandbox = billing.own_sandbox
        if sandbox is None:
            return Response(status_code=404)
        if self._app is None:
            from billing.sandbox.serving import asgi

            self._app = asgi(sandbox)
            self._courier = sandbox.carry_webhooks()
        return _Handed(self._app, path)

    def close(self) -> None:
        """Stop carrying notices; a host that tells nobody when it stops leaves that to the engine's own end."""
        courier, self._courier, self._app = self._courier, None, None
        if courier is not None:
            courier.stop()


class _Handed(Response):
    """An answer that another application gives, to whom the path is one of its own."""

    def __init__(self, app: App, path: str) -> None:
        super().__init__()
        self._app = app
        self._path = f"/{path}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "path": self._path, "raw_path": quote(self._path).encode(), "root_path": ""}, receive, send)
