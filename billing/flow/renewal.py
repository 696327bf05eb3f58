"""Open the invoices that are due. No money moves here; charging finds open invoices by itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from billing.domain.attempt import LIVE, merchant_uid_stem
from billing.domain.booking import Pen, closed, ended, paid_invoice
from billing.domain.invoice import Collection, Invoice, InvoiceLine, InvoiceState, Purpose
from billing.domain.policy import Policy
from billing.domain.renewal import Draft, Terms, draft, drafted
from billing.domain.subscription import Subscription, SubscriptionState
from billing.errors import InvariantBroken
from billing.flow.journal import post_pen
from billing.flow.poison import POISON
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.renewal")


class Renewal:
    """Turns due subscriptions into open invoices."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    def open_due(self, limit: int) -> int:
        """Take the step that is due for up to `limit` subscriptions; returns how many took one.

        The step is an invoice for the newest due period, the start or the end of a trial, or the end
        of the subscription. A subscription whose step cannot be taken is parked with the reason and
        delays nobody.
        """

        def work(tx: Tx) -> list[str]:
            due = tx.subscriptions.claim_due(tx.business_now, limit, buckets=self._policy.buckets)
            claimed[:] = [one.id for one in due]
            self.step(tx, due)
            return claimed

        claimed: list[str] = []
        try:
            return len(self._store.run(work))
        except POISON:
            if not claimed:
                raise
            log.exception("a batch of %d could not be opened; opening one by one", len(claimed))
            for one in claimed:
                self._open_alone(one)
            return len(claimed)

    def step(self, tx: Tx, due: Sequence[Subscription]) -> list[Invoice]:
        """Take the due step of locked subscriptions inside the caller's transaction; returns the invoices opened."""
        now = tx.business_now
        prices = tx.catalog.by_ids(sorted({one.price_id for one in due}))
        billed: list[tuple[Subscription, Draft]] = []
        for one in due:
            if one.state is SubscriptionState.INCOMPLETE and one.next_index > 0:
                self._expire(tx, one, now)
            elif one.cancel_at_end:
                self._end(tx, one, now)
            elif one.state is SubscriptionState.SCHEDULED and one.trial_end is not None and one.trial_end > now:
                self._begin_trial(tx, one, now)
            else:
                billed.append((one, draft(one, prices[one.price_id].terms, now=now, catch_up=self._policy.catch_up)))
        return self._open(tx, billed, {id: stored.terms for id, stored in prices.items()})

    def open_forgotten(self, subscription_id: str, index: int) -> None:
        """Open the invoice of period `index`, which the PG remembers and this database does not; safe to repeat.

        Raises:
            NotFound: no such subscription.
        """

        def work(tx: Tx) -> None:
            one = tx.subscriptions.lock(subscription_id)
            if not tx.invoices.has(one.id, index):
                terms = tx.catalog.by_ids([one.price_id])[one.price_id].terms
                self._open(tx, [(one, drafted(one, terms, index))], {one.price_id: terms})

        self._store.run(work)

    def _open(self, tx: Tx, billed: Sequence[tuple[Subscription, Draft]], terms: dict[str, Terms]) -> list[Invoice]:
        if not billed:
            return []
        now = tx.business_now
        identity = tx.controls.identity()
        if identity is None:
            raise InvariantBroken("this database has no identity; run `billing init`")
        invoices: list[Invoice] = []
        lines: dict[str, Sequence[InvoiceLine]] = {}
        changed: list[Subscription] = []
        pens: list[Pen] = []
        for one, owed in billed:
            invoice = _invoice(
                one, owed, identity.uid_prefix, identity.ledger_id, tx.new_id(), now, terms[one.price_id].amount.currency
            )
            is_newest = owed.period.index >= one.next_index
            pen = Pen(
                one._replace(next_index=max(one.next_index, owed.period.index + 1), due_at=None if is_newest else one.due_at)
            )
            for index in owed.skipped:
                pen.note("period.skipped", one.id, period_index=index)
            if owed.skipped:
                pen.tell("subscription.periods_skipped", period_indexes=list(owed.skipped))
            invoices.append(invoice)
            lines[invoice.id] = owed.lines
            pens.append(pen)
        for at, number in enumerate(tx.invoices.next_numbers(len(invoices))):
            invoice, pen = invoices[at]._replace(number=number), pens[at]
            opened = {"amount": invoice.total, "currency": invoice.currency}
            pen.tell("invoice.opened", invoice_id=invoice.id, number=number, period_index=invoice.period_index, total=opened)
            pen.note("invoice.opened", invoice.id, number=number, total=invoice.total, period_index=invoice.period_index)
            if not invoice.total:
                invoice = paid_invoice(invoice, pen, at=now, imp_uid=None)
            invoices[at] = invoice
        tx.invoices.insert(invoices, lines)
        for pen in pens:
            head = tx.audit.chain(pen.subscription.id, pen.subscription.audit_head, pen.audits, tx.now)
            changed.append(pen.subscription._replace(audit_head=head))
        tx.subscriptions.update(changed)
        tx.outbox.publish([event for pen in pens for event in pen.events], now)
        tx.audit.flush()
        return invoices

    def _expire(self, tx: Tx, one: Subscription, now: datetime) -> None:
        """A first payment that nobody completed: canceled, invoice void. One that is still undecided gets another day."""
        invoices = tx.invoices.lock_open_of_subscription(one.id)
        attempts = tx.attempts.of_invoices([invoice.id for invoice in invoices])
        if any(attempt.state in LIVE for some in attempts.values() for attempt in some):
            tx.subscriptions.update([one._replace(due_at=now + timedelta(days=1))])
            return
        pen = Pen(ended(one, SubscriptionState.CANCELED, now))
        pen.tell("subscription.canceled", reason="first payment not completed")
        pen.note("subscription.expired", one.id)
        void_open_invoices(tx, pen, now, reason="first payment not completed")
        post_pen(tx, pen, business_now=now)

    def _end(self, tx: Tx, one: Subscription, now: datetime) -> None:
        pen = Pen(ended(one, SubscriptionState.ENDED, now))
        pen.tell("subscription.ended")
        pen.note("subscription.ended", one.id)
        post_pen(tx, pen, business_now=now)

    def _begin_trial(self, tx: Tx, one: Subscription, now: datetime) -> None:
        pen = Pen(one._replace(state=SubscriptionState.TRIALING, due_at=one.trial_end))
        pen.tell("subscription.trial_started", trial_end=str(one.trial_end))
        pen.note("subscription.trial_started", one.id)
        post_pen(tx, pen, business_now=now)

    def _open_alone(self, subscription_id: str) -> None:
        def work(tx: Tx) -> None:
            one = tx.subscriptions.lock(subscription_id)
            if one.due_at is not None and one.due_at <= tx.business_now:
                self.step(tx, [one])

        try:
            self._store.run(work)
        except POISON as error:
            log.exception("subscription %s is parked", subscription_id)
            reason = f"{type(error).__name__} while its invoice was opened; see the log"
            self._store.run(lambda tx: _park(tx, subscription_id, reason))


