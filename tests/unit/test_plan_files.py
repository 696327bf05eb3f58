"""Plan files: a good one becomes a plan, a bad one is told by line, key and cure."""

import os
import tomllib
from pathlib import Path

import pytest

from plans.calendar import Alignment, Interval, Unit
from plans.catalog import Price
from plans.files import FILE_SIZE_MAX, PlanFileError, parse_plan, read_plan_file
from plans.money import Money, krw
from plans.toml_lines import key_lines, line_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "plans"

GOOD = """\
[plan]
code = "pro"
name = "Pro"

[[plan.prices]]
code = "pro-monthly"
amount = 9900
currency = "KRW"
every = "1 month"
trial_days = 14
setup_fee = 0
align = "anniversary"
"""


def problems(text):
    with pytest.raises(PlanFileError) as caught:
        parse_plan(text, "plans/pro.toml")
    return caught.value.problems


def only(text):
    (problem,) = problems(text)
    return problem


def test_a_plan_file_becomes_a_plan_at_version_1():
    plan = parse_plan(GOOD, "pro.toml")
    assert (plan.code, plan.name, plan.archived) == ("pro", "Pro", False)
    assert plan.prices == (Price("pro-monthly", 1, "pro", krw(9_900), Interval(1, Unit.MONTH), name="Pro", trial_days=14),)


def test_a_price_may_have_its_own_name_be_free_of_tax_and_follow_the_calendar():
    text = GOOD.replace('"anniversary"', '"calendar"\nname = "Pro 월간"\ntax_free = true')
    (price,) = parse_plan(text, "pro.toml").prices
    assert (price.name, price.tax_free, price.alignment) == ("Pro 월간", True, Alignment.CALENDAR)


def test_an_amount_of_0_is_no_price():
    with pytest.raises(PlanFileError, match=r"plan\.prices\[0\]\.amount: must be a whole number .* from 1 to"):
        parse_plan(GOOD.replace("9900", "0"), "pro.toml")


def test_amount_and_setup_fee_are_minor_units_of_the_named_currency():
    (price,) = parse_plan(GOOD.replace("KRW", "USD").replace("setup_fee = 0", "setup_fee = 500"), "pro.toml").prices
    assert (price.amount, price.setup_fee) == (Money(9_900, "USD"), Money(500, "USD"))


@pytest.mark.parametrize(
    ("file", "prices"),
    [
        ("pro.toml", [("₩9,900", "1 month", 14), ("₩99,000", "1 year", 14), ("₩2,900", "1 week", 0)]),
        ("team.toml", [("₩49,000", "1 month", 0)]),
    ],
)
def test_the_example_files_are_good(file, prices):
    plan = read_plan_file(EXAMPLES / file)
    assert [(str(price.amount), str(price.interval), price.trial_days) for price in plan.prices] == prices


@pytest.mark.parametrize(
    ("written", "instead", "line", "key", "words"),
    [
        ("9900", "-5", 7, "amount", "(got -5)"),
        ("9900", "9900.0", 7, "amount", "(got 9900.0)"),
        ("9900", '"9900"', 7, "amount", '(got "9900")'),
        ("9900", "true", 7, "amount", "(got true)"),
        ("9900", "1_000_000_000_001", 7, "amount", "(got 1000000000001)"),
        ("9900", "0x" + "f" * 5000, 7, "amount", "(got 0xfff"),
        ("9900", "[9900]", 7, "amount", "(got an array)"),
        ("9900", "{won = 9900}", 7, "amount", "(got a table)"),
        ("9900", "nan", 7, "amount", "(got nan)"),
        ('"KRW"', '"won"', 8, "currency", '(got "won")'),
        ('"KRW"', '"XTS"', 8, "currency", '(got "XTS")'),
        ('"KRW"', "410", 8, "currency", "(got 410)"),
        ('"1 month"', '"1 fortnight"', 9, "every", '(got "1 fortnight")'),
        ('"1 month"', '"37 months"', 9, "every", "1 to 36 months"),
        ('"1 month"', "1", 9, "every", "(got 1)"),
        ('"1 month"', "2024-01-31", 9, "every", "(got 2024-01-31)"),
        ("14", "-1", 10, "trial_days", "(got -1)"),
        ("14", "731", 10, "trial_days", "from 0 to 730"),
        ("14", "14.0", 10, "trial_days", "(got 14.0)"),
        ("setup_fee = 0", "setup_fee = -1", 11, "setup_fee", "(got -1)"),
        ("setup_fee = 0", "tax_free = 1", 11, "tax_free", "must be true or false (got 1)"),
        ('"anniversary"', '"monday"', 12, "align", '(got "monday")'),
        ('"anniversary"', "true", 12, "align", "(got true)"),
        ('"pro-monthly"', '"Pro Monthly"', 6, "code", '(got "Pro Monthly")'),
        ('"pro-monthly"', '"pro-monthly\\n"', 6, "code", "(got "),
        ('"pro-monthly"', f'"{"p" * 41}"', 6, "code", "1 to 40 characters"),
        ('"anniversary"', f'"calendar"\nname = "{"가" * 41}"', 13, "name", "1 to 40 printable characters"),
        ('"anniversary"', '"calendar"\nname = ""', 13, "name", '(got "")'),
    ],
)
def test_a_wrong_value_is_named_by_line_key_and_cure(written, instead, line, key, words):
    problem = only(GOOD.replace(written, instead))
    assert (problem.line, problem.key) == (line, f"plan.prices[0].{key}")
    assert words in problem.problem
    assert problem.cure.startswith("write ")


