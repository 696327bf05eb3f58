"""The outbox: what the host is told, written with the change it tells of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from billing.domain.events import Event
from billing.ports import NewId
from billing.store import bulk
from billing.store.encoding import encoded
from billing.store.tables import outbox_event


class Outbox:
    """The events of one transaction."""

    def __init__(self, connection: Connection, new_id: NewId) -> None:
        self._connection = connection
        self._new_id = new_id

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
