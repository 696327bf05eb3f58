"""Reconciliation at the terminal: what differs is said, explained and kept."""

from __future__ import annotations

import json
from typing import Any

from billing.sandbox import Sandbox
from tests.e2e.conftest import Shell


def behind_our_back(shop: Shell, path: str, fields: dict[str, Any]) -> None:
    """Do something at the shop's PG that the engine knows nothing of."""
    pg = Sandbox(str(shop.home / "billing-sandbox.db"))
    credentials = b'{"imp_key":"imp_sandbox_key","imp_secret":"imp_sandbox_secret"}'
    headers = {"Content-Type": "application/json"}
    token = json.loads(pg.handle("POST", "/users/getToken", headers, credentials).body)["response"]["access_token"]
    answer = pg.handle("POST", path, headers | {"Authorization": token}, json.dumps(fields).encode())
    assert json.loads(answer.body)["code"] == 0, answer.body
    pg.close()


def test_a_clean_shop_a_console_refund_and_a_second_engine(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly")
    clean = shop.does("reconcile")
    assert (clean["is_clean"], clean["payments"], clean["unexplained"]) == (True, 1, [])
    assert "Everything is explained." in shop("reconcile", "--from", "2026-01-01").out

    (paid,) = shop.does("invoice", "show", "1")["invoice"]["payments"]
    behind_our_back(shop, "/_sandbox/console/cancel", {"imp_uid": paid["imp_uid"], "amount": 900, "reason": "console"})
    said = shop("reconcile", "--json")
    assert said.status == 1
    assert [one["amount"]["amount"] for one in said.document["adopted"]] == [900]

    (card,) = shop.does("card", "list", "mina")["cards"]
    order = {"customer_uid": card["customer_uid"], "merchant_uid": "other-1", "amount": 500, "name": "other"}
    behind_our_back(shop, "/subscribe/payments/again", order)
    said = shop("reconcile", "--json")
    assert said.status == 4
    assert [one["kind"] for one in said.document["new"]] == ["scheduled_charge"]
    assert "another engine charged a card of ours" in shop("reconcile").out
    assert "differences between the PG and the books" in shop("doctor").out

    (found,) = shop.does("finding", "list")["findings"]
    assert shop("finding", "explain", found["id"]).status == 2
    explained = shop.does("finding", "explain", found["id"], "--reason", "the old shop", "--actor", "jun")["finding"]
    assert (explained["explained_by"], explained["explanation"]) == ("jun", "the old shop")
    assert shop("finding", "explain", found["id"], "--reason", "again").status == 2
    assert shop.does("finding", "list")["findings"] == []
    assert len(shop.does("finding", "list", "--all")["findings"]) == 1
    assert shop.does("reconcile")["is_clean"]
    assert shop.does("verify")["holds"]


def test_what_makes_no_sense_is_refused(shop: Shell) -> None:
    for words in (("--from", "yesterday"), ("--from", "2026-12-02T10:00"), ("--from", "2026-02-01", "--to", "2026-01-01")):
        said = shop("reconcile", *words)
        assert said.status == 2, said
        assert "Traceback" not in said.err
    assert shop("finding", "explain", "nothing", "--reason", "x").status == 2