def test_the_error_is_one_clear_line():
    with pytest.raises(PlanFileError) as caught:
        parse_plan(GOOD.replace("9900", "-5"), "plans/pro.toml")
    assert str(caught.value) == (
        "plans/pro.toml:7: plan.prices[0].amount: must be a whole number of minor units (won for KRW) "
        "from 1 to 1,000,000,000,000 (got -5); write it without quotes, point or separators, such as amount = 9900"
    )
    assert (caught.value.source, caught.value.line, caught.value.key) == ("plans/pro.toml", 7, "plan.prices[0].amount")


def test_the_plan_itself_is_checked_too():
    text = GOOD.replace('code = "pro"', 'code = "프로"').replace('name = "Pro"', f'name = "{"P" * 41}"')
    assert [(problem.line, problem.key) for problem in problems(text)] == [(2, "plan.code"), (3, "plan.name")]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("", None, "plan"),
        ("plan = 3", 1, "plan"),
        ("\n[[plan]]\n", 2, "plan"),
        ('[plan]\ncode = "pro"\nname = "Pro"\n', 1, "plan.prices"),
        ('[plan]\ncode = "pro"\nname = "Pro"\nprices = []', 4, "plan.prices"),
        ('[plan]\ncode = "pro"\nname = "Pro"\nprices = [\n  3,\n]', 5, "plan.prices[0]"),
        (GOOD.replace("amount = 9900\n", ""), 5, "plan.prices[0].amount"),
        (GOOD.replace('name = "Pro"\n', ""), 1, "plan.name"),
    ],
)
def test_what_is_missing_is_named_at_the_table_that_lacks_it(text, line, key):
    problem = only(text)
    assert (problem.line, problem.key) == (line, key)


@pytest.mark.parametrize(
    ("text", "line", "key", "cure"),
    [
        (GOOD.replace("trial_days", "trail_days"), 10, "plan.prices[0].trail_days", "write trial_days"),
        (GOOD.replace("[[", "colour = 1\n[["), 5, "plan.colour", "known here: code, name, prices"),
        (f"[author]\n{GOOD}", 1, "author", "known here: plan"),
        (GOOD.replace("[[", '"한 글" = 1\n[['), 5, "plan.'한 글'", "known here: code, name, prices"),
    ],
)
def test_an_unknown_key_is_refused_with_the_likely_one(text, line, key, cure):
    problem = only(text)
    assert (problem.line, problem.key, problem.cure) == (line, key, cure)


def test_a_repeated_price_code_names_both_lines():
    again = GOOD + GOOD[GOOD.index("\n[[") :]
    problem = only(again)
    assert (problem.line, problem.key) == (15, "plan.prices[1].code")
    assert problem.problem == '"pro-monthly" is already used on line 6'


