"""Findings of reconciliation: kept for good, each once, explained or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, tuple_, update

from billing.domain.reconciliation import Difference, Finding, FindingKind
from billing.errors import NotFound
from billing.ports import NewId
from billing.store import bulk
from billing.store.encoding import encoded
from billing.store.mapping import Mapper
from billing.store.tables import finding

MAPPER = Mapper(Finding, finding)
_CHUNK = 500
_ALL = select(*MAPPER.columns)
_UNEXPLAINED = _ALL.where(finding.c.explained_at.is_(None)).order_by(finding.c.found_at, finding.c.id)


class Findings:
    """The findings of one transaction."""

    def __init__(self, connection: Connection, new_id: NewId) -> None:
        self._connection = connection
        self._new_id = new_id

    def add(self, differences: Sequence[Difference], at: datetime) -> list[Finding]:
        """Write what was found for the first time and return it; what is known already stays as it is."""
        found = {(one.kind, one.ref): one for one in differences}
        rows = [
            {
                **MAPPER.row(Finding(self._new_id(), *one, found_at=at)),
                "details": encoded(one.details),
            }
            for one in found.values()
        ]
        new = bulk.insert_new_rows(self._connection, finding, rows, ["kind", "ref"])
        return [one for one in self.of(differences) if (one.kind.value, one.ref) in new]

    def of(self, differences: Sequence[Difference]) -> list[Finding]:
        """The findings kept of these differences, oldest first."""
        keys = sorted({(one.kind.value, one.ref) for one in differences})
        found: list[Finding] = []
        for start in range(0, len(keys), _CHUNK):
            wanted = tuple_(finding.c.kind, finding.c.ref).in_(keys[start : start + _CHUNK])
            found += self._records(_ALL.where(wanted))
        return sorted(found, key=lambda one: (one.found_at, one.id))

    def unexplained(self, *kinds: FindingKind) -> list[Finding]:
        """What waits for an explanation, oldest first; only of these kinds, where some are named."""
        kept = [kind.value for kind in kinds]
        return self._records(_UNEXPLAINED.where(finding.c.kind.in_(kept)) if kinds else _UNEXPLAINED)

    def find(self, id: str) -> Finding:
        """The finding with this id.

        Raises:
            NotFound: there is none.
        """
        found = self._records(_ALL.where(finding.c.id == id).with_for_update())
        if not found:
            raise NotFound("finding", id)
        return found[0]

    def explain(self, ids: Sequence[str], *, at: datetime, by: str, explanation: str) -> None:
        """Write down what findings turned out to be; one explained before keeps its first explanation."""
        for start in range(0, len(ids), _CHUNK):
            self._connection.execute(
                update(finding)
                .where(finding.c.id.in_(ids[start : start + _CHUNK]), finding.c.explained_at.is_(None))
                .values(explained_at=at, explained_by=by, explanation=explanation)
            )

    def _records(self, query: Any) -> list[Finding]:
        return [
            (one := MAPPER.record(row))._replace(details=json.loads(str(one.details)))
            for row in self._connection.execute(query).all()
        ]
