"""Balanced entries: one row moves one positive amount from one account to another.

A transfer cannot be unbalanced, even by a bug, and is never edited, only countered.

    pg:receivable      what the PG owes us
    customer           passes through: what a customer paid against what was delivered
    revenue:deferred   periods sold, VAT excluded
    vat:payable        VAT inside what was sold
    suspense:surplus   money we must give back
    suspense:mismatch  money nobody has explained yet
"""

from __future__ import annotations

from typing import NamedTuple

from billing.domain.invoice import Invoice
from billing.domain.refund import Refund

PG, CUSTOMER, REVENUE, VAT = "pg:receivable", "customer", "revenue:deferred", "vat:payable"
SURPLUS, MISMATCH = "suspense:surplus", "suspense:mismatch"


class Transfer(NamedTuple):
    """One row of the ledger; (`kind`, `ref`) happens once."""

    kind: str
    ref: str
    debit: str
    credit: str
    amount: int
    currency: str


def payment_transfers(invoice: Invoice, imp_uid: str) -> list[Transfer]:
    """The rows of a settled invoice: what the PG owes us, what was sold, the VAT inside it."""
    net = invoice.total - invoice.vat
    rows = [
        Transfer("charge", imp_uid, PG, CUSTOMER, invoice.total, invoice.currency),
        Transfer("sale", invoice.id, CUSTOMER, REVENUE, net, invoice.currency),
        Transfer("vat", invoice.id, CUSTOMER, VAT, invoice.vat, invoice.currency),
    ]
    return [row for row in rows if row.amount]


def suspense_transfer(account: str, imp_uid: str, amount: int, currency: str) -> Transfer:
    """Money at the PG that belongs to no open invoice, or not as it is."""
    return Transfer("charge", imp_uid, PG, account, amount, currency)


def released_transfer(account: str, imp_uid: str, amount: int, currency: str) -> Transfer:
    """A human explained parked money: it leaves suspense for the customer's account."""
    return Transfer("release", imp_uid, account, CUSTOMER, amount, currency)


def moved_to_surplus(imp_uid: str, amount: int, currency: str) -> Transfer:
    """A human found that parked money must be given back."""
    return Transfer("release", imp_uid, MISMATCH, SURPLUS, amount, currency)


def refund_transfers(refund: Refund, role: str) -> list[Transfer]:
    """The rows of a refund: what the PG took back, and what of the sale and its VAT is countered.

    Args:
        role: what the payment was to us; only one that settled an invoice was a sale.
    """
    ref, currency = refund.id, refund.currency
    if role != "invoice":
        return [Transfer("refund", ref, SURPLUS if role == "surplus" else MISMATCH, PG, refund.amount, currency)]
    rows = [
        Transfer("refund", ref, CUSTOMER, PG, refund.amount, currency),
        Transfer("refund_sale", ref, REVENUE, CUSTOMER, refund.amount - refund.vat, currency),
        Transfer("refund_vat", ref, VAT, CUSTOMER, refund.vat, currency),
    ]
    return [row for row in rows if row.amount]
