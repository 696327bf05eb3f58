"""Laws of money: splits and VAT add up to the last unit, rounding is fair and mirrored."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plans.money import Money, krw, share, split, vat_included

laws = settings(deadline=None, max_examples=200)

AMOUNTS = st.integers(-(10**13), 10**13)
MONEYS = st.builds(Money, AMOUNTS, st.sampled_from(["KRW", "USD", "KWD"]))
RATIOS = st.fractions(0, 3, max_denominator=3660)
WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any)


@laws
@given(MONEYS, WEIGHTS)
def test_the_parts_of_a_split_add_up_to_the_whole(money, weights):
    assert Money.total(split(money, weights), money.currency) == money


@laws
@given(AMOUNTS, WEIGHTS)
def test_no_part_is_a_unit_or_more_below_its_exact_share_nor_more_than_one_above(amount, weights):
    for part, weight in zip(split(krw(amount), weights), weights, strict=True):
        exact = Fraction(abs(amount) * weight, sum(weights))
        assert exact - 1 < abs(part.amount) <= exact + 1
        assert part.amount == 0 or (part.amount > 0) == (amount > 0)
        assert weight or not part


@laws
@given(st.integers(0, 10**13), WEIGHTS)
def test_a_larger_weight_never_gets_less(amount, weights):
    parts = sorted(zip(weights, (part.amount for part in split(krw(amount), weights)), strict=True))
    for (_, less), (_, more) in pairwise(parts):
        assert less <= more


@laws
@given(AMOUNTS, WEIGHTS)
def test_a_credit_splits_into_the_mirror_of_its_charge(amount, weights):
    assert split(krw(-amount), weights) == [-part for part in split(krw(amount), weights)]


@laws
@given(MONEYS, RATIOS)
def test_a_share_is_never_more_than_half_a_unit_off(money, ratio):
    error = share(money, ratio).amount - money.amount * ratio
    assert abs(error) <= Fraction(1, 2)
    if abs(error) == Fraction(1, 2):  # a half, and only a half, went away from zero
        assert (error > 0) == (money.amount > 0)


@laws
@given(MONEYS, RATIOS)
def test_a_share_of_a_credit_is_the_credit_of_the_share(money, ratio):
    assert share(-money, ratio) == -share(money, ratio) == share(money, -ratio)


@laws
@given(AMOUNTS, AMOUNTS, RATIOS)
def test_a_share_never_turns_more_into_less(one, other, ratio):
    less, more = sorted((krw(one), krw(other)))
    assert share(less, ratio) <= share(more, ratio)


@laws
@given(MONEYS, st.fractions(0, 1, max_denominator=1000))
def test_supply_value_and_vat_add_up_and_the_vat_is_the_rate_of_the_supply(money, rate):
    vat = vat_included(money, rate)
    supply = money - vat
    assert supply + vat == money
    assert abs(vat) <= abs(money)
    assert abs(vat.amount - supply.amount * rate) <= Fraction(1, 2) * (1 + rate)


@laws
@given(AMOUNTS)
def test_at_ten_percent_the_vat_is_the_whole_number_nearest_to_an_eleventh(amount):
    assume(amount % 11)
    vat = vat_included(krw(amount)).amount
    assert min(range(amount // 11, amount // 11 + 2), key=lambda near: abs(11 * near - amount)) == vat


@laws
@given(MONEYS, st.lists(AMOUNTS, max_size=8))
def test_what_is_added_can_be_taken_away_again(money, amounts):
    moneys = [Money(amount, money.currency) for amount in amounts]
    result = Money.total([money, *moneys], money.currency)
    for one in moneys:
        result -= one
    assert result == money
