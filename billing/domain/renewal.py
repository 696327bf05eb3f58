"""Decide what a due subscription owes. Pure: subscription and price in, a draft invoice out."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from billing.domain.invoice import InvoiceLine, LineKind, with_vat
from billing.domain.subscription import Subscription
from plans.calendar import Period
from plans.money import Money, share


class CatchUp(StrEnum):
    """What to charge when several periods were missed."""

    LATEST = "latest"  # the newest due period; older ones are skipped, with an event
    ALL = "all"  # every one, oldest first, at most one a day


class Terms(NamedTuple):
    """What a subscription was sold on: the price version, as stored."""

    price_id: str
    name: str
    amount: Money
    setup_fee: Money
    tax_free: bool


class Draft(NamedTuple):
    """An invoice that should be opened; a total of zero is paid without the wire."""

    period: Period
    lines: tuple[InvoiceLine, ...]
    order_name: str
    skipped: tuple[int, ...]

    @property
    def total(self) -> int:
        """Sum of the lines, VAT included."""
        return sum(line.amount for line in self.lines)

    @property
    def vat(self) -> int:
        """VAT inside the total."""
        return sum(line.vat for line in self.lines)

    @property
    def tax_free(self) -> int:
        """The part of the total that carries no VAT."""
        return sum(line.amount for line in self.lines if line.tax_free)


LineKey = tuple[LineKind, int]


def owed_lines(subscription: Subscription, terms: Terms, through: int, billed: Container[LineKey]) -> list[InvoiceLine]:
    """Every line that should exist for the subscription up to period `through`, minus those already billed.

    The one generator of invoice lines: a renewal, a first invoice and a second run over the same
    subscription are the same question with other `billed` keys. Running it twice adds nothing.
    """
    wanted = [(LineKind.SETUP_FEE, 0), *((LineKind.RECURRING, index) for index in range(through + 1))]
    lines: list[InvoiceLine] = []
    for kind, index in wanted:
        if (kind, index) in billed:
            continue
        unit = terms.amount if kind is LineKind.RECURRING else terms.setup_fee
        quantity = subscription.quantity if kind is LineKind.RECURRING else 1
        if kind is LineKind.SETUP_FEE and not unit.amount:
            continue
        period, natural_days = subscription.period(index), subscription.natural_days(index)
        is_whole = kind is LineKind.SETUP_FEE or period.days == natural_days
        whole = Money(unit.amount * quantity, unit.currency)
        lines.append(
            InvoiceLine(
                position=len(lines) + 1,
                kind=kind,
                description=terms.name if kind is LineKind.RECURRING else f"{terms.name} set-up",
                quantity=quantity,
                unit_amount=unit.amount,
                amount=(whole if is_whole else share(whole, Fraction(period.days, natural_days))).amount,
                tax_free=terms.tax_free,
                vat=0,
                price_id=terms.price_id,
                period_start=period.start,
                period_end=period.end,
                part_days=natural_days if is_whole else period.days,
                natural_days=natural_days,
            )
        )
    return with_vat(lines, terms.amount.currency)


@dataclass(frozen=True, slots=True)
class _BilledBefore:
    """Lines billed or skipped already: every period below `index`, and the set-up fee once anything was."""

    index: int
    is_started: bool

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, tuple):
            return False
        kind, index = key
        return self.is_started if kind is LineKind.SETUP_FEE else bool(index < self.index)


def draft(subscription: Subscription, terms: Terms, *, now: datetime, catch_up: CatchUp) -> Draft:
    """Return the invoice a due subscription owes at business instant `now`."""
    index = subscription.next_index
    if catch_up is CatchUp.LATEST:
        index = max(index, subscription.index_at(now))
    return drafted(subscription, terms, index)


def drafted(subscription: Subscription, terms: Terms, index: int) -> Draft:
    """Return the invoice of period `index`; what lies between it and the periods billed so far is skipped."""
    lines = owed_lines(subscription, terms, index, _BilledBefore(index, is_started=subscription.next_index > 0))
    return Draft(
        period=subscription.period(index),
        lines=tuple(lines),
        order_name=terms.name[:40],
        skipped=tuple(range(subscription.next_index, index)),
    )
