"""Canaries: secret, token and card never reach a log, a repr or a traceback, wherever it breaks."""

from __future__ import annotations

import logging

import pytest

from billing.domain.evidence import CancelOrder
from billing.errors import BillingError
from billing.gateway import bodies, iamport, wire
from billing.gateway import http as http_module
from billing.gateway.card import Card
from billing.gateway.http import Http
from tests.wire.scripted import Arrival, Say, ScriptedServer, envelope, ok, record, refused, token_answer
from tests.wire.worlds import SECRET, gateway, handler, order, shown

TOKEN = "canary-token-91fe"
CANARIES = (SECRET, TOKEN, "4242", "2031", "880101")


def tell(say: Say):
    return lambda arrival: token_answer(TOKEN) if arrival.path == "/users/getToken" else say


def clean(text: str) -> None:
    for canary in CANARIES:
        assert canary not in text, text


def made_card() -> Card:
    return Card(number="4242-4242-4242-4242", expiry="2031-07", birth="880101", pwd_2digit="99")


SAYS = {
    "paid": ok(record()), "refused": refused("어려움", code=-1), "401": refused("Unauthorized", status=401), "500": Say(500),
    "html": Say(200, b"<html>"), "cut": Say(200, envelope(record()), cut_at=90), "reset": Say(is_reset=True), "429": Say(429),
}  # fmt: skip


@pytest.mark.parametrize("case", SAYS)
def test_no_log_line_at_any_level_of_any_library_holds_a_secret(case, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="billing.gateway")
    with ScriptedServer(tell(SAYS[case])) as server, gateway(Http(server.url)) as pg:
        list(pg.charge([order()], token=pg.token(), gate=lambda: True))
        for call in (
            lambda: pg.get_payment("imp_1"),
            lambda: pg.cancel(CancelOrder("imp_1", 1, 1, "r"), token=pg.token(), gate=lambda: True),
            lambda: pg.issue_key("cu1", made_card()),
        ):
            try:
                call()
            except BillingError as problem:
                clean(shown(problem))
    clean(caplog.text)


def test_a_failed_charge_leaves_one_line_with_its_number(caplog):
    with gateway(Http("http://pg.test", handler=handler(tell(Say(500)), []))) as pg:
        list(pg.charge([order()], token=pg.token(), gate=lambda: True))
    [line] = [line for line in caplog.records if line.name == "billing.gateway"]
    assert "gd1a01" in line.getMessage()


def test_reprs():
    with gateway(Http("http://pg.test", handler=handler(tell(ok(None)), []))) as pg:
        token = pg.token()
        for thing in (pg, token, pg._tokens, pg._http, pg._asking, pg._http.call("GET", "/", token=token), made_card()):
            clean(repr(thing))
            clean(str(thing))


BREAKS = [
    (bodies, "card"), (bodies, "_json"), (bodies, "segment"), (wire, "envelope"), (wire, "key"), (wire, "_parsed"),
    (iamport, "refusal"), (http_module, "Answer"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "name"), BREAKS, ids=[name for _, name in BREAKS])
@pytest.mark.parametrize("say", [refused("어려움", code=-1), ok({"customer_uid": "cu1"})], ids=["refused", "issued"])
def test_wherever_a_registration_breaks_its_traceback_shows_no_card(where, name, say, monkeypatch):
    with gateway(Http("http://pg.test", handler=handler(tell(say), []))) as pg:
        pg.token()
        card = made_card()

        def broken(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError(repr(args) + repr(kwargs))

        monkeypatch.setattr(where, name, broken)
        try:
            pg.issue_key("cu1", card)
        except Exception as problem:  # noqa: BLE001
            clean(shown(problem))
        monkeypatch.undo()


@pytest.mark.parametrize("say", [Say(500), Say(401, b""), Say(200, b"<"), ok({"access_token": TOKEN}), refused(SECRET[:3])])
def test_wherever_getting_a_token_breaks_its_traceback_shows_no_secret(say):
    def script(arrival: Arrival) -> Say:
        return say

    with gateway(Http("http://pg.test", handler=handler(script, []))) as pg:
        with pytest.raises(BillingError) as caught:
            pg.token()
        clean(shown(caught.value))


def test_the_wire_shows_the_token_in_one_header_and_the_secret_in_one_body():
    arrivals: list[Arrival] = []
    with gateway(Http("http://pg.test", handler=handler(tell(ok(record())), arrivals))) as pg:
        pg.get_payment("imp_1")
    first, second = arrivals
    clean(first.target + second.target + str(first.headers))
    assert SECRET in first.body.decode()
    assert second.headers["authorization"] == f"Bearer {TOKEN}"