def void_open_invoices(tx: Tx, pen: Pen, now: datetime, *, reason: str, actor: str = "engine") -> bool:
    """Void what a stopped subscription still owes; returns True where a charge is in flight and its invoice stays open."""
    invoices = tx.invoices.lock_open_of_subscription(pen.subscription.id)
    attempts = tx.attempts.of_invoices([one.id for one in invoices])
    in_flight = False
    for invoice in invoices:
        live = [one for one in attempts[invoice.id] if one.state.value in ("sending", "unknown", "mismatch")]
        if live:
            in_flight = True
            tx.invoices.update([invoice._replace(next_attempt_at=None, collection=Collection.MANUAL)])
            continue
        # A planned attempt that never left finds the invoice void when it is armed, and gives way by itself.
        tx.invoices.update([closed(invoice, InvoiceState.VOID, pen, now, reason=reason, actor=actor)])
    return in_flight


def _park(tx: Tx, subscription_id: str, reason: str) -> None:
    pen = Pen(tx.subscriptions.lock(subscription_id)._replace(due_at=None, parked_reason=reason))
    pen.tell("subscription.parked", reason=reason)
    pen.note("subscription.parked", subscription_id, reason=reason)
    post_pen(tx, pen, business_now=tx.business_now)


def _invoice(one: Subscription, drafted: Draft, prefix: str, ledger_id: str, id: str, now: datetime, currency: str) -> Invoice:
    return Invoice(
        id=id,
        number=0,
        customer_id=one.customer_id,
        subscription_id=one.id,
        bucket=one.bucket,
        purpose=Purpose.PERIOD,
        period_index=drafted.period.index,
        period_start=drafted.period.start,
        period_end=drafted.period.end,
        uid_stem=merchant_uid_stem(prefix, ledger_id, one.id, Purpose.PERIOD.value, drafted.period.index),
        state=InvoiceState.OPEN,
        currency=currency,
        total=drafted.total,
        tax_free=drafted.tax_free,
        vat=drafted.vat,
        order_name=drafted.order_name,
        opened_at=now,
        moved_at=now,
        next_attempt_at=now,
        collection=Collection.CHARGE,
        declines=0,
        attempts_planned=0,
    )
