"""What there is to do at all: one glance before a pass opens a transaction for every kind of work."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, exists, select

from billing.store.tables import attempt, billing_key, freeze, invoice, refund, subscription, webhook_inbox


class Due(NamedTuple):
    """Which kinds of work are due somewhere, for whatever worker; nothing is locked, and whoever takes a step asks again."""

    subscriptions: bool
    invoices: bool
    notices: bool
    attempts: bool
    refunds: bool
    cards: bool
    is_frozen: bool


def _at(column: ColumnElement[datetime | None], instant: str) -> ColumnElement[bool]:
    return exists().where(column <= bindparam(instant))


_DUE = select(
    _at(subscription.c.due_at, "business_now"),
    _at(invoice.c.next_attempt_at, "business_now"),
    _at(webhook_inbox.c.wake_at, "now"),
    _at(attempt.c.wake_at, "now"),
    _at(refund.c.wake_at, "now"),
    exists().where(billing_key.c.state.in_(["pending", "retired"]), billing_key.c.created_at <= bindparam("now")),
    exists().where(freeze.c.is_frozen),
)


class Agenda:
    """The agenda of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def due(self, now: datetime, business_now: datetime) -> Due:
        """What is due at these instants, the system's for leases and looks, the business one for renewals and retries."""
        return Due(*self._connection.execute(_DUE, {"now": now, "business_now": business_now}).one())
