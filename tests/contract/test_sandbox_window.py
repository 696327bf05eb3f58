"""The browser half of the sandbox over HTTP: what opens, what a buyer can do in a window, and what it leaves behind.

Source: PortOne JavaScript SDK V1; confirm process guide V1; webhook guide V1; INICIS notes.
"""

import json
import socket
import threading
from contextlib import contextmanager
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.sandbox import MAGIC_CARDS, Channel, Sandbox, SandboxConfig, outgoing
from billing.sandbox.cards import KST
from billing.sandbox.config import CHANNELS
from tests.contract.sandbox_buyer import BACK, PHONE, SHOP, Buyer
from tests.contract.sandbox_merchant import NOON, Clock, Merchant, merchant

HOOK = "http://127.0.0.1:9/hook"
DAY = 86_400


def nested(levels):
    return [nested(levels - 1)] if levels else []


def buyer(**options):
    return Buyer(merchant(**options))


def phone(**options):
    return Buyer(merchant(**options), agent=PHONE)


def record(who, merchant_uid="order_1"):
    (row,) = who.shop.records(merchant_uid)
    return row


def shown(who, imp_uid):
    return who.shop.get(f"/payments/{imp_uid}?include_sandbox=true").response


# what a browser is given


def test_the_script_is_served_to_any_page_without_a_token():
    seen = buyer(logged_in=False).request("GET", "/v1/iamport.js")

    assert (seen.status, seen.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert seen.headers["access-control-allow-origin"] == "*"
    assert "request_pay" in seen.text


def test_a_page_of_another_origin_may_ask_for_a_window():
    seen = buyer().request("OPTIONS", "/v1/window")

    assert (seen.status, seen.headers["access-control-allow-origin"]) == (204, "*")
    assert "content-type" in seen.headers["access-control-allow-headers"]


def test_a_window_page_runs_nothing_but_its_own_files_and_is_framed_by_its_opener_alone():
    policy = buyer().opens().sees().headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert f"frame-ancestors {SHOP}" in policy
    assert "unsafe" not in policy


def test_a_window_on_a_phone_is_framed_by_nobody():
    seen = phone().opens(m_redirect_url=BACK).sees()
    assert "frame-ancestors 'none'" in seen.headers["content-security-policy"]


# opening


def test_an_open_window_leaves_a_ready_record_of_the_browser_kind():
    who = buyer().opens(
        buyer_name="김미나", buyer_email="mina@example.com", custom_data={"a": 1}, tax_free=900, notice_url="http://localhost:9/n"
    )
    row = record(who)
    payment = shown(who, row["imp_uid"])

    assert row["imp_uid"].startswith("imp_")
    assert (payment["status"], payment["channel"], payment["pay_method"], payment["amount"]) == ("ready", "pc", "card", 9900)
    assert (payment["buyer_name"], payment["buyer_email"]) == ("김미나", "mina@example.com")
    assert (payment["custom_data"], payment["customer_uid_usage"]) == ('{"a": 1}', None)
    assert (payment["pg_provider"], payment["pg_id"]) == ("html5_inicis", "INIpayTest")
    assert who.shop.sandbox.webhooks == []


def test_nothing_is_paid_before_the_buyer_decides():
    who = buyer().opens()
    who.sees()

    assert who.shop.sandbox.ledger()["totals"]["charged"] == 0


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"amount": "9900"}, "숫자"),
        ({"amount": True}, "숫자"),
        ({"amount": None}, "숫자"),
        ({"amount": 0}, "0보다"),
        ({"amount": -1, "customer_uid": "cu"}, "0보다"),
        ({"amount": float("nan")}, "숫자"),
        ({"merchant_uid": None}, "merchant_uid"),
        ({"merchant_uid": "x" * 41}, "40자"),
        ({"name": "x" * 41}, "40자"),
        ({"name": {"a": 1}}, "문자열"),
        ({"pay_method": "gold"}, "지원되지 않는"),
        ({"pay_method": "vbank", "vbank_due": "2027-13-01"}, "vbank_due"),
        ({"pay_method": "vbank", "vbank_due": "20261231"}, "이후"),
        ({"display": {"card_quota": ["six"]}}, "할부"),
        ({"display": {"card_quota": 6}}, "할부"),
        ({"pg": "html5_inicis.INIBillTst"}, "정기결제용"),
        ({"pg": "html5_inicis.INIpayTest", "customer_uid": "cu"}, "빌링키"),
        ({"pay_method": "trans", "customer_uid": "cu"}, "card"),
        ({"code": None}, "IMP.init"),
        ({"confirm_url": {"a": 1}}, "문자열"),
        ({"confirm_url": "x" * 2001}, "2000자"),
        ({"tax_free": "x"}, "숫자"),
        ({"custom_data": nested(30)}, "해석할 수 없습니다"),
    ],
)
def test_what_cannot_be_opened_is_refused_and_leaves_nothing(params, words):
    who = buyer()
    answer = who.ask(**params)

    assert answer["redirect"] is None
    assert answer["refused"]["success"] is answer["refused"]["imp_success"] is False
    assert answer["refused"]["imp_uid"] is None
    assert answer["refused"]["error_code"]
    assert words in answer["refused"]["error_msg"]
    assert who.shop.sandbox.ledger()["payments"] == []
    assert who.shop.sandbox._state.all("SELECT * FROM windows") == []


