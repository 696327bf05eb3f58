"""Cancel, take a cancellation back, pause and resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from billing.domain.attempt import LIVE
from billing.domain.booking import Pen, ended
from billing.domain.invoice import Collection
from billing.domain.subscription import OVER, Subscription, SubscriptionState, refuse_unless_legal
from billing.errors import RuleError
from billing.flow.journal import post_pen
from billing.flow.renewal import void_open_invoices
from billing.store.unit import Store, Tx

_S = SubscriptionState


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of the subscription, and whether a charge was on its way when it was asked for.

    A charge in flight cannot be called back: when it turns out paid, the invoice is paid and the host
    is told (`invoice.paid` with `is_subscription_over`); nobody is told "not charged" before that is known.
    """

    subscription: Subscription
    charge_in_flight: bool = False


class Stopping:
    """Stops subscriptions and starts them again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cancel(self, subscription_id: str, *, at_period_end: bool, actor: str) -> Stopped:
        """Stop now, or when the paid period (or trial) ends.

        Now: what is still owed is void. At the period's end: nothing changes until then, and `uncancel` takes it
        back; where no paid period is running, that end is now.

        Raises:
            NotFound, IllegalTransition: no such subscription, or it is over.
        """

        def work(tx: Tx) -> Stopped:
            one = tx.subscriptions.lock(subscription_id)
            now = tx.business_now
            refuse_unless_legal(one.id, one.state, _S.CANCELED, "it is over already")
            if at_period_end and one.state in (_S.ACTIVE, _S.TRIALING):
                pen = Pen(one._replace(cancel_at_end=True))
                pen.tell("subscription.cancel_planned", at=str(one.trial_end if one.state is _S.TRIALING else one.period_end))
                pen.note("subscription.cancel_planned", one.id, actor)
                post_pen(tx, pen, business_now=now)
                return Stopped(pen.subscription)
            pen = Pen(ended(one, _S.CANCELED, now))
            pen.tell("subscription.canceled", reason="requested")
            pen.note("subscription.canceled", one.id, actor)
            in_flight = void_open_invoices(tx, pen, now, reason="subscription canceled", actor=actor)
            post_pen(tx, pen, business_now=now)
            return Stopped(pen.subscription, in_flight)

        return self._store.run(work)

    def uncancel(self, subscription_id: str, *, actor: str) -> Subscription:
        """Take back a cancellation that has not happened yet.

        Raises:
            RuleError: none is planned.
        """

        def change(_tx: Tx, one: Subscription) -> Subscription:
            if not one.cancel_at_end or one.state in OVER:
                cure = "start a new subscription" if one.state in OVER else "there is nothing to take back"
                raise RuleError("subscription", f"no cancellation of {one.id} is planned", cure)
            return one._replace(cancel_at_end=False)

        return self._change(subscription_id, "subscription.uncanceled", actor, change)

    def pause(self, subscription_id: str, *, actor: str) -> Subscription:
        """Bill nothing until it is resumed; the paid period runs on.

        Raises:
            RuleError: an invoice is open: collect or void it first.
        """

        def change(tx: Tx, one: Subscription) -> Subscription:
            refuse_unless_legal(one.id, one.state, _S.PAUSED, "only a running subscription can be paused")
            if tx.invoices.lock_open_of_subscription(one.id) and one.state is _S.PAST_DUE:
                raise RuleError("subscription", "an invoice of it is open", "collect it with `billing retry` or void it first")
            return one._replace(state=_S.PAUSED, due_at=None)

        return self._change(subscription_id, "subscription.paused", actor, change)

    def resume(self, subscription_id: str, *, actor: str) -> Subscription:
        """Go on billing a paused or parked subscription.

        What is left of a paid period or trial is used first. Periods that began while it was paused are not
        billed; when the paid one is over, the period that runs now is billed in full by the next pass.
        """

        def change(tx: Tx, one: Subscription) -> Subscription:
            now = tx.business_now
            if one.state is not _S.PAUSED and one.parked_reason is None:
                raise RuleError("subscription", f"{one.id} is {one.state}, not paused", "only a paused one can be resumed")
            state = one.state
            if one.state is _S.PAUSED:
                in_trial = one.trial_end is not None and now < one.trial_end and one.period_index is None
                state = _S.TRIALING if in_trial else _S.ACTIVE
            open_ones = tx.invoices.lock_open_of_subscription(one.id)
            undecided = tx.attempts.of_invoices([invoice.id for invoice in open_ones])
            tx.invoices.update(
                [
                    invoice._replace(next_attempt_at=now, collection=Collection.CHARGE)
                    for invoice in open_ones
                    if all(attempt.state not in LIVE for attempt in undecided[invoice.id])
                ]
            )
            due_at = None if open_ones else max(now, one.period_end or one.trial_end or now)
            if state is _S.TRIALING:
                due_at = one.trial_end
            return one._replace(state=state, due_at=due_at, parked_reason=None)

        return self._change(subscription_id, "subscription.resumed", actor, change)

    def _change(
        self, subscription_id: str, topic: str, actor: str, change: Callable[[Tx, Subscription], Subscription]
    ) -> Subscription:
        def work(tx: Tx) -> Subscription:
            pen = Pen(change(tx, tx.subscriptions.lock(subscription_id)))
            pen.tell(topic, state=pen.subscription.state.value)
            pen.note(topic, subscription_id, actor)
            post_pen(tx, pen, business_now=tx.business_now)
            return pen.subscription

        return self._store.run(work)
