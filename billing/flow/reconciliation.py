"""Walk through the PG's own list and set right, or write down, what our books do not say. Nothing is ever charged here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from billing.domain.booking import ENGINE
from billing.domain.events import AuditEntry, Event
from billing.domain.evidence import PaymentFact, UnreadRecord
from billing.domain.policy import Policy
from billing.domain.reconciliation import (
    Adopt,
    Balance,
    Difference,
    Finding,
    FindingKind,
    Known,
    Report,
    Settle,
    Whose,
    Window,
    compared,
    is_past,
    is_resolved,
    left_over,
    missing,
    unreadable,
    windows,
)
from billing.domain.refund import Refund
from billing.domain.settlement import Booked, Verdict, Wait
from billing.errors import GatewayError, GatewayUnavailable, InvariantBroken, RuleError
from billing.flow.poison import POISON
from billing.flow.settlement import Settlement
from billing.ports import Gateway, PaymentPage
from billing.redaction import redacted
from billing.store.identity import STRANGERS, Freeze, Identity
from billing.store.payments import Payment
from billing.store.reconciliations import Reconciliation as Run
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.reconciliation")

FEW, MANY = 100, 1000
"""Records per page: a quiet list is one small answer; what goes on past a thousand is read in the PG's largest pages.

Source: PortOne REST V1, GET /payments/status/{payment_status} (limit at most 1000).
"""
TIMES_READ_MAX = 3

AdoptRefunds = Callable[[Sequence[str]], Sequence[Refund]]
"""Takes over what was given back at the PG of these payments (`imp_uid`); what it cannot take over becomes a finding."""


class _Beginning(NamedTuple):
    """What a run begins with: the instant, the run before it, and whose ledger this is."""

    at: datetime
    last: Run | None
    identity: Identity | None


@dataclass(slots=True)
class _Tally:
    """What one run has seen so far."""

    pages: int = 0
    seen: set[str] = field(default_factory=set)
    settled: list[Verdict] = field(default_factory=list)
    adopted: list[Refund] = field(default_factory=list)
    new: list[Finding] = field(default_factory=list)


class Reconciliation:
    """Compares the PG's list of payments with our rows."""

    def __init__(self, store: Store, gateway: Gateway, settlement: Settlement, policy: Policy, *, adopt: AdoptRefunds) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement
        self._policy = policy
        self._adopt = adopt
        self._has_run = False

    def keep_up(self) -> Report | None:
        """Reconcile if that is due; None where it is not.

        Due is the first call of every process, and then a quarter of an hour after anybody's last run on this database.

        Raises:
            GatewayError: the PG could not be asked, and this process has never compared: nothing may be charged yet.
        """
        begun = self._begun()
        if self._has_run and not self._is_due(begun):
            return None
        try:
            return self._run(begun, None, None, None)
        except GatewayError as error:
            if not self._has_run:
                raise
            log.warning("reconciliation failed, tried again with the next pass: %s", error)
            return None

    def _begun(self) -> _Beginning:
        with self._store.read() as tx:
            return _Beginning(tx.now, tx.reconciliations.last(), tx.controls.identity())

    def _is_due(self, begun: _Beginning) -> bool:
        at, last, _ = begun
        # A run "in the future" is a clock that was set back.
        return last is None or not at - self._policy.patience.reconcile_every < last.finished_at <= at

    def reconcile(self, since: datetime | None = None, until: datetime | None = None, *, actor: str | None = None) -> Report:
        """Compare every record of the PG that moved in [since, until) with our rows.

        What our rows do not know yet is settled (`settlement.settle`) or adopted; everything else that differs is kept as a
        finding, each once. A stranger, an order number of ours without a row, switches charging off: this database has
        forgotten something, or another one believes to be it. Safe to repeat and to stop at any line.

        Args:
            since: from when on; where the last run ended, with an overlap, when left out.
            until: up to when; up to now when left out.
            actor: who asked, for the audit trail; nobody when the engine runs by itself.

        Raises:
            RuleError: the two instants do not fit together.
            GatewayError: the PG could not be asked; what was booked until then stays, and the run does not count.
            InvariantBroken: this database has no identity yet.
        """
        for name, at in (("--from", since), ("--to", until)):
            if at is not None and at.tzinfo is None:
                raise RuleError(name, "has no offset", "write for example 2026-01-31T10:00+09:00")
        return self._run(self._begun(), since, until, actor)

    def _run(self, begun: _Beginning, since: datetime | None, until: datetime | None, actor: str | None) -> Report:
        started, last, identity = begun
        if identity is None:
            raise InvariantBroken("this database has no identity yet; run `billing init`")
        overlap = self._policy.patience.overlap(is_first=not self._has_run)
        mark = min(last.until if last else identity.created_at, started)
        start = since or mark - overlap
        if until is not None and until >= started:
            until = None
        if start >= (until or started):
            raise RuleError("--from", f"{start.isoformat()} does not lie before the end", "name an earlier instant")
        whose = Whose(identity.ledger_id, identity.uid_prefix)
        tally = _Tally()
        for window in windows(start, until, started):
            self._walk(window, start, whose, tally)
        self._miss(start, until or started, tally)
        report = self._finished(start, until or started, started, tally, last, actor)
        self._has_run = True
        return report

    def alarm(self, fact: PaymentFact) -> list[Finding]:
        """Compare one record somebody stumbled on, and write down what differs; strangers switch charging off.

        Returns:
            What was found for the first time.
        """
        with self._store.read() as tx:
            identity = tx.controls.identity()
        if identity is None:
            return []
        tally = _Tally()
        self._compare([fact], Whose(identity.ledger_id, identity.uid_prefix), tally)
        return tally.new

    def listed(self, since: datetime, now: datetime) -> Iterator[PaymentFact]:
        """Every record the PG lists that moved between `since` and `now`, some of them twice; nothing is compared."""
        for window in windows(since, None, now):
            for page in self._pages(window, since):
                yield from page.facts

    def write_down(self, differences: Sequence[Difference]) -> list[Finding]:
        """Keep what somebody else found; returns what is new."""
        tally = _Tally()
        self._record(differences, tally)
        return tally.new

    def explain(self, finding: str, *, reason: str, actor: str) -> Finding:
        """Say what a finding turned out to be; it is kept with its explanation.

        Raises:
            NotFound, RuleError: there is no such finding; it is explained already; no reason was given.
        """
        if not reason.strip():
            raise RuleError("reason", "is missing", "say what it was: --reason TEXT")

        def work(tx: Tx) -> Finding:
            one = tx.findings.find(finding)
            if one.explained_at is not None:
                raise RuleError("finding", f"was explained by {one.explained_by}: {one.explanation}", "nothing is left to say")
            tx.findings.explain([one.id], at=tx.now, by=actor, explanation=reason)
            tx.audit.note(AuditEntry(actor, "finding.explained", one.id, {"kind": one.kind.value, "reason": reason}), tx.now)
            tx.audit.flush()
            return tx.findings.find(finding)

        return self._store.run(work)

    # --- reading the list ------------------------------------------------------------------------

    def _walk(self, window: Window, since: datetime, whose: Whose, tally: _Tally) -> None:
        """Read one stretch of the list and compare it, page by page.

        A record that moves while we read goes to the front: those behind it show up twice, none is skipped, and it is newer
        than this run, so the next one meets it. Only where a stretch has an end can a record leave it, pulling the others
        forward; then fewer are seen than the PG counted at first, and the stretch is read again.
        """
        for _ in range(TIMES_READ_MAX):
            seen: set[str] = set()
            total = 0
            for page in self._pages(window, since):
                tally.pages += 1
                total = max(total, page.total)
                seen.update(fact.imp_uid for fact in page.facts)
                seen.update(record.imp_uid for record in page.unread)
                self._compare(page.facts, whose, tally)
                self._complain(page.unread, whose, tally)
            tally.seen |= seen
            if window.until is None or len(seen) >= total:
                return

    def _pages(self, window: Window, since: datetime) -> Iterator[PaymentPage]:
        """The pages that may hold something that moved since: the list is sorted by -updated, so the first past one ends it."""
        number, size = 1, FEW
        while True:
            page = self._gateway.list_payments(page=number, limit=size, since=window.since, until=window.until)
            yield page
            # A page that names itself as the next one would be read for ever.
            if page.next_page <= number or (not page.unread and is_past(page.facts, since)):
                return
            number += 1
            if (number - 1) * size == MANY:
                # What was read in small pages is just the first large one.
                number, size = 2, MANY

    # --- comparing -------------------------------------------------------------------------------

    def _compare(self, facts: Sequence[PaymentFact], whose: Whose, tally: _Tally) -> None:
        """Settle and adopt what a page of records asks for, and write down what still differs."""
        known, now = self._known(facts)
        steps = [(fact, compared(fact, known[fact.imp_uid], whose, now=now)) for fact in facts]
        doubtful = [fact for fact, step in steps if step is not None]
        if not doubtful:
            return
        tally.settled += self._settle({fact.imp_uid: step.merchant_uid for fact, step in steps if isinstance(step, Settle)})
        tally.adopted += self._taken_over(sorted({step.imp_uid for _, step in steps if isinstance(step, Adopt)}))
        self._record(self._standing(doubtful, whose), tally)

    def _known(self, facts: Sequence[PaymentFact]) -> tuple[dict[str, Known], datetime]:
        with self._store.read() as tx:
            attempts = {one.merchant_uid: one for one in tx.attempts.by_uids([fact.merchant_uid for fact in facts])}
            payments = tx.payments.by_imp_uids([fact.imp_uid for fact in facts])
            owners = tx.customers.owners_of(sorted({fact.customer_uid for fact in facts if fact.customer_uid}))
            now = tx.now
        known = {
            fact.imp_uid: Known(
                attempts.get(fact.merchant_uid),
                _balance(payments[fact.imp_uid]) if fact.imp_uid in payments else None,
                owners.get(fact.customer_uid or ""),
            )
            for fact in facts
        }
        return known, now

    def _settle(self, records: Mapping[str, str]) -> list[Verdict]:
        """Settle the order numbers of these records, each record asked for by its own name: a number may have several."""
        verdicts: list[Verdict] = []
        imp_uids = sorted(records)
        for start in range(0, len(imp_uids), self._policy.batch):
            some = imp_uids[start : start + self._policy.batch]
            try:
                verdicts += self._settlement.settle(sorted({records[one] for one in some}), imp_uids=some)
            except (*POISON, InvariantBroken):
                # One that cannot be booked becomes a finding; it must not keep the others from being compared.
                log.exception("%d payments could not be booked", len(some))
        return [one for one in verdicts if not isinstance(one, (Booked, Wait))]

    def _taken_over(self, imp_uids: Sequence[str]) -> Sequence[Refund]:
        if not imp_uids:
            return []
        try:
            return self._adopt(imp_uids)
        except (*POISON, InvariantBroken):
            log.exception("refunds of %d payments could not be booked", len(imp_uids))
            return []

    def _standing(self, facts: Sequence[PaymentFact], whose: Whose) -> list[Difference]:
        """What differs in the rows before and in those after a fresh look: charges and refunds go on meanwhile."""
        before, _ = self._known(facts)
        fresh = dict(self._looked_up([fact.imp_uid for fact in facts]))
        facts = [fresh.get(fact.imp_uid, fact) for fact in facts]
        after, now = self._known(facts)
        found = []
        for fact in facts:
            one, other = (left_over(fact, rows[fact.imp_uid], whose, now=now) for rows in (before, after))
            if one is not None and other is not None and one.kind is other.kind:
                found.append(other)
        return found

    def _looked_up(self, imp_uids: Sequence[str]) -> Iterator[tuple[str, PaymentFact]]:
        for facts in self._gateway.find_payments([], imp_uids=imp_uids).facts.values():
            yield from ((fact.imp_uid, fact) for fact in facts)

    def _complain(self, records: Sequence[UnreadRecord], whose: Whose, tally: _Tally) -> None:
        """Write down the records of ours that break the PG's contract."""
        if not records:
            return
        with self._store.read() as tx:
            numbers = {one.merchant_uid for one in tx.attempts.by_uids([record.merchant_uid for record in records])}
            cards = tx.customers.owners_of(sorted({record.customer_uid for record in records}))
        found = [unreadable(one, whose, is_known=one.merchant_uid in numbers or one.customer_uid in cards) for one in records]
        self._record([one for one in found if one is not None], tally)

    def _miss(self, since: datetime, until: datetime, tally: _Tally) -> None:
        """Ask by name for what we booked in this stretch and its list did not show."""
        with self._store.read() as tx:
            booked = {one.imp_uid: one for one in tx.payments.paid_between(since, until)}
        absent = [imp_uid for imp_uid in booked if imp_uid not in tally.seen]
        if not absent:
            return
        shown = dict(self._looked_up(absent))
        self._refuse_blindness([booked[imp_uid] for imp_uid in absent if imp_uid in shown], until, tally)
        gone = [
            missing(imp_uid, booked[imp_uid].merchant_uid, _balance(booked[imp_uid]))
            for imp_uid in absent
            if imp_uid not in shown and self._gateway.get_payment(imp_uid) is None
        ]
        self._record(gone, tally)

    def _refuse_blindness(self, unlisted: Sequence[Payment], until: datetime, tally: _Tally) -> None:
        """Raise where the list shows nothing at all, and the PG knows payments of this stretch by name: nothing was compared.

        An account without its list looks like one without payments. A list may lag by what one run overlaps the next.
        """
        lag = self._policy.patience.overlap(is_first=False)
        old = [one for one in unlisted if one.paid_at is not None and one.paid_at < until - lag]
        if old and not tally.seen:
            problem = f"the PG's list of payments is empty, and it knows {len(old)} of this stretch by name"
            raise GatewayUnavailable(f"{problem}, {old[0].imp_uid} for one; ask PortOne about GET /payments/status/all")

    # --- writing down ----------------------------------------------------------------------------

    def _record(self, differences: Sequence[Difference], tally: _Tally) -> None:
        """Keep what was found for the first time, tell the host, and switch charging off where there are strangers."""
        if not differences:
            return

        def work(tx: Tx) -> list[Finding]:
            new = tx.findings.add([_without_secrets(one) for one in differences], tx.now)
            tx.outbox.publish([_told(one) for one in new], tx.business_now)
            asking = [one for one in tx.findings.of(differences) if one.explained_at is None]
            strangers = [one for one in asking if one.kind is FindingKind.STRANGER]
            switch = tx.controls.freeze()
            if strangers and not (switch is not None and switch.is_frozen):
                _freeze(tx, strangers)
            return new

        for one in (new := self._store.run(work)):
            log.error("%s: payment %s (%s) over %d", one.kind, one.imp_uid, one.merchant_uid, one.amount)
        tally.new += new

    def _finished(
        self, since: datetime, until: datetime, started: datetime, tally: _Tally, last: Run | None, actor: str | None
    ) -> Report:
        """Write the run down and report it.

        It counts as the latest only where it joins the one before it: a look at some day of last year does not.
        """

        def work(tx: Tx) -> Report:
            unexplained = self._close_resolved(tx)
            if last is None or since <= last.until <= until:
                counted = (len(tally.seen), len(tally.settled) + len(tally.adopted), len(tally.new))
                tx.reconciliations.insert(Run(tx.new_id(), since, until, started, tx.now, *counted))
            if actor is not None:
                details = {"since": since.isoformat(), "until": until.isoformat(), "payments": len(tally.seen)}
                tx.audit.note(AuditEntry(actor, "reconciled", "payments of the PG", details), tx.now)
                tx.audit.flush()
            switch = tx.controls.freeze()
            return Report(
                since,
                until,
                tally.pages,
                len(tally.seen),
                tuple(tally.settled),
                tuple(tally.adopted),
                tuple(tally.new),
                tuple(unexplained),
                switch is not None and switch.is_frozen,
            )

        report = self._store.run(work)
        if not report.is_clean:
            counts = (len(report.settled), len(report.adopted), len(report.new), len(report.unexplained))
            log.warning("reconciled: %d settled, %d adopted, %d found, %d unexplained", *counts)
        return report

    def _close_resolved(self, tx: Tx) -> list[Finding]:
        """Explain the findings our rows have caught up with; returns those that are left."""
        waiting = tx.findings.unexplained()
        if not waiting:
            return []
        attempts = {one.merchant_uid: one for one in tx.attempts.by_uids([one.merchant_uid for one in waiting])}
        payments = tx.payments.by_imp_uids([one.imp_uid for one in waiting])
        balances = {imp_uid: _balance(one) for imp_uid, one in payments.items()}
        done = [one.id for one in waiting if is_resolved(one, Known(attempts.get(one.merchant_uid), balances.get(one.imp_uid)))]
        if done:
            tx.findings.explain(done, at=tx.now, by=ENGINE, explanation="our books have it now")
        return [one for one in waiting if one.id not in done]


