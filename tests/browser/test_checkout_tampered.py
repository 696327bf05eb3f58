"""A buyer who changes what his browser is told, and what it tells: nothing is granted that the PG's own record does not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route

from tests.browser.buyer import Buyer
from tests.browser.conftest import Street, anywhere
from tests.kit.storefront import Storefront

Comes = Callable[[str], Buyer]

REWRITE = """changes => {
  const real = IMP.request_pay;
  IMP.request_pay = (params, told) => real({ ...params, ...changes }, told);
}"""
"""What somebody types into the console of the page."""


def rewritten(page: Page, changes: dict[str, Any], before: Callable[[str], None] = lambda _: None) -> None:
    """Change the parameters on their way into the page; `before` is called with the order number."""

    def change(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        before(body["params"]["merchant_uid"])
        route.fulfill(response=answer, json={**body, "params": {**body["params"], **changes}})

    page.route("**/open", change)


def asked(shop: Storefront, invoice: str) -> str:
    """The order number an invoice was asked for under last."""
    return str(shop.shown(invoice)["attempts"][-1]["merchant_uid"])


# --- another amount -------------------------------------------------------------------------------


def test_another_amount_typed_into_the_console_opens_no_window(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice))
    one.page.evaluate(REWRITE, {"amount": 100})
    one.at("begin").click()

    one.sees("not_opened")
    assert "사전등록된 결제금액과 일치하지 않습니다." in one.reads("message")
    assert shop.records(invoice) == []
    assert shop.is_unpaid(invoice)


def test_a_phone_that_asks_for_another_amount_comes_back_unpaid(shop: Storefront, caller: Comes) -> None:
    invoice = shop.invoice()
    one = caller(shop.pays(invoice))
    rewritten(one.page, {"amount": 100})
    one.at("begin").click()

    one.sees("not_opened")
    assert one.page.url.startswith(one.link)
    assert shop.is_unpaid(invoice)


def test_where_the_pg_compares_nothing_we_stop_it_before_it_approves(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice))
    rewritten(one.page, {"amount": 100}, before=lambda uid: shop.forgets_the_amount(uid, 100))
    one.begins()
    assert one.window.get_by_test_id("amount").inner_text() == "100원"
    one.approves().sees("failed")

    assert "주문 금액이 일치하지 않습니다." in one.reads("message")
    assert shop.is_unpaid(invoice)


@anywhere
def test_where_nobody_stops_it_the_money_pays_nothing_and_wakes_somebody(
    street: Street, picture: Callable[[Page, str], None]
) -> None:
    shop, comes, screen = street
    customer = shop.customer()
    invoice = shop.invoice(customer=customer)
    one = comes(shop.pays(invoice))
    unasked = {"amount": 100, "confirm_url": None}
    rewritten(one.page, unasked, before=lambda uid: shop.forgets_the_amount(uid, 100))
    one.begins().approves().sees("forgery")
    picture(one.page, f"checkout-{screen}-10-forgery")

    assert shop.is_unpaid(invoice, kept=[100])
    assert [one["state"] for one in shop.shown(invoice)["attempts"]] == ["mismatch"]
    assert shop.events(customer).count("payment.forgery") == 1
    one.page.goto(one.link)
    one.sees("forgery")


# --- another number -------------------------------------------------------------------------------


def test_money_under_a_number_of_his_own_pays_nothing(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice))
    one.page.evaluate(REWRITE, {"merchant_uid": "my-own-order"})
    one.begins().approves().sees("forgery")

    assert shop.is_unpaid(invoice)


def test_a_number_changed_on_its_way_into_the_page_is_nobodys(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice))
    rewritten(one.page, {"merchant_uid": "another-order-of-mine"})
    one.begins().approves().sees("forgery")

    assert shop.is_unpaid(invoice)


def test_the_number_of_a_cheaper_invoice_pays_the_cheaper_invoice(shop: Storefront, buyer: Comes) -> None:
    customer = shop.customer()
    cheap, dear = shop.invoice("pro-daily", customer), shop.invoice("pro-monthly", customer)
    buyer(shop.pays(cheap)).begins().page.close()
    one = buyer(shop.pays(dear))
    one.page.evaluate(REWRITE, {"merchant_uid": asked(shop, cheap), "amount": 500})
    one.begins().approves().sees("forgery")

    assert shop.is_unpaid(dear)
    assert shop.is_paid_once(cheap)


# --- other ids ------------------------------------------------------------------------------------


def test_a_small_payment_told_of_as_a_large_one_is_a_forgery_however_often(shop: Storefront, buyer: Comes) -> None:
    customer = shop.customer()
    cheap, dear = shop.invoice("pro-daily", customer), shop.invoice("pro-monthly", customer)
    buyer(shop.pays(cheap)).begins().approves().sees("paid")
    one = buyer(shop.pays(dear)).begins()
    (paid,) = shop.records(cheap)
    forged = {"imp_uid": paid["imp_uid"], "merchant_uid": asked(shop, dear)}

    said = [one.posts("../payments/complete", forged) for _ in range(3)]

    assert [(answer["status"], answer["completion"]) for answer in said] == [("forgery", "forged")] * 3
    assert shop.events(customer).count("payment.forgery") == 1
    assert shop.is_unpaid(dear)
    one.approves().sees("paid")
    assert shop.is_paid_once(cheap)
    assert shop.is_paid_once(dear)


def test_a_completion_played_again_says_the_same_and_books_nothing(shop: Storefront, buyer: Comes) -> None:
    customer = shop.customer()
    invoice = shop.invoice(customer=customer)
    one = buyer(shop.pays(invoice)).begins().approves().sees("paid")
    (record,) = shop.records(invoice)
    ids = {"imp_uid": record["imp_uid"], "merchant_uid": record["merchant_uid"]}
    before = shop.shown(invoice), shop.events(customer)

    said = [one.posts("../payments/complete", body) for body in (ids, {**ids, "error_msg": "declined"}, ids)]

    assert [answer["completion"] for answer in said] == ["paid"] * 3
    assert (shop.shown(invoice), shop.events(customer)) == before
    assert shop.is_paid_once(invoice)


def test_a_page_that_says_it_was_paid_waits_for_money(shop: Storefront, buyer: Comes) -> None:
    invoice = shop.invoice()
    one = buyer(shop.pays(invoice))
    one.page.evaluate("""() => { IMP.request_pay = (params, told) =>
      told({ success: true, imp_uid: "imp_000000000000", merchant_uid: params.merchant_uid, status: "paid" }); }""")
    one.at("begin").click()

    one.sees("pending")
    assert shop.is_unpaid(invoice)


def test_a_phone_sent_back_with_good_news_that_is_not_true_waits_for_money(shop: Storefront, caller: Comes) -> None:
    invoice = shop.invoice()
    one = caller(shop.pays(invoice)).begins()
    uid = asked(shop, invoice)
    one.page.goto(f"{shop.base}/payments/complete/mobile?imp_uid=imp_000000000000&merchant_uid={uid}&imp_success=true")

    one.sees("pending")
    assert shop.is_unpaid(invoice)


def test_another_sites_page_sends_its_forms_in_vain(shop: Storefront, buyer: Comes, new_page: Callable[..., Page]) -> None:
    invoice = shop.invoice()
    link = shop.pays(invoice)
    fields = '<input name=\'{"pay_method":"card","x":"\' value=\'"}\'>'
    form = f'<form method="post" enctype="text/plain" action="{link}/open">{fields}<button>go</button></form>'
    page = new_page()
    page.set_content(form)
    with page.expect_response("**/open") as answer:
        page.get_by_role("button").click()

    assert answer.value.status == 415
    assert shop.shown(invoice)["attempts"] == []
    buyer(link).sees("open")
