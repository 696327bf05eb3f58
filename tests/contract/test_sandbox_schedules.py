"""Scheduled charges of the sandbox: the PG's own clock, reported by webhook for good and bad."""

import pytest

from billing.sandbox import MAGIC_CARDS, SandboxConfig
from tests.contract.sandbox_merchant import NOON, OK_CARD, merchant

DAY = 86_400
BASE = "/subscribe/payments/schedule"


def item(merchant_uid="s1", after=DAY, **fields):
    return {"merchant_uid": merchant_uid, "schedule_at": int(NOON + after), "amount": 9900, "name": "Pro", **fields}


@pytest.fixture
def shop():
    made = merchant()
    made.issue()
    made.issue("bad", card_number=MAGIC_CARDS["balance"].number)
    return made


def test_a_schedule_is_executed_when_its_time_has_passed(shop):
    (planned,) = shop.post(BASE, customer_uid="cu_1", schedules=[item()]).response
    assert (planned["schedule_status"], planned["imp_uid"], planned["payment_status"]) == ("scheduled", None, None)
    shop.clock.move(DAY)
    shop.sandbox.tick()

    shop.log_in()
    done = shop.get(f"{BASE}/s1").response
    assert (done["schedule_status"], done["payment_status"], done["executed_at"]) == ("executed", "paid", NOON + DAY)
    (record,) = shop.records("s1")
    assert (record["imp_uid"], record["usage"]) == (done["imp_uid"], "payment.scheduled")
    assert shop.sandbox.webhooks[-1].facts["status"] == "paid"


def test_a_failed_schedule_is_reported_too_and_can_be_retried_at_once(shop):
    shop.post(BASE, customer_uid="bad", schedules=[item()])
    shop.clock.move(DAY)
    shop.log_in()
    assert shop.sandbox.webhooks[-1].facts["status"] == "failed"
    assert shop.get(f"{BASE}/s1").response["fail_reason"] == "[120054]잔액부족"
    shop.issue("bad", card_number=OK_CARD)

    assert shop.post(f"{BASE}/s1/retry").response["status"] == "paid"
    assert shop.get(f"{BASE}/s1").response["payment_status"] == "paid"
    assert shop.post(f"{BASE}/s1/retry").status == 400


def test_a_schedule_without_its_key_fails_when_its_time_comes(shop):
    shop.post(BASE, customer_uid="cu_1", schedules=[item()])
    shop.call("DELETE", "/subscribe/customers/cu_1")
    shop.clock.move(DAY)
    shop.log_in()

    assert shop.get(f"{BASE}/s1").response["fail_reason"] == "등록되지 않은 구매자입니다."


def test_deleting_the_key_revokes_its_schedules_where_friendly():
    shop = merchant(config=SandboxConfig.friendly())
    shop.issue()
    shop.post(BASE, customer_uid="cu_1", schedules=[item()])
    shop.call("DELETE", "/subscribe/customers/cu_1")

    assert shop.get(f"{BASE}/s1").response["schedule_status"] == "revoked"


def test_without_key_and_card_nothing_is_scheduled_and_with_a_card_a_key_is_made(shop):
    assert shop.post(BASE, customer_uid="new", schedules=[item()]).message == "등록된 고객정보가 없습니다."
    made = shop.post(BASE, customer_uid="new", card_number=OK_CARD, expiry="2030-12", schedules=[item()])

    assert made.code == 0
    assert shop.get("/subscribe/customers/new").code == 0


def test_a_bad_item_refuses_the_whole_list(shop):
    answer = shop.post(BASE, customer_uid="cu_1", schedules=[item("a"), {"merchant_uid": "b"}])

    assert (answer.code, answer.message) == (1, '["schedule_at"] 파라메터는 필수입니다.')
    assert shop.sandbox.ledger()["schedules"] == []


def test_milliseconds_are_taken_for_a_very_late_date(shop):
    (planned,) = shop.post(BASE, customer_uid="cu_1", schedules=[item(after=NOON * 999)]).response
    shop.clock.move(10 * DAY)
    shop.log_in()

    assert shop.get(f"{BASE}/s1").response["schedule_status"] == "scheduled"
    assert planned["schedule_at"] == NOON * 1000


