"""What counts as a notice, and how often anything may be asked. Ids that pass here stand in URLs later."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.allowance import Allowance
from billing.domain.attempt import is_number_of, merchant_uid, merchant_uid_stem
from billing.domain.notice import BODY_BYTES_MAX, Notice, fields_of, media_type, next_look
from billing.domain.patience import Patience
from billing.errors import RuleError

GOOD = {"imp_uid": "imp_448280090638", "merchant_uid": "gd7xqp", "status": "paid"}
FORM = "application/x-www-form-urlencoded"


def test_json_and_form_say_the_same() -> None:
    as_json, as_form = json.dumps(GOOD).encode(), "&".join(f"{name}={value}" for name, value in GOOD.items()).encode()
    assert Notice.of(fields_of(as_json, "application/json; charset=UTF-8")) == Notice(**GOOD)
    assert Notice.of(fields_of(as_form, FORM)) == Notice(**GOOD)
    assert Notice.of(fields_of(as_json)) == Notice.of(fields_of(as_form)), "without a content type the body tells"


def test_unknown_fields_are_ignored_whatever_they_hold() -> None:
    more = {**GOOD, "event": "Inicis.Escrow.Changed", "amount": 1, "deep": {"list": [1, {"more": None}]}, "cancellation_id": None}
    assert Notice.of(fields_of(json.dumps(more).encode())) == Notice(**GOOD)


@pytest.mark.parametrize("field", ["imp_uid", "merchant_uid"])
@pytest.mark.parametrize(
    "value",
    [
        "imp_1/../../users/getToken", "imp_1%2e%2e", "..", "imp_1\r\nHost: x", "imp_1\n", "imp_1?x=1", "imp_1#", "imp 1", "",
        "imp_1\x00", "imp_١٢٣", "ｉmp_1", "imp_é", "a" * 41, None, 7, True, ["imp_1"], {"a": "b"}, "imp_1|gd", "imp_1&x=1",
    ],
)  # fmt: skip
def test_an_id_that_could_become_anything_but_a_path_segment_is_refused_and_never_repeated(field: str, value: object) -> None:
    with pytest.raises(RuleError) as refused:
        Notice.of({**GOOD, field: value})
    assert refused.value.field == field
    if isinstance(value, str) and len(value) > 2:
        assert value not in str(refused.value)


def test_the_pgs_lengths_are_the_limits() -> None:
    assert Notice.of({**GOOD, "imp_uid": "a" * 32, "merchant_uid": "b" * 40, "status": "c" * 20, "cancellation_id": "d" * 64})
    for name, length in {"imp_uid": 33, "merchant_uid": 41, "status": 21, "cancellation_id": 65}.items():
        with pytest.raises(RuleError, match=name):
            Notice.of({**GOOD, name: "a" * length})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"x"', b'{"imp_uid":', b'{"imp_uid":"a","imp_uid":"b"}', b'{"x":{"a":1,"a":2}}', b"\xff{", b"{\x00",
        b'{"x":' + b"[" * 8 + b"]" * 8 + b"}", b'{"x":' + b"[" * 16_000, b'{"x":' + b"9" * 5_000 + b"}",
    ],
)  # fmt: skip
def test_broken_deep_or_ambiguous_json_is_refused(body: bytes) -> None:
    with pytest.raises(RuleError):
        fields_of(body, "application/json")


@pytest.mark.parametrize(
    "body", [b"imp_uid", b"a=1&a=2", b"imp_uid=%ff", b"\xff=1", "&".join(f"a{n}=1" for n in range(65)).encode()]
)
def test_broken_or_ambiguous_forms_are_refused(body: bytes) -> None:
    with pytest.raises(RuleError):
        fields_of(body, FORM)


def test_a_body_may_be_sixteen_kibibytes_and_not_a_byte_more() -> None:
    padded = json.dumps(GOOD).encode().ljust(BODY_BYTES_MAX)
    assert fields_of(padded)
    with pytest.raises(RuleError, match="body"):
        fields_of(padded + b" ")


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/jsonp", "multipart/form-data; boundary=x", "application/json; charset=euc-kr"]
)
def test_nothing_else_is_a_content_type(content_type: str) -> None:
    with pytest.raises(RuleError, match="content-type"):
        media_type(content_type)


@given(st.binary(max_size=300), st.sampled_from(["application/json", FORM, None]))
def test_no_body_breaks_the_parser(body: bytes, content_type: str | None) -> None:
    with suppress(RuleError):
        Notice.of(fields_of(body, content_type))


@given(st.text(alphabet="ab|_", max_size=6), st.text(alphabet="ab|_", max_size=6))
def test_two_notices_never_share_a_key(one: str, other: str) -> None:
    keys = set()
    wanted = [(one, other), (other, one)]
    for imp_uid, uid in wanted:
        try:
            keys.add(Notice.of({**GOOD, "imp_uid": imp_uid, "merchant_uid": uid}).dedupe_key)
        except RuleError:
            return
    assert len(keys) == len(set(wanted))


def test_an_order_number_is_ours_by_prefix_and_shape() -> None:
    uid = merchant_uid(merchant_uid_stem("gd7x", "ledger", "subscription", "renewal", 3), 1)
    assert is_number_of("gd7x", uid)
    assert not is_number_of("gd", uid)
    assert not is_number_of("gd7y", uid)
    for other in ("order-1", "gd7x", uid[:-1], uid + "1", uid.upper(), uid.replace("a01", "b01")):
        assert not is_number_of("gd7x", other)


def test_looks_grow_rarer_and_end() -> None:
    patience = Patience()
    known = [next_look(looks, is_known=True, patience=patience) for looks in range(1, 7)]
    assert [one and one.total_seconds() for one in known] == [5, 15, 40, 120, 420, None]
    strange = [next_look(looks, is_known=False, patience=patience) for looks in range(1, 4)]
    assert strange == [timedelta(minutes=10), timedelta(minutes=10), None]


def test_what_cannot_be_asked_waits_as_long_again_as_it_waited() -> None:
    patience = Patience()
    waits = [patience.after_postponed(timedelta(seconds=age)).total_seconds() for age in (0, 5, 10, 300, 86_400)]
    assert waits == [5, 5, 10, 300, 600]


def test_an_allowance_is_spent_at_once_or_evenly_and_never_saved_up() -> None:
    allowance = Allowance(6, 600)
    assert [allowance.take(100) for _ in range(7)] == [True] * 6 + [False]
    assert allowance.wait(100) == pytest.approx(100)
    assert not allowance.take(199)
    assert allowance.take(200)
    assert [allowance.take(1e9) for _ in range(7)] == [True] * 6 + [False]
