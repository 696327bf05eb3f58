"""Subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from billing.domain.subscription import Subscription, SubscriptionState
from billing.errors import InvariantBroken, NotFound
from billing.store import bulk
from billing.store.locking import Bucketed
from billing.store.tables import subscription
from plans.calendar import Interval, Unit

# The interval is one value in the record and two columns in the table; everything else is named alike.
_PLAIN = [name for name in Subscription._fields if name != "interval"]
subscription_columns = [*(subscription.c[name] for name in _PLAIN), subscription.c.interval_count, subscription.c.interval_unit]
_STATE = _PLAIN.index("state")

_MUTABLE = (
    "quantity", "state", "next_index", "due_at", "cancel_at_end", "version", "audit_head", "trial_end", "period_index",
    "period_start", "period_end", "canceled_at", "ended_at", "parked_reason",
)  # fmt: skip

_ALL = select(*subscription_columns)
_DUE = Bucketed(
    _ALL.where(subscription.c.due_at <= bindparam("now"))
    .order_by(subscription.c.due_at, subscription.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True),
    subscription.c.bucket,
)
_PAGE = _ALL.where(subscription.c.id > bindparam("after")).order_by(subscription.c.id).limit(bindparam("most"))
_BY_KEY = _ALL.where(subscription.c.request_key == bindparam("request_key"))
_LOCK = _ALL.where(subscription.c.id == bindparam("subscription_id")).with_for_update()

_intervals: dict[tuple[int, str], Interval] = {}


def subscription_of(row: Row[Any] | Sequence[Any]) -> Subscription:
    """The record of a row of `subscription_columns`."""
    values = dict(zip(_PLAIN, row, strict=False))
    values["state"] = SubscriptionState(values["state"])
    key = (row[len(_PLAIN)], row[len(_PLAIN) + 1])
    if key not in _intervals:
        _intervals[key] = Interval(key[0], Unit(key[1]))
    return Subscription(**values, interval=_intervals[key])


class Subscriptions:
    """The subscriptions of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, one: Subscription, request_key: str | None = None) -> None:
        """Write a new subscription, under the key of the request for it; a second one under that key is refused."""
        row = {name: getattr(one, name) for name in _PLAIN} | {
            "state": one.state.value,
            "interval_count": one.interval.count,
            "interval_unit": one.interval.unit.value,
            "request_key": request_key,
        }
        bulk.insert_rows(self._connection, subscription, [row])

    def update(self, changed: Sequence[Subscription]) -> None:
        """Write what may change of locked subscriptions."""
        rows = [{"id": one.id} | {name: getattr(one, name) for name in _MUTABLE} for one in changed]
        for row in rows:
            row["state"] = row["state"].value
        if bulk.update_rows(self._connection, subscription, ["id"], rows) != len(rows):
            raise InvariantBroken("a subscription vanished while it was locked")

    def claim_due(self, now: datetime, limit: int, *, buckets: range) -> list[Subscription]:
        """Lock up to `limit` due subscriptions, oldest first, skipping those another worker holds."""
        return [subscription_of(row) for row in _DUE.run(self._connection, buckets, now=now, most=limit).all()]

    def page(self, after: str, limit: int) -> list[Subscription]:
        """Up to `limit` subscriptions whose id sorts after `after`, in that order."""
        return [subscription_of(row) for row in self._connection.execute(_PAGE, {"after": after, "most": limit})]

    def by_key(self, request_key: str) -> Subscription | None:
        """The subscription that was asked for under this key."""
        row = self._connection.execute(_BY_KEY, {"request_key": request_key}).first()
        return None if row is None else subscription_of(row)

    def lock(self, subscription_id: str) -> Subscription:
        """Lock one subscription.

        Raises:
            NotFound: there is none with this id.
        """
        row = self._connection.execute(_LOCK, {"subscription_id": subscription_id}).first()
        if row is None:
            raise NotFound("subscription", subscription_id)
        return subscription_of(row)
