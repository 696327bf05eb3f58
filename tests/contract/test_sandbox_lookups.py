"""Look-ups of the sandbox: what is found, what is hidden, and in which order."""

import pytest

from billing.sandbox import MAGIC_CARDS, SandboxConfig
from tests.contract.sandbox_merchant import NOON, merchant

NOT_FOUND = "존재하지 않는 결제정보입니다."


@pytest.fixture
def shop():
    made = merchant()
    made.issue()
    made.issue("bad", card_number=MAGIC_CARDS["balance"].number)
    return made


def test_a_test_payment_is_hidden_from_the_single_look_up_unless_asked_for(shop):
    imp_uid = shop.again().response["imp_uid"]
    hidden = shop.get(f"/payments/{imp_uid}")

    assert (hidden.status, hidden.code, hidden.message, hidden.response) == (404, 1, NOT_FOUND, None)
    assert shop.get(f"/payments/{imp_uid}?include_sandbox=true").response["imp_uid"] == imp_uid
    assert shop.get(f"/payments/{imp_uid}?include_sandbox=false").status == 404


def test_a_live_payment_is_always_shown():
    shop = merchant(config=SandboxConfig(sandbox=False))
    shop.issue()
    imp_uid = shop.again().response["imp_uid"]

    assert shop.get(f"/payments/{imp_uid}").response["imp_uid"] == imp_uid


def test_bulk_says_200_207_or_404(shop):
    imp_uid = shop.again("a").response["imp_uid"]
    shop.again("b")

    everything = shop.get(f"/payments?imp_uid[]={imp_uid}&merchant_uid[]=b")
    some = shop.get("/payments?merchant_uid[]=a&merchant_uid[]=nothing")
    none = shop.get("/payments?merchant_uid[]=nothing")

    assert [everything.status, some.status, none.status] == [200, 207, 404]
    assert [payment["merchant_uid"] for payment in everything.response] == ["a", "b"]
    assert (none.code, none.message) == (1, NOT_FOUND)


def test_bulk_takes_a_hundred_ids_and_no_more(shop):
    hundred = "&".join(f"merchant_uid[]=m{number}" for number in range(99)) + "&imp_uid[]=x"

    assert shop.get(f"/payments?{hundred}").status == 404
    assert shop.get(f"/payments?{hundred}&imp_uid[]=y").status == 400
    assert shop.get("/payments").status == 400


def test_bulk_shows_the_newest_started_record_only_so_a_failure_hides_a_payment(shop):
    shop.again()
    shop.clock.move(1)
    shop.again(customer_uid="bad")

    assert [payment["status"] for payment in shop.get("/payments?merchant_uid[]=order_1").response] == ["failed"]


def test_a_friendly_sandbox_lists_every_record_in_bulk():
    shop = merchant(config=SandboxConfig.friendly())
    shop.issue("bad", card_number=MAGIC_CARDS["balance"].number)
    shop.again(customer_uid="bad")
    shop.again(customer_uid="bad")

    assert len(shop.get("/payments?merchant_uid[]=order_1").response) == 2


def test_find_shows_one_record_and_find_all_shows_them_all(shop):
    shop.again()
    shop.clock.move(1)
    shop.again(customer_uid="bad")

    assert shop.get("/payments/find/order_1").response["status"] == "failed"
    assert shop.get("/payments/find/order_1?sorting=started").response["status"] == "paid"
    assert shop.get("/payments/find/order_1/paid").response["status"] == "paid"
    assert shop.get("/payments/find/order_1/").response["status"] == "failed"
    listed = shop.get("/payments/findAll/order_1?sorting=-paid").response
    assert (listed["total"], listed["previous"], listed["next"]) == (2, 0, 0)
    assert [payment["status"] for payment in listed["list"]] == ["paid", "failed"]
    assert shop.get("/payments/findAll/order_1/ready").status == 404
    assert shop.get("/payments/find/nothing").message == NOT_FOUND


@pytest.mark.parametrize(
    "target",
    [
        "/payments/find/order_1/lost",
        "/payments/status/lost",
        "/payments/status/all?sorting=amount",
        "/payments/status/all?limit=1001",
        "/payments/status/all?page=0",
        "/payments/status/all?page=2",
        f"/payments/status/all?from={NOON - 91 * 86_400}&to={NOON}",
        f"/payments/status/all?from={NOON}&to={NOON - 1}",
    ],
)
def test_bad_list_parameters_are_400(shop, target):
    shop.again()

    assert shop.get(target).status == 400


