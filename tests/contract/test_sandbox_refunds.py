"""Refunds, virtual accounts and receipts of the sandbox."""

import pytest

from billing.sandbox import Fault, SandboxConfig
from tests.contract.sandbox_merchant import NOON, merchant


@pytest.fixture
def shop():
    made = merchant()
    made.issue()
    made.imp_uid = made.again().response["imp_uid"]
    return made


@pytest.mark.parametrize("amount", [{}, {"amount": 0}, {"amount": 9900}])
def test_a_missing_amount_and_zero_refund_everything(shop, amount):
    shop.clock.move(5)
    payment = shop.post("/payments/cancel", imp_uid=shop.imp_uid, reason="left", **amount).response

    assert (payment["status"], payment["amount"], payment["cancel_amount"]) == ("cancelled", 9900, 9900)
    assert (payment["cancelled_at"], payment["cancel_reason"]) == (NOON + 5, "left")
    (entry,) = payment["cancel_history"]
    assert (entry["amount"], entry["reason"], entry["cancelled_at"]) == (9900, "left", NOON + 5)
    assert entry["cancellation_id"]


def test_a_partial_refund_turns_the_status_though_money_is_kept(shop):
    payment = shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=3000).response

    assert (payment["status"], payment["amount"], payment["cancel_amount"]) == ("cancelled", 9900, 3000)
    assert shop.sandbox.ledger()["totals"]["kept"] == 6900
    assert shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=3000).response["cancel_amount"] == 6000
    assert shop.post("/payments/cancel", imp_uid=shop.imp_uid).response["cancel_amount"] == 9900


def test_the_status_word_of_a_partial_refund_is_a_setting():
    shop = merchant(config=SandboxConfig(partial_cancel_status="paid"))
    shop.issue()
    imp_uid = shop.again().response["imp_uid"]

    assert shop.post("/payments/cancel", imp_uid=imp_uid, amount=1).response["status"] == "paid"
    assert shop.post("/payments/cancel", imp_uid=imp_uid).response["status"] == "cancelled"


def test_a_wrong_checksum_refuses_so_a_repeated_refund_is_harmless(shop):
    first = shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=3000, checksum=9900)
    twin = shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=3000, checksum=9900)

    assert (first.code, twin.code, twin.response) == (0, 1, None)
    assert shop.records()[0]["cancel_amount"] == 3000


def test_what_cannot_be_refunded_is_code_1(shop):
    unknown = shop.post("/payments/cancel", imp_uid="imp_nothing")
    too_much = shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=9901)
    negative = shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=-1)
    nameless = shop.post("/payments/cancel", amount=1)
    shop.post("/payments/cancel", imp_uid=shop.imp_uid)
    twice = shop.post("/payments/cancel", merchant_uid="order_1")

    assert (unknown.status, unknown.code, unknown.message) == (200, 1, "취소할 결제건이 존재하지 않습니다.")
    assert (twice.code, twice.message) == (1, "이미 전액취소된 주문입니다.")
    assert {too_much.code, negative.code, nameless.code} == {1}


def test_a_wrong_imp_uid_fails_though_the_merchant_uid_is_right(shop):
    assert shop.post("/payments/cancel", imp_uid="imp_wrong", merchant_uid="order_1").code == 1
    assert shop.post("/payments/cancel", merchant_uid="order_1").code == 0


def test_by_order_number_the_payment_that_keeps_money_is_refunded(shop):
    shop.post("/payments/cancel", imp_uid=shop.imp_uid)
    shop.again()

    assert shop.post("/payments/cancel", merchant_uid="order_1").code == 0
    assert shop.sandbox.ledger()["totals"]["kept"] == 0


def test_the_sums_of_the_ledger_hold(shop):
    shop.again("order_2", amount=1000)
    shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=900)
    ledger = shop.sandbox.ledger()

    assert ledger["totals"]["charged"] == 10_900
    assert ledger["totals"]["refunded"] == sum(refund["amount"] for refund in ledger["refunds"]) == 900
    assert ledger["totals"]["kept"] == 10_000


