"""Take back from the PG what a restored or copied database has forgotten. Nothing is ever charged here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from billing.domain.attempt import AttemptState, stem_of
from billing.domain.booking import ENGINE
from billing.domain.charging import is_news
from billing.domain.events import AuditEntry
from billing.domain.evidence import PaymentFact, PaymentStatus
from billing.domain.policy import Policy
from billing.domain.reconciliation import ORPHANS, Difference, FindingKind, Report, Whose
from billing.domain.restoring import Adopted, Home, Restored, asked_since, homes, next_steps
from billing.domain.settlement import Verdict
from billing.errors import InvariantBroken, RuleError
from billing.flow.adopting import adopt
from billing.flow.poison import POISON
from billing.flow.reconciliation import Reconciliation
from billing.flow.renewal import Renewal
from billing.flow.settlement import Settlement
from billing.flow.vouching import Vouching
from billing.store.identity import OPERATOR, RESTORE, STRANGERS, Freeze, Identity
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.restoring")

_PAGE = 1000


class Restoring:
    """Makes a database that stood somewhere else, or some time ago, the ledger that may charge."""

    def __init__(
        self,
        store: Store,
        renewal: Renewal,
        settlement: Settlement,
        reconciliation: Reconciliation,
        vouching: Vouching,
        policy: Policy,
    ) -> None:
        self._store = store
        self._renewal = renewal
        self._settlement = settlement
        self._reconciliation = reconciliation
        self._vouching = vouching
        self._policy = policy

    def adopt(self, *, reason: str, since: datetime | None = None, actor: str) -> Restored:
        """Take back every charge the PG remembers under our names, and let this database charge where nothing is left over.

        Charging is frozen first. What the PG holds and no subscription explains stays a finding, and the freeze with it.
        Then the ledger is recorded as living here: only one database of a ledger may ever do this. Safe to repeat, and to
        stop at any line: charging stays frozen, and the next adoption goes on where this one ended.

        Args:
            reason: why this database is the one from now on, for the audit trail.
            since: from when on the PG is asked; left out, two days before the newest payment known here, and at least
                thirty-seven days.

        Raises:
            RuleError: no reason, or an instant that cannot be.
            GatewayError: the PG could not be asked; charging stays frozen until this is repeated.
            InvariantBroken: another mode's or PG account's database.
            SettingsError: the instance secret cannot be used or written.
        """
        if not reason.strip():
            raise RuleError("reason", "is missing", "say why this database is the one from now on: --reason TEXT")
        if since is not None and since.tzinfo is None:
            raise RuleError("--since", "has no offset", "write for example 2026-01-31T10:00+09:00")
        self._vouching.instance.make()
        identity = self._store.run(lambda tx: self._frozen(tx, reason, actor))
        with self._store.read() as tx:
            now, start = tx.now, since or asked_since(tx.payments.newest_paid_at(), tx.now)
        if start >= now:
            raise RuleError("--since", f"{start.isoformat()} is not past", "name an earlier instant")
        facts = self._remembered(start, now, Whose(identity.ledger_id, identity.uid_prefix))
        adopted, settled = self._take_back(facts, identity)
        self._reconciliation.write_down(self._lost_cards(facts))
        report = self._reconciliation.reconcile(start)
        return self._store.run(lambda tx: self._settled_in(tx, identity, report, adopted, settled, len(facts), reason, actor))

    def follow(self) -> None:
        """Record the server's new timeline, if the PG's list holds nothing that was lost with the old one.

        A promoted replica may lack the last seconds, a database restored to a point in time the last days. Where that is
        so, reconciliation freezes charging, and `adopt` is what helps.
        """
        self._reconciliation.reconcile()

        def work(tx: Tx) -> None:
            identity = tx.controls.identity()
            if identity is None or tx.findings.unexplained(*ORPHANS):
                return
            here = self._vouching.place(tx, identity)
            details = {"from": identity.timeline, "to": here.timeline}
            tx.audit.note(AuditEntry(ENGINE, "identity.timeline", here.ledger_id, details), tx.now)
            tx.audit.flush()

        self._store.run(work)

    # --- before and after ------------------------------------------------------------------------

    def _frozen(self, tx: Tx, reason: str, actor: str) -> Identity:
        """Nobody charges from here on; an operator's own freeze is left as it is."""
        identity = tx.controls.identity()
        if identity is None:
            raise InvariantBroken("this database has no identity yet; run `billing init`")
        self._vouching.refuse_another(identity)
        switch = tx.controls.freeze()
        if switch is None or not switch.is_frozen or switch.cause != OPERATOR:
            self._switch(tx, Freeze(True, f"a restored database is being adopted: {reason}", actor, tx.now, RESTORE))
        return identity

    def _settled_in(
        self,
        tx: Tx,
        before: Identity,
        report: Report,
        adopted: Sequence[Adopted],
        settled: int,
        payments: int,
        reason: str,
        actor: str,
    ) -> Restored:
        """The ledger lives here now; charging goes on where nothing is left to explain and no operator froze it."""
        here = self._vouching.place(tx, before)
        is_moved = here != before
        if is_moved or adopted or settled:
            details = {"reason": reason, "adopted": len(adopted), "is_moved": is_moved}
            tx.audit.note(AuditEntry(actor, "identity.adopted", here.ledger_id, details), tx.now)
            tx.audit.flush()
        orphans = tuple(tx.findings.unexplained(*ORPHANS))
        switch = tx.controls.freeze()
        if switch is not None and switch.cause == RESTORE:
            why = f"{len(orphans)} finding(s) nobody has explained" if orphans else f"adopted: {reason}"
            cause = STRANGERS if orphans else RESTORE
            switch = Freeze(bool(orphans), why, actor, tx.now, cause)
            self._switch(tx, switch)
        return Restored(
            since=report.since,
            until=report.until,
            payments=payments,
            adopted=tuple(adopted),
            settled=settled + len(report.settled) + len(report.adopted),
            orphans=orphans,
            unexplained=report.unexplained,
            is_moved=is_moved,
            is_frozen=switch is not None and switch.is_frozen,
        )

    def _switch(self, tx: Tx, to: Freeze) -> None:
        tx.controls.set_freeze(to)
        details = {"reason": to.reason, "cause": to.cause}
        tx.audit.note(AuditEntry(to.actor, "freeze.on" if to.is_frozen else "freeze.off", "charging", details), tx.now)
        tx.audit.flush()

    # --- what the PG remembers -------------------------------------------------------------------

    def _remembered(self, since: datetime, now: datetime, whose: Whose) -> dict[str, PaymentFact]:
        """One record of each order number of ours, one that holds money where there are several."""
        found: dict[str, PaymentFact] = {}
        for fact in self._reconciliation.listed(since, now):
            if whose.minted(fact.merchant_uid, fact.custom_data):
                known = found.get(fact.merchant_uid)
                if known is None or known.status is PaymentStatus.FAILED:
                    found[fact.merchant_uid] = fact
        return found

    def _take_back(self, facts: Mapping[str, PaymentFact], identity: Identity) -> tuple[list[Adopted], int]:
        """Open, adopt and settle, one charge of each subscription at a time, until nothing more has a home.

        Returns:
            What was forgotten here, and how many other outcomes were booked on the way.
        """
        left = self._news(facts)
        where: dict[str, Home] = {}
        adopted: list[Adopted] = []
        settled = 0
        is_searched = False
        while left:
            steps = next_steps(left, where)
            if not steps:
                if is_searched:
                    break
                where, is_searched = self._homes({stem_of(uid)[0] for uid in left}, identity), True
                continue
            is_searched = False
            for start in range(0, len(steps), self._policy.batch):
                some = steps[start : start + self._policy.batch]
                forgotten = {uid: self._given_a_row(where[stem_of(uid)[0]], left[uid]) for uid in some}
                verdicts = {one.merchant_uid: one for one in self._settle(some)}
                for uid in some:
                    fact, invoice_id = left.pop(uid), forgotten[uid]
                    if uid in verdicts and invoice_id is not None:
                        outcome = verdicts[uid].name
                        adopted.append(Adopted(uid, fact.imp_uid, invoice_id, outcome, fact.amount, fact.currency))
                    elif uid in verdicts:
                        settled += 1
        return adopted, settled

    def _news(self, facts: Mapping[str, PaymentFact]) -> dict[str, PaymentFact]:
        """The records that say something our rows do not."""
        news: dict[str, PaymentFact] = {}
        uids = sorted(facts)
        for start in range(0, len(uids), _PAGE):
            some = uids[start : start + _PAGE]
            with self._store.read() as tx:
                rows = {one.merchant_uid: one for one in tx.attempts.by_uids(some)}
            news |= {uid: facts[uid] for uid in some if is_news(facts[uid], rows.get(uid))}
        return news

    def _homes(self, stems: set[str], identity: Identity) -> dict[str, Home]:
        """The period each stem was minted for: by its invoice, or, where that is forgotten too, by trying the names."""
        found: dict[str, Home] = {}
        with self._store.read() as tx:
            wanted = sorted(stems)
            for start in range(0, len(wanted), _PAGE):
                for one in tx.invoices.by_stems(wanted[start : start + _PAGE]):
                    found[one.uid_stem] = Home(one.subscription_id, one.period_index)
            lost = stems - found.keys()
            after = ""
            while lost and (page := tx.subscriptions.page(after, _PAGE)):
                found |= homes(page, lost, prefix=identity.uid_prefix, ledger_id=identity.ledger_id, now=tx.business_now)
                after = page[-1].id
        return found

    def _given_a_row(self, home: Home, fact: PaymentFact) -> str | None:
        """Make sure an invoice and an attempt stand for this record; returns the invoice where the attempt was forgotten."""
        self._renewal.open_forgotten(home.subscription_id, home.period_index)

        def work(tx: Tx) -> str | None:
            (invoice,) = tx.invoices.by_stems([stem_of(fact.merchant_uid)[0]])
            tx.invoices.lock([invoice.id])
            rows = tx.attempts.of_invoices([invoice.id])[invoice.id]
            if any(one.merchant_uid == fact.merchant_uid for one in rows):
                return None
            # Whose lease ended, or who gave up, gives way to a later number: that one proves the earlier was decided.
            open_ = [one for one in rows if one.state in (AttemptState.PLANNED, AttemptState.SENDING, AttemptState.UNKNOWN)]
            held = tx.attempts.claim([one.id for one in open_], tx.now, tx.now + self._policy.patience.lease)
            held += [one for one in open_ if one.wake_at is None]
            return invoice.id if adopt(tx, invoice.id, fact, held=held) else None

        return self._store.run(work)

    def _settle(self, uids: Sequence[str]) -> list[Verdict]:
        try:
            return self._settlement.settle(uids)
        except (*POISON, InvariantBroken):
            # One that cannot be booked becomes a finding of the reconciliation that follows; it keeps nobody back.
            log.exception("%d records could not be booked", len(uids))
            return []

    def _lost_cards(self, facts: Mapping[str, PaymentFact]) -> list[Difference]:
        """Cards that were charged for our customers and that no row here knows: they were registered in the lost time."""
        used = {fact.customer_uid: fact for fact in facts.values() if fact.customer_uid}
        lost: list[Difference] = []
        cards = sorted(used)
        for start in range(0, len(cards), _PAGE):
            some = cards[start : start + _PAGE]
            with self._store.read() as tx:
                known = tx.customers.owners_of(some)
                unknown = [card for card in some if card not in known]
                invoices = {
                    one.uid_stem: one for one in tx.invoices.by_stems([stem_of(used[c].merchant_uid)[0] for c in unknown])
                }
            for card in unknown:
                fact = used[card]
                invoice = invoices.get(stem_of(fact.merchant_uid)[0])
                if invoice is None:
                    continue  # its payment is an orphan itself, and names the card
                details = {"customer_uid": card, "customer_id": invoice.customer_id, "custom_data": fact.custom_data or ""}
                row = (fact.imp_uid, fact.merchant_uid, fact.amount, fact.currency)
                lost.append(Difference(FindingKind.LOST_CARD, card[:80], *row, details))
        return lost
