"""Refunds, keys, prepared amounts, channels: sent once, refusals told apart from trouble."""

from __future__ import annotations

import json

import pytest

from billing.domain.customer import KeyFact
from billing.domain.evidence import Answered, CancelOrder, RateLimited, Refusal, RefusalKind, Silence, Unauthorized
from billing.errors import GatewayUnavailable
from billing.gateway.card import Card
from billing.gateway.http import Http, Timeouts
from billing.ports import Token
from tests.wire.scripted import Say, envelope, ok, record, refused
from tests.wire.worlds import gateway, world

KEY = {
    "customer_uid": "cu1", "pg_provider": "inicis", "pg_id": "INIBillTst", "sandbox": True, "card_name": "신한카드",
    "card_code": "366", "card_number": "4242********4242", "card_type": None, "inserted": 10, "updated": 20,
}  # fmt: skip
UNKNOWN_KEY = refused("요청하신 customer_uid(cu1)로 등록된 정보를 찾을 수 없습니다.")


def refund(**changes: object) -> CancelOrder:
    return CancelOrder(**{"imp_uid": "imps_1", "amount": 3000, "checksum": 9900, "reason": "반품 r-1", **changes})  # type: ignore[arg-type]


def card() -> Card:
    return Card(number="4242424242424242", expiry="12/30", birth="880101", pwd_2digit="12")


CANCELLED = record(status="cancelled", cancel_amount=3000)


def test_a_refund_names_amount_balance_and_reason_and_asks_for_no_webhook():
    with world(lambda _: ok(CANCELLED)) as w:
        reply = w.cancel(refund())

        assert isinstance(reply, Answered)
        assert reply.fact.cancel_amount == 3000
        assert json.loads(w.server.arrivals[-1].body) == {
            "imp_uid": "imps_1", "amount": 3000, "checksum": 9900, "reason": "반품 r-1", "enable_webhook": False,
        }  # fmt: skip


def test_a_refund_in_a_currency_with_cents_is_written_in_major_units():
    with world(lambda _: ok(CANCELLED)) as w:
        w.cancel(refund(currency="USD", vat_amount=273))
        sent = json.loads(w.server.arrivals[-1].body)
        assert (sent["amount"], sent["checksum"], sent["vat_amount"]) == (30.0, 99.0, 2.73)


@pytest.mark.parametrize(("amount", "checksum"), [(0, 9900), (-1, 9900), (9901, 9900), (0, 0)])
def test_a_refund_of_nothing_or_of_too_much_cannot_even_be_written_down(amount, checksum):
    """To the PG an amount of 0 means everything."""
    with pytest.raises(ValueError, match="is not one"):
        refund(amount=amount, checksum=checksum)


@pytest.mark.parametrize(("code", "message"), [(1, "이미 전액취소된 주문입니다."), (-1, "[8178] 취소 가능 금액 부족"), (1, "")])
def test_a_refused_refund_is_a_refusal(code, message):
    with world(lambda _: refused(message, code=code)) as w:
        assert isinstance(w.cancel(refund()), Refusal)


@pytest.mark.parametrize(
    "say",
    [
        Say(500),
        Say(502, b"<html>"),
        Say(silent=True),
        Say(200, b"{"),
        ok(None),
        Say(302),
        Say(400, envelope(record())),
        Say(is_reset=True),
        ok(CANCELLED | {"imp_uid": "imps_2"}),
    ],
)
def test_a_refund_without_a_usable_answer_may_have_been_executed_and_is_sent_once(say):
    with world(lambda _: say, read=0.1) as w:
        reply = w.cancel(refund())
        assert isinstance(reply, Silence)
        assert reply.sent
        assert len(w.server.arrivals) == 2


def test_a_refund_is_asked_to_slow_down():
    with world(lambda _: Say(429, headers={"Retry-After": "7"})) as w:
        assert w.cancel(refund()) == RateLimited(7.0)


def test_a_refund_met_with_401_is_not_sent_again():
    with world(lambda _: refused("Unauthorized", code=-1, status=401)) as w:
        assert w.cancel(refund()) == Unauthorized()
        assert [arrival.path for arrival in w.server.arrivals] == ["/users/getToken", "/payments/cancel"]


def test_a_refund_that_comes_too_late_never_leaves():
    with world(lambda _: ok(CANCELLED)) as w:
        assert w.cancel(refund(), gate=lambda: False) == Silence(False, "the gate was closed")
        assert [arrival.path for arrival in w.server.arrivals] == ["/users/getToken"]


def test_a_refund_without_a_connection_was_not_sent():
    with gateway(Http("http://127.0.0.1:9", timeouts=Timeouts(connect=0.2, write=0.2, read=0.2))) as pg:
        reply = pg.cancel(refund(), token=Token("t", "f"), gate=lambda: True)
        assert isinstance(reply, Silence)
        assert not reply.sent


