"""Subscriptions: their states, arrows, and when the next invoice is due."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from billing.errors import IllegalTransition
from plans.calendar import Alignment, Interval, Period, natural_period_at, period_at, period_containing


class SubscriptionState(StrEnum):
    """Where a subscription stands."""

    SCHEDULED = "scheduled"  # agreed, starts on a later day
    INCOMPLETE = "incomplete"  # its first payment is due now and has not succeeded yet
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"  # the last invoice failed; dunning is under way or a card is awaited
    PAUSED = "paused"  # nothing is billed until it is resumed
    CANCELED = "canceled"  # stopped before its time, by someone or by dunning
    ENDED = "ended"  # ran to the end it was given


St = SubscriptionState

ARROWS: dict[SubscriptionState, frozenset[SubscriptionState]] = {
    St.SCHEDULED: frozenset({St.TRIALING, St.ACTIVE, St.PAST_DUE, St.CANCELED}),
    St.INCOMPLETE: frozenset({St.ACTIVE, St.CANCELED}),
    St.TRIALING: frozenset({St.ACTIVE, St.PAST_DUE, St.PAUSED, St.CANCELED, St.ENDED}),
    St.ACTIVE: frozenset({St.PAST_DUE, St.PAUSED, St.CANCELED, St.ENDED}),
    St.PAST_DUE: frozenset({St.ACTIVE, St.CANCELED, St.ENDED}),
    St.PAUSED: frozenset({St.ACTIVE, St.TRIALING, St.CANCELED}),
    St.CANCELED: frozenset(),
    St.ENDED: frozenset(),
}

OVER = frozenset({St.CANCELED, St.ENDED})


class Subscription(NamedTuple):
    """One customer paying one price, period after period.

    `anchor_on` is the day boundaries are counted from and `first_on` the first day billed (they
    differ under calendar alignment). `next_index` is the ordinal of the next period to bill,
    `due_at` when its invoice is to be opened: None while an invoice is open, and when nothing
    more is to come.
    """

    id: str
    customer_id: str
    price_id: str
    bucket: int
    quantity: int
    state: SubscriptionState
    time_zone: str
    start_on: date
    first_on: date
    anchor_on: date
    interval: Interval
    next_index: int
    due_at: datetime | None
    cancel_at_end: bool
    version: int
    audit_head: str
    created_at: datetime
    trial_end: datetime | None = None
    period_index: int | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    canceled_at: datetime | None = None
    ended_at: datetime | None = None
    parked_reason: str | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The zone its local days live in."""
        return ZoneInfo(self.time_zone)

    def period(self, index: int) -> Period:
        """Billing period number `index`, counted from the anchor."""
        return period_at(self.anchor_on, self.interval, index, self.zone, starts_on=self.first_on)

    def natural_days(self, index: int) -> int:
        """Local days of period `index` as if nothing had cut it short; at least one."""
        return max(natural_period_at(self.anchor_on, self.interval, index, self.zone).days, 1)

    def index_at(self, instant: datetime) -> int:
        """The ordinal of the period that contains `instant`."""
        return period_containing(self.anchor_on, self.interval, instant, self.zone, starts_on=self.first_on)


def refuse_unless_legal(subscription_id: str, here: St, there: St, cure: str = "") -> None:
    """Raise `IllegalTransition` where no arrow leads from `here` to `there`."""
    if there not in ARROWS[here]:
        raise IllegalTransition(f"subscription {subscription_id}", here, there, cure)


__all__ = ["ARROWS", "OVER", "Alignment", "Subscription", "SubscriptionState", "refuse_unless_legal"]
