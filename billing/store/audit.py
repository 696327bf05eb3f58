"""The audit trail: per subscription a chain of hashes, so that a row changed later breaks every one after it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import Connection

from billing.domain.booking import ENGINE
from billing.domain.events import AuditEntry, chained
from billing.domain.wording import refuse_card_numbers
from billing.ports import NewId
from billing.store import bulk
from billing.store.encoding import encoded
from billing.store.tables import audit

CHAIN_START = "0" * 64


@lru_cache(maxsize=16)
def stamp(at: datetime) -> str:
    """The instant as the digest sees it, the same on every database."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class AuditTrail:
    """The audit trail of one transaction.

    Every verb of a human passes here, so here it is refused to write down a card number among what they typed.
    """

    def __init__(self, connection: Connection, new_id: NewId) -> None:
        self._connection = connection
        self._new_id = new_id
        self._rows: list[dict[str, object]] = []

    def chain(self, subscription_id: str, head: str, entries: Sequence[AuditEntry], at: datetime) -> str:
        """Append entries to a locked subscription's chain; returns the new head. Written by `flush`."""
        for entry in entries:
            head = self._add(entry, at, subscription_id, head)
        return head

    def note(self, entry: AuditEntry, at: datetime) -> None:
        """Append an entry that belongs to no subscription: customers, plans, freezes. Written by `flush`."""
        self._add(entry, at, None, CHAIN_START)

    def flush(self) -> None:
        """Write what was appended, in one statement."""
        bulk.insert_rows(self._connection, audit, self._rows)
        self._rows = []

    def _add(self, entry: AuditEntry, at: datetime, subscription_id: str | None, previous: str) -> str:
        if entry.actor != ENGINE:
            refuse_card_numbers({"actor": entry.actor, **entry.details})
        details = encoded(entry.details)
        digest = chained(previous, entry, details, stamp(at))
        self._rows.append(
            {
                "id": self._new_id(),
                "subscription_id": subscription_id,
                "actor": entry.actor,
                "action": entry.action,
                "subject": entry.subject,
                "details": details,
                "previous": previous,
                "digest": digest,
                "at": at,
            }
        )
        return digest
