"""Charge a card whose data was typed in just now: once, and kept only if that was asked for. The same road as any charge."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Event

from billing import fault
from billing.domain.attempt import LIVE, AttemptState, ChargeAttempt, Trigger, Way
from billing.domain.charging import armed, has_free_number, is_wanted, order_of, planned
from billing.domain.events import AuditEntry
from billing.domain.invoice import Invoice
from billing.domain.policy import Policy
from billing.domain.settlement import Booked, NotTried, Paid, Unsent, Verdict
from billing.domain.subscription import Subscription
from billing.domain.wording import refuse_card_numbers
from billing.errors import GatewayError, NotFound, RuleError
from billing.flow.gate import Gate
from billing.flow.opening import WINDOW_NUMBERS
from billing.flow.probing import Probing
from billing.flow.registration import Registration
from billing.flow.settlement import Held, Settlement
from billing.flow.switch import refuse_when_frozen
from billing.flow.vouching import Vouching
from billing.ports import CardSecrets, Clock, Gateway, Token
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.key_in")

_TYPED = (Way.ONETIME, Way.ONETIME_KEY)


class KeyingIn:
    """One charge of raw card data. The data is used up by it: what is lost on the way cannot be sent again."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        settlement: Settlement,
        registration: Registration,
        vouching: Vouching,
        policy: Policy,
        clock: Clock,
        stopping: Event,
        *,
        pg: str,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement
        self._registration = registration
        self._vouching = vouching
        self._policy = policy
        self._clock = clock
        self._stopping = stopping
        self._pg = pg
        self._probing = Probing(store, gateway, settlement)

    def charge(self, invoice: str, card: CardSecrets, *, keeps: bool, actor: str) -> Verdict:
        """Try once to collect an open invoice from this card.

        Args:
            keeps: register the card with the charge; once paid, it is what the customer is charged on.

        Raises:
            NotFound, RuleError: no such invoice, not owed, or a charge of it is under way.
            GatewayError: the PG could not be asked before anything was sent.
            Frozen, InvariantBroken: charging is switched off, or this database is a copy.
        """
        refuse_card_numbers({"actor": actor})
        began = self._clock.monotonic()
        attempt = self._store.run(lambda tx: self._planned(tx, invoice, Way.ONETIME_KEY if keeps else Way.ONETIME, actor))
        fault.point("K01")
        news, clear = self._probing.probe([attempt])
        fault.point("K02")
        if not clear:
            return news[0] if news else NotTried("", invoice, "the PG knows charges of this invoice that were forgotten here")
        token = self._gateway.token()
        sending, ledger_id = self._store.run(lambda tx: self._armed(tx, attempt, token))
        if sending is None:
            return NotTried("", invoice, "it was settled, or taken up elsewhere, in the meantime")
        fault.point("K03")
        gate = Gate(self._store, self._clock, began + self._policy.patience.gate.total_seconds(), self._stopping)
        reply = self._gateway.charge_card(order_of(sending, ledger_id), card, pg=self._pg, token=token, gate=gate)
        (verdict,) = self._settlement.settle_held([Held(sending, reply)])
        match verdict:
            case Paid() | Booked(state=AttemptState.PAID) if keeps:
                self._keep(sending.customer_uid, actor)
            case Unsent(is_unauthorized=True):
                self._gateway.discard_token(token.fingerprint)
        return verdict

    def _keep(self, customer_uid: str, actor: str) -> None:
        """The card that came with the payment; where the PG does not show it yet, the next sweep finds it."""
        try:
            self._registration.confirm(customer_uid, actor=actor)
        except (GatewayError, RuleError) as error:
            log.warning("the charge is paid; its card is looked for again later: %s", error)

    def _planned(self, tx: Tx, invoice_id: str, way: Way, actor: str) -> ChargeAttempt:
        """The attempt the card is for: one that never left, under its own number, or a new one."""
        refuse_when_frozen(tx)
        self._vouching.vouched(tx)
        pairs = tx.invoices.lock([invoice_id])
        if not pairs:
            raise NotFound("invoice", invoice_id)
        invoice, subscription = pairs[0]
        if not is_wanted(invoice, subscription):
            problem = f"number {invoice.number} is {invoice.state} and its subscription {subscription.state}"
            raise RuleError("invoice", problem, "choose an open one: `billing invoice list`")
        earlier = {one.id: one for one in tx.attempts.of_invoices([invoice.id])[invoice.id]}
        live = next((one for one in earlier.values() if one.state in LIVE), None)
        if live is not None and not (live.state is AttemptState.PLANNED and live.way in _TYPED):
            raise RuleError("invoice", f"its attempt {live.merchant_uid} is {live.state}", "wait until it is decided")
        tx.audit.note(AuditEntry(actor, "invoice.keyed_in", invoice.id, {"keeps_card": way is Way.ONETIME_KEY}), tx.now)
        tx.audit.flush()
        # One that never left had its card in another process, which is gone or will find that it holds nothing any more.
        if live is not None and live.way is way:
            taken = live._replace(fence=live.fence + 1, wake_at=tx.now + self._policy.patience.lease)
            tx.attempts.update([taken], was=[live])
            return taken
        if live is not None:
            earlier[live.id] = live._replace(state=AttemptState.VOID, wake_at=None, moved_at=tx.now)
            tx.attempts.update([earlier[live.id]], was=[live])
        return self._new(tx, invoice, subscription, list(earlier.values()), way)

    def _new(
        self, tx: Tx, invoice: Invoice, subscription: Subscription, earlier: Sequence[ChargeAttempt], way: Way
    ) -> ChargeAttempt:
        # What collects by itself must find a number left, however many cards were mistyped before.
        if invoice.attempts_planned >= WINDOW_NUMBERS or not has_free_number(invoice, earlier, spare=1):
            raise RuleError("invoice", "was tried too often by hand", "leave it to the card on file, or register another one")
        owner = tx.customers.find(invoice.customer_id, lock=True)
        kept = self._registration.begin(tx, owner).customer_uid if way is Way.ONETIME_KEY else ""
        attempt = planned(
            invoice,
            subscription,
            owner,
            kept,
            attempt_id=tx.new_id(),
            trigger=Trigger.MANUAL,
            lease_until=tx.now + self._policy.patience.lease,
            now=tx.now,
            way=way,
        )
        tx.attempts.insert([attempt])
        tx.invoices.update([invoice._replace(attempts_planned=attempt.seq)])
        return attempt

    def _armed(self, tx: Tx, mine: ChargeAttempt, token: Token) -> tuple[ChargeAttempt | None, str]:
        refuse_when_frozen(tx)
        ledger_id = self._vouching.vouched(tx).ledger_id
        ((invoice, subscription),) = tx.invoices.lock([mine.invoice_id])
        row = tx.attempts.locked([mine.id])[mine.id]
        if row.fence != mine.fence or row.state is not AttemptState.PLANNED or not is_wanted(invoice, subscription):
            return None, ledger_id
        until = tx.now + self._policy.patience.lease
        sending = armed(row, token_fp=token.fingerprint, now=tx.now, until=until)
        tx.attempts.update([sending], was=[row])
        return sending, ledger_id
