"""Charges of the sandbox: what is final, what is refused, and how each magic card behaves."""

import json
from pathlib import Path

import pytest

from billing.sandbox import MAGIC_CARDS, Channel, ConnectionLost, SandboxConfig
from tests.contract.sandbox_merchant import NOON, OK_CARD, merchant

USED = "이미 주문이 이루어진 건입니다. (동일한 merchant_uid로 결제 또는 취소된 기록이 있습니다)"
DOCUMENTED = """
    imp_uid merchant_uid pay_method channel pg_provider emb_pg_provider pg_tid pg_id sandbox escrow apply_num
    bank_code bank_name card_code card_name card_issuer_code card_issuer_name card_publisher_code
    card_publisher_name card_quota card_number card_type vbank_code vbank_name vbank_num vbank_holder vbank_date
    vbank_issued_at name amount cancel_amount currency buyer_name buyer_email buyer_tel buyer_addr buyer_postcode
    custom_data user_agent status started_at paid_at failed_at cancelled_at fail_reason cancel_reason receipt_url
    cancel_history cancel_receipt_urls deposit_history cash_receipt_issued customer_uid customer_uid_usage promotion
"""


@pytest.fixture
def shop():
    made = merchant()
    made.issue()
    return made


def test_an_approved_charge_carries_every_documented_field(shop):
    answer = shop.again(buyer_name="김미나", custom_data='{"invoice": 7}')
    payment = answer.response

    assert (answer.status, answer.code, answer.message) == (200, 0, None)
    assert set(payment) == set(DOCUMENTED.split())
    assert payment["status"] == "paid"
    assert (payment["amount"], payment["cancel_amount"], payment["currency"]) == (9900, 0, "KRW")
    assert (payment["paid_at"], payment["failed_at"], payment["fail_reason"]) == (NOON, 0, None)
    assert (payment["customer_uid"], payment["customer_uid_usage"]) == ("cu_1", "payment")
    assert (payment["channel"], payment["sandbox"]) == ("api", True)
    assert (payment["buyer_name"], payment["custom_data"]) == ("김미나", '{"invoice": 7}')
    assert len(payment["imp_uid"]) <= 32


def test_amounts_stay_whole_numbers_on_the_wire(shop):
    answer = shop.again(amount="9900")

    assert b'"amount": 9900,' in answer.body


def test_omitted_buyer_fields_are_not_filled_from_the_key(shop):
    shop.issue("cu_2", customer_name="김미나")

    assert shop.again(customer_uid="cu_2").response["buyer_name"] is None


@pytest.mark.parametrize("card", ["balance", "daily_limit", "lost", "expired", "maintenance", "call_issuer"])
def test_a_decline_is_http_200_and_code_0_with_status_failed(shop, card):
    magic = MAGIC_CARDS[card]
    shop.issue("bad", card_number=magic.number)
    answer = shop.again(customer_uid="bad")

    assert (answer.status, answer.code) == (200, 0)
    assert answer.response["status"] == "failed"
    assert answer.response["fail_reason"].startswith(f"[{magic.code}]")
    assert (answer.response["paid_at"], answer.response["failed_at"]) == (0, NOON)


def test_the_short_of_money_card_reads_as_documented(shop):
    shop.issue("bad", card_number=MAGIC_CARDS["balance"].number)

    assert shop.again(customer_uid="bad").response["fail_reason"] == "[120054]잔액부족"


def test_a_recovering_card_declines_the_second_and_fourth_of_every_five(shop):
    shop.issue("bad", card_number=MAGIC_CARDS["recovers"].number)
    statuses = [shop.again(f"o{n}", customer_uid="bad").response["status"] for n in range(10)]

    assert statuses == ["paid", "failed", "paid", "failed", "paid"] * 2


def test_a_deaf_card_is_charged_but_every_fourth_answer_is_lost(shop):
    shop.issue("bad", card_number=MAGIC_CARDS["deaf"].number)
    for number in range(3):
        shop.again(f"o{number}", customer_uid="bad")
    with pytest.raises(ConnectionLost):
        shop.again("o3", customer_uid="bad")

    assert shop.records("o3")[0]["status"] == "paid"


