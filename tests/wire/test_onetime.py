"""A charge of raw card data: everything the PG wants in one body, sent once, and quoted by nobody."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from billing.domain.evidence import Answered, RateLimited, Refusal, RefusalKind, Reply, Silence, Unauthorized
from billing.errors import RuleError
from billing.gateway import bodies, iamport, wire
from billing.gateway import http as http_module
from billing.gateway.card import Card
from billing.gateway.http import Http, Timeouts
from billing.ports import Token
from tests.wire.scripted import Say, envelope, ok, record, refused
from tests.wire.test_leaks import clean, made_card, tell
from tests.wire.worlds import World, gateway, handler, order, world

ONETIME = "/subscribe/payments/onetime"
USED = "이미 주문이 이루어진 건입니다. (동일한 merchant_uid로 결제 또는 취소된 기록이 있습니다)"


def card() -> Card:
    return Card(number="4242424242424242", expiry="12/30", birth="880101", pwd_2digit="12")


def charge(w: World, given: Card | None = None, *, pg: str = "", gate: bool = True, **changes: object) -> Reply:
    wanted = order(**{"customer_uid": "", **changes})  # type: ignore[arg-type]
    return w.gateway.charge_card(wanted, given or card(), pg=pg, token=w.gateway.token(), gate=lambda: gate)


def sent(w: World) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in w.server.arrivals if one.path == ONETIME]


PAID = ok(record(customer_uid=None, customer_uid_usage=None))


def test_the_body_says_what_is_charged_and_to_which_card_and_keeps_none():
    with world(lambda _: PAID) as w:
        reply = charge(
            w, vat_amount=900, tax_free=0, buyer_name="민아", buyer_tel="010-1234-5678", buyer_email="m@x", custom_data='{"a":1}'
        )
        assert isinstance(reply, Answered)
        assert sent(w) == [
            {
                "merchant_uid": "gd1a01", "amount": 9900, "name": "프로 요금제", "tax_free": 0, "vat_amount": 900,
                "buyer_name": "민아", "buyer_tel": "010-1234-5678", "buyer_email": "m@x", "custom_data": '{"a":1}',
                "card_number": "4242-4242-4242-4242", "expiry": "2030-12", "birth": "880101", "pwd_2digit": "12",
            }
        ]  # fmt: skip


def test_a_name_for_the_card_keeps_it_and_the_channel_is_named_the_way_it_is_known():
    with world(lambda _: ok(record())) as w:
        charge(w, pg="inicis.INIBillTst", customer_uid="cu1")
        charge(w, pg="channel-key-abc")
        first, second = sent(w)
        assert (first["customer_uid"], first["pg"], "channel_key" in first) == ("cu1", "inicis.INIBillTst", False)
        assert (second["channel_key"], "pg" in second, "customer_uid" in second) == ("channel-key-abc", False, False)


@pytest.mark.parametrize(
    ("say", "reply"),
    [
        (refused("Unauthorized", code=-1, status=401), Unauthorized()),
        (Say(429, headers={"Retry-After": "7"}), RateLimited(7.0)),
    ],
)
def test_what_was_turned_away_at_the_door_is_said_so_and_not_sent_again(say, reply):
    with world(lambda _: say) as w:
        assert charge(w) == reply
        assert len(sent(w)) == 1


@pytest.mark.parametrize(
    "say",
    [
        Say(500), Say(502, b"<html>"), Say(silent=True), Say(200, b"{"), Say(is_reset=True), Say(302), ok(None),
        Say(200, envelope(record()), cut_at=80), ok(record(merchant_uid="gd1a02")), ok([]),
    ],
)  # fmt: skip
def test_without_a_usable_answer_it_may_have_been_charged_and_is_sent_once(say):
    with world(lambda _: say, read=0.1) as w:
        reply = charge(w)
        assert isinstance(reply, Silence)
        assert reply.sent
        assert len(sent(w)) == 1


def test_without_a_connection_nothing_was_sent():
    with gateway(Http("http://127.0.0.1:9", timeouts=Timeouts(connect=0.2, write=0.2, read=0.2))) as pg:
        reply = pg.charge_card(order(customer_uid=""), card(), token=Token("t", "f"), gate=lambda: True)
        assert isinstance(reply, Silence)
        assert not reply.sent


def test_a_charge_that_comes_too_late_never_leaves_and_its_card_is_gone():
    with world(lambda _: PAID) as w:
        given = card()
        assert charge(w, given, gate=False) == Silence(False, "the gate was closed")
        assert sent(w) == []
        with pytest.raises(RuleError, match="was used already"):
            given.revealed()


@pytest.mark.parametrize("changes", [{"merchant_uid": "x" * 41}, {"merchant_uid": ""}, {"amount": 0}, {"customer_uid": "c" * 81}])
def test_an_order_the_pg_would_cut_never_leaves(changes):
    with world(lambda _: PAID) as w:
        assert charge(w, **changes) == Silence(True, "the engine failed around the send")
        assert sent(w) == []


def test_a_number_that_was_used_is_a_hint_and_no_refusal():
    with world(lambda _: refused(USED)) as w:
        reply = charge(w)
        assert isinstance(reply, Refusal)
        assert reply.kind is RefusalKind.DUPLICATE


def test_a_refusal_does_not_quote_the_card():
    message = "카드정보 인증에 실패하였습니다. [F113] 카드번호틀림 4242-4242-4242-4242 유효기간 1230 생년월일 880101 비밀번호 12"
    with world(lambda _: refused(message)) as w:
        reply = charge(w)
        assert isinstance(reply, Refusal)
        assert "[F113]" in reply.message
        assert not any(part in reply.message for part in ("4242", "1230", "880101", " 12"))


def test_the_body_does_not_show_itself():
    body = bodies.onetime(order(customer_uid=""), made_card().revealed(), "")
    assert b"4242" in body
    clean(f"{body!r} {body}")


BREAKS = [
    (bodies, "onetime"), (bodies, "_json"), (bodies, "_ordered"), (wire, "payment"), (iamport, "reply_to"), (iamport, "unquoted"),
    (http_module, "Answer"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "name"), BREAKS, ids=[name for _, name in BREAKS])
@pytest.mark.parametrize("say", [refused("어려움 4242", code=-1), PAID], ids=["refused", "paid"])
def test_wherever_it_breaks_inside_it_is_a_reply_that_shows_no_card(where, name, say, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    with gateway(Http("http://pg.test", handler=handler(tell(say), []))) as pg:
        token, given = pg.token(), made_card()

        def broken(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError(repr(args) + repr(kwargs))

        monkeypatch.setattr(where, name, broken)
        reply = pg.charge_card(order(customer_uid=""), given, token=token, gate=lambda: True)
        monkeypatch.undo()
    assert not isinstance(reply, Silence) or reply.sent, "where it broke is not known, so it may have been charged"
    clean(caplog.text)
    clean(repr(reply))
