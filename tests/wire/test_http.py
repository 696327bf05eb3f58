"""The client's manners: no proxy, no redirect, no cookie, no repeat; TLS verified; connections reused."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest

from billing.errors import SettingsError
from billing.gateway.http import Answer, Http, Lost, Timeouts
from billing.ports import Token
from tests.wire.scripted import Say, ScriptedServer, ok

PEM = Path(__file__).with_name("self_signed.pem")  # made for these tests, trusted nowhere


def tls_server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def test_a_certificate_nobody_vouches_for_is_refused_before_anything_is_sent():
    with ScriptedServer(lambda _: ok(None), tls=tls_server()) as server, Http(server.url) as http:
        lost = http.call("POST", "/subscribe/payments/again", body=b"{}")

        assert isinstance(lost, Lost)
        assert not lost.is_sent
        assert "CERTIFICATE_VERIFY_FAILED" in lost.why
        assert server.arrivals == []


def test_a_certificate_for_another_name_is_refused_too():
    trusting = ssl.create_default_context(cafile=str(PEM))
    with ScriptedServer(lambda _: ok(None), tls=tls_server()) as server:
        with Http(server.url.replace("127.0.0.1", "localhost"), tls=trusting) as http:
            lost = http.call("GET", "/")
            assert isinstance(lost, Lost)
            assert not lost.is_sent
        with Http(server.url, tls=trusting) as http:
            assert isinstance(http.call("GET", "/"), Answer)


def test_an_answer_without_tls_on_a_tls_port_is_unsent():
    with ScriptedServer(lambda _: ok(None)) as server, Http(server.url.replace("http:", "https:")) as http:
        lost = http.call("POST", "/", body=b"{}")
        assert isinstance(lost, Lost)
        assert not lost.is_sent


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedServer(lambda _: ok(None)) as server, Http(server.url) as http:
        assert isinstance(http.call("GET", "/"), Answer)


def test_redirects_are_answers_and_cookies_are_not_kept():
    say = Say(302, headers={"Location": "/elsewhere", "Set-Cookie": "a=b"})
    with ScriptedServer(lambda _: say) as server, Http(server.url) as http:
        answers = [http.call("GET", "/here") for _ in range(2)]

        assert [answer.status for answer in answers if isinstance(answer, Answer)] == [302, 302]
        assert [arrival.target for arrival in server.arrivals] == ["/here", "/here"]
        assert "cookie" not in server.arrivals[1].headers


def test_a_token_travels_in_its_header_and_nowhere_else():
    with ScriptedServer(lambda _: ok(None)) as server, Http(server.url) as http:
        http.call("GET", "/payments/imp_1?include_sandbox=true", token=Token("tok-1", "f"))
        http.call("POST", "/users/getToken", body=b"{}")

        with_token, without = server.arrivals
        assert with_token.headers["authorization"] == "Bearer tok-1"
        assert "tok-1" not in with_token.target
        assert "authorization" not in without.headers


def test_percent_encoding_arrives_as_it_was_written():
    target = "/payments/find/a%2Fb%3F%EA%B0%80%25/paid?merchant_uid%5B%5D=x"
    with ScriptedServer(lambda _: ok(None)) as server, Http(server.url + "/prefix/") as http:
        http.call("GET", target)
        assert server.arrivals[0].target == "/prefix" + target


def test_one_thread_keeps_using_one_connection_and_many_never_wait_for_one():
    barrier = threading.Barrier(16)

    def script(arrival):
        if arrival.target == "/together":
            barrier.wait(5)
        return ok(None)

    with ScriptedServer(script) as server, Http(server.url) as http:
        for _ in range(5):
            http.call("GET", "/alone")
        assert len(http._idle) == 1
        threads = [threading.Thread(target=http.call, args=("GET", "/together")) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.arrivals) == 21
        assert len(http._idle) == 16


def test_a_connection_that_the_server_closed_while_idle_is_not_written_into():
    with ScriptedServer(lambda _: Say(headers={"Connection": "close"}, body=b"{}")) as server, Http(server.url) as http:
        assert all(isinstance(http.call("POST", "/", body=b"{}"), Answer) for _ in range(5))
        assert len(server.arrivals) == 5


def test_after_trouble_the_connection_is_not_used_again():
    says = iter([Say(silent=True), ok(None)])
    with ScriptedServer(lambda _: next(says)) as server, Http(server.url, timeouts=Timeouts(read=0.1)) as http:
        assert http.call("GET", "/") == Lost(True, "no answer within 0.1 s")
        assert http._idle == type(http._idle)()
        assert isinstance(http.call("GET", "/"), Answer)


@pytest.mark.parametrize(
    ("raised", "is_sent"),
    [
        (ConnectionRefusedError, False),
        (ConnectionResetError, True),
        (TimeoutError, True),
        (BrokenPipeError, True),
        (KeyError, True),
    ],
)
def test_an_in_process_pg_can_fail_like_a_network(raised, is_sent):
    def handle(method, target, headers, body):
        raise raised("whatever")

    with Http("http://pg.test", handler=handle) as http:
        lost = http.call("POST", "/", body=b"{}")
        assert isinstance(lost, Lost)
        assert lost.is_sent is is_sent


@pytest.mark.parametrize(
    "url", ["", "api.iamport.kr", "ftp://x", "https://", "http://x:port", "http://u:hidden@x/", "https://x/?a=1", "https://x/#a"]
)
def test_a_base_url_that_is_none_is_refused_without_being_repeated(url):
    with pytest.raises(SettingsError) as caught:
        Http(url)
    assert "BILLING_GATEWAY_URL" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_the_documented_timeouts():
    assert (Timeouts().connect, Timeouts().write, Timeouts().read) == (5, 10, 75)
