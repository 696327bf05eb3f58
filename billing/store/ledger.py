"""The ledger: rows are appended, never changed; (kind, ref) happens once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from billing.domain.ledger import Transfer
from billing.ports import NewId
from billing.store import bulk
from billing.store.mapping import Mapper
from billing.store.tables import ledger_transfer

_MAPPER = Mapper(Transfer, ledger_transfer)
_HAS = select(ledger_transfer.c.id).where(ledger_transfer.c.kind == bindparam("kind"), ledger_transfer.c.ref == bindparam("ref"))


class Ledger:
    """The ledger of one transaction."""

    def __init__(self, connection: Connection, new_id: NewId) -> None:
        self._connection = connection
        self._new_id = new_id

    def post(self, transfers: Sequence[Transfer], at: datetime) -> None:
        """Append transfers; a second one of the same (kind, ref) is refused by the database."""
        rows = [{"id": self._new_id(), "booked_at": at} | _MAPPER.row(one) for one in transfers]
        bulk.insert_rows(self._connection, ledger_transfer, rows)

    def has(self, kind: str, ref: str) -> bool:
        """True when this transfer was booked."""
        return self._connection.execute(_HAS, {"kind": kind, "ref": ref}).first() is not None
