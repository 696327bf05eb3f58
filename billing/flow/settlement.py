"""Learn how attempts ended and book each once, whoever asks and however often. The one way in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from billing import fault
from billing.domain.attempt import LIVE, AttemptState, ChargeAttempt
from billing.domain.booking import Booking, Case, booked
from billing.domain.evidence import Answered, PaymentFact, Reply, Silence, Unauthorized
from billing.domain.policy import Policy
from billing.domain.settlement import (
    AccountIssued,
    Evidence,
    Lapsed,
    Mismatch,
    NeverArrived,
    Rejected,
    Unsent,
    Verdict,
    Wait,
    judge,
)
from billing.errors import GatewayError, InvariantBroken
from billing.flow import journal
from billing.flow.poison import POISON
from billing.flow.refund_settlement import RefundSettlement
from billing.flow.surplus import plan_surplus
from billing.ports import Gateway
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.settlement")

NEGATIVE = (Wait, Unsent, Rejected, NeverArrived, Lapsed)
"""Verdicts that rest on the absence of a record: only who holds the attempt may write them."""


class Held(NamedTuple):
    """An attempt the caller holds (its fence) and the reply its send brought, if there was one."""

    attempt: ChargeAttempt
    reply: Reply | None = None


class Settlement:
    """Looks payments up, judges them, and books what they say."""

    def __init__(self, store: Store, gateway: Gateway, refunds: RefundSettlement, policy: Policy) -> None:
        self._store = store
        self._gateway = gateway
        self._refunds = refunds
        self._policy = policy

    def settle(self, merchant_uids: Sequence[str], *, imp_uids: Sequence[str] = ()) -> list[Verdict]:
        """Look these order numbers up and book what is new. Unknown numbers are left out.

        For whoever heard of a payment: webhook, redirect, CLI, reconciliation. Only the PG's records
        count; nothing is booked from an absence, because the attempt may be in another's hands.

        Args:
            imp_uids: records to ask for by name: of several under one number, the look-up by number shows one.

        Raises:
            GatewayUnavailable: the PG could not be asked; nothing was booked.
        """
        with self._store.read() as tx:
            attempts = tx.attempts.by_uids(merchant_uids)
        if not attempts:
            return []
        evidence = self._learn([Held(one) for one in attempts], canary=None, imp_uids=imp_uids)
        fault.point("W4")
        return self._book(attempts, evidence, fences={})

    def settle_held(self, held: Sequence[Held]) -> list[Verdict]:
        """Settle attempts the caller holds; their replies and absences count too.

        A PG that cannot be asked leaves them unknown instead of raising: the look is simply repeated later.
        """
        if not held:
            return []
        looks_again = any(one.attempt.state is AttemptState.UNKNOWN for one in held)
        canary = self._canary() if looks_again else None
        try:
            evidence = self._learn(held, canary=canary)
        except GatewayError as error:
            log.warning("look-up failed, %d outcomes stay unknown: %s", len(held), error)
            evidence = {one.attempt.merchant_uid: Evidence(reply=one.reply, absence_counts=False) for one in held}
        fault.point("K08")
        return self._book([one.attempt for one in held], evidence, fences={one.attempt.id: one.attempt.fence for one in held})

    def _canary(self) -> str | None:
        with self._store.read() as tx:
            return tx.payments.canary()

    def _learn(self, held: Sequence[Held], *, canary: str | None, imp_uids: Sequence[str] = ()) -> dict[str, Evidence]:
        """Ask the PG about every attempt whose request may have reached it.

        The bulk look-up shows one record per number, the newest, so a failed one may hide a paid one, and so may the
        `ready` one of a second window: before anything but money is believed, the paid record is asked for by name.
        Source: PortOne REST V1, GET /payments/find (default sorting -started).
        """
        asked = [one for one in held if not _is_unsent(one.reply)]
        uids = [one.attempt.merchant_uid for one in asked]
        token_fp = self._gateway.token().fingerprint if asked else None
        findings = self._gateway.find_payments(uids, imp_uids=imp_uids, canary=canary)
        facts: dict[str, tuple[PaymentFact, ...]] = {uid: findings.facts.get(uid, ()) for uid in uids}
        doubtful = [one.attempt.merchant_uid for one in asked if _is_doubtful(one, facts[one.attempt.merchant_uid])]
        for uid, fact in self._gateway.find_paid(doubtful).items():
            facts[uid] = (fact, *(other for other in facts[uid] if other.imp_uid != fact.imp_uid))
        for one in asked:
            hint = _hinted(one)
            if hint and not facts[one.attempt.merchant_uid]:
                found = self._gateway.get_payment(hint)
                if found is not None and found.merchant_uid == one.attempt.merchant_uid:
                    facts[found.merchant_uid] = (found,)
        return {
            one.attempt.merchant_uid: Evidence(
                facts=facts.get(one.attempt.merchant_uid, ()),
                reply=one.reply,
                absence_counts=findings.canary_seen is not False,
                token_fp=token_fp,
            )
            for one in held
        }

    def _book(
        self, attempts: Sequence[ChargeAttempt], evidence: Mapping[str, Evidence], fences: Mapping[str, int]
    ) -> list[Verdict]:
        def work(some: Sequence[ChargeAttempt]) -> Callable[[Tx], list[Verdict]]:
            return lambda tx: self._judge_and_write(tx, some, evidence, fences)

        try:
            verdicts = self._store.run(work(attempts))
        except (*POISON, InvariantBroken):
            if len(attempts) == 1 and not fences:
                raise
            log.exception("a batch of %d could not be booked; booking one by one", len(attempts))
            verdicts = self._one_by_one(attempts, work)
        fault.point("K10")
        for verdict in verdicts:
            log.info("%s", verdict.name, extra={"merchant_uid": verdict.merchant_uid, "invoice_id": verdict.invoice_id})
        return verdicts

    def _one_by_one(
        self, attempts: Sequence[ChargeAttempt], work: Callable[[Sequence[ChargeAttempt]], Callable[[Tx], list[Verdict]]]
    ) -> list[Verdict]:
        """A poison row is left where it is, to be looked at again when its lease ends; it delays nobody else."""
        verdicts: list[Verdict] = []
        for one in attempts:
            try:
                verdicts += self._store.run(work([one]))
            except (*POISON, InvariantBroken):
                log.exception("attempt %s could not be booked", one.merchant_uid)
                verdicts.append(Wait(one.merchant_uid, one.invoice_id, "could not be booked; see the log"))
        return verdicts

    def _judge_and_write(
        self, tx: Tx, attempts: Sequence[ChargeAttempt], evidence: Mapping[str, Evidence], fences: Mapping[str, int]
    ) -> list[Verdict]:
        pairs = tx.invoices.lock(sorted({one.invoice_id for one in attempts}))
        invoices = {invoice.id: invoice for invoice, _ in pairs}
        subscriptions = {subscription.id: subscription for _, subscription in pairs}
        locked = tx.attempts.locked([one.id for one in attempts])
        found = [fact.imp_uid for one in evidence.values() for fact in one.facts]
        known = frozenset(tx.payments.known(found))
        verdicts: list[Verdict] = []
        bookings: list[Booking] = []
        for attempt in sorted(locked.values(), key=lambda one: (one.invoice_id, one.seq)):
            proof = _unbooked(evidence[attempt.merchant_uid], attempt, known)
            case = Case(attempt, invoices[attempt.invoice_id], subscriptions[attempt.subscription_id])
            verdict = judge(
                attempt,
                case.invoice.state,
                proof,
                is_live=self._policy.is_live,
                now=tx.now,
                patience=self._policy.patience,
            )
            if isinstance(verdict, Mismatch) and attempt.state not in LIVE and self._is_another_live(tx, attempt):
                # Parking it would make two live attempts of one invoice. Reconciliation brings it back when that one is decided.
                verdict = Wait(verdict.merchant_uid, verdict.invoice_id, "another attempt of its invoice is under way")
            verdicts.append(verdict)
            if isinstance(verdict, Lapsed) and attempt.wake_at is not None and attempt.wake_at <= tx.now:
                # Whoever held it has slept since he looked: an hour has passed by now, and what he saw is older.
                continue
            if (isinstance(verdict, NEGATIVE) or _says_nothing_new(verdict, attempt)) and fences.get(attempt.id) != attempt.fence:
                continue
            booking = booked(
                verdict,
                case,
                proof,
                known_imp_uids=known,
                ladder=self._policy.ladder,
                patience=self._policy.patience,
                now=tx.now,
                business_now=tx.business_now,
            )
            if booking is None:
                continue
            bookings.append(booking)
            # Two attempts of one invoice can be settled together: the second must see what the first did.
            invoices[attempt.invoice_id] = booking.invoice
            subscriptions[attempt.subscription_id] = booking.subscription
        journal.post(tx, bookings, locked, business_now=tx.business_now)
        for booking in bookings:
            self._give_back(tx, booking)
        fault.point("K09")
        return verdicts

    def _is_another_live(self, tx: Tx, attempt: ChargeAttempt) -> bool:
        others = tx.attempts.of_invoices([attempt.invoice_id])[attempt.invoice_id]
        return any(one.state in LIVE and one.id != attempt.id for one in others)

    def _give_back(self, tx: Tx, booking: Booking) -> None:
        """Book what the PG had given back before we knew of the payment, and plan to give back what was paid twice."""
        for fact, role in booking.payments:
            if fact.cancel_amount:
                self._refunds.book(tx, fact)
            if role == "surplus":
                plan_surplus(tx, booking.invoice.id, fact.imp_uid, self._policy)


def _unbooked(evidence: Evidence, attempt: ChargeAttempt, known: frozenset[str]) -> Evidence:
    """What is still to be judged: an attempt's own record, and those under its number that nobody booked yet."""
    facts = tuple(fact for fact in evidence.facts if fact.imp_uid not in known or fact.imp_uid == attempt.imp_uid)
    return evidence if len(facts) == len(evidence.facts) else evidence._replace(facts=facts)


def _says_nothing_new(verdict: Verdict, attempt: ChargeAttempt) -> bool:
    """True for an account we know: whoever else looks at it must not use up the looks of who watches it."""
    return isinstance(verdict, AccountIssued) and verdict.fact.imp_uid == attempt.hint_imp_uid


def _is_unsent(reply: Reply | None) -> bool:
    return isinstance(reply, Unauthorized) or (isinstance(reply, Silence) and not reply.sent)


def _is_doubtful(held: Held, facts: Sequence[PaymentFact]) -> bool:
    """True where the paid record must be asked for by name: only others show, or a later look shows nothing."""
    if facts:
        return not any(fact.is_money for fact in facts)
    return held.attempt.state is AttemptState.UNKNOWN


def _hinted(held: Held) -> str | None:
    return held.reply.fact.imp_uid if isinstance(held.reply, Answered) else held.attempt.hint_imp_uid
