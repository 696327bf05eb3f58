"""The one place where an engine is built, so that every process talks to the database in the same way.

PostgreSQL runs READ COMMITTED: row locks and unique indexes carry the exactness, and a server
whose default is stricter would only add aborts. SQLite takes its write lock when a transaction
begins (`BEGIN IMMEDIATE`): with the driver's own, deferred transactions two writers read the same
row and one update is lost without an error.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from billing.errors import DatabaseUnavailable, SettingsError

SETTING = "BILLING_DATABASE_URL"
READ_ONLY = "billing_read_only"
"""Execution option of a connection whose transaction only reads: on SQLite it takes no write lock."""

BUSY_SECONDS = 20
CONNECT_SECONDS = 5
LOCK_SECONDS = 20
IDLE_SECONDS = 60

_POSTGRES_NAMES = ("postgresql", "postgres", "postgresql+psycopg")
_SQLITE_NAMES = ("sqlite", "sqlite+pysqlite")

_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


def create_engine_for(url: str, *, pool_size: int = 5) -> Engine:
    """Return an engine for `postgresql://…` or `sqlite://…`; nothing is connected yet.

    Values never reach an error message or a log (`hide_parameters`): they are customers' data.

    Raises:
        SettingsError: the URL cannot be used, or the PostgreSQL driver is not installed.
    """
    parsed = _parsed(url)
    del url  # a traceback that captures locals shows this frame
    if isinstance(parsed, SettingsError):
        raise parsed
    try:
        return _postgres(parsed, pool_size) if parsed.drivername in _POSTGRES_NAMES else _sqlite(parsed, pool_size)
    except ImportError:
        raise SettingsError(SETTING, "the PostgreSQL driver is not installed", "pip install gudok[postgres]") from None


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Turn what only time or an operator can cure into `DatabaseUnavailable`: one line, no password.

    Refusals of the database (`IntegrityError`) pass through: they are answers, not outages.
    """
    try:
        yield
    except PoolTimeout:
        raise DatabaseUnavailable(f"{_place(engine)}: every connection of the pool is in use") from None
    except DBAPIError as error:
        problem = _problem(error)
        if problem is None:
            raise
        # The driver's frames hold the password, and the new error still remembers the old one.
        for one in (error, error.orig):
            if one is not None:
                one.__cause__ = one.__context__ = None
                one.with_traceback(None)
        raise DatabaseUnavailable(f"{_place(engine)}: {_without_password(problem, engine.url)}") from None


def _parsed(url: str) -> URL | SettingsError:
    """Returns a problem instead of raising it: this frame holds the password."""
    cure = "write sqlite:///billing.db or postgresql://user:password@host/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return SettingsError(SETTING, "is not a database URL", cure)
    if parsed.drivername not in _POSTGRES_NAMES + _SQLITE_NAMES:
        return SettingsError(SETTING, f"{parsed.drivername} is not a database this engine runs on", cure)
    if "password" in parsed.query:
        # There its repr hides it.
        parsed = parsed.set(password=str(parsed.query["password"])).difference_update_query(["password"])
    return parsed


def _postgres(url: URL, pool_size: int) -> Engine:
    arguments: dict[str, Any] = {}
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = CONNECT_SECONDS
    if "application_name" not in url.query:
        arguments["application_name"] = "billing"
    if "options" not in url.query:
        # A step that waits longer for a lock is better given up and repeated, and a process stopped in
        # the middle of a transaction must not keep its locks for ever. Sent with the connection, so it
        # costs no statement; an empty `options=` in the URL leaves it out for poolers that refuse it.
        limits = f"-c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout={IDLE_SECONDS}s"
        arguments["options"] = f"{limits} -c timezone=UTC"
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args=arguments,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=BUSY_SECONDS,
        # No ping before use: it would cost a round trip per transaction. A connection found dead ends
        # its step as `DatabaseUnavailable`, empties the pool, and the step is repeated under the same keys.
        pool_pre_ping=False,
        pool_recycle=1800,
        use_native_hstore=False,
    )


def _sqlite(url: URL, pool_size: int) -> Engine:
    in_memory = url.database in (None, "", ":memory:") or ":memory:" in url.database or url.query.get("mode") == "memory"
    engine = create_engine(
        url,
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS, "check_same_thread": False},
        hide_parameters=True,
        poolclass=QueuePool,
        # A database in memory is its connection: there is one, it is never closed, and threads queue for it.
        pool_size=1 if in_memory else pool_size,
        max_overflow=0 if in_memory else pool_size,
        pool_timeout=BUSY_SECONDS,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        # Without it INSERT OR REPLACE deletes a row and no trigger sees it.
        connection.execute("PRAGMA recursive_triggers = ON")
        if not in_memory:
            _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL, whoever else is just opening it.

    The switch does not wait for other connections as statements do, so after a refusal we queue
    for the write lock, which does, and try again.
    """
    for _ in range(10):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
        else:
            return
    connection.execute("PRAGMA journal_mode = WAL")


def _place(engine: Engine) -> str:
    url = engine.url
    if engine.dialect.name == "sqlite":
        return f"SQLite database {url.database or 'in memory'}"
    host = url.host or url.query.get("host") or "the local socket"
    return f"PostgreSQL database {url.database or ''} at {host}" + (f":{url.port}" if url.port else "")


def _problem(error: DBAPIError) -> str | None:
    """What is wrong in one line, or None when neither time nor an operator cures it."""
    cause = error.orig
    said = " ".join(str(cause).split())[:300]
    if "no such table: billing_" in said or getattr(cause, "sqlstate", None) == "42P01":
        return "it is not migrated; run `billing init`"
    if isinstance(cause, sqlite3.Error):
        # The extended code carries the primary one in its lowest byte.
        code = getattr(cause, "sqlite_errorcode", None)
        return said if code is not None and code & 0xFF in _SQLITE_UNAVAILABLE else None
    return said if isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated else None


def _without_password(text: str, url: URL) -> str:
    return text.replace(str(url.password), "***") if url.password else text
