"""What goes wrong on the wire, by name: each fault, whom it strikes, how often, and that a seed repeats it."""

import json

import pytest

from billing.sandbox import (
    FAULTS,
    MAGIC_CARDS,
    ConnectionLost,
    ConnectionRefused,
    Fault,
    Sandbox,
    SandboxConfig,
    parse_fault,
)
from tests.contract.sandbox_merchant import NOON, OK_CARD, Merchant, merchant


@pytest.fixture
def shop():
    made = merchant()
    made.issue()
    return made


def outcome(shop, **fields):
    try:
        answer = shop.again(**fields)
    except (ConnectionLost, ConnectionRefused) as broken:
        return type(broken).__name__
    return answer.status if answer.code is None else answer.response["status"]


@pytest.mark.parametrize(
    ("fault", "seen", "is_charged"),
    [
        ("lost_reply", "ConnectionLost", True),
        ("lost_request", "ConnectionLost", False),
        ("refuse_connection", "ConnectionRefused", False),
        ("server_error", 502, False),
        ("error_after_approval", 502, True),
        ("garbage", 200, True),
        ("rate_limit", 429, False),
    ],
)
def test_what_the_caller_sees_says_little_about_what_happened(shop, fault, seen, is_charged):
    shop.sandbox.add_fault(fault)

    assert outcome(shop) == seen
    assert bool(shop.records()) is is_charged
    shop.sandbox.clear_faults()
    assert outcome(shop, merchant_uid="order_2") == "paid"


def test_a_gateway_page_is_html_and_garbage_is_half_a_json(shop):
    shop.sandbox.add_fault("server_error", times=1)
    assert shop.again().body.startswith(b"<html>")
    shop.sandbox.add_fault("garbage", times=1)
    half = shop.again()
    assert half.headers["content-type"].startswith("application/json")
    with pytest.raises(json.JSONDecodeError):
        json.loads(half.body)


def test_a_rate_limit_says_when_to_come_back(shop):
    shop.sandbox.add_fault("rate_limit", value=30)

    assert shop.again().headers["retry-after"] == "30"


def test_a_configured_rate_limit_counts_money_calls_per_second():
    shop = merchant(config=SandboxConfig(charges_per_second_max=2, rate_limit_body="envelope"))
    shop.issue()

    assert [shop.again(f"o{n}").status for n in range(3)] == [200, 200, 429]
    shop.clock.move(1)
    assert shop.again("o4").status == 200


def test_a_slow_approval_takes_its_time_and_the_ledger_shows_both_ends(shop):
    shop.sandbox.add_fault("slow_approval", value="70s")
    payment = shop.again().response

    assert (payment["started_at"], payment["paid_at"]) == (NOON, NOON + 70)
    (arrival,) = shop.sandbox.ledger()["arrivals"]
    assert (arrival["arrived_at"], arrival["finished_at"], arrival["outcome"]) == (NOON, NOON + 70, "paid")


@pytest.mark.parametrize(("dedupes", "paid"), [(False, 2), (True, 1)])
def test_two_calls_in_flight_with_one_number_both_charge_unless_configured(dedupes, paid):
    shop = merchant(config=SandboxConfig(approval_seconds=1, refuses_paid_uid=True, dedupes_in_flight=dedupes))
    shop.issue()
    calls = []

    def sleep(seconds):
        if len(calls) < 1:
            calls.append(seconds)
            calls.append(shop.again())

    shop.sandbox._sleep = sleep
    shop.again()

    assert len(shop.records()) == paid
    assert bool(shop.sandbox.ledger()["double_charged"]) is (paid == 2)


def test_a_lag_hides_one_fresh_record(shop):
    shop.sandbox.add_fault("lookup_lag", times=1, value=10)
    shop.again()
    assert shop.get("/payments?merchant_uid[]=order_1").status == 404
    shop.clock.move(10)
    assert shop.get("/payments?merchant_uid[]=order_1").status == 200


@pytest.mark.parametrize(("fault", "first"), [("late_approval", "failed"), ("pending", "ready")])
def test_a_charge_can_turn_paid_later_and_then_a_notice_is_sent(shop, fault, first):
    shop.sandbox.add_fault(fault, value="26h")
    assert shop.again().response["status"] == first
    assert shop.sandbox.webhooks == []
    shop.clock.move(26 * 3600)
    shop.log_in()

    assert shop.get("/payments/find/order_1").response["status"] == "paid"
    assert [notice.facts["status"] for notice in shop.sandbox.webhooks] == ["paid"]


