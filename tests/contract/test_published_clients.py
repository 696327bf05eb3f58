"""The published i'mport clients against the sandbox, unchanged: each drives it over a real socket.

A client that is not installed is replayed by its request shapes, which never need it:
raw token, form or JSON bodies, a fresh token per call. The messages expected here are those
the clients' own live tests assert.
"""

import asyncio
import json
from importlib import import_module
from types import SimpleNamespace

import httpx
import pytest

from billing.sandbox import MAGIC_CARDS, Sandbox, SandboxConfig
from tests.contract.sandbox_merchant import OK_CARD
from tests.contract.served import served

KEY, SECRET = "imp_sandbox_key", "imp_sandbox_secret"
CARD = {"card_number": OK_CARD, "expiry": "2099-12", "birth": "900101", "pwd_2digit": "12"}
USED = "이미 주문이 이루어진 건입니다. (동일한 merchant_uid로 결제 또는 취소된 기록이 있습니다)"


@pytest.fixture(scope="module")
def pg():
    """Serve a friendly sandbox whose channel is live: these clients never ask for test payments."""
    sandbox = Sandbox(seed=1, config=SandboxConfig(**{**_friendly(), "sandbox": False}))
    with served(sandbox) as url:
        yield SimpleNamespace(url=url, sandbox=sandbox)


def _friendly():
    friendly = SandboxConfig.friendly()
    return {name: getattr(friendly, name) for name in SandboxConfig.__dataclass_fields__}


class TestIamportRestClient:
    """PyPI iamport-rest-client 0.9.0: JSON bodies, the bare token, a new token for every call."""

    @pytest.fixture
    def iamport(self, pg):
        module = import_module("iamport")
        with_client = module.Iamport(imp_key=KEY, imp_secret=SECRET, imp_url=f"{pg.url}/")
        yield with_client
        with_client.requests_session.close()

    def test_a_key_is_issued_charged_and_deleted(self, iamport):
        iamport.customer_create(customer_uid="rest", **CARD)
        paid = iamport.pay_again(customer_uid="rest", merchant_uid="rest-1", amount=5000, name="Pro")

        assert iamport.is_paid(5000, response=paid)
        assert iamport.is_paid(5000, merchant_uid="rest-1")
        assert iamport.is_paid(5000, imp_uid=paid["imp_uid"])
        assert iamport.customer_get("rest")["customer_uid"] == "rest"
        assert iamport.customer_delete("rest")["customer_uid"] == "rest"

    def test_a_refund_in_part_and_whole(self, iamport):
        iamport.pay_onetime(merchant_uid="rest-2", amount=5000, **CARD)

        assert iamport.cancel("left", merchant_uid="rest-2", amount=1000)["cancel_amount"] == 1000
        assert iamport.cancel("left", merchant_uid="rest-2")["cancel_amount"] == 5000
        with pytest.raises(iamport.ResponseError) as refused:
            iamport.cancel("left", merchant_uid="rest-2")
        assert (refused.value.code, refused.value.message) == (1, "이미 전액취소된 주문입니다.")

    def test_refusals_reach_the_caller_as_its_errors(self, iamport):
        with pytest.raises(iamport.ResponseError) as unknown:
            iamport.pay_again(customer_uid="00000000", merchant_uid="1234qwer", amount=5000)
        with pytest.raises(iamport.ResponseError) as unplanned:
            iamport.pay_unschedule(customer_uid="00000000", merchant_uid="1234qwer")
        with pytest.raises(iamport.ResponseError) as nothing:
            iamport.cancel("reason", imp_uid="nothing")
        with pytest.raises(iamport.HttpError) as missing:
            iamport.find(imp_uid="test")
        with pytest.raises(iamport.HttpError) as uncertified:
            iamport.find_certification("imp_1")

        assert unknown.value.message == "등록되지 않은 구매자입니다."
        assert unplanned.value.message == "취소할 예약결제 기록이 존재하지 않습니다."
        assert nothing.value.message == "취소할 결제건이 존재하지 않습니다."
        assert (missing.value.code, uncertified.value.code) == (404, 404)

    def test_schedules_and_prepared_amounts(self, iamport):
        iamport.customer_create(customer_uid="rest-3", **CARD)
        plan = {"merchant_uid": "rest-3", "schedule_at": 4_000_000_000, "amount": 5000}
        iamport.pay_schedule(customer_uid="rest-3", schedules=[plan])

        assert iamport.pay_schedule_get("rest-3")["schedule_status"] == "scheduled"
        between = {"schedule_from": 3_999_999_999, "schedule_to": 4_000_000_001}
        assert iamport.pay_schedule_get_between(**between)["total"] == 1
        assert iamport.pay_unschedule(customer_uid="rest-3")[0]["schedule_status"] == "revoked"
        iamport.prepare("rest-4", 700)
        assert iamport.prepare_validate("rest-4", 700)

    def test_a_wrong_secret_is_an_http_error(self, pg, iamport):
        stranger = type(iamport)(imp_key=KEY, imp_secret="wrong", imp_url=f"{pg.url}/")
        with pytest.raises(iamport.HttpError) as refused:
            stranger.find(imp_uid="x")
        stranger.requests_session.close()

        assert refused.value.code == 401


