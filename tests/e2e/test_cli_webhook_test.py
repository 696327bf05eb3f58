"""`billing webhook test`: does the address the PG was given lead here, and what keeps a notice from coming."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Said, Shell
from tests.e2e.test_scheduler import _running as running
from tests.e2e.test_serve import said_url

SECRET = "a-secret-nobody-may-read"
PEM = Path(__file__).parents[1] / "wire" / "self_signed.pem"
PG = "52.78.100.19,52.78.48.223,52.78.5.241"


@contextmanager
def server(shop: Shell, **env: str) -> Iterator[str]:
    """`billing serve` in the shop; yields where it is mounted."""
    with running(shop.home, "serve", "--port", "0", "--json", env=env) as process:
        yield said_url(process).removesuffix("/webhooks/iamport")


@contextmanager
def stub(answer: bytes | None, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """Somebody else's server, which says one thing to everybody; None says nothing. Yields its address and what it heard."""
    heard: list[bytes] = []

    kept: list[socket.socket] = []

    def answered() -> None:
        while True:
            try:
                wire, _ = listening.accept()
            except OSError:
                return
            kept.append(wire)
            with suppress(OSError):
                spoken = tls.wrap_socket(wire, server_side=True) if tls else wire
                heard.append(request(spoken))
                if answer is not None:
                    spoken.sendall(answer)
                    spoken.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answered, daemon=True)
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}", heard
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for wire in kept:
                wire.close()


def request(wire: socket.socket) -> bytes:
    """One whole request: its head, and as much as that announces."""
    heard = b""
    while piece := wire.recv(65536):
        heard += piece
        head, end, body = heard.partition(b"\r\n\r\n")
        if not heard.startswith(b"POST"):
            break
        if end and len(body) == int(head.lower().partition(b"content-length:")[2].split()[0]):
            break
    return heard


def http(status: str, *headers: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "", "")).encode()


def asked(shop: Shell, *words: str, **env: str) -> Said:
    return shop("webhook", "test", *words, env=env)


def one_line(said: Said) -> str:
    (line,) = said.err.splitlines()
    assert said.out == ""
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("encoding", [(), ("--form",)])
def test_a_notice_to_our_own_address_arrives_and_stands_in_the_inbox(shop: Shell, encoding: tuple[str, ...]) -> None:
    with server(shop) as base:
        shop.env = {"BILLING_PUBLIC_URL": base}
        document = shop.does("webhook", "test", *encoding)
        assert (document["has_arrived"], document["status"], document["encoding"]) == (True, 200, "form" if encoding else "json")
        assert document["url"] == f"{base}/webhooks/iamport"
        (row,) = shop.does("webhook", "list")["webhooks"]
        assert document["inbox"] == row
        assert (row["status"], row["source_ip"], row["outcome"]) == ("paid", "127.0.0.1", None)
        assert document["dedupe_key"] == f"{row['imp_uid']}|{row['merchant_uid']}|paid|"

        again = asked(shop, *encoding)
        assert (again.status, "it arrived, and the inbox holds it" in again.out) == (0, True)
        assert "waits for a look" in again.out
        assert len(shop.does("webhook", "list")["webhooks"]) == 2, "each test is a notice of its own"
        assert shop.does("webhook", "replay", row["id"])["webhooks"][0]["outcome"] == "foreign", "it is nobody's payment"


def test_the_secret_follows_the_address_and_is_shown_nowhere(shop: Shell) -> None:
    with server(shop, BILLING_WEBHOOK_SECRET=SECRET) as base:
        shop.env = {"BILLING_PUBLIC_URL": base}
        for words in ((), ("--json",), ("--url", f"{base}/webhooks/iamport"), ("--verbose",)):
            said = asked(shop, *words, BILLING_WEBHOOK_SECRET=SECRET)
            assert said.status == 0, said
            assert "/webhooks/iamport/[hidden]" in said.out
            assert SECRET not in said.out + said.err
        for given in (SECRET[::-1], ""):
            said = asked(shop, BILLING_WEBHOOK_SECRET=given)
            assert said.status == 1
            assert "refused with 403" in said.out
            assert "secret" in said.out.lower()
            assert SECRET[::-1] not in said.out + said.err


def test_an_allow_list_refuses_this_machine_and_says_who_asked(shop: Shell) -> None:
    with server(shop, BILLING_WEBHOOK_ALLOW=PG) as base:
        said = asked(shop, BILLING_PUBLIC_URL=base, BILLING_WEBHOOK_ALLOW=PG)
        assert said.status == 1
        assert "refused with 403: 127.0.0.1 asked, and BILLING_WEBHOOK_ALLOW does not hold it" in said.out
        assert "add 127.0.0.1 for the time of a test" in said.out
        elsewhere = asked(shop, BILLING_PUBLIC_URL=base)
        assert "by these settings" in elsewhere.out


