"""The sandbox behind a real socket on this machine, for the time of one test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from billing.sandbox import Sandbox, asgi


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """Serve `sandbox` on a free loopback port; yields the base URL without a trailing slash."""
    with served_app(asgi(sandbox)) as url:
        yield url


@contextmanager
def served_app(app: Any) -> Iterator[str]:
    """Serve an ASGI application, as `served` does."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline, "the sandbox did not start"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
