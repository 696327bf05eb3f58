"""Register and remove cards: a row first, the PG second, and the key counts once the PG shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from billing.domain.attempt import LIVE
from billing.domain.checkout import CheckoutState
from billing.domain.customer import BillingKey, Customer, KeyFact, KeyState, moved
from billing.domain.events import AuditEntry, Event
from billing.domain.evidence import Refusal
from billing.domain.invoice import Collection
from billing.domain.policy import Policy
from billing.domain.wording import refuse_card_numbers
from billing.errors import CredentialsRefused, GatewayError, GatewayUnavailable, RuleError
from billing.flow.poison import POISON
from billing.flow.vouching import Vouching
from billing.ports import CardSecrets, Gateway
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.registration")


@dataclass(frozen=True, slots=True)
class CardRefused:
    """The PG or the issuer did not take the card: an outcome, not an error. `reason` is the PG's own text."""

    customer_id: str
    reason: str


class KeyNotThere(GatewayError):
    """The PG shows no key under this name, or not yet."""


class Registration:
    """The cards of customers."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        policy: Policy,
        vouching: Vouching,
        *,
        pg: str,
        new_customer_uid: Callable[[str, int], str],
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._policy = policy
        self._vouching = vouching
        self._pg = pg
        self._new_customer_uid = new_customer_uid

    def add(self, customer: str, card: CardSecrets, *, actor: str) -> BillingKey | CardRefused:
        """Register a card by key-in and make it the customer's current one.

        The key gets a `customer_uid` of its own: issuing under one in use would silently swap the card
        and leave the old key alive at the PG. The old key is deleted once the new one works and no
        charge on it is undecided. Open invoices that waited for a card are tried again by the next pass.

        Raises:
            NotFound: no such customer.
            GatewayError: the PG could not be asked; the key stays pending and does not count.
            InvariantBroken: this database is a copy.
        Source: PortOne REST V1, POST /subscribe/customers/{customer_uid} (does not charge).
        """
        refuse_card_numbers({"actor": actor})  # the audit trail would, but only after the PG was asked
        pending = self._store.run(lambda tx: self._pending(tx, customer))
        with self._store.read() as tx:
            owner = tx.customers.find(pending.customer_id)
        try:
            answer = self._gateway.issue_key(pending.customer_uid, card, pg=self._pg, buyer=_buyer(owner))
        except CredentialsRefused:
            raise
        except GatewayUnavailable:
            # The answer is lost, not necessarily the key: what the PG shows decides.
            if self._gateway.get_key(pending.customer_uid) is None:
                raise
            return self.confirm(pending.customer_uid, actor=actor)
        if isinstance(answer, Refusal):
            reason = answer.message
            return self._store.run(lambda tx: self._refused(tx, pending, reason, actor))
        return self.confirm(pending.customer_uid, actor=actor)

    def confirm(self, customer_uid: str, *, actor: str) -> BillingKey:
        """Look a key up at the PG and make it current if it is there; the one way a key comes to count.

        Raises:
            KeyNotThere: the PG shows no such key, or not yet.
            RuleError: it is one of the wrong mode, or was removed meanwhile.
            GatewayError: the PG could not be asked.
        """
        fact = self._gateway.get_key(customer_uid)
        if fact is None:
            raise KeyNotThere(f"the PG shows no key {customer_uid} yet; ask again later")
        if self._is_play_money(fact):
            raise RuleError("card", "the PG registered it on a test channel", "check BILLING_PG against the live channels")
        current = self._store.run(lambda tx: self._current(tx, fact, actor))
        self.sweep()
        return current

    def remove(self, customer: str, customer_uid: str, *, actor: str) -> BillingKey:
        """Delete a key at the PG and remove it here; a customer may be left without any.

        Raises:
            RuleError: a charge on this key is undecided.
            GatewayError: the PG could not be asked; the key stays as it is.
        """
        refuse_card_numbers({"actor": actor})
        with self._store.read() as tx:
            self._vouching.vouched(tx)
            owner = tx.customers.find(customer)
            found = [key for key in tx.customers.keys_of(owner.id) if customer_uid in (key.customer_uid, key.id)]
            busy = tx.attempts.live_on_key(found[0].customer_uid) if found else 0
        if not found or found[0].state is KeyState.REMOVED:
            raise RuleError("card", f"customer {customer!r} has no card {customer_uid!r}", "see `billing card list`")
        if busy:
            raise RuleError("card", "a charge on it is not decided yet", "run `billing renew` until it is, then remove it")
        self._gateway.delete_key(found[0].customer_uid, reason="removed by merchant")
        return self._store.run(lambda tx: self._removed(tx, found[0], actor))

    def sweep(self, limit: int = 100) -> int:
        """Finish what earlier registrations left behind; returns how many keys were settled.

        Replaced keys are deleted at the PG once no charge on them is undecided. A registration whose answer was
        lost becomes the current card if the PG shows it and no other came since; otherwise it is deleted. An
        unreachable PG leaves everything for the next sweep.
        """
        with self._store.read() as tx:
            # A copy must not delete cards the original charges.
            self._vouching.vouched(tx)
            ripe = tx.now - self._policy.patience.admission
            left = tx.customers.unsettled_keys(tx.now, limit)
            left = [key for key in left if key.state is KeyState.RETIRED or key.created_at <= ripe]
            in_window = tx.checkouts.opened([key.customer_uid for key in left], tx.now - self._policy.patience.window)
            left = [key for key in left if key.customer_uid not in in_window]
            busy = {key.id for key in left if tx.attempts.live_on_key(key.customer_uid)}
        settled = 0
        for key in left:
            if key.id in busy:
                continue
            try:
                settled += self._finished(key)
            except GatewayError as error:
                log.warning("key %s waits for the next sweep: %s", key.customer_uid, error)
                break
            except POISON:
                # What a card of one customer is about, its page and its PG say: it must not keep a renewal from being charged.
                log.exception("card %s could not be settled", key.customer_uid)
        return settled

    def _finished(self, key: BillingKey) -> bool:
        if key.state is KeyState.PENDING:
            with self._store.read() as tx:
                newest = tx.customers.keys_of(key.customer_id)[-1]
            fact = self._gateway.get_key(key.customer_uid) if newest.id == key.id else None
            if fact is not None and not self._is_play_money(fact):
                self.confirm(key.customer_uid, actor="engine")
                return True
        self._gateway.delete_key(key.customer_uid, reason="replaced by a new card")
        self._store.run(lambda tx: self._removed(tx, key, "engine"))
        return True

    def _is_play_money(self, fact: KeyFact) -> bool:
        """True for a card of a test channel in live mode: a window's page names the channel, and there any card is good."""
        return self._policy.is_live and fact.sandbox

    def begin(self, tx: Tx, owner: Customer) -> BillingKey:
        """A row for a card that is about to be registered, under a name of its own. `owner` is locked by the caller."""
        number = len(tx.customers.keys_of(owner.id)) + 1
        key = BillingKey(
            id=tx.new_id(),
            customer_id=owner.id,
            customer_uid=self._new_customer_uid(owner.id, number),
            state=KeyState.PENDING,
            created_at=tx.now,
        )
        tx.customers.insert_key(key)
        return key

    def _pending(self, tx: Tx, customer: str) -> BillingKey:
        self._vouching.vouched(tx)
        return self.begin(tx, tx.customers.find(customer, lock=True))

    def _refused(self, tx: Tx, pending: BillingKey, reason: str, actor: str) -> CardRefused:
        tx.customers.update_keys([moved(pending, KeyState.REMOVED, removed_at=tx.now)])
        tx.audit.note(AuditEntry(actor, "card.refused", pending.customer_uid, {"reason": reason}), tx.now)
        tx.audit.flush()
        return CardRefused(pending.customer_id, reason)

    def _current(self, tx: Tx, fact: KeyFact, actor: str) -> BillingKey:
        owner = tx.customers.owner_of(fact.customer_uid)
        keys = tx.customers.keys_of(owner.id)
        mine = next(key for key in keys if key.customer_uid == fact.customer_uid)
        if mine.state is KeyState.CURRENT:
            return mine
        current = moved(
            mine,
            KeyState.CURRENT,
            pg_provider=fact.pg_provider,
            pg_id=fact.pg_id,
            card_name=fact.card_name,
            card_number=masked(fact.card_number),
            card_type=fact.card_type,
            confirmed_at=tx.now,
        )
        replaced = [moved(key, KeyState.RETIRED) for key in keys if key.state is KeyState.CURRENT]
        tx.customers.update_keys([*replaced, current])
        checkout = tx.checkouts.of_card(current.customer_uid)
        asked = checkout.invoice_id if checkout else None
        waiting = [one for one, _ in tx.invoices.lock_open_of(owner.id) if one.first_failed_at is not None or one.id == asked]
        undecided = tx.attempts.of_invoices([one.id for one in waiting])
        tx.invoices.update(
            [
                one._replace(collection=Collection.CHARGE, next_attempt_at=tx.business_now)
                for one in waiting
                if all(attempt.state not in LIVE for attempt in undecided[one.id])
            ]
        )
        if checkout is not None and checkout.state is CheckoutState.OPEN:
            tx.checkouts.update(checkout._replace(state=CheckoutState.DONE, done_at=tx.now))
        payload = {"customer_uid": current.customer_uid, "card_name": current.card_name, "card_number": current.card_number}
        tx.outbox.publish([Event("card.registered", f"card.registered:{current.id}", owner.id, payload=payload)], tx.business_now)
        tx.audit.note(AuditEntry(actor, "card.registered", current.customer_uid, {"customer": owner.id}), tx.now)
        tx.audit.flush()
        return current

    def _removed(self, tx: Tx, key: BillingKey, actor: str) -> BillingKey:
        gone = moved(key, KeyState.REMOVED, removed_at=tx.now)
        tx.customers.update_keys([gone])
        tx.audit.note(AuditEntry(actor, "card.removed", key.customer_uid, {"customer": key.customer_id}), tx.now)
        tx.audit.flush()
        return gone


def masked(card_number: str) -> str:
    """A card number fit to keep: as the PG masked it, or with its middle hidden should the PG ever forget to.

    At most the first six and the last four digits stay readable.
    """
    digits = [at for at, sign in enumerate(card_number) if sign.isdigit()]
    if len(digits) <= 10:
        return card_number
    hidden = set(digits[6:-4])
    return "".join("*" if at in hidden else sign for at, sign in enumerate(card_number))


def _buyer(customer: Customer) -> dict[str, str]:
    """Who the card belongs to. Source: PortOne REST V1 (customer_name and customer_tel <= 20, customer_email <= 200)."""
    return {
        "name": customer.name[:20],
        "tel": customer.tel[:20],
        "email": customer.email if len(customer.email) <= 200 else "",
    }