def test_a_phone_needs_a_page_to_come_back_to():
    for url in (None, "/relative", "javascript:alert(1)", "javascript://host/%0aalert(1)", "http://", "http://[", "http://a b/"):
        answer = phone().ask(m_redirect_url=url)
        assert "m_redirect_url" in answer["refused"]["error_msg"]
        assert answer["redirect"] is None


def test_a_refusal_on_a_phone_is_told_by_redirect():
    answer = phone().ask(m_redirect_url=BACK, amount="9900")

    assert answer["redirect"].startswith(f"{BACK}?merchant_uid=order_1&error_code=F1000&error_msg=")
    assert answer["redirect"].endswith("&imp_success=false")


@pytest.mark.parametrize("refunded", [False, True])
def test_an_order_number_that_was_paid_opens_no_window(refunded):
    who = buyer()
    who.opens().approves()
    if refunded:
        assert who.shop.post("/payments/cancel", merchant_uid="order_1").code == 0
    refused = who.ask()["refused"]

    assert (refused["error_code"], refused["error_msg"]) == ("F1002", "이미 결제가 이루어진 거래건입니다.")


def test_a_prepared_amount_binds_the_window():
    who = buyer()
    who.shop.post("/payments/prepare", merchant_uid="order_1", amount=9900)

    assert "사전등록" in who.ask(amount=9800)["refused"]["error_msg"]
    assert "window" in who.ask(amount=9900)


def test_an_unknown_contract_falls_back_to_the_default():
    who = buyer()
    who.opens(pg="kakaopay.CID").opens(merchant_uid="order_2", channelKey="none").opens(merchant_uid="order_3", pg="html5_inicis")

    for uid in ("order_1", "order_2", "order_3"):
        assert shown(who, record(who, uid)["imp_uid"])["pg_id"] == "INIpayTest"


def test_a_contract_can_be_named_by_its_key():
    who = buyer().opens(channelKey="channel-key-sandbox-billing", customer_uid="cu")
    assert shown(who, record(who)["imp_uid"])["pg_id"] == "INIBillTst"


def test_several_windows_of_one_order_number_open_by_default_and_both_can_be_paid():
    who = buyer()
    other = Buyer(who.shop).opens()
    who.opens()
    assert who.approves().result["success"]
    assert other.approves().result["success"]

    assert [group["merchant_uid"] for group in who.shop.sandbox.ledger()["double_charged"]] == ["order_1"]


def test_a_stricter_pg_refuses_the_second_payment_and_the_second_window():
    who = buyer(config=SandboxConfig(refuses_paid_uid=True))
    other = Buyer(who.shop).opens()
    who.opens().approves()
    assert not other.approves().result["success"]
    assert who.shop.sandbox.ledger()["double_charged"] == []

    strict = buyer(config=SandboxConfig(window_refuses_ready_uid=True)).opens()
    assert "refused" in strict.ask()


@pytest.mark.parametrize("refuses", [False, True])
def test_whether_a_failed_order_number_opens_again_can_be_chosen(refuses):
    who = buyer(config=SandboxConfig(window_refuses_failed_uid=refuses))
    who.opens().approves("balance")

    assert ("refused" in who.ask()) is refuses


# paying