def test_every_card_expires_when_its_last_month_has_passed(shop):
    shop.issue("bad", card_number=MAGIC_CARDS["expires"].number, expiry="2027-01")  # noon is 15 January 2027
    assert shop.again("o1", customer_uid="bad").response["status"] == "paid"
    shop.clock.move(17 * 86_400)

    shop.log_in()
    assert shop.again("o2", customer_uid="bad").response["fail_reason"] == "[120004]유효기간 만료(기간오류)"


def test_a_late_card_answers_failed_and_turns_paid(shop):
    shop.issue("bad", card_number=MAGIC_CARDS["late"].number)
    answer = shop.again(customer_uid="bad").response
    assert answer["status"] == "failed"
    shop.clock.move(60)

    turned = shop.get("/payments?merchant_uid[]=order_1").response[0]
    assert (turned["imp_uid"], turned["status"], turned["paid_at"]) == (answer["imp_uid"], "paid", NOON + 60)
    assert shop.sandbox.webhooks[-1].facts["status"] == "paid"


def test_magic_codes_and_words_are_the_pgs(shop):
    for name, magic in MAGIC_CARDS.items():
        assert (magic.code is None) == (name in ("approves", "deaf"))
        assert magic.what
    assert len({magic.number for magic in MAGIC_CARDS.values()}) == len(MAGIC_CARDS)


def test_an_unknown_key_is_refused_without_a_record(shop):
    answer = shop.again(customer_uid="nobody")

    assert (answer.status, answer.code, answer.response) == (200, 1, None)
    assert answer.message == "등록되지 않은 구매자입니다."
    assert shop.records() == []


@pytest.mark.parametrize("name", ["customer_uid", "merchant_uid", "amount", "name"])
def test_a_missing_field_is_refused_by_name(shop, name):
    given = {"customer_uid": "cu_1", "merchant_uid": "o", "amount": 100, "name": "n"}
    del given[name]

    assert shop.post("/subscribe/payments/again", **given).message == f'["{name}"] 파라메터는 필수입니다.'


@pytest.mark.parametrize(
    "fields",
    [
        {"merchant_uid": "m" * 41},
        {"name": "n" * 41},
        {"buyer_name": "n" * 17},
        {"buyer_postcode": "1" * 9},
        {"customer_uid": "c" * 81},
        {"amount": 0},
        {"amount": -1},
        {"amount": "many"},
        {"amount": {"total": 9900}},
        {"amount": True},
        {"merchant_uid": ["a"]},
    ],
)
def test_what_is_too_long_or_no_number_is_refused_without_a_record(shop, fields):
    answer = shop.post(
        "/subscribe/payments/again",
        **{"customer_uid": "cu_1", "merchant_uid": "o", "amount": 100, "name": "n", **fields},
    )

    assert (answer.status, answer.code, answer.response) == (200, 1, None)
    assert shop.sandbox.ledger()["payments"] == []


def test_too_small_amounts_and_instalments_are_declined_by_the_pg(shop):
    assert shop.again(amount=99).response["fail_reason"].startswith("[550690]")
    assert shop.again(card_quota=3).response["fail_reason"].startswith("[120006]")
    assert shop.again(amount=50_000, card_quota=3).response["status"] == "paid"


def test_by_default_a_paid_order_number_is_charged_again_and_the_ledger_says_so(shop):
    shop.again()
    shop.again()

    (double,) = shop.sandbox.ledger()["double_charged"]
    assert (double["merchant_uid"], double["kept"], len(double["imp_uids"])) == ("order_1", 19_800, 2)


def test_a_friendly_sandbox_refuses_a_paid_and_a_cancelled_order_number():
    shop = merchant(config=SandboxConfig.friendly())
    shop.issue()
    paid = shop.again().response
    assert (shop.again().code, shop.again().message) == (1, USED)

    shop.post("/payments/cancel", imp_uid=paid["imp_uid"])
    assert shop.again().message == USED


