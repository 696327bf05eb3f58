"""Questions: bulk pages and their canary, absence that counts and absence that does not, the one repeat after a 401."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest

from billing.domain.evidence import PaymentStatus
from billing.errors import CredentialsRefused, GatewayUnavailable, RuleError
from billing.gateway.http import Http
from billing.ports import PaymentPage
from tests.wire.scripted import Arrival, Say, envelope, ok, record, refused, token_answer
from tests.wire.worlds import gateway, handler, order, world

NOT_FOUND = refused("존재하지 않는 결제정보입니다.", status=404)


def asked(arrival: Arrival) -> list[tuple[str, str]]:
    return parse_qsl(arrival.target.partition("?")[2])


def bulk(known: dict[str, dict]):
    """GET /payments over `known` records by imp_uid."""

    def script(arrival: Arrival) -> Say:
        ids = {value for _, value in asked(arrival)}
        found = [r for r in known.values() if r["imp_uid"] in ids or r["merchant_uid"] in ids]
        return Say(200 if len(found) == len(ids) else 207, envelope(found)) if found else NOT_FOUND

    return script


def test_any_number_of_ids_in_pages_of_a_hundred_with_the_canary_on_each():
    known = {f"imps_{n}": record(imp_uid=f"imps_{n}", merchant_uid=f"gd{n}") for n in range(250)}
    known["imp_canary"] = record(imp_uid="imp_canary", merchant_uid="canary")
    with world(bulk(known)) as w:
        found = w.gateway.find_payments([f"gd{n}" for n in range(250)], canary="imp_canary")

        assert set(found.facts) == {f"gd{n}" for n in range(250)}
        assert found.canary_seen is True
        pages = [asked(arrival) for arrival in w.server.arrivals if arrival.path == "/payments"]
        assert sorted(map(len, pages)) == [53, 100, 100]
        assert all(("imp_uid[]", "imp_canary") in page for page in pages)


def test_a_page_that_misses_the_canary_makes_every_absence_worthless():
    known = {"imps_1": record(), "imp_canary": record(imp_uid="imp_canary", merchant_uid="canary")}

    def blind_on_one_page(arrival):
        return NOT_FOUND if ("merchant_uid[]", "gd150") in asked(arrival) else bulk(known)(arrival)

    with world(blind_on_one_page) as w:
        found = w.gateway.find_payments(["gd1a01", *(f"gd{n}" for n in range(190))], canary="imp_canary")
        assert found.canary_seen is False
        assert set(found.facts) == {"gd1a01"}
        assert w.gateway.find_payments([], canary="imp_other").canary_seen is False
        assert w.gateway.find_payments([], canary="imp_canary").canary_seen is True
        assert w.gateway.find_payments(["gd1a01"]).canary_seen is None


def test_the_canary_is_returned_only_to_who_asked_for_it():
    known = {"imp_canary": record(imp_uid="imp_canary", merchant_uid="canary")}
    with world(bulk(known)) as w:
        assert w.gateway.find_payments(["gd1"], canary="imp_canary").facts == {}
        assert set(w.gateway.find_payments(["canary"], canary="imp_canary").facts) == {"canary"}
        assert set(w.gateway.find_payments([], imp_uids=["imp_canary"], canary="imp_canary").facts) == {"canary"}


def test_several_records_of_one_number_come_oldest_first_and_once():
    records = [
        record(imp_uid="imps_2", status="failed", started_at=20),
        record(imp_uid="imps_1", status="paid", started_at=10),
        record(imp_uid="imps_1", status="paid", started_at=10),
    ]
    with world(lambda _: ok(records)) as w:
        found = w.gateway.find_payments(["gd1a01"], imp_uids=["imps_1"])
        assert [fact.imp_uid for fact in found.facts["gd1a01"]] == ["imps_1", "imps_2"]


def test_a_record_is_filed_under_its_own_number_not_under_the_one_asked_for():
    with world(lambda _: ok([record(merchant_uid="foreign")])) as w:
        assert set(w.gateway.find_payments(["gd1a01"]).facts) == {"foreign"}


def test_nothing_asked_is_nothing_sent():
    with world(lambda _: NOT_FOUND) as w:
        assert w.gateway.find_payments([]).facts == {}
        assert w.gateway.find_paid([]) == {}
        assert w.gateway.get_keys([]) == {}
        assert w.server.arrivals == []


def test_find_paid_looks_behind_a_newer_failure():
    def script(arrival):
        assert arrival.path.endswith("/paid")
        return ok(record()) if "gd1a01" in arrival.path else NOT_FOUND

    with world(script) as w:
        found = w.gateway.find_paid([f"gd{n}" for n in range(10)] + ["gd1a01"])
        assert {uid: fact.status for uid, fact in found.items()} == {"gd1a01": PaymentStatus.PAID}


def test_find_paid_looks_behind_a_card_that_was_registered_under_the_number():
    """Such a record says paid, over nothing, and may be the newer one."""
    money, nothing = record(imp_uid="money", started_at=1), record(imp_uid="nothing", amount=0, started_at=2)

    def script(arrival):
        is_all = "/findAll/" in arrival.path
        return ok({"total": 2, "previous": 0, "next": 0, "list": [nothing, money]}) if is_all else ok(nothing)

    with world(script) as w:
        assert {uid: fact.imp_uid for uid, fact in w.gateway.find_paid(["gd1a01"]).items()} == {"gd1a01": "money"}


def test_find_all_walks_every_page_and_sorts():
    pages = {
        "1": {
            "total": 3,
            "previous": 0,
            "next": 2,
            "list": [record(imp_uid="c", started_at=3), record(imp_uid="b", started_at=2)],
        },
        "2": {"total": 3, "previous": 1, "next": 0, "list": [record(imp_uid="a", started_at=1)]},
    }
    with world(lambda arrival: ok(pages[dict(asked(arrival))["page"]])) as w:
        assert [fact.imp_uid for fact in w.gateway.find_all("gd1a01")] == ["a", "b", "c"]
    with world(lambda _: NOT_FOUND) as w:
        assert w.gateway.find_all("gd1a01") == []
    with world(lambda _: ok({"total": 9, "previous": 0, "next": 1, "list": [record()]})) as w:
        assert len(w.gateway.find_all("gd1a01")) == 1  # a page that names itself as the next one


def test_a_page_of_the_list():
    body = {"total": 7, "previous": 0, "next": 2, "list": [record(imp_uid="b"), record(imp_uid="a")]}
    with world(lambda _: ok(body)) as w:
        page = w.gateway.list_payments("paid", limit=2, since=datetime(2026, 1, 1, tzinfo=UTC))
        assert ([fact.imp_uid for fact in page.facts], page.total, page.next_page) == (["b", "a"], 7, 2)
        [arrival] = [a for a in w.server.arrivals if a.path == "/payments/status/paid"]
        assert asked(arrival) == [("page", "1"), ("limit", "2"), ("sorting", "-updated"), ("from", "1767225600")]


OUT_OF_RANGE = refused("조회 가능한 페이지 범위를 초과하였습니다.", status=400)


@pytest.mark.parametrize("answer", [NOT_FOUND, OUT_OF_RANGE], ids=["404", "400"])
def test_a_list_without_a_first_page_is_empty_and_one_without_a_later_page_is_broken(answer):
    with world(lambda _: answer) as w:
        assert w.gateway.list_payments() == PaymentPage((), 0, 0)
        with pytest.raises(GatewayUnavailable, match="page 2"):
            w.gateway.list_payments(page=2)


def test_a_list_with_ends_that_is_refused_is_not_empty():
    with world(lambda _: OUT_OF_RANGE) as w, pytest.raises(GatewayUnavailable, match="HTTP 400"):
        w.gateway.list_payments(since=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("is_live", "target"), [(False, "/payments/imp_1?include_sandbox=true"), (True, "/payments/imp_1")])
def test_one_payment_test_channels_included_unless_live(is_live, target):
    with world(lambda _: ok(record(imp_uid="imp_1")), is_live=is_live) as w:
        fact = w.gateway.get_payment("imp_1")
        assert fact is not None
        assert w.server.arrivals[-1].target == target
    with world(lambda _: NOT_FOUND, is_live=is_live) as w:
        assert w.gateway.get_payment("imp_1") is None


@pytest.mark.parametrize("imp_uid", ["a/b", "a?b=c", "가나다", "a%2e", "a b", "a#b", "../users/pg"])
def test_a_strangers_id_stays_one_segment_of_the_path(imp_uid):
    with world(lambda _: NOT_FOUND) as w:
        assert w.gateway.get_payment(imp_uid) is None
        segments = w.server.arrivals[-1].path.split("/")
        assert len(segments) == 3
        assert segments[1] == "payments"


@pytest.mark.parametrize("imp_uid", ["", ".", "..", "a\nb", "a\x00", "x" * 81, "\ud800"])
def test_an_id_that_addresses_something_else_is_not_sent(imp_uid):
    with world(lambda _: NOT_FOUND) as w:
        with pytest.raises(RuleError, match="imp_uid"):
            w.gateway.get_payment(imp_uid)
        assert w.server.arrivals == []


UNUSABLE = {
    "404 of a proxy": Say(404, b"<html>Not Found</html>", {"Content-Type": "text/html"}),
    "404, empty": Say(404),
    "404 of a gateway that speaks JSON": Say(404, b'{"code":404,"message":"no route"}'),
    "404 with code 0": Say(404, envelope(None)),
    "no contract": refused("비인증결제모듈 사용정보를 찾을 수 없습니다."),
    "500": Say(500, envelope(code=-1, message="오류")),
    "502": Say(502, b"<html>"),
    "429": Say(429, b""),
    "302": Say(302, headers={"Location": "/"}),
    "403": Say(403, b""),
    "400": refused("지원되지 않는 상태값입니다.", status=400),
    "code 1 in words we do not know": refused("어려움"),
    "HTML": Say(200, b"<html>"),
    "not a record": ok("paid"),
    "half a record": ok({"imp_uid": "imp_1"}),
    "cut": Say(200, envelope(record()), cut_at=100),
    "silence": Say(silent=True),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_answer_is_never_an_absence(case):
    with world(lambda _: UNUSABLE[case], read=0.1) as w:
        host = w.server.url.removeprefix("http://")
        for question in (
            lambda: w.gateway.get_payment("imp_1"),
            lambda: w.gateway.find_payments(["gd1a01"]),
            lambda: w.gateway.find_paid(["gd1a01"]),
            lambda: w.gateway.find_all("gd1a01"),
            lambda: w.gateway.list_payments(page=2),
        ):
            with pytest.raises(GatewayUnavailable) as caught:
                question()
            assert str(caught.value).startswith(f"{host}: ")
            assert "\n" not in str(caught.value)


def test_a_look_up_that_gets_401_is_repeated_once_with_a_fresh_token():
    arrivals: list[Arrival] = []
    issued: list[int] = []

    def script(arrival: Arrival) -> Say:
        if arrival.path == "/users/getToken":
            issued.append(1)
            return token_answer(f"token-{len(issued)}")
        return ok(record()) if arrival.token == "token-2" else refused("Unauthorized", code=-1, status=401)

    with gateway(Http("http://pg.test", handler=handler(script, arrivals))) as pg:
        assert pg.get_payment("imp_1") is not None
        assert [arrival.token for arrival in arrivals] == ["", "token-1", "", "token-2"]


def test_two_401_in_a_row_stop_the_channel():
    with world(lambda _: refused("Unauthorized", code=-1, status=401)) as w:
        with pytest.raises(CredentialsRefused, match="BILLING_IMP_KEY"):
            w.gateway.get_payment("imp_1")
        assert [arrival.path for arrival in w.server.arrivals] == ["/users/getToken", "/payments/imp_1"] * 2


def test_one_failing_page_fails_the_whole_bulk_look_up():
    def script(arrival):
        return Say(502) if ("merchant_uid[]", "gd150") in asked(arrival) else ok([])

    with world(script) as w, pytest.raises(GatewayUnavailable):
        w.gateway.find_payments([f"gd{n}" for n in range(400)])


def test_look_ups_do_not_queue_behind_charges_in_the_pool():
    def script(arrival):
        return Say(silent=True) if arrival.path == "/subscribe/payments/again" else ok([record()])

    with world(script, concurrency=2, read=1.0) as w:
        replies = w.gateway.charge([order(f"gd{n}") for n in range(2)], token=w.gateway.token(), gate=lambda: True)
        waiting = threading.Thread(target=lambda: list(replies))
        waiting.start()
        found = w.gateway.find_payments([f"gd{n}" for n in range(300)])
        assert waiting.is_alive()
        assert set(found.facts) == {"gd1a01"}
        waiting.join()
