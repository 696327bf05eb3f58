"""Billing keys of the sandbox. Source: PortOne REST V1, `/subscribe/customers`."""

import pytest

from billing.sandbox import MAGIC_CARDS, SandboxConfig
from tests.contract.sandbox_merchant import NOON, merchant


@pytest.fixture
def shop():
    return merchant()


def test_a_key_is_issued_and_looked_up(shop):
    issued = shop.issue(customer_name="김미나")

    assert (issued.status, issued.code) == (200, 0)
    assert issued.response["card_number"] == "424242******4242"
    assert issued.response["card_name"] == "신한카드"
    assert issued.response["card_type"] is None
    assert issued.response["customer_name"] == "김미나"
    assert issued.response["inserted"] == issued.response["updated"] == NOON
    assert shop.get("/subscribe/customers/cu_1").response == issued.response


def test_ids_in_the_path_are_percent_decoded_one_by_one(shop):
    issued = shop.issue("a%2Fb%20%EA%B0%80")

    assert issued.response["customer_uid"] == "a/b 가"
    assert shop.get("/subscribe/customers/a%2Fb%20%EA%B0%80").code == 0


def test_issuing_again_overwrites_the_card_and_leaves_the_old_pg_key_alive(shop):
    shop.issue()
    shop.clock.move(60)
    second = shop.issue(card_number="5555-4444-3333-2222").response

    assert second["card_name"] == "KB국민카드"
    assert second["updated"] == second["inserted"] + 60
    old, new = shop.sandbox.ledger()["billing_keys"]
    assert (old["is_current"], old["alive_at_pg"]) == (False, True)
    assert (new["is_current"], new["alive_at_pg"]) == (True, True)


def test_a_deleted_key_is_shown_once_more_and_then_unknown(shop):
    shop.issue()

    assert shop.call("DELETE", "/subscribe/customers/cu_1?reason=left").response["customer_uid"] == "cu_1"
    gone = shop.get("/subscribe/customers/cu_1")
    assert (gone.status, gone.code) == (200, 1)
    assert gone.message == "요청하신 customer_uid(cu_1)로 등록된 정보를 찾을 수 없습니다."
    assert shop.again().message == "등록되지 않은 구매자입니다."


def test_an_unknown_key_is_404_where_configured():
    shop = merchant(config=SandboxConfig(unknown_customer_is_404=True))

    assert shop.call("DELETE", "/subscribe/customers/nobody").status == 404


def test_bulk_look_up_says_200_207_or_404(shop):
    shop.issue("cu_1")
    shop.issue("cu_2")

    all_known = shop.get("/subscribe/customers?customer_uid[]=cu_1&customer_uid[]=cu_2")
    some = shop.get("/subscribe/customers?customer_uid%5B%5D=cu_1&customer_uid%5B%5D=nobody")
    none = shop.get("/subscribe/customers?customer_uid[]=nobody")

    assert [all_known.status, some.status, none.status] == [200, 207, 404]
    assert [key["customer_uid"] for key in all_known.response] == ["cu_1", "cu_2"]
    assert len(some.response) == 1


@pytest.mark.parametrize(
    ("fields", "ending"),
    [
        ({"card_number": MAGIC_CARDS["wrong_number"].number}, "[120014]카드번호 오류"),
        ({"card_number": "4242"}, "[120014]카드번호 오류"),
        ({"card_number": "4242-4242-4242-424x"}, "[120014]카드번호 오류"),
        ({"expiry": "2020-01"}, "[120023]유효기간 오류"),
        ({"expiry": "12/30"}, "[120023]유효기간 오류"),
        ({"birth": "1990"}, "[120051]주민(사업자)번호 상이"),
        ({"pwd_2digit": "abcd"}, "[120019]비밀번호 상이"),
    ],
)
def test_a_card_the_network_refuses_is_code_minus_one(shop, fields, ending):
    answer = shop.issue(**fields)

    assert (answer.status, answer.code, answer.response) == (200, -1, None)
    assert answer.message == f"카드정보 인증 및 빌키 발급에 실패하였습니다. {ending}"


@pytest.mark.parametrize("card", ["lost", "balance", "expired"])
def test_issue_succeeds_for_cards_that_can_never_be_charged(shop, card):
    assert shop.issue(card_number=MAGIC_CARDS[card].number).code == 0


def test_fifteen_digits_and_any_separator_are_accepted(shop):
    assert shop.issue(card_number="3782 822463 10005").response["card_number"] == "378282*****0005"


def test_missing_and_long_fields_are_refused_by_name(shop):
    assert shop.post("/subscribe/customers/cu_1").message == '["card_number"] 파라메터는 필수입니다.'
    assert shop.issue("u" * 81).code == 1
    assert shop.issue(customer_name="가" * 21).code == 1


def test_a_channel_without_billing_is_refused_and_an_unknown_one_falls_back(shop):
    assert shop.issue(pg="html5_inicis.INIpayTest").message == "비인증결제모듈 사용정보를 찾을 수 없습니다."
    assert shop.issue(pg="nobody.knows").response["pg_id"] == "INIBillTst"
    assert [channel["pg_id"] for channel in shop.get("/users/pg").response] == ["INIBillTst", "INIpayTest"]


def test_payments_of_a_key_come_newest_first_in_pages(shop):
    shop.issue()
    for number in range(25):
        shop.again(f"order_{number}")
        shop.clock.move(1)

    first = shop.get("/subscribe/customers/cu_1/payments").response
    second = shop.get("/subscribe/customers/cu_1/payments?page=2").response

    assert (first["total"], first["previous"], first["next"]) == (25, 0, 2)
    assert (second["previous"], second["next"], len(second["list"])) == (1, 0, 5)
    assert first["list"][0]["merchant_uid"] == "order_24"
