"""The inbox: which payments somebody mentioned, how often, and what came of looking."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from billing.domain.notice import Notice
from billing.store import bulk
from billing.store.locking import is_one_of
from billing.store.mapping import Mapper
from billing.store.tables import attempt, webhook_inbox


class Received(NamedTuple):
    """One notice, however often it came; repetitions are counted, not kept.

    Args:
        looks: how many looks have found nothing conclusive so far.
        wake_at: when a worker may take it up: end of a lease, or next look. None when nothing is left to do.
        settled_at: when it was last concluded.
        outcome: the verdict it led to (`paid`, `declined`, `booked` …), or why it led to none: `cancelled` (its refunds
            are in the books), `foreign` (not an order number of ours), `forged` (the PG's record says otherwise),
            `stranger` (ours by name, and no row knows it), `unknown` (the PG never showed it).
    """

    id: str
    dedupe_key: str
    imp_uid: str
    merchant_uid: str
    status: str
    source_ip: str
    received_at: datetime
    last_received_at: datetime
    times_received: int = 1
    looks: int = 0
    wake_at: datetime | None = None
    settled_at: datetime | None = None
    outcome: str | None = None

    @property
    def tells_of_a_cancel(self) -> bool:
        """True where money may have gone back."""
        return Notice(self.imp_uid, self.merchant_uid, self.status, self.dedupe_key.rpartition("|")[2]).tells_of_a_cancel


MAPPER = Mapper(Received, webhook_inbox)

_conclude = MAPPER.picker("id", "looks", "wake_at", "settled_at", "outcome")
_IS_DUE = webhook_inbox.c.wake_at <= bindparam("now")
_ANY_DUE = select(webhook_inbox.c.id).where(_IS_DUE).limit(1)
_DUE = (
    select(*MAPPER.columns)
    .where(_IS_DUE)
    .order_by(webhook_inbox.c.wake_at, webhook_inbox.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, of=webhook_inbox)
)
_KNOWN_DUE = _DUE.where(exists().where(attempt.c.merchant_uid == webhook_inbox.c.merchant_uid))
_QUIET = bindparam("quiet_since", type_=webhook_inbox.c.wake_at.type)
_SLEEPS = webhook_inbox.c.wake_at.is_(None) & (webhook_inbox.c.settled_at <= _QUIET)


def _put(insert: Any) -> Any:
    """Write a notice, or count its repetition: what the row would have held is at hand as `excluded`."""
    one, new = webhook_inbox.c, insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["dedupe_key"],
        set_={
            "times_received": one.times_received + 1,
            "last_received_at": new.last_received_at,
            "source_ip": new.source_ip,
            "wake_at": case((_SLEEPS, new.wake_at), else_=one.wake_at),
            "looks": case((_SLEEPS, 0), else_=one.looks),
        },
    ).returning(*MAPPER.columns)


_PUTS = {"postgresql": _put(postgresql.insert(webhook_inbox)), "sqlite": _put(sqlite.insert(webhook_inbox))}
_WAKE = (
    update(webhook_inbox)
    .where(is_one_of(webhook_inbox.c.id))
    .values(wake_at=bindparam("at", type_=webhook_inbox.c.wake_at.type), looks=0)
)


class Inbox:
    """The notices of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, notice: Notice, *, id: str, source_ip: str, at: datetime, quiet: timedelta) -> Received:
        """Write a notice or count its repetition: one statement either way, so that nobody can tell which it was.

        Args:
            id: its id if it is new.
            quiet: a notice concluded less than this ago is only counted; later it is looked at once more.
        """
        new = Received(id, notice.dedupe_key, notice.imp_uid, notice.merchant_uid, notice.status, source_ip, at, at, wake_at=at)
        row = {**MAPPER.row(new), "quiet_since": at - quiet}
        return MAPPER.record(self._connection.execute(_PUTS[self._connection.dialect.name], row).one())

    def is_due(self, now: datetime) -> bool:
        """True when a notice waits for a look."""
        return self._connection.execute(_ANY_DUE, {"now": now}).first() is not None

    def claim(self, now: datetime, lease_until: datetime, limit: int, *, only_known: bool) -> list[Received]:
        """Take up to `limit` notices that are due; they wake again when the lease ends.

        Args:
            only_known: only those whose order number one of our attempts carries.
        """
        rows = self._connection.execute(_KNOWN_DUE if only_known else _DUE, {"now": now, "most": limit})
        taken = [MAPPER.record(row)._replace(wake_at=lease_until) for row in rows]
        self.conclude(taken)
        return taken

    def conclude(self, notices: Sequence[Received]) -> None:
        """Write what came of looking, and when to look again."""
        bulk.update_rows(self._connection, webhook_inbox, ["id"], _conclude(notices))

    def wake(self, ids: Sequence[str], at: datetime) -> int:
        """Let these be looked at from `at` on, whatever came of them before; returns how many there are."""
        return self._connection.execute(_WAKE, {"keys": ids, "at": at}).rowcount
