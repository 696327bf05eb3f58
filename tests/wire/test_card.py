"""Card data: normalised, used once, and nowhere to be seen."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from billing.errors import RuleError
from billing.gateway.card import Card
from tests.wire.worlds import shown

NUMBER, EXPIRY, BIRTH, PWD = "4242 4242-42424242", "2031-07", "880101", "73"
CANARIES = ("4242", "2031", "880101", "73")


def card() -> Card:
    return Card(number=NUMBER, expiry=EXPIRY, birth=BIRTH, pwd_2digit=PWD)


def test_the_fields_are_what_the_pg_wants_once():
    one = card()
    assert one.revealed() == {"card_number": "4242-4242-4242-4242", "expiry": "2031-07", "birth": "880101", "pwd_2digit": "73"}
    with pytest.raises(RuleError, match="used already"):
        one.revealed()


def test_a_cleared_card_is_empty():
    one = card()
    one.clear()
    with pytest.raises(RuleError):
        one.revealed()


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ({"number": "378282246310005"}, ("card_number", "3782-822463-10005")),
        ({"expiry": "07/31"}, ("expiry", "2031-07")),
        ({"expiry": " 7/31".replace("7", "07")}, ("expiry", "2031-07")),
        ({"birth": "123-45-67890"}, ("birth", "1234567890")),
    ],
)
def test_other_ways_to_write_them(given, wire):
    fields = {"number": NUMBER, "expiry": EXPIRY, **given}
    assert Card(**fields).revealed()[wire[0]] == wire[1]


def test_fields_the_pg_does_not_need_are_left_out():
    assert set(Card(number=NUMBER, expiry=EXPIRY).revealed()) == {"card_number", "expiry"}


WRONG = [
    ("number", "4242"), ("number", "4242424242424242424"), ("number", "４２４２４２４２４２４２４２４２"), ("number", ""),
    ("expiry", "2031-13"), ("expiry", "1999-01"), ("expiry", "31/07"), ("expiry", "7-2031"), ("expiry", ""),
    ("birth", "881301"), ("birth", "19880101"), ("birth", "x"), ("pwd_2digit", "7"), ("pwd_2digit", "733"), ("pwd_2digit", "ab"),
]  # fmt: skip


@pytest.mark.parametrize("make", [lambda fields: Card(**fields), lambda fields: Card.from_json(json.dumps(fields))])
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_field_is_named_and_not_repeated(name, value, make):
    fields = {"number": NUMBER, "expiry": EXPIRY, "birth": BIRTH, "pwd_2digit": PWD, name: value}
    with pytest.raises(RuleError) as caught:
        make(fields)
    assert caught.value.field == name
    assert "from_json" in shown(caught.value) or "__init__" in shown(caught.value)
    assert all(canary not in shown(caught.value) for canary in ("4242", BIRTH, f"'{PWD}'", f"'{value or BIRTH}'"))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"4242424242424242"', '{"number": 4242424242424242}', '{"pan": "4242424242424242"}', "{" * 9999, b"\xff4242"],
)
def test_json_that_is_no_card_is_refused_without_an_echo(text):
    with pytest.raises(RuleError) as caught:
        Card.from_json(text)
    assert "4242" not in shown(caught.value)
    assert "pan" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["number", "expiry", "birth", "pwd_2digit"])
def test_a_number_instead_of_text_is_refused_like_any_wrong_value(name):
    with pytest.raises(RuleError, match="is not text") as caught:
        Card(**{"number": NUMBER, "expiry": EXPIRY, name: 4242})
    assert "4242" not in shown(caught.value)


def test_from_json_makes_the_same_card():
    text = json.dumps({"number": NUMBER, "expiry": EXPIRY, "birth": BIRTH, "pwd_2digit": PWD})
    assert Card.from_json(text).revealed() == card().revealed()


def test_nothing_shows_a_card():
    one = card()
    for seen in (
        repr(one),
        str(one),
        f"{one}",
        f"{one:>30}",
        f"{one!r}",
        repr([one]),
        repr({"card": one}),
        str(hash(one)),
    ):
        assert not any(canary in seen for canary in CANARIES if canary != "73"), seen
    assert not hasattr(one, "__dict__")
    with pytest.raises(TypeError):
        vars(one)
    with pytest.raises(TypeError):
        json.dumps(one)


@pytest.mark.parametrize(
    "steal",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda one: one.__getstate__(),
        lambda one: one.__reduce_ex__(2),
        lambda one: one.__reduce__(),
    ],
)
def test_a_card_is_not_copied(steal):
    with pytest.raises(TypeError):
        steal(card())


def test_cards_are_compared_by_identity_so_equality_answers_no_guesses():
    assert card() != card()