def test_an_approved_payment_is_paid_and_told_to_page_and_merchant():
    who = buyer(config=SandboxConfig(webhook_url=HOOK)).opens(buyer_tel="010-1234-5678", custom_data={"plan": "pro"})
    result = who.approves().result
    payment = shown(who, result["imp_uid"])

    assert (result["success"], result["imp_success"], result["status"], result["paid_amount"]) == (True, True, "paid", 9900)
    assert (result["merchant_uid"], result["pay_method"], result["currency"]) == ("order_1", "card", "KRW")
    assert (result["card_number"], result["card_name"]) == ("424242******4242", "신한카드")
    assert (result["custom_data"], result["buyer_tel"]) == ({"plan": "pro"}, "010-1234-5678")
    assert result["apply_num"] == payment["apply_num"] is not None
    assert (payment["status"], payment["paid_at"], payment["channel"]) == ("paid", NOON, "pc")
    assert (payment["customer_uid"], payment["customer_uid_usage"]) == (None, None)
    (notice,) = who.shop.sandbox.webhooks
    assert notice.facts == {"imp_uid": result["imp_uid"], "merchant_uid": "order_1", "status": "paid"}
    assert who.shop.sandbox.ledger()["totals"]["kept"] == 9900


@pytest.mark.parametrize("name", ["balance", "daily_limit", "lost", "expired", "maintenance", "call_issuer", "wrong_number"])
def test_a_declined_card_fails_with_the_words_of_its_issuer_and_without_a_notice(name):
    who = buyer().opens()
    result = who.approves(name).result
    row = record(who)

    assert (result["success"], result["imp_success"], result["imp_uid"]) == (False, False, row["imp_uid"])
    assert result["error_code"] == MAGIC_CARDS[name].code
    assert result["error_msg"] == row["fail_reason"]
    assert row["status"] == "failed"
    assert who.shop.sandbox.webhooks == []
    assert who.shop.sandbox.ledger()["totals"]["charged"] == 0


def test_a_card_can_be_typed_in_and_its_number_stays_nowhere():
    who = buyer().opens()
    result = who.decides(act="approve", number="9410-1234-5678-9012", expiry="2030-12").result

    assert (result["success"], result["card_number"], result["card_name"]) == (True, "941012******9012", "BC카드")
    assert b"9410123456789012" not in who.shop.sandbox.image()
    assert b"9410-1234-5678-9012" not in who.shop.sandbox.image()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"act": "nonsense"},
        {"act": "approve"},
        {"act": "decline", "card": "approves"},
        {"act": "approve", "card": "nobody"},
        {"act": "approve", "number": "1234"},
        {"act": "approve", "card": "approves", "quota": "99"},
        {"act": "approve", "card": "approves", "quota": "x"},
        {"act[a]": "approve"},
    ],
)
def test_a_form_not_filled_in_as_it_must_be_is_shown_again_and_changes_nothing(fields):
    who = buyer().opens()
    seen = who.sends(**fields)

    assert (seen.status, seen.shows("problem"), seen.shows("approve")) == (422, True, True)
    assert "1234" not in seen.text
    assert record(who)["status"] == "ready"
    assert who.approves().result["success"]


def test_instalments_are_the_buyers_choice_from_50_000_won():
    who = buyer().opens(amount=60_000, display={"card_quota": [3, 6]})
    page = who.sees()
    assert [f'value="{months}"' in page.text for months in (0, 2, 3, 6)] == [True, False, True, True]
    assert who.approves(quota="3").result["card_quota"] == 3

    assert not buyer().opens(amount=49_999).sees().shows("quota")
    assert not buyer().opens(amount=60_000, display={"card_quota": []}).sees().shows("quota")


def test_the_pg_declines_instalments_below_50_000_won():
    result = buyer().opens(amount=49_999, card={"direct": {"code": "366", "quota": 6}}).approves().result
    assert result["error_code"] == "120006"


def test_below_100_won_the_pg_declines():
    assert buyer().opens(amount=99).approves().result["error_code"] == "550690"


@pytest.mark.parametrize("pay_method", ["trans", "phone", "kakaopay", "naverpay", "samsung"])
def test_other_methods_are_approved_or_declined(pay_method):
    who = buyer().opens(pay_method=pay_method)
    result = who.decides(act="approve").result
    assert (result["success"], result["pay_method"], result["card_number"], result["apply_num"]) == (True, pay_method, None, None)

    who.opens(merchant_uid="order_2", pay_method=pay_method)
    assert who.decides(act="decline").result["success"] is False
    assert record(who, "order_2")["status"] == "failed"


# on a phone


def test_on_a_phone_the_browser_brings_the_result_back():
    who = phone().opens(m_redirect_url=f"{BACK}?t=1#top")
    seen = who.approves()

    assert shown(who, record(who)["imp_uid"])["channel"] == "mobile"
    assert seen.result is None
    assert seen.redirect.startswith(f"{BACK}?t=1&imp_uid=imp_")
    assert seen.redirect.endswith("#top")
    assert seen.told == {"t": "1", "imp_uid": record(who)["imp_uid"], "merchant_uid": "order_1", "imp_success": "true"}