class TestIamporter:
    """PyPI iamporter 0.2.4: form bodies, the bare token."""

    @pytest.fixture
    def client(self, pg):
        module = import_module("iamporter")
        return module.Iamporter(imp_key=KEY, imp_secret=SECRET, imp_url=pg.url)

    @pytest.fixture
    def error(self):
        return import_module("iamporter").errors.ImpApiError

    def test_a_key_is_issued_charged_and_deleted(self, client):
        client.create_billkey(customer_uid="porter", **CARD, customer_info={"name": "김미나"})
        paid = client.create_payment(merchant_uid="porter-1", customer_uid="porter", name="Pro", amount=1000)

        assert (paid["status"], paid["amount"]) == ("paid", 1000)
        assert client.find_payment(imp_uid=paid["imp_uid"])["merchant_uid"] == "porter-1"
        assert client.find_payment(merchant_uid="porter-1")["imp_uid"] == paid["imp_uid"]
        assert client.find_billkey("porter")["customer_name"] == "김미나"
        assert client.cancel_payment(imp_uid=paid["imp_uid"], amount=300, reason="r")["cancel_amount"] == 300
        assert client.delete_billkey("porter")["customer_uid"] == "porter"

    def test_card_data_charges_once_and_may_be_kept(self, client):
        paid = client.create_payment(merchant_uid="porter-2", customer_uid="porter-2", name="n", amount=1000, **CARD)

        assert paid["customer_uid"] == "porter-2"
        assert client.find_billkey("porter-2")["card_number"] == "424242******4242"

    @pytest.mark.parametrize(
        ("verb", "given", "words"),
        [
            ("find_payment", {"imp_uid": "imp_x"}, "존재하지 않는 결제정보입니다."),
            ("find_billkey", {"customer_uid": "no"}, "요청하신 customer_uid(no)로 등록된 정보를 찾을 수 없습니다."),
            ("delete_billkey", {"customer_uid": "no"}, "요청하신 customer_uid(no)로 등록된 정보를 찾을 수 없습니다."),
            ("cancel_payment", {"imp_uid": "no"}, "취소할 결제건이 존재하지 않습니다."),
            (
                "create_payment",
                {"merchant_uid": "m", "customer_uid": "no", "name": "n", "amount": 100},
                "등록되지 않은 구매자입니다.",
            ),
            (
                "create_billkey",
                {**CARD, "customer_uid": "c", "card_number": MAGIC_CARDS["wrong_number"].number},
                "카드정보 인증 및 빌키 발급에 실패하였습니다. [120014]카드번호 오류",
            ),
        ],
    )
    def test_its_own_tests_find_the_messages_they_assert(self, client, error, verb, given, words):
        with pytest.raises(error) as refused:
            getattr(client, verb)(**given)

        assert refused.value.response.message == words

    def test_a_used_order_number_is_refused(self, client, error):
        client.create_payment(merchant_uid="porter-3", name="n", amount=1000, **CARD)
        with pytest.raises(error) as refused:
            client.create_payment(merchant_uid="porter-3", name="n", amount=1000, **CARD)

        assert refused.value.response.message == USED

    def test_a_wrong_secret_is_its_own_error(self, pg):
        iamporter = import_module("iamporter")
        with pytest.raises(iamporter.errors.ImpUnAuthorized) as refused:
            iamporter.Iamporter(imp_key=KEY, imp_secret="wrong", imp_url=pg.url)

        assert refused.value.message == "Unauthorized"


