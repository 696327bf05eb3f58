"""Open a window for a checkout: the row first, the amount registered at the PG second, the number handed out last.

What `charging` is for a billing key: it plans, probes and arms. The browser sends, and `completing` hears of the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from billing.domain.attempt import (
    BROWSER_WAYS,
    LIVE,
    NUMBERS_PER_INVOICE,
    OPENINGS_MAX,
    AttemptState,
    ChargeAttempt,
    Trigger,
    Way,
)
from billing.domain.charging import armed, has_free_number, is_wanted, planned
from billing.domain.checkout import Checkout, CheckoutState, Completion, Outcome, Purpose, registration_uid
from billing.domain.customer import Customer, KeyState
from billing.domain.evidence import PaymentStatus
from billing.domain.invoice import InvoiceState
from billing.domain.policy import Policy
from billing.errors import GatewayError, RuleError
from billing.flow.completing import Completing
from billing.flow.probing import Probing
from billing.flow.registration import Registration
from billing.flow.settlement import Settlement
from billing.flow.switch import refuse_when_frozen
from billing.flow.vouching import Vouching
from billing.flow.windows import Params, Windows
from billing.ports import Gateway, Token
from billing.store.unit import Store, Tx

WINDOW_NUMBERS = NUMBERS_PER_INVOICE - 4
"""The last order numbers of an invoice are for what collects by itself: a buyer's many tries must not use them up."""

ACCOUNTS_MAX = 3
"""How many virtual accounts one invoice may have had: each puts off for days what collects by itself."""

_TIMES_MAX = 3


class Opened(NamedTuple):
    """A window may be opened with these parameters, now."""

    params: Params