def test_on_a_phone_a_failure_is_in_the_address():
    told = phone().opens(m_redirect_url=BACK).approves("balance").told
    assert (told["imp_success"], told["error_code"], told["error_msg"]) == ("false", "120054", "[120054]잔액부족")


# closing


@pytest.mark.parametrize(("leaves", "status"), [("ready", "ready"), ("failed", "failed"), ("none", None)])
def test_a_closed_window_says_so_and_leaves_what_was_chosen(leaves, status):
    who = buyer(config=SandboxConfig(closed_window_leaves=leaves)).opens()
    result = who.decides(act="close").result

    assert (result["success"], result["error_msg"]) == (False, "사용자가 결제를 취소하셨습니다")
    assert result["imp_uid"].startswith("imp_")
    assert [row["status"] for row in who.shop.records()] == ([status] if status else [])
    assert who.shop.sandbox.webhooks == []
    assert who.sends(act="approve", card="approves").status == 303
    assert who.shop.sandbox.ledger()["totals"]["charged"] == 0


def test_closing_on_a_phone_goes_back_to_the_shop():
    told = phone().opens(m_redirect_url=BACK).decides(act="close").told
    assert (told["imp_success"], told["error_msg"]) == ("false", "사용자가 결제를 취소하셨습니다")


# registering a card


def test_a_customer_uid_registers_a_card_and_moves_no_money():
    who = buyer(config=SandboxConfig(webhook_url=HOOK)).opens(customer_uid="cu_9", amount=0, buyer_name="김미나")
    page = who.sees()
    assert "자동결제 카드 등록" in page.text
    result = who.approves().result
    payment = shown(who, result["imp_uid"])

    assert (result["success"], result["status"], result["paid_amount"]) == (True, "paid", 0)
    assert (payment["status"], payment["customer_uid"], payment["customer_uid_usage"]) == ("paid", "cu_9", "issue")
    key = who.shop.get("/subscribe/customers/cu_9").response
    assert (key["card_number"], key["pg_id"], key["customer_name"]) == ("424242******4242", "INIBillTst", "김미나")
    assert [notice.facts["status"] for notice in who.shop.sandbox.webhooks] == ["paid"]
    totals = who.shop.sandbox.ledger()["totals"]
    assert (totals["payments"], totals["paid"], totals["charged"], totals["kept"]) == (1, 0, 0, 0)
    assert who.shop.again("invoice_1", customer_uid="cu_9").response["status"] == "paid"


def test_the_amount_of_a_key_issue_is_for_show():
    who = buyer().opens(customer_uid="cu_9", amount=9900)
    assert who.approves().result["paid_amount"] == 9900

    assert who.shop.sandbox.ledger()["totals"]["charged"] == 0
    assert who.shop.get(f"/payments/{record(who)['imp_uid']}/balance").response["amount"] == 0
    assert who.shop.post("/payments/cancel", merchant_uid="order_1").code == 1
    assert who.shop.sandbox.ledger()["totals"]["refunded"] == 0


@pytest.mark.parametrize(("amount", "kept"), [(9900, 9900), (0, 0)])
def test_some_channels_charge_as_they_issue(amount, kept):
    paying = Channel("danal_tpay", "9810030929", "key-danal", "danal", bills=True, charges_at_issue=True)
    who = buyer(config=SandboxConfig(channels=(*CHANNELS, paying)))
    who.opens(customer_uid="cu_9", amount=amount, pg="danal_tpay").approves()

    assert record(who)["usage"] == "issue"
    assert who.shop.sandbox.ledger()["totals"]["kept"] == kept
    assert who.shop.get("/subscribe/customers/cu_9").response["pg_id"] == "9810030929"
    assert (who.shop.post("/payments/cancel", merchant_uid="order_1").code == 0) is bool(kept)


def test_registering_again_under_one_uid_overwrites_the_card():
    who = buyer().opens(customer_uid="cu_9", amount=0)
    who.approves()
    who.opens(merchant_uid="order_2", customer_uid="cu_9", amount=0).decides(act="approve", number="9410123456789012")

    assert who.shop.get("/subscribe/customers/cu_9").response["card_number"] == "941012******9012"
    keys = who.shop.sandbox.ledger()["billing_keys"]
    assert [(key["is_current"], key["alive_at_pg"]) for key in keys] == [(False, True), (True, True)]