class TestAsyncIamport:
    """PyPI async-iamport 0.2.0: JSON bodies over aiohttp, the token kept until a minute before its expiry."""

    def test_a_life_of_a_key(self, pg):
        async_iamport = import_module("async_iamport")

        async def life():
            client = async_iamport.AsyncIamport(imp_key=KEY, imp_secret=SECRET, imp_url=pg.url)
            try:
                await client.customer_create(customer_uid="async", **CARD)
                paid = await client.pay_again(customer_uid="async", merchant_uid="async-1", amount=900, name="n")
                assert await client.is_paid(900, imp_uid=paid["imp_uid"])
                assert (await client.find_by_merchant_uid("async-1", "paid"))["imp_uid"] == paid["imp_uid"]
                assert (await client.cancel("r", imp_uid=paid["imp_uid"]))["status"] == "cancelled"
                await client.prepare("async-2", 100)
                await client.adjust_prepare_amount("async-2", 200)
                assert await client.prepare_validate("async-2", 200)
                with pytest.raises(async_iamport.ResponseError) as used:
                    await client.pay_again(customer_uid="async", merchant_uid="async-1", amount=900, name="n")
                with pytest.raises(async_iamport.HttpError) as missing:
                    await client.find(imp_uid="nothing")
                await client.customer_delete("async")
                return used.value.message, missing.value.code
            finally:
                await client.close_session()

        assert asyncio.run(life()) == (USED, 404)


class TestReplayed:
    """The same habits by hand, for an environment without the clients."""

    @pytest.fixture
    def wire(self, pg):
        with httpx.Client(base_url=pg.url) as client:
            yield client

    def token(self, wire, **how):
        return wire.post("/users/getToken", **how).json()["response"]["access_token"]

    def test_forms_with_a_bare_token(self, wire):
        token = self.token(wire, data={"imp_key": KEY, "imp_secret": SECRET})
        header = {"Authorization": token}
        issued = wire.post("/subscribe/customers/form", data=CARD, headers=header).json()
        charge = {"customer_uid": "form", "merchant_uid": "form-1", "amount": 1000.0, "name": "Pro"}
        paid = wire.post("/subscribe/payments/again", data=charge, headers=header).json()
        again = wire.post("/subscribe/payments/again", data=charge, headers=header).json()

        assert issued["code"] == 0
        assert (paid["code"], paid["message"], paid["response"]["amount"]) == (0, None, 1000)
        assert (again["code"], again["message"], again["response"]) == (1, USED, None)

    def test_json_text_with_a_fresh_token_for_every_call(self, wire):
        headers = {"Content-Type": "application/json"}
        pair = json.dumps({"imp_key": KEY, "imp_secret": SECRET})
        first = self.token(wire, content=pair, headers=headers)
        second = self.token(wire, content=pair, headers=headers)
        body = json.dumps({"customer_uid": "json", **CARD})
        issued = wire.post("/subscribe/customers/json", content=body, headers={**headers, "Authorization": first})
        found = wire.get("/subscribe/customers/json", headers={"Authorization": second})

        assert first == second
        assert issued.json() == found.json()

    def test_a_get_that_declares_json_and_carries_nothing(self, wire):
        token = self.token(wire, data={"imp_key": KEY, "imp_secret": SECRET})
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

        assert wire.get("/payments/status/all", params={"limit": 5, "sorting": "-updated"}, headers=headers).status_code == 200
