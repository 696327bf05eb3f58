"""Finished comparisons with the PG's list: how far they reached."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from billing.store import bulk
from billing.store.mapping import Mapper
from billing.store.tables import reconciliation


class Reconciliation(NamedTuple):
    """One finished run over [since, until) and what it counted."""

    id: str
    since: datetime
    until: datetime
    started_at: datetime
    finished_at: datetime
    payments: int
    settled: int
    findings: int


MAPPER = Mapper(Reconciliation, reconciliation)
_LAST = select(*MAPPER.columns).order_by(reconciliation.c.until.desc(), reconciliation.c.id.desc()).limit(1)


class Reconciliations:
    """The runs of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, one: Reconciliation) -> None:
        """Write a finished run."""
        bulk.insert_rows(self._connection, reconciliation, [MAPPER.row(one)])

    def last(self) -> Reconciliation | None:
        """The run that reached furthest; None before the first."""
        row = self._connection.execute(_LAST).first()
        return MAPPER.record(row) if row else None
