"""The sandbox's memory: shared by processes, kept over restarts, the same for the same seed."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from billing.sandbox import Sandbox
from tests.contract.sandbox_merchant import NOON, Clock, Merchant, merchant

CHARGE_MANY = """
import sys
from billing.sandbox import Sandbox
from tests.contract.sandbox_merchant import Clock, Merchant
path, name = sys.argv[1:]
shop = Merchant(Sandbox(path, now=Clock()), Clock())
shop.log_in()
for number in range(40):
    assert shop.again(f"{name}{number}").response["status"] == "paid"
"""
ROOT = Path(__file__).parents[2]


def test_a_file_outlives_its_sandbox(tmp_path):
    path = str(tmp_path / "pg.db")
    first = merchant(path=path)
    first.issue()
    imp_uid = first.again().response["imp_uid"]
    first.sandbox.add_fault("decline", times=1)
    first.sandbox.close()

    second = Merchant(Sandbox(path, seed=99, now=Clock()), Clock(), first.token)
    assert second.get(f"/payments/{imp_uid}?include_sandbox=true").response["imp_uid"] == imp_uid
    assert second.again("order_2").response["status"] == "failed"
    assert second.again("order_3").response["imp_uid"] != imp_uid


def test_processes_share_a_file_and_lose_nothing(tmp_path):
    path = str(tmp_path / "pg.db")
    shop = merchant(path=path)
    shop.issue()
    processes = [subprocess.Popen([sys.executable, "-c", CHARGE_MANY, path, name], cwd=ROOT) for name in ("a", "b", "c")]
    for number in range(40):
        shop.again(f"d{number}")
    assert [process.wait(20) for process in processes] == [0, 0, 0]

    ledger = shop.sandbox.ledger()
    assert ledger["totals"]["paid"] == 160
    assert ledger["double_charged"] == []
    assert len({payment["imp_uid"] for payment in ledger["payments"]}) == 160
    assert {arrival["token"] for arrival in ledger["arrivals"]} == {ledger["arrivals"][0]["token"]}
    assert ledger["billing_keys"][0]["charges"] == 160


def test_threads_share_a_sandbox(tmp_path):
    shop = merchant()
    shop.issue()
    errors = []

    def charge(name):
        try:
            for number in range(25):
                assert shop.again(f"{name}{number}").response["status"] == "paid"
        except Exception as error:  # noqa: BLE001 - carried to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=charge, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert shop.sandbox.ledger()["totals"]["paid"] == 100


def test_a_slow_approval_holds_nobody_up():
    release = threading.Event()
    shop = merchant()
    shop.issue()
    shop.sandbox._sleep = lambda _: release.wait(5)
    shop.sandbox.add_fault("slow_approval", times=1)
    slow = threading.Thread(target=shop.again)
    slow.start()
    try:
        while not shop.sandbox.ledger()["arrivals"]:
            time.sleep(0.001)
        assert shop.again("order_2").response["status"] == "paid"
        assert shop.sandbox.ledger()["arrivals"][0]["outcome"] == "running"
    finally:
        release.set()
        slow.join()
    assert shop.sandbox.ledger()["arrivals"][0]["outcome"] == "paid"


def test_the_same_seed_and_calls_leave_the_same_ledger():
    def lived():
        shop = merchant()
        shop.issue()
        for number in range(5):
            shop.again(f"o{number}")
        shop.post("/payments/cancel", merchant_uid="o1", amount=500)
        return json.dumps(shop.sandbox.ledger())

    assert lived() == lived()


def test_a_call_that_breaks_leaves_no_trace():
    shop = merchant()
    shop.issue()
    shop.sandbox.add_fault("decline", value="120054")
    shop.sandbox._state.run("DROP TABLE notices")
    shop.sandbox.clear_faults()
    before = shop.sandbox._state.one("SELECT value FROM meta WHERE name = 'serial'")["value"]

    with pytest.raises(Exception, match="notices"):
        shop.again()

    assert shop.sandbox._state.all("SELECT * FROM payments") == []
    assert shop.sandbox._state.one("SELECT value FROM meta WHERE name = 'serial'")["value"] == before


def test_the_clock_can_be_shifted_for_everybody():
    shop = merchant()
    moved = json.loads(shop.call("POST", "/_sandbox/clock", {"seconds": 86_400}).body)

    assert moved == {"now": NOON + 86_400, "shift": 86_400}
    assert shop.sandbox.time() == NOON + 86_400
    assert shop.get("/users/pg").status == 401
    assert json.loads(shop.get("/_sandbox/clock").body)["now"] == NOON + 86_400
    assert shop.call("POST", "/_sandbox/clock", {}).status == 400


def test_controls_need_no_token_and_unknown_ones_are_404():
    shop = merchant(logged_in=False)

    assert json.loads(shop.get("/_sandbox/health").body)["status"] == "ok"
    assert json.loads(shop.get("/_sandbox/ledger").body)["totals"]["payments"] == 0
    assert shop.get("/_sandbox/nothing").status == 404
    assert shop.post("/_sandbox/console/cancel", imp_uid="x").message == "취소할 결제건이 존재하지 않습니다."


def test_a_charge_and_its_look_up_are_cheap():
    shop = merchant()
    shop.issue()
    started = time.perf_counter()
    for number in range(300):
        shop.again(f"o{number}")
        shop.get(f"/payments?merchant_uid[]=o{number}")

    assert (time.perf_counter() - started) / 300 < 0.01  # ten times what it costs, so that a busy machine passes
