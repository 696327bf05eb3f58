"""The PG's question right before an approval: only an order as we asked for it goes on, and everything else is a stop."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import Response
from sqlalchemy import text

from tests.kit.world import World
from tests.web.shop import Shop, shop_on

URL = "/payments/confirm"
PG = "52.78.100.19"


def confirm(shop: Shop, merchant_uid: str, amount: Any, **given: Any) -> Response:
    return shop.client.post(URL, json={"imp_uid": "imp_123456789012", "merchant_uid": merchant_uid, "amount": amount}, **given)


def test_an_order_as_it_was_asked_for_goes_on(shop: Shop) -> None:
    params = shop.params(shop.paying())
    said = confirm(shop, params["merchant_uid"], 9900)
    assert (said.status_code, said.json()) == (200, {})


def test_the_pg_may_ask_in_a_form(shop: Shop) -> None:
    params = shop.params(shop.paying())
    form = {"imp_uid": "imp_123456789012", "merchant_uid": params["merchant_uid"], "amount": "9900"}
    assert shop.client.post(URL, data=form).status_code == 200


def test_a_field_more_than_today_stops_nobody(quick: Shop) -> None:
    params = quick.params(quick.paying())
    body = {"imp_uid": "imp_1", "merchant_uid": params["merchant_uid"], "amount": 9900, "currency": "KRW"}
    assert quick.client.post(URL, json=body).status_code == 200


def test_a_card_is_registered_for_whatever_amount_is_shown(shop: Shop) -> None:
    params = shop.params(shop.registering())
    assert confirm(shop, params["merchant_uid"], 0).status_code == 200


@pytest.mark.parametrize("amount", [9899, 9900.5, 100, 0])
def test_another_amount_is_stopped(quick: Shop, amount: float) -> None:
    params = quick.params(quick.paying())
    said = confirm(quick, params["merchant_uid"], amount)
    assert (said.status_code, said.json()) == (409, {"reason": "주문 금액이 일치하지 않습니다."})


@pytest.mark.parametrize("amount", ["9900", "nine", None, True, -1, [9900]])
def test_an_amount_that_is_no_number_is_stopped(quick: Shop, amount: object) -> None:
    params = quick.params(quick.paying())
    said = confirm(quick, params["merchant_uid"], amount)
    assert (said.status_code, set(said.json())) == (422, {"reason"})


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_nor_is_one_that_json_does_not_have(quick: Shop, amount: str) -> None:
    params = quick.params(quick.paying())
    body = f'{{"imp_uid":"imp_1","merchant_uid":"{params["merchant_uid"]}","amount":{amount}}}'
    said = quick.client.post(URL, content=body, headers={"content-type": "application/json"})
    assert said.status_code in (400, 422)


def test_an_order_nobody_asked_for_is_stopped(quick: Shop) -> None:
    said = confirm(quick, "order-nobody", 9900)
    assert (said.status_code, said.json()) == (409, {"reason": "알 수 없는 주문입니다."})


def test_an_invoice_that_is_paid_is_not_paid_again(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    link = shop.paying(invoice)
    params = shop.params(link)
    shop.done(shop.window(params))
    assert confirm(shop, params["merchant_uid"], 9900).status_code == 409
    assert shop.world.states(subscription) == ["paid"]


def test_a_frozen_engine_stops_a_window_that_is_open(shop: Shop) -> None:
    params = shop.params(shop.paying())
    shop.world.app.controls.set_freeze(is_frozen=True, reason="drill", actor="test")
    told = shop.window(params)
    assert "지금은 결제할 수 없습니다" in told["error_msg"]
    assert shop.world.pg.kept() == []


def test_a_database_that_is_away_is_a_stop(quick: Shop) -> None:
    params = quick.params(quick.paying())
    with quick.world.app.store.begin() as tx:
        tx.connection.execute(text("ALTER TABLE billing_attempt RENAME TO away"))
    said = confirm(quick, params["merchant_uid"], 9900)
    assert said.status_code == 503
    assert "billing_attempt" not in said.text


def test_only_the_pg_may_ask_where_its_addresses_are_named(sqlite_world: World) -> None:
    with shop_on(sqlite_world) as plain, shop_on(sqlite_world, webhook_allow=PG) as shop:
        params = plain.params(plain.paying())
        body = {"imp_uid": "imp_1", "merchant_uid": params["merchant_uid"], "amount": 9900}
        said = shop.client.post(URL, json=body, headers={"x-forwarded-for": PG})
        assert (said.status_code, set(said.json())) == (403, {"reason"})
        assert shop.client.another(PG).post(URL, json=body).status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=euc-kr"])
def test_another_content_type_is_a_stop(quick: Shop, content_type: str) -> None:
    assert quick.client.post(URL, content=b"{}", headers={"content-type": content_type}).status_code == 415


def test_nothing_is_confirmed_by_a_get(quick: Shop) -> None:
    assert quick.client.get(URL).status_code == 405