def test_an_empty_card_registers_and_a_wrong_number_does_not():
    who = buyer().opens(customer_uid="cu_1", amount=0)
    assert who.approves("balance").result["success"]
    assert who.shop.again("invoice_1").response["status"] == "failed"

    who.opens(merchant_uid="order_2", customer_uid="cu_2", amount=0)
    assert who.approves("wrong_number").result["error_code"] == "120014"
    assert who.shop.get("/subscribe/customers/cu_2").code == 1


# virtual accounts


def test_a_virtual_account_waits_for_its_deposit():
    who = buyer(config=SandboxConfig(webhook_url=HOOK)).opens(pay_method="vbank", vbank_due="2027-01-20")
    assert who.sees().shows("bank")
    result = who.decides(act="approve", bank="004").result
    payment = shown(who, result["imp_uid"])

    assert (result["success"], result["status"], result["vbank_name"]) == (True, "ready", "KB국민은행")
    assert result["vbank_num"] == payment["vbank_num"]
    assert payment["vbank_code"] == "04"
    assert datetime.fromtimestamp(payment["vbank_date"], KST).isoformat() == "2027-01-20T23:59:59+09:00"
    who.shop.post("/_sandbox/vbank/deposit", imp_uid=result["imp_uid"], depositor_name="김미나")

    assert [notice.facts["status"] for notice in who.shop.sandbox.webhooks] == ["ready", "paid"]
    assert record(who)["kept"] == 9900


@pytest.mark.parametrize(
    ("given", "due"),
    [
        ("2027-02-01", "2027-02-01T23:59:59+09:00"),
        ("20270201", "2027-02-01T23:59:59+09:00"),
        ("202702011530", "2027-02-01T15:30:00+09:00"),
        ("20270201153010", "2027-02-01T15:30:10+09:00"),
        ("2027-02-01 15:30", "2027-02-01T15:30:00+09:00"),
        (None, "2027-01-22T23:59:59+09:00"),
    ],
)
def test_the_due_time_of_an_account_is_read_as_it_is_written(given, due):
    who = buyer().opens(pay_method="vbank", vbank_due=given)
    result = who.decides(act="approve", bank="088").result
    assert datetime.fromtimestamp(result["vbank_date"], KST).isoformat() == due


def test_an_account_is_not_opened_after_its_time():
    who = buyer().opens(pay_method="vbank", vbank_due="2027-01-20")
    who.shop.clock.move(6 * DAY)

    assert "입금기한" in who.decides(act="approve", bank="004").result["error_msg"]
    assert record(who)["status"] == "failed"


def test_a_deposit_of_another_amount_is_what_the_merchant_has():
    who = buyer().opens(pay_method="vbank")
    who.decides(act="approve", bank="004")
    answer = who.shop.post("/_sandbox/vbank/deposit", imp_uid=record(who)["imp_uid"], amount=9000)

    assert (answer.response["status"], answer.response["amount"]) == ("paid", 9000)
    assert answer.response["deposit_history"][0]["amount"] == 9000
    assert record(who)["kept"] == 9000


def test_after_its_time_an_account_takes_nothing():
    who = buyer().opens(pay_method="vbank", vbank_due="2027-01-20")
    who.decides(act="approve", bank="004")
    who.shop.clock.move(6 * DAY)

    assert who.shop.post("/_sandbox/vbank/deposit", imp_uid=record(who)["imp_uid"]).status == 400
    assert record(who)["status"] == "ready"


def test_a_bank_must_be_chosen():
    who = buyer().opens(pay_method="vbank")
    assert who.sends(act="approve", bank="000").shows("problem")
    assert who.decides(act="decline").result["success"] is False


# asking the merchant first


class Shop:
    """A merchant's confirm_url: answers what it was told to."""

    def __init__(self, status=200, body=b""):
        self.answer, self.asked = (status, body), []

    def __call__(self, url, body):
        self.asked.append((url, json.loads(body)))
        if isinstance(self.answer[0], Exception):
            raise self.answer[0]
        return self.answer


CONFIRM = "http://127.0.0.1:9/payments/confirm"


