"""Small things that claims share: long id lists and bucket ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, Column, Connection, Select, String, bindparam, func, select

ALL_BUCKETS = range(256)


def key_list(connection: Connection, keys: Sequence[str]) -> Any:
    """An `IN` operand for any number of ids that is one bound parameter, so its plan is cached whatever the length."""
    if connection.dialect.name == "postgresql":
        return select(func.unnest(bindparam(None, list(keys), type_=ARRAY(String))))
    return list(keys)


def in_buckets(query: Select[Any], column: Column[Any], buckets: range) -> Select[Any]:
    """`query` narrowed to the customers this worker serves; a worker that serves all asks nothing."""
    if buckets == ALL_BUCKETS:
        return query
    return query.where(column.between(buckets.start, buckets.stop - 1))
