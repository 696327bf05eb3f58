"""Virtual accounts: where a buyer was told to pay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from billing.store import bulk
from billing.store.mapping import Mapper
from billing.store.tables import virtual_account


class Account(NamedTuple):
    """One account as the PG issued it for one attempt; `amount` in minor units, `due_at` its last instant."""

    imp_uid: str
    attempt_id: str
    invoice_id: str
    bank_code: str
    bank_name: str
    number: str
    holder: str
    amount: int
    currency: str
    due_at: datetime | None
    issued_at: datetime


MAPPER = Mapper(Account, virtual_account)
_OF_INVOICE = (
    select(*MAPPER.columns).where(virtual_account.c.invoice_id == bindparam("invoice_id")).order_by(virtual_account.c.issued_at)
)


class Accounts:
    """The virtual accounts of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, accounts: Sequence[Account]) -> None:
        """Write new accounts; one that is known stays as it is."""
        bulk.insert_new_rows(self._connection, virtual_account, MAPPER.rows(accounts), ["imp_uid"])

    def of_invoice(self, invoice_id: str) -> list[Account]:
        """Every account an invoice ever had, oldest first."""
        return [MAPPER.record(row) for row in self._connection.execute(_OF_INVOICE, {"invoice_id": invoice_id})]
