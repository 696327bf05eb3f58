"""Notices of the sandbox: which are sent, what they say, and how they go astray. Source: PortOne webhook guide V1."""

import json
import threading
import time
from urllib.parse import parse_qs

import pytest

from billing.sandbox import SandboxConfig
from tests.contract.sandbox_merchant import NOON, merchant

HOOK = "http://127.0.0.1:9/hook"


class Mailbox:
    """Takes notices; answers with the statuses it was given, then 200. An exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.notices = []

    def __call__(self, notice):
        self.notices.append(notice)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def said(self):
        return [(notice.facts["merchant_uid"], notice.facts["status"]) for notice in self.notices]


def shop_with(mailbox, **config):
    shop = merchant(config=SandboxConfig(webhook_url=HOOK, **config), deliver=mailbox)
    shop.issue()
    return shop


def test_a_paid_charge_is_told_and_a_failed_one_is_not():
    box = Mailbox()
    shop = shop_with(box)
    shop.again("good")
    shop.again("bad", amount=50)
    shop.sandbox.deliver_webhooks()

    (notice,) = box.notices
    assert set(notice.facts) == {"imp_uid", "merchant_uid", "status"}
    assert box.said == [("good", "paid")]
    assert (notice.url, notice.content_type) == (HOOK, "application/json")
    assert json.loads(notice.body) == notice.facts


def test_notices_can_be_forms():
    box = Mailbox()
    shop = shop_with(box, webhook_format="form")
    shop.again()
    shop.sandbox.deliver_webhooks()

    assert box.notices[0].content_type == "application/x-www-form-urlencoded"
    assert parse_qs(box.notices[0].body.decode())["status"] == ["paid"]


def test_a_notice_url_replaces_the_console_url():
    box = Mailbox()
    shop = shop_with(box)
    shop.again(notice_url="http://localhost:8/own")
    shop.sandbox.deliver_webhooks()

    assert [notice.url for notice in box.notices] == ["http://localhost:8/own"]


def test_several_notice_urls_are_all_told():
    box = Mailbox()
    shop = shop_with(box)
    shop.again(notice_url=["http://localhost:8/a", "http://localhost:8/b"])
    shop.sandbox.deliver_webhooks()

    assert [notice.url for notice in box.notices] == ["http://localhost:8/a", "http://localhost:8/b"]


def test_a_cancel_in_the_console_is_told_and_one_by_api_only_on_request():
    box = Mailbox()
    shop = shop_with(box)
    imp_uid = shop.again().response["imp_uid"]
    shop.post("/payments/cancel", imp_uid=imp_uid, amount=1)
    shop.post("/payments/cancel", imp_uid=imp_uid, amount=1, enable_webhook=True)
    shop.post("/_sandbox/console/cancel", imp_uid=imp_uid)
    shop.sandbox.deliver_webhooks()

    assert box.said == [("order_1", "paid"), ("order_1", "cancelled"), ("order_1", "cancelled")]
    assert [notice.facts.get("cancellation_id") is not None for notice in box.notices] == [False, True, True]


def test_each_notice_is_sent_once_whatever_the_merchant_answers():
    box = Mailbox(500)
    shop = shop_with(box)
    shop.again()
    shop.sandbox.deliver_webhooks()
    shop.clock.move(3600)
    shop.sandbox.deliver_webhooks()

    assert len(box.notices) == 1
    assert shop.sandbox.webhooks[0].state == "failed"


def test_repeats_follow_network_errors_and_5xx_a_minute_apart_where_enabled():
    box = Mailbox(ConnectionRefusedError(), 503, 200)
    shop = shop_with(box, webhook_retries=5)
    shop.again()
    for _ in range(4):
        shop.sandbox.deliver_webhooks()
        shop.clock.move(60)

    assert len(box.notices) == 3
    assert (shop.sandbox.webhooks[0].state, shop.sandbox.webhooks[0].said) == ("sent", "HTTP 200")


def test_a_4xx_is_not_repeated():
    box = Mailbox(400)
    shop = shop_with(box, webhook_retries=5)
    shop.again()
    shop.sandbox.deliver_webhooks()
    shop.clock.move(600)
    shop.sandbox.deliver_webhooks()

    assert len(box.notices) == 1


def test_notices_can_be_dropped_doubled_and_overtaken():
    box = Mailbox()
    shop = shop_with(box)
    shop.sandbox.add_fault("webhook_drop", merchant_uid="a")
    shop.sandbox.add_fault("webhook_twice", merchant_uid="b")
    shop.sandbox.add_fault("webhook_reorder", merchant_uid="c", value=30)
    for merchant_uid in "abcd":
        shop.again(merchant_uid)
    shop.sandbox.deliver_webhooks()
    shop.clock.move(30)
    shop.sandbox.deliver_webhooks()

    assert [uid for uid, _ in box.said] == ["b", "b", "d", "c"]


def test_an_early_notice_overtakes_the_answer_and_the_record():
    found = []
    shop = merchant(deliver=lambda notice: found.append(shop.get(f"/payments/find/{notice.facts['merchant_uid']}")))
    shop.issue()
    shop.sandbox.add_fault("webhook_early", value=5)

    assert shop.again().response["status"] == "paid"
    assert [answer.status for answer in found] == [404]
    shop.clock.move(5)
    assert shop.get("/payments/find/order_1").status == 200


def test_whoever_carries_notices_stops_before_the_sandbox_is_gone():
    box = Mailbox()
    shop = shop_with(box)
    threads = set(threading.enumerate())
    shop.sandbox.carry_webhooks()
    (carrier,) = set(threading.enumerate()) - threads
    shop.again()
    deadline = time.monotonic() + 10
    while not box.notices:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    shop.sandbox.close()
    assert not carrier.is_alive()


def test_without_an_address_notices_wait_to_be_read():
    shop = merchant()
    shop.issue()
    shop.again()
    shop.sandbox.deliver_webhooks()

    (notice,) = shop.sandbox.webhooks
    assert (notice.url, notice.state, notice.due_at) == (None, "kept", NOON)


@pytest.mark.parametrize("url", ["http://example.com/hook", "ftp://127.0.0.1/", "http://10.0.0.1/", "nonsense", "http://["])
def test_notices_never_leave_this_machine_unless_allowed(url):
    with pytest.raises(ValueError, match="webhook_allow_remote"):
        SandboxConfig(webhook_url=url)
    box = Mailbox()
    shop = shop_with(box)
    shop.again(notice_url=url)
    shop.sandbox.deliver_webhooks()

    assert box.notices == []
    assert shop.sandbox.webhooks[0].state == "refused"
    assert "this machine only" in shop.sandbox.webhooks[0].said


def test_remote_notices_can_be_allowed():
    assert SandboxConfig(webhook_url="https://example.com/hook", webhook_allow_remote=True).webhook_url
