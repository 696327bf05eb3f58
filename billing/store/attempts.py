"""Charge attempts: claimed, armed, settled. Money decisions are taken elsewhere; here is only where they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, or_, select, update

from billing.domain.attempt import LIVE, AttemptState, ChargeAttempt
from billing.errors import InvariantBroken, NotFound
from billing.store import bulk
from billing.store.locking import Bucketed, is_one_of
from billing.store.mapping import Mapper
from billing.store.tables import attempt

MAPPER = Mapper(ChargeAttempt, attempt)

_update = MAPPER.picker(
    "id", "state", "fence", "wire_count", "looks", "wake_at", "token_fp", "sent_at", "first_negative_at", "superseded_at",
    "refusal", "hint_imp_uid", "imp_uid", "fail_code", "fail_reason", "fail_class", "moved_at",
)  # fmt: skip
_ALL = select(*MAPPER.columns)
_AWAKE = Bucketed(
    _ALL.where(attempt.c.wake_at <= bindparam("now"), attempt.c.state.in_(bindparam("states", expanding=True)))
    .order_by(attempt.c.wake_at, attempt.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True),
    attempt.c.bucket,
)
_FREE = (
    _ALL.where(is_one_of(attempt.c.id), attempt.c.wake_at <= bindparam("now"))
    .order_by(attempt.c.id)
    .with_for_update(skip_locked=True)
)
_BY_UIDS = _ALL.where(is_one_of(attempt.c.merchant_uid))
_FIND = _ALL.where(or_(attempt.c.id == bindparam("wanted"), attempt.c.merchant_uid == bindparam("wanted")))
_LOCKED = _ALL.where(is_one_of(attempt.c.id)).order_by(attempt.c.id).with_for_update()
_OF_INVOICES = _ALL.where(is_one_of(attempt.c.invoice_id)).order_by(attempt.c.invoice_id, attempt.c.seq)
_LIVE_ON_KEY = select(func.count()).where(
    attempt.c.customer_uid == bindparam("customer_uid"), attempt.c.state.in_([state.value for state in LIVE])
)
_WAKE = (
    update(attempt)
    .where(is_one_of(attempt.c.id), attempt.c.state.in_(["planned", "unknown"]))
    .values(wake_at=bindparam("at", type_=attempt.c.wake_at.type))
)


class Attempts:
    """The attempts of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, attempts: Sequence[ChargeAttempt]) -> None:
        """Write new attempts; the one-live index refuses a second one of an invoice."""
        bulk.insert_rows(self._connection, attempt, MAPPER.rows(attempts))

    def update(self, attempts: Sequence[ChargeAttempt], *, was: Sequence[ChargeAttempt]) -> None:
        """Write what changed, each only while its fence is the one that was read.

        Raises:
            InvariantBroken: an attempt changed under our lock; nothing of the transaction may stand.
        """
        rows = _update(attempts)
        for row, before in zip(rows, was, strict=True):
            row["fence_was"] = before.fence
        matched = bulk.update_rows(self._connection, attempt, ["id"], rows, equals={"fence": "fence_was"})
        if matched != len(rows):
            raise InvariantBroken(f"{len(rows) - matched} of {len(rows)} attempts changed while they were locked")

    def claim_awake(
        self, now: datetime, lease_until: datetime, limit: int, *, buckets: range, states: Sequence[AttemptState]
    ) -> list[ChargeAttempt]:
        """Take up to `limit` live attempts nobody holds: their lease ended or their next look is due.

        The taker's fence is one higher than before. A SENDING one whose holder vanished is UNKNOWN from here on:
        its request may have arrived.
        """
        rows = _AWAKE.run(self._connection, buckets, now=now, states=[state.value for state in states], most=limit)
        return self._taken([MAPPER.record(row) for row in rows], now, lease_until)

    def claim(self, ids: Sequence[str], now: datetime, lease_until: datetime) -> list[ChargeAttempt]:
        """Take these attempts if nobody holds them now; the others are left out."""
        rows = self._connection.execute(_FREE, {"keys": ids, "now": now})
        return self._taken([MAPPER.record(row) for row in rows], now, lease_until)

    def _taken(self, found: list[ChargeAttempt], now: datetime, lease_until: datetime) -> list[ChargeAttempt]:
        taken = [
            one._replace(
                fence=one.fence + 1,
                wake_at=lease_until,
                state=AttemptState.UNKNOWN if one.state is AttemptState.SENDING else one.state,
                moved_at=now if one.state is AttemptState.SENDING else one.moved_at,
            )
            for one in found
        ]
        self.update(taken, was=found)
        return taken

    def by_uids(self, merchant_uids: Sequence[str]) -> list[ChargeAttempt]:
        """The attempts with these order numbers, in no particular order; unknown numbers are left out."""
        return [MAPPER.record(row) for row in self._connection.execute(_BY_UIDS, {"keys": merchant_uids}).all()]

    def find(self, wanted: str) -> ChargeAttempt:
        """The attempt with this id or order number.

        Raises:
            NotFound: there is none.
        """
        row = self._connection.execute(_FIND, {"wanted": wanted}).first()
        if row is None:
            raise NotFound("attempt", wanted)
        return MAPPER.record(row)

    def locked(self, ids: Sequence[str]) -> dict[str, ChargeAttempt]:
        """The attempts with these ids, locked until the transaction ends."""
        return {row[0]: MAPPER.record(row) for row in self._connection.execute(_LOCKED, {"keys": ids}).all()}

    def of_invoices(self, invoice_ids: Sequence[str]) -> dict[str, list[ChargeAttempt]]:
        """All attempts of these invoices, oldest number first."""
        found: dict[str, list[ChargeAttempt]] = {one: [] for one in invoice_ids}
        for row in self._connection.execute(_OF_INVOICES, {"keys": invoice_ids}):
            one = MAPPER.record(row)
            found[one.invoice_id].append(one)
        return found

    def live_on_key(self, customer_uid: str) -> int:
        """How many attempts on this card are not decided yet."""
        return int(self._connection.execute(_LIVE_ON_KEY, {"customer_uid": customer_uid}).scalar_one())

    def wake(self, ids: Sequence[str], at: datetime) -> None:
        """Let these live attempts be looked at from `at` on."""
        self._connection.execute(_WAKE, {"keys": ids, "at": at})