def test_the_merchant_is_asked_before_anything_is_charged():
    ask = Shop()
    who = buyer(ask=ask).opens(confirm_url=CONFIRM)
    assert who.approves().result["success"]

    assert ask.asked == [(CONFIRM, {"imp_uid": record(who)["imp_uid"], "merchant_uid": "order_1", "amount": 9900})]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, json.dumps({"reason": "품절"}).encode(), "품절"),
        (500, b"<html>", "알 수 없음"),
        (204, b"", "알 수 없음"),
        (302, b"[]", "알 수 없음"),
        (400, b'{"reason": ["a"]}', "알 수 없음"),
        (TimeoutError(), b"", "알 수 없음"),
    ],
)
def test_any_word_but_200_stops_the_payment(status, body, reason):
    who = buyer(ask=Shop(status, body)).opens(confirm_url=CONFIRM)
    result = who.approves().result

    assert result["error_msg"] == f"고객사 요청에 의해 결제를 중단합니다. (상세사유 : {reason})"
    assert record(who)["status"] == "failed"
    assert who.shop.sandbox.ledger()["totals"]["charged"] == 0


def test_only_this_machine_is_asked():
    ask = Shop()
    assert not buyer(ask=ask).opens(confirm_url="http://example.com/confirm").approves().result["success"]
    assert ask.asked == []


