"""Money as whole minor units with a currency, the one rounding door, and splitting without loss.

There is no float and no Decimal here: both let a won appear or vanish where nobody
looks. A ratio is a `Fraction`, and the only place where a ratio becomes money again
is `share`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

# Listed, not guessed: taking two digits for granted would show a Korean price a hundred times too small.
MINOR_DIGITS: Final[dict[str, int]] = {
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("AED", "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "IDR", "ILS"), 2),
    **dict.fromkeys(("INR", "MNT", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "SAR", "SEK", "SGD", "THB", "TRY"), 2),
    **dict.fromkeys(("TWD", "USD", "ZAR"), 2),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}

_CURRENCY = re.compile(r"[A-Z]{3}")


class CurrencyMismatch(ValueError):
    """Two amounts in different currencies met in one calculation."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right} cannot be mixed in one calculation")
        self.left = left
        self.right = right


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in whole minor units of its currency: won for KRW, cents for USD.

    Negative amounts are credits. `bool(money)` is False for nothing at all.

    Raises:
        TypeError: the amount is not an int (a bool is not one either).
        ValueError: the currency is not three upper-case letters.
    """

    amount: int
    currency: str = "KRW"

    def __post_init__(self) -> None:
        if not _is_whole(self.amount):
            raise TypeError(f"money is a whole number of minor units, not {type(self.amount).__name__} {self.amount!r}")
        if not isinstance(self.currency, str) or not _CURRENCY.fullmatch(self.currency):
            raise ValueError(f"a currency is three upper-case letters such as KRW, not {self.currency!r}")

    @classmethod
    def total(cls, moneys: Iterable["Money"], currency: str = "KRW") -> "Money":
        """Return the sum of `moneys`; the currency is named because an empty sum has one too.

        The built-in `sum` starts from a bare 0, which is not money, and is refused.

        Raises:
            CurrencyMismatch: one of `moneys` is in another currency.
        """
        result = cls(0, currency)
        for money in moneys:
            result += money
        return result

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + self._same(other), self.currency) if isinstance(other, Money) else NotImplemented

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount - self._same(other), self.currency) if isinstance(other, Money) else NotImplemented

    def __mul__(self, times: int) -> "Money":
        return Money(self.amount * times, self.currency) if _is_whole(times) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def __abs__(self) -> "Money":
        return Money(abs(self.amount), self.currency)

    def __bool__(self) -> bool:
        return self.amount != 0

    # `>` and `>=` are these two, read from the other side by Python itself.
    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other) if isinstance(other, Money) else NotImplemented

    def __le__(self, other: "Money") -> bool:
        return self.amount <= self._same(other) if isinstance(other, Money) else NotImplemented

    def __str__(self) -> str:
        sign = "-" if self.amount < 0 else ""
        digits = MINOR_DIGITS.get(self.currency)
        if digits is None:  # where the point goes is not known, and a guess would lie about the price
            return f"{self.currency} {self.amount:,} minor units"
        whole, part = divmod(abs(self.amount), 10**digits)
        number = f"{whole:,}.{part:0{digits}d}" if digits else f"{whole:,}"
        return f"{sign}₩{number}" if self.currency == "KRW" else f"{sign}{self.currency} {number}"

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise CurrencyMismatch(self.currency, other.currency)
        return other.amount


def krw(amount: int) -> Money:
    """Return `amount` won."""
    return Money(amount, "KRW")


def minor_digits(currency: str) -> int:
    """Return how many decimals the currency is written with: 0 for KRW, 2 for USD, 3 for KWD.

    Raises:
        ValueError: the currency is not one we know; two digits are never assumed.
    """
    if currency not in MINOR_DIGITS:
        raise ValueError(f"currency {currency!r} is not known here")
    return MINOR_DIGITS[currency]


def share(money: Money, ratio: Fraction) -> Money:
    """Return `ratio` of `money`, rounded half-up: a half goes away from zero.

    The one rounding door. Away from zero, so that a credit is the exact mirror of the
    charge it takes back; "towards plus infinity" would keep a won of every odd refund.

    Raises:
        TypeError: the ratio is not a `Fraction`; a float is already rounded, unseen.
    """
    if not isinstance(ratio, Fraction):
        raise TypeError(f"a ratio of money is a Fraction, not {type(ratio).__name__} {ratio!r}")
    exact = money.amount * ratio
    magnitude = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return Money(magnitude if exact >= 0 else -magnitude, money.currency)


def split(money: Money, weights: Sequence[int]) -> list[Money]:
    """Return one part per weight, in order, that add up to `money` to the last unit.

    Every part starts as its proportional share cut towards zero; the few units left over
    go one each to the largest weights, the earlier of equals first. So a part is less than
    one unit from its exact share on the cut side and at most one on the other, a larger
    weight never gets less than a smaller one, and a weight of 0 gets 0. A negative amount
    splits into the mirror of its positive twin.

    Raises:
        TypeError: a weight is not an int.
        ValueError: a weight is negative, or there is no weight above 0 to carry the money.
    """
    for weight in weights:
        if not _is_whole(weight):
            raise TypeError(f"a weight is a whole number, not {type(weight).__name__} {weight!r}")
        if weight < 0:
            raise ValueError(f"a weight cannot be negative, got {weight}")
    whole = sum(weights)
    if whole == 0:
        raise ValueError("money cannot be split without a weight above 0")
    magnitude = abs(money.amount)
    parts = [magnitude * weight // whole for weight in weights]
    largest_first = sorted(range(len(weights)), key=lambda place: -weights[place])
    for place in largest_first[: magnitude - sum(parts)]:
        parts[place] += 1
    return [Money(part if money.amount >= 0 else -part, money.currency) for part in parts]


def vat_included(total: Money, rate: Fraction = Fraction(1, 10)) -> Money:
    """Return the VAT contained in a VAT-inclusive total, rounded half-up: an eleventh at 10 %.

    The supply value is `total - vat_included(total)`, so the two always add up. Work it
    out once per invoice: elevenths rounded line by line can add up to something else.

    Raises:
        ValueError: the rate is negative.
    """
    if rate < 0:
        raise ValueError(f"a VAT rate cannot be negative, got {rate}")
    return share(total, rate / (1 + rate))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
