"""The sandbox's script and window in a real Chromium, on a page whose policy forbids inline scripts and styles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from playwright.sync_api import FrameLocator, Page, Playwright, expect

from billing.sandbox import Sandbox, asgi
from tests.browser.host import host
from tests.contract.served import served, served_app

ORDER = {"pay_method": "card", "merchant_uid": "order_1", "name": "프로 요금제 1개월", "amount": 9900, "buyer_name": "김미나"}

SHOP = """<!doctype html><html lang="ko"><meta charset="utf-8"><link rel="icon" href="data:,"><title>가게</title>
<script src="{sdk}"></script><script src="/shop.js" defer></script>
<body><h1>가게</h1><button id="pay">결제</button><pre id="told"></pre></body></html>"""

SHOP_JS = """"use strict";
const told = document.getElementById("told");
window.pay = (params, init = true) => {
  if (init) IMP.init("imp00000000");
  IMP.request_pay(params, (response) => { told.textContent += JSON.stringify(response) + "\\n"; });
};
document.getElementById("pay").addEventListener("click", () => window.pay(window.order));
"""


class Shop:
    """The merchant's page and what it is told."""

    def __init__(self, sandbox: Sandbox, url: str, pg: str) -> None:
        self.sandbox = sandbox
        self.url = url
        self.pg = pg

    def opened(self, page: Page, **params: Any) -> FrameLocator:
        """Visit the shop and open a window."""
        page.goto(f"{self.url}/")
        self.pay(page, **params)
        return page.frame_locator("iframe[name=iamport-window]")

    def pay(self, page: Page, *, init: bool = True, **params: Any) -> None:
        page.evaluate("([order, init]) => window.pay(order, init)", [{**ORDER, **params}, init])

    def told(self, page: Page, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the callback was called `count` times and return what it was given."""
        page.wait_for_function("n => document.getElementById('told').textContent.split('\\n').length > n", arg=count)
        return [json.loads(line) for line in (page.locator("#told").text_content() or "").splitlines()]

    def records(self) -> list[dict[str, Any]]:
        return self.sandbox.ledger()["payments"]


@pytest.fixture
def shop() -> Iterator[Shop]:
    sandbox = Sandbox(seed=7)
    with served(sandbox) as pg:
        pages = {
            "/": ("text/html", SHOP.replace("{sdk}", f"{pg}/v1/iamport.js")),
            "/shop.js": ("text/javascript", SHOP_JS),
            "/back": ("text/html", '<!doctype html><link rel="icon" href="data:,"><title>back</title><h1>돌아왔습니다</h1>'),
        }
        policy = (
            f"default-src 'none'; script-src 'self' {pg}; connect-src 'self' {pg}; frame-src {pg}; img-src data:;"
            " style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        with host(pages, policy) as url:
            yield Shop(sandbox, url, pg)


def test_a_buyer_pays_in_the_overlay_and_the_page_is_told(shop: Shop, new_page: Callable[..., Page], picture: Any) -> None:
    page = new_page()
    window = shop.opened(page)
    expect(window.get_by_test_id("amount")).to_have_text("9,900원")
    picture(page, "sandbox-window-pay")
    window.get_by_test_id("approve").click()

    (told,) = shop.told(page)
    assert (told["success"], told["status"], told["paid_amount"], told["merchant_uid"]) == (True, "paid", 9900, "order_1")
    assert page.locator("iframe").count() == 0
    assert shop.sandbox.ledger()["totals"]["kept"] == 9900


def test_a_decline_is_told_with_the_issuers_words(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page()
    window = shop.opened(page)
    window.get_by_test_id("card-balance").check()
    window.get_by_test_id("approve").click()

    (told,) = shop.told(page)
    assert (told["success"], told["error_msg"]) == (False, "[120054]잔액부족")


def test_a_wrong_number_is_asked_for_again(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page()
    window = shop.opened(page)
    window.get_by_test_id("type-card").click()
    window.get_by_test_id("card-number").fill("1234")
    with page.expect_response("**/v1/window/*") as answer:
        window.get_by_test_id("approve").click()
    assert answer.value.status == 422
    expect(window.get_by_test_id("problem")).to_contain_text("카드번호")
    window.get_by_test_id("approve").click()

    assert shop.told(page)[0]["success"] is True


def test_a_card_is_registered(shop: Shop, new_page: Callable[..., Page], picture: Any) -> None:
    page = new_page()
    window = shop.opened(page, customer_uid="cu_7", amount=0)
    expect(window.get_by_test_id("title")).to_have_text("자동결제 카드 등록")
    picture(page, "sandbox-window-register")
    window.get_by_test_id("approve").click()

    assert shop.told(page)[0]["success"] is True
    assert shop.sandbox.ledger()["billing_keys"][0]["customer_uid"] == "cu_7"
    assert shop.sandbox.ledger()["totals"]["charged"] == 0


def test_closing_the_window_is_told(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page()
    shop.opened(page).get_by_test_id("close").click()

    (told,) = shop.told(page)
    assert (told["success"], told["error_msg"]) == (False, "사용자가 결제를 취소하셨습니다")
    assert [row["status"] for row in shop.records()] == ["ready"]


def test_a_virtual_account_is_opened(shop: Shop, new_page: Callable[..., Page], picture: Any) -> None:
    page = new_page()
    window = shop.opened(page, pay_method="vbank")
    window.get_by_test_id("bank").select_option("088")
    picture(page, "sandbox-window-vbank")
    window.get_by_test_id("approve").click()

    (told,) = shop.told(page)
    assert (told["success"], told["status"], told["vbank_name"]) == (True, "ready", "신한은행")


def test_refusals_come_to_the_callback(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{shop.url}/")
    shop.pay(page, init=False)
    assert "IMP.init" in shop.told(page)[0]["error_msg"]
    shop.pay(page, amount="9900")
    assert "숫자" in shop.told(page, 2)[1]["error_msg"]
    shop.pay(page)
    page.frame_locator("iframe").get_by_test_id("approve").click()
    shop.told(page, 3)
    shop.pay(page)
    assert shop.told(page, 4)[3]["error_code"] == "F1002"


def test_all_of_it_works_below_a_prefix(new_page: Callable[..., Page]) -> None:
    sandbox = Sandbox(seed=7)
    site = FastAPI()
    site.mount("/sandbox", asgi(sandbox))
    site.get("/", response_class=HTMLResponse)(lambda: SHOP.replace("{sdk}", "/sandbox/v1/iamport.js?v=1"))
    site.get("/shop.js")(lambda: Response(SHOP_JS, media_type="text/javascript"))
    with served_app(site) as url:
        page, shop = new_page(), Shop(sandbox, url, f"{url}/sandbox")
        shop.opened(page).get_by_test_id("approve").click()

        assert shop.told(page)[0]["success"] is True
    assert sandbox.ledger()["totals"]["kept"] == 9900


def test_only_one_window_is_open_at_a_time(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page()
    window = shop.opened(page)
    expect(window.get_by_test_id("approve")).to_be_visible()
    shop.pay(page, merchant_uid="order_2")

    assert "이미" in shop.told(page)[0]["error_msg"]
    assert len(shop.records()) == 1


def test_a_message_from_anybody_else_is_not_believed(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page()
    window = shop.opened(page)
    expect(window.get_by_test_id("approve")).to_be_visible()
    page.evaluate("window.postMessage({iamport: {success: true, imp_uid: 'imp_forged'}}, '*')")
    window.get_by_test_id("approve").click()

    (told,) = shop.told(page)
    assert told["imp_uid"] == shop.records()[0]["imp_uid"]


def test_a_double_click_pays_once(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page()
    shop.opened(page).get_by_test_id("approve").dblclick(no_wait_after=True)

    assert len(shop.told(page)) == 1
    assert shop.sandbox.ledger()["totals"]["charged"] == 9900


def test_what_a_merchant_writes_runs_nothing(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page()
    window = shop.opened(page, name="<img src=x onerror=alert(1)>", buyer_name="<script>1")

    expect(window.locator("dl")).to_contain_text("<img src=x onerror=alert(1)>")
    assert window.locator("img").count() == 0
    window.get_by_test_id("approve").click()
    assert shop.told(page)[0]["name"] == "<img src=x onerror=alert(1)>"


def test_a_phone_goes_to_the_window_and_comes_back(
    shop: Shop, new_page: Callable[..., Page], playwright: Playwright, picture: Any
) -> None:
    page = new_page(**playwright.devices["iPhone 13"])
    page.goto(f"{shop.url}/")
    shop.pay(page, m_redirect_url=f"{shop.url}/back?t=1")
    expect(page.get_by_test_id("amount")).to_have_text("9,900원")
    assert page.url.startswith(f"{shop.pg}/v1/window/")
    picture(page, "sandbox-window-mobile")
    page.get_by_test_id("approve").click()
    page.wait_for_url("**/back?**")

    told = parse_qs(urlsplit(page.url).query)
    assert told == {"t": ["1"], "imp_uid": [shop.records()[0]["imp_uid"]], "merchant_uid": ["order_1"], "imp_success": ["true"]}
    assert shop.records()[0]["status"] == "paid"


def test_instalments_and_a_typed_card_on_a_phone(shop: Shop, new_page: Callable[..., Page], playwright: Playwright) -> None:
    page = new_page(**playwright.devices["iPhone 13"])
    page.goto(f"{shop.url}/")
    shop.pay(page, amount=120_000, display={"card_quota": [3, 6]}, m_redirect_url=f"{shop.url}/back")
    page.get_by_test_id("type-card").tap()
    page.get_by_test_id("card-number").fill("9410-1234-5678-9012")
    page.get_by_test_id("card-expiry").fill("2031-05")
    page.get_by_test_id("quota").select_option("6")
    page.get_by_test_id("approve").tap()
    page.wait_for_url("**/back?**")

    (row,) = shop.records()
    assert (row["status"], row["card_number"]) == ("paid", "941012******9012")


def test_going_back_on_a_phone_pays_nothing_again(shop: Shop, new_page: Callable[..., Page], playwright: Playwright) -> None:
    page = new_page(**playwright.devices["iPhone 13"])
    page.goto(f"{shop.url}/")
    shop.pay(page, m_redirect_url=f"{shop.url}/back")
    page.get_by_test_id("approve").click()
    page.wait_for_url("**/back?**")
    page.go_back()

    # Either the shop is there again, or the window shows what became of it and sends the buyer back once more.
    page.wait_for_load_state()
    assert page.get_by_test_id("approve").count() == 0
    assert shop.sandbox.ledger()["totals"]["charged"] == 9900


def test_a_decline_on_a_phone_is_in_the_address(shop: Shop, new_page: Callable[..., Page], playwright: Playwright) -> None:
    page = new_page(**playwright.devices["iPhone 13"])
    page.goto(f"{shop.url}/")
    shop.pay(page, m_redirect_url=f"{shop.url}/back")
    page.get_by_test_id("card-lost").check()
    page.get_by_test_id("approve").click()
    page.wait_for_url("**/back?**")

    told = parse_qs(urlsplit(page.url).query)
    assert (told["error_code"], told["imp_success"]) == (["120026"], ["false"])


def test_a_phone_without_a_page_to_come_back_to_is_refused(
    shop: Shop, new_page: Callable[..., Page], playwright: Playwright
) -> None:
    page = new_page(**playwright.devices["iPhone 13"])
    page.goto(f"{shop.url}/")
    shop.pay(page)

    assert "m_redirect_url" in shop.told(page)[0]["error_msg"]
