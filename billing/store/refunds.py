"""Refunds: queued per payment, one of them in flight."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, or_, select

from billing.domain.refund import IN_FLIGHT, Refund, RefundState
from billing.errors import InvariantBroken, NotFound
from billing.store import bulk
from billing.store.locking import ALL_BUCKETS
from billing.store.mapping import Mapper
from billing.store.payments import Payments
from billing.store.tables import invoice, refund

MAPPER = Mapper(Refund, refund)

_update = MAPPER.picker(
    "id", "state", "checksum", "fence", "wire_count", "looks", "wake_at", "sent_at", "refusal", "cancellation_id", "moved_at"
)
_CANDIDATES = 16

_ALL = select(*MAPPER.columns)
_other = refund.alias()
_is_ahead = or_(
    _other.c.state.in_([state.value for state in IN_FLIGHT]),
    and_(_other.c.state == "planned", _other.c.wake_at.is_not(None), _other.c.id < refund.c.id),
)
_queued = select(_other.c.id).where(_other.c.imp_uid == refund.c.imp_uid, _other.c.id != refund.c.id, _is_ahead).exists()
_IS_FREE = and_(
    refund.c.wake_at <= bindparam("now"),
    refund.c.state.in_(bindparam("states", expanding=True)),
    or_(refund.c.state != "planned", ~_queued),
)
_CLAIMABLE = select(refund.c.id, refund.c.imp_uid).where(_IS_FREE).order_by(refund.c.wake_at, refund.c.id).limit(_CANDIDATES)
_FREE = _ALL.where(refund.c.id == bindparam("refund_id"), _IS_FREE).with_for_update()
_LOCKED_OF = _ALL.where(refund.c.imp_uid == bindparam("imp_uid")).order_by(refund.c.id).with_for_update()
_BY_KEY = _ALL.where(refund.c.request_key == bindparam("request_key"))
_FIND = _ALL.where(refund.c.id == bindparam("refund_id"))


class Refunds:
    """The refunds of one transaction. Whoever writes one holds its payment's lock."""

    def __init__(self, connection: Connection, payments: Payments) -> None:
        self._connection = connection
        self._payments = payments

    def insert(self, refunds: Sequence[Refund]) -> None:
        """Write planned refunds; the payment reserves their amounts, or refuses them."""
        bulk.insert_rows(self._connection, refund, MAPPER.rows(refunds))

    def update(self, refunds: Sequence[Refund], *, was: Sequence[Refund]) -> None:
        """Write what changed, each only while its fence is the one that was read.

        Raises:
            InvariantBroken: a refund changed under our lock; nothing of the transaction may stand.
        """
        rows = _update(refunds)
        for row, before in zip(rows, was, strict=True):
            row["fence_was"] = before.fence
        matched = bulk.update_rows(self._connection, refund, ["id"], rows, equals={"fence": "fence_was"})
        if matched != len(rows):
            raise InvariantBroken(f"{len(rows) - matched} of {len(rows)} refunds changed while they were locked")

    def claim(
        self,
        now: datetime,
        lease_until: datetime,
        *,
        states: Sequence[RefundState],
        buckets: range = ALL_BUCKETS,
        imp_uid: str | None = None,
    ) -> Refund | None:
        """Take one refund nobody holds: its lease ended, its look is due, or it is first in its payment's queue.

        The taker's fence is one higher than before. A SENDING one whose holder vanished is UNKNOWN from here on:
        its request may have arrived.

        Args:
            imp_uid: only a refund of this payment.
        """
        free: dict[str, object] = {"now": now, "states": [state.value for state in states]}
        query = _CLAIMABLE if imp_uid is None else _CLAIMABLE.where(refund.c.imp_uid == imp_uid)
        if buckets != ALL_BUCKETS:
            own = select(invoice.c.id).where(invoice.c.bucket.between(buckets.start, buckets.stop - 1))
            query = query.where(refund.c.invoice_id.in_(own))
        for found in self._connection.execute(query, free).all():
            # The payment before the refund, as everybody locks; what is asked under its lock stays true.
            if self._payments.lock(found.imp_uid, skips_locked=True) is None:
                continue
            row = self._connection.execute(_FREE, {**free, "refund_id": found.id}).first()
            if row is not None:
                return self._taken(MAPPER.record(row), now, lease_until)
        return None

    def _taken(self, one: Refund, now: datetime, lease_until: datetime) -> Refund:
        is_lost = one.state is RefundState.SENDING
        taken = one._replace(
            fence=one.fence + 1,
            wake_at=lease_until,
            state=RefundState.UNKNOWN if is_lost else one.state,
            moved_at=now if is_lost else one.moved_at,
        )
        self.update([taken], was=[one])
        return taken

    def locked_of(self, imp_uid: str) -> list[Refund]:
        """Every refund of one payment, oldest first, locked until the transaction ends."""
        return [MAPPER.record(row) for row in self._connection.execute(_LOCKED_OF, {"imp_uid": imp_uid}).all()]

    def by_key(self, request_key: str) -> Refund | None:
        """The refund this request made, None when it made none yet."""
        row = self._connection.execute(_BY_KEY, {"request_key": request_key}).first()
        return MAPPER.record(row) if row else None

    def find(self, wanted: str) -> Refund:
        """The refund with this id.

        Raises:
            NotFound: there is none.
        """
        row = self._connection.execute(_FIND, {"refund_id": wanted}).first()
        if row is None:
            raise NotFound("refund", wanted)
        return MAPPER.record(row)
