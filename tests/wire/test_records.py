"""Records of the PG become evidence exactly or not at all; what does not matter never stands in the way."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.evidence import Cancellation, PaymentFact, PaymentStatus
from billing.gateway import wire
from billing.gateway.declines import DeclineTable
from tests.wire.scripted import record

TABLE = DeclineTable()


def read(**changes: object) -> PaymentFact:
    return wire.payment(wire.envelope(json.dumps({"code": 0, "response": record(**changes)}).encode()).response, TABLE)


@pytest.mark.parametrize("amount", [9900, 9900.0, "9900", "9900.0", "9900.00"])
def test_an_amount_is_exact_however_it_is_written(amount):
    assert read(amount=amount).amount == 9900


@pytest.mark.parametrize("amount", [9900.1, "9900.5", True, [], {}, "", "9,900", "NaN", "Infinity", 1e300, -1, 10**15])
def test_an_amount_that_is_none_is_refused(amount):
    with pytest.raises(wire.Unreadable, match="amount"):
        read(amount=amount)


@pytest.mark.parametrize(("amount", "minor"), [(9.99, 999), ("10", 1000), (0.07, 7), (1234567.89, 123456789)])
def test_other_currencies_count_in_their_own_minor_units(amount, minor):
    assert read(amount=amount, currency="usd").amount == minor


@pytest.mark.parametrize(
    ("said", "at"),
    [
        (1_700_000_005, datetime(2023, 11, 14, 22, 13, 25, tzinfo=UTC)),
        (0, None),
        (None, None),
        ("0", None),
        (-1, None),
        ("nonsense", None),
        (1_700_000_005_000_000, None),
        (True, None),
    ],
)
def test_a_moment_of_zero_is_no_moment(said, at):
    assert read(paid_at=said).paid_at == at


@pytest.mark.parametrize("name", ["card_name", "pg_tid", "receipt_url", "customer_uid", "fail_reason", "custom_data", "paid_at"])
@pytest.mark.parametrize("junk", [None, "", [], {}, True, 1.5])
def test_junk_in_a_field_that_does_not_decide_never_costs_the_record(name, junk):
    assert read(**{name: junk}).amount == 9900


def test_text_that_no_database_takes_is_cleaned():
    body = json.dumps({"code": 0, "response": record(card_name="카\x00드", custom_data="\ud83d")}).encode()
    fact = wire.payment(wire.envelope(body).response, TABLE)
    assert fact.card_name == "카드"
    assert fact.custom_data == "?"


def test_custom_data_that_comes_back_as_an_object_is_kept_as_json():
    assert read(custom_data={"invoice": "1"}).custom_data == '{"invoice": "1"}'


def test_numbers_of_digits_alone_stay_text():
    assert read(merchant_uid=20260001).merchant_uid == "20260001"


def test_only_a_failed_record_is_a_decline():
    reason = {"fail_reason": "[120026]도난, 분실카드"}
    assert read(**reason).decline_class is None
    assert read(status="failed", **reason).fail_code == "120026"


def test_an_unmasked_card_number_is_not_let_in():
    masked = {"customer_uid": "cu1", "card_number": "4242********4242"}
    assert wire.key(masked).card_number == "4242********4242"
    assert wire.key({**masked, "card_number": "4242-4242-4242-4242"}).card_number == ""


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(record(), ANY))
JSON = st.recursive(ANY, lambda deeper: st.lists(deeper, max_size=3) | st.lists(FIELDS, max_size=2), max_leaves=8)


@given(JSON | FIELDS)
def test_whatever_json_comes_it_is_read_or_unreadable(found):
    readings = (wire.key, wire.keys, wire.channels, wire.page, wire.prepared_amount)
    for reading in (lambda any_json: wire.payments(any_json, TABLE), *readings):
        with suppress(wire.Unreadable):
            reading(found)


@given(FIELDS)
def test_a_record_with_anything_in_any_field_is_read_or_unreadable(changes):
    with suppress(wire.Unreadable):
        fact = wire.payment(record(**changes), TABLE)
        assert fact.amount >= 0
        assert isinstance(fact.status, PaymentStatus)


@given(st.binary(max_size=60))
def test_whatever_bytes_come_the_envelope_is_read_or_unreadable(body):
    with suppress(wire.Unreadable):
        wire.envelope(body)


def test_the_history_of_refunds_is_read_and_damage_in_it_costs_no_payment():
    whole = {"amount": 3000, "reason": "[rf_1] 반품", "cancellation_id": "c-1", "cancelled_at": 1_700_000_009, "pg_tid": "t"}
    bare = {"amount": "1000"}
    fact = read(status="cancelled", cancel_amount=4000, cancel_history=[whole, bare, {"amount": None}, None, 7])
    assert fact.cancel_history == (
        Cancellation(3000, "[rf_1] 반품", "c-1", datetime.fromtimestamp(1_700_000_009, UTC)),
        Cancellation(1000),
    )


@pytest.mark.parametrize("history", [None, [], {}, "no", 7])
def test_a_record_without_a_history_has_none(history):
    assert read(cancel_history=history).cancel_history == ()
