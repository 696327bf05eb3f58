"""`billing serve` as an operator runs it: a real process, real sockets, the sandbox sending real notices."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from billing.app import Billing
from billing.gateway.card import Card
from billing.sandbox import Sandbox, SandboxConfig
from billing.settings import Settings
from plans.files import parse_plan
from tests.e2e.conftest import GOOD_CARD, PLAN, Shell
from tests.e2e.test_scheduler import _running as running
from tests.e2e.test_scheduler import _until as until


def said_url(process: Any) -> str:
    said = ""
    while not said.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.log()
        said += line
    return str(json.loads(said)["webhook_url"])


def exchange(url: str, request: bytes) -> bytes:
    """Everything the server answers until it hangs up or says no more for five seconds."""
    host, _, port = url.split("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as wire:
        wire.sendall(request)
        answer = b""
        while piece := wire.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize("form", ["json", "form"])
def test_a_real_notice_over_a_real_socket_settles_in_the_next_pass(
    database_url: str, tmp_path: Path, clean_env: None, form: Any
) -> None:
    settings = Settings.from_env(_env_file=None, database_url=database_url)
    with Billing(settings, sandbox=Sandbox(), actor="test") as app:
        app.init()
    with running(tmp_path, "serve", "--port", "0", "--json", env={"BILLING_DATABASE_URL": database_url}) as process:
        url = said_url(process)
        config = SandboxConfig(webhook_url=f"{url}?token=not-asked-for", webhook_format=form)
        with Sandbox(config=config) as pg, Billing(settings, sandbox=pg, actor="test") as app:
            app.plans.apply(parse_plan(PLAN, "pro"), actor="test")
            app.controls.set_clock(app.now().replace(hour=3), actor="test")  # noon in Seoul
            mina = app.customers.add("mina", actor="test")
            app.cards.add("mina", Card(number=GOOD_CARD, expiry="2039-12"), actor="test")
            pg.add_fault("lost_reply", times=1)
            pg.add_fault("lookup_lag", times=1, value=1)
            app.subscriptions.start(mina.id, "pro-monthly", actor="test")
            assert app.views.attempts()[0]["state"] == "unknown"
            assert pg.deliver_webhooks() == 1
            (row,) = app.views.webhooks()
            assert (row["source_ip"], row["outcome"]) == ("127.0.0.1", None)
            time.sleep(1)
            assert app.heed()["paid"] == 1
            assert app.verify().holds
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        log = process.log()  # type: ignore[attr-defined]
    assert "not-asked-for" not in log, "a query string may carry the secret"
    assert all(json.loads(line) for line in log.splitlines())


def test_slow_and_endless_senders_hold_nobody_up(shop: Shell, tmp_path: Path) -> None:
    with running(shop.home, "serve", "--port", "0", "--json", env={}) as process:
        url = said_url(process)
        host, _, port = url.split("/")[2].partition(":")
        head = b"POST /webhooks/iamport HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        slow = [socket.create_connection((host, int(port)), timeout=10) for _ in range(50)]
        for one in slow:
            one.sendall(head + b"Content-Length: 100\r\n\r\n{")
        before = memory(process.pid)

        body = b'{"imp_uid":"imp_1","merchant_uid":"order-1","status":"paid"}'
        began = time.monotonic()
        honest = exchange(url, head + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        assert honest.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < 2
        assert exchange(url, head + b"Content-Length: 10485760\r\n\r\n" + b" " * 65536).startswith(b"HTTP/1.1 413")

        for one in slow:
            assert one.recv(100).startswith(b"HTTP/1.1 408")
            one.close()
        assert memory(process.pid) - before < 20_000_000
        until(lambda: len(shop.does("webhook", "list")["webhooks"]) == 1, process)


def test_who_does_not_come_to_the_point_is_hung_up_on(shop: Shell) -> None:
    with running(shop.home, "serve", "--port", "0", "--json", env={}) as process:
        host, _, port = said_url(process).split("/")[2].partition(":")
        with (
            socket.create_connection((host, int(port)), timeout=8) as silent,
            socket.create_connection((host, int(port)), timeout=0.2) as dripping,
        ):
            dripping.sendall(b"POST /webhooks/iamport HTTP/1.1\r\nX-Long: ")
            began = time.monotonic()
            with suppress(ConnectionError):
                while not is_hung_up(dripping):
                    dripping.sendall(b"a")
                    assert time.monotonic() - began < 8
            assert silent.recv(100) == b""
            assert time.monotonic() - began > 4


def is_hung_up(wire: socket.socket) -> bool:
    """Whether the other side has closed, after a short wait."""
    try:
        return wire.recv(100) == b""
    except TimeoutError:
        return False


def test_replaying_a_notice_from_the_command_line(shop: Shell) -> None:
    with Billing(Settings.from_env(database_url=f"sqlite:///{shop.home / 'billing.db'}"), sandbox=Sandbox()) as app:
        one = app.receive_webhook({"imp_uid": "imp_1", "merchant_uid": "order-1", "status": "paid"})
    assert shop.does("webhook", "list", "--pending")["webhooks"][0]["outcome"] is None
    assert shop.does("webhook", "replay", one.id)["webhooks"][0]["outcome"] == "foreign"
    assert shop.does("webhook", "list", "--pending")["webhooks"] == []
    refused = shop("webhook", "replay", "nobody")
    assert (refused.status, refused.err) == (
        2,
        "error: webhook: there is no webhook 'nobody'; list what there is with `billing webhook list`\n",
    )


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        (
            "BILLING_WEBHOOK_ALLOW",
            "1.1.1.1/3",
            "1.1.1.1/3 has host bits set: as a network it is 0.0.0.0/3, 536,870,912 addresses; write 1.1.1.1",
        ),
        ("BILLING_WEBHOOK_ALLOW", "52.78.100.19,example.com", "must be addresses or networks"),
        (
            "BILLING_TRUSTED_PROXIES",
            "10.0.0.1/8",
            "10.0.0.1/8 has host bits set: as a network it is 10.0.0.0/8, 16,777,216 addresses",
        ),
        ("BILLING_TRUSTED_PROXIES", "fe80::1/10", "fe80::1/10 has host bits set: as a network it is fe80::/10, "),
        ("BILLING_WEBHOOK_SECRET", "tiny", "must be at least 16 letters"),
    ],
)
def test_a_setting_that_would_let_the_wrong_ones_in_is_refused(shop: Shell, setting: str, value: str, said: str) -> None:
    refused = shop("serve", "--port", "0", env={setting: value})
    assert refused.status == 2
    assert refused.err.startswith(f"error: {setting}: {said}"), refused.err
    assert "Traceback" not in refused.err


def test_a_port_that_is_taken_is_refused_in_one_line(shop: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = shop("serve", "--port", str(taken.getsockname()[1]))
    assert refused.status == 2
    assert refused.err.startswith("error: --port: 127.0.0.1 port ")


def memory(pid: int) -> int:
    """Bytes a process has resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