def test_declines_carry_the_code_they_are_told(shop):
    shop.sandbox.add_fault("decline", times=1, value="120026")
    shop.sandbox.add_fault("decline", times=1, value="[F113]비밀번호틀림")
    shop.sandbox.add_fault("decline", times=1)

    reasons = [shop.again(f"o{n}").response["fail_reason"] for n in range(3)]
    assert reasons == ["[120026]도난, 분실카드", "[F113]비밀번호틀림", "[120054]잔액부족"]


def test_records_can_lie_about_amount_customer_and_test_mark(shop):
    shop.sandbox.add_fault("wrong_amount", times=1, value=100)
    assert shop.again("a").response["amount"] == 100
    shop.sandbox.add_fault("wrong_amount", times=1)
    assert shop.again("b").response["amount"] == 9899
    shop.sandbox.add_fault("wrong_customer", times=1)
    assert shop.again("c").response["customer_uid"] == "sandbox-stranger"
    shop.sandbox.add_fault("live_record", times=1)
    assert shop.again("d").response["sandbox"] is False


def test_a_paid_record_can_be_shadowed_by_a_newer_failure(shop):
    shop.sandbox.add_fault("shadowed_paid")

    assert shop.again().response["status"] == "paid"
    assert shop.get("/payments/find/order_1").response["status"] == "failed"
    assert shop.get("/payments?merchant_uid[]=order_1").response[0]["status"] == "failed"
    assert shop.get("/payments/find/order_1/paid").response["status"] == "paid"


def test_a_revoked_token_is_refused_once_and_another_is_issued(shop):
    shop.sandbox.add_fault("token_revoked")
    old = shop.token

    assert shop.again().status == 401
    assert shop.again().status == 401
    shop.log_in()
    assert shop.token != old
    assert shop.again().response["status"] == "paid"
    assert [arrival["outcome"] for arrival in shop.sandbox.ledger()["arrivals"]] == ["unauthorized"] * 2 + ["paid"]


def test_dead_credentials_refuse_everything(shop):
    shop.sandbox.add_fault("auth_dead")

    assert shop.log_in().status == shop.again().status == shop.get("/users/pg").status == 401


def test_the_ledger_tells_arrivals_tokens_and_what_came_of_them(shop):
    shop.again()
    shop.again(customer_uid="nobody")
    shop.sandbox.add_fault("lost_reply", times=1)
    with pytest.raises(ConnectionLost):
        shop.post("/payments/cancel", merchant_uid="order_1")

    arrivals = shop.sandbox.ledger()["arrivals"]
    assert [arrival["outcome"] for arrival in arrivals] == ["paid", "refused", "cancelled"]
    assert [arrival["answer"] for arrival in arrivals] == ["200", "200", "lost"]
    assert len({arrival["token"] for arrival in arrivals}) == 1
    assert shop.token not in json.dumps(arrivals)


@pytest.mark.parametrize(
    "whom",
    [
        {"customer_uid": "cu_1"},
        {"merchant_uid": "order_1"},
        {"card": "4242"},
        {"card": OK_CARD},
        {"path": "/subscribe/payments/again"},
        {"path": "/subscribe/*"},
    ],
)
def test_a_fault_can_be_meant_for_one_customer_order_card_or_call(shop, whom):
    shop.issue("other", card_number="5555-4444-3333-2222")
    shop.sandbox.add_fault("lost_reply", **whom)
    other = {"merchant_uid": "order_2", "customer_uid": "other"}

    assert outcome(shop) == "ConnectionLost"
    if "path" not in whom:
        assert outcome(shop, **other) == "paid"


def test_faults_meant_for_a_card_find_it_by_refund_onetime_and_retry(shop):
    imp_uid = shop.again().response["imp_uid"]
    shop.sandbox.add_fault("lost_reply", card="4242")
    with pytest.raises(ConnectionLost):
        shop.post("/payments/cancel", imp_uid=imp_uid, amount=1)
    with pytest.raises(ConnectionLost):
        shop.post("/payments/cancel", merchant_uid="order_1", amount=1)
    assert [arrival["merchant_uid"] for arrival in shop.sandbox.ledger()["arrivals"]] == ["order_1"] * 3
    with pytest.raises(ConnectionLost):
        shop.post("/subscribe/payments/onetime", merchant_uid="m", amount=500, card_number=OK_CARD, expiry="2030-12")


