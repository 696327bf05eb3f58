"""Checkouts: the links buyers were given, and how far each has come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from billing.domain.checkout import Checkout
from billing.errors import NotFound
from billing.store import bulk
from billing.store.locking import is_one_of
from billing.store.mapping import Mapper
from billing.store.tables import checkout

MAPPER = Mapper(Checkout, checkout)
_update = MAPPER.picker("id", "state", "merchant_uid", "customer_uid", "openings", "opened_at", "done_at")
_ALL = select(*MAPPER.columns)
_FIND = _ALL.where(checkout.c.id == bindparam("id"))
_LOCK = _FIND.with_for_update()
_BY_UIDS = _ALL.where(is_one_of(checkout.c.merchant_uid)).order_by(checkout.c.opened_at, checkout.c.id)
_OF_CARD = _ALL.where(checkout.c.customer_uid == bindparam("customer_uid")).with_for_update()
_OPENED = select(checkout.c.customer_uid).where(
    is_one_of(checkout.c.customer_uid), checkout.c.opened_at > bindparam("after", type_=checkout.c.opened_at.type)
)


class Checkouts:
    """The checkouts of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, one: Checkout) -> None:
        """Write a new checkout."""
        bulk.insert_rows(self._connection, checkout, [MAPPER.row(one)])

    def update(self, one: Checkout) -> None:
        """Write what may change of a locked checkout."""
        bulk.update_rows(self._connection, checkout, ["id"], _update([one]))

    def find(self, id: str, *, lock: bool = False) -> Checkout:
        """The checkout with this id.

        Raises:
            NotFound: there is none.
        """
        row = self._connection.execute(_LOCK if lock else _FIND, {"id": id}).first()
        if row is None:
            raise NotFound("checkout", id)
        return MAPPER.record(row)

    def by_uids(self, merchant_uids: Sequence[str]) -> dict[str, Checkout]:
        """For each order number the checkout whose window was opened under it last; unknown numbers are left out."""
        found = self._connection.execute(_BY_UIDS, {"keys": merchant_uids}).all()
        return {one.merchant_uid or "": one for one in map(MAPPER.record, found)}

    def of_card(self, customer_uid: str) -> Checkout | None:
        """The checkout that registers this card, locked; None for a card that was keyed in."""
        row = self._connection.execute(_OF_CARD, {"customer_uid": customer_uid}).first()
        return MAPPER.record(row) if row else None

    def opened(self, customer_uids: Sequence[str], after: datetime) -> set[str]:
        """Which of these cards may be in a window right now: it was opened after `after`."""
        return set(self._connection.execute(_OPENED, {"keys": customer_uids, "after": after}).scalars())
