"""Invoices and their lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from billing.domain.invoice import Invoice, InvoiceLine
from billing.domain.subscription import Subscription
from billing.errors import InvariantBroken
from billing.store import bulk
from billing.store.locking import Bucketed, is_one_of
from billing.store.mapping import Mapper
from billing.store.subscriptions import subscription_columns, subscription_of
from billing.store.tables import charge_day, counter, invoice, invoice_line, subscription

MAPPER = Mapper(Invoice, invoice)
LINES = Mapper(InvoiceLine, invoice_line, renamed={"tax_free": "is_tax_free"})

_update = MAPPER.picker(
    "id", "state", "moved_at", "next_attempt_at", "collection", "declines", "attempts_planned", "first_failed_at"
)
_NUMBERS = "invoice"


def _counted(insert: Any) -> Any:
    """Add to the counter, or begin it, and return where it stands now."""
    grown = {"value": counter.c.value + insert.excluded.value}
    return insert.on_conflict_do_update(index_elements=["name"], set_=grown).returning(counter.c.value)


_COUNTED = {"postgresql": _counted(postgresql.insert(counter)), "sqlite": _counted(sqlite.insert(counter))}
_ALL = select(*MAPPER.columns)
_PAIRS = select(*MAPPER.columns, *subscription_columns).join(subscription, subscription.c.id == invoice.c.subscription_id)
_IS_DUE = invoice.c.next_attempt_at <= bindparam("now")
_DUE_ORDER = (invoice.c.next_attempt_at, invoice.c.id)
_DUE = Bucketed(
    _ALL.where(_IS_DUE).order_by(*_DUE_ORDER).limit(bindparam("most")).with_for_update(skip_locked=True), invoice.c.bucket
)
_DUE_IDS = Bucketed(select(invoice.c.id).where(_IS_DUE).order_by(*_DUE_ORDER).limit(bindparam("most")), invoice.c.bucket)
_OWNERS = select(*subscription_columns).where(is_one_of(subscription.c.id)).with_for_update(skip_locked=True)
_HAS = select(invoice.c.id).where(
    invoice.c.subscription_id == bindparam("subscription_id"), invoice.c.period_index == bindparam("period_index")
)
_BY_STEMS = _ALL.where(is_one_of(invoice.c.uid_stem))
_READ = _PAIRS.where(is_one_of(invoice.c.id)).order_by(subscription.c.id, invoice.c.id)
_LOCK = _READ.with_for_update()
_LOCK_OPEN_OF = (
    _PAIRS.where(invoice.c.customer_id == bindparam("customer_id"), invoice.c.state == "open")
    .order_by(subscription.c.id, invoice.c.id)
    .with_for_update()
)
_LOCK_OPEN_OF_SUBSCRIPTION = (
    _ALL.where(invoice.c.subscription_id == bindparam("subscription_id"), invoice.c.state == "open")
    .order_by(invoice.c.period_index.desc())
    .with_for_update()
)
_HELD_DAYS = select(charge_day.c.subscription_id, charge_day.c.local_day, charge_day.c.attempt_id).where(
    is_one_of(charge_day.c.subscription_id), charge_day.c.local_day.in_(bindparam("days", expanding=True))
)
_LINES_OF = (
    select(*LINES.columns, invoice_line.c.invoice_id)
    .where(is_one_of(invoice_line.c.invoice_id))
    .order_by(invoice_line.c.invoice_id, invoice_line.c.position)
)


class Invoices:
    """The invoices of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def next_numbers(self, count: int) -> range:
        """Take `count` invoice numbers without a gap: the counter's row stays locked until the commit."""
        grown = _COUNTED[self._connection.dialect.name]
        last: int = self._connection.execute(grown, {"name": _NUMBERS, "value": count}).scalar_one()
        return range(last - count + 1, last + 1)

    def insert(self, invoices: Sequence[Invoice], lines: dict[str, Sequence[InvoiceLine]]) -> None:
        """Write new invoices with their lines; the natural key refuses a second one for a period."""
        bulk.insert_rows(self._connection, invoice, MAPPER.rows(invoices))
        bulk.insert_rows(
            self._connection,
            invoice_line,
            [{"invoice_id": invoice_id} | LINES.row(line) for invoice_id, some in lines.items() for line in some],
        )

    def update(self, invoices: Sequence[Invoice]) -> None:
        """Write what may change of locked invoices."""
        rows = _update(invoices)
        if bulk.update_rows(self._connection, invoice, ["id"], rows) != len(rows):
            raise InvariantBroken("an invoice vanished while it was locked")

    def claim_due(self, now: datetime, limit: int, *, buckets: range) -> list[tuple[Invoice, Subscription]]:
        """Lock up to `limit` open invoices whose next attempt is due, oldest first, skipping those others hold.

        Two statements, each a walk along one index: joined, the planner reads every subscription as soon as a
        few hundred invoices are due. Skipping also where the subscription is locked, this claim waits for nobody,
        so the usual order of locks need not be kept.
        """
        due = [MAPPER.record(row) for row in _DUE.run(self._connection, buckets, now=now, most=limit).all()]
        if not due:
            return []
        owners = self._connection.execute(_OWNERS, {"keys": sorted({one.subscription_id for one in due})})
        free = {one.id: one for one in map(subscription_of, owners.all())}
        return [(one, free[one.subscription_id]) for one in due if one.subscription_id in free]

    def due_ids(self, now: datetime, limit: int, *, buckets: range) -> list[str]:
        """Up to `limit` open invoices whose next attempt is due, oldest first, locked by nobody."""
        return list(_DUE_IDS.run(self._connection, buckets, now=now, most=limit).scalars())

    def has(self, subscription_id: str, period_index: int) -> bool:
        """True when this period of a subscription has its invoice."""
        asked = {"subscription_id": subscription_id, "period_index": period_index}
        return self._connection.execute(_HAS, asked).first() is not None

    def by_stems(self, stems: Sequence[str]) -> list[Invoice]:
        """The invoices whose order numbers begin so, in no particular order."""
        return [MAPPER.record(row) for row in self._connection.execute(_BY_STEMS, {"keys": stems})]

    def pairs(self, ids: Sequence[str]) -> list[tuple[Invoice, Subscription]]:
        """These invoices with their subscriptions, as they stand; nothing is locked."""
        return _pairs(self._connection.execute(_READ, {"keys": ids}).all())

    def lock(self, ids: Sequence[str]) -> list[tuple[Invoice, Subscription]]:
        """Lock these invoices with their subscriptions, in the one order everybody uses."""
        return _pairs(self._connection.execute(_LOCK, {"keys": ids}).all())

    def lock_open_of(self, customer_id: str) -> list[tuple[Invoice, Subscription]]:
        """Lock the open invoices of one customer."""
        return _pairs(self._connection.execute(_LOCK_OPEN_OF, {"customer_id": customer_id}).all())

    def lock_open_of_subscription(self, subscription_id: str) -> list[Invoice]:
        """Lock the open invoices of one subscription, newest period first."""
        rows = self._connection.execute(_LOCK_OPEN_OF_SUBSCRIPTION, {"subscription_id": subscription_id})
        return [MAPPER.record(row) for row in rows.all()]

    def take_days(self, wanted: Sequence[tuple[str, date, str]]) -> set[str]:
        """Take the one automatic charge of (subscription, local day) for an attempt each.

        Returns:
            The attempts that hold their day now, those that held it before included.
        """
        if not wanted:
            return set()
        rows = [{"subscription_id": one, "local_day": day, "attempt_id": attempt_id} for one, day, attempt_id in wanted]
        first = {(row["subscription_id"], row["local_day"]): row for row in reversed(rows)}
        bulk.insert_new_rows(self._connection, charge_day, list(first.values()), ["subscription_id", "local_day"])
        asked = {"keys": [one for one, _, _ in wanted], "days": sorted({day for _, day, _ in wanted})}
        held = {tuple(row) for row in self._connection.execute(_HELD_DAYS, asked).all()}
        return {attempt_id for one, day, attempt_id in wanted if (one, day, attempt_id) in held}

    def lines_of(self, invoice_ids: Sequence[str]) -> dict[str, list[InvoiceLine]]:
        """The lines of these invoices, in order."""
        found: dict[str, list[InvoiceLine]] = {one: [] for one in invoice_ids}
        for row in self._connection.execute(_LINES_OF, {"keys": invoice_ids}):
            found[row[-1]].append(LINES.record(row))
        return found


def _pairs(rows: Sequence[Row[Any]]) -> list[tuple[Invoice, Subscription]]:
    width = len(MAPPER.columns)
    return [(MAPPER.record(row), subscription_of(row[width:])) for row in rows]
