"""Customers and their billing keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, or_, select

from billing.domain.customer import BillingKey, Customer
from billing.errors import NotFound
from billing.store import bulk
from billing.store.locking import key_list
from billing.store.mapping import Mapper
from billing.store.tables import billing_key, customer

CUSTOMER, KEY = Mapper(Customer, customer), Mapper(BillingKey, billing_key)
_key_update = KEY.picker(
    "id", "state", "pg_provider", "pg_id", "card_name", "card_number", "card_type", "confirmed_at", "removed_at"
)


class Customers:
    """The customers of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, one: Customer) -> None:
        """Write a new customer; the external id is unique."""
        bulk.insert_rows(self._connection, customer, [CUSTOMER.row(one)])

    def find(self, wanted: str, *, lock: bool = False) -> Customer:
        """The customer with this id or external id.

        Raises:
            NotFound: there is none.
        """
        query = select(*CUSTOMER.columns).where(or_(customer.c.id == wanted, customer.c.external_id == wanted))
        row = self._connection.execute(query.with_for_update() if lock else query).first()
        if row is None:
            raise NotFound("customer", wanted)
        return CUSTOMER.record(row)

    def owner_of(self, customer_uid: str) -> Customer:
        """The customer a `customer_uid` was minted for, locked.

        Raises:
            NotFound: we never minted it.
        """
        query = select(*CUSTOMER.columns).join(billing_key, billing_key.c.customer_id == customer.c.id)
        row = self._connection.execute(query.where(billing_key.c.customer_uid == customer_uid).with_for_update()).first()
        if row is None:
            raise NotFound("card", customer_uid)
        return CUSTOMER.record(row)

    def owners_of(self, customer_uids: Sequence[str]) -> dict[str, str]:
        """Whose cards these are: `customer_uid` → customer id; cards we never minted are left out."""
        if not customer_uids:
            return {}
        wanted = billing_key.c.customer_uid.in_(key_list(self._connection, customer_uids))
        query = select(billing_key.c.customer_uid, billing_key.c.customer_id).where(wanted)
        return {row.customer_uid: row.customer_id for row in self._connection.execute(query).all()}

    def is_known(self, external_id: str) -> bool:
        """True when the external id is taken."""
        return self._connection.execute(select(customer.c.id).where(customer.c.external_id == external_id)).first() is not None

    def with_current_keys(self, customer_ids: Sequence[str]) -> dict[str, tuple[Customer, BillingKey | None]]:
        """These customers, each with the key it is charged to, or None."""
        query = (
            select(*CUSTOMER.columns, *KEY.columns)
            .outerjoin(billing_key, (billing_key.c.customer_id == customer.c.id) & (billing_key.c.state == "current"))
            .where(customer.c.id.in_(key_list(self._connection, customer_ids)))
        )
        width = len(CUSTOMER.columns)
        return {
            row[0]: (CUSTOMER.record(row), KEY.record(row[width:]) if row[width] is not None else None)
            for row in self._connection.execute(query).all()
        }

    def keys_of(self, customer_id: str) -> list[BillingKey]:
        """All keys a customer ever had, oldest first."""
        query = (
            select(*KEY.columns)
            .where(billing_key.c.customer_id == customer_id)
            .order_by(billing_key.c.created_at, billing_key.c.id)
        )
        return [KEY.record(row) for row in self._connection.execute(query).all()]

    def unsettled_keys(self, before: datetime, limit: int) -> list[BillingKey]:
        """Keys written before `before` that are neither in use nor gone: replaced ones, and registrations nobody finished."""
        query = (
            select(*KEY.columns)
            .where(billing_key.c.state.in_(["pending", "retired"]), billing_key.c.created_at <= before)
            .order_by(billing_key.c.created_at)
            .limit(limit)
        )
        return [KEY.record(row) for row in self._connection.execute(query).all()]

    def insert_key(self, one: BillingKey) -> None:
        """Write a new key; the one-current index refuses a second current one."""
        bulk.insert_rows(self._connection, billing_key, [KEY.row(one)])

    def update_keys(self, keys: Sequence[BillingKey]) -> None:
        """Write what may change of these keys, in the order given."""
        for row in _key_update(keys):
            bulk.update_rows(self._connection, billing_key, ["id"], [row])