class Opening:
    """Prepares windows. Until one lapses, nothing else collects the same invoice."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        settlement: Settlement,
        completing: Completing,
        registration: Registration,
        vouching: Vouching,
        windows: Windows,
        policy: Policy,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement
        self._completing = completing
        self._registration = registration
        self._vouching = vouching
        self._windows = windows
        self._policy = policy
        self._probing = Probing(store, gateway, settlement)

    def open(self, checkout_id: str, method: str) -> Opened | Outcome:
        """Make ready for the window of a checkout; or say how it ended, where that is known already.

        Safe to call again: a window that may still be open is opened under the same number, which the PG takes money
        for once.

        Args:
            method: what the buyer chose among the checkout's methods.

        Raises:
            NotFound, RuleError: no such checkout, a method it does not offer, or an invoice that is not owed any more.
            GatewayError: the PG could not be asked; nothing may be opened.
            Frozen, InvariantBroken: charging is switched off, or this database is a copy.
        """
        with self._store.read() as tx:
            one = tx.checkouts.find(checkout_id)
        if method not in one.methods:
            raise RuleError("pay_method", "is not one this checkout offers", f"choose among {one.pay_methods}")
        if one.purpose is Purpose.CARD and not self._windows.charges_for_a_card(one):
            return self._registering(one)
        return self._paying(one, method)

    # --- register a card -------------------------------------------------------------------------

    def _registering(self, one: Checkout) -> Opened | Outcome:
        is_spent = False
        if one.merchant_uid is not None:
            ended = self._completing.look(one)
            if ended is not None:
                return ended
            facts = self._gateway.find_payments([one.merchant_uid]).facts.get(one.merchant_uid, ())
            is_spent = bool(facts) and all(fact.status is PaymentStatus.FAILED for fact in facts)

        def work(tx: Tx) -> Opened | Outcome:
            identity = self._vouching.vouched(tx)
            mine, owner = self._with_a_card(tx, one.id)
            if mine.state is CheckoutState.DONE:
                return Outcome(Completion.REGISTERED, mine.merchant_uid or "")
            if mine.merchant_uid is None or is_spent:
                opening = mine.openings + 1
                uid = registration_uid(identity.uid_prefix, identity.ledger_id, mine.id, opening)
                mine = mine._replace(merchant_uid=uid, openings=opening)
            mine = mine._replace(opened_at=tx.now)
            tx.checkouts.update(mine)
            uid, card = mine.merchant_uid or "", mine.customer_uid or ""
            return Opened(self._windows.registering(mine, uid, card, owner, identity.ledger_id))

        return self._store.run(work)

    def _with_a_card(self, tx: Tx, checkout_id: str) -> tuple[Checkout, Customer]:
        """The checkout, locked, with the name its card will have at the PG, and whose it is."""
        owner = tx.customers.find(tx.checkouts.find(checkout_id).customer_id, lock=True)
        mine = tx.checkouts.find(checkout_id, lock=True)
        pending = {key.customer_uid for key in tx.customers.keys_of(owner.id) if key.state is KeyState.PENDING}
        if mine.state is CheckoutState.OPEN and mine.customer_uid not in pending:
            # The first time; or it was swept away, and a removed card never comes back under its name.
            mine = mine._replace(customer_uid=self._registration.begin(tx, owner).customer_uid)
        return mine, owner

    # --- pay an invoice --------------------------------------------------------------------------

    def _paying(self, one: Checkout, method: str) -> Opened | Outcome:
        for _ in range(_TIMES_MAX):
            opened = self._tried(one, method)
            if opened is not None:
                return opened
            # Somebody else moved it in between: look again.
        return Outcome(Completion.PENDING, "")

    def _tried(self, one: Checkout, method: str) -> Opened | Outcome | None:
        attempt = self._store.run(lambda tx: self._claimed(tx, one))
        if isinstance(attempt, Outcome):
            return attempt
        ended = self._known(attempt)
        if ended is not None:
            return ended
        self._register_amount(attempt)
        token = self._gateway.token()
        return self._store.run(lambda tx: self._armed(tx, one, attempt, method, token))

    def _claimed(self, tx: Tx, one: Checkout) -> ChargeAttempt | Outcome:
        """The attempt the window stands for: one that is open already, one that lapsed, or a new one, planned."""
        refuse_when_frozen(tx)
        self._vouching.vouched(tx)
        ((invoice, subscription),) = tx.invoices.lock([one.invoice_id or ""])
        if invoice.state is InvoiceState.PAID:
            return Outcome(Completion.PAID, "")
        if not is_wanted(invoice, subscription):
            raise RuleError("invoice", f"number {invoice.number} is not owed any more", "ask the merchant")
        earlier = tx.attempts.of_invoices([invoice.id])[invoice.id]
        for live in (old for old in earlier if old.state in LIVE):
            is_window = live.way in BROWSER_WAYS and live.state is not AttemptState.MISMATCH
            return live if is_window else Outcome(Completion.PENDING, live.merchant_uid)
        if earlier:
            _refuse_worn_out(tx, earlier)
        way, card = Way.WINDOW, ""
        if one.purpose is Purpose.CARD:
            mine, _ = self._with_a_card(tx, one.id)
            tx.checkouts.update(mine._replace(opened_at=tx.now))
            way, card = Way.ISSUE, mine.customer_uid or ""
        lapsed = [old for old in earlier if (old.way, old.customer_uid, old.state) == (way, card, AttemptState.VOID)]
        if lapsed:
            return lapsed[-1]
        if not has_free_number(invoice, earlier) or invoice.attempts_planned >= WINDOW_NUMBERS:
            raise RuleError("invoice", "was tried too often", "ask the merchant")
        new = planned(
            invoice,
            subscription,
            tx.customers.find(invoice.customer_id),
            card,
            attempt_id=tx.new_id(),
            trigger=Trigger.MANUAL,
            lease_until=tx.now + self._policy.patience.lease,
            now=tx.now,
            way=way,
        )
        tx.attempts.insert([new])
        tx.invoices.update([invoice._replace(attempts_planned=new.seq)])
        return new

    def _known(self, attempt: ChargeAttempt) -> Outcome | None:
        """How the PG says it ended, where it says so; a number that was used is looked up, a new one is probed."""
        if attempt.state is AttemptState.PLANNED:
            self._probing.probe([attempt])
            return None
        ended = self._completing.look_at(attempt)
        return ended if ended.completion in (Completion.PAID, Completion.ACCOUNT_ISSUED, Completion.FORGED) else None

    def _register_amount(self, attempt: ChargeAttempt) -> None:
        """Let the PG refuse to open a window for this number with any other amount.

        Source: PortOne REST V1, POST /payments/prepare.
        """
        known = self._gateway.prepared(attempt.merchant_uid)
        if known is None:
            self._gateway.prepare(attempt.merchant_uid, attempt.amount)
        elif known != attempt.amount:
            raise GatewayError(f"the PG has {known} registered for {attempt.merchant_uid}, which asks for {attempt.amount}")

    def _armed(self, tx: Tx, one: Checkout, claimed: ChargeAttempt, method: str, token: Token) -> Opened | None:
        """SENDING, committed before the browser hears of the number: from here on a window may be open."""
        refuse_when_frozen(tx)
        identity = self._vouching.vouched(tx)
        ((invoice, subscription),) = tx.invoices.lock([claimed.invoice_id])
        rows = {row.id: row for row in tx.attempts.of_invoices([invoice.id])[invoice.id]}
        row = tx.attempts.locked([claimed.id])[claimed.id]
        is_alone = all(other.id == row.id or other.state not in LIVE for other in rows.values())
        may_open = row.state in (AttemptState.PLANNED, AttemptState.SENDING, AttemptState.UNKNOWN, AttemptState.VOID)
        if not (is_wanted(invoice, subscription) and is_alone and may_open):
            return None
        _refuse_worn_out(tx, list(rows.values()))
        until = tx.now + self._policy.patience.lease
        sending = armed(row._replace(fence=row.fence + 1), token_fp=token.fingerprint, now=tx.now, until=until)
        tx.attempts.update([sending], was=[row])
        mine = tx.checkouts.find(one.id, lock=True)
        tx.checkouts.update(mine._replace(merchant_uid=row.merchant_uid, opened_at=tx.now))
        owner = tx.customers.find(invoice.customer_id)
        if sending.way is Way.ISSUE:
            return Opened(self._windows.issuing(one, sending, owner, identity.ledger_id))
        return Opened(self._windows.paying(one, sending, method, owner, identity.ledger_id))


def _refuse_worn_out(tx: Tx, attempts: Sequence[ChargeAttempt]) -> None:
    """Raise `RuleError` where windows and accounts have put off collecting this invoice often enough."""
    openings = [one.wire_count for one in attempts if one.way in BROWSER_WAYS]
    if any(count >= OPENINGS_MAX for count in openings) or len(tx.accounts.of_invoice(attempts[0].invoice_id)) >= ACCOUNTS_MAX:
        raise RuleError("invoice", "was tried too often", "ask the merchant")
