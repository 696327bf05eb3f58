"""Many charges at once: one thread or several, a poisoned order, a consumer that walks away, a closed gateway."""

from __future__ import annotations

import json
import threading

import pytest

from billing.domain.evidence import Answered, Silence
from billing.gateway.http import Http
from tests.wire.scripted import Arrival, Say, ok, record, token_answer
from tests.wire.worlds import gateway, handler, order, world


def paid(arrival: Arrival) -> Say:
    if arrival.path == "/users/getToken":
        return token_answer()
    return ok(record(merchant_uid=json.loads(arrival.body)["merchant_uid"]))


def test_each_order_of_a_batch_is_sent_once_and_gets_its_own_reply():
    orders = [order(f"gd{n}a01") for n in range(60)]
    with world(paid, concurrency=8) as w:
        replies = w.charge(*orders)

        assert {uid: reply.fact.merchant_uid for uid, reply in replies.items()} == {
            o.merchant_uid: o.merchant_uid for o in orders
        }
        assert len(w.server.charges()) == 60


def test_several_lanes_share_one_gateway():
    with world(paid, concurrency=8) as w:
        got: list[dict] = []
        lanes = [
            threading.Thread(target=lambda lane=lane: got.append(w.charge(*(order(f"gd{lane}x{n}") for n in range(20)))))
            for lane in range(4)
        ]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()

        assert sorted(len(replies) for replies in got) == [20] * 4
        assert len(w.server.charges()) == 80
        assert all(isinstance(reply, Answered) for replies in got for reply in replies.values())


def test_with_a_concurrency_of_one_all_runs_here_in_order_and_only_as_asked_for():
    arrivals: list[Arrival] = []
    threads = set()

    def script(arrival):
        threads.add(threading.get_ident())
        return paid(arrival)

    with gateway(Http("http://pg.test", handler=handler(script, arrivals)), concurrency=1) as pg:
        replies = pg.charge([order(f"gd{n}") for n in range(3)], token=pg.token(), gate=lambda: True)
        assert len(arrivals) == 1  # the token
        assert [of.merchant_uid for group in replies for of, _ in group] == ["gd0", "gd1", "gd2"]
        assert threads == {threading.get_ident()}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_order_that_cannot_be_built_does_not_take_the_others_with_it(concurrency):
    with world(paid, concurrency=concurrency) as w:
        replies = w.charge(order("gd1"), order("x" * 41), order("gd3", amount=0), order("gd4"))

        assert [type(reply) for reply in replies.values()].count(Answered) == 2
        assert replies["x" * 41] == Silence(True, "the engine failed around the send (ValueError)")
        assert len(w.server.charges()) == 2


def test_the_gate_is_asked_by_the_sending_thread_right_before_each_send():
    asked: list[int] = []
    with world(paid, concurrency=1) as w:
        replies = w.charge(order("gd1"), order("gd2"), order("gd3"), gate=lambda: not asked.append(1) and len(asked) < 3)

        assert len(asked) == 3
        assert [type(reply) for reply in replies.values()] == [Answered, Answered, Silence]


def test_a_gate_that_breaks_is_one_orders_problem():
    def gate() -> bool:
        raise RuntimeError("no")

    with world(paid) as w:
        assert w.charge(gate=gate) == {"gd1a01": Silence(True, "the engine failed around the send (RuntimeError)")}
        assert w.server.charges() == []


def test_when_the_consumer_stops_sends_under_way_finish_and_the_rest_never_begins():
    started, release = threading.Semaphore(0), threading.Event()

    def slow(arrival):
        if arrival.path == "/subscribe/payments/again" and b"first" not in arrival.body:
            started.release()
            release.wait(5)
        return paid(arrival)

    with world(slow, concurrency=2, read=5) as w:
        orders = [order("first"), *(order(f"gd{n}") for n in range(20))]
        replies = w.gateway.charge(orders, token=w.gateway.token(), gate=lambda: True)
        assert [of.merchant_uid for of, _ in next(replies)] == ["first"]
        started.acquire()
        started.acquire()
        replies.close()
        release.set()
        w.gateway.close()

        assert len(w.server.charges()) == 3


def test_closing_the_gateway_leaves_no_consumer_waiting():
    started, release = threading.Event(), threading.Event()

    def slow(arrival):
        if arrival.path == "/subscribe/payments/again":
            started.set()
            release.wait(5)
        return paid(arrival)

    with world(slow, concurrency=2, read=5) as w:
        got: list = []
        consumer = threading.Thread(target=lambda: got.extend(w.charge(*(order(f"gd{n}") for n in range(10))).values()))
        consumer.start()
        started.wait(5)
        closing = threading.Thread(target=w.gateway.close)
        closing.start()
        while w.gateway._fanout._pool._work_queue.qsize() > 2:
            pass
        release.set()
        consumer.join(5)
        closing.join(5)

        assert len(got) == 10
        assert Silence(False, "the gateway was closed before the send") in got
        assert sum(isinstance(reply, Answered) for reply in got) == len(w.server.charges())


def test_a_slow_answer_keeps_no_other_waiting():
    release = threading.Event()

    def slow(arrival):
        if b"slow" in arrival.body:
            release.wait(5)
        return paid(arrival)

    with world(slow, concurrency=4, read=5) as w:
        orders = [order("slow"), *(order(f"gd{n}") for n in range(3))]
        groups = w.gateway.charge(orders, token=w.gateway.token(), gate=lambda: True, linger=0.05)
        early = [of.merchant_uid for of, _ in next(groups)]
        release.set()
        late = [of.merchant_uid for group in groups for of, _ in group]

        assert "slow" not in early
        assert sorted(early + late) == ["gd0", "gd1", "gd2", "slow"]
