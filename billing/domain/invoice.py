"""Invoices: what a customer owes for one period, line by line. Lines always sum to the total."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from billing.errors import IllegalTransition
from plans.money import Money, vat_included


class InvoiceState(StrEnum):
    """The life of an invoice."""

    OPEN = "open"  # numbered and owed
    PAID = "paid"
    VOID = "void"  # should not have been; nothing is owed
    UNCOLLECTIBLE = "uncollectible"  # owed, given up


ARROWS: dict[InvoiceState, frozenset[InvoiceState]] = {
    InvoiceState.OPEN: frozenset({InvoiceState.PAID, InvoiceState.VOID, InvoiceState.UNCOLLECTIBLE}),
    # Money that arrives after we gave up still pays the invoice.
    InvoiceState.UNCOLLECTIBLE: frozenset({InvoiceState.PAID, InvoiceState.VOID}),
    InvoiceState.PAID: frozenset(),
    InvoiceState.VOID: frozenset(),
}


class Purpose(StrEnum):
    """Why an invoice exists; part of its identity."""

    PERIOD = "period"


class LineKind(StrEnum):
    """What a line bills."""

    RECURRING = "recurring"
    SETUP_FEE = "setup_fee"


class Collection(StrEnum):
    """What the scheduler does when `next_attempt_at` comes."""

    CHARGE = "charge"  # try the current card
    AWAIT_CARD = "await_card"  # this card will not do: give up unless another was registered
    MANUAL = "manual"  # nothing automatic


class InvoiceLine(NamedTuple):
    """One line. `vat` is the part of `amount` that is value-added tax.

    `amount` is `unit_amount × quantity × part_days ÷ natural_days`, rounded half up: a first period cut short by
    calendar alignment costs its days' share. The inputs stay on the line, so it can be explained and recomputed.
    """

    position: int
    kind: LineKind
    description: str
    quantity: int
    unit_amount: int
    amount: int
    tax_free: bool
    vat: int
    price_id: str
    period_start: datetime | None
    period_end: datetime | None
    part_days: int
    natural_days: int


class Invoice(NamedTuple):
    """What one customer owes for one period; amounts in minor units, VAT included."""

    id: str
    number: int
    customer_id: str
    subscription_id: str
    bucket: int
    purpose: Purpose
    period_index: int
    period_start: datetime
    period_end: datetime
    uid_stem: str
    state: InvoiceState
    currency: str
    total: int
    tax_free: int
    vat: int
    order_name: str
    opened_at: datetime
    moved_at: datetime
    next_attempt_at: datetime | None
    collection: Collection
    declines: int
    attempts_planned: int
    first_failed_at: datetime | None = None


def moved(invoice: Invoice, there: InvoiceState) -> InvoiceState:
    """Return `there`; raise `IllegalTransition` where no arrow leads."""
    if there not in ARROWS[invoice.state]:
        raise IllegalTransition(f"invoice {invoice.number}", invoice.state, there)
    return there


def with_vat(lines: Sequence[InvoiceLine], currency: str, rate: Fraction = Fraction(1, 10)) -> list[InvoiceLine]:
    """The lines with the VAT of the whole invoice placed on the taxable ones.

    VAT is taken from the taxable total once, rounded half up, and spread over the lines by their
    own half-up share; the units that rounding leaves over go to the largest taxable line, so the
    lines' VAT always sums to the invoice's.
    """
    taxable = [line for line in lines if not line.tax_free and line.amount]
    vat = vat_included(Money(sum(line.amount for line in taxable), currency), rate).amount
    shares = {line.position: vat_included(Money(line.amount, currency), rate).amount for line in taxable}
    if taxable:
        largest = max(taxable, key=lambda line: (line.amount, -line.position))
        shares[largest.position] += vat - sum(shares.values())
    return [line._replace(vat=shares.get(line.position, 0)) for line in lines]