def test_an_allow_list_without_the_pgs_addresses_is_spoken_of(shop: Shell) -> None:
    with server(shop, BILLING_WEBHOOK_ALLOW="127.0.0.0/8") as base:
        said = asked(shop, BILLING_PUBLIC_URL=base, BILLING_WEBHOOK_ALLOW="127.0.0.0/8,52.78.100.19")
        assert said.status == 0
        assert "does not hold 52.78.48.223, 52.78.5.241" in said.out
        behind = {"BILLING_WEBHOOK_ALLOW": "127.0.0.0/8", "BILLING_TRUSTED_PROXIES": "127.0.0.1"}
        assert "does not hold" not in asked(shop, BILLING_PUBLIC_URL=base, **behind).out


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (http("200 OK"), 1, "this inbox does not hold it"),
        (http("204 No Content"), 1, "answered with 204"),
        (http("301 Moved", "Location: https://shop.example/"), 1, "a redirect"),
        (http("401 Unauthorized"), 1, "something in front of the server wants a password"),
        (http("403 Forbidden"), 1, "and not by these settings"),
        (http("404 Not Found"), 1, "nothing is mounted there"),
        (http("405 Method Not Allowed"), 1, "something else is mounted there"),
        (http("429 Too Many Requests"), 1, "too many came from one address"),
        (http("502 Bad Gateway"), 1, "a proxy could not reach the server"),
        (http("503 Service Unavailable"), 1, "the server could not store it"),
        (http("418 I am a teapot"), 1, "answered with 418"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 3, "what answers there does not speak HTTP"),
        (b"", 3, "the connection broke before an answer came"),
        (None, 3, "no answer within 1 s"),
    ],
)
def test_whatever_answers_is_put_in_words(shop: Shell, answer: bytes | None, status: int, says: str) -> None:
    with stub(answer) as (base, heard):
        said = asked(shop, "--timeout", "1", BILLING_PUBLIC_URL=base)
        assert (said.status, said.err) == (status, "")
        assert says in said.out
        document = asked(shop, "--timeout", "1", "--json", BILLING_PUBLIC_URL=base).document
        assert (document["has_arrived"], document["inbox"], bool(document["cure"])) == (False, None, True)
        assert len(heard) == 2, "one request each, and nothing is followed"
    assert shop.does("webhook", "list")["webhooks"] == []


def test_what_is_sent_looks_like_a_notice_of_the_pg(shop: Shell) -> None:
    with stub(http("200 OK")) as (base, heard):
        asked(shop, BILLING_PUBLIC_URL=base)
        asked(shop, "--form", BILLING_PUBLIC_URL=base)
    as_json, as_form = heard
    assert as_json.startswith(b"POST /webhooks/iamport HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in as_json
    assert b'{"imp_uid": "imp_test' in as_json
    assert b"Content-Type: application/x-www-form-urlencoded\r\n" in as_form
    assert as_form.endswith(b"&status=paid")


def test_a_certificate_nobody_trusts_and_a_name_nobody_knows(shop: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(PEM)
    with stub(http("200 OK"), tls) as (base, heard):
        said = asked(shop, BILLING_PUBLIC_URL=base)
        assert said.status == 3
        assert "its certificate is not trusted (" in said.out
        assert heard == [], "nothing was sent"
    with stub(http("200 OK")) as (base, _):
        said = asked(shop, BILLING_PUBLIC_URL=base.replace("http:", "https:"))
        assert (said.status, "TLS could not be agreed" in said.out) == (3, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    said = asked(shop, BILLING_PUBLIC_URL=f"http://127.0.0.1:{free}")
    assert (said.status, "nobody listens there" in said.out) == (3, True)

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = asked(shop, "--url", "https://nobody.invalid/webhooks/iamport")
    assert (said.status, "its name is not known to DNS" in said.out) == (3, True)


@pytest.mark.parametrize(
    ("words", "env", "status", "says"),
    [
        ("--url shop.example", {}, 2, "--url: is not an absolute http(s) address"),
        ("--url http://shop.example/webhooks/iamport", {}, 2, "--url: is not https"),
        ("--url ftp://shop.example", {}, 2, "--url: is not an absolute http(s) address"),
        ("--url https://me:hunter2@shop.example", {}, 2, "--url: carries a user or a password"),
        ("--timeout 0", {}, 2, "--timeout:"),
        ("--timeout soon", {}, 2, "--timeout:"),
        ("nonsense", {}, 2, "unexpected extra argument"),
        ("", {"BILLING_PUBLIC_URL": "shop.example"}, 2, "BILLING_PUBLIC_URL: is not an absolute http(s) address"),
        (
            "",
            {"BILLING_WEBHOOK_ALLOW": "1.1.1.1/3"},
            2,
            "BILLING_WEBHOOK_ALLOW: 1.1.1.1/3 has host bits set: as a network it is 0.0.0.0/3",
        ),
        ("", {"BILLING_DATABASE_URL": "sqlite:///elsewhere.db"}, 3, "there is no database elsewhere.db here"),
    ],
)
def test_wrong_inputs_end_in_one_line(shop: Shell, words: str, env: dict[str, Any], status: int, says: str) -> None:
    said = asked(shop, *words.split(), **env)
    assert said.status == status
    line = one_line(said)
    assert says in line
    assert "hunter2" not in line


def test_outside_of_the_sandbox_our_address_must_be_known(shell: Shell) -> None:
    shell.env = {"BILLING_MODE": "test", "BILLING_IMP_KEY": "k", "BILLING_IMP_SECRET": "s"}
    shell.does("init")
    assert "BILLING_PUBLIC_URL: is not set; write where the routes are mounted" in one_line(asked(shell))
