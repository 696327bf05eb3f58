"""Hear of a window's end: whoever tells of it, the PG's own record says what happened. The browser is believed nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Lock

from billing.domain.allowance import Rations
from billing.domain.attempt import AttemptState, ChargeAttempt, Way
from billing.domain.checkout import Checkout, CheckoutState, Completion, Outcome, outcome_of, refused, unfinished
from billing.domain.customer import KeyState
from billing.domain.events import AuditEntry, Event
from billing.domain.evidence import PaymentFact, PaymentStatus
from billing.domain.notice import checked_id
from billing.domain.policy import Policy
from billing.domain.settlement import Booked
from billing.errors import BillingError, GatewayError, RuleError
from billing.flow.charging import Charging
from billing.flow.reconciliation import Reconciliation
from billing.flow.registration import KeyNotThere, Registration
from billing.flow.settlement import Settlement
from billing.ports import Clock, Gateway
from billing.redaction import redacted
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.window")

LOOKS_PER_NUMBER = 20
"""How often completions of one order number may make one process ask the PG in a minute; a page asks a dozen times at most."""

_TOLD_MAX = 200


class Completing:
    """Finds out how windows ended, for the callback of a page, a redirect, a notice and the next opening alike."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        settlement: Settlement,
        registration: Registration,
        charging: Charging,
        reconciliation: Reconciliation,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement
        self._registration = registration
        self._charging = charging
        self._reconciliation = reconciliation
        self._policy = policy
        self._clock = clock
        self._rations = Rations(LOOKS_PER_NUMBER, 60.0, 4096)
        self._lock = Lock()

    def complete(self, imp_uid: str | None, merchant_uid: str, *, told: str = "") -> Outcome:
        """Look the payment up at the PG, compare it with our record, book what is new, and say how it ended.

        Safe to repeat, in any order with notices. Whoever calls is granted nothing: what was paid belongs to the
        customer of our own record.

        Args:
            imp_uid: the PG's id as the browser brought it; None where no window opened.
            told: what the SDK or the redirect says went wrong; never more than a choice of words.

        Raises:
            RuleError: an id is not of the shape the PG's ids have.
            GatewayError: the PG could not be asked; ask again.
        """
        number = checked_id("merchant_uid", merchant_uid)
        name = checked_id("imp_uid", imp_uid) if imp_uid else None
        told = redacted(told[:_TOLD_MAX]) if told.isprintable() else ""
        with self._store.read() as tx:
            attempts = tx.attempts.by_uids([number])
            checkout = tx.checkouts.by_uids([number]).get(number)
        if not attempts and checkout is None:
            # Nothing of ours is called so; asking the PG about it would let strangers make us ask.
            log.warning("a completion names an order number nobody gave out")
            return Outcome(Completion.FORGED, number)
        if not self._may_look(number):
            return self._as_booked(attempts, checkout)
        fact = self._gateway.get_payment(name) if name else None
        if fact is not None and fact.merchant_uid != number:
            return self._forged(number, fact, attempts, checkout, ("merchant_uid",))
        if attempts:
            return self._paid(attempts[0], fact, told)
        assert checkout is not None
        return self._registered(checkout, fact, told)

    def hear(self, imp_uid: str, merchant_uid: str) -> bool:
        """Look into a notice about a registration; True where it came to an end, one way or the other."""
        return self.complete(imp_uid, merchant_uid).completion is not Completion.PENDING

    def look_at(self, attempt: ChargeAttempt) -> Outcome:
        """How this attempt's window stands at the PG now; booked if it is decided."""
        return self._paid(attempt, None, "")

    def look(self, checkout: Checkout) -> Outcome | None:
        """The card this checkout registers, if the PG shows it; None while it does not."""
        ended = self._registered(checkout, None, "")
        return ended if ended.completion is Completion.REGISTERED else None

    def _may_look(self, number: str) -> bool:
        with self._lock:
            return self._rations.of(number).take(self._clock.monotonic())

    def _as_booked(self, attempts: Sequence[ChargeAttempt], checkout: Checkout | None) -> Outcome:
        """What our own rows say, where somebody asks too often for the PG to be asked again."""
        if attempts:
            one = attempts[0]
            seen = Booked(one.merchant_uid, one.invoice_id, one.state)
            return outcome_of(seen, one, None, is_live=self._policy.is_live, told="")
        is_done = checkout is not None and checkout.state is CheckoutState.DONE
        number = (checkout.merchant_uid if checkout else None) or ""
        return Outcome(Completion.REGISTERED if is_done else Completion.PENDING, number)

    # --- payments --------------------------------------------------------------------------------

    def _paid(self, attempt: ChargeAttempt, fact: PaymentFact | None, told: str) -> Outcome:
        number = attempt.merchant_uid
        verdicts = self._settlement.settle([number], imp_uids=[fact.imp_uid] if fact else [])
        with self._store.read() as tx:
            after = tx.attempts.by_uids([number])[0]
        ended = outcome_of(verdicts[0] if verdicts else None, after, fact, is_live=self._policy.is_live, told=told)
        if ended.completion is Completion.FORGED and fact is not None:
            self._alarm(number, fact, after.customer_id)
        if ended.completion is Completion.PAID and after.way in (Way.ISSUE, Way.ONETIME_KEY):
            self._keep_card(after.customer_uid)
        return ended

    def _keep_card(self, customer_uid: str) -> None:
        """The card that came with the payment; where the PG does not show it yet, the next sweep finds it."""
        try:
            self._registration.confirm(customer_uid, actor="customer")
        except (GatewayError, RuleError) as error:
            log.warning("card %s is not confirmed yet: %s", customer_uid, error)

    # --- cards -----------------------------------------------------------------------------------

    def _registered(self, checkout: Checkout, fact: PaymentFact | None, told: str) -> Outcome:
        number = checkout.merchant_uid or ""
        if fact is not None:
            differs = self._differs(checkout, fact)
            if differs:
                return self._forged(number, fact, (), checkout, differs)
            if fact.status is PaymentStatus.FAILED:
                return refused(number, fact)
        if checkout.state is CheckoutState.OPEN and not self._confirmed(checkout):
            return unfinished(number, fact, told)
        return Outcome(Completion.REGISTERED, number, charge=self._charged(checkout))

    def _differs(self, checkout: Checkout, fact: PaymentFact) -> tuple[str, ...]:
        """In what a record is not the registration that was asked for; a payment under its number names no card, or another."""
        wrong = {
            "customer_uid": fact.customer_uid != checkout.customer_uid,
            "sandbox": fact.sandbox is self._policy.is_live,
        }
        return tuple(name for name, is_wrong in wrong.items() if is_wrong)

    def _confirmed(self, checkout: Checkout) -> bool:
        """Whether the PG shows the key, which then is the customer's current one."""
        if checkout.customer_uid is None:
            return False
        with self._store.read() as tx:
            states = {key.customer_uid: key.state for key in tx.customers.keys_of(checkout.customer_id)}
        if states.get(checkout.customer_uid) is not KeyState.PENDING:
            return states.get(checkout.customer_uid) is KeyState.CURRENT
        try:
            self._registration.confirm(checkout.customer_uid, actor=checkout.actor)
        except KeyNotThere:
            return False
        return True

    def _charged(self, checkout: Checkout) -> Completion | None:
        """Charge what waited for this card, and say how that went; None where nothing was to be charged.

        Once per card: a completion that is told again, or after a worker who was quicker, only says what became of it.
        """
        if checkout.invoice_id is None:
            return None
        known = self._charge_by_rows(checkout.invoice_id, checkout)
        if known is not None:
            return known
        try:
            self._charging.charge([checkout.invoice_id])
        except BillingError as error:
            log.warning("the card is registered, its first charge waits: %s", error)
        return self._charge_by_rows(checkout.invoice_id, checkout) or Completion.PENDING

    def _charge_by_rows(self, invoice_id: str, checkout: Checkout) -> Completion | None:
        """PAID, however it was; FAILED where this card refused; None while neither is known."""
        with self._store.read() as tx:
            attempts = tx.attempts.of_invoices([invoice_id])[invoice_id]
        if any(one.state is AttemptState.PAID for one in attempts):
            return Completion.PAID
        on_card = [one.state for one in attempts if one.customer_uid == checkout.customer_uid]
        return Completion.FAILED if {AttemptState.DECLINED, AttemptState.REJECTED}.intersection(on_card) else None

    # --- forgeries -------------------------------------------------------------------------------

    def _forged(
        self,
        number: str,
        fact: PaymentFact,
        attempts: Sequence[ChargeAttempt],
        checkout: Checkout | None,
        differs: tuple[str, ...],
    ) -> Outcome:
        """Somebody brought a true payment and said it was for something else. It counts for what it is, and for nothing more."""
        self._settlement.settle([fact.merchant_uid], imp_uids=[fact.imp_uid])
        if not attempts:
            self._reconciliation.alarm(fact)
        owner = attempts[0].customer_id if attempts else checkout.customer_id if checkout else ""
        self._alarm(number, fact, owner, differs)
        return Outcome(Completion.FORGED, number)

    def _alarm(self, number: str, fact: PaymentFact, customer_id: str, differs: tuple[str, ...] = ()) -> None:
        """Tell the host once for each pair of payment and order number."""
        key = f"payment.forgery:{fact.imp_uid}:{number}"
        about = {
            "merchant_uid": number,
            "imp_uid": fact.imp_uid,
            "record_of": redacted(fact.merchant_uid),
            "amount": {"amount": fact.amount, "currency": fact.currency},
            "differs": list(differs),
        }

        def work(tx: Tx) -> None:
            if tx.outbox.holds(key):
                return
            tx.outbox.publish([Event("payment.forgery", key, customer_id, payload=about)], tx.business_now)
            tx.audit.note(
                AuditEntry("engine", "payment.forgery", number, {"imp_uid": fact.imp_uid, "differs": list(differs)}), tx.now
            )
            tx.audit.flush()

        log.critical("a completion for %s brought payment %s, which is not that", number, fact.imp_uid)
        self._store.run(work)