@contextmanager
def asked_over_http(answer):
    """A merchant that is really listening; `answer` takes the accepted socket and what it was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        heard = []

        def listen():
            one, _ = listening.accept()
            with one:
                said = b""
                while not said.endswith(b"}"):
                    said += one.recv(65_536)
                heard.append(said)
                answer(one)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/payments/confirm?a=1", heard
        thread.join(10)


def test_the_question_is_json_over_http():
    with asked_over_http(lambda one: one.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as (url, heard):
        assert buyer().opens(confirm_url=url).approves().result["success"]

    head, _, body = heard[0].decode().partition("\r\n\r\n")
    assert head.startswith("POST /payments/confirm?a=1 HTTP/1.1")
    assert "content-type: application/json" in head.lower()
    assert json.loads(body)["merchant_uid"] == "order_1"


@pytest.mark.parametrize("words", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"])
def test_a_merchant_who_does_not_answer_in_time_stops_the_payment(words, monkeypatch):
    monkeypatch.setattr(outgoing, "ASK_SECONDS", 0.2)
    done = threading.Event()

    def dawdles(one):
        one.sendall(words)
        done.wait(5)

    with asked_over_http(dawdles) as (url, _):
        result = buyer().opens(confirm_url=url).approves().result
        done.set()
    assert result["error_msg"].endswith("(상세사유 : 알 수 없음)")


def test_nobody_is_asked_where_nothing_is_approved():
    ask = Shop(500)
    assert buyer(ask=ask).opens(confirm_url=CONFIRM, customer_uid="cu", amount=0).approves().result["success"]
    assert ask.asked == []


def test_the_question_holds_no_lock_and_a_second_click_meanwhile_charges_nothing():
    clicked = []

    def ask(url, body):
        # The merchant looks the payment up, and the buyer clicks again.
        assert who.shop.get(f"/payments/{json.loads(body)['imp_uid']}?include_sandbox=true").response["status"] == "ready"
        clicked.append(who.sends(act="approve", card="approves").status)
        clicked.append(who.sees().shows("busy"))
        return 200, b""

    who = buyer(ask=ask).opens(confirm_url=CONFIRM)
    assert who.approves().result["success"]

    assert clicked == [303, True]
    assert who.shop.sandbox.ledger()["totals"]["charged"] == 9900


# once


def test_a_double_click_charges_once():
    who = buyer().opens()
    first, second = (who.sends(act="approve", card="approves") for _ in range(2))

    assert (first.status, second.status) == (303, 303)
    assert who.shop.sandbox.ledger()["totals"]["charged"] == 9900
    assert len(who.shop.sandbox.webhooks) == 1


def test_going_back_after_a_decline_changes_nothing():
    who = buyer().opens()
    declined = who.approves("balance").result

    assert who.approves("approves").result == declined
    assert who.decides(act="close").result == declined
    assert record(who)["status"] == "failed"


def test_a_click_during_a_slow_approval_finds_the_window_taken():
    release = threading.Event()
    who = buyer().opens()
    who.shop.sandbox._sleep = lambda _: release.wait(10)
    who.shop.sandbox.add_fault("slow_approval", value="70s")
    first = threading.Thread(target=who.sends, kwargs={"act": "approve", "card": "approves"})
    first.start()
    try:
        while not who.sees().shows("busy"):
            pass
        assert who.sends(act="approve", card="approves").status == 303
        assert record(who)["status"] == "ready"
    finally:
        release.set()
        first.join()

    assert who.sees().result["success"]
    assert who.shop.sandbox.ledger()["totals"]["charged"] == 9900


# hostile input


def test_what_a_merchant_writes_is_shown_as_text():
    evil = "<img onerror=alert(1)>"
    who = buyer().opens(name=evil, merchant_uid='"><script>', code='imp"><b>', buyer_name="</script>")
    page = who.sees().text
    assert "<img" not in page
    assert "<b>" not in page.replace("SANDBOX<b>PAY</b>", "")
    assert "&lt;img onerror" in page

    result = who.approves()
    assert "<img" not in result.text
    assert result.result["name"] == evil


def test_an_origin_that_is_none_gets_no_word_in_the_policy():
    who = buyer()
    answer = who.request(
        "POST", "/v1/window", json.dumps({"code": "imp1", "params": {"merchant_uid": "a", "amount": 1}}).encode(), origin="*; x"
    )
    who.address = f"/v1/{json.loads(answer.text)['window']}"
    assert "frame-ancestors 'self'" in who.sees().headers["content-security-policy"]


@pytest.mark.parametrize("target", ["/v1/window/unknown", "/v1/nothing", "/v1/window/%2e%2e/x", "/v1", "/v1/window"])
def test_a_wrong_address_is_a_clear_page(target):
    for method in ("GET", "POST"):
        if (method, target) == ("POST", "/v1/window"):
            continue
        seen = buyer().request(method, target)
        assert (seen.status, seen.shows("note")) == (404, True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": ' + b"1" * 5000 + b"}",
        b"[" * 5000,
        b"\xff\xfe",
        b'{"act": ',
        b'"text"',
        b"[1]",
        b'{"params": [], "code": {}}',
        b"null",
    ],
)
def test_garbage_is_never_an_error_of_ours(body):
    who = buyer().opens()
    for target in ("/v1/window", who.address):
        seen = who.request("POST", target, body, **{"content-type": "application/json"})
        assert seen.status < 500
    assert record(who)["status"] == "ready"


def test_windows_have_names_nobody_guesses():
    unseeded = [Buyer(Merchant(Sandbox(now=Clock()), Clock())).opens().address for _ in range(2)]
    shop = buyer()
    own = [shop.opens(merchant_uid=str(number)).address for number in range(50)]

    assert len({*unseeded, *own}) == 52
    assert all(len(address.removeprefix("/v1/window/")) >= 40 for address in own)


# faults


@pytest.mark.parametrize(
    ("fault", "value", "status", "success"),
    [
        ("decline", "120026", "failed", False),
        ("late_approval", 60, "failed", False),
        ("pending", 60, "ready", False),
        ("wrong_amount", None, "paid", True),
        ("wrong_customer", None, "paid", True),
        ("live_record", None, "paid", True),
        ("lookup_lag", 30, "paid", True),
    ],
)
def test_faults_strike_in_the_window_too(fault, value, status, success):
    who = buyer().opens()
    who.shop.sandbox.add_fault(fault, times=1, value=value)
    result = who.approves().result
    row = record(who)

    assert (row["status"], result["success"]) == (status, success)
    if fault == "decline":
        assert result["error_code"] == "120026"
    if fault in ("late_approval", "pending"):
        who.shop.clock.move(60)
        assert record(who)["status"] == "paid"
        assert len(who.shop.sandbox.webhooks) == 1
    if fault == "wrong_amount":
        assert row["amount"] == 9899
    if fault == "wrong_customer":
        assert row["customer_uid"] == "sandbox-stranger"
    if fault == "live_record":
        assert row["sandbox"] is False
    if fault == "lookup_lag":
        assert who.shop.get(f"/payments/{row['imp_uid']}?include_sandbox=true").status == 404
        who.shop.clock.move(30)
        assert shown(who, row["imp_uid"])["status"] == "paid"


@pytest.mark.parametrize("fault", ["late_approval", "pending"])
def test_a_key_whose_record_comes_late_is_there_already(fault):
    who = buyer().opens(customer_uid="cu_9", amount=0)
    who.shop.sandbox.add_fault(fault, times=1)
    assert who.approves().result["success"] is False

    assert who.shop.again("invoice_1", customer_uid="cu_9").response["status"] == "paid"
    who.shop.clock.move(60)
    assert (record(who)["status"], record(who)["took_money"]) == ("paid", False)


def test_a_paid_window_can_be_shadowed_by_a_failed_record():
    who = buyer().opens()
    who.shop.sandbox.add_fault("shadowed_paid", times=1)
    assert who.approves().result["success"]

    assert [row["status"] for row in who.shop.records()] == ["paid", "failed"]


def test_the_notice_can_come_before_the_page_learns_anything():
    told = []
    who = buyer(deliver=lambda notice: told.append((notice.facts["status"], who.sees().result is not None)))
    who.opens()
    who.shop.sandbox.add_fault("webhook_early")
    who.sends(act="approve", card="approves")

    assert told == [("paid", True)]


def test_the_notice_can_come_long_after_the_page_was_told():
    box = []
    who = buyer(deliver=lambda notice: box.append(notice)).opens()
    who.shop.sandbox.add_fault("webhook_reorder", value=30)
    assert who.approves().result["success"]
    who.shop.sandbox.deliver_webhooks()
    assert box == []

    who.shop.clock.move(30)
    who.shop.sandbox.deliver_webhooks()
    assert [notice.facts["status"] for notice in box] == ["paid"]


@pytest.mark.parametrize(("fault", "sent"), [("webhook_drop", 0), ("webhook_twice", 2)])
def test_the_notice_can_be_lost_or_doubled(fault, sent):
    box = []
    who = buyer(deliver=lambda notice: box.append(notice)).opens()
    who.shop.sandbox.add_fault(fault)
    assert who.approves().result["success"]
    who.shop.sandbox.deliver_webhooks()

    assert len(box) == sent


def test_the_same_seed_and_clicks_leave_the_same_ledger():
    def lived():
        who = buyer().opens()
        who.approves()
        who.opens(merchant_uid="b", pay_method="vbank").decides(act="approve", bank="004")
        return who.shop.sandbox.image()

    assert lived() == lived()


# whatever pages and buyers do

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["vbank", "20270120", BACK]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
PARAMS = (
    "pay_method merchant_uid name amount custom_data tax_free currency buyer_name confirm_url notice_url customer_uid"
    " vbank_due m_redirect_url display card pg channelKey"
)


@settings(max_examples=300, deadline=None)
@given(
    params=st.dictionaries(st.sampled_from(PARAMS.split()), VALUE, max_size=3),
    code=st.just("imp00000000") | VALUE,
    agent=st.sampled_from(["", PHONE]),
)
def test_whatever_a_page_asks_for_is_opened_or_refused(params, code, agent):
    who = Buyer(merchant(ask=lambda url, body: (200, b"")), agent=agent)
    answer = who.ask(code, **{"m_redirect_url": BACK, **params})
    if "window" in answer:
        who.address = f"/v1/{answer['window']}"
        assert who.sees().shows("approve")
        assert who.approves(bank="004").status == 200
    else:
        assert answer["refused"]["error_msg"]
        assert who.shop.sandbox.ledger()["payments"] == []


FIELD = st.sampled_from(
    [None, "", "approve", "close", "decline", "approves", "balance", "late", "004", "0", "3", "99", "<b>", "٣"]
)
STEP = st.tuples(
    st.sampled_from(["open", "send", "see"]),
    st.integers(0, 2),
    st.fixed_dictionaries(dict.fromkeys(("act", "card", "number", "quota", "bank"), FIELD)),
)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEP, max_size=14),
    methods=st.tuples(*[st.sampled_from(["card", "vbank", "phone"])] * 3),
    strict=st.booleans(),
)
def test_whatever_buyers_do_every_window_ends_once_and_nothing_breaks(steps, methods, strict):
    shop = merchant(config=SandboxConfig(refuses_paid_uid=strict, window_refuses_ready_uid=strict))
    windows = []
    first_results = {}
    for kind, which, fields in steps:
        if kind == "open":
            who = Buyer(shop)
            answer = who.ask(merchant_uid=f"order_{which}", pay_method=methods[which], amount=60_000)
            if "window" in answer:
                who.address = f"/v1/{answer['window']}"
                windows.append(who)
        elif windows:
            who = windows[which % len(windows)]
            said = {name: value for name, value in fields.items() if value is not None}
            seen = who.sends(**said) if kind == "send" else who.sees()
            assert seen.status in (200, 303, 422)
            result = who.sees().result
            assert first_results.setdefault(who.address, result) in (None, result)
            first_results[who.address] = result

    ledger = shop.sandbox.ledger()
    assert len(ledger["payments"]) == len(windows)
    told = [result["imp_uid"] for result in first_results.values() if result and result["success"] and result["status"] == "paid"]
    assert sorted(told) == sorted(row["imp_uid"] for row in ledger["payments"] if row["kept"])
    assert ledger["totals"]["kept"] == 60_000 * len(told)
    if strict:
        assert ledger["double_charged"] == []