def test_without_a_path_a_fault_strikes_money_calls_only(shop):
    shop.sandbox.add_fault("server_error")

    assert shop.get("/users/pg").status == 200
    assert shop.again().status == 502
    shop.sandbox.add_fault("server_error", path="*")
    assert shop.get("/users/pg").status == 502


def test_times_and_rate_limit_how_often(shop):
    shop.sandbox.add_fault("decline", times=2)
    assert [outcome(shop, merchant_uid=f"o{n}") for n in range(4)] == ["failed", "failed", "paid", "paid"]
    shop.sandbox.clear_faults()
    shop.sandbox.add_fault("decline", rate=0.3)
    struck = sum(outcome(shop, merchant_uid=f"p{n}") == "failed" for n in range(200))
    assert 35 < struck < 85
    (fault,) = shop.sandbox.faults()
    assert (fault["seen"], fault["hits"]) == (200, struck)


def test_with_a_seed_the_same_calls_meet_the_same_fate():
    def lived():
        shop = merchant()
        shop.issue()
        shop.sandbox.add_fault("lost_reply", rate=0.3)
        shop.sandbox.add_fault("decline", rate=0.3)
        fates = [outcome(shop, merchant_uid=f"o{n}") for n in range(60)]
        return fates, shop.sandbox.ledger()

    assert lived() == lived()


def test_another_seed_makes_other_ids():
    one, other = (Merchant(Sandbox(seed=seed), lambda: 0) for seed in (1, 2))

    assert one.log_in().response["access_token"] != other.log_in().response["access_token"]


def test_faults_are_switched_at_run_time_over_http(shop):
    added = shop.call("POST", "/_sandbox/faults", {"faults": [{"name": "decline", "times": 1}, {"fault": "garbage=5%"}]})
    assert [fault["name"] for fault in added.response or json.loads(added.body)] == ["decline", "garbage"]
    assert outcome(shop) == "failed"
    shop.call("DELETE", "/_sandbox/faults")
    assert json.loads(shop.get("/_sandbox/faults").body) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "decline", "path": 1},
        {"name": "decline", "value": []},
        {"name": "nonsense"},
        {"rate": 1},
        {"name": "decline", "rate": 2},
        {"name": "decline", "who": "me"},
    ],
)
def test_a_fault_that_cannot_be_is_refused_over_http(shop, fault):
    assert shop.call("POST", "/_sandbox/faults", fault).status == 400


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("lost_reply", Fault("lost_reply")),
        ("lost_reply=always", Fault("lost_reply")),
        ("lost_reply=0.05", Fault("lost_reply", rate=0.05)),
        ("lost_reply=5%", Fault("lost_reply", rate=0.05)),
        ("lost_reply=3", Fault("lost_reply", times=3)),
        ("slow_approval=1,value=70s", Fault("slow_approval", times=1, value="70s")),
        ("slow_approval=1;value=70s", Fault("slow_approval", times=1, value="70s")),
        (
            "decline = 0.5, value=120026, card=4242, customer=cu, merchant=m, path=/subscribe/*",
            Fault("decline", None, 0.5, "4242", "cu", "m", "/subscribe/*", "120026"),
        ),
    ],
)
def test_faults_are_written_on_a_command_line(spec, fault):
    assert parse_fault(spec) == fault


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("lose_reply=1", "unknown fault 'lose_reply'; known: lost_reply"),
        ("lost_reply=often", "'often' is not a rate"),
        ("lost_reply=1.5", "between 0 and 1"),
        ("lost_reply=0", "at least 1"),
        ("lost_reply,who=me", "'who=me' is not KEY=VALUE"),
        ("slow_approval,value=soon", "'soon' is not a number of seconds"),
        ("decline,card=12", "last four digits"),
        ("", "unknown fault"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_explained(spec, words):
    with pytest.raises(ValueError, match=words):
        parse_fault(spec)


def test_every_fault_says_what_it_does():
    assert all(what and paths for what, paths in FAULTS.values())
    assert "late" in MAGIC_CARDS


def test_a_forgotten_card_number_is_not_kept_in_a_fault(shop):
    shop.sandbox.add_fault("decline", card="4242-4242-4242-4242")

    assert shop.sandbox.faults()[0]["card"] == "424242******4242"


def test_an_unlimited_fault_is_switched_on_once_and_limited_ones_add_up(shop):
    for _ in range(2):
        shop.sandbox.add_fault("lost_reply", rate=0.1)
        shop.sandbox.add_fault("decline", times=1)

    assert [fault["name"] for fault in shop.sandbox.faults()] == ["lost_reply", "decline", "decline"]
