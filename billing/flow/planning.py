"""Plan attempts: which open invoices are tried now, under which number, on which card. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from billing.domain.attempt import LIVE, ChargeAttempt, Trigger
from billing.domain.booking import Pen, dunned, given_up
from billing.domain.charging import has_free_number, is_wanted, planned
from billing.domain.customer import BillingKey
from billing.domain.evidence import DeclineClass
from billing.domain.invoice import Collection, Invoice
from billing.domain.policy import Policy
from billing.domain.settlement import NotTried, Verdict
from billing.domain.subscription import Subscription
from billing.flow.journal import post_pen
from billing.store.unit import Tx
from plans.calendar import local_day, midnight


@dataclass(slots=True)
class Plan:
    """What one claim brought: attempts to send, earlier ones to look at first, and what was decided without any."""

    attempts: list[ChargeAttempt] = field(default_factory=list)
    undecided: list[ChargeAttempt] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


class Planning:
    """Turns locked open invoices into held attempts, in the caller's transaction."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def due(self, tx: Tx, limit: int) -> Plan:
        """Plan up to `limit` invoices whose next attempt is due, skipping those others hold."""
        return self._planned(tx, tx.invoices.claim_due(tx.business_now, limit, buckets=self._policy.buckets), Trigger.AUTOMATIC)

    def one_due(self, tx: Tx, invoice_id: str) -> Plan:
        """Plan this invoice if its next attempt is still due: what is left of a batch that failed as a whole."""
        due = [pair for pair in tx.invoices.lock([invoice_id]) if (at := pair[0].next_attempt_at) and at <= tx.business_now]
        return self._planned(tx, due, Trigger.AUTOMATIC)

    def park(self, tx: Tx, invoice_id: str, reason: str) -> None:
        """Take an invoice that cannot be planned out of the scheduler's way; `billing retry` brings it back."""
        for invoice, subscription in tx.invoices.lock([invoice_id]):
            pen = Pen(subscription)
            pen.tell("invoice.needs_attention", invoice_id=invoice.id, reason=reason)
            pen.note("invoice.parked", invoice.id, reason=reason)
            tx.invoices.update([invoice._replace(next_attempt_at=None, collection=Collection.MANUAL)])
            post_pen(tx, pen, business_now=tx.business_now)

    def asked(self, tx: Tx, invoice_ids: Sequence[str]) -> Plan:
        """Plan these invoices, whatever their next date."""
        return self._planned(tx, tx.invoices.lock(invoice_ids), Trigger.MANUAL)

    def _planned(self, tx: Tx, due: Sequence[tuple[Invoice, Subscription]], trigger: Trigger) -> Plan:
        plan = Plan()
        if not due:
            return plan
        payers = tx.customers.with_current_keys(sorted({invoice.customer_id for invoice, _ in due}))
        crowded = [invoice.id for invoice, _ in due if invoice.attempts_planned]
        earlier = tx.attempts.of_invoices(crowded) if crowded else {}
        lease_until = tx.now + self._policy.patience.lease
        ready: list[tuple[Invoice, Subscription, ChargeAttempt]] = []
        for invoice, subscription in due:
            customer, key = payers[invoice.customer_id]
            before = earlier.get(invoice.id, [])
            live = [one for one in before if one.state in LIVE]
            if live:
                plan.undecided += live
                if trigger is Trigger.AUTOMATIC:
                    # Somebody pays by hand, or into an account: what is due waits until that is over.
                    later = tx.business_now + self._policy.patience.breather
                    tx.invoices.update([invoice._replace(next_attempt_at=later)])
                    plan.verdicts.append(NotTried("", invoice.id, f"its attempt {live[0].merchant_uid} is {live[0].state}"))
                continue
            why = self._not_tried(tx, invoice, subscription, key, before, trigger)
            if why is not None or key is None:
                plan.verdicts.append(NotTried("", invoice.id, why or ""))
                continue
            attempt = planned(
                invoice,
                subscription,
                customer,
                key.customer_uid,
                attempt_id=tx.new_id(),
                trigger=trigger,
                lease_until=lease_until,
                now=tx.now,
            )
            ready.append((invoice, subscription, attempt))
        if trigger is Trigger.AUTOMATIC:
            ready = self._one_a_day(tx, ready, plan)
        tx.attempts.insert([attempt for _, _, attempt in ready])
        tx.invoices.update(
            [invoice._replace(next_attempt_at=None, attempts_planned=attempt.seq) for invoice, _, attempt in ready]
        )
        plan.attempts = [attempt for _, _, attempt in ready]
        return plan

    def _not_tried(
        self,
        tx: Tx,
        invoice: Invoice,
        subscription: Subscription,
        key: BillingKey | None,
        earlier: Sequence[ChargeAttempt],
        trigger: Trigger,
    ) -> str | None:
        """Decide what needs no attempt, write it, and say why; None when an attempt is in order."""
        now = tx.business_now
        pen = Pen(subscription)
        why: str | None = None
        after = invoice._replace(next_attempt_at=None)
        if not is_wanted(invoice, subscription):
            why = f"invoice {invoice.number} is {invoice.state} and its subscription {subscription.state}"
            if trigger is Trigger.MANUAL:
                return why
        elif invoice.collection is Collection.AWAIT_CARD and trigger is Trigger.AUTOMATIC:
            why = "no new card was registered in time"
            after = given_up(invoice, pen, self._policy.ladder, now)
        elif key is None:
            why = "the customer has no billing key; register a card first"
            if trigger is Trigger.MANUAL:
                return why
            after = dunned(invoice, pen, DeclineClass.NEEDS_NEW_CARD, self._policy.ladder, now)
        elif not has_free_number(invoice, earlier):
            why = "too many tries left no record at the PG; void the invoice or resolve its attempts"
            if trigger is Trigger.MANUAL:
                return why
            after = invoice._replace(next_attempt_at=None, collection=Collection.MANUAL)
            pen.tell("invoice.needs_attention", invoice_id=invoice.id, decline_class="no-number-left")
        if why is not None:
            tx.invoices.update([after])
            post_pen(tx, pen, business_now=now)
        return why

    def _one_a_day(
        self, tx: Tx, ready: list[tuple[Invoice, Subscription, ChargeAttempt]], plan: Plan
    ) -> list[tuple[Invoice, Subscription, ChargeAttempt]]:
        """Keep those whose subscription has had no automatic charge today; the others wait for tomorrow.

        The slot is a primary key, so no backlog and no bug can charge a customer twice in a day by itself.
        """
        days = {attempt.id: local_day(tx.business_now, subscription.zone) for _, subscription, attempt in ready}
        holding = tx.invoices.take_days([(attempt.subscription_id, days[attempt.id], attempt.id) for _, _, attempt in ready])
        kept, late = [], []
        for invoice, subscription, attempt in ready:
            if attempt.id in holding:
                kept.append((invoice, subscription, attempt))
                continue
            tomorrow = midnight(days[attempt.id] + timedelta(days=1), subscription.zone)
            late.append(invoice._replace(next_attempt_at=tomorrow))
            plan.verdicts.append(NotTried("", invoice.id, "this subscription was charged today already"))
        tx.invoices.update(late)
        return kept
