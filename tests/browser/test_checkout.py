"""A buyer follows a link: `billing serve`, the sandbox's window and a real Chromium, at a computer and on a phone.

With the sandbox in the serving process, and beside it at another origin, as the PG stands. Each story ends at the PG's own
ledger and with `billing verify`: charged once, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Frame, Page, expect

from tests.browser.buyer import Buyer
from tests.browser.conftest import Street, anywhere, everywhere
from tests.kit.storefront import Storefront

Comes = Callable[[str], Buyer]
Take = Callable[[Page, str], None]


# --- anywhere -------------------------------------------------------------------------------------


@everywhere
def test_an_invoice_is_paid_once(street: Street, picture: Take) -> None:
    shop, comes, screen = street
    invoice = shop.invoice()
    buyer = comes(shop.pays(invoice)).sees("open")
    assert buyer.reads("amount") == "9,900원"
    assert buyer.reads("begin") == "9,900원 결제하기"
    picture(buyer.page, f"checkout-{screen}-1-pay")

    buyer.begins()
    picture(buyer.page, f"checkout-{screen}-2-window")
    buyer.approves().sees("paid")
    picture(buyer.page, f"checkout-{screen}-3-paid")

    assert buyer.page.url.startswith(buyer.link)
    assert shop.is_paid_once(invoice)


@anywhere
def test_a_card_is_registered_and_nothing_is_charged(street: Street, picture: Take) -> None:
    shop, comes, screen = street
    customer = shop.customer()
    buyer = comes(shop.registers(customer)).sees("open")
    assert buyer.reads("amount") == "없음"
    picture(buyer.page, f"checkout-{screen}-4-register")

    buyer.begins().approves().sees("registered")
    picture(buyer.page, f"checkout-{screen}-5-registered")

    assert (buyer.reads("card-name"), buyer.reads("card-number")) == ("신한카드", "424242******4242")
    assert shop.cards(customer) == ["current"]
    assert shop.is_proven()


@anywhere
def test_a_refusal_is_told_in_the_issuers_words_and_the_next_try_pays(street: Street, picture: Take) -> None:
    shop, comes, screen = street
    invoice = shop.invoice()
    buyer = comes(shop.pays(invoice)).begins().approves("balance").sees("failed")
    assert "잔액부족" in buyer.reads("message")
    picture(buyer.page, f"checkout-{screen}-6-declined")
    assert shop.is_unpaid(invoice)

    buyer.at("again").click()
    buyer.begins().approves().sees("paid")

    assert [one["status"] for one in shop.records(invoice)] == ["failed", "paid"]
    assert shop.is_paid_once(invoice)


@anywhere
def test_a_window_that_was_closed_is_no_failure_and_opens_again(street: Street, picture: Take) -> None:
    shop, comes, screen = street
    invoice = shop.invoice()
    buyer = comes(shop.pays(invoice)).begins().closes().sees("canceled")
    picture(buyer.page, f"checkout-{screen}-7-canceled")
    assert shop.is_unpaid(invoice)

    buyer.at("again").click()
    buyer.begins().approves().sees("paid")

    assert len({one["merchant_uid"] for one in shop.records(invoice)}) == 1
    assert shop.is_paid_once(invoice)


@anywhere
def test_a_virtual_account_is_shown_and_paid_into_later(street: Street, picture: Take) -> None:
    shop, comes, screen = street
    invoice = shop.invoice()
    buyer = comes(shop.pays(invoice, "--method", "card", "--method", "vbank"))
    picture(buyer.page, f"checkout-{screen}-8-choose")
    buyer.begins("vbank").window.get_by_test_id("bank").select_option("088")
    buyer.approves().sees("waiting")
    picture(buyer.page, f"checkout-{screen}-9-account")

    (account,) = shop.shown(invoice)["accounts"]
    assert (buyer.reads("account-bank"), buyer.reads("account-number")) == ("신한은행", account["number"])
    buyer.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    buyer.at("copy").click()
    expect(buyer.at("copied")).to_be_visible()
    assert buyer.page.evaluate("navigator.clipboard.readText()") == account["number"]
    assert shop.is_unpaid(invoice)
    buyer.page.reload()
    buyer.sees("waiting")

    (record,) = shop.records(invoice)
    shop.control("vbank/deposit", imp_uid=record["imp_uid"])
    shop.has_heard_of(record["imp_uid"], "paid")
    shop.shell("renew")
    buyer.page.reload()

    buyer.sees("paid")
    assert shop.is_paid_once(invoice)


# --- who comes back ------------------------------------------------------------------------------


def test_what_waited_for_a_card_is_charged_with_it_at_once(shop: Storefront, buyer: Comes) -> None:
    customer = shop.customer()
    invoice = shop.invoice(customer=customer)
    one = buyer(shop.registers(customer, "--charge", invoice))
    assert one.reads("amount") == "9,900원"

    one.begins().approves().sees("registered")

    assert one.reads("charge") == "9,900원 결제도 완료되었습니다."
    assert shop.is_paid_once(invoice)


def test_going_back_and_reloading_after_success_shows_success(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice)).begins().approves().sees("paid")
    one.page.reload()
    one.sees("paid").page.goto("about:blank")
    one.page.go_back()

    one.sees("paid")
    assert shop.is_paid_once(invoice)


def test_a_phone_that_goes_back_after_its_redirect_pays_nothing_again(shop: Storefront, caller: Comes) -> None:
    invoice = shop.invoice()
    one = caller(shop.pays(invoice)).begins().approves().sees("paid")
    one.page.go_back()

    # Either the page it began on, as it stands by now, or the window, which sends it on.
    one.sees("paid")
    assert shop.is_paid_once(invoice)


def test_the_redirect_of_a_phone_can_be_reloaded_and_opened_by_another(
    shop: Storefront, caller: Comes, new_page: Callable[..., Page]
) -> None:
    invoice = shop.invoice()
    one = caller(shop.pays(invoice)).begins().approves().sees("paid")
    (redirect,) = {asked[4:] for asked in one.asked if "/payments/complete/mobile?" in asked}
    for _ in range(2):
        one.page.goto(redirect)
        one.sees("paid")
        assert one.page.url == one.link

    other = new_page()
    other.goto(redirect)
    expect(other.get_by_test_id("panel-success")).to_be_visible()
    assert "김하늘" not in other.content()
    assert shop.is_paid_once(invoice)


def test_a_second_tab_pays_nothing_more(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    link = shop.pays(invoice)
    first, second = buyer(link).begins(), buyer(link).begins()
    first.approves().sees("paid")
    second.approves().sees("paid")

    assert len(shop.records(invoice)) == 2, "one number, two windows"
    assert shop.is_paid_once(invoice)


def test_a_tab_that_was_open_before_it_was_paid_elsewhere_learns_of_it_by_its_button(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    link = shop.pays(invoice)
    first, second = buyer(link), buyer(link)
    first.begins().approves().sees("paid")
    second.at("begin").click()

    second.sees("paid")
    assert shop.is_paid_once(invoice)


def test_a_double_click_opens_one_window_and_pays_once(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice))
    one.at("begin").dblclick()
    expect(one.window.get_by_test_id("approve")).to_be_visible()
    one.window.get_by_test_id("approve").dblclick(no_wait_after=True)

    one.sees("paid")
    assert len([asked for asked in one.asked if asked.endswith("/open")]) == 1
    assert len(shop.records(invoice)) == 1
    assert shop.is_paid_once(invoice)


def test_a_page_that_is_left_while_it_waits_has_paid_all_the_same(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice))
    one.page.route("**/payments/complete", lambda route: route.abort())
    one.begins().approves().sees("pending").page.close()
    (record,) = shop.records(invoice)
    shop.has_heard_of(record["imp_uid"], "paid")
    shop.shell("renew")

    buyer(one.link).sees("paid")
    assert shop.is_paid_once(invoice)


def test_the_keyboard_alone_pays(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice))
    tab_to(one.page, "begin")
    one.page.keyboard.press("Enter")
    expect(one.window.get_by_test_id("approve")).to_be_visible()
    tab_to(one.page.frames[-1], "approve")
    one.page.keyboard.press("Enter")

    one.sees("paid")
    assert one.page.evaluate("document.activeElement.id") in ("title-paid", "")
    assert shop.is_paid_once(invoice)


def tab_to(frame: Page | Frame, name: str) -> None:
    """Press Tab until this has the focus."""
    page = frame if isinstance(frame, Page) else frame.page
    for _ in range(40):
        page.keyboard.press("Tab")
        if frame.evaluate("document.activeElement.dataset.testid") == name:
            return
    raise AssertionError(f"{name} cannot be reached with the keyboard")
