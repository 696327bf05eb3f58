"""Ask the PG what it knows of an invoice before anything is charged: what survives a restored backup."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from billing.domain.attempt import AttemptState, ChargeAttempt, all_uids, probe_uids, stem_of
from billing.domain.charging import is_news
from billing.domain.evidence import PaymentFact
from billing.domain.settlement import Verdict
from billing.flow.adopting import adopt
from billing.flow.settlement import Settlement
from billing.ports import Gateway
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.probing")

News = dict[str, dict[str, list[PaymentFact]]]
"""Per invoice what the PG knows and we do not, by order number."""


class Probing:
    """Looks up every number an invoice may have used, and adopts what our rows have forgotten."""

    def __init__(self, store: Store, gateway: Gateway, settlement: Settlement) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement

    def probe(self, attempts: Sequence[ChargeAttempt]) -> tuple[list[Verdict], list[ChargeAttempt]]:
        """Return what the probe settled, and the attempts that may be sent.

        Where the PG knows more than we do, its records are adopted and settled, and nothing is sent for that
        invoice now.

        Raises:
            GatewayError: the PG could not be asked; nothing was changed.
        """
        news = self._news(attempts)
        verdicts: list[Verdict] = []
        for attempt in attempts:
            if attempt.invoice_id in news:
                verdicts += self._adopted(attempt, news[attempt.invoice_id])
        return verdicts, [one for one in attempts if one.invoice_id not in news]

    def _news(self, attempts: Sequence[ChargeAttempt]) -> News:
        stems = {stem_of(one.merchant_uid)[0]: one for one in attempts}
        uids = [uid for stem, one in stems.items() for uid in probe_uids(stem, one.seq)]
        found = self._gateway.find_payments(uids).facts
        if not found:
            return {}
        hit = {stem_of(uid)[0] for uid in found}
        wider = [uid for stem in hit for uid in all_uids(stem)]
        facts = {uid: list(some) for uid, some in self._gateway.find_payments(wider).facts.items()}
        # The bulk look-up shows the newest record only: a paid one may hide behind one that is no money.
        hidden = [uid for uid, some in facts.items() if not any(fact.is_money for fact in some)]
        for uid, fact in self._gateway.find_paid(hidden).items():
            facts[uid].append(fact)
        with self._store.read() as tx:
            rows = tx.attempts.of_invoices([one.invoice_id for one in attempts])
            booked = tx.payments.known([fact.imp_uid for some in facts.values() for fact in some])
        news: News = {}
        for uid, some in facts.items():
            invoice_id = stems[stem_of(uid)[0]].invoice_id
            known = {one.merchant_uid: one for one in rows[invoice_id]}
            # Of several payments under one number one is the attempt's own; the others are news until they are booked.
            fresh = [fact for fact in some if fact.imp_uid not in booked and is_news(fact, known.get(uid))]
            if fresh:
                news.setdefault(invoice_id, {})[uid] = fresh
        return news

    def _adopted(self, held: ChargeAttempt, news: dict[str, list[PaymentFact]]) -> list[Verdict]:
        """Settle what the PG remembers of one invoice, oldest number first, writing rows we lost."""
        log.warning("the PG knows %d charges of invoice %s that we do not", len(news), held.invoice_id)
        verdicts: list[Verdict] = []
        if held.merchant_uid not in news and any(fact.is_money for some in news.values() for fact in some):
            # It never left, and money of an earlier number comes first: settled or parked, the invoice is not charged now. Where
            # its own number has a record, of a life this database forgot, that decides it.
            self._store.run(lambda tx: _give_way(tx, held))
        for uid in sorted(news):
            self._store.run(lambda tx, uid=uid: adopt(tx, held.invoice_id, news[uid][0], held=[held]))  # type: ignore[misc]
            verdicts += self._settlement.settle([uid])
        return verdicts


def _give_way(tx: Tx, held: ChargeAttempt) -> None:
    row = tx.attempts.locked([held.id])[held.id]
    if row.fence == held.fence and row.state is AttemptState.PLANNED:
        tx.attempts.update([row._replace(state=AttemptState.VOID, wake_at=None, moved_at=tx.now)], was=[row])
