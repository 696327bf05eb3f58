"""What goes wrong around a buyer: a link too old, a script that does not load, a PG that is away, a name that looks like code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, Route, expect

from billing.app import Billing
from billing.clock import ManualClock
from billing.settings import Settings
from tests.browser.buyer import Buyer
from tests.kit.storefront import EVIL, Storefront, open_shop

Comes = Callable[[str], Buyer]


# --- the link -------------------------------------------------------------------------------------


def test_a_link_that_is_too_old_says_so(shop: Storefront, buyer: Comes) -> None:
    customer = shop.customer()
    with Billing(Settings.from_env(_env_file=None, **shop.settings), clock=ManualClock(_hours_ago(3)), actor="test") as app:
        link = app.checkouts.register_card(customer, lifetime=timedelta(hours=1), actor="test").url

    one = buyer(link).sees("expired")

    assert one.at("begin").count() == 0
    assert not [asked for asked in one.asked if "iamport" in asked]


def test_a_page_that_was_left_open_until_its_link_is_too_old_opens_nothing(
    shop: Storefront, buyer: Comes, new_page: Callable[..., Page]
) -> None:
    invoice = shop.invoice()
    with Billing(Settings.from_env(_env_file=None, **shop.settings), clock=ManualClock(_hours_ago(3)), actor="test") as app:
        found = app.views.invoice_ids([invoice])[0]
        link = app.checkouts.pay(found, lifetime=timedelta(hours=1), actor="test").url
    fresh = buyer(shop.pays(invoice))
    old = link.rpartition("/")[2]
    fresh.page.evaluate("token => { document.getElementById('main').dataset.open = token + '/open'; }", old)
    with fresh.page.expect_response("**/open") as answer:
        fresh.at("begin").click()

    assert answer.value.status == 410
    fresh.sees("open")
    assert shop.is_unpaid(invoice)


@pytest.mark.parametrize(
    "spoil", [lambda link: link[:-4], lambda link: link + "x", lambda link: link.replace("/checkout/", "/checkout/a")]
)
def test_a_mangled_link_says_so(shop: Storefront, buyer: Comes, spoil: Callable[[str], str]) -> None:
    one = buyer(spoil(shop.registers(shop.customer()))).sees("invalid")

    assert one.at("begin").count() == 0


# --- scripts --------------------------------------------------------------------------------------


def test_without_the_pgs_script_nothing_is_opened_and_it_says_why(shop: Storefront, new_page: Callable[..., Page]) -> None:
    invoice = shop.invoice()
    page = new_page()
    page.route("**/iamport.js", lambda route: route.abort())
    one = Buyer(page, shop.pays(invoice)).comes()
    one.at("begin").click()

    one.sees("no_sdk")
    assert "/open" not in " ".join(one.asked)
    assert shop.shown(invoice)["attempts"] == []
    page.unroute("**/iamport.js")
    one.at("reload").click()
    one.begins().approves().sees("paid")
    assert shop.is_paid_once(invoice)


def test_who_presses_before_the_pgs_script_has_come_waits_for_it(shop: Storefront, new_page: Callable[..., Page]) -> None:
    invoice = shop.invoice()
    page, slow = new_page(), list[Route]()
    page.route("**/iamport.js", lambda route: slow.append(route))
    page.goto(link := shop.pays(invoice), wait_until="commit")
    one = Buyer(page, link)
    one.at("begin").click()
    expect(one.at("begin")).to_have_text("결제창을 여는 중입니다…")
    assert "/open" not in " ".join(one.asked)

    slow[0].continue_()
    one.approves().sees("paid")
    assert shop.is_paid_once(invoice)


# --- the PG is away -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def restless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storefront]:
    """A shop whose PG can be switched off."""
    with open_shop(tmp_path_factory.mktemp("restless"), "beside") as shop:
        yield shop


def test_a_pg_that_is_away_opens_nothing_and_the_next_try_pays(restless: Storefront, buyer: Comes) -> None:
    invoice = restless.invoice()
    one = buyer(restless.pays(invoice))
    restless.stops_the_pg()
    one.at("begin").click()
    one.sees("unavailable")

    restless.starts_the_pg()
    one.at("again").click()
    one.begins().approves().sees("paid")
    assert restless.is_paid_once(invoice)


def test_a_pg_that_goes_away_after_the_buyer_paid_is_asked_until_it_answers(
    restless: Storefront, buyer: Comes, picture: Callable[[Page, str], None]
) -> None:
    invoice = restless.invoice()
    one = buyer(restless.pays(invoice)).begins()
    one.page.route("**/payments/complete", lambda route: (restless.stops_the_pg(), route.continue_()), times=1)
    one.approves().sees("pending")
    picture(one.page, "checkout-computer-11-pending")

    restless.starts_the_pg()
    one.sees("paid")
    assert restless.is_paid_once(invoice)


# --- whoever he is --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [EVIL, '홍길동"', "</title><script>alert(1)</script>"])
def test_a_name_is_shown_as_it_was_written_and_nothing_more(shop: Storefront, buyer: Comes, name: str) -> None:
    invoice = shop.invoice("evil-monthly", shop.customer(name))
    one = buyer(shop.pays(invoice))
    assert (one.reads("customer"), one.reads("order-name")) == (name, EVIL)
    assert one.page.title().endswith(EVIL)

    one.begins()
    assert EVIL in one.window.locator("dl").inner_text()
    one.approves().sees("paid")

    assert (one.reads("customer"), one.reads("order-name")) == (name, EVIL)
    assert one.page.locator("img").count() == 0
    assert not [asked for asked in one.asked if asked.endswith("/x")]
    assert shop.is_paid_once(invoice)


def test_what_an_address_says_is_shown_as_it_was_written_and_nothing_more(shop: Storefront, caller: Comes) -> None:
    invoice = shop.invoice()
    one = caller(shop.pays(invoice)).begins()
    uid = shop.shown(invoice)["attempts"][0]["merchant_uid"]
    one.page.goto(f"{shop.base}/payments/complete/mobile?merchant_uid={uid}&error_msg=%22%3E{EVIL}")

    assert f'">{EVIL}' in one.sees("not_opened").reads("message")
    assert one.page.locator("img").count() == 0


@pytest.mark.parametrize(
    ("language", "heading", "button", "method"),
    [
        ("ko", "결제를 진행해 주세요", "9,900원 결제하기", "신용·체크카드"),
        ("en", "Complete your payment", "Pay ₩9,900", "Credit or debit card"),
    ],
)
def test_everything_has_a_name_that_can_be_read_aloud(
    shop: Storefront, new_page: Callable[..., Page], language: str, heading: str, button: str, method: str
) -> None:
    words = ["--method", "card", "--method", "vbank", "--language", language]
    one = Buyer(new_page(), shop.pays(shop.invoice(), *words)).comes()

    expect(one.page.locator("html")).to_have_attribute("lang", language)
    expect(one.page.get_by_role("heading", level=1)).to_have_text(heading)
    expect(one.page.get_by_role("button", name=button, exact=True)).to_be_visible()
    expect(one.page.get_by_role("group").get_by_role("radio", name=method)).to_be_checked()
    expect(one.page.get_by_role("main")).to_have_count(1)
    one.begins("vbank").approves().sees("waiting")


def _hours_ago(hours: int) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)
