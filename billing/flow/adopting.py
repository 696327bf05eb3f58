"""Give an order number that the PG remembers its row back. The one place where an attempt is made of a record."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from billing.domain.attempt import KEEPS_NO_CARD, LIVE, AttemptState, ChargeAttempt, Trigger, Way, stem_of
from billing.domain.charging import planned, way_of
from billing.domain.evidence import PaymentFact
from billing.store.unit import Tx
from plans.calendar import local_day

log = logging.getLogger("billing.adopting")


def adopt(tx: Tx, invoice_id: str, fact: PaymentFact, *, held: Sequence[ChargeAttempt]) -> bool:
    """Make sure the number of `fact`, a record of this invoice, has a row; what it says is then settled as ever.

    An attempt the caller holds gives way: it never left, or was proven never to have arrived, or was decided in a life
    this database forgot, because the invoice went on to a later number. Another's does not; then a human must look.

    Returns:
        False where another's attempt is under way, and nothing was written.
    """
    ((invoice, subscription),) = tx.invoices.lock([invoice_id])
    rows = tx.attempts.of_invoices([invoice_id])[invoice_id]
    if any(one.merchant_uid == fact.merchant_uid for one in rows):
        return True
    live = [one for one in rows if one.state in LIVE]
    if not {(one.id, one.fence) for one in live} <= {(one.id, one.fence) for one in held}:
        log.error("payment %s of %s cannot be adopted: another attempt is under way", fact.imp_uid, fact.merchant_uid)
        return False
    tx.attempts.update([one._replace(state=AttemptState.VOID, wake_at=None, moved_at=tx.now) for one in live], was=live)
    way = way_of(fact)
    cards = [key.customer_uid for key in tx.customers.keys_of(invoice.customer_id)]
    seq = stem_of(fact.merchant_uid)[1]
    adopted = planned(
        invoice,
        subscription,
        tx.customers.find(invoice.customer_id),
        # A card we do not know must show as a difference when this is settled: nobody here can say whose it is.
        fact.customer_uid if fact.customer_uid in cards else "" if way in KEEPS_NO_CARD else "".join(cards[-1:]),
        attempt_id=tx.new_id(),
        trigger=Trigger.AUTOMATIC,
        lease_until=tx.now,
        now=tx.now,
        seq=seq,
        way=way,
    )
    tx.attempts.insert([adopted])
    charged_at = fact.paid_at or fact.failed_at or fact.started_at
    if charged_at is not None and way is Way.KEY:
        # The day of that charge is taken, or a second one could follow within it.
        tx.invoices.take_days([(subscription.id, local_day(charged_at, subscription.zone), adopted.id)])
    tx.invoices.update([invoice._replace(attempts_planned=max(invoice.attempts_planned, seq), next_attempt_at=None)])
    return True
