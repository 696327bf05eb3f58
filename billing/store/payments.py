"""Payments: facts verified at the PG, one row per `imp_uid`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from billing.store import bulk
from billing.store.locking import is_one_of
from billing.store.mapping import Mapper
from billing.store.tables import payment


class Payment(NamedTuple):
    """Money the PG confirmed; `role` says what it means to us: invoice, surplus or mismatch."""

    imp_uid: str
    attempt_id: str
    invoice_id: str
    merchant_uid: str
    role: str
    amount: int
    currency: str
    pg_provider: str
    pg_tid: str
    card_name: str
    receipt_url: str
    paid_at: datetime | None
    booked_at: datetime
    refunded: int = 0
    refund_reserved: int = 0


MAPPER = Mapper(Payment, payment)
_ALL = select(*MAPPER.columns)
_KNOWN = select(payment.c.imp_uid).where(is_one_of(payment.c.imp_uid))
_BY_IMP_UIDS = _ALL.where(is_one_of(payment.c.imp_uid))
_PAID_BETWEEN = _ALL.where(
    payment.c.booked_at >= bindparam("since"), payment.c.paid_at >= bindparam("since"), payment.c.paid_at < bindparam("until")
)
_CANARY = select(payment.c.imp_uid).order_by(payment.c.booked_at.desc(), payment.c.imp_uid.desc()).limit(1)
_NEWEST = select(func.max(payment.c.paid_at))
_OF_ATTEMPT = _ALL.where(payment.c.attempt_id == bindparam("attempt_id")).order_by(payment.c.booked_at)
_ONE = _ALL.where(payment.c.imp_uid == bindparam("imp_uid"))
# Not its key: the refund rows that point at it need only that.
_LOCK, _LOCK_FREE = (_ONE.with_for_update(key_share=True, skip_locked=skips) for skips in (False, True))
_SETTLING = select(payment.c.imp_uid).where(payment.c.invoice_id == bindparam("invoice_id"), payment.c.role == "invoice")
_INVOICES_OF = select(payment.c.imp_uid, payment.c.invoice_id).where(is_one_of(payment.c.imp_uid))


class Payments:
    """The payments of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, payments: Sequence[Payment]) -> None:
        """Write verified payments; the same `imp_uid` is never written twice."""
        bulk.insert_rows(self._connection, payment, MAPPER.rows(payments))

    def known(self, imp_uids: Sequence[str]) -> set[str]:
        """Which of these PG records are booked already."""
        if not imp_uids:
            return set()
        return set(self._connection.execute(_KNOWN, {"keys": imp_uids}).scalars())

    def by_imp_uids(self, imp_uids: Sequence[str]) -> dict[str, Payment]:
        """The payments booked under these PG ids; unknown ones are left out."""
        if not imp_uids:
            return {}
        return {row[0]: MAPPER.record(row) for row in self._connection.execute(_BY_IMP_UIDS, {"keys": imp_uids}).all()}

    def paid_between(self, since: datetime, until: datetime) -> list[Payment]:
        """What was paid in [since, until) by the PG's clock, as far as it was booked no earlier than that.

        The index is on the day of booking, which a test clock may put elsewhere; then less is found, never too much.
        """
        return [MAPPER.record(row) for row in self._connection.execute(_PAID_BETWEEN, {"since": since, "until": until})]

    def canary(self) -> str | None:
        """A payment that must be found by any honest look-up: the one booked last."""
        return self._connection.execute(_CANARY).scalar()

    def newest_paid_at(self) -> datetime | None:
        """When the newest payment we know was paid, by the PG's clock."""
        return self._connection.execute(_NEWEST).scalar()

    def of_attempt(self, attempt_id: str) -> list[Payment]:
        """What one attempt brought, oldest first."""
        return [MAPPER.record(row) for row in self._connection.execute(_OF_ATTEMPT, {"attempt_id": attempt_id})]

    def lock(self, imp_uid: str, *, skips_locked: bool = False) -> Payment | None:
        """Lock one payment; None when there is none, or (with `skips_locked`) when somebody else holds it."""
        row = self._connection.execute(_LOCK_FREE if skips_locked else _LOCK, {"imp_uid": imp_uid}).first()
        return MAPPER.record(row) if row else None

    def settling(self, invoice_id: str) -> str | None:
        """The `imp_uid` of the payment that settled an invoice, None while none has."""
        return self._connection.execute(_SETTLING, {"invoice_id": invoice_id}).scalar()

    def invoices_of(self, imp_uids: Sequence[str]) -> dict[str, str]:
        """The invoice each of these payments was made for; unknown payments are left out."""
        return dict(self._connection.execute(_INVOICES_OF, {"keys": imp_uids}).all())

    def set_role(self, imp_uid: str, role: str) -> None:
        """Say what a parked payment turned out to be."""
        self._connection.execute(update(payment).where(payment.c.imp_uid == imp_uid).values(role=role))
