"""Small things that the rooms' statements share: long id lists and bucket ranges.

Statements are made once, when their room is imported, and their values are bound when they run: building one takes
longer than SQLite needs to answer it, and longer than PostgreSQL needs to plan it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, CursorResult, Dialect, Select, String, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

ALL_BUCKETS = range(256)


class _KeyList(TypeDecorator[Sequence[str]]):
    """Any number of ids in one value: an array on PostgreSQL, a JSON text on SQLite."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(ARRAY(String) if dialect.name == "postgresql" else String())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        keys = list(value or ())
        return keys if dialect.name == "postgresql" else json.dumps(keys)


class _Unnested(GenericFunction[str]):
    """The rows of a key list."""

    type = String()
    inherit_cache = True


@compiles(_Unnested, "postgresql")
def _on_postgresql(element: _Unnested, compiler: Any, **kw: Any) -> str:
    return f"(SELECT unnest({compiler.process(element.clauses, **kw)}))"


@compiles(_Unnested, "sqlite")
def _on_sqlite(element: _Unnested, compiler: Any, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **kw)}))"  # noqa: S608  (a bound value)


def is_one_of(column: ColumnElement[str], name: str = "keys") -> ColumnElement[bool]:
    """True where `column` is one of the ids bound as `name`: one parameter, one text and one plan whatever their number."""
    return column.bool_op("IN")(_Unnested(bindparam(name, type_=_KeyList())))


class Bucketed:
    """A claim in both its shapes: of every customer's rows, and of those in some buckets only."""

    def __init__(self, claim: Select[Any], column: ColumnElement[int]) -> None:
        self._every = claim
        self._some = claim.where(column.between(bindparam("first_bucket"), bindparam("last_bucket")))

    def run(self, connection: Connection, buckets: range, **values: object) -> CursorResult[Any]:
        """Run it for the customers this worker serves; one that serves all asks nothing."""
        if buckets == ALL_BUCKETS:
            return connection.execute(self._every, values)
        return connection.execute(self._some, {**values, "first_bucket": buckets.start, "last_bucket": buckets.stop - 1})
