"""Money: whole units, one currency at a time, one rounding door."""

from decimal import Decimal
from fractions import Fraction

import pytest

from plans.money import CurrencyMismatch, Money, krw, minor_digits, share, split, vat_included


@pytest.mark.parametrize("amount", [9900.0, Decimal(9900), True, "9900", None, Fraction(9900)])
def test_an_amount_is_an_int_and_nothing_that_looks_like_one(amount):
    with pytest.raises(TypeError, match="whole number of minor units"):
        Money(amount)


@pytest.mark.parametrize("currency", ["krw", "KR", "KRWX", "", "K W", "₩₩₩", "KRW\n", None, 410])
def test_a_currency_is_three_upper_case_letters(currency):
    with pytest.raises(ValueError, match="three upper-case letters"):
        Money(1, currency)


def test_money_without_a_currency_is_won():
    assert Money(9_900) == krw(9_900) == Money(9_900, "KRW")


def test_money_adds_subtracts_multiplies_and_turns_into_a_credit():
    assert krw(9_900) + krw(100) == krw(10_000)
    assert krw(9_900) - krw(10_000) == krw(-100)
    assert krw(9_900) * 3 == 3 * krw(9_900) == krw(29_700)
    assert -krw(9_900) == krw(-9_900)
    assert abs(krw(-9_900)) == krw(9_900)


def test_money_compares_by_amount():
    assert krw(1) < krw(2) <= krw(2)
    assert krw(2) > krw(1) >= krw(1)
    assert max(krw(1), krw(3), krw(2)) == krw(3)


def test_only_nothing_at_all_is_false():
    assert not krw(0)
    assert krw(-1)


@pytest.mark.parametrize(
    "mixing",
    [
        lambda won, cents: won + cents,
        lambda won, cents: won - cents,
        lambda won, cents: won < cents,
        lambda won, cents: won >= cents,
        lambda won, cents: Money.total([won, cents], "KRW"),
    ],
)
def test_currencies_never_mix(mixing):
    with pytest.raises(CurrencyMismatch, match="cannot be mixed") as caught:
        mixing(krw(1), Money(1, "USD"))
    assert {caught.value.left, caught.value.right} == {"KRW", "USD"}


def test_equal_amounts_in_two_currencies_are_not_equal():
    assert krw(0) != Money(0, "USD")


@pytest.mark.parametrize("factor", [1.5, True, Decimal(2), Fraction(1, 2)])
def test_money_is_multiplied_by_whole_numbers_alone(factor):
    with pytest.raises(TypeError):
        krw(100) * factor


@pytest.mark.parametrize("other", [100, 0.5, None])
def test_bare_numbers_are_not_money(other):
    with pytest.raises(TypeError):
        krw(100) + other
    with pytest.raises(TypeError):
        krw(100) - other
    with pytest.raises(TypeError):
        assert krw(100) < other
    with pytest.raises(TypeError):
        assert krw(100) <= other


def test_a_total_of_nothing_still_has_a_currency():
    assert Money.total([], "USD") == Money(0, "USD")
    assert Money.total(iter([krw(1), krw(2)])) == krw(3)


@pytest.mark.parametrize(
    ("money", "words"),
    [
        (krw(9_900), "₩9,900"),
        (krw(-1_234_567), "-₩1,234,567"),
        (krw(0), "₩0"),
        (Money(990, "JPY"), "JPY 990"),
        (Money(990, "USD"), "USD 9.90"),
        (Money(-5, "USD"), "-USD 0.05"),
        (Money(123_456_789, "EUR"), "EUR 1,234,567.89"),
        (Money(9_900, "KWD"), "KWD 9.900"),
        (Money(9_900, "XTS"), "XTS 9,900 minor units"),
    ],
)
def test_money_is_written_with_the_decimals_of_its_currency(money, words):
    assert str(money) == words


def test_the_decimals_of_an_unknown_currency_are_not_guessed():
    assert [minor_digits(code) for code in ("KRW", "USD", "KWD")] == [0, 2, 3]
    with pytest.raises(ValueError, match="'XTS' is not known"):
        minor_digits("XTS")


@pytest.mark.parametrize(
    ("amount", "ratio", "rounded"),
    [
        (9_900, Fraction(14, 31), 4_471),  # 4470.97
        (9_900, Fraction(1, 31), 319),  # 319.35
        (1, Fraction(1, 2), 1),
        (3, Fraction(1, 2), 2),
        (-1, Fraction(1, 2), -1),
        (-3, Fraction(1, 2), -2),
        (3, Fraction(-1, 2), -2),
        (1, Fraction(49, 100), 0),
        (9_900, Fraction(0), 0),
        (9_900, Fraction(1), 9_900),
        (10**12, Fraction(1, 3), 333_333_333_333),
    ],
)
def test_a_share_is_rounded_half_up_away_from_zero(amount, ratio, rounded):
    assert share(krw(amount), ratio) == krw(rounded)


def test_a_share_keeps_its_currency():
    assert share(Money(101, "USD"), Fraction(1, 2)) == Money(51, "USD")


@pytest.mark.parametrize("ratio", [0.5, 1, Decimal("0.5")])
def test_a_ratio_is_a_fraction_because_a_float_has_been_rounded_already(ratio):
    with pytest.raises(TypeError, match="is a Fraction"):
        share(krw(100), ratio)


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),  # of equals the first takes the unit left over
        (100, [1, 2, 4], [14, 28, 58]),  # the largest takes it, wherever it stands
        (5, [1, 1, 1, 4], [1, 1, 0, 3]),  # three left over: the largest, then the rest as they come
        (-100, [1, 1, 1], [-34, -33, -33]),
        (1, [0, 1, 0], [0, 1, 0]),
        (0, [3, 4], [0, 0]),
        (7, [9], [7]),
    ],
)
def test_a_split_loses_nothing_and_gives_the_rest_to_the_largest(amount, weights, parts):
    assert split(krw(amount), weights) == [krw(part) for part in parts]


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([], ValueError, "without a weight above 0"),
        ([0, 0], ValueError, "without a weight above 0"),
        ([2, -1], ValueError, "cannot be negative"),
        ([0.5, 0.5], TypeError, "whole number"),
        ([True], TypeError, "whole number"),
    ],
)
def test_weights_are_whole_never_negative_and_not_all_zero(weights, error, words):
    with pytest.raises(error, match=words):
        split(krw(100), weights)


@pytest.mark.parametrize(
    ("total", "vat"),
    [(11_000, 1_000), (9_900, 900), (99_000, 9_000), (2_900, 264), (49_000, 4_455), (5, 0), (6, 1), (-9_900, -900)],
)
def test_ten_percent_vat_is_an_eleventh_of_the_total(total, vat):
    assert vat_included(krw(total)) == krw(vat)


def test_another_vat_rate_is_a_parameter():
    assert vat_included(Money(12_000, "EUR"), Fraction(1, 5)) == Money(2_000, "EUR")
    assert vat_included(krw(9_900), Fraction(0)) == krw(0)
    with pytest.raises(ValueError, match="negative"):
        vat_included(krw(9_900), Fraction(-1, 10))
