"""Turns: what only one process does at a time, with no transaction open meanwhile.

A turn ends with its holder, however that ends: nothing has to expire before the next one may go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

from sqlalchemy import Connection, Engine, text

from billing.store.engine import READ_ONLY, translated

_TAKE = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_GIVE = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


class Turns:
    """The turns of one holder, taken by name and given back by name, or all at once by `close`.

    On PostgreSQL each is an advisory lock of a session of their own, so a pooler in between must keep sessions
    (PgBouncer: pool_mode=session). SQLite, which has one writer anyway, knows a single turn for all names: a locked
    file beside the database.
    """

    def __init__(self, engine: Engine, in_memory: Lock) -> None:
        self._engine = engine
        self._in_memory = in_memory
        self._open = ExitStack()
        self._session: Connection | None = None
        self._has_file: bool | None = None

    def take(self, name: str) -> bool:
        """True when it is our turn; False, at once, while it is another's."""
        if self._engine.dialect.name == "sqlite":
            if self._has_file is None:
                self._has_file = self._took_file()
            return self._has_file
        with translated(self._engine):
            if self._session is None:
                connection = self._open.enter_context(self._engine.connect().execution_options(isolation_level="AUTOCOMMIT"))
                # Out of the pool: closing it ends the session, and with it every turn, whatever happened.
                connection.detach()
                self._session = connection
            return bool(self._session.execute(_TAKE, {"name": name}).scalar_one())

    def give(self, name: str) -> None:
        """Let the next one have it."""
        if self._session is not None:
            with translated(self._engine):
                self._session.execute(_GIVE, {"name": name})

    def close(self) -> None:
        """Give everything back."""
        self._open.close()

    def _took_file(self) -> bool:
        import fcntl  # not everywhere; only who delivers from an SQLite file needs it

        with translated(self._engine), self._engine.connect().execution_options(**{READ_ONLY: True}) as connection:
            path = connection.exec_driver_sql("SELECT file FROM pragma_database_list WHERE name = 'main'").scalar()
        if not path:
            if not self._in_memory.acquire(blocking=False):
                return False
            self._open.callback(self._in_memory.release)
            return True
        # Never the database itself: closing a second handle on it would drop SQLite's own locks.
        handle = os.open(f"{path}-turn", os.O_RDWR | os.O_CREAT, 0o600)
        self._open.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def turns(engine: Engine, in_memory: Lock) -> Iterator[Turns]:
    """Turns that end with the block."""
    holder = Turns(engine, in_memory)
    try:
        yield holder
    finally:
        holder.close()