def _balance(payment: Payment) -> Balance:
    return Balance(payment.amount, payment.currency, payment.refunded, payment.refund_reserved)


def _without_secrets(one: Difference) -> Difference:
    """What strangers wrote on their records may be anything."""
    details = {name: redacted(value) if isinstance(value, str) else value for name, value in one.details.items()}
    return one._replace(merchant_uid=redacted(one.merchant_uid), details=details)


def _told(one: Finding) -> Event:
    payload = {
        "finding_id": one.id,
        "kind": one.kind.value,
        "imp_uid": one.imp_uid,
        "merchant_uid": one.merchant_uid,
        "amount": {"amount": one.amount, "currency": one.currency},
    }
    customer = one.details.get("customer_id")
    return Event("finding.made", f"finding.made:{one.id}", str(customer or ""), payload=payload)


def _freeze(tx: Tx, strangers: Sequence[Finding]) -> None:
    # What names them is the PG's word; as kept it holds no card number, or the audit trail would refuse it.
    names = ", ".join(one.merchant_uid for one in strangers[:3]) + (", …" if len(strangers) > 3 else "")
    reason = f"the PG holds {len(strangers)} payment(s) with our order numbers that this database does not know: {names}"
    tx.controls.set_freeze(Freeze(True, reason, ENGINE, tx.now, STRANGERS))
    tx.audit.note(AuditEntry(ENGINE, "freeze.on", "charging", {"reason": reason, "cause": STRANGERS}), tx.now)
    tx.audit.flush()
    event = Event("engine.frozen", f"engine.frozen:{strangers[0].id}", "", payload={"reason": reason, "cause": STRANGERS})
    tx.outbox.publish([event], tx.business_now)
    log.critical("charging is frozen: %s", reason)
