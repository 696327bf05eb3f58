"""Look into what notices mention: through the one way in, and no oftener than a forger may make us."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from billing import fault
from billing.domain.allowance import Allowance
from billing.domain.attempt import BROWSER_WAYS, AttemptState, ChargeAttempt, is_number_of
from billing.domain.events import Event
from billing.domain.evidence import PaymentFact
from billing.domain.notice import next_look, says_nothing_new
from billing.domain.policy import Policy
from billing.domain.reconciliation import Whose
from billing.domain.settlement import Booked
from billing.errors import GatewayError, InvariantBroken, NotFound
from billing.flow.poison import POISON
from billing.flow.settlement import NEGATIVE, Settlement
from billing.ports import Clock, Gateway
from billing.store.inbox import Received
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.inbox")

KNOWN_LOOKS = 60
"""How often notices about attempts of ours may make one process ask the PG in ten minutes; each look serves a batch."""

STRANGER_LOOKS = 6
"""The same for notices under our kind of name that no row of ours knows: nearly all of them are forged."""

STRANGERS_PER_LOOK = 100
"""Most ids in one bulk look-up. Source: PortOne REST V1, GET /payments."""

Adopt = Callable[[Sequence[str]], object]
"""Take over what was given back at the PG, of these payments (`imp_uid`)."""

Register = Callable[[str, str], bool]
"""Look for the card that was registered in a window, by the record's `imp_uid` and order number; True where it ended."""

Alarm = Callable[[PaymentFact], object]
"""Say that the PG holds a payment under our kind of name that no row of ours knows."""


@dataclass
class _Batch:
    """Notices under way, what our rows know of them, and what came of each."""

    notices: list[Received]
    attempts: dict[str, ChargeAttempt]
    whose: Whose
    registrations: frozenset[str]  # order numbers of windows that register a card
    ended: dict[str, str] = field(default_factory=dict)  # id → outcome
    vain: set[str] = field(default_factory=set)  # looked at, and nothing conclusive was found
    counts: Counter[str] = field(default_factory=Counter)

    def end(self, notices: Sequence[Received], outcome: str) -> None:
        self.ended |= dict.fromkeys((one.id for one in notices), outcome)