def test_a_virtual_account_waits_for_its_deposit():
    shop = merchant()
    account = {"amount": 500, "vbank_code": "04", "vbank_due": NOON + 86_400, "vbank_holder": "구독"}
    opened = shop.post("/vbanks", merchant_uid="v", **account).response
    assert (opened["status"], opened["pay_method"], opened["vbank_name"]) == ("ready", "vbank", "KB국민은행")
    moved = shop.call("PUT", f"/vbanks/{opened['imp_uid']}", {"amount": 600}).response
    assert moved["amount"] == 600

    paid = shop.post("/_sandbox/vbank/deposit", imp_uid=opened["imp_uid"], depositor_name="김미나").response

    assert (paid["status"], paid["deposit_history"][0]["amount"]) == ("paid", 600)
    assert [notice.facts["status"] for notice in shop.sandbox.webhooks] == ["ready", "paid"]
    assert shop.post("/vbanks", merchant_uid="v", **account).status == 400
    assert shop.call("DELETE", f"/vbanks/{opened['imp_uid']}").status == 400
    assert shop.call("DELETE", "/vbanks/imp_nothing").status == 404


def test_a_waiting_account_can_be_closed():
    shop = merchant()
    account = {"amount": 500, "vbank_code": "004", "vbank_due": NOON + 86_400, "vbank_holder": "구독"}
    imp_uid = shop.post("/vbanks", merchant_uid="v", **account).response["imp_uid"]

    assert shop.call("DELETE", f"/vbanks/{imp_uid}").response["status"] == "failed"
    assert shop.sandbox.ledger()["totals"]["kept"] == 0


def test_receipts_are_for_cash_only():
    shop = merchant()
    shop.issue()
    card = shop.again().response["imp_uid"]
    account = {"amount": 1100, "vbank_code": "004", "vbank_due": NOON + 86_400, "vbank_holder": "구독"}
    cash = shop.post("/vbanks", merchant_uid="v", **account).response["imp_uid"]
    shop.post("/_sandbox/vbank/deposit", imp_uid=cash)

    assert shop.post(f"/receipts/{card}", identifier="01012345678").status == 400
    assert shop.get(f"/receipts/{cash}").status == 404
    assert shop.post(f"/receipts/{cash}", identifier="01012345678").response["vat"] == 100
    assert shop.post(f"/receipts/{cash}", identifier="01012345678").status == 400
    assert shop.get(f"/payments/{cash}?include_sandbox=true").response["cash_receipt_issued"] is True
    assert shop.call("DELETE", f"/receipts/{cash}").response["cancelled_at"] == NOON
    assert shop.call("DELETE", f"/receipts/{cash}").status == 400


def test_receipts_of_money_the_pg_never_saw():
    shop = merchant()
    issued = shop.post("/receipts/external/cash-1", identifier="01012345678", name="현장결제", amount=2200)

    assert (issued.response["merchant_uid"], issued.response["amount"]) == ("cash-1", 2200)
    assert shop.get("/receipts/external/cash-1").code == 0
    assert shop.call("DELETE", "/receipts/external/other").status == 404


@pytest.mark.parametrize(
    ("value", "words"), [(None, "[8178] 취소 가능 금액이 부족합니다."), ("취소불가 상태입니다.", "취소불가 상태입니다.")]
)
def test_a_merchant_without_settlement_balance_is_refused_by_the_pg_below(shop, value, words):
    shop.sandbox.add_fault(Fault("cancel_refused", times=1, value=value))
    refused = shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=3000, checksum=9900)

    assert (refused.code, refused.message, refused.response) == (-1, words, None)
    assert shop.records()[0]["cancel_amount"] == 0
    assert shop.post("/payments/cancel", imp_uid=shop.imp_uid, amount=3000, checksum=9900).code == 0
