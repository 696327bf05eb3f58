"""A TCP proxy before PostgreSQL that cuts connections at COMMIT, so that nobody is told how a transaction ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from threading import Event, Thread

from sqlalchemy import make_url

_COMMIT = b"COMMIT\x00"
"""How a COMMIT ends on the wire. Source: PostgreSQL manual, frontend/backend protocol, message Query."""
_CHUNK_BYTES = 65536

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Cut(Enum):
    """What becomes of one COMMIT."""

    NONE = "none"  # it goes through, and so does its answer
    LOST = "COMMITs that never arrived"
    UNHEARD = "COMMITs cut right behind"  # the server may still be at it when the client learns that the line is dead
    UNANSWERED = "COMMITs whose answer was cut"


class CommitCutter:
    """Passes bytes on between a TCP port of its own and the server of `database_url`; `fate` decides at every COMMIT."""

    def __init__(self, database_url: str, fate: Callable[[], Cut]) -> None:
        self._database = make_url(database_url)
        self._fate = fate
        self._is_listening = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._clients: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}
        self.cuts: Counter[str] = Counter()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        assert self._is_listening.wait(10)

    def stop(self) -> None:
        """Cut every connection and end."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """The database as it is reached through us."""
        way = self._database.set(host="127.0.0.1", port=self._port).difference_update_query(["host", "port"])
        return way.render_as_string(hide_password=False)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port = listening.sockets[0].getsockname()[1]
        self._is_listening.set()
        await self._end.wait()
        listening.close()
        while self._clients:
            for to_client in self._clients.values():
                to_client.transport.abort()
            await asyncio.sleep(0.01)

    async def _connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._clients[asyncio.current_task()] = to_client
        with suppress(OSError):
            server, to_server = await self._server()
            answers = asyncio.create_task(_pass_on(server, to_client))
            try:
                await self._pass_on_until_cut(client, (server, to_server), answers)
            finally:
                answers.cancel()
                to_server.transport.abort()
        # Without a farewell: the client learns that the line is dead, and nothing else.
        to_client.transport.abort()
        del self._clients[asyncio.current_task()]

    async def _server(self) -> Ends:
        host, port = str(self._database.query.get("host") or self._database.host), self._database.port or 5432
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _pass_on_until_cut(self, client: asyncio.StreamReader, there: Ends, answers: asyncio.Task[None]) -> None:
        server, to_server = there
        while data := await client.read(_CHUNK_BYTES):
            fate = self._fate() if data.endswith(_COMMIT) else Cut.NONE
            if fate is not Cut.NONE:
                self.cuts[fate.value] += 1
                answers.cancel()
                with suppress(asyncio.CancelledError):
                    await answers
            if fate is Cut.LOST:
                return
            to_server.write(data)
            await to_server.drain()
            if fate is Cut.UNANSWERED:
                await server.read(_CHUNK_BYTES)
            if fate is not Cut.NONE:
                return


async def _pass_on(server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await server.read(_CHUNK_BYTES):
            to_client.write(data)
            await to_client.drain()
    to_client.transport.abort()


@contextmanager
def commit_cutter(database_url: str, fate: Callable[[], Cut]) -> Iterator[CommitCutter]:
    """A proxy that is gone when the block ends."""
    cutter = CommitCutter(database_url, fate)
    cutter.start()
    try:
        yield cutter
    finally:
        cutter.stop()
