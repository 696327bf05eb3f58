"""Close invoices by hand: void what should not have been, give up what cannot be had."""

from __future__ import annotations

from billing.domain.attempt import AttemptState
from billing.domain.booking import Pen, closed, ended
from billing.domain.invoice import Invoice, InvoiceState, moved
from billing.domain.subscription import SubscriptionState
from billing.errors import NotFound, RuleError
from billing.flow.journal import post_pen
from billing.store.unit import Store, Tx

_MAY_HAVE_MOVED = (AttemptState.SENDING, AttemptState.UNKNOWN, AttemptState.MISMATCH)


class Closing:
    """Invoices that end without being paid."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def close(self, invoice_id: str, state: InvoiceState, *, reason: str, actor: str) -> Invoice:
        """Make an invoice void or uncollectible.

        Void: the period counts as billed and the subscription goes on with the next one. Uncollectible: it
        goes on too, unless it is past due for this invoice alone and has no future to pay for.

        Raises:
            NotFound, IllegalTransition: no such invoice, or it is settled.
            RuleError: a charge on it is not decided yet, or no reason was given.
        """
        if not reason.strip():
            raise RuleError("reason", "is missing", "say why in a few words: --reason TEXT")

        def work(tx: Tx) -> Invoice:
            pairs = tx.invoices.lock([invoice_id])
            if not pairs:
                raise NotFound("invoice", invoice_id)
            invoice, subscription = pairs[0]
            moved(invoice, state)
            attempts = tx.attempts.of_invoices([invoice.id])[invoice.id]
            undecided = [sent for sent in attempts if sent.state in _MAY_HAVE_MOVED]
            if undecided:
                stuck = undecided[0]
                parked = stuck.state is AttemptState.MISMATCH
                cure = "decide it with `billing attempt resolve`" if parked else "run `billing renew` first"
                raise RuleError("invoice", f"attempt {stuck.merchant_uid} is {stuck.state}: money may have moved", cure)
            planned = [unsent for unsent in attempts if unsent.state is AttemptState.PLANNED]
            tx.attempts.update(
                [unsent._replace(state=AttemptState.VOID, wake_at=None, moved_at=tx.now) for unsent in planned], was=planned
            )
            now = tx.business_now
            pen = Pen(subscription)
            after = closed(invoice, state, pen, now, actor=actor, reason=reason)
            one = pen.subscription
            if one.state is SubscriptionState.INCOMPLETE:
                pen.subscription = ended(one, SubscriptionState.CANCELED, now)
                pen.tell("subscription.canceled", reason="first invoice closed", invoice_id=invoice.id)
            elif one.state in (SubscriptionState.PAST_DUE, SubscriptionState.ACTIVE, SubscriptionState.TRIALING):
                # Nothing is owed for this period any more: the next invoice comes with the next period.
                state_after = SubscriptionState.ACTIVE if one.state is SubscriptionState.PAST_DUE else one.state
                pen.subscription = one._replace(
                    state=state_after, due_at=max(one.due_at or invoice.period_end, invoice.period_end)
                )
            tx.invoices.update([after])
            post_pen(tx, pen, business_now=now)
            return after

        return self._store.run(work)
