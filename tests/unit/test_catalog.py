"""The catalogue: versions never change, and `plan apply` says beforehand what it does."""

from dataclasses import FrozenInstanceError, replace
from types import SimpleNamespace

import pytest

from plans.calendar import Alignment, Interval, Unit
from plans.catalog import ChangeKind, Plan, Price, PriceCodeTaken, changes
from plans.money import CurrencyMismatch, Money, krw

MONTHLY = Price("pro-monthly", 1, "pro", krw(9_900), Interval(1, Unit.MONTH), name="Pro", trial_days=14)
YEARLY = Price("pro-yearly", 1, "pro", krw(99_000), Interval(1, Unit.YEAR), name="Pro")
PRO = Plan("pro", "Pro", (MONTHLY, YEARLY))


def wanting(*prices, **plan):
    return replace(PRO, prices=prices, **plan)


def kinds(found):
    return [(change.kind, change.code) for change in found]


def test_a_price_is_billed_on_the_anniversary_taxed_and_without_fee_or_trial_unless_told_otherwise():
    assert (YEARLY.trial_days, YEARLY.setup_fee, YEARLY.alignment, YEARLY.tax_free) == (
        0,
        krw(0),
        Alignment.ANNIVERSARY,
        False,
    )


def test_a_price_cannot_be_edited():
    with pytest.raises(FrozenInstanceError):
        MONTHLY.amount = krw(1)


def test_no_setup_fee_is_no_fee_in_any_currency():
    assert replace(MONTHLY, amount=Money(990, "USD")).setup_fee == Money(0, "USD")


def test_a_setup_fee_is_in_the_currency_of_the_price():
    with pytest.raises(CurrencyMismatch):
        replace(MONTHLY, setup_fee=Money(100, "USD"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"code": "Pro"}, "a code is"),
        ({"code": ""}, "a code is"),
        ({"code": "-pro"}, "a code is"),
        ({"code": "p" * 41}, "a code is"),
        ({"code": "pro\n"}, "a code is"),
        ({"name": ""}, "a name is"),
        ({"name": "가" * 41}, "a name is"),
        ({"name": "Pro\nplan"}, "a name is"),
        ({"name": " Pro"}, "a name is"),
        ({"version": 0}, "versions count from 1"),
        ({"amount": krw(-1)}, "takes 0 to"),
        ({"amount": krw(10**12 + 1)}, "takes 0 to"),
        ({"setup_fee": krw(-1)}, "takes 0 to"),
        ({"trial_days": -1}, "a trial lasts 0 to 730 days"),
        ({"trial_days": 731}, "a trial lasts 0 to 730 days"),
    ],
)
def test_a_price_that_could_not_be_sold_cannot_be_made(wrong, words):
    with pytest.raises(ValueError, match=words):
        replace(MONTHLY, **wrong)


def test_the_widest_price_is_allowed_and_so_is_a_free_one():
    widest = {"code": "p" * 40, "name": "가" * 40, "amount": krw(10**12), "trial_days": 730}
    assert replace(MONTHLY, **widest).amount == krw(10**12)
    assert not replace(MONTHLY, amount=krw(0)).amount


@pytest.mark.parametrize(
    "other",
    [
        {"amount": krw(10_900)},
        {"interval": Interval(2, Unit.MONTH)},
        {"trial_days": 0},
        {"setup_fee": krw(1)},
        {"alignment": Alignment.CALENDAR},
        {"tax_free": True},
        {"name": "Pro 2"},
        {"code": "pro-month"},
        {"plan_code": "team"},
    ],
)
def test_every_difference_but_the_version_is_a_difference_in_terms(other):
    assert MONTHLY.same_terms(replace(MONTHLY, version=7))
    assert not MONTHLY.same_terms(replace(MONTHLY, **other))


def test_a_plan_holds_its_own_prices_and_each_version_once():
    with pytest.raises(ValueError, match="belongs to plan pro, not to team"):
        Plan("team", "Team", (MONTHLY,))
    with pytest.raises(ValueError, match="pro-monthly v1 appears twice"):
        wanting(MONTHLY, MONTHLY)
    with pytest.raises(ValueError, match="a code is"):
        Plan("Pro", "Pro", ())


def test_a_new_subscriber_gets_the_newest_version_of_each_price():
    second = replace(MONTHLY, version=2, amount=krw(10_900))
    assert wanting(second, MONTHLY, YEARLY).newest() == (second, YEARLY)