def test_a_past_time_and_a_known_number_charge_unless_friendly(shop):
    shop.post(BASE, customer_uid="cu_1", schedules=[item(after=-1), item(after=-1)])
    assert len(shop.records("s1")) == 2

    friendly = merchant(config=SandboxConfig.friendly())
    friendly.issue()
    assert friendly.post(BASE, customer_uid="cu_1", schedules=[item(after=-1)]).code == 1
    friendly.post(BASE, customer_uid="cu_1", schedules=[item()])
    assert friendly.post(BASE, customer_uid="cu_1", schedules=[item()]).code == 1


def test_unschedule_by_key_by_number_and_by_both(shop):
    shop.post(BASE, customer_uid="cu_1", schedules=[item("a"), item("b"), item("c")])
    shop.post(BASE, customer_uid="bad", schedules=[item("d"), item("e")])
    undo = "/subscribe/payments/unschedule"

    assert [row["merchant_uid"] for row in shop.post(undo, merchant_uid=["a", "d"]).response] == ["a", "d"]
    assert [row["merchant_uid"] for row in shop.post(undo, customer_uid="cu_1", merchant_uid="b").response] == ["b"]
    assert shop.post(undo, customer_uid="cu_1", merchant_uid=["e"]).code == 1
    assert [row["schedule_status"] for row in shop.post(undo, customer_uid="bad").response] == ["revoked"]
    nothing = shop.post(undo, customer_uid="bad")
    assert (nothing.code, nothing.message) == (1, "취소할 예약결제 기록이 존재하지 않습니다.")


def test_moving_and_replanning(shop):
    shop.post(BASE, customer_uid="cu_1", schedules=[item()])
    later = {"schedule_at": int(NOON + 2 * DAY)}

    assert shop.call("PUT", f"{BASE}/s1", later).response["schedule_at"] == NOON + 2 * DAY
    assert shop.call("PUT", f"{BASE}/s1", {}).status == 400
    assert shop.call("PUT", f"{BASE}/s1", {"schedule_at": 1}).status == 400
    assert shop.call("PUT", f"{BASE}/none", later).status == 404
    assert shop.call("POST", f"{BASE}/s1/reschedule", later).status == 400
    shop.post("/subscribe/payments/unschedule", customer_uid="cu_1")
    assert shop.call("POST", f"{BASE}/s1/reschedule", later).response["schedule_status"] == "scheduled"


def test_lists_by_time_and_of_a_customer_name_their_status_parameter_differently(shop):
    shop.post(BASE, customer_uid="cu_1", schedules=[item("a"), item("b", after=2 * DAY)])
    shop.post("/subscribe/payments/unschedule", merchant_uid=["a"])
    window = f"schedule_from={NOON:.0f}&schedule_to={NOON + 3 * DAY:.0f}"
    own = f"from={NOON:.0f}&to={NOON + 3 * DAY:.0f}"

    def uids(target):
        return [row["merchant_uid"] for row in shop.get(target).response["list"]]

    assert uids(f"{BASE}?{window}") == ["b", "a"]
    assert uids(f"{BASE}?{window}&sorting=scheduled") == ["a", "b"]
    assert uids(f"{BASE}?{window}&schedule_status=revoked") == ["a"]
    assert uids(f"/subscribe/customers/cu_1/schedules?{own}&schedule-status=scheduled") == ["b"]
    assert uids(f"{BASE}/customers/cu_1?{own}&schedule_status=scheduled") == ["b", "a"]
    assert shop.get(BASE).status == 400
    assert shop.get(f"{BASE}?schedule_from=0&schedule_to={NOON:.0f}").status == 400


def test_lists_can_be_bare_arrays():
    shop = merchant(config=SandboxConfig(schedule_lists_are_pages=False))

    assert shop.get(f"{BASE}?schedule_from=0&schedule_to=10").response == []


def test_in_a_window_without_requests_nothing_is_lost(shop):
    shop.post(BASE, customer_uid="cu_1", schedules=[item(f"s{day}", after=day * DAY) for day in range(1, 6)])
    shop.clock.move(30 * DAY)

    assert sum(payment["status"] == "paid" for payment in shop.sandbox.ledger()["payments"]) == 5
