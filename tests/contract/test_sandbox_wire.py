"""How the sandbox reads requests, and how it behaves behind a real socket."""

import http.server
import json
import threading
import time

import httpx
import pytest

from billing.sandbox import Sandbox, SandboxConfig
from billing.sandbox.serving import asgi
from billing.sandbox.wire import ConnectionLost as Lost
from billing.sandbox.wire import nested
from tests.contract.sandbox_merchant import OK_CARD, merchant
from tests.contract.served import served

FORM = "application/x-www-form-urlencoded"
PAIR = {"imp_key": "imp_sandbox_key", "imp_secret": "imp_sandbox_secret"}


@pytest.mark.parametrize(
    ("pairs", "tree"),
    [
        ([("a", "1"), ("b", "")], {"a": "1", "b": ""}),
        ([("u[]", "a"), ("u[]", "b")], {"u": ["a", "b"]}),
        ([("u[1]", "b"), ("u[0]", "a")], {"u": ["a", "b"]}),
        ([("s[0][uid]", "x"), ("s[0][amount]", "1"), ("s[1][uid]", "y")], {"s": [{"uid": "x", "amount": "1"}, {"uid": "y"}]}),
        ([("extra[requester]", "admin")], {"extra": {"requester": "admin"}}),
        ([("a", "1"), ("a[b]", "2")], {"a": {"b": "2"}}),
        ([("a[" + "9" * 5000 + "]", "1")], {"a": {"9" * 5000: "1"}}),
    ],
)
def test_bracketed_names_become_lists_and_objects(pairs, tree):
    assert nested(pairs) == tree


def test_forms_are_read_like_json():
    shop = merchant()
    shop.issue()
    headers = {"Authorization": shop.token, "Content-Type": FORM}
    charge = b"customer_uid=cu_1&merchant_uid=o1&amount=9900&name=%EA%B5%AC%EB%8F%85"
    plan = b"customer_uid=cu_1&schedules[0][merchant_uid]=s1&schedules[0][schedule_at]=1900000000&schedules[0][amount]=5"

    paid = json.loads(shop.sandbox.handle("POST", "/subscribe/payments/again", headers, charge).body)["response"]
    planned = json.loads(shop.sandbox.handle("POST", "/subscribe/payments/schedule", headers, plan).body)["response"]

    assert (paid["amount"], paid["name"]) == (9900, "구독")
    assert (planned[0]["merchant_uid"], planned[0]["amount"]) == ("s1", 5)


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"text"', b"\xff\xfe{", b'{"a": "\\ud800"}', b"[" * 100_000])
def test_a_body_that_is_no_object_is_400(body):
    answer = merchant().sandbox.handle("POST", "/users/getToken", {"content-type": "application/json"}, body)

    assert answer.status == 400
    assert json.loads(answer.body)["response"] is None


@pytest.mark.parametrize(("header", "body"), [({}, json.dumps(PAIR)), ({}, "imp_key=imp_sandbox_key&imp_secret=x")])
def test_an_undeclared_body_is_read_by_its_looks(header, body):
    assert merchant(logged_in=False).sandbox.handle("POST", "/users/getToken", header, body.encode()).status in (200, 401)


@pytest.fixture
def shop():
    made = merchant()
    made.sandbox._sleep = time.sleep
    made.issue("a%2Fb")
    return made


def test_a_served_sandbox_answers_like_one_in_process(shop):
    with served(shop.sandbox) as url, httpx.Client(base_url=url, headers={"Authorization": shop.token}) as client:
        answer = client.get("/subscribe/customers/a%2Fb")

    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json()["response"]["customer_uid"] == "a/b"


def test_a_lost_answer_is_a_connection_that_closes_without_a_byte(shop):
    shop.sandbox.add_fault("lost_reply", times=1)
    charge = {"customer_uid": "a/b", "merchant_uid": "o1", "amount": 100, "name": "n"}
    with served(shop.sandbox) as url, httpx.Client(base_url=url, headers={"Authorization": shop.token}) as client:
        with pytest.raises(httpx.TransportError):
            client.post("/subscribe/payments/again", json=charge)
        found = client.get("/payments/find/o1").json()

    assert found["response"]["status"] == "paid"


def test_slow_approvals_wait_side_by_side(shop):
    shop.sandbox.add_fault("slow_approval", value=0.3)
    charge = {"customer_uid": "a/b", "amount": 100, "name": "n"}
    started = time.perf_counter()
    with served(shop.sandbox) as url, httpx.Client(base_url=url, headers={"Authorization": shop.token}) as client:
        threads = [
            threading.Thread(
                target=client.post, args=("/subscribe/payments/again",), kwargs={"json": {**charge, "merchant_uid": f"o{n}"}}
            )
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert time.perf_counter() - started < 3
    assert shop.sandbox.ledger()["totals"]["paid"] == 20


def test_a_served_sandbox_delivers_its_notices():
    heard = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as hook:
        listener = threading.Thread(target=hook.serve_forever, daemon=True)
        listener.start()
        address = f"http://127.0.0.1:{hook.server_port}/hook"
        sandbox = Sandbox(config=SandboxConfig(webhook_url=address))
        with served(sandbox) as url, httpx.Client(base_url=url) as client:
            token = client.post("/users/getToken", data=PAIR).json()["response"]["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            card = {"card_number": OK_CARD, "expiry": "2099-12", "merchant_uid": "o1", "amount": 100}
            client.post("/subscribe/payments/onetime", json=card)
            deadline = time.monotonic() + 5
            while not heard and time.monotonic() < deadline:
                time.sleep(0.01)
        hook.shutdown()
        listener.join()

    assert [notice["merchant_uid"] for notice in heard] == ["o1"]
    assert sandbox.webhooks[0].state == "sent"


def test_behind_a_server_without_a_transport_the_answer_breaks_off(shop):
    import asyncio

    shop.sandbox.add_fault("refuse_connection", path="*")
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/users/pg", "query_string": b"", "headers": []}
    with pytest.raises(Lost):
        asyncio.run(asgi(shop.sandbox)(scope, receive, send))

    assert [message["type"] for message in sent] == ["http.response.start"]