def test_a_failed_order_number_may_be_charged_unless_configured(shop):
    shop.issue("bad", card_number=MAGIC_CARDS["balance"].number)
    shop.again(customer_uid="bad")
    assert shop.again().response["status"] == "paid"

    strict = merchant(config=SandboxConfig(failed_uid_reusable=False))
    strict.issue("bad", card_number=MAGIC_CARDS["balance"].number)
    strict.again(customer_uid="bad")
    assert strict.again(customer_uid="bad").message == USED


def test_order_numbers_that_differ_in_case_are_one_unless_friendly(shop):
    shop.again("ORDER_1")
    assert shop.get("/payments/find/order_1").response["merchant_uid"] == "ORDER_1"

    friendly = merchant(config=SandboxConfig.friendly())
    friendly.issue()
    friendly.again("ORDER_1")
    assert friendly.get("/payments/find/order_1").status == 404


def test_onetime_charges_and_keeps_nothing(shop):
    answer = shop.post("/subscribe/payments/onetime", merchant_uid="one", amount=500, card_number=OK_CARD, expiry="2030-12")

    assert (answer.response["status"], answer.response["customer_uid_usage"]) == ("paid", None)
    assert len(shop.sandbox.ledger()["billing_keys"]) == 1


@pytest.mark.parametrize(("card", "keeps"), [("approves", True), ("balance", False)])
def test_onetime_keeps_the_card_under_a_customer_uid_when_it_was_paid(shop, card, keeps):
    shop.post(
        "/subscribe/payments/onetime",
        merchant_uid="one",
        amount=500,
        card_number=MAGIC_CARDS[card].number,
        expiry="2030-12",
        customer_uid="kept",
        buyer_name="김미나",
    )
    answer = shop.get("/subscribe/customers/kept")

    assert (answer.code == 0) is keeps
    if keeps:
        assert answer.response["customer_name"] == "김미나"


def test_onetime_with_a_refused_card_is_code_minus_one(shop):
    answer = shop.post("/subscribe/payments/onetime", merchant_uid="one", amount=500, card_number="12", expiry="2030-12")

    assert (answer.code, answer.message) == (-1, "카드정보 인증에 실패하였습니다. [120014]카드번호 오류")


def test_a_key_deleted_while_its_charge_runs_is_declined_as_gone():
    shop = merchant(config=SandboxConfig(approval_seconds=5))
    shop.issue()
    shop.sandbox._sleep = lambda _: shop.call("DELETE", "/subscribe/customers/cu_1")

    assert shop.again().response["fail_reason"] == "[550997]조회되는 빌키 없음"


def test_a_live_channel_marks_its_records_live():
    shop = merchant(config=SandboxConfig(sandbox=False))
    shop.issue()

    assert shop.again().response["sandbox"] is False


def test_card_data_is_stored_nowhere(tmp_path: Path):
    path = tmp_path / "sandbox.db"
    shop = merchant(path=str(path))
    shop.issue(birth="731231", pwd_2digit="97")
    shop.issue("bad", card_number="5105-1051-0510-5100")
    shop.post("/subscribe/payments/onetime", merchant_uid="m", amount=500, card_number="371449635398431", expiry="2030-12")
    item = {"merchant_uid": "s", "schedule_at": NOON + 9, "amount": 500, "card_number": "4242424242424242"}
    assert shop.post("/subscribe/payments/schedule", customer_uid="cu_1", schedules=[item]).code == 0
    shop.post("/_sandbox/faults", name="decline", card="4242-4242-4242-4242")
    told = json.dumps(shop.sandbox.ledger()) + json.dumps(shop.sandbox.faults())
    shop.sandbox.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())

    for secret in ("4242424242424242", "4242-4242-4242-4242", "5105105105105100", "371449635398431", "731231"):
        assert secret not in told
        assert secret.encode() not in stored


def test_a_configuration_without_a_billing_channel_is_refused():
    with pytest.raises(ValueError, match="at least one must bill"):
        SandboxConfig(channels=(Channel("html5_inicis", "INIpayTest", "k", "n", bills=False),))
