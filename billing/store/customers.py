"""Customers and their billing keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, or_, select

from billing.domain.customer import BillingKey, Customer
from billing.errors import NotFound
from billing.store import bulk
from billing.store.locking import is_one_of
from billing.store.mapping import Mapper
from billing.store.tables import billing_key, customer

CUSTOMER, KEY = Mapper(Customer, customer), Mapper(BillingKey, billing_key)
_key_update = KEY.picker(
    "id", "state", "pg_provider", "pg_id", "card_name", "card_number", "card_type", "confirmed_at", "removed_at"
)
_FIND = select(*CUSTOMER.columns).where(or_(customer.c.id == bindparam("wanted"), customer.c.external_id == bindparam("wanted")))
_LOCK = _FIND.with_for_update()
_OWNER_OF = (
    select(*CUSTOMER.columns)
    .join(billing_key, billing_key.c.customer_id == customer.c.id)
    .where(billing_key.c.customer_uid == bindparam("customer_uid"))
    .with_for_update()
)
_OWNERS_OF = select(billing_key.c.customer_uid, billing_key.c.customer_id).where(is_one_of(billing_key.c.customer_uid))
_IS_KNOWN = select(customer.c.id).where(customer.c.external_id == bindparam("external_id"))
_WITH_CURRENT_KEYS = (
    select(*CUSTOMER.columns, *KEY.columns)
    .outerjoin(billing_key, (billing_key.c.customer_id == customer.c.id) & (billing_key.c.state == "current"))
    .where(is_one_of(customer.c.id))
)
_KEYS_OF = (
    select(*KEY.columns)
    .where(billing_key.c.customer_id == bindparam("customer_id"))
    .order_by(billing_key.c.created_at, billing_key.c.id)
)
_UNSETTLED_KEYS = (
    select(*KEY.columns)
    .where(billing_key.c.state.in_(["pending", "retired"]), billing_key.c.created_at <= bindparam("before"))
    .order_by(billing_key.c.created_at)
    .limit(bindparam("most"))
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
        row = self._connection.execute(_LOCK if lock else _FIND, {"wanted": wanted}).first()
        if row is None:
            raise NotFound("customer", wanted)
        return CUSTOMER.record(row)

    def owner_of(self, customer_uid: str) -> Customer:
        """The customer a `customer_uid` was minted for, locked.

        Raises:
            NotFound: we never minted it.
        """
        row = self._connection.execute(_OWNER_OF, {"customer_uid": customer_uid}).first()
        if row is None:
            raise NotFound("card", customer_uid)
        return CUSTOMER.record(row)

    def owners_of(self, customer_uids: Sequence[str]) -> dict[str, str]:
        """Whose cards these are: `customer_uid` → customer id; cards we never minted are left out."""
        if not customer_uids:
            return {}
        rows = self._connection.execute(_OWNERS_OF, {"keys": customer_uids}).all()
        return dict(rows)

    def is_known(self, external_id: str) -> bool:
        """True when the external id is taken."""
        return self._connection.execute(_IS_KNOWN, {"external_id": external_id}).first() is not None

    def with_current_keys(self, customer_ids: Sequence[str]) -> dict[str, tuple[Customer, BillingKey | None]]:
        """These customers, each with the key it is charged to, or None."""
        width = len(CUSTOMER.columns)
        return {
            row[0]: (CUSTOMER.record(row), KEY.record(row[width:]) if row[width] is not None else None)
            for row in self._connection.execute(_WITH_CURRENT_KEYS, {"keys": customer_ids}).all()
        }

    def keys_of(self, customer_id: str) -> list[BillingKey]:
        """All keys a customer ever had, oldest first."""
        return [KEY.record(row) for row in self._connection.execute(_KEYS_OF, {"customer_id": customer_id}).all()]

    def unsettled_keys(self, before: datetime, limit: int) -> list[BillingKey]:
        """Keys written before `before` that are neither in use nor gone: replaced ones, and registrations nobody finished."""
        return [KEY.record(row) for row in self._connection.execute(_UNSETTLED_KEYS, {"before": before, "most": limit}).all()]

    def insert_key(self, one: BillingKey) -> None:
        """Write a new key; the one-current index refuses a second current one."""
        bulk.insert_rows(self._connection, billing_key, [KEY.row(one)])

    def update_keys(self, keys: Sequence[BillingKey]) -> None:
        """Write what may change of these keys, in the order given."""
        for row in _key_update(keys):
            bulk.update_rows(self._connection, billing_key, ["id"], [row])