def test_all_mistakes_of_a_file_are_told_in_the_order_of_its_lines():
    text = GOOD.replace("9900", "-5").replace("14", '"two weeks"') + GOOD[GOOD.index("\n[[") :].replace("KRW", "won")
    with pytest.raises(PlanFileError, match=r"^plans/pro\.toml:7: .* \(and 3 more\)$") as caught:
        parse_plan(text, "plans/pro.toml")
    assert [problem.line for problem in caught.value.problems] == [7, 10, 15, 17]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[plan]\ncode = "pro"\nname = Pro\n', 3),
        ('[plan]\ncode = "pro"\ncode = "pro"\n', 3),
        ("[plan]\nprices = [\n", 3),
        ("[plan\n", 1),
        ('[plan]\nname = "\x07"\n', 2),
        ("[plan]\namount = " + "9" * 5000, None),
        ("x = " + "[" * 5000, None),
    ],
)
def test_text_that_is_not_toml_is_refused_on_its_line(text, line):
    problem = only(text)
    assert (problem.line, problem.key) == (line, "")


def test_strange_signs_in_a_message_cannot_break_its_line():
    with pytest.raises(PlanFileError) as caught:
        parse_plan(GOOD.replace('"Pro"', r'"a\nb\u001b[31m\u2028"') + r'"x\ny" = 1', "plans/\npro.toml")
    assert all(str(problem).isprintable() for problem in caught.value.problems)
    assert str(caught.value).startswith("plans/\\npro.toml:3: plan.name: ")


def test_a_file_that_cannot_be_read_is_told_like_any_other_mistake(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path, "plan\0.toml"):
        with pytest.raises(PlanFileError, match=r"cannot be read: .*; name a readable plan file"):
            read_plan_file(path)


def test_a_file_in_another_encoding_is_named_at_its_first_strange_line(tmp_path):
    path = tmp_path / "cp949.toml"
    path.write_bytes(GOOD.replace('"Pro"', '"프로"').encode("cp949"))
    with pytest.raises(PlanFileError, match=r"cp949\.toml:3: is not UTF-8 text; save the file in UTF-8"):
        read_plan_file(path)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_plan_file(path) == parse_plan(GOOD, "pro.toml")
    path.write_bytes(GOOD.replace("\n", "\r\n").replace("9900", "-5").encode())
    with pytest.raises(PlanFileError, match=r"windows\.toml:7: "):
        read_plan_file(os.fspath(path))


def test_a_file_far_too_large_is_not_even_parsed(tmp_path):
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (FILE_SIZE_MAX + 1))
    with pytest.raises(PlanFileError, match="is larger than 1,000,000 bytes"):
        read_plan_file(path)


WINDING = '''\
# a comment with [brackets] and "quotes"
title.short = "a" # dotted
text = """
[not.a.table]
key = "not a key"
a quote at the end""""
raw = \'\'\'
[[nor.this]] \'\'\'
list = [ 1, # one
  "],", [2,
  3], { a = 1, "b c" = "}" } ]

[ "plan" . "pr\\u0069ces" ]
x = 1979-05-27 07:32:00

[[fruit]]
name = 'a'
[fruit.shape]
round = true
[[fruit.kinds]]
name = 'b'

[[fruit]]
[[fruit.kinds]]
[[fruit.kinds]]
"name" = """x"""
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("title", "short"), 2),
        (("text",), 3),
        (("raw",), 7),
        (("list", 0), 9),
        (("list", 1), 10),
        (("list", 2, 1), 11),
        (("list", 3, "b c"), 11),
        (("plan",), 13),
        (("plan", "prices", "x"), 14),
        (("fruit", 0), 16),
        (("fruit", 0, "name"), 17),
        (("fruit", 0, "shape", "round"), 19),
        (("fruit", 0, "kinds", 0, "name"), 21),
        (("fruit", 1), 23),
        (("fruit", 1, "kinds", 0), 24),
        (("fruit", 1, "kinds", 1, "name"), 26),
        (("fruit", 1, "kinds", 1, "colour"), 25),  # not there: its table answers
        (("nowhere",), None),
    ],
)
def test_the_locator_finds_keys_through_all_of_tomls_windings(path, line):
    assert line_of(key_lines(WINDING), path) == line


def test_the_locator_and_the_parser_see_the_same_keys():
    def paths(value, path=()):
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return set().union({path} - {()}, *(paths(item, (*path, key)) for key, item in inner))

    assert set(key_lines(WINDING)) == paths(tomllib.loads(WINDING))


def test_nothing_inside_a_string_or_comment_is_taken_for_a_key():
    tops = {path[0] for path in key_lines(WINDING)}
    assert tops == {"title", "text", "raw", "list", "plan", "fruit"}
