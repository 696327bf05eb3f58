"""Try to collect open invoices. The one way out: nothing else calls `gateway.charge`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from billing import fault
from billing.domain.attempt import AttemptState, ChargeAttempt, Trigger, all_uids, probe_uids, stem_of
from billing.domain.booking import Pen, closed, dunned, given_up
from billing.domain.charging import has_free_number, is_news, is_wanted, order_of, planned
from billing.domain.customer import BillingKey, Customer
from billing.domain.evidence import DeclineClass, PaymentFact
from billing.domain.invoice import Collection, Invoice, InvoiceState
from billing.domain.policy import Policy
from billing.domain.settlement import NotTried, Unsent, Verdict
from billing.domain.subscription import OVER, Subscription, SubscriptionState
from billing.errors import CredentialsRefused, Frozen, GatewayError
from billing.flow.journal import post_pen
from billing.flow.settlement import Held, Settlement
from billing.ports import Clock, Gateway, Token
from billing.store.unit import Store, Tx
from plans.calendar import local_day, midnight

log = logging.getLogger("billing.charging")


@dataclass(slots=True)
class _Plan:
    """What one claim brought: attempts to send, earlier ones to look at first, and what was decided without any."""

    attempts: list[ChargeAttempt] = field(default_factory=list)
    undecided: list[ChargeAttempt] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


class Charging:
    """Plans attempts, probes, arms, sends and hands every outcome to settlement."""

    def __init__(self, store: Store, gateway: Gateway, settlement: Settlement, policy: Policy, clock: Clock) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement
        self._policy = policy
        self._clock = clock
        self.stopping = threading.Event()

    def charge_due(self, limit: int) -> list[Verdict]:
        """Try once to collect up to `limit` open invoices whose next attempt is due: renewals and retries alike.

        Raises:
            Frozen: charging is switched off.
            GatewayError: the PG could not be asked before anything was sent; the attempts wait.
        """
        fault.point("K00")
        began = self._clock.monotonic()

        def claim(tx: Tx) -> _Plan:
            self._refuse_when_frozen(tx)
            due = tx.invoices.claim_due(tx.business_now, limit, buckets=self._policy.buckets)
            return self._planned(tx, due, Trigger.AUTOMATIC)

        plan = self._store.run(claim)
        return plan.verdicts + self.drive(plan.attempts, began=began)

    def charge(self, invoice_ids: Sequence[str]) -> list[Verdict]:
        """Try once to collect these invoices now, whatever their next date; one verdict each.

        An invoice whose earlier attempt is undecided gets no new one: that attempt is looked up instead.
        """
        began = self._clock.monotonic()

        def claim(tx: Tx) -> _Plan:
            self._refuse_when_frozen(tx)
            return self._planned(tx, tx.invoices.lock(invoice_ids), Trigger.MANUAL)

        plan = self._store.run(claim)
        idle = self._taken([one.id for one in plan.undecided if one.state is AttemptState.PLANNED])
        looked = self._settlement.settle([one.merchant_uid for one in plan.undecided if one.id not in {i.id for i in idle}])
        return plan.verdicts + looked + self.drive(plan.attempts + idle, began=began)

    def drive(self, attempts: Sequence[ChargeAttempt], *, began: float) -> list[Verdict]:
        """Take held attempts the rest of the way: probe, arm, send, settle.

        Args:
            began: monotonic seconds from before the claim; what is not on the wire a third of a lease
                later goes back unsent.
        """
        if not attempts:
            return []
        fault.point("K01")
        verdicts, clear = self._probed(attempts)
        fault.point("K02")
        if not clear:
            return verdicts
        sent = self._send(clear, began)
        refused = [one for one in sent if isinstance(one, Unsent) and one.is_unauthorized]
        if not refused:
            return verdicts + sent
        # The token died under us. Everything is asked again from the start, under a new token, once;
        # a second refusal halts the channel and leaves the attempts planned.
        kept = [one for one in sent if one not in refused]
        uids = {one.merchant_uid for one in refused}
        again = self._taken([one.id for one in clear if one.merchant_uid in uids])
        more, clear = self._probed(again)
        resent = self._send(clear, self._clock.monotonic())
        if any(isinstance(one, Unsent) and one.is_unauthorized for one in resent):
            raise CredentialsRefused("the PG refuses access tokens it has just issued; nothing was charged with them")
        return verdicts + kept + more + resent

    # --- plan ------------------------------------------------------------------------------------

    def _refuse_when_frozen(self, tx: Tx) -> None:
        switch = tx.controls.freeze()
        if switch is not None and switch.is_frozen:
            raise Frozen(f"charging is frozen since {switch.changed_at.isoformat()} by {switch.actor}: {switch.reason}")

    def _planned(self, tx: Tx, due: Sequence[tuple[Invoice, Subscription]], trigger: Trigger) -> _Plan:
        plan = _Plan()
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
            live = [one for one in before if one.wake_at is not None or one.state is AttemptState.MISMATCH]
            if live:
                plan.undecided += live
                continue
            why = self._not_tried(tx, invoice, subscription, key, before, trigger)
            if why is not None or key is None:
                plan.verdicts.append(NotTried("", invoice.id, why or ""))
                continue
            attempt = planned(
                invoice,
                subscription,
                customer,
                key,
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
            [replace(invoice, next_attempt_at=None, attempts_planned=attempt.seq) for invoice, _, attempt in ready]
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
        after = replace(invoice, next_attempt_at=None)
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
            after = replace(invoice, next_attempt_at=None, collection=Collection.MANUAL)
            pen.tell("invoice.needs_attention", invoice_id=invoice.id, decline_class="no-number-left")
        if why is not None:
            tx.invoices.update([after])
            post_pen(tx, pen, business_now=now)
        return why

    def _one_a_day(
        self, tx: Tx, ready: list[tuple[Invoice, Subscription, ChargeAttempt]], plan: _Plan
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
            late.append(replace(invoice, next_attempt_at=tomorrow))
            plan.verdicts.append(NotTried("", invoice.id, "this subscription was charged today already"))
        tx.invoices.update(late)
        return kept

    # --- probe -----------------------------------------------------------------------------------

    def _probed(self, attempts: Sequence[ChargeAttempt]) -> tuple[list[Verdict], list[ChargeAttempt]]:
        """Ask the PG for every number these invoices may have used; returns what that settled, and what may be sent.

        A restored backup has forgotten attempts that the PG remembers. Their records are adopted and
        settled here, and nothing is sent for their invoices.
        """
        try:
            news = self._news(attempts)
        except GatewayError:
            self._let_go(attempts)
            raise
        if not news:
            return [], list(attempts)
        clear = [one for one in attempts if one.invoice_id not in news]
        verdicts: list[Verdict] = []
        for attempt in attempts:
            if attempt.invoice_id in news:
                verdicts += self._adopted(attempt, news[attempt.invoice_id])
        return verdicts, clear

    def _news(self, attempts: Sequence[ChargeAttempt]) -> dict[str, dict[str, list[PaymentFact]]]:
        """Per invoice what the PG knows and we do not, by order number."""
        stems = {stem_of(one.merchant_uid)[0]: one for one in attempts}
        uids = [uid for stem, one in stems.items() for uid in probe_uids(stem, one.seq)]
        found = self._gateway.find_payments(uids).facts
        if not found:
            return {}
        with self._store.read() as tx:
            rows = tx.attempts.of_invoices([one.invoice_id for one in attempts])
        hit = {stem_of(uid)[0] for uid in found}
        wider = [uid for stem in hit for uid in all_uids(stem)]
        facts = {uid: list(some) for uid, some in self._gateway.find_payments(wider).facts.items()}
        # The bulk look-up shows the newest record only: a paid one may hide behind a failed one.
        hidden = [uid for uid, some in facts.items() if all(fact.status == "failed" for fact in some)]
        for uid, fact in self._gateway.find_paid(hidden).items():
            facts[uid].append(fact)
        news: dict[str, dict[str, list[PaymentFact]]] = {}
        for uid, some in facts.items():
            invoice_id = stems[stem_of(uid)[0]].invoice_id
            known = {one.merchant_uid: one for one in rows[invoice_id]}
            fresh = [fact for fact in some if is_news(fact, known.get(uid))]
            if fresh:
                news.setdefault(invoice_id, {})[uid] = fresh
        return news

    def _adopted(self, held: ChargeAttempt, news: dict[str, list[PaymentFact]]) -> list[Verdict]:
        """Settle what the PG remembers of one invoice, oldest number first, writing rows we lost."""
        log.warning("the PG knows %d charges of invoice %s that we do not", len(news), held.invoice_id)
        verdicts: list[Verdict] = []
        for uid in sorted(news):
            self._store.run(lambda tx, uid=uid: self._adopt(tx, held, uid, news[uid][0]))  # type: ignore[misc]
            verdicts += self._settlement.settle([uid])
        self._let_go([held])
        return verdicts

    def _adopt(self, tx: Tx, held: ChargeAttempt, uid: str, fact: PaymentFact) -> None:
        """Make sure `uid` has a row; the attempt we hold gives way when it never left."""
        ((invoice, subscription),) = tx.invoices.lock([held.invoice_id])
        rows = tx.attempts.of_invoices([held.invoice_id])[held.invoice_id]
        if any(one.merchant_uid == uid for one in rows):
            return
        live = [one for one in rows if one.state is AttemptState.PLANNED and one.wire_count == 0]
        tx.attempts.update([replace(one, state=AttemptState.VOID, wake_at=None, moved_at=tx.now) for one in live], was=live)
        customer, current = tx.customers.with_current_keys([held.customer_id])[held.customer_id]
        keys = {key.customer_uid: key for key in tx.customers.keys_of(held.customer_id)}
        key = keys.get(fact.customer_uid or "", current)
        if key is None:
            return
        seq = stem_of(uid)[1]
        tx.attempts.insert([_adopted_row(tx, invoice, subscription, customer, key, seq)])
        tx.invoices.update([replace(invoice, attempts_planned=max(invoice.attempts_planned, seq), next_attempt_at=None)])

    def _let_go(self, attempts: Sequence[ChargeAttempt]) -> None:
        """Give attempts that were never armed back to whoever comes next."""
        with self._store.begin() as tx:
            tx.attempts.wake([one.id for one in attempts], tx.now + self._policy.patience.after_unsent(0))

    def _taken(self, ids: Sequence[str]) -> list[ChargeAttempt]:
        if not ids:
            return []
        with self._store.begin() as tx:
            return tx.attempts.claim(ids, tx.now, tx.now + self._policy.patience.lease)

    # --- arm and send ----------------------------------------------------------------------------

    def _send(self, attempts: Sequence[ChargeAttempt], began: float) -> list[Verdict]:
        if not attempts:
            return []
        try:
            token = self._gateway.token()
            armed = self._store.run(lambda tx: self._armed(tx, attempts, token))
        except (GatewayError, Frozen):
            self._let_go(attempts)
            raise
        fault.point("K03")
        held = {one.id: one for one in armed}
        deadline = began + self._policy.patience.gate.total_seconds()
        replies = self._gateway.charge(
            [order_of(one) for one in armed],
            token=token,
            gate=lambda: self._clock.monotonic() <= deadline and not self.stopping.is_set(),
        )
        verdicts: list[Verdict] = []
        for group in replies:
            verdicts += self._settled([Held(held[order.attempt_id], reply) for order, reply in group], token)
        return verdicts

    def _armed(self, tx: Tx, attempts: Sequence[ChargeAttempt], token: Token) -> list[ChargeAttempt]:
        """SENDING, to be committed before a byte leaves: from here on a crash leaves a trace.

        Everything that could have changed since the claim is read again under lock: the switch, the
        subscription, the invoice, the card, the fence.
        """
        self._refuse_when_frozen(tx)
        pairs = {
            invoice.id: (invoice, subscription) for invoice, subscription in tx.invoices.lock([a.invoice_id for a in attempts])
        }
        locked = tx.attempts.locked([one.id for one in attempts])
        payers = tx.customers.with_current_keys(sorted({one.customer_id for one in attempts}))
        late = self._without_a_day(tx, attempts, pairs)
        armed: list[ChargeAttempt] = []
        before: list[ChargeAttempt] = []
        for mine in attempts:
            row = locked[mine.id]
            if row.fence != mine.fence or row.state not in (AttemptState.PLANNED, AttemptState.UNKNOWN):
                continue
            if mine.id in late:
                tx.attempts.update([replace(row, wake_at=tx.now + self._policy.patience.breather)], was=[row])
                continue
            invoice, subscription = pairs[mine.invoice_id]
            key = payers[mine.customer_id][1]
            is_same_card = key is not None and key.customer_uid == row.customer_uid
            # A request that may be on its way is repeated as it was; only one that never left can be planned anew.
            if not is_wanted(invoice, subscription) or (not is_same_card and row.state is AttemptState.PLANNED):
                self._dropped(tx, row, invoice, subscription)
                continue
            before.append(row)
            armed.append(
                replace(
                    row,
                    state=AttemptState.SENDING,
                    wire_count=row.wire_count + 1,
                    token_fp=token.fingerprint,
                    sent_at=tx.now,
                    wake_at=tx.now + self._policy.patience.lease,
                    moved_at=tx.now,
                    looks=0,
                    first_negative_at=None,
                    superseded_at=None,
                )
            )
        tx.attempts.update(armed, was=before)
        return armed

    def _without_a_day(
        self, tx: Tx, attempts: Sequence[ChargeAttempt], pairs: dict[str, tuple[Invoice, Subscription]]
    ) -> set[str]:
        """Automatic attempts that may not leave today, because their subscription was charged today by another.

        The day was taken when the attempt was planned. One taken up again, on a later day perhaps, must hold that day
        too. Found by a seeded walk: a token died, the attempt left a day later, and a new card followed within the hour.
        """
        again = [
            one for one in attempts if one.trigger is Trigger.AUTOMATIC and one.fence > 1 and is_wanted(*pairs[one.invoice_id])
        ]
        days = [(one.subscription_id, local_day(tx.business_now, pairs[one.invoice_id][1].zone), one.id) for one in again]
        return {one.id for one in again} - tx.invoices.take_days(days)

    def _dropped(self, tx: Tx, row: ChargeAttempt, invoice: Invoice, subscription: Subscription) -> None:
        """An attempt nobody wants any more: void if it never left, watched for a day if it may have."""
        now = tx.now
        patience = self._policy.patience
        if row.state is AttemptState.UNKNOWN and row.sent_at is not None and now - row.sent_at < patience.stale:
            tx.attempts.update([replace(row, wake_at=now + patience.after_look(row.looks))], was=[row])
            return
        tx.attempts.update([replace(row, state=AttemptState.VOID, wake_at=None, moved_at=now)], was=[row])
        if invoice.state is not InvoiceState.OPEN:
            return
        pen = Pen(subscription)
        if subscription.state in OVER:
            invoice = closed(invoice, InvoiceState.VOID, pen, tx.business_now, reason="the subscription is over")
            post_pen(tx, pen, business_now=tx.business_now)
        elif subscription.state is not SubscriptionState.PAUSED:
            invoice = replace(invoice, next_attempt_at=tx.business_now, collection=Collection.CHARGE)
        tx.invoices.update([invoice])

    def _settled(self, group: list[Held], token: Token) -> list[Verdict]:
        verdicts = self._settlement.settle_held(group)
        if any(isinstance(one, Unsent) and one.is_unauthorized for one in verdicts):
            self._gateway.discard_token(token.fingerprint)
        return verdicts


def _adopted_row(
    tx: Tx, invoice: Invoice, subscription: Subscription, customer: Customer, key: BillingKey, seq: int
) -> ChargeAttempt:
    now: datetime = tx.now
    return planned(
        invoice,
        subscription,
        customer,
        key,
        attempt_id=tx.new_id(),
        trigger=Trigger.AUTOMATIC,
        lease_until=now,
        now=now,
        seq=seq,
    )
