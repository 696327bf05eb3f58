"""Read-only questions of the CLI and the admin page, answered as plain JSON values.

Every list is one statement and comes newest first; `after` is the id a page ended with. No answer
holds a secret: of a card only the number as the PG masked it is ever stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Select, and_, func, or_, select

from billing.errors import NotFound
from billing.store import shapes
from billing.store.locking import is_one_of
from billing.store.shapes import Json
from billing.store.tables import (
    attempt,
    billing_key,
    checkout,
    customer,
    finding,
    invoice,
    invoice_line,
    outbox_event,
    payment,
    plan,
    price,
    refund,
    subscription,
    virtual_account,
    webhook_inbox,
)
from billing.store.unit import Store

INVOICES_SHOWN = 24

_SUBSCRIPTIONS = (
    select(
        subscription,
        customer.c.external_id.label("customer"),
        plan.c.code.label("plan"),
        price.c.code.label("price"),
        price.c.version.label("price_version"),
        price.c.amount.label("unit_amount"),
        price.c.currency,
    )
    .join(customer, customer.c.id == subscription.c.customer_id)
    .join(price, price.c.id == subscription.c.price_id)
    .join(plan, plan.c.id == price.c.plan_id)
)
_INVOICES = (
    select(invoice, customer.c.external_id.label("customer"), subscription.c.time_zone)
    .join(customer, customer.c.id == invoice.c.customer_id)
    .join(subscription, subscription.c.id == invoice.c.subscription_id)
)
_ATTEMPTS = (
    select(attempt, customer.c.external_id.label("customer"), invoice.c.number.label("invoice_number"))
    .join(customer, customer.c.id == attempt.c.customer_id)
    .join(invoice, invoice.c.id == attempt.c.invoice_id)
)
_REFUNDS = (
    select(refund, invoice.c.number.label("invoice_number"), invoice.c.customer_id, customer.c.external_id.label("customer"))
    .join(invoice, invoice.c.id == refund.c.invoice_id)
    .join(customer, customer.c.id == invoice.c.customer_id)
)
_CHECKOUTS = (
    select(
        checkout,
        customer.c.external_id.label("customer"),
        invoice.c.number.label("invoice_number"),
        invoice.c.state.label("invoice_state"),
    )
    .join(customer, customer.c.id == checkout.c.customer_id)
    .outerjoin(invoice, invoice.c.id == checkout.c.invoice_id)
)
_EVENTS = select(outbox_event, customer.c.external_id.label("customer")).outerjoin(
    customer, customer.c.id == outbox_event.c.customer_id
)


class Views:
    """What stands in the database, for people and scripts to read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # --- customers and cards ---------------------------------------------------------------------

    def customers(self, *, limit: int = 50, after: str | None = None) -> list[Json]:
        """Customers, each with its current card or None."""
        is_current = (billing_key.c.customer_id == customer.c.id) & (billing_key.c.state == "current")
        query = select(customer, billing_key.c.card_name, billing_key.c.card_number).outerjoin(billing_key, is_current)
        return self._page(query, customer.c.id, limit, after, lambda row: {**shapes.customer(row), "card": _card(row)})

    def customer(self, wanted: str) -> Json:
        """One customer with all its cards and subscriptions, by id or external id."""
        with self._store.read() as tx:
            found = tx.customers.find(wanted).id
            row = tx.connection.execute(select(customer).where(customer.c.id == found)).mappings().one()
            cards = (
                select(billing_key).where(billing_key.c.customer_id == found).order_by(billing_key.c.created_at, billing_key.c.id)
            )
            own = _SUBSCRIPTIONS.where(subscription.c.customer_id == found).order_by(subscription.c.id.desc())
            return {
                **shapes.customer(row),
                "cards": _all(tx.connection, cards, shapes.key),
                "subscriptions": _all(tx.connection, own, shapes.subscription),
            }

    def cards(self, wanted: str) -> list[Json]:
        """Every card a customer ever had, oldest first."""
        cards: list[Json] = self.customer(wanted)["cards"]
        return cards

    # --- catalogue -------------------------------------------------------------------------------

    def plans(self) -> list[Json]:
        """All plans, each with the prices on sale."""
        return self._plans(select(plan).order_by(plan.c.code), only_current=True)

    def plan(self, code: str) -> Json:
        """One plan with every version of its prices."""
        found = self._plans(select(plan).where(plan.c.code == code), only_current=False)
        if not found:
            raise NotFound("plan", code)
        return found[0]

    def _plans(self, query: Select[Any], *, only_current: bool) -> list[Json]:
        prices = select(price).order_by(price.c.code, price.c.version)
        with self._store.read() as tx:
            rows = tx.connection.execute(query).mappings().all()
            ids = [row["id"] for row in rows]
            own = tx.connection.execute(prices.where(price.c.plan_id.in_(ids))).mappings().all()
        return [
            {
                **shapes.picked(row, "id", "code", "name", "is_archived", "created_at"),
                "prices": [
                    shapes.price(one) for one in own if one["plan_id"] == row["id"] and (one["is_current"] or not only_current)
                ],
            }
            for row in rows
        ]

    # --- subscriptions ---------------------------------------------------------------------------

    def subscriptions(
        self, *, state: str | None = None, of: str | None = None, limit: int = 50, after: str | None = None
    ) -> list[Json]:
        """Subscriptions; `of` is a customer's id or external id."""
        query = _narrowed(_SUBSCRIPTIONS, {subscription.c.state: state, subscription.c.customer_id: self._customer_id(of)})
        return self._page(query, subscription.c.id, limit, after, shapes.subscription)

    def subscription(self, wanted: str) -> Json:
        """One subscription with its newest invoices."""
        with self._store.read() as tx:
            row = tx.connection.execute(_SUBSCRIPTIONS.where(subscription.c.id == wanted)).mappings().first()
            if row is None:
                raise NotFound("subscription", wanted)
            own = _INVOICES.where(invoice.c.subscription_id == wanted).order_by(invoice.c.number.desc()).limit(INVOICES_SHOWN)
            return {**shapes.subscription(row), "invoices": _all(tx.connection, own, shapes.invoice)}

    # --- invoices and attempts -------------------------------------------------------------------

    def invoices(
        self, *, state: str | None = None, of: str | None = None, limit: int = 50, after: str | None = None
    ) -> list[Json]:
        """Invoices by number; `of` is a customer's id or external id, `after` an invoice's id or number."""
        query = _narrowed(_INVOICES, {invoice.c.state: state, invoice.c.customer_id: self._customer_id(of)})
        number = self.briefs([after])[after]["number"] if after is not None else None
        return self._page(query, invoice.c.number, limit, number, shapes.invoice)

    def invoice(self, wanted: str) -> Json:
        """One invoice with its lines, attempts, payments, refunds, virtual accounts and links, by id or number."""
        (found,) = self.invoice_ids([wanted])
        with self._store.read() as tx:
            row = tx.connection.execute(_INVOICES.where(invoice.c.id == found)).mappings().one()
            lines = select(invoice_line).where(invoice_line.c.invoice_id == found).order_by(invoice_line.c.position)
            tries = _ATTEMPTS.where(attempt.c.invoice_id == found).order_by(attempt.c.seq)
            payments = select(payment).where(payment.c.invoice_id == found).order_by(payment.c.booked_at, payment.c.imp_uid)
            accounts = select(virtual_account).where(virtual_account.c.invoice_id == found).order_by(virtual_account.c.issued_at)
            windows = _CHECKOUTS.where(checkout.c.invoice_id == found).order_by(checkout.c.created_at, checkout.c.id)
            return {
                **shapes.invoice(row),
                "lines": _all(tx.connection, lines, lambda one: shapes.line(one, row["currency"])),
                "attempts": _all(tx.connection, tries, shapes.attempt),
                "payments": _all(tx.connection, payments, shapes.payment),
                "refunds": _all(tx.connection, _REFUNDS.where(refund.c.invoice_id == found).order_by(refund.c.id), shapes.refund),
                "accounts": _all(tx.connection, accounts, shapes.account),
                "windows": _all(tx.connection, windows, shapes.checkout),
            }

    def invoice_ids(self, wanted: Sequence[str]) -> list[str]:
        """The ids of invoices named by id or number, in the order asked, each once.

        Raises:
            NotFound: names the first that does not exist.
        """
        return list(dict.fromkeys(one["id"] for one in self.briefs(wanted).values()))

    def briefs(self, wanted: Sequence[str]) -> dict[str, Json]:
        """Id, number and state of invoices, under the id or number they were asked by.

        Raises:
            NotFound: names the first that does not exist.
        """
        numbers = {text: int(text) for text in wanted if text.isascii() and text.isdigit() and len(text) < 16}
        query = select(invoice.c.id, invoice.c.number, invoice.c.state)
        query = query.where(or_(invoice.c.id.in_(list(wanted)), invoice.c.number.in_(list(numbers.values()))))
        with self._store.read() as tx:
            found = {row["id"]: dict(row) for row in tx.connection.execute(query).mappings()}
        numbered = {one["number"]: one for one in found.values()}
        briefs: dict[str, Json] = {}
        for text in wanted:
            one = found.get(text) or numbered.get(numbers.get(text))
            if one is None:
                raise NotFound("invoice", text)
            briefs[text] = one
        return briefs

    def attempts(
        self, *, state: str | None = None, of: str | None = None, limit: int = 50, after: str | None = None
    ) -> list[Json]:
        """Charge attempts; `of` is a customer's id or external id."""
        query = _narrowed(_ATTEMPTS, {attempt.c.state: state, attempt.c.customer_id: self._customer_id(of)})
        return self._page(query, attempt.c.id, limit, after, shapes.attempt)

    def attempt(self, wanted: str) -> Json:
        """One attempt with its payments, by id or merchant_uid."""
        with self._store.read() as tx:
            found = tx.attempts.find(wanted).id
            row = tx.connection.execute(_ATTEMPTS.where(attempt.c.id == found)).mappings().one()
            payments = select(payment).where(payment.c.attempt_id == found).order_by(payment.c.booked_at, payment.c.imp_uid)
            return {**shapes.attempt(row), "payments": _all(tx.connection, payments, shapes.payment)}

    # --- links -----------------------------------------------------------------------------------

    def checkouts(self, *, of: str | None = None, limit: int = 50, after: str | None = None) -> list[Json]:
        """Who was invited to what; `of` is a customer's id or external id."""
        query = _narrowed(_CHECKOUTS, {checkout.c.customer_id: self._customer_id(of)})
        return self._page(query, checkout.c.id, limit, after, shapes.checkout)

    # --- refunds ---------------------------------------------------------------------------------

    def refunds(
        self, *, state: str | None = None, of: str | None = None, limit: int = 50, after: str | None = None
    ) -> list[Json]:
        """Refunds; `of` is a customer's id or external id."""
        query = _narrowed(_REFUNDS, {refund.c.state: state, invoice.c.customer_id: self._customer_id(of)})
        return self._page(query, refund.c.id, limit, after, shapes.refund)

    def refund(self, wanted: str) -> Json:
        """One refund, by id."""
        with self._store.read() as tx:
            row = tx.connection.execute(_REFUNDS.where(refund.c.id == wanted)).mappings().first()
        if row is None:
            raise NotFound("refund", wanted)
        return shapes.refund(row)

    # --- findings --------------------------------------------------------------------------------

    def findings(
        self, *, kind: str | None = None, only_unexplained: bool = False, limit: int = 50, after: str | None = None
    ) -> list[Json]:
        """What reconciliation found."""
        query = _narrowed(select(finding), {finding.c.kind: kind})
        if only_unexplained:
            query = query.where(finding.c.explained_at.is_(None))
        return self._page(query, finding.c.id, limit, after, shapes.finding)

    def findings_of(self, ids: Sequence[str]) -> list[Json]:
        """These findings, oldest first."""
        with self._store.read() as tx:
            query = select(finding).where(is_one_of(finding.c.id)).order_by(finding.c.found_at, finding.c.id)
            return _all(tx.connection, query.params(keys=ids), shapes.finding)

    # --- events and attention --------------------------------------------------------------------

    def events(self, *, topic: str | None = None, of: str | None = None, limit: int = 50, after: str | None = None) -> list[Json]:
        """Events as hosts are told them; `of` is a customer's id or external id."""
        query = _narrowed(_EVENTS, {outbox_event.c.topic: topic, outbox_event.c.customer_id: self._customer_id(of)})
        return self._page(query, outbox_event.c.id, limit, after, shapes.event)

    def webhooks(
        self, *, outcome: str | None = None, only_pending: bool = False, limit: int = 50, after: str | None = None
    ) -> list[Json]:
        """Notices of the PG; a pending one waits for a look."""
        query = _narrowed(select(webhook_inbox), {webhook_inbox.c.outcome: outcome})
        if only_pending:
            query = query.where(webhook_inbox.c.wake_at.is_not(None))
        return self._page(query, webhook_inbox.c.id, limit, after, shapes.webhook)

    def webhooks_of(self, ids: Sequence[str]) -> list[Json]:
        """These notices, the newest first; unknown ids are left out."""
        query = select(webhook_inbox).where(webhook_inbox.c.id.in_(list(ids)))
        return self._page(query, webhook_inbox.c.id, len(ids), None, shapes.webhook)

    def webhook_as(self, dedupe_key: str) -> Json | None:
        """The notice of this dedupe key, None where it never came."""
        query = select(webhook_inbox).where(webhook_inbox.c.dedupe_key == dedupe_key)
        return next(iter(self._page(query, webhook_inbox.c.id, 1, None, shapes.webhook)), None)

    def attention(self) -> dict[str, int]:
        """How many records wait for somebody, and how many there are; what `doctor` reads."""
        counted = {
            "customers": select(func.count()).select_from(customer),
            "subscriptions": select(func.count()).select_from(subscription),
            "open_invoices": _count(invoice.c.state == "open"),
            "parked_subscriptions": _count(subscription.c.parked_reason.is_not(None)),
            "undecided_attempts": _count(attempt.c.state.in_(["sending", "unknown"])),
            "mismatches": _count(attempt.c.state == "mismatch"),
            "surplus_payments": _count(
                payment.c.role == "surplus", payment.c.refunded + payment.c.refund_reserved < payment.c.amount
            ),
            "waiting_refunds": _count(refund.c.state == "planned", refund.c.wake_at.is_(None)),
            "undecided_refunds": _count(refund.c.state.in_(["sending", "unknown"])),
            "refused_refunds": _count(refund.c.state == "refused", refund.c.origin == "operator", _is_still_owed()),
            "stuck_invoices": _count(invoice.c.state == "open", invoice.c.collection == "manual"),
            "unexplained_findings": _count(finding.c.explained_at.is_(None)),
            "pending_keys": _count(billing_key.c.state == "pending"),
            "retired_keys": _count(billing_key.c.state == "retired"),
        }
        query = select(*(one.scalar_subquery().label(name) for name, one in counted.items()))
        with self._store.read() as tx:
            return dict(tx.connection.execute(query).mappings().one())

    # --- shared ----------------------------------------------------------------------------------

    def _customer_id(self, wanted: str | None) -> str | None:
        if wanted is None:
            return None
        with self._store.read() as tx:
            return tx.customers.find(wanted).id

    def _page(
        self, query: Select[Any], by: Column[Any], limit: int, after: str | int | None, shape: Callable[[shapes.Row], Json]
    ) -> list[Json]:
        if after is not None:
            query = query.where(by < after)
        with self._store.read() as tx:
            return _all(tx.connection, query.order_by(by.desc()).limit(limit), shape)


def _all(connection: Connection, query: Select[Any], shape: Callable[[shapes.Row], Json]) -> list[Json]:
    return [shape(row) for row in connection.execute(query).mappings()]


def _narrowed(query: Select[Any], wanted: dict[Column[Any], str | None]) -> Select[Any]:
    return query.where(*(column == value for column, value in wanted.items() if value is not None))


def _is_still_owed() -> Any:
    """True of a refused refund that nothing repeats and for which enough of its payment is left."""
    again = refund.alias()
    room = payment.c.amount - payment.c.refunded - payment.c.refund_reserved
    has_room = select(payment.c.imp_uid).where(payment.c.imp_uid == refund.c.imp_uid, room >= refund.c.amount).exists()
    return and_(has_room, ~select(again.c.id).where(again.c.request_key == "again:" + refund.c.id).exists())


def _count(*conditions: Any) -> Select[Any]:
    return select(func.count()).where(*conditions)


def _card(row: shapes.Row) -> str | None:
    return None if row["card_number"] is None else f"{row['card_name']} {row['card_number']}".strip()
