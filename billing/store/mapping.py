"""Rows in, records out: one mapper per record, built from its annotations once.

Records are frozen dataclasses. The three that every renewal copies a dozen times (subscription, invoice,
attempt) and the invoice line are named tuples: immutable too, and made and copied in a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_type_hints

from sqlalchemy import Column, Table

R = TypeVar("R")


class Mapper(Generic[R]):
    """Carries records of one kind to and from the rows of one table.

    Field and column share their name unless `renamed` says otherwise. StrEnums travel as text.
    """

    def __init__(self, record: Callable[..., R], table: Table, renamed: Mapping[str, str] | None = None) -> None:
        hints = get_type_hints(record)
        self._record = record
        self._names = [*getattr(record, "_fields", ())] or [field.name for field in fields(record)]  # type: ignore[arg-type]
        columns = [(renamed or {}).get(name, name) for name in self._names]
        self.columns: list[Column[Any]] = [table.c[column] for column in columns]
        self._column_of = dict(zip(self._names, columns, strict=True))
        enums = {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, StrEnum)}
        # A dictionary finds the member of a stored word faster than the enum's own call.
        self._decoders = [
            (index, {member.value: member for member in enums[name]}) for index, name in enumerate(self._names) if name in enums
        ]
        self._enum_columns = [self._column_of[name] for name in self._names if name in enums]

    def record(self, row: Sequence[Any]) -> R:
        """The record of a row that starts with this mapper's columns."""
        values = list(row[: len(self._names)])
        for index, members in self._decoders:
            values[index] = members[values[index]]
        return self._record(*values)

    def row(self, record: R) -> dict[str, Any]:
        """All columns of a record."""
        row = {column: getattr(record, name) for name, column in self._column_of.items()}
        for column in self._enum_columns:
            row[column] = row[column].value
        return row

    def rows(self, records: Iterable[R]) -> list[dict[str, Any]]:
        """All columns of several records."""
        return [self.row(record) for record in records]

    def picker(self, *names: str) -> Callable[[Iterable[R]], list[dict[str, Any]]]:
        """A function that gives only the named fields of records, as rows."""
        columns = [self._column_of[name] for name in names]
        get = attrgetter(*names)
        enums = [column for column in columns if column in self._enum_columns]

        def pick(records: Iterable[R]) -> list[dict[str, Any]]:
            rows = [dict(zip(columns, get(record), strict=True)) for record in records]
            for column in enums:
                for row in rows:
                    row[column] = row[column].value
            return rows

        return pick