def test_a_card_becomes_a_key():
    with world(lambda _: ok(KEY)) as w:
        fact = w.gateway.issue_key("cu1", card(), pg="inicis.INIBillTst", buyer={"name": "민아", "tel": "", "email": "e@x"})

        assert fact == KeyFact("cu1", "inicis", "INIBillTst", True, "신한카드", "366", "4242********4242", None, 10, 20)
        assert w.server.arrivals[-1].path == "/subscribe/customers/cu1"
        assert json.loads(w.server.arrivals[-1].body) == {
            "card_number": "4242-4242-4242-4242", "expiry": "2030-12", "birth": "880101", "pwd_2digit": "12",
            "pg": "inicis.INIBillTst", "customer_name": "민아", "customer_email": "e@x",
        }  # fmt: skip


def test_a_channel_key_goes_where_the_pg_looks_for_one():
    with world(lambda _: ok(KEY)) as w:
        w.gateway.issue_key("cu1", card(), pg="channel-key-abc")
        body = json.loads(w.server.arrivals[-1].body)
        assert (body.get("channel_key"), body.get("pg")) == ("channel-key-abc", None)


def test_a_refused_card_is_a_refusal_that_does_not_quote_the_card():
    message = "카드정보 인증에 실패하였습니다. [F113]거래거절 카드번호틀림 4242424242424242 4242-4242-4242-4242 880101"
    with world(lambda _: refused(message, code=-1)) as w:
        reply = w.gateway.issue_key("cu1", card())
        assert isinstance(reply, Refusal)
        assert reply.message.endswith("[F113]거래거절 카드번호틀림 [hidden]")


@pytest.mark.parametrize("say", [Say(500), Say(silent=True), Say(200, b"<html>"), Say(401, envelope(code=-1)), ok("key")])
def test_a_registration_without_a_usable_answer_is_sent_once(say):
    with world(lambda _: say, read=0.1) as w:
        with pytest.raises(GatewayUnavailable, match="register cu1"):
            w.gateway.issue_key("cu1", card())
        assert len(w.server.arrivals) == 2


@pytest.mark.parametrize("say", [refused("없음", status=404), UNKNOWN_KEY])
def test_an_unknown_key_is_absent_with_404_and_with_200(say):
    with world(lambda _: say) as w:
        assert w.gateway.get_key("cu1") is None
        assert w.gateway.delete_key("cu1", reason="새 카드") is False


def test_a_known_key_is_found_alone_and_among_many_and_deleted():
    def script(arrival):
        return ok([KEY]) if "customer_uid%5B%5D" in arrival.target else ok(KEY)

    with world(script) as w:
        fact = w.gateway.get_key("cu1")
        assert fact is not None
        assert fact.updated > fact.inserted
        assert w.gateway.get_keys(["cu1", "cu2"]) == {"cu1": fact}
        assert w.gateway.delete_key("cu1", reason="새 카드") is True
        assert w.server.arrivals[-1].method == "DELETE"


@pytest.mark.parametrize("say", [Say(500), Say(404, b"<html>"), refused("어려움"), Say(403, b"")])
def test_a_key_that_could_not_be_deleted_is_not_called_absent(say):
    with world(lambda _: say) as w, pytest.raises(GatewayUnavailable, match="delete key cu1"):
        w.gateway.delete_key("cu1", reason="새 카드")


def test_an_amount_is_prepared_and_read_back():
    with world(lambda _: ok({"merchant_uid": "gd1", "amount": 9900.0, "currency": None})) as w:
        w.gateway.prepare("gd1", 9900)
        assert json.loads(w.server.arrivals[-1].body) == {"merchant_uid": "gd1", "amount": 9900}
        assert w.gateway.prepared("gd1") == 9900
    with world(lambda _: refused("사전등록된 결제정보가 존재하지 않습니다.", status=404)) as w:
        assert w.gateway.prepared("gd1") is None
    with world(lambda _: refused("어려움")) as w, pytest.raises(GatewayUnavailable, match="prepare gd1"):
        w.gateway.prepare("gd1", 9900)


def test_channels():
    channel = {"pg_provider": "html5_inicis", "pg_id": "INIBillTst", "sandbox": True, "type": "payment", "channel_name": "정기"}
    channel["channel_key"] = "channel-key-abc"
    with world(lambda _: ok([channel])) as w:
        [found] = w.gateway.channels()
        assert (found.pg_provider, found.pg_id, found.sandbox, found.name) == ("html5_inicis", "INIBillTst", True, "정기")
        assert found.key == "channel-key-abc"


def test_a_refusal_of_the_pg_below_is_never_final():
    with world(lambda _: refused("등록되지 않은 구매자입니다.", code=-1)) as w:
        reply = w.gateway.issue_key("cu1", card())
        assert isinstance(reply, Refusal)
        assert reply.kind is RefusalKind.UNCLEAR
