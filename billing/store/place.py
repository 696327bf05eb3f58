"""Where a database stands: what changes when its rows are copied, and stays when the machine restarts."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Connection, text


class Place(NamedTuple):
    """Where a database stands.

    Args:
        fingerprint: a hash, empty for a database in memory.
        timeline: PostgreSQL's, which grows when a replica is promoted or a point in time restored; 0 where unknown.
        basis: what the fingerprint is made of, in words.
    """

    fingerprint: str
    timeline: int
    basis: str


def place_of(connection: Connection) -> Place:
    """The place of the connected database, as it is now."""
    return _on_postgresql(connection) if connection.dialect.name == "postgresql" else _on_sqlite(connection)


_FUNCTIONS = ("pg_control_system()", "pg_control_checkpoint()", "pg_control_recovery()")
_MAY_ASK = " AND ".join(f"coalesce(has_function_privilege(to_regprocedure('{one}'), 'EXECUTE'), false)" for one in _FUNCTIONS)
_ROUGHLY = text(f"SELECT oid, {_MAY_ASK} FROM pg_database WHERE datname = current_database()")  # noqa: S608  (text is ours)
# Right after a promotion the last checkpoint is still of the old timeline; where recovery ended is known at once.
_EXACTLY = text(
    "SELECT s.system_identifier, greatest(c.timeline_id, r.min_recovery_end_timeline)"
    " FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r"
)


def _on_postgresql(connection: Connection) -> Place:
    """The server's identifier and the database's oid: a dump that is restored elsewhere changes one of them.

    Source: PostgreSQL manual, System Information Functions, "Control Data Functions" (everybody may call them,
    unless an administrator took that away).
    """
    oid, may_ask = connection.execute(_ROUGHLY).one()
    if not may_ask:
        basis = "the oid alone: this server keeps its identifier to itself, so a copy on another server is not told apart"
        return Place(_hashed("postgresql", oid), 0, basis)
    system, timeline = connection.execute(_EXACTLY).one()
    return Place(_hashed("postgresql", system, oid), timeline, "the server's identifier and the database's oid")


def _on_sqlite(connection: Connection) -> Place:
    """The file's inode and its file system's id: a copied file has another inode.

    The device number (`st_dev`) would not do: it may change when the machine starts again.
    """
    path = connection.exec_driver_sql("SELECT file FROM pragma_database_list WHERE name = 'main'").scalar()
    if not path:
        return Place("", 0, "nothing: it is in memory")
    system = os.statvfs(path).f_fsid if hasattr(os, "statvfs") else ""
    return Place(_hashed("sqlite", system, os.stat(path).st_ino), 0, "the file's inode and its file system's id")


def _hashed(*parts: object) -> str:
    return sha256("|".join(("gudok", *map(str, parts))).encode()).hexdigest()
