"""The sandbox behind a socket: an ASGI application, and uvicorn to serve it."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from billing.sandbox.server import Sandbox
from billing.sandbox.wire import Answer, ConnectionLost, ConnectionRefused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_THREADS = 128
_BODY_MAX = 1_000_000


def asgi(sandbox: Sandbox) -> App:
    """Return the ASGI application of a sandbox.

    Each request is handled in a thread, of which there are many: a slow approval sleeps in
    its own. Where the server says so (lifespan), notices are delivered in the background.
    """
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sandbox")

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(sandbox, receive, send)
        elif scope["type"] == "http":
            body = await _read(receive)
            raw = scope.get("raw_path") or scope["path"].encode()
            path = raw.decode("latin-1").removeprefix(scope.get("root_path", ""))  # mounted below a prefix, it is not our path
            target = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            loop = asyncio.get_running_loop()
            try:
                answer = await loop.run_in_executor(threads, sandbox.handle, scope["method"], target, headers, body)
            except (ConnectionLost, ConnectionRefused):
                await _hang_up(receive, send)
            else:
                await _respond(send, answer)

    return app


async def _live(sandbox: Sandbox, receive: Receive, send: Send) -> None:
    await receive()
    courier = sandbox.carry_webhooks()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(courier.stop)
    await send({"type": "lifespan.shutdown.complete"})


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body") or len(body) > _BODY_MAX:
            return body[:_BODY_MAX]


async def _respond(send: Send, answer: Answer) -> None:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": answer.body})


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without a byte of answer.

    ASGI has no word for it. uvicorn's `send` belongs to the object that holds the
    transport; behind any other server (or a middleware) the answer breaks off after
    its head instead, which a client cannot read either.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]}
        await send(start)
        raise ConnectionLost("the sandbox hangs up")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def serve(sandbox: Sandbox, port: int, host: str = "127.0.0.1") -> None:
    """Serve the sandbox until interrupted."""
    import uvicorn  # here, because it takes longer to import than a command line has

    uvicorn.run(asgi(sandbox), host=host, port=port, log_level="warning")