class Heeding:
    """Works the inbox off. Anybody may write into it, so nothing in it is believed.

    What it costs the PG is bounded whatever arrives: an order number that is not ours costs nothing, ours that an
    attempt carries are looked up together, and those no row knows share a small allowance.
    """

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        settlement: Settlement,
        policy: Policy,
        clock: Clock,
        *,
        adopt: Adopt,
        alarm: Alarm,
        register: Register,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement
        self._policy = policy
        self._clock = clock
        self._adopt = adopt
        self._alarm = alarm
        self._register = register
        quiet = policy.patience.quiet.total_seconds()
        self._known, self._strange = Allowance(KNOWN_LOOKS, quiet), Allowance(STRANGER_LOOKS, quiet)
        self._lock = Lock()

    def heed(self, limit: int) -> Counter[str]:
        """Look into every notice that is due, `limit` at a time; those about attempts of ours come first.

        A PG that cannot be asked ends nothing: its notices wait, longer and longer.

        Returns:
            The verdicts that changed something, by name, and as `heeded` how many notices are done with.
        """
        counts: Counter[str] = Counter()
        with self._store.read() as tx:
            if not tx.inbox.is_due(tx.now):
                return counts
        is_reachable = True
        for only_known in (True, False):
            while (batch := self._taken(limit, only_known=only_known)).notices:
                fault.point("W3")
                try:
                    self._sort(batch, may_ask=is_reachable)
                except GatewayError as error:
                    is_reachable = False
                    log.warning("the PG cannot be asked about %d notices: %s", len(batch.notices), error)
                except (*POISON, InvariantBroken):
                    # Anybody may write a notice: none must keep a renewal from being charged. Reconciliation finds what it told.
                    log.exception("%d notices could not be worked off", len(batch.notices))
                    batch.vain.update(one.id for one in batch.notices if one.id not in batch.ended)
                counts += self._concluded(batch)
        return counts

    def _taken(self, limit: int, *, only_known: bool) -> _Batch:
        def claim(tx: Tx) -> _Batch:
            notices = tx.inbox.claim(tx.now, tx.now + self._policy.patience.lease, limit, only_known=only_known)
            if not notices:
                return _Batch([], {}, Whose("", ""), frozenset())
            numbers = [one.merchant_uid for one in notices]
            identity = tx.controls.identity()
            attempts = {one.merchant_uid: one for one in tx.attempts.by_uids(numbers)}
            whose = Whose(identity.ledger_id, identity.uid_prefix) if identity else Whose("", "")
            return _Batch(notices, attempts, whose, frozenset(tx.checkouts.by_uids(numbers)))

        return self._store.run(claim)

    def _sort(self, batch: _Batch, *, may_ask: bool) -> None:
        """Decide what can be decided without the PG, then ask it about the rest."""
        known: list[Received] = []
        strange: list[Received] = []
        cards: list[Received] = []
        for one in batch.notices:
            attempt = batch.attempts.get(one.merchant_uid)
            if attempt is not None:
                if says_nothing_new(one.status, one.imp_uid, attempt):
                    batch.ended[one.id] = Booked.name
                elif attempt.state is AttemptState.SENDING and attempt.way not in BROWSER_WAYS and one.looks == 0:
                    # Earlier than the answer to our own request: whoever sent it will book it in a moment.
                    batch.vain.add(one.id)
                else:
                    known.append(one)
            elif one.merchant_uid in batch.registrations:
                cards.append(one)
            elif is_number_of(batch.whose.uid_prefix, one.merchant_uid):
                strange.append(one)
            else:
                batch.ended[one.id] = "foreign"
        if may_ask:
            self._settled(batch, known)
            self._registered(batch, cards)
            self._recognised(batch, strange)

    def _settled(self, batch: _Batch, known: list[Received]) -> None:
        if not known or not self._may_look(self._known):
            return
        uids = list(dict.fromkeys(one.merchant_uid for one in known))
        try:
            verdicts = {one.merchant_uid: one for one in self._settlement.settle(uids)}
        except (*POISON, InvariantBroken):
            log.exception("notices about %d attempts could not be settled", len(uids))
            verdicts = {}
        batch.counts.update(one.name for one in verdicts.values() if not isinstance(one, (Booked, *NEGATIVE)))
        for one in known:
            verdict = verdicts.get(one.merchant_uid)
            if verdict is None or isinstance(verdict, NEGATIVE):
                batch.vain.add(one.id)
            elif not one.tells_of_a_cancel:
                batch.ended[one.id] = verdict.name
        self._given_back(batch, [one for one in known if one.tells_of_a_cancel and one.id not in batch.vain])

    def _registered(self, batch: _Batch, cards: list[Received]) -> None:
        """Windows that registered a card: one look each, because a card is asked for by its own name."""
        for one in cards:
            if not self._may_look(self._known):
                return
            if self._register(one.imp_uid, one.merchant_uid):
                batch.ended[one.id] = "registered"
            else:
                batch.vain.add(one.id)

    def _given_back(self, batch: _Batch, cancels: list[Received]) -> None:
        """Take over what was given back, of the payments our own rows name."""
        if not cancels:
            return
        with self._store.read() as tx:
            attempts = tx.attempts.by_uids([one.merchant_uid for one in cancels])
            payments = {one.imp_uid for one in attempts if one.imp_uid} | tx.payments.known([one.imp_uid for one in cancels])
        if payments:
            self._adopt(sorted(payments))
        batch.end(cancels, "cancelled")

    def _recognised(self, batch: _Batch, strange: list[Received]) -> None:
        """Ask about names of our kind that no row knows: the PG's record alone says whether they mean anything."""
        for start in range(0, len(strange), STRANGERS_PER_LOOK):
            some = strange[start : start + STRANGERS_PER_LOOK]
            if not self._may_look(self._strange):
                return
            found = self._gateway.find_payments([], imp_uids=[one.imp_uid for one in some]).facts
            facts = {fact.imp_uid: fact for facts in found.values() for fact in facts}
            with self._store.read() as tx:
                rows = {one.merchant_uid for one in tx.attempts.by_uids([fact.merchant_uid for fact in facts.values()])}
            strangers = {
                fact.imp_uid: fact
                for fact in facts.values()
                if batch.whose.minted(fact.merchant_uid, fact.custom_data) and fact.merchant_uid not in rows
            }
            for fact in strangers.values():
                log.critical("the PG holds %s, which no row of ours knows", fact.merchant_uid, extra={"imp_uid": fact.imp_uid})
                self._alarm(fact)
                self._tell_of_reissue(fact)
            for one in some:
                if one.imp_uid not in facts:
                    batch.vain.add(one.id)
                elif one.imp_uid in strangers:
                    batch.ended[one.id] = "stranger"
                else:  # its note may name another ledger, whose letters are ours by chance
                    batch.ended[one.id] = "foreign" if facts[one.imp_uid].merchant_uid == one.merchant_uid else "forged"

    def _tell_of_reissue(self, fact: PaymentFact) -> None:
        """Tell the host that a card was registered under a name of ours by somebody else.

        The name then means another card, without a word to us. Source: PortOne REST V1, `customer_uid_usage` issue.
        """
        if fact.usage != "issue" or fact.customer_uid is None:
            return
        customer_uid, key = fact.customer_uid, f"card.reissued:{fact.imp_uid}"

        def work(tx: Tx) -> None:
            try:
                owner = tx.customers.owner_of(customer_uid)
            except NotFound:
                return
            if not tx.outbox.holds(key):
                about = {"customer_uid": customer_uid, "imp_uid": fact.imp_uid, "merchant_uid": fact.merchant_uid}
                tx.outbox.publish([Event("card.reissued", key, owner.id, payload=about)], tx.business_now)

        self._store.run(work)

    def _may_look(self, allowance: Allowance) -> bool:
        with self._lock:
            return allowance.take(self._clock.monotonic())

    def _concluded(self, batch: _Batch) -> Counter[str]:
        patience = self._policy.patience

        def work(tx: Tx) -> int:
            after: list[Received] = []
            for one in batch.notices:
                outcome = batch.ended.get(one.id)
                wait = patience.after_postponed(tx.now - one.last_received_at)
                looks = one.looks
                if outcome is None and one.id in batch.vain:
                    looks += 1
                    again = next_look(looks, is_known=one.merchant_uid in batch.attempts, patience=patience)
                    outcome, wait = ("unknown", wait) if again is None else (None, again)
                if outcome is None:
                    after.append(one._replace(looks=looks, wake_at=tx.now + wait))
                else:
                    after.append(one._replace(looks=looks, wake_at=None, settled_at=tx.now, outcome=outcome))
            tx.inbox.conclude(after)
            return sum(one.wake_at is None for one in after)

        heeded = self._store.run(work)
        return batch.counts + Counter(heeded=heeded)
