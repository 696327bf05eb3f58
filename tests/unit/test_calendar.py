"""The calendar: intervals, boundaries counted from the anchor, local midnights as instants."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from plans.calendar import (
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

SEOUL = ZoneInfo("Asia/Seoul")
MONTHLY = Interval(1, Unit.MONTH)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("1 month", Interval(1, Unit.MONTH)),
        ("3 months", Interval(3, Unit.MONTH)),
        ("1 day", Interval(1, Unit.DAY)),
        ("2 weeks", Interval(2, Unit.WEEK)),
        ("1 year", Interval(1, Unit.YEAR)),
        ("366 days", Interval(366, Unit.DAY)),
    ],
)
def test_an_interval_is_written_as_a_count_and_a_unit(text, interval):
    assert Interval.parse(text) == interval
    assert str(interval) == text


@pytest.mark.parametrize(
    "text", ["", "month", "1", "1month", "1  month", " 1 month", "1 Month", "one month", "-1 month", "1.5 months"]
)
def test_anything_else_is_not_an_interval(text):
    with pytest.raises(ValueError, match="a count and day, week, month or year"):
        Interval.parse(text)


@pytest.mark.parametrize("text", ["0 months", "01 month", "٣ months", "1 quarter", "1 month\n", "99999 days"])
def test_counts_are_plain_numbers_from_one(text):
    with pytest.raises(ValueError, match="an interval is"):
        Interval.parse(text)


@pytest.mark.parametrize("text", ["367 days", "53 weeks", "37 months", "11 years"])
def test_an_interval_has_an_upper_bound(text):
    with pytest.raises(ValueError, match="an interval has 1 to"):
        Interval.parse(text)


@pytest.mark.parametrize("count", [0, -1])
def test_an_interval_is_at_least_one(count):
    with pytest.raises(ValueError, match="an interval has 1 to 36 months"):
        Interval(count, Unit.MONTH)


@pytest.mark.parametrize("count", [1.0, True, "1"])
def test_an_interval_counts_in_whole_numbers(count):
    with pytest.raises(TypeError, match="whole numbers"):
        Interval(count, Unit.MONTH)


def test_a_stored_unit_is_read_back_as_a_unit():
    assert Interval(1, "month") == MONTHLY
    assert Interval(1, "month").unit is Unit.MONTH
    with pytest.raises(ValueError, match="fortnight"):
        Interval(1, "fortnight")


@pytest.mark.parametrize(
    ("anchor", "every", "dates"),
    [
        ("2024-01-31", "1 month", "2024-01-31 2024-02-29 2024-03-31 2024-04-30 2024-05-31"),
        ("2023-01-31", "1 month", "2023-01-31 2023-02-28 2023-03-31"),
        ("2024-01-28", "1 month", "2024-01-28 2024-02-28 2024-03-28"),
        ("2024-01-30", "1 month", "2024-01-30 2024-02-29 2024-03-30"),
        ("2023-11-30", "3 months", "2023-11-30 2024-02-29 2024-05-30 2024-08-30"),
        ("2024-02-29", "1 year", "2024-02-29 2025-02-28 2026-02-28 2027-02-28 2028-02-29"),
        ("2024-02-29", "1 month", "2024-02-29 2024-03-29 2024-04-29"),
        ("2024-12-31", "2 months", "2024-12-31 2025-02-28 2025-04-30 2025-06-30 2025-08-31"),
        ("2024-02-26", "1 week", "2024-02-26 2024-03-04 2024-03-11"),
        ("2024-02-28", "1 day", "2024-02-28 2024-02-29 2024-03-01"),
        ("2099-12-31", "2 months", "2099-12-31 2100-02-28"),  # 2100 is not a leap year
    ],
)
def test_boundaries_are_counted_from_the_anchor_and_clamped_only_in_short_months(anchor, every, dates):
    expected = [date.fromisoformat(day) for day in dates.split()]
    interval = Interval.parse(every)
    assert [interval.after(expected[0], times) for times in range(len(expected))] == expected
    assert expected[0] == date.fromisoformat(anchor)


def test_boundaries_are_not_counted_backwards():
    with pytest.raises(ValueError, match="counted forward"):
        MONTHLY.after(date(2024, 1, 31), -1)


@pytest.mark.parametrize("every", ["1 day", "1 week", "1 month", "1 year"])
def test_beyond_the_last_year_there_are_no_dates(every):
    with pytest.raises(ValueError, match="beyond the year 9999"):
        Interval.parse(every).after(date(9999, 12, 31), 1)
    with pytest.raises(ValueError, match="beyond the year 9999"):
        Interval.parse(every).after(date(2024, 1, 31), 10**9)


@pytest.mark.parametrize(
    ("every", "anchor"),
    [("1 day", "2024-05-15"), ("1 week", "2024-05-13"), ("2 months", "2024-05-01"), ("1 year", "2024-01-01")],
)
def test_calendar_alignment_anchors_on_the_natural_day_at_or_before_the_start(every, anchor):
    interval, expected = Interval.parse(every), date.fromisoformat(anchor)
    assert anchored(date(2024, 5, 15), interval, Alignment.CALENDAR) == expected
    assert anchored(expected, interval, Alignment.CALENDAR) == expected


def test_anniversary_alignment_anchors_on_the_start_itself():
    assert anchored(date(2024, 5, 15), MONTHLY, Alignment.ANNIVERSARY) == date(2024, 5, 15)


def test_a_period_runs_from_local_midnight_to_local_midnight_half_open():
    period = period_at(date(2024, 1, 31), MONTHLY, 1, SEOUL)
    assert (period.start_on, period.end_on, period.days) == (date(2024, 2, 29), date(2024, 3, 31), 31)
    assert (period.start, period.end) == (utc("2024-02-28T15:00"), utc("2024-03-30T15:00"))
    assert period.start in period
    assert period.end - timedelta(microseconds=1) in period
    assert period.end not in period
    assert period.start.tzinfo is UTC


def test_there_is_no_period_before_the_anchor():
    with pytest.raises(ValueError, match="before the anchor"):
        period_at(date(2024, 1, 31), MONTHLY, -1, SEOUL)


def test_a_calendar_aligned_start_in_mid_month_makes_period_0_a_stub():
    start_on = date(2024, 5, 15)
    anchor = anchored(start_on, MONTHLY, Alignment.CALENDAR)
    stub, first_whole = (period_at(anchor, MONTHLY, index, SEOUL, starts_on=start_on) for index in (0, 1))
    assert (stub.start_on, stub.end_on, stub.days) == (start_on, date(2024, 6, 1), 17)
    assert (first_whole.start_on, first_whole.end_on) == (date(2024, 6, 1), date(2024, 7, 1))
    assert stub.end == first_whole.start
    assert natural_period_at(anchor, MONTHLY, 0, SEOUL).days == 31


def test_a_start_on_the_natural_day_makes_no_stub():
    anchor = date(2024, 5, 1)
    assert period_at(anchor, MONTHLY, 0, SEOUL, starts_on=anchor) == natural_period_at(anchor, MONTHLY, 0, SEOUL)


@pytest.mark.parametrize("start_on", [date(2024, 4, 30), date(2024, 6, 1)])
def test_a_start_outside_period_0_is_refused(start_on):
    with pytest.raises(ValueError, match="outside the first 1 month from 2024-05-01"):
        period_at(date(2024, 5, 1), MONTHLY, 3, SEOUL, starts_on=start_on)


@pytest.mark.parametrize(
    ("instant", "index"),
    [
        ("2024-01-30T15:00:00", 0),
        ("2024-02-28T14:59:59.999999", 0),
        ("2024-02-28T15:00:00", 1),
        ("2024-03-29T12:00:00", 1),  # past the clamped day of the month, before the anchor's day
        ("2024-03-30T15:00:00", 2),
        ("2123-12-31T00:00:00", 1199),
    ],
)
def test_an_instant_is_found_in_its_period(instant, index):
    assert period_containing(date(2024, 1, 31), MONTHLY, utc(instant), SEOUL) == index


def test_a_period_thousands_of_years_away_is_found_without_walking_there():
    far = period_at(date(2000, 1, 1), Interval(1, Unit.DAY), 2_500_000, SEOUL)
    assert period_containing(date(2000, 1, 1), Interval(1, Unit.DAY), far.start, SEOUL) == 2_500_000


def test_an_instant_before_the_first_period_is_refused():
    before_anchor = utc("2024-05-14T14:59:59")
    with pytest.raises(ValueError, match="before the first period, which starts on 2024-05-15"):
        period_containing(date(2024, 5, 15), MONTHLY, before_anchor, SEOUL)
    with pytest.raises(ValueError, match="before the first period, which starts on 2024-05-15"):
        period_containing(date(2024, 5, 1), MONTHLY, before_anchor, SEOUL, starts_on=date(2024, 5, 15))


@pytest.mark.parametrize("zone", [SEOUL, ZoneInfo("UTC")])
def test_a_naive_instant_stops_at_the_door(zone):
    naive = datetime(2024, 5, 15)  # noqa: DTZ001  the mistake under test
    period = period_at(date(2024, 5, 15), MONTHLY, 0, zone)
    for ask in (
        lambda: local_day(naive, zone),
        lambda: naive in period,
        lambda: period_containing(date(2024, 5, 15), MONTHLY, naive, zone),
    ):
        with pytest.raises(ValueError, match="has no time zone"):
            ask()


def test_the_local_day_is_the_date_on_the_wall():
    assert local_day(utc("2024-05-14T15:00"), SEOUL) == date(2024, 5, 15)
    assert local_day(utc("2024-05-14T14:59:59"), SEOUL) == date(2024, 5, 14)


@pytest.mark.parametrize(
    ("day", "zone", "instant"),
    [
        ("2024-02-29", "Asia/Seoul", "2024-02-28T15:00"),
        ("2024-07-01", "America/New_York", "2024-07-01T04:00"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00"),  # 00:00 is skipped: the day begins at 01:00
        ("2022-03-27", "Asia/Beirut", "2022-03-26T22:00"),  # the same, further east
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30"),  # 23:30 jumps to 00:30, before midnight
        ("2018-02-18", "America/Sao_Paulo", "2018-02-18T03:00"),  # 24:00 goes back to 23:00 of the day before
        ("2023-11-05", "America/Havana", "2023-11-05T04:00"),  # 01:00 goes back to 00:00: the first of two
        ("2010-11-07", "America/St_Johns", "2010-11-07T02:30"),  # 00:01 goes back to 23:01: the first of two
        ("2011-12-29", "Pacific/Apia", "2011-12-29T10:00"),
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00"),  # this day never was: the same as the next
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00"),
    ],
)
def test_a_day_begins_when_the_wall_clock_first_shows_its_midnight_or_later(day, zone, instant):
    assert midnight(date.fromisoformat(day), ZoneInfo(zone)) == utc(instant)


def test_a_day_that_a_zone_skipped_is_an_empty_period_and_contains_nothing():
    daily, apia, anchor = Interval(1, Unit.DAY), ZoneInfo("Pacific/Apia"), date(2011, 12, 29)
    skipped = period_at(anchor, daily, 1, apia)
    assert skipped.start == skipped.end
    assert skipped.start not in skipped
    assert period_containing(anchor, daily, skipped.start, apia) == 2


def test_a_minute_that_happens_twice_around_midnight_belongs_to_the_period_that_began_first():
    st_johns, daily = ZoneInfo("America/St_Johns"), Interval(1, Unit.DAY)
    second_evening = utc("2010-11-07T03:00")  # the wall says the 6th again, the 7th has begun
    assert local_day(second_evening, st_johns) == date(2010, 11, 6)
    assert period_containing(date(2010, 11, 1), daily, second_evening, st_johns) == 6
