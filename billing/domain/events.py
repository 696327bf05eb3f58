"""What the host is told, and what the audit trail keeps.

An event is written in the transaction that changes the fact, delivered at least once, and carries
a key that is the same however often it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

Json = Mapping[str, object]

NOTHING: Json = {}


class Event(NamedTuple):
    """One change, as a host consumes it. `version` orders the events of one subscription."""

    topic: str
    key: str
    customer_id: str
    subscription_id: str | None = None
    version: int = 0
    payload: Json = NOTHING


class PublishedEvent(NamedTuple):
    """An `Event` as it is handed to the host: the same words, with its id and the business instant it was written at."""

    id: str
    topic: str
    key: str
    customer_id: str
    subscription_id: str | None
    version: int
    payload: Json
    occurred_at: datetime


class AuditEntry(NamedTuple):
    """Who did what to which record, and why."""

    actor: str
    action: str
    subject: str
    details: Json = NOTHING


def chained(previous: str, entry: AuditEntry, details: str, at: str) -> str:
    """The audit hash of `entry` after `previous`: changing an old row breaks every later one.

    The parts are joined by a sign that none of them contains, so no two entries hash alike.

    Args:
        details: the entry's details as stored, letter for letter.
    """
    parts = (previous, at, entry.actor, entry.action, entry.subject, details)
    return sha256("\x1f".join(parts).encode()).hexdigest()
