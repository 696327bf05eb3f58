"""The merchant's wall calendar: intervals, anchors and billing periods as UTC instants.

Dates are what people agree on ("the 31st of every month"), instants are what machines
compare. Everything here goes from the first to the second by way of a time zone, and
every boundary is counted from the anchor, never from the boundary before it.
"""

import re
from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_INTERVAL = re.compile(r"([1-9][0-9]{0,3}) (day|week|month|year)s?")


class Unit(StrEnum):
    """What an interval counts."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Alignment(StrEnum):
    """Where the boundaries of a subscription's periods lie."""

    ANNIVERSARY = "anniversary"  # on the day the subscription started
    CALENDAR = "calendar"  # on the 1st of a month, a Monday, the 1st of January


COUNT_MAX: Final = {Unit.DAY: 366, Unit.WEEK: 52, Unit.MONTH: 36, Unit.YEAR: 10}


@dataclass(frozen=True, slots=True)
class Interval:
    """How often a price is charged: 1 month, 2 weeks, 1 year.

    Raises:
        TypeError: the count is not an int.
        ValueError: the count is below 1 or above `COUNT_MAX` of its unit.
    """

    count: int
    unit: Unit

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or isinstance(self.count, bool):
            raise TypeError(f"an interval counts in whole numbers, not {self.count!r}")
        object.__setattr__(self, "unit", Unit(self.unit))  # a row's plain "month" is welcome
        if not 1 <= self.count <= COUNT_MAX[self.unit]:
            raise ValueError(f"an interval has 1 to {COUNT_MAX[self.unit]} {self.unit}s, got {self.count}")

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Return the interval written as a count and a unit: "1 month", "3 months".

        Raises:
            ValueError: the text is anything else, or the count is out of bounds.
        """
        match = _INTERVAL.fullmatch(text)
        if match is None:
            raise ValueError(f'an interval is a count and day, week, month or year, such as "1 month", not {text!r}')
        return cls(int(match[1]), Unit(match[2]))

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}"

    def after(self, anchor: date, times: int) -> date:
        """Return the date `times` intervals after the anchor.

        The anchor's day is kept and clamped only in a month that lacks it: from 31 January
        come 29 February and 31 March; from 29 February, yearly, 28 February and in the next
        leap year 29 February again.

        Raises:
            ValueError: `times` is negative, or the date lies beyond the year 9999.
        """
        if times < 0:
            raise ValueError(f"a boundary is counted forward from the anchor, got {times} times")
        steps = self.count * times
        if self.unit in (Unit.DAY, Unit.WEEK):
            ordinal = anchor.toordinal() + steps * (7 if self.unit is Unit.WEEK else 1)
            if ordinal > date.max.toordinal():
                raise ValueError(f"{times} times {self} after {anchor} lies beyond the year 9999")
            return date.fromordinal(ordinal)
        months = anchor.month - 1 + steps * (12 if self.unit is Unit.YEAR else 1)
        year, month = anchor.year + months // 12, months % 12 + 1
        if year > date.max.year:
            raise ValueError(f"{times} times {self} after {anchor} lies beyond the year 9999")
        return date(year, month, min(anchor.day, monthrange(year, month)[1]))


@dataclass(frozen=True, slots=True)
class Period:
    """Billing period number `index`, half-open: `start` belongs to it, `end` to the next one.

    `start_on` and `end_on` are local days; `start` and `end` are their first moments in UTC.
    A period made only of days that a zone skipped (Samoa had no 30 December 2011) is empty:
    it starts where it ends and contains no instant.
    """

    index: int
    start_on: date
    end_on: date
    start: datetime
    end: datetime

    @property
    def days(self) -> int:
        """Whole local days from the first up to, not including, `end_on`."""
        return (self.end_on - self.start_on).days

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= _aware(instant) < self.end


def anchored(start_on: date, interval: Interval, alignment: Alignment) -> date:
    """Return the anchor from which the boundaries of a subscription starting on `start_on` count.

    Anniversary: the start itself. Calendar: the Monday, 1st of the month or 1 January on or
    before it, so that the first period is a stub unless the start is such a day (a day has
    no calendar of its own and is never a stub). With "3 months" the count begins in the
    starting month, not in a fiscal quarter.
    """
    if alignment is Alignment.ANNIVERSARY or interval.unit is Unit.DAY:
        return start_on
    if interval.unit is Unit.WEEK:
        return start_on - timedelta(days=start_on.weekday())
    return start_on.replace(day=1) if interval.unit is Unit.MONTH else start_on.replace(month=1, day=1)


@lru_cache(maxsize=4096)
def period_at(anchor: date, interval: Interval, index: int, zone: ZoneInfo, *, starts_on: date | None = None) -> Period:
    """Return billing period number `index` (0 is the first) of a subscription anchored on `anchor`.

    With `starts_on` (a calendar-aligned start in mid-period) period 0 is the stub from that
    day to its natural end, and every later period is a natural one.

    Raises:
        ValueError: the index is negative, the period ends beyond the year 9999, or
            `starts_on` lies outside period 0.
    """
    natural = natural_period_at(anchor, interval, index, zone)
    if starts_on is None:
        return natural
    if not anchor <= starts_on < interval.after(anchor, 1):
        raise ValueError(f"the start {starts_on} lies outside the first {interval} from {anchor}")
    return natural if index else replace(natural, start_on=starts_on, start=midnight(starts_on, zone))


@lru_cache(maxsize=4096)
def natural_period_at(anchor: date, interval: Interval, index: int, zone: ZoneInfo) -> Period:
    """Return the whole period number `index`, as if nothing had started in the middle of it.

    Its days are what a part of it is divided by in proration.

    Raises:
        ValueError: the index is negative, or the period ends beyond the year 9999.
    """
    if index < 0:
        raise ValueError(f"period {index} lies before the anchor")
    start_on, end_on = interval.after(anchor, index), interval.after(anchor, index + 1)
    return Period(index, start_on, end_on, start=midnight(start_on, zone), end=midnight(end_on, zone))


def period_containing(
    anchor: date, interval: Interval, instant: datetime, zone: ZoneInfo, *, starts_on: date | None = None
) -> int:
    """Return the index of the period that contains the instant, at the same cost for any distance.

    Raises:
        ValueError: the instant is naive, lies before the first period, or beyond the year 9999.
    """
    index = _intervals_begun(anchor, interval, local_day(instant, zone))
    # The local day is only a good guess: a clamped boundary comes early in a short month, and
    # around a clock change the day's name and its first moment can disagree. Instants decide.
    while index and instant < period_at(anchor, interval, index, zone, starts_on=starts_on).start:
        index -= 1
    while instant >= (period := period_at(anchor, interval, index, zone, starts_on=starts_on)).end:
        index += 1
    if instant < period.start:
        raise ValueError(f"{instant.isoformat()} lies before the first period, which starts on {period.start_on}")
    return index


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first moment of a local day, in UTC.

    Precisely: the earliest instant at which the zone's wall clock shows 00:00 of that day or
    anything later. This says one thing for every day of every zone, and never runs backwards:

    - midnight happens once: that instant;
    - midnight is skipped (clocks jump from 23:59 to 01:00): the instant of the jump;
    - midnight happens twice (clocks go back to it or past it): the first time;
    - the whole day is skipped: the same instant as the day after it.
    """
    wall = datetime.combine(day, time.min)
    with_old_offset = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(with_old_offset, zone) == wall:
        return with_old_offset
    # A gap. Read with the offset after the jump the wall time lies before the jump, read with the
    # offset before it at or after the jump; in between is exactly one second where the clock leaps.
    with_new_offset = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    before, reached = 0, round((with_old_offset - with_new_offset).total_seconds())
    while reached - before > 1:
        middle = (before + reached) // 2
        if _wall(with_new_offset + timedelta(seconds=middle), zone) < wall:
            before = middle
        else:
            reached = middle
    return with_new_offset + timedelta(seconds=reached)


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """Return the date on a wall calendar in `zone` at that instant.

    Raises:
        ValueError: the instant is naive.
    """
    return _aware(instant).astimezone(zone).date()


def _intervals_begun(anchor: date, interval: Interval, day: date) -> int:
    if interval.unit in (Unit.DAY, Unit.WEEK):
        begun = (day - anchor).days // (7 if interval.unit is Unit.WEEK else 1)
    else:
        begun = (day.year - anchor.year) * 12 + day.month - anchor.month
        begun //= 12 if interval.unit is Unit.YEAR else 1
    return max(0, begun // interval.count)


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _aware(instant: datetime) -> datetime:
    if instant.utcoffset() is None:
        raise ValueError(f"{instant.isoformat()} has no time zone; an instant is always aware, best in UTC")
    return instant
