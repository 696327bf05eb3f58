"""The outbox: what the host is told, written with the change it tells of, and marked when it was told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, or_, select, update

from billing.domain.events import Event, PublishedEvent
from billing.errors import NotFound
from billing.ports import NewId
from billing.store import bulk
from billing.store.encoding import encoded
from billing.store.locking import is_one_of
from billing.store.mapping import Mapper
from billing.store.tables import outbox_event

MAPPER = Mapper(PublishedEvent, outbox_event)
_HOLDS = select(outbox_event.c.id).where(outbox_event.c.key == bindparam("wanted"))
_IS_PENDING = outbox_event.c.delivered_at.is_(None)
_PENDING = (
    select(outbox_event.c.id, func.coalesce(outbox_event.c.subscription_id, outbox_event.c.id))
    .where(_IS_PENDING, outbox_event.c.id > bindparam("after"))
    .order_by(outbox_event.c.id)
    .limit(bindparam("most"))
)
_PENDING_OF = (
    select(*MAPPER.columns)
    .where(or_(outbox_event.c.subscription_id == bindparam("stream"), outbox_event.c.id == bindparam("stream")), _IS_PENDING)
    .order_by(outbox_event.c.version, outbox_event.c.id)
    .limit(bindparam("most"))
)
_THOSE = is_one_of(outbox_event.c.id)
_FOUND = select(outbox_event.c.id).where(_THOSE)
_MARK = (
    update(outbox_event).where(_THOSE, _IS_PENDING).values(delivered_at=bindparam("at", type_=outbox_event.c.delivered_at.type))
)
_UNMARK = update(outbox_event).where(outbox_event.c.delivered_at.is_not(None)).values(delivered_at=None)
_UNMARK_THOSE, _UNMARK_SINCE = _UNMARK.where(_THOSE), _UNMARK.where(outbox_event.c.occurred_at >= bindparam("since"))


class Outbox:
    """The events of one transaction."""

    def __init__(self, connection: Connection, new_id: NewId) -> None:
        self._connection = connection
        self._new_id = new_id

    def holds(self, key: str) -> bool:
        """True when an event with this key was published before."""
        return self._connection.execute(_HOLDS, {"wanted": key}).first() is not None

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
        return [(row[0], row[1]) for row in self._connection.execute(_PENDING, {"after": after, "most": limit})]

    def pending_of(self, stream: str, limit: int) -> list[PublishedEvent]:
        """The undelivered events of one stream, lowest version first."""
        found = [MAPPER.record(row) for row in self._connection.execute(_PENDING_OF, {"stream": stream, "most": limit})]
        return [one._replace(payload=json.loads(str(one.payload))) for one in found]

    def mark(self, ids: Sequence[str], at: datetime) -> None:
        """Write down that these were handed over; one that was marked before keeps its instant."""
        self._connection.execute(_MARK, {"keys": ids, "at": at})

    def unmark(self, ids: Sequence[str]) -> int:
        """Make these undelivered again; returns how many had been delivered.

        Raises:
            NotFound: names one that does not exist.
        """
        found = set(self._connection.execute(_FOUND, {"keys": ids}).scalars())
        for id in ids:
            if id not in found:
                raise NotFound("event", id)
        return self._connection.execute(_UNMARK_THOSE, {"keys": ids}).rowcount

    def unmark_since(self, instant: datetime) -> int:
        """Make delivered events undelivered again that were written at this instant or later; returns how many."""
        return self._connection.execute(_UNMARK_SINCE, {"since": instant}).rowcount