def test_an_unknown_plan_is_created_with_all_its_prices_at_version_1():
    found = changes({}, wanting(replace(MONTHLY, version=5), YEARLY))
    assert kinds(found) == [
        (ChangeKind.PLAN_CREATED, "pro"),
        (ChangeKind.PRICE_ADDED, "pro-monthly"),
        (ChangeKind.PRICE_ADDED, "pro-yearly"),
    ]
    assert [change.price for change in found[1:]] == [MONTHLY, YEARLY]
    assert [change.describe() for change in found] == [
        "plan pro: created as “Pro”",
        "price pro-monthly v1: added, ₩9,900 every month",
        "price pro-yearly v1: added, ₩99,000 every year",
    ]


def test_applying_the_same_plan_again_changes_nothing():
    found = changes({"pro": PRO}, PRO)
    assert {change.kind for change in found} == {ChangeKind.PRICE_UNCHANGED}
    assert found[0].describe() == "price pro-monthly v1: unchanged"


def test_other_terms_make_the_next_version_and_leave_the_old_one_to_its_buyers():
    dearer = replace(MONTHLY, amount=krw(10_900))
    change = changes({"pro": PRO}, wanting(dearer, YEARLY))[0]
    assert change.kind is ChangeKind.PRICE_REVISED
    assert change.price == replace(dearer, version=2)
    assert change.old == MONTHLY
    assert change.describe() == ("price pro-monthly v2: made, amount ₩9,900 → ₩10,900; v1 stays with those who bought it")


def test_several_terms_that_differ_are_all_named():
    quarterly = replace(MONTHLY, interval=Interval(3, Unit.MONTH), trial_days=0)
    change = changes({"pro": PRO}, wanting(quarterly, YEARLY))[0]
    assert change.describe().startswith("price pro-monthly v2: made, interval 1 month → 3 months, trial days 14 → 0;")


def test_the_newest_version_decides_and_going_back_to_old_terms_is_a_new_version():
    second = replace(MONTHLY, version=2, amount=krw(10_900))
    stored = wanting(second, MONTHLY, YEARLY)
    assert changes({"pro": stored}, wanting(second, YEARLY))[0].kind is ChangeKind.PRICE_UNCHANGED
    assert changes({"pro": stored}, PRO)[0].price == replace(MONTHLY, version=3)


def test_a_price_the_file_does_not_name_stays_and_is_said_to_stay():
    found = changes({"pro": PRO}, wanting(MONTHLY))
    assert kinds(found) == [(ChangeKind.PRICE_UNCHANGED, "pro-monthly"), (ChangeKind.PRICE_KEPT, "pro-yearly")]
    assert found[1].describe() == "price pro-yearly v1: not named here, stays as it is"


def test_renaming_a_plan_comes_before_its_prices():
    found = changes({"pro": PRO}, replace(PRO, name="Professional"))
    assert found[0].kind is ChangeKind.PLAN_RENAMED
    assert found[0].describe() == "plan pro: renamed from “Pro” to “Professional”"


@pytest.mark.parametrize(
    ("was", "becomes", "kind"),
    [(True, False, ChangeKind.PLAN_RESTORED), (False, True, ChangeKind.PLAN_ARCHIVED)],
)
def test_going_off_sale_and_coming_back_are_changes_of_the_plan(was, becomes, kind):
    found = changes({"pro": replace(PRO, archived=was)}, replace(PRO, archived=becomes))
    assert (found[0].kind, found[0].code) == (kind, "pro")


def test_a_price_code_belongs_to_one_plan_alone():
    theirs = Plan("team", "Team", (replace(MONTHLY, plan_code="team"),))
    with pytest.raises(PriceCodeTaken, match="pro-monthly belongs to plan team, so plan pro cannot have it"):
        changes({"team": theirs}, PRO)


def test_other_plans_are_no_business_of_this_one():
    theirs = Plan("team", "Team", (replace(MONTHLY, code="team-monthly", plan_code="team"),))
    assert {change.code for change in changes({"team": theirs, "pro": PRO}, PRO)} == {"pro-monthly", "pro-yearly"}


def test_a_stored_plan_may_be_any_record_with_the_four_fields():
    row = SimpleNamespace(id="0199", code="pro", name="Pro", prices=[MONTHLY, YEARLY], archived=False)
    assert {change.kind for change in changes({"pro": row}, PRO)} == {ChangeKind.PRICE_UNCHANGED}
