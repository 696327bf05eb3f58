"""What must stand between a bug and a customer's money, compared with what the database really has.

An index that was built concurrently and failed, a trigger somebody disabled for a bulk load, a
CHECK lost when SQLite copied a table: nothing fails when a guard goes, until the day it is needed.
So every process compares all of them with the catalogue when it starts and charges nothing when
one is missing. A guard in the model is one in the database only in the same words: definitions are
compared, not just names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from sqlalchemy import CheckConstraint, Connection, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex

from billing.errors import GuardMissing
from billing.store.tables import metadata
from billing.store.triggers import POSTGRES_FUNCTIONS, triggers


@dataclass(frozen=True, slots=True)
class Guard:
    """One thing the database refuses with: its kind, its names, and its definition in comparable form."""

    kind: str
    table: str
    name: str
    definition: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" on {self.table}" if self.table else "")


INDEX, UNIQUE, PRIMARY, CHECK = "unique index", "unique constraint", "primary key", "CHECK"
TRIGGER, FUNCTION = "trigger", "trigger function"


@cache
def guards(dialect: str) -> tuple[Guard, ...]:
    """Every guard a database of this dialect must have, in the order of the tables."""
    form = _plain if dialect == "postgresql" else _as_written
    index_dialect = postgresql.dialect() if dialect == "postgresql" else sqlite.dialect()  # type: ignore[no-untyped-call]
    found = [
        Guard(kind, table.name, name, form(definition))
        for table in metadata.sorted_tables
        for kind, name, definition in _constraints(table)
    ]
    found += [
        Guard(INDEX, table.name, str(index.name), form(str(CreateIndex(index).compile(dialect=index_dialect))))
        for table in metadata.sorted_tables
        for index in sorted(table.indexes, key=lambda index: str(index.name))
        if index.unique
    ]
    found += [Guard(TRIGGER, trigger.table, trigger.name, form(trigger.sql)) for trigger in triggers(dialect)]
    if dialect == "postgresql":
        found += [Guard(FUNCTION, "", name, " ".join(body.split())) for name, body in POSTGRES_FUNCTIONS.items()]
    return tuple(found)


def missing_guards(conn: Connection) -> list[str]:
    """What the database no longer refuses, each in words; empty when all guards stand."""
    if conn.dialect.name == "postgresql":
        return _missing_on_postgresql(conn)
    return _missing_on_sqlite(conn)


def assert_guarded(conn: Connection) -> None:
    """Raise `GuardMissing` with every guard that is not there as it should be."""
    missing = missing_guards(conn)
    if missing:
        raise GuardMissing(f"the database is not guarded: {'; '.join(missing)}; run `billing db upgrade` or restore them by hand")


def _constraints(table: Table) -> Iterator[tuple[str, str, str]]:
    """Kind, name and definition of what a table's CREATE statement says about rows."""
    for constraint in sorted(table.constraints, key=lambda constraint: str(constraint.name)):
        if isinstance(constraint, CheckConstraint):
            yield CHECK, _name_of(constraint), f"CHECK ({constraint.sqltext})"
        elif isinstance(constraint, (PrimaryKeyConstraint, UniqueConstraint)):
            columns = ", ".join(column.name for column in constraint.columns)
            if isinstance(constraint, PrimaryKeyConstraint):
                yield PRIMARY, _name_of(constraint), f"PRIMARY KEY ({columns})"
            else:
                yield UNIQUE, _name_of(constraint), f"UNIQUE ({columns})"


def _name_of(constraint: CheckConstraint | PrimaryKeyConstraint | UniqueConstraint) -> str:
    """The name as the metadata's convention makes it."""
    preparer = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
    return str(preparer.format_constraint(constraint)).strip('"')


# --- PostgreSQL ---------------------------------------------------------------------------------

_PG_INDEXES = """
SELECT i.relname, pg_get_indexdef(x.indexrelid), x.indisvalid AND x.indisready AND x.indislive
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
WHERE t.relname LIKE 'billing\\_%%' AND x.indisunique AND pg_table_is_visible(t.oid)
"""
_PG_CONSTRAINTS = """
SELECT c.conname, pg_get_constraintdef(c.oid), c.convalidated
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE t.relname LIKE 'billing\\_%%' AND c.contype IN ('c', 'p', 'u') AND pg_table_is_visible(t.oid)
"""
_PG_TRIGGERS = """
SELECT g.tgname, pg_get_triggerdef(g.oid), g.tgenabled IN ('O', 'A')
FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
WHERE t.relname LIKE 'billing\\_%%' AND NOT g.tgisinternal AND pg_table_is_visible(t.oid)
"""
_PG_FUNCTIONS = """
SELECT proname, prosrc, true FROM pg_proc WHERE proname LIKE 'billing\\_%%' AND pg_function_is_visible(oid)
"""


