"""What a window is opened with: which wishes a channel takes, and what every accepted one looks like on the wire."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from billing.domain.channel import MODULES, PAY_METHODS, ChannelId
from billing.domain.options import CARD_CODES, CardDetail, Direct, Product, Service
from billing.domain.window import Buyer, Urls, WindowOptions, pay_params, register_params
from billing.errors import RuleError

INICIS = ChannelId("html5_inicis", "MOIpay")
MINA = Buyer("민아", "010-1234-5678", "mina@example.com")
URLS = Urls("https://shop.example/payments/complete/mobile")


def register(channel: ChannelId = INICIS, options: dict[str, object] | None = None, **given: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "merchant_uid": "gdissue1",
        "customer_uid": "gdcard1",
        "name": "카드 등록",
        "buyer": MINA,
        "urls": URLS,
    }
    return register_params(channel=channel, options=WindowOptions.of(options or {}), **wanted | given)


def pay(channel: ChannelId = INICIS, options: dict[str, object] | None = None, **given: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {"merchant_uid": "gdpay1", "name": "Pro 9월", "amount": 9_900, "buyer": MINA, "urls": URLS}
    return pay_params(channel=channel, options=WindowOptions.of(options or {}), **wanted | given)


def refusal(call: Any, *args: Any, **given: Any) -> RuleError:
    with pytest.raises(RuleError) as refused:
        call(*args, **given)
    assert refused.value.cure, refused.value
    return refused.value


def test_a_card_is_registered_under_a_customer_uid_and_an_amount_of_nothing() -> None:
    assert register() == {
        "pg": "html5_inicis.MOIpay",
        "pay_method": "card",
        "merchant_uid": "gdissue1",
        "customer_uid": "gdcard1",
        "name": "카드 등록",
        "amount": 0,
        "m_redirect_url": "https://shop.example/payments/complete/mobile",
        "buyer_name": "민아",
        "buyer_tel": "010-1234-5678",
        "buyer_email": "mina@example.com",
    }


def test_a_payment_carries_its_tax_and_never_a_customer_uid() -> None:
    params = pay(channel=ChannelId(key="channel-key-abc"), tax_free=1_000, vat_amount=809, custom_data={"ledger": "L"})
    assert "customer_uid" not in params, "with one, the window would issue a key"
    assert {name: params[name] for name in ("channelKey", "amount", "tax_free", "vat_amount", "custom_data")} == {
        "channelKey": "channel-key-abc", "amount": 9_900, "tax_free": 1_000, "vat_amount": 809, "custom_data": {"ledger": "L"},
    }  # fmt: skip
    assert "tax_free" not in pay()


EVERYTHING: dict[str, Any] = {
    "pay_method": "card",
    "escrow": True,
    "products": [{"id": "1", "name": "바지", "code": "B-1", "unitPrice": 30_000, "quantity": 2}],
    "custom_data": {"order": 7},
    "language": "en",
    "vbank_due": "2027-01-31 23:59:59",
    "app_scheme": "myshop://",
    "biz_num": "1234567890",
    "customer_id": "user-1",
    "useFreeInterestFromMall": True,
    "display": {"card_quota": [2, 3, 6]},
    "card": {
        "direct": {"code": "367", "quota": 3},
        "detail": [{"card_code": "*", "enabled": False}, {"card_code": "366", "enabled": True, "max_month": 5}],
    },
    "period": {"from": "20270101", "to": "20270131"},
    "bypass": {"tosspayments": {"useInternationalCardOnly": True}},
    "buyer_name": "Mina Kim",
    "buyer_addr": "서울특별시 성동구",
    "buyer_postcode": "04783",
}


def test_every_documented_parameter_reaches_the_window_as_it_was_written() -> None:
    urls = Urls("https://shop.example/back", ("https://shop.example/a", "https://shop.example/b"), "https://shop.example/confirm")
    params = pay(ChannelId("tosspayments", "M"), EVERYTHING, amount=60_000, urls=urls)
    assert {name: params[name] for name in EVERYTHING} == EVERYTHING
    assert (params["notice_url"], params["confirm_url"]) == (list(urls.notice), urls.confirm)
    one = pay(urls=urls._replace(notice=urls.notice[:1]))
    assert one["notice_url"] == "https://shop.example/a"


def test_options_are_kept_as_json_and_read_again_the_same() -> None:
    options = WindowOptions.of(EVERYTHING)
    assert WindowOptions.of(json.loads(json.dumps(options.fields))) == options
    assert WindowOptions.of({}).fields == {}
    assert WindowOptions.of({"display": {"card_quota": []}, "digital": False}).fields == {
        "display": {"card_quota": []},
        "digital": False,
    }
    assert WindowOptions.of(dict.fromkeys(EVERYTHING)) == WindowOptions(), "null is what was left out"


def test_a_host_may_write_them_in_python_too() -> None:
    options = WindowOptions(
        card_quota=(), direct=Direct("367"), card_detail=(CardDetail("*", enabled=False),), escrow=True,
        products=(Product(name="바지"),), period=Service(date(2027, 1, 1), date(2027, 1, 31)),
    )  # fmt: skip
    assert options.fields == {
        "escrow": True,
        "products": [{"name": "바지"}],
        "display": {"card_quota": []},
        "card": {"direct": {"code": "367", "quota": 0}, "detail": [{"card_code": "*", "enabled": False}]},
        "period": {"from": "20270101", "to": "20270131"},
    }


# --- the buyer is decoration ---------------------------------------------------------------------


def test_a_long_name_is_cut_and_what_else_does_not_fit_stays_at_home() -> None:
    long = Buyer("가" * 17, "0" * 17, "m" * 60 + "@b.kr", "서" * 129, "123456789")
    params = pay(ChannelId("kcp", "S"), buyer=long)
    assert params["buyer_name"] == "가" * 16
    assert not {"buyer_tel", "buyer_email", "buyer_addr", "buyer_postcode"} & set(params)
    fits = Buyer("가" * 16, "0" * 16, "m" * 59 + "@b.kr", "서" * 128, "12345678")
    assert {name: value for name, value in pay(buyer=fits).items() if name.startswith("buyer_")} == fits.fields


def test_what_a_module_must_know_of_the_buyer_is_asked_for_before_its_window_is_opened() -> None:
    nobody = Buyer()
    assert refusal(pay, buyer=nobody).field == "buyer_tel"
    assert refusal(pay, buyer=MINA._replace(tel="0" * 17)).field == "buyer_tel", "one that was left out is missing too"
    assert "buyer_tel" not in register(buyer=nobody), "a window for billing keys opens without"
    assert pay(options={"buyer_tel": "01012345678"}, buyer=nobody)["buyer_tel"] == "01012345678"
    assert refusal(pay, ChannelId("welcome", "M"), buyer=MINA._replace(name="")).field == "buyer_name"


# --- instalments ---------------------------------------------------------------------------------

IN_PARTS = [
    ("display.card_quota", {"display": {"card_quota": [0, 2]}}),
    ("card.direct.quota", {"card": {"direct": {"code": "367", "quota": 2}}}),
    ("card.detail.max_month", {"card": {"detail": [{"card_code": "366", "max_month": 2}]}}),
    ("card.interest_free", {"card": {"interest_free": 2}}),
]


@pytest.mark.parametrize(("field", "options"), IN_PARTS)
def test_instalments_begin_at_50_000_won(field: str, options: dict[str, object]) -> None:
    error = refusal(pay, options=options, amount=49_999)
    assert (error.field, "50,000 won" in error.problem) == (f"options.{field}", True)
    assert pay(options=options, amount=50_000)["amount"] == 50_000
    assert refusal(pay, options=options, amount=5_000_000, currency="USD").field == f"options.{field}"


@pytest.mark.parametrize(
    "options", [{"display": {"card_quota": []}}, {"display": {"card_quota": [0]}}, {"card": {"direct": {"code": "367"}}}]
)
def test_paying_at_once_is_no_instalment(options: dict[str, object]) -> None:
    assert pay(options=options, amount=100)["amount"] == 100


@pytest.mark.parametrize("field", ["escrow", "digital", "vbank_due", "biz_num", "useFreeInterestFromMall"])
def test_registering_takes_nothing_that_is_about_paying(field: str) -> None:
    value: object = {"vbank_due": "20270131", "biz_num": "1234567890"}.get(field, True)
    assert refusal(register, options={field: value}).field == f"options.{field}"


@pytest.mark.parametrize("options", [one for _, one in IN_PARTS] + [{"display": {"card_quota": []}}])
def test_registering_takes_no_instalments(options: dict[str, object]) -> None:
    assert "registering a card pays nothing" in refusal(register, options=options).problem


# --- registering must not take money -------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "options"),
    [
        ("danal.M", {}), ("mobilians.M", {}), ("paymentwall.M", {}), ("smilepay.M", {}),
        ("welcome.M", {"pay_method": "phone", "customer_id": "u"}),
    ],
)  # fmt: skip
def test_where_issuing_a_key_takes_money_no_card_is_registered(channel: str, options: dict[str, object]) -> None:
    assert refusal(register, ChannelId.parse(channel), options).field == "channel"


@pytest.mark.parametrize("channel", ["kakaopay.M", "danal_tpay.M"])
def test_where_an_amount_above_nothing_would_be_charged_only_nothing_is_shown(channel: str) -> None:
    assert register(ChannelId.parse(channel))["amount"] == 0
    assert refusal(register, ChannelId.parse(channel), amount=9_900).field == "amount"
    assert register(amount=9_900)["amount"] == 9_900, "INICIS only shows it"


def test_behind_a_channel_key_nobody_sees_whether_an_amount_would_be_charged_so_only_nothing_is_shown() -> None:
    keyed = ChannelId(key="channel-key-abc")
    assert register(keyed)["channelKey"] == "channel-key-abc"
    assert refusal(register, keyed, amount=1).field == "amount"


def test_a_key_is_registered_only_in_the_ways_its_module_knows() -> None:
    assert refusal(register, options={"pay_method": "phone"}).problem == "phone cannot be registered with html5_inicis"
    assert refusal(register, ChannelId("inicis", "M")).field == "channel"
    assert register(ChannelId("tosspay_v2", "M"), {"customer_id": "u" * 50})["pay_method"] == "tosspay"
    assert refusal(register, ChannelId("tosspay_v2", "M"), {"customer_id": "u" * 51}).field == "options.customer_id"
    assert refusal(register, ChannelId("smartro_v2", "M")).field == "options.customer_id"


# --- what a way to pay wants ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "options", "field"),
    [
        ("html5_inicis.M", {"pay_method": "paypal"}, "options.pay_method"),
        ("payco.M", {"pay_method": "phone"}, "options.pay_method"),
        ("kcp_billing.M", {}, "channel"),
        ("inicis_unified.M", {}, "channel"),
        ("html5_inicis.M", {"pay_method": "phone"}, "options.digital"),
        ("html5_inicis.M", {"digital": True}, "options.digital"),
        ("nice_v2.M", {"pay_method": "vbank"}, "options.vbank_due"),
        ("smartro_v2.M", {"pay_method": "vbank"}, "options.vbank_due"),
        ("danal_tpay.M", {"pay_method": "vbank"}, "options.biz_num"),
        ("kcp.M", {"useFreeInterestFromMall": True}, "options.useFreeInterestFromMall"),
        ("kcp.M", {"card": {"detail": [{"card_code": "366", "max_month": 3}]}}, "options.useFreeInterestFromMall"),
        ("nice_v2.M", {"card": {"interest_free": 3}}, "options.card.interest_free"),
        ("html5_inicis.M", {"escrow": True, "products": [{"id": "1"}]}, "options.products"),
    ],
)
def test_a_wish_the_channel_cannot_grant_is_refused_by_name(channel: str, options: dict[str, object], field: str) -> None:
    assert refusal(pay, ChannelId.parse(channel), options, amount=60_000).field == field


def test_wishes_the_channel_grants() -> None:
    assert pay(options={"pay_method": "phone", "digital": True})["digital"] is True
    assert pay(ChannelId("daou", "M"), {"digital": True})["digital"] is True, "daou's contract says so for every way to pay"
    assert pay(ChannelId("settle_acc", "M"))["pay_method"] == "trans"
    assert "pay_method" not in pay(ChannelId("kakaopay", "M")), "the app chooses"
    assert pay(ChannelId("danal_tpay", "M"), {"pay_method": "vbank", "biz_num": "1234567890"})["biz_num"] == "1234567890"
    assert pay(ChannelId("eximbay", "M"), amount=1_420, currency="USD")["amount"] == 14.2


# --- our own facts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"amount": 0}, "amount"), ({"amount": -1}, "amount"), ({"amount": 99.5}, "amount"), ({"amount": "9900"}, "amount"),
        ({"amount": True}, "amount"), ({"tax_free": 9_901}, "tax_free"), ({"vat_amount": 9_901}, "tax_free"),
        ({"currency": "WON"}, "currency"), ({"merchant_uid": "a" * 41}, "merchant_uid"), ({"merchant_uid": ""}, "merchant_uid"),
        ({"merchant_uid": "gd/1"}, "merchant_uid"),
        ({"name": ""}, "name"), ({"name": "가" * 41}, "name"), ({"name": "a\nb"}, "name"),
        ({"urls": Urls("/back")}, "m_redirect_url"), ({"urls": Urls("http://shop.example/back")}, "m_redirect_url"),
        ({"urls": Urls("javascript:alert(1)")}, "m_redirect_url"), ({"urls": Urls("https://u:p@shop.example")}, "m_redirect_url"),
        ({"urls": URLS._replace(notice=("//evil.example",))}, "notice_url"),
        ({"urls": URLS._replace(confirm="ftp://shop.example")}, "confirm_url"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused(given: dict[str, Any], field: str) -> None:
    assert refusal(pay, **given).field == field


def test_addresses_of_this_machine_need_no_tls() -> None:
    for url in ("http://127.0.0.1:8000/back", "http://localhost/back", "http://[::1]:1/back"):
        assert pay(urls=Urls(url))["m_redirect_url"] == url


def test_a_customer_uid_that_the_pg_would_cut_is_refused() -> None:
    assert register(customer_uid="c" * 80)["customer_uid"] == "c" * 80
    assert refusal(register, customer_uid="c" * 81).field == "customer_uid"


def test_the_hosts_custom_data_never_names_another_ledger() -> None:
    params = pay(options={"custom_data": {"ledger": "theirs", "order": 7}}, custom_data={"ledger": "ours"})
    assert params["custom_data"] == {"ledger": "ours", "order": 7}


def test_custom_data_that_we_could_not_read_back_whole_is_refused() -> None:
    assert pay(options={"custom_data": {"n": "a" * 890}})
    assert refusal(pay, options={"custom_data": {"n": "a" * 900}}).field == "options.custom_data"
    assert refusal(pay, options={"custom_data": {"n": "가" * 150}}).field == "options.custom_data", "escaped, each is six"


# --- options that are none -----------------------------------------------------------------------

DEEP: dict[str, Any] = {}
for _ in range(9):
    DEEP = {"in": DEEP}
ENDLESS: dict[str, Any] = {}
ENDLESS["in"] = ENDLESS

NONE: list[tuple[Any, str, str]] = [
    ([], "options", "is not a JSON object"),
    ("card", "options", "is not a JSON object"),
    ({1: 2}, "options", "is not a JSON object"),
    ({"card_quota": [2]}, "options.card_quota", "is not an option"),
    ({"langauge": "ko"}, "options.langauge", "is not an option"),
    ({"x" * 99: 1}, "options.…", "is not an option"),
    ({"display": {"quota": [2]}}, "options.display.quota", "is not an option"),
    ({"card": {"direct": {"kode": "367"}}}, "options.card.direct.kode", "is not an option"),
    ({"card": {"detail": [{"card_kode": "367"}]}}, "options.card.detail.card_kode", "is not an option"),
    ({"amount": 1}, "options.amount", "is not yours to set"),
    ({"merchant_uid": "x"}, "options.merchant_uid", "is not yours to set"),
    ({"customer_uid": "x"}, "options.customer_uid", "is not yours to set"),
    ({"notice_url": "https://evil.example"}, "options.notice_url", "is not yours to set"),
    ({"pay_method": "cash"}, "options.pay_method", "is not one the PG knows"),
    ({"pay_method": 7}, "options.pay_method", "is not a text"),
    ({"pay_method": ["card"]}, "options.pay_method", "is not a text"),
    ({"escrow": "yes"}, "options.escrow", "neither true nor false"),
    ({"digital": 1}, "options.digital", "neither true nor false"),
    ({"language": "jp"}, "options.language", "is not one of the window's"),
    ({"vbank_due": "31.01.2027"}, "options.vbank_due", "is not a day"),
    ({"vbank_due": "2027-02-30"}, "options.vbank_due", "is not a day"),
    ({"vbank_due": "٢٠٢٧٠١٠١"}, "options.vbank_due", "is not a day"),
    ({"app_scheme": "javascript:alert(1)"}, "options.app_scheme", "is not the scheme"),
    ({"app_scheme": "javascript"}, "options.app_scheme", "is not the scheme"),
    ({"app_scheme": "https://"}, "options.app_scheme", "is not the scheme"),
    ({"biz_num": "123-45-67890"}, "options.biz_num", "is not a business number"),
    ({"customer_id": "a" * 81}, "options.customer_id", "is not a text"),
    ({"display": [6]}, "options.display", "is not a JSON object"),
    ({"display": {"card_quota": 6}}, "options.display.card_quota", "is not a list"),
    ({"display": {"card_quota": ["6"]}}, "options.display.card_quota", "is not a whole number"),
    ({"display": {"card_quota": [37]}}, "options.display.card_quota", "is not a whole number"),
    ({"display": {"card_quota": [True]}}, "options.display.card_quota", "is not a whole number"),
    ({"card": {"direct": {"code": "999"}}}, "options.card.direct.code", "is no card company"),
    ({"card": {"direct": {"code": "*"}}}, "options.card.direct.code", "is no card company"),
    ({"card": {"direct": {"code": ["367"]}}}, "options.card.direct.code", "is no card company"),
    ({"card": {"direct": {"quota": 2}}}, "options.card.direct.code", "is no card company"),
    ({"card": {"detail": [{"card_code": "367"}]}}, "options.card.detail", "says nothing"),
    ({"card": {"detail": [{"card_code": "367", "enabled": 1}]}}, "options.card.detail.enabled", "neither true nor false"),
    ({"card": {"detail": [{"card_code": "*", "enabled": True}] * 2}}, "options.card.detail", "twice"),
    ({"card": {"detail": {}}}, "options.card.detail", "is not a list"),
    ({"card": {"interest_free": 1}}, "options.card.interest_free", "is not a whole number"),
    ({"period": {"from": "20270101"}}, "options.period.to", "is not a day"),
    ({"period": {"from": "2027-01-01", "to": "20270131"}}, "options.period.from", "is not a day"),
    ({"period": {"from": "20270201", "to": "20270131"}}, "options.period", "ends before it begins"),
    ({"products": [{"id": "1"}]}, "options.products", "is for escrow payments"),
    ({"escrow": True, "products": [{"quantity": 0}]}, "options.products.quantity", "is not a whole number"),
    ({"escrow": True, "products": [{"id": 1}]}, "options.products.id", "is not a text"),
    ({"escrow": True, "products": [{}] * 101}, "options.products", "is not a list, or too long"),
    ({"custom_data": "text"}, "options.custom_data", "is not a JSON object"),
    ({"custom_data": {"n": float("nan")}}, "options.custom_data", "is not JSON"),
    ({"custom_data": {"n": b"bytes"}}, "options.custom_data", "is not JSON"),
    ({"custom_data": {"n": "\ud800"}}, "options.custom_data", "is not JSON"),
    ({"custom_data": {"n": "\x00"}}, "options.custom_data", "is not a JSON object"),
    ({"custom_data": {"card": "4242-4242-4242-4242"}}, "options.custom_data", "card number"),
    ({"custom_data": ENDLESS}, "options.custom_data", "is not JSON"),
    ({"bypass": DEEP}, "options.bypass", "too deep"),
    ({"bypass": {"n": "a" * 4001}}, "options.bypass", "too long"),
    ({"buyer_name": "4242-4242-4242-4242"}, "options.buyer_name", "card number"),
    ({"buyer_tel": 821012345678}, "options.buyer_tel", "is not a text"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "field", "problem"), NONE)
def test_options_that_are_none(given: Any, field: str, problem: str) -> None:
    error = refusal(WindowOptions.of, given)
    assert error.field == field
    assert problem in error.problem
    assert "4242" not in str(error)


def test_a_near_miss_is_told_what_was_meant() -> None:
    assert refusal(WindowOptions.of, {"langauge": "ko"}).cure == "did you mean language?"
    assert refusal(WindowOptions.of, {"card": {"direct": {"kode": "367"}}}).cure == "did you mean card.direct.code?"
    assert refusal(WindowOptions.of, {"pg": "kcp"}).cure == "assign channels in BILLING_CHANNELS"


# --- the law -------------------------------------------------------------------------------------

# Half of what a stranger types: plausible, and off by a little now and then.
TEXTS = st.text(max_size=20) | st.sampled_from(["20270131", "ko", "myshop://", "1234567890", "민아", "card"])
MONTHS = st.integers(-1, 40)
WORDS = st.text(max_size=5)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
JSON = st.recursive(LEAVES, lambda one: st.lists(one, max_size=3) | st.dictionaries(WORDS, one, max_size=3), max_leaves=9)
CODES = st.sampled_from([*sorted(CARD_CODES), "*", "999"])
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "pay_method": st.sampled_from([*sorted(PAY_METHODS), "cash"]),
        "escrow": st.booleans(),
        "digital": st.booleans(),
        "custom_data": st.dictionaries(WORDS, JSON, max_size=3),
        "bypass": st.dictionaries(WORDS, JSON, max_size=3),
        "language": TEXTS, "vbank_due": TEXTS, "app_scheme": TEXTS, "biz_num": TEXTS, "customer_id": TEXTS,
        "display": st.fixed_dictionaries({"card_quota": st.lists(MONTHS, max_size=3)}),
        "card": st.fixed_dictionaries({}, optional={
            "direct": st.fixed_dictionaries({"code": CODES, "quota": MONTHS}),
            "detail": st.lists(st.fixed_dictionaries({"card_code": CODES, "max_month": MONTHS}), max_size=2),
            "interest_free": MONTHS,
        }),
        "period": st.fixed_dictionaries({"from": TEXTS, "to": TEXTS}),
        "buyer_name": st.text(max_size=40), "buyer_addr": st.text(max_size=150),
    },
)  # fmt: skip
LIMITS = {
    "merchant_uid": 40, "customer_uid": 80, "name": 40, "buyer_name": 16, "buyer_tel": 16, "buyer_email": 64, "buyer_addr": 128,
    "buyer_postcode": 8,
}  # fmt: skip


@settings(max_examples=500)
@given(
    wishes=WISHES,
    channel=st.sampled_from(sorted(MODULES)).map(lambda name: ChannelId(name, "MID")) | st.just(ChannelId(key="channel-key-x")),
    amount=st.integers(-10, 200_000),
    buyer=st.builds(Buyer, *(st.text(max_size=200) for _ in Buyer._fields)),
    registers=st.booleans(),
)
def test_whatever_is_accepted_is_json_with_a_whole_amount_and_no_field_longer_than_the_wire_takes(
    wishes: dict[str, Any], channel: ChannelId, amount: int, buyer: Buyer, registers: bool
) -> None:
    params: dict[str, Any] | None = None
    with suppress(RuleError):
        params = (register if registers else pay)(channel, wishes, amount=amount, buyer=buyer)
    event("accepted" if params else "refused")
    if params is None:
        return
    assert json.loads(json.dumps(params, allow_nan=False)) == params
    assert type(params["amount"]) is int
    assert params["amount"] == amount >= (0 if registers else 1)
    assert ("customer_uid" in params) is registers
    for name, most in LIMITS.items():
        assert len(params.get(name, "")) <= most
