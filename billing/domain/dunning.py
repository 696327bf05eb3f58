"""After a decline: when to try again, when to wait for another card, when to give up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from billing.domain.evidence import DeclineClass
from billing.domain.invoice import Collection
from plans.calendar import local_day, midnight


class FinalState(StrEnum):
    """What becomes of a subscription whose invoice could not be collected."""

    CANCEL = "cancel"
    PAST_DUE = "past_due"


@dataclass(frozen=True, slots=True)
class Ladder:
    """Retry dates in local days after the first decline.

    `transient_tries` more tries are free for declines that were not the card's fault
    (maintenance, network): they come on the next local day and consume no step.
    """

    days: tuple[int, ...] = (1, 3, 5, 7)
    transient_tries: int = 3
    final: FinalState = FinalState.CANCEL


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do with the open invoice, and when; `consumes` tells whether a step was used up."""

    collection: Collection
    at: datetime | None
    consumes: bool
    gives_up: bool = False


_STOPS = (DeclineClass.HARD, DeclineClass.NEEDS_NEW_CARD)


def next_step(
    ladder: Ladder,
    of: DeclineClass,
    *,
    declines: int,
    attempts: int,
    attempts_max: int,
    first_failed_at: datetime,
    now: datetime,
    zone: ZoneInfo,
) -> NextStep:
    """Return what follows a decline of class `of`.

    Args:
        declines: steps used before this decline.
        attempts: attempts planned for the invoice so far, this one included.
        first_failed_at: business instant of the invoice's first decline; the ladder counts from its local day.
        now: business instant; a date already past means the next day.
    """
    if of is DeclineClass.CONFIG:
        # Our contract or request is wrong: trying again changes nothing, and it is not the customer's fault.
        return NextStep(Collection.MANUAL, None, consumes=False)
    first_day, today = local_day(first_failed_at, zone), local_day(now, zone)
    tomorrow = today + timedelta(days=1)
    last_day = first_day + timedelta(days=ladder.days[-1] if ladder.days else 0)
    if of in _STOPS:
        # The card will not get better. The customer has until the end of the ladder to register another.
        if last_day <= today:
            return NextStep(Collection.MANUAL, None, consumes=True, gives_up=True)
        return NextStep(Collection.AWAIT_CARD, midnight(last_day, zone), consumes=True)
    if attempts >= attempts_max:
        return NextStep(Collection.MANUAL, None, consumes=True, gives_up=True)
    if of is DeclineClass.TRANSIENT and attempts - declines <= ladder.transient_tries:
        return NextStep(Collection.CHARGE, midnight(tomorrow, zone), consumes=False)
    if declines >= len(ladder.days):
        return NextStep(Collection.MANUAL, None, consumes=True, gives_up=True)
    day = max(first_day + timedelta(days=ladder.days[declines]), tomorrow)
    return NextStep(Collection.CHARGE, midnight(day, zone), consumes=True)
