"""Strangers with a script instead of a browser, against a real `billing serve`: whatever they send, the PG's record decides.

Each of them knows everything a buyer can know: his own link, order numbers, ids of true payments, and our addresses.
Reliability, S11–S20.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from billing.domain.notice import BODY_BYTES_MAX
from tests.kit.storefront import Storefront, open_shop
from tests.web.shop import PHONE, panel, pressed


class Stranger:
    """Asks over HTTP, follows no redirect, and keeps cookies."""

    def __init__(self, shop: Storefront, http: httpx.Client) -> None:
        self.shop, self.http = shop, http

    def params(self, link: str, method: str = "card") -> dict[str, Any]:
        """What the page of a link would open the window with."""
        return dict(self.http.post(f"{link}/open", json={"pay_method": method}).json()["params"])

    def pays(self, link: str, **changes: Any) -> dict[str, Any]:
        """Pay in the window; what it tells the page."""
        return pressed(self.http, "/sandbox/v1", {**self.params(link), **changes})

    def tells(self, way: str, imp_uid: str, merchant_uid: str) -> httpx.Response:
        """Tell us of a payment in one of the ways there are."""
        ids = {"imp_uid": imp_uid, "merchant_uid": merchant_uid}
        if way == "callback":
            return self.http.post("/payments/complete", json=ids)
        if way == "redirect":
            self.http.cookies.clear()  # or he would be brought back to the page of a link he knows
            return self.http.get("/payments/complete/mobile", params={**ids, "imp_success": "true", "success": "true"})
        return self.http.post("/webhooks/iamport", json={**ids, "status": "paid"})


WAYS = ["callback", "redirect", "notice"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storefront]:
    with open_shop(tmp_path_factory.mktemp("forgeries"), "inside") as one:
        yield one


@pytest.fixture
def stranger(shop: Storefront) -> Iterator[Stranger]:
    with httpx.Client(base_url=shop.base, timeout=20) as http:
        yield Stranger(shop, http)


# --- true ids in the wrong place ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_small_true_payment_never_pays_a_large_invoice(shop: Storefront, stranger: Stranger, way: str) -> None:
    customer = shop.customer()
    small, large = shop.invoice("pro-daily", customer), shop.invoice("pro-monthly", customer)
    paid, wanted = stranger.pays(shop.pays(small)), stranger.params(shop.pays(large))

    said = stranger.tells(way, paid["imp_uid"], wanted["merchant_uid"])
    shop.shell("renew")

    assert said.status_code == 200
    if way == "callback":
        assert said.json()["status"] == "forgery"
    if way == "redirect":
        assert panel(said) == "forgery"
    assert shop.is_unpaid(large)
    assert shop.is_paid_once(small), "it counts for what it is"


@pytest.mark.parametrize("way", WAYS)
def test_another_ones_payment_pays_for_nobody_else(shop: Storefront, stranger: Stranger, way: str) -> None:
    theirs, mine = shop.invoice(), shop.invoice()
    paid, wanted = stranger.pays(shop.pays(theirs)), stranger.params(shop.pays(mine))

    stranger.tells(way, paid["imp_uid"], wanted["merchant_uid"])
    shop.shell("renew")

    assert shop.is_unpaid(mine)
    assert shop.is_paid_once(theirs)


@pytest.mark.parametrize("way", WAYS)
def test_the_record_of_a_registered_card_pays_nothing(shop: Storefront, stranger: Stranger, way: str) -> None:
    invoice, customer = shop.invoice(), shop.customer()
    card, wanted = stranger.pays(shop.registers(customer)), stranger.params(shop.pays(invoice))

    stranger.tells(way, card["imp_uid"], wanted["merchant_uid"])
    shop.shell("renew")

    assert shop.is_unpaid(invoice)


def test_two_swapped_payments_pay_as_the_pg_recorded_them(shop: Storefront, stranger: Stranger) -> None:
    invoices = [shop.invoice(), shop.invoice()]
    first, second = (stranger.pays(shop.pays(one)) for one in invoices)

    said = [
        stranger.tells("callback", first["imp_uid"], second["merchant_uid"]),
        stranger.tells("callback", second["imp_uid"], first["merchant_uid"]),
    ]

    assert [one.json()["status"] for one in said] == ["forgery", "forgery"]
    assert all(shop.is_paid_once(one) for one in invoices)


# --- news that are not true ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("imp_uid", ["imp_000000000000", "imp_1"])
def test_good_news_that_is_not_true_pays_nothing(shop: Storefront, stranger: Stranger, way: str, imp_uid: str) -> None:
    invoice = shop.invoice()
    wanted = stranger.params(shop.pays(invoice))

    said = stranger.tells(way, imp_uid, wanted["merchant_uid"])
    shop.shell("renew")

    assert said.status_code == 200
    assert shop.is_unpaid(invoice)


@pytest.mark.parametrize("status", ["cancelled", "failed", "ready", "vbankIssued", "PAID"])
def test_bad_news_that_is_not_true_takes_nothing_away(shop: Storefront, stranger: Stranger, status: str) -> None:
    invoice = shop.invoice()
    paid = stranger.pays(shop.pays(invoice))
    stranger.tells("callback", paid["imp_uid"], paid["merchant_uid"])

    notice = {"imp_uid": paid["imp_uid"], "merchant_uid": paid["merchant_uid"], "status": status, "cancellation_id": "cancel_1"}
    assert stranger.http.post("/webhooks/iamport", json=notice).status_code == 200
    shop.shell("renew")

    assert shop.is_paid_once(invoice)


def test_a_page_that_reports_a_failure_after_paying_is_not_believed(shop: Storefront, stranger: Stranger) -> None:
    invoice = shop.invoice()
    paid = stranger.pays(shop.pays(invoice))
    lie = {"imp_uid": None, "merchant_uid": paid["merchant_uid"], "error_code": "F400", "error_msg": "거절"}

    assert stranger.http.post("/payments/complete", json=lie).json()["status"] == "success"
    assert shop.is_paid_once(invoice)


def test_a_go_from_our_confirmation_pays_nothing(shop: Storefront, stranger: Stranger) -> None:
    invoice = shop.invoice()
    wanted = stranger.params(shop.pays(invoice))
    asked = {"imp_uid": "imp_000000000000", "merchant_uid": wanted["merchant_uid"], "amount": 9900}

    assert stranger.http.post("/payments/confirm", json=asked).status_code == 200
    assert stranger.http.post("/payments/confirm", json={**asked, "amount": 100}).status_code == 409
    assert stranger.http.post("/payments/confirm", json={**asked, "merchant_uid": "nobody"}).status_code != 200
    assert shop.is_unpaid(invoice)


def test_a_payment_told_of_by_everybody_at_once_is_booked_once(shop: Storefront, stranger: Stranger) -> None:
    customer = shop.customer()
    invoice = shop.invoice(customer=customer)
    paid = stranger.pays(shop.pays(invoice))

    for _ in range(3):
        for way in WAYS:
            assert stranger.tells(way, paid["imp_uid"], paid["merchant_uid"]).status_code == 200
    shop.shell("renew")

    assert shop.is_paid_once(invoice)
    assert shop.events(customer).count("invoice.paid") == 1


# --- where a redirect leads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "merchant_uid=../../x",
        "merchant_uid=a&merchant_uid=%00",
        "imp_uid=imp_1",
        "merchant_uid=" + "a" * 5000,
        "merchant_uid[]=a",
        "merchant_uid=a%0d%0aset-cookie:x=y",
    ],
)
def test_a_redirect_with_a_number_of_no_shape_is_a_plain_page(stranger: Stranger, query: str) -> None:
    said = stranger.http.get(f"/payments/complete/mobile?{query}")

    assert (said.status_code, panel(said)) == (422, "invalid")
    assert "set-cookie" not in said.headers


def test_the_cookie_of_one_link_does_not_open_another(shop: Storefront, stranger: Stranger) -> None:
    mine, theirs = shop.pays(shop.invoice()), shop.pays(shop.invoice())
    told = pressed(stranger.http, "/sandbox/v1", stranger.params(theirs), agent=PHONE)
    stranger.http.cookies.clear()
    stranger.http.get(mine)

    said = stranger.http.get(told["redirect"])

    assert (said.status_code, panel(said)) == (200, "success")
    for secret in (theirs.rpartition("/")[2], mine.rpartition("/")[2], "김하늘", "9,900"):
        assert secret not in said.text


def test_no_header_of_a_request_comes_to_stand_in_a_page(shop: Storefront, stranger: Stranger) -> None:
    link = shop.pays(shop.invoice())
    evil = {
        "host": "evil.example",
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        "referer": "https://evil.example",
    }

    page = stranger.http.get(urlsplit(link).path, headers=evil)
    said = stranger.http.post(f"{urlsplit(link).path}/open", json={"pay_method": "card"}, headers=evil)

    assert (page.status_code, said.status_code) == (200, 200)
    assert "evil.example" not in page.text + str(page.headers) + said.text


# --- bodies nobody types ------------------------------------------------------------------------------------------

PATHS = ["/payments/complete", "/payments/confirm", "/webhooks/iamport"]


@pytest.mark.parametrize("path", ["/payments/complete", "/checkout/{token}/open"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "x"])
def test_a_form_of_another_site_does_nothing(shop: Storefront, stranger: Stranger, path: str, kind: str) -> None:
    token = shop.pays(invoice := shop.invoice()).rpartition("/")[2]
    body = b'{"merchant_uid":"m","pay_method":"card"}'
    cross = {"content-type": kind, "origin": "https://evil.example", "sec-fetch-site": "cross-site"}

    said = stranger.http.post(path.replace("{token}", token), content=body, headers=cross)

    assert said.status_code == 415
    assert "access-control-allow-origin" not in said.headers
    assert shop.shown(invoice)["attempts"] == []


@pytest.mark.parametrize("path", PATHS)
def test_more_than_anybody_types_is_not_read(shop: Storefront, path: str) -> None:
    address = urlsplit(shop.base)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as wire:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
        wire.sendall(head.encode() + b" " * (BODY_BYTES_MAX + 1))

        assert b" 413 " in wire.recv(65536).partition(b"\r\n")[0]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [b"[" * 10_000, b'{"merchant_uid":' + b'{"a":' * 2000, b"\xff\xfe{}", b'{"imp_uid":1e999,"merchant_uid":"m"}', b"null", b""],
)
def test_what_is_no_object_of_ours_is_refused_and_not_repeated(stranger: Stranger, path: str, body: bytes) -> None:
    said = stranger.http.post(path, content=body, headers={"content-type": "application/json"})

    assert said.status_code in (400, 422)
    assert len(said.content) < 400
    assert json.loads(said.content)
