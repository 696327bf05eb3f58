"""What each answer to a charge proves, whether or not the charge was executed behind it."""

from __future__ import annotations

import pytest

from billing.domain.evidence import (
    Answered,
    DeclineClass,
    PaymentStatus,
    RateLimited,
    Refusal,
    RefusalKind,
    Silence,
    Unauthorized,
)
from billing.gateway.http import Http, Timeouts
from tests.wire.scripted import Say, envelope, ok, record, refused
from tests.wire.worlds import gateway, order, world

MAYBE_EXECUTED = {
    "500": Say(500, envelope(code=-1, message="오류")),
    "502 in HTML": Say(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
    "503 empty": Say(503),
    "504": Say(504, b"upstream timed out"),
    "301": Say(301, headers={"Location": "/subscribe/payments/again"}),
    "307": Say(307, headers={"Location": "/subscribe/payments/again"}),
    "201": Say(201, envelope(record())),
    "202": Say(202, envelope(record())),
    "204": Say(raw=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "400 in HTML": Say(400, b"<html>", {"Content-Type": "text/html"}),
    "403 of a firewall": Say(403, b"denied"),
    "404 of a proxy": Say(404, b"<html>"),
    "403 of a gateway that speaks JSON": Say(403, b'{"code":403,"message":"Forbidden"}'),
    "half an envelope": Say(200, b'{"code":1,"message":"?"}'),
    "408": Say(408, envelope(code=1, message="timeout")),
    "400 with code 0": Say(400, envelope(record())),
    "empty": Say(200),
    "HTML": Say(200, b"<html>ok</html>"),
    "half a JSON": Say(200, envelope(record())[:-20]),
    "not UTF-8": Say(200, envelope(record()).decode().encode("euc-kr")),
    "a list": Say(200, b"[]"),
    "a number": Say(200, b"0"),
    "no code": Say(200, b'{"message":null,"response":null}'),
    "code true": Say(200, b'{"code":true,"response":null}'),
    "code 0, no record": ok(None),
    "code 0, a list": ok([record()]),
    "no imp_uid": ok(record(imp_uid=None)),
    "no merchant_uid": ok(record(merchant_uid="")),
    "no status": ok(record(status=None)),
    "no amount": ok(record(amount=None)),
    "a fraction of a won": ok(record(amount=9900.5)),
    "an amount in words": ok(record(amount="많음")),
    "a negative amount": ok(record(amount=-1)),
    "an endless amount": ok(record(amount="1e999999999")),
    "no currency": ok(record(currency=None)),
    "an unknown currency": ok(record(currency="???")),
    "no sandbox flag": ok(record(sandbox=None)),
    "refunded, but nobody says how much": ok(record(status="cancelled", cancel_amount=None)),
    "deep": Say(200, b"[" * 100_000),
    "cut in the body": Say(200, envelope(record()), cut_at=200),
    "cut in the head": Say(200, envelope(record()), cut_at=30),
    "cut at once": Say(200, cut_at=0),
    "reset": Say(is_reset=True),
    "not HTTP": Say(raw=b"SSH-2.0-OpenSSH\r\n"),
    "two lengths": Say(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "endless head": Say(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000),
    "another order number": ok(record(merchant_uid="gd1a0")),
}


@pytest.mark.parametrize("case", MAYBE_EXECUTED)
def test_a_doubtful_answer_is_silence_after_a_send_and_is_never_repeated(case):
    with world(lambda _: MAYBE_EXECUTED[case]) as w:
        reply = w.charge()["gd1a01"]

        assert isinstance(reply, Silence), reply
        assert reply.sent
        assert reply.why
        assert len(w.server.charges()) == 1


def test_no_answer_in_time_is_silence_after_a_send():
    with world(lambda _: Say(silent=True), read=0.1) as w:
        assert w.charge() == {"gd1a01": Silence(True, "no answer within 0.1 s")}
        assert len(w.server.charges()) == 1


def test_nothing_listening_is_proof_that_nothing_was_sent():
    with world(lambda _: ok(record())) as w:
        token, url = w.gateway.token(), w.server.url
    with gateway(Http(url)) as pg:
        [[(_, reply)]] = pg.charge([order()], token=token, gate=lambda: True)

    assert isinstance(reply, Silence)
    assert not reply.sent


def test_a_name_that_does_not_resolve_is_proof_that_nothing_was_sent():
    with world(lambda _: ok(record())) as w, gateway(Http("http://pg.invalid", timeouts=Timeouts(connect=2.0))) as pg:
        [[(_, reply)]] = pg.charge([order()], token=w.gateway.token(), gate=lambda: True)

    assert isinstance(reply, Silence)
    assert not reply.sent


def test_a_closed_gate_sends_nothing():
    with world(lambda _: ok(record())) as w:
        assert w.charge(gate=lambda: False) == {"gd1a01": Silence(False, "the gate was closed")}
        assert w.server.charges() == []


def test_an_approval_is_a_fact_that_keeps_every_field_exactly():
    with world(lambda _: ok(record(amount=9900.0, cancel_amount="0"))) as w:
        reply = w.charge()["gd1a01"]

        assert isinstance(reply, Answered)
        assert (reply.fact.amount, reply.fact.cancel_amount, reply.fact.status) == (9900, 0, PaymentStatus.PAID)
        assert type(reply.fact.amount) is int
        assert reply.fact.failed_at is None


def test_code_0_is_not_an_approval_the_status_decides():
    failed = record(status="failed", paid_at=0, failed_at=1_700_000_005, fail_reason="[120054]잔액부족")
    with world(lambda _: ok(failed)) as w:
        reply = w.charge()["gd1a01"]

        assert isinstance(reply, Answered)
        assert reply.fact.status is PaymentStatus.FAILED
        assert (reply.fact.fail_code, reply.fact.decline_class) == ("120054", DeclineClass.SOFT)


@pytest.mark.parametrize(("word", "status"), [("ready", PaymentStatus.READY), ("held", PaymentStatus.OTHER)])
def test_a_pending_or_unheard_of_status_is_evidence_too(word, status):
    with world(lambda _: ok(record(status=word))) as w:
        reply = w.charge()["gd1a01"]

        assert isinstance(reply, Answered)
        assert reply.fact.status is status


def test_a_401_is_reported_and_the_charge_is_not_sent_again():
    with world(lambda _: refused("Unauthorized", code=-1, status=401)) as w:
        assert w.charge() == {"gd1a01": Unauthorized()}
        assert len(w.server.charges()) == 1


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("Sat, 21 Nov 2026 00:00:00 GMT", None), (None, None), ("-1", None)])
def test_a_429_asks_to_slow_down(said, seconds):
    headers = {"Retry-After": said} if said else {}
    with world(lambda _: Say(429, b"slow down", headers)) as w:
        assert w.charge() == {"gd1a01": RateLimited(seconds)}


PAID_BEFORE = "이미 주문이 이루어진 건입니다. (동일한 merchant_uid로 결제 또는 취소된 기록이 있습니다)"
REFUSALS = [
    (1, PAID_BEFORE, RefusalKind.DUPLICATE, DeclineClass.UNKNOWN),
    (1, "이미  주문이 이루어진 건입니다", RefusalKind.DUPLICATE, DeclineClass.UNKNOWN),
    (1, "[F1002] 이미 결제가 이루어진 거래건입니다.", RefusalKind.DUPLICATE, DeclineClass.UNKNOWN),
    (-1, "[A127]주문번호 중복 오류", RefusalKind.DUPLICATE, DeclineClass.UNKNOWN),
    (1, "등록되지 않은 구매자입니다.", RefusalKind.FINAL, DeclineClass.HARD),
    (1, "요청하신 customer_uid(cu1)로 등록된 정보를 찾을 수 없습니다.", RefusalKind.FINAL, DeclineClass.HARD),
    (1, '["name"] 파라메터는 필수입니다.', RefusalKind.FINAL, DeclineClass.CONFIG),
    (1, "비인증결제모듈 사용정보를 찾을 수 없습니다.", RefusalKind.FINAL, DeclineClass.CONFIG),
    (-1, "등록되지 않은 구매자입니다.", RefusalKind.UNCLEAR, DeclineClass.HARD),
    (1, "결제 처리 중 오류가 발생하였습니다.", RefusalKind.UNCLEAR, DeclineClass.UNKNOWN),
    (-1, "카드사 통신 오류", RefusalKind.UNCLEAR, DeclineClass.UNKNOWN),
    (7, "", RefusalKind.UNCLEAR, DeclineClass.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize(("code", "message", "kind", "of"), REFUSALS)
def test_a_refusal_is_read_by_its_text_and_unknown_texts_stay_unclear(status, code, message, kind, of):
    with world(lambda _: refused(message, code=code, status=status)) as w:
        assert w.charge() == {"gd1a01": Refusal(kind, code, message, of)}


def test_the_wire_carries_what_was_ordered_and_leaves_out_what_says_nothing():
    told = order(buyer_name="가" * 20, buyer_email="x" * 70, buyer_tel="010-1234-5678", vat_amount=900)
    with world(lambda _: ok(record())) as w:
        w.charge(told)

        [sent] = w.server.charges()
        assert sent.method == "POST"
        assert sent.token == "token-1"
        assert sent.body.decode() == (
            '{"customer_uid":"cu1","merchant_uid":"gd1a01","amount":9900,"name":"프로 요금제","tax_free":0,'
            f'"vat_amount":900,"buyer_name":"{"가" * 16}","buyer_tel":"010-1234-5678"}}'
        )
