"""The outbox: what the host is told, written with the change it tells of, and marked when it was told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, or_, select, update

from billing.domain.events import Event, PublishedEvent
from billing.errors import NotFound
from billing.ports import NewId
from billing.store import bulk
from billing.store.encoding import encoded
from billing.store.locking import key_list
from billing.store.mapping import Mapper
from billing.store.tables import outbox_event

MAPPER = Mapper(PublishedEvent, outbox_event)


class Outbox:
    """The events of one transaction."""

    def __init__(self, connection: Connection, new_id: NewId) -> None:
        self._connection = connection
        self._new_id = new_id

    def holds(self, key: str) -> bool:
        """True when an event with this key was published before."""
        return self._connection.execute(select(outbox_event.c.id).where(outbox_event.c.key == key)).first() is not None

    def publish(self, events: Sequence[Event], at: datetime) -> None:
        """Append events; a second one with the same key is refused by the database."""
        rows = [
            {
                "id": self._new_id(),
                "key": event.key,
                "topic": event.topic,
                "customer_id": event.customer_id,
                "subscription_id": event.subscription_id,
                "version": event.version,
                "payload": encoded(event.payload),
                "occurred_at": at,
                "delivered_at": None,
            }
            for event in events
        ]
        bulk.insert_rows(self._connection, outbox_event, rows)

    def pending(self, after: str, limit: int) -> list[tuple[str, str]]:
        """Ids of undelivered events above `after`, each with its stream: its subscription, else itself."""
        stream = func.coalesce(outbox_event.c.subscription_id, outbox_event.c.id)
        query = select(outbox_event.c.id, stream).where(outbox_event.c.delivered_at.is_(None), outbox_event.c.id > after)
        return [(row[0], row[1]) for row in self._connection.execute(query.order_by(outbox_event.c.id).limit(limit))]

    def pending_of(self, stream: str, limit: int) -> list[PublishedEvent]:
        """The undelivered events of one stream, lowest version first."""
        query = (
            select(*MAPPER.columns)
            .where(
                or_(outbox_event.c.subscription_id == stream, outbox_event.c.id == stream), outbox_event.c.delivered_at.is_(None)
            )
            .order_by(outbox_event.c.version, outbox_event.c.id)
            .limit(limit)
        )
        found = [MAPPER.record(row) for row in self._connection.execute(query)]
        return [one._replace(payload=json.loads(str(one.payload))) for one in found]

    def mark(self, ids: Sequence[str], at: datetime) -> None:
        """Write down that these were handed over; one that was marked before keeps its instant."""
        query = update(outbox_event).where(
            outbox_event.c.id.in_(key_list(self._connection, ids)), outbox_event.c.delivered_at.is_(None)
        )
        self._connection.execute(query.values(delivered_at=at))

    def unmark(self, ids: Sequence[str]) -> int:
        """Make these undelivered again; returns how many had been delivered.

        Raises:
            NotFound: names one that does not exist.
        """
        those = outbox_event.c.id.in_(key_list(self._connection, ids))
        found = set(self._connection.execute(select(outbox_event.c.id).where(those)).scalars())
        for id in ids:
            if id not in found:
                raise NotFound("event", id)
        query = update(outbox_event).where(those, outbox_event.c.delivered_at.is_not(None))
        return self._connection.execute(query.values(delivered_at=None)).rowcount

    def unmark_since(self, instant: datetime) -> int:
        """Make delivered events undelivered again that were written at this instant or later; returns how many."""
        query = update(outbox_event).where(outbox_event.c.occurred_at >= instant, outbox_event.c.delivered_at.is_not(None))
        return self._connection.execute(query.values(delivered_at=None)).rowcount
