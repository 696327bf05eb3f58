"""Try to collect open invoices. The one way out: nothing else calls `gateway.charge`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from billing import fault
from billing.domain.attempt import AttemptState, ChargeAttempt, Trigger, Way
from billing.domain.booking import Pen, closed
from billing.domain.charging import armed, is_wanted, order_of
from billing.domain.invoice import Collection, Invoice, InvoiceState
from billing.domain.policy import Policy
from billing.domain.settlement import NotTried, Unsent, Verdict
from billing.domain.subscription import OVER, Subscription, SubscriptionState
from billing.errors import CredentialsRefused, GatewayError, InvariantBroken
from billing.flow.gate import Gate
from billing.flow.journal import post_pen
from billing.flow.planning import Plan, Planning
from billing.flow.poison import POISON
from billing.flow.probing import Probing
from billing.flow.settlement import Held, Settlement
from billing.flow.switch import refuse_when_frozen
from billing.flow.vouching import Vouching
from billing.ports import Clock, Gateway, Token
from billing.store.unit import Store, Tx
from plans.calendar import local_day

log = logging.getLogger("billing.charging")


class Charging:
    """Claims, probes, arms, sends, and hands every outcome to settlement."""

    def __init__(
        self, store: Store, gateway: Gateway, settlement: Settlement, policy: Policy, clock: Clock, vouching: Vouching
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement
        self._policy = policy
        self._clock = clock
        self._vouching = vouching
        self._planning = Planning(policy)
        self._probing = Probing(store, gateway, settlement)
        self.stopping = threading.Event()

    def charge_due(self, limit: int) -> list[Verdict]:
        """Try once to collect up to `limit` open invoices whose next attempt is due: renewals and retries alike.

        Raises:
            Frozen: charging is switched off.
            GatewayError: the PG could not be asked before anything was sent; the attempts wait.
        """
        fault.point("K00")
        began = self._clock.monotonic()

        def claim(tx: Tx) -> Plan:
            refuse_when_frozen(tx)
            return self._planning.due(tx, limit)

        try:
            plan = self._store.run(claim)
        except POISON:
            log.exception("a batch could not be planned; planning one by one")
            plan = self._planned_alone(limit)
        return plan.verdicts + self.drive(plan.attempts, began=began)

    def charge(self, invoice_ids: Sequence[str]) -> list[Verdict]:
        """Try once to collect these invoices now, whatever their next date; one verdict each.

        An invoice whose earlier attempt is undecided gets no new one: that attempt is looked up instead.
        """
        began = self._clock.monotonic()

        def claim(tx: Tx) -> Plan:
            refuse_when_frozen(tx)
            return self._planning.asked(tx, invoice_ids)

        plan = self._store.run(claim)
        idle = self._taken([one.id for one in plan.undecided if one.state is AttemptState.PLANNED])
        looked = self._settlement.settle([one.merchant_uid for one in plan.undecided if one.id not in {i.id for i in idle}])
        verdicts = plan.verdicts + looked + self.drive(plan.attempts + idle, began=began)
        told = {one.invoice_id for one in verdicts}
        why = "what stood in its way is gone, or somebody else took it up; ask again"
        return verdicts + [NotTried("", one, why) for one in dict.fromkeys(invoice_ids) if one not in told]

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

    def _planned_alone(self, limit: int) -> Plan:
        """Plan due invoices one by one; the one that cannot be planned is parked and delays nobody."""
        with self._store.read() as tx:
            due = tx.invoices.due_ids(tx.business_now, limit, buckets=self._policy.buckets)
        plan = Plan()
        for invoice_id in due:
            try:
                one = self._store.run(lambda tx, id=invoice_id: self._planning.one_due(tx, id))  # type: ignore[misc]
            except POISON as error:
                log.exception("invoice %s is parked", invoice_id)
                reason = f"{type(error).__name__} while its charge was planned; see the log"
                self._store.run(lambda tx, id=invoice_id, why=reason: self._planning.park(tx, id, why))  # type: ignore[misc]
                plan.verdicts.append(NotTried("", invoice_id, reason))
                continue
            plan.attempts += one.attempts
            plan.undecided += one.undecided
            plan.verdicts += one.verdicts
        return plan

    # --- held attempts -----------------------------------------------------------------------------

    def _probed(self, attempts: Sequence[ChargeAttempt]) -> tuple[list[Verdict], list[ChargeAttempt]]:
        try:
            verdicts, clear = self._probing.probe(attempts)
        except GatewayError:
            self._let_go(attempts)
            raise
        if verdicts:
            self._let_go([one for one in attempts if one not in clear])
        return verdicts, clear

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
            sending, ledger_id = self._store.run(lambda tx: self._armed(tx, attempts, token))
        except (GatewayError, InvariantBroken):
            self._let_go(attempts)
            raise
        fault.point("K03")
        held = {one.id: one for one in sending}
        gate = Gate(self._store, self._clock, began + self._policy.patience.gate.total_seconds(), self.stopping)
        replies = self._gateway.charge([order_of(one, ledger_id) for one in sending], token=token, gate=gate)
        verdicts: list[Verdict] = []
        for group in replies:
            verdicts += self._settled([Held(held[order.attempt_id], reply) for order, reply in group], token)
        return verdicts

    def _armed(self, tx: Tx, attempts: Sequence[ChargeAttempt], token: Token) -> tuple[list[ChargeAttempt], str]:
        """SENDING, and whose ledger sends: to be committed before a byte leaves: from here on a crash leaves a trace.

        Everything that could have changed since the claim is read again under lock: the switch, the place, the
        subscription, the invoice, the card, the fence. Whatever door a charge came through, it passes here.
        """
        refuse_when_frozen(tx)
        identity = self._vouching.vouched(tx)
        pairs = {
            invoice.id: (invoice, subscription) for invoice, subscription in tx.invoices.lock([a.invoice_id for a in attempts])
        }
        locked = tx.attempts.locked([one.id for one in attempts])
        payers = tx.customers.with_current_keys(sorted({one.customer_id for one in attempts}))
        late = self._without_a_day(tx, attempts, pairs)
        ready: list[ChargeAttempt] = []
        before: list[ChargeAttempt] = []
        for mine in attempts:
            row = locked[mine.id]
            if row.fence != mine.fence or row.state not in (AttemptState.PLANNED, AttemptState.UNKNOWN):
                continue
            if mine.id in late:
                tx.attempts.update([row._replace(wake_at=tx.now + self._policy.patience.breather)], was=[row])
                continue
            invoice, subscription = pairs[mine.invoice_id]
            key = payers[mine.customer_id][1]
            is_same_card = key is not None and key.customer_uid == row.customer_uid
            # A request that may be on its way is repeated as it was; only one that never left can be planned anew.
            # What a browser or a card typed in once began, nobody else can send.
            is_ours = row.way is Way.KEY and (is_same_card or row.state is AttemptState.UNKNOWN)
            if not is_wanted(invoice, subscription) or not is_ours:
                self._dropped(tx, row, invoice, subscription)
                continue
            before.append(row)
            ready.append(armed(row, token_fp=token.fingerprint, now=tx.now, until=tx.now + self._policy.patience.lease))
        tx.attempts.update(ready, was=before)
        return ready, identity.ledger_id

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
            tx.attempts.update([row._replace(wake_at=now + patience.after_look(row.looks))], was=[row])
            return
        tx.attempts.update([row._replace(state=AttemptState.VOID, wake_at=None, moved_at=now)], was=[row])
        if invoice.state is not InvoiceState.OPEN:
            return
        pen = Pen(subscription)
        if subscription.state in OVER:
            invoice = closed(invoice, InvoiceState.VOID, pen, tx.business_now, reason="the subscription is over")
            post_pen(tx, pen, business_now=tx.business_now)
        elif row.way is Way.KEY and subscription.state is not SubscriptionState.PAUSED:
            invoice = invoice._replace(next_attempt_at=tx.business_now, collection=Collection.CHARGE)
        tx.invoices.update([invoice])

    def _settled(self, group: list[Held], token: Token) -> list[Verdict]:
        verdicts = self._settlement.settle_held(group)
        if any(isinstance(one, Unsent) and one.is_unauthorized for one in verdicts):
            self._gateway.discard_token(token.fingerprint)
        return verdicts
