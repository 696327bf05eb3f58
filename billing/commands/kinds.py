"""Kinds of argument: days, instants, spans of time, ranges of buckets. Each says what to write instead."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any

import click


class Day(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """A local date."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """`2026-11-21` as a date."""
        try:
            found = value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date; write for example 2026-11-21", param, ctx)
        if not 2000 <= found.year <= 2199:
            self.fail(f"{value!r} lies outside the years 2000 to 2199; write for example 2026-11-21", param, ctx)
        return found


class Instant(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """An instant with its offset, or `real`."""

    name = "instant"
    cure = "write for example 2026-01-31T10:00+09:00, or real to take the test clock away"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | str:
        """`2026-01-31T10:00+09:00` as an aware datetime."""
        if isinstance(value, datetime):
            return value
        if value == "real":
            return "real"
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not an instant; {self.cure}", param, ctx)
        if instant.tzinfo is None:
            self.fail(f"{value!r} has no offset; {self.cure}", param, ctx)
        if not 2000 <= instant.year <= 2199:
            self.fail(f"{value!r} lies outside the years 2000 to 2199; {self.cure}", param, ctx)
        return instant


class Moment(Instant):
    """An instant with its offset."""

    cure = "write for example 2026-01-31T10:00+09:00"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """`2026-01-31T10:00+09:00` as an aware datetime."""
        found = super().convert(value, param, ctx)
        if isinstance(found, str):
            self.fail(f"{value!r} is not an instant; {self.cure}", param, ctx)
        return found


class DayOrMoment(Moment):
    """A local date, or an instant with its offset."""

    cure = "write for example 2026-01-31 or 2026-01-31T10:00+09:00"

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> date:
        """`2026-01-31` as a date, anything longer as an instant."""
        if isinstance(value, date):
            return value
        return DAY.convert(value, param, ctx) if len(value) == len("2026-01-31") else super().convert(value, param, ctx)


_PART = re.compile(r"\s*([0-9]{1,6})\s*(months?|years?|seconds?|minutes?|hours?|days?|weeks?|[smhdw])\s*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Span(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """A span of time: calendar months, and exact time beside them."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, timedelta]:
        """`1d12h` or `1 month` as (months, the rest)."""
        if isinstance(value, tuple):
            return value
        months, rest, at = 0, timedelta(), 0
        while at < len(value) and (part := _PART.match(value, at)):
            count, unit = int(part[1]), part[2]
            if unit.startswith(("month", "year")):
                months += count * (12 if unit.startswith("year") else 1)
            else:
                rest += timedelta(seconds=count * _SECONDS[unit[0]])
            at = part.end()
        if at < len(value) or not (months or rest) or months > 1200 or rest > timedelta(days=36525):
            self.fail(f'{value!r} is not a span of time; write for example 12h, 1d, 2w or "1 month"', param, ctx)
        return months, rest


class Buckets(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """A range of customer buckets."""

    name = "buckets"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """`0-63` as a range, both ends included."""
        if isinstance(value, range):
            return value
        found = re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3})", value)
        if not found or not int(found[1]) <= int(found[2]) <= 255:
            self.fail(f"{value!r} is not a range of buckets; write two numbers from 0 to 255 like 0-63", param, ctx)
        return range(int(found[1]), int(found[2]) + 1)


DAY, INSTANT, MOMENT, SPAN, BUCKETS = Day(), Instant(), Moment(), Span(), Buckets()
DAY_OR_MOMENT = DayOrMoment()
