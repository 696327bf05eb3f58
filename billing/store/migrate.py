"""Bring a database to a version of the schema, and say where it stands; no alembic.ini is needed.

Alembic runs under our own version table and looks at our own tables alone, because the engine
often lives in the host's database beside the host's own migrations. Several processes may start
at once and all migrate: one does the work, the others wait and find nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, MetaData

from billing import fault
from billing.errors import DatabaseUnavailable, RuleError
from billing.store.engine import READ_ONLY, translated
from billing.store.guards import assert_guarded
from billing.store.tables import Instant, metadata

VERSION_TABLE = "billing_alembic_version"
PREFIX = "billing_"

_LOCK = 0x6775646F6B  # "gudok": one number per thing that is locked in the whole database


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to `revision`; safe to repeat and to run in many processes at once.

    Raises:
        GuardMissing: the newest version was reached, yet the database does not refuse what it must.
        RuleError: there is no such revision, or the database is newer than this program.
        DatabaseUnavailable: it cannot be reached.
    """
    with translated(engine), _known(), engine.connect() as connection, _alone(connection):
        fault.point("M1")
        command.upgrade(_config(connection), revision)
        fault.point("M3")
        if _revision(connection) == head():
            assert_guarded(connection)
        fault.point("M4")


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to `revision`.

    Raises:
        RuleError: rows about money would be lost, or there is no such revision.
    """
    with translated(engine), _known(), engine.connect() as connection, _alone(connection):
        command.downgrade(_config(connection), revision)


def current(engine: Engine) -> str | None:
    """The version the database is at, or None before the first."""
    with translated(engine), engine.connect().execution_options(**{READ_ONLY: True}) as connection:
        return _revision(connection)


def head() -> str:
    """The newest version this program knows."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise DatabaseUnavailable("this installation carries no migrations")
    return newest


def check(engine: Engine) -> list[str]:
    """How the database differs from the model, in words; empty when it does not.

    CHECKs and triggers are not compared here but by `billing.store.guards`.
    """
    with translated(engine), engine.connect().execution_options(**{READ_ONLY: True}) as connection:
        context = MigrationContext.configure(connection, opts=options())
        return [line for difference in compare_metadata(context, metadata) for line in _words(difference)]


def options() -> dict[str, Any]:
    """What Alembic is told, here and in `migrations/env.py`."""
    return {
        "target_metadata": metadata,
        "version_table": VERSION_TABLE,
        "include_name": _is_ours,
        "compare_type": True,
        "compare_server_default": _default_differs,
        "render_item": _rendered,
        "render_as_batch": True,
        # Our SQLite transactions are real ones (`BEGIN IMMEDIATE`), so a migration that fails leaves nothing behind.
        "transactional_ddl": True,
        # Called when a revision has done its work and before anything of it is committed.
        "on_version_apply": lambda **_: fault.point("M2"),
    }


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether Alembic may look at it: a stranger's table must never appear as one to drop."""
    return kind != "table" or (name is not None and name.startswith(PREFIX) and name != VERSION_TABLE)


def _default_differs(context: MigrationContext, *_: object) -> bool | None:
    """PostgreSQL is asked whether two defaults are the same (None); SQLite keeps text, which says nothing."""
    return False if context.dialect.name == "sqlite" else None


def _rendered(kind: str, item: object, _context: object) -> str | bool:
    """Write an `Instant` as plain types, so that a migration does not change when our class does."""
    if kind == "type" and isinstance(item, Instant):
        return 'sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")'
    return False


def scripts() -> Path:
    """The folder of the migrations: inside an installed wheel, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    packed = package / "_migrations"
    return packed if packed.is_dir() else package.parent / "migrations"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


@contextmanager
def _known() -> Iterator[None]:
    """Say in our words that a revision is none of ours."""
    try:
        yield
    except CommandError as error:
        raise RuleError("revision", str(error), "a newer version of this program knows it, or it is misspelt") from None


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold off every other migration of this database for the length of the block.

    On PostgreSQL under a lock of the session, which outlives the transactions inside (an index is
    built concurrently only outside of one); on SQLite in one transaction that holds the write lock.
    """
    if connection.dialect.name == "sqlite":
        with connection.begin():
            yield
        return
    # Waiting for another migration is not a lock wait to give up on; one behind the traffic is.
    connection.exec_driver_sql("SET lock_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
    connection.exec_driver_sql("SET lock_timeout = '5s'")
    connection.commit()
    try:
        yield
        connection.commit()
    finally:
        if not connection.invalidated:
            connection.rollback()
            # Taken out of the pool, the session ends with this block and frees the lock whatever happened.
            connection.detach()


def _words(difference: Any) -> Iterator[str]:
    """One sentence per difference; Alembic groups changes of one column in a list."""
    if isinstance(difference, list):
        for each in difference:
            yield from _words(each)
        return
    what = str(difference[0]).replace("_", " ")
    if what.startswith("modify"):
        _, _, table, column, _, *values = difference
        before, after = (str(getattr(value, "arg", value)) or "''" for value in values)
        yield f"{what}: {table}.{column} is {before} in the database and {after} in the model"
        return
    thing = difference[-1]
    table = getattr(thing, "table", None)
    where = f"{table.name}." if table is not None and not isinstance(thing, MetaData) else ""
    yield f"{what}: {where}{getattr(thing, 'name', thing)}"