def test_a_bad_status_is_named(shop):
    assert shop.get("/payments/status/lost").message == "지원되지 않는 상태값입니다."


def test_status_lists_come_in_pages_and_windows(shop):
    for number in range(45):
        shop.again(f"o{number}")
        shop.clock.move(1)
    shop.again("bad", customer_uid="bad")

    page = shop.get("/payments/status/paid?page=2").response
    assert (page["total"], page["previous"], page["next"]) == (45, 1, 3)
    assert page["list"][0]["merchant_uid"] == "o24"
    assert shop.get("/payments/status/failed").response["total"] == 1
    window = shop.get(f"/payments/status/all?from={NOON:.0f}&to={NOON + 4:.0f}&sorting=started&limit=1000").response
    assert [payment["merchant_uid"] for payment in window["list"]] == ["o0", "o1", "o2", "o3", "o4"]


def test_the_default_window_is_ninety_days(shop):
    shop.again()
    shop.clock.move(91 * 86_400)
    shop.log_in()

    assert shop.get("/payments/status/all").response["total"] == 0
    assert shop.get(f"/payments/status/all?to={NOON + 86_400:.0f}").response["total"] == 1


def test_newest_updated_first_shows_what_changed_for_reconciliation(shop):
    first = shop.again("a").response
    shop.clock.move(10)
    shop.again("b")
    shop.clock.move(10)
    shop.post("/payments/cancel", imp_uid=first["imp_uid"], amount=100)

    listed = shop.get("/payments/status/all?sorting=-updated").response["list"]
    assert [payment["merchant_uid"] for payment in listed] == ["a", "b"]


def test_a_lag_hides_fresh_records_from_every_look_up_but_not_from_the_ledger():
    shop = merchant(config=SandboxConfig(find_lag_seconds=5))
    shop.issue()
    imp_uid = shop.again().response["imp_uid"]
    targets = (
        f"/payments/{imp_uid}?include_sandbox=true",
        "/payments?merchant_uid[]=order_1",
        "/payments/find/order_1",
        "/payments/findAll/order_1",
    )

    assert [shop.get(target).status for target in targets] == [404] * 4
    assert shop.get("/payments/status/all").response["total"] == 0
    assert len(shop.records()) == 1
    shop.clock.move(5)
    assert [shop.get(target).status for target in targets] == [200] * 4


def test_sandbox_records_are_hidden_from_batch_and_find_where_configured():
    shop = merchant(config=SandboxConfig(batch_hides_sandbox=True, find_hides_sandbox=True))
    shop.issue()
    shop.again()

    assert shop.get("/payments?merchant_uid[]=order_1").status == 404
    assert shop.get("/payments/find/order_1").status == 404
    assert shop.get("/payments/status/all").response["total"] == 0


def test_the_balance_divides_what_is_left(shop):
    imp_uid = shop.again(amount=11_000).response["imp_uid"]
    balance = shop.get(f"/payments/{imp_uid}/balance").response

    assert balance["amount"] == 11_000
    assert balance["primary"] == {"tax_free": 0, "supply": 10_000, "vat": 1_000, "service": 0}


def test_amounts_are_prepared_changed_and_read(shop):
    assert shop.post("/payments/prepare", merchant_uid="p", amount=100).response["amount"] == 100
    assert shop.call("PUT", "/payments/prepare", {"merchant_uid": "p", "amount": 200}).response["amount"] == 200
    assert shop.get("/payments/prepare/p").response == {"merchant_uid": "p", "amount": 200, "currency": None}
    missing = shop.get("/payments/prepare/q")
    assert (missing.status, missing.message) == (404, "사전등록된 결제정보가 존재하지 않습니다.")
    assert shop.call("PUT", "/payments/prepare", {"merchant_uid": "q", "amount": 200}).status == 404


def test_code_lists_and_the_calls_nobody_needs_here(shop):
    assert {"code": "366", "name": "신한카드"} in shop.get("/cards").response
    assert shop.get("/cards/361").response["name"] == "BC카드"
    assert shop.get("/banks/004").response["name"] == "KB국민은행"
    assert shop.get("/banks/999").status == shop.get("/cards/999").status == shop.get("/tiers/ABC").status == 404
    assert shop.get("/certifications/imp_1").message == "인증결과가 존재하지 않습니다."
    assert shop.post("/subscribe/payments/foreign", merchant_uid="m").status == 404


def test_unknown_paths_and_methods_answer_in_the_envelope(shop):
    assert (shop.get("/nowhere").status, shop.get("/nowhere").code) == (404, 1)
    assert shop.call("DELETE", "/payments/cancel").status == 405