def _missing_on_postgresql(conn: Connection) -> list[str]:
    indexes = _read(conn, _PG_INDEXES)
    there = {
        INDEX: indexes,
        CHECK: _read(conn, _PG_CONSTRAINTS),
        TRIGGER: _read(conn, _PG_TRIGGERS),
        FUNCTION: {name: (" ".join(body.split()), on) for name, (body, on) in _read(conn, _PG_FUNCTIONS, plain=False).items()},
    }
    there[PRIMARY] = there[UNIQUE] = {
        name: (definition, on and indexes.get(name, ("", False))[1]) for name, (definition, on) in there[CHECK].items()
    }
    wrong = []
    if conn.exec_driver_sql("SHOW session_replication_role").scalar_one() == "replica":
        wrong.append("all triggers are switched off in this session (session_replication_role)")
    for guard in guards("postgresql"):
        definition, is_on = there[guard.kind].get(guard.name, (None, False))
        if definition is None:
            wrong.append(f"{guard} is missing")
        elif not is_on:
            wrong.append(f"{guard} is {'disabled' if guard.kind == TRIGGER else 'not valid'}")
        elif definition != guard.definition:
            wrong.append(f"{guard} is not what it was")
    return wrong


def _read(conn: Connection, sql: str, *, plain: bool = True) -> dict[str, tuple[str, bool]]:
    rows = conn.exec_driver_sql(sql, ())
    return {name: (_plain(definition) if plain else definition, is_on) for name, definition, is_on in rows}


# --- SQLite -------------------------------------------------------------------------------------


def _missing_on_sqlite(conn: Connection) -> list[str]:
    rows = conn.exec_driver_sql("SELECT type, name, sql FROM sqlite_master WHERE tbl_name LIKE 'billing~_%' ESCAPE '~'").all()
    wrong = []
    if conn.exec_driver_sql("PRAGMA ignore_check_constraints").scalar_one():
        wrong.append("all CHECKs are switched off in this session (ignore_check_constraints)")
    if not conn.exec_driver_sql("PRAGMA recursive_triggers").scalar_one():
        wrong.append("rows can be replaced unseen in this session (recursive_triggers)")
    return [*wrong, *_wrong_on_sqlite(tuple((kind, name, sql) for kind, name, sql in rows))]


@lru_cache(maxsize=4)
def _wrong_on_sqlite(rows: tuple[tuple[str, str, str | None], ...]) -> tuple[str, ...]:
    """What differs in this catalogue; asked before every pass, and read anew only when a letter of it changed."""
    there: dict[str, str] = {}
    for kind, name, sql in rows:
        if kind == "table" and sql is not None:
            there |= _constraints_in(sql)
        elif sql is not None:  # the index behind a constraint has no text
            there[name] = _as_written(sql)
    wrong = []
    for guard in guards("sqlite"):
        definition = there.get(guard.name)
        if definition is None:
            wrong.append(f"{guard} is missing")
        elif definition != guard.definition:
            wrong.append(f"{guard} is not what it was")
    return tuple(wrong)


def _constraints_in(create_table: str) -> dict[str, str]:
    """Name → definition of the constraints in a CREATE TABLE: in SQLite they stand nowhere else."""
    found: dict[str, str] = {}
    depth, start, in_text = 0, 0, False
    for place, sign in enumerate(create_table):
        if sign == "'":
            in_text = not in_text
        if in_text or sign not in "(),":
            continue
        depth += {"(": 1, ")": -1, ",": 0}[sign]
        if sign == "(" and depth == 1:
            start = place + 1
        elif depth == (0 if sign == ")" else 1) and sign != "(":
            words = create_table[start:place].split(None, 2)
            start = place + 1
            if words[0].upper() == "CONSTRAINT":
                found[words[1].strip('"')] = _as_written(words[2])
    return found


# --- one form for what both sides wrote ---------------------------------------------------------


def _as_written(sql: str) -> str:
    """SQLite keeps what it was told; only blanks, quotes and case may differ."""
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(sql.lower().replace('"', "").split())).strip(" ;")


_SPELLINGS = (
    (r"::(character varying|timestamp with time zone|[a-z]+)(\(\d+\))?(\[\])?", ""),  # casts PostgreSQL adds
    (r"= any \(+array\[([^\]]*)\]\)*", r"in (\1)"),  # how it writes IN
    (r"<> all \(+array\[([^\]]*)\]\)*", r"not in (\1)"),
    (r"(\w+(?:\(\w+\))?) between (\w+) and (\w+)", r"\1 >= \2 and \1 <= \3"),
    (r" using btree", ""),
    (r"\bon \w+\.(?=billing_)", "on "),  # the schema
    (r"execute function \w+\.(?=billing_)", "execute function "),
    (r"[()\"]", " "),  # it sets its own parentheses
    (r"\s*,\s*", ", "),
    (r"\s+", " "),
)


def _plain(sql: str) -> str:
    """PostgreSQL keeps what it understood; this is the one spelling in which that and ours can be compared."""
    text = " ".join(sql.lower().split())
    for found, written in _SPELLINGS:
        text = re.sub(found, written, text)
    return text.strip(" ;")
