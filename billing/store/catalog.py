"""Plans and prices as stored: a price version never changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from billing.domain.renewal import Terms
from billing.errors import NotFound
from billing.store.locking import is_one_of
from billing.store.tables import plan, price
from plans.calendar import Alignment, Interval, Unit
from plans.catalog import Plan, Price
from plans.money import Money


@dataclass(frozen=True, slots=True)
class StoredPrice:
    """A price version with its id in this database."""

    id: str
    price: Price
    is_current: bool
    is_archived: bool

    @property
    def terms(self) -> Terms:
        """What a renewal needs of it."""
        one = self.price
        return Terms(self.id, one.name, one.amount, one.setup_fee, one.tax_free)


_PRICES: Select[Any] = select(*price.c, plan.c.code.label("plan_code"), plan.c.is_archived.label("plan_is_archived")).join(plan)
_OF_PLAN = _PRICES.where(plan.c.code == bindparam("plan_code")).order_by(price.c.code, price.c.version)
_CURRENT = _PRICES.where(price.c.code == bindparam("price_code"), price.c.is_current)
_BY_IDS = _PRICES.where(is_one_of(price.c.id))


class Catalog:
    """The catalogue of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def plan(self, code: str) -> Plan | None:
        """A plan with its current prices, None when there is none."""
        row = self._connection.execute(select(plan).where(plan.c.code == code)).first()
        if row is None:
            return None
        prices = tuple(one.price for one in self.prices(code) if one.is_current)
        return Plan(code=row.code, name=row.name, prices=prices, archived=row.is_archived)

    def plan_codes(self) -> list[str]:
        """Codes of all plans."""
        return list(self._connection.execute(select(plan.c.code).order_by(plan.c.code)).scalars())

    def prices(self, plan_code: str) -> list[StoredPrice]:
        """Every version of every price of a plan."""
        return [_stored(row) for row in self._connection.execute(_OF_PLAN, {"plan_code": plan_code})]

    def current_price(self, code: str) -> StoredPrice:
        """The version of a price that is on sale.

        Raises:
            NotFound: no such price.
        """
        row = self._connection.execute(_CURRENT, {"price_code": code}).first()
        if row is None:
            raise NotFound("price", code)
        return _stored(row)

    def by_ids(self, ids: Sequence[str]) -> dict[str, StoredPrice]:
        """Price versions by id."""
        if not ids:
            return {}
        return {row.id: _stored(row) for row in self._connection.execute(_BY_IDS, {"keys": ids})}

    def insert_plan(self, plan_id: str, one: Plan, at: datetime) -> None:
        """Write a new plan without its prices."""
        self._connection.execute(insert(plan).values(id=plan_id, code=one.code, name=one.name, is_archived=False, created_at=at))

    def rename_plan(self, code: str, name: str) -> None:
        """Give a plan another name; invoices already opened keep theirs."""
        self._connection.execute(update(plan).where(plan.c.code == code).values(name=name))

    def archive_plan(self, code: str, *, is_archived: bool) -> bool:
        """Take a plan off sale, or put it back; its subscriptions go on. False when there is no such plan."""
        query = update(plan).where(plan.c.code == code).values(is_archived=is_archived)
        return self._connection.execute(query).rowcount > 0

    def insert_price(self, price_id: str, one: Price, at: datetime) -> None:
        """Put a new version on sale; the version before it stays for those who bought it."""
        self._connection.execute(update(price).where(price.c.code == one.code, price.c.is_current).values(is_current=False))
        plan_id = self._connection.execute(select(plan.c.id).where(plan.c.code == one.plan_code)).scalar_one()
        self._connection.execute(
            insert(price).values(
                id=price_id,
                plan_id=plan_id,
                code=one.code,
                version=one.version,
                name=one.name,
                amount=one.amount.amount,
                currency=one.amount.currency,
                interval_count=one.interval.count,
                interval_unit=one.interval.unit.value,
                alignment=one.alignment.value,
                trial_days=one.trial_days,
                setup_fee=one.setup_fee.amount,
                is_tax_free=one.tax_free,
                is_current=True,
                created_at=at,
            )
        )


def _stored(row: Row[Any]) -> StoredPrice:
    one = Price(
        code=row.code,
        version=row.version,
        plan_code=row.plan_code,
        amount=Money(row.amount, row.currency),
        interval=Interval(row.interval_count, Unit(row.interval_unit)),
        trial_days=row.trial_days,
        setup_fee=Money(row.setup_fee, row.currency),
        alignment=Alignment(row.alignment),
        tax_free=row.is_tax_free,
        name=row.name,
    )
    return StoredPrice(row.id, one, row.is_current, row.plan_is_archived)
