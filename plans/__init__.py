"""What can be bought: money, calendar, prices, plan files. Knows nothing of billing."""

from plans.calendar import (
    Alignment,
    Interval,
    Period,
    Unit,
    anchored,
    local_day,
    midnight,
    natural_period_at,
    period_at,
    period_containing,
)
from plans.catalog import Change, ChangeKind, Plan, PlanLike, Price, PriceCodeTaken, changes, newest_versions
from plans.files import PlanFileError, Problem, parse_plan, read_plan_file
from plans.money import CurrencyMismatch, Money, krw, minor_digits, share, split, vat_included

__all__ = [
    "Alignment",
    "Change",
    "ChangeKind",
    "CurrencyMismatch",
    "Interval",
    "Money",
    "Period",
    "Plan",
    "PlanFileError",
    "PlanLike",
    "Price",
    "PriceCodeTaken",
    "Problem",
    "Unit",
    "anchored",
    "changes",
    "krw",
    "local_day",
    "midnight",
    "minor_digits",
    "natural_period_at",
    "newest_versions",
    "parse_plan",
    "period_at",
    "period_containing",
    "read_plan_file",
    "share",
    "split",
    "vat_included",
]
