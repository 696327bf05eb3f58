"""Amounts as the PG writes them: JSON numbers in the currency's large unit."""

from __future__ import annotations

from plans.money import minor_digits


def major(minor: int, currency: str) -> int | float:
    """`minor` units as the PG's number: an int for won and yen, else the shortest decimal, exact for two or three digits.

    Source: PortOne REST V1 and JavaScript SDK V1, amount (a number, never a text).
    """
    digits = minor_digits(currency)
    return minor if digits == 0 else minor / 10**digits


def tax_fields(tax_free: int, vat_amount: int | None, currency: str) -> dict[str, object]:
    """The tax of an amount as the PG wants it told.

    Without both fields the PG takes the whole for taxable; tax_free 0 with vat_amount 0 is zero-rated.
    Source: PortOne REST V1 and JavaScript SDK V1, tax_free and vat_amount.
    """
    fields: dict[str, object] = {}
    if tax_free or vat_amount is not None:
        fields["tax_free"] = major(tax_free, currency)
    if vat_amount is not None:
        fields["vat_amount"] = major(vat_amount, currency)
    return fields
