"""Laws of the calendar: periods touch, never overlap, never drift, and are found again.

Zones are chosen for their oddities: clock changes at midnight, by half an hour, inverted
in Ramadan, one minute after midnight, and a day that never was.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from plans.calendar import (
    COUNT_MAX,
    Alignment,
    Interval,
    Unit,
    anchored,
    local_day,
    midnight,
    natural_period_at,
    period_at,
    period_containing,
)

laws = settings(deadline=None, max_examples=200)

ZONE_NAMES = [
    "Asia/Seoul",
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Chatham",
]
SKIPPED_DAYS = {("Pacific/Apia", date(2011, 12, 30))}
TICK = timedelta(microseconds=1)

ZONES = st.sampled_from(ZONE_NAMES).map(ZoneInfo)
DAYS = st.dates(date(2000, 1, 1), date(2100, 12, 31))
UNITS = st.sampled_from(Unit)
INTERVALS = UNITS.flatmap(lambda unit: st.builds(Interval, st.integers(1, COUNT_MAX[unit]), st.just(unit)))
ALIGNMENTS = st.sampled_from(Alignment)
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def subscriptions(draw):
    """Anchor, interval and start of a subscription; the start is the anchor unless the calendar aligns it."""
    start_on, interval = draw(DAYS), draw(INTERVALS)
    return anchored(start_on, interval, draw(ALIGNMENTS)), interval, start_on


def indexes_until_2100(interval):
    days = {Unit.DAY: 1, Unit.WEEK: 7, Unit.MONTH: 30, Unit.YEAR: 365}[interval.unit] * interval.count
    return st.integers(0, 36_500 // days)


@laws
@given(subscriptions(), ZONES, st.data())
def test_periods_touch_and_never_overlap(subscription, zone, data):
    anchor, interval, start_on = subscription
    first = data.draw(indexes_until_2100(interval))
    periods = [period_at(anchor, interval, first + step, zone, starts_on=start_on) for step in range(4)]
    for one, following in pairwise(periods):
        assert one.end == following.start
        assert one.end_on == following.start_on
    for period in periods:
        assert period.start <= period.end
        assert period.start < period.end or (zone.key, period.start_on) in SKIPPED_DAYS
        assert period.days > 0


@laws
@given(st.integers(1, 31), st.integers(2000, 2099), st.integers(1, 12), st.sampled_from([Unit.MONTH, Unit.YEAR]), st.data())
def test_the_anchor_day_is_kept_in_every_month_that_has_it(day, year, month, unit, data):
    assume(day <= monthrange(year, month)[1])
    interval = Interval(data.draw(st.integers(1, COUNT_MAX[unit])), unit)
    index = data.draw(indexes_until_2100(interval))
    boundary = interval.after(date(year, month, day), index)
    months = index * interval.count * (12 if unit is Unit.YEAR else 1)
    assert (boundary.year * 12 + boundary.month) - (year * 12 + month) == months
    assert boundary.day == min(day, monthrange(boundary.year, boundary.month)[1])


@laws
@given(DAYS, st.sampled_from([Unit.DAY, Unit.WEEK]), st.data())
def test_days_and_weeks_are_always_equally_long(anchor, unit, data):
    interval = Interval(data.draw(st.integers(1, COUNT_MAX[unit])), unit)
    index = data.draw(indexes_until_2100(interval))
    length = timedelta(days=interval.count * (7 if unit is Unit.WEEK else 1))
    assert interval.after(anchor, index) == anchor + index * length


@laws
@given(DAYS, INTERVALS)
def test_a_calendar_anchor_is_a_natural_day_at_most_one_unit_before_the_start(start_on, interval):
    anchor = anchored(start_on, interval, Alignment.CALENDAR)
    assert anchor <= start_on < Interval(1, interval.unit).after(anchor, 1)
    natural = {Unit.DAY: True, Unit.WEEK: anchor.weekday() == 0, Unit.MONTH: anchor.day == 1}
    assert natural.get(interval.unit, (anchor.month, anchor.day) == (1, 1))
    assert anchored(anchor, interval, Alignment.CALENDAR) == anchor


@laws
@given(subscriptions(), ZONES)
def test_a_stub_ends_where_its_natural_period_ends_and_every_other_period_is_natural(subscription, zone):
    anchor, interval, start_on = subscription
    stub, second = (period_at(anchor, interval, index, zone, starts_on=start_on) for index in (0, 1))
    natural = natural_period_at(anchor, interval, 0, zone)
    assert (stub.start_on, stub.end) == (start_on, natural.end)
    assert 0 < stub.days <= natural.days
    assert second == natural_period_at(anchor, interval, 1, zone)


@laws
@given(subscriptions(), ZONES, st.data())
@example((date(2011, 12, 1), Interval(1, Unit.DAY), date(2011, 12, 1)), ZoneInfo("Pacific/Apia"), None)
@example((date(2010, 11, 1), Interval(1, Unit.DAY), date(2010, 11, 1)), ZoneInfo("America/St_Johns"), None)
@example((date(2024, 1, 31), Interval(1, Unit.MONTH), date(2024, 1, 31)), ZoneInfo("Asia/Seoul"), None)
def test_every_instant_of_a_period_leads_back_to_it(subscription, zone, data):
    anchor, interval, start_on = subscription
    for index in [data.draw(indexes_until_2100(interval))] if data else range(40):
        period = period_at(anchor, interval, index, zone, starts_on=start_on)
        if period.start == period.end:
            continue  # a day that never was contains nothing to lead back
        for instant in (period.start, period.start + (period.end - period.start) / 2, period.end - TICK):
            assert instant in period
            assert period_containing(anchor, interval, instant, zone, starts_on=start_on) == index


@laws
@given(subscriptions(), ZONES, INSTANTS)
def test_an_instant_lies_in_the_period_found_for_it_or_before_the_first(subscription, zone, instant):
    anchor, interval, start_on = subscription
    if instant < midnight(start_on, zone):
        with pytest.raises(ValueError, match="before the first period"):
            period_containing(anchor, interval, instant, zone, starts_on=start_on)
    else:
        index = period_containing(anchor, interval, instant, zone, starts_on=start_on)
        assert instant in period_at(anchor, interval, index, zone, starts_on=start_on)


@laws
@given(DAYS, ZONES)
@example(date(2018, 11, 4), ZoneInfo("America/Sao_Paulo"))
@example(date(2011, 12, 30), ZoneInfo("Pacific/Apia"))
@example(date(2010, 11, 7), ZoneInfo("America/St_Johns"))
def test_midnight_is_the_first_moment_the_wall_shows_the_day_or_later(day, zone):
    moment = midnight(day, zone)
    assert moment.tzinfo is UTC
    assert local_day(moment, zone) >= day
    # The hours before it all show an earlier day: nothing earlier could have been meant.
    assert all(local_day(moment - TICK - timedelta(minutes=minutes), zone) < day for minutes in range(0, 1_440, 15))


@pytest.mark.parametrize("zone_name", ZONE_NAMES)
def test_midnights_never_run_backwards_through_a_hundred_years(zone_name):
    zone = ZoneInfo(zone_name)
    days = [date(2000, 1, 1) + timedelta(days=number) for number in range(36_890)]
    midnights = [midnight(day, zone) for day in days]
    stuck = {(zone_name, day) for day, one, following in zip(days, midnights, midnights[1:], strict=False) if following <= one}
    assert stuck == {skipped for skipped in SKIPPED_DAYS if skipped[0] == zone_name}
    lengths = {following - one for one, following in pairwise(midnights)} - {timedelta(0)}
    assert timedelta(hours=22, minutes=30) <= min(lengths) <= max(lengths) <= timedelta(hours=25)
