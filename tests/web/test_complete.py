"""How a window ended, over HTTP: whatever a browser says, the PG's own record decides. Reliability, S11–S20."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from httpx import Response

from billing.flow.completing import LOOKS_PER_NUMBER
from tests.web.shop import PHONE, Shop, panel


def back(shop: Shop, told: dict[str, str]) -> tuple[dict[str, str], Response]:
    """Follow a phone's window back to us: what its address says, and our answer."""
    query = dict(parse_qsl(urlsplit(told["redirect"]).query))
    return query, shop.mobile(**query)


def topics(shop: Shop) -> list[str]:
    return [event["topic"] for event in shop.world.app.views.events(limit=100)]


# --- the six ends of a window ---------------------------------------------------------------------------------


def test_a_payment_the_pg_shows_is_a_success_however_often_it_is_told(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    told = shop.window(shop.params(shop.paying(invoice)))
    said = [shop.done(told) for _ in range(3)]
    assert {(one["status"], one["completion"]) for one in said} == {("success", "paid")}
    assert shop.world.states(subscription) == ["paid"]
    assert len(shop.world.pg.kept()) == 1
    assert shop.world.is_proven()


def test_a_refusal_says_so_in_the_pgs_own_words_and_can_be_tried_again(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    link = shop.paying(invoice)
    told = shop.window(shop.params(link), card="balance")
    said = shop.done(told)
    assert (said["status"], said["completion"]) == ("failed", "failed")
    assert "잔액" in said["message"]
    assert shop.panel(link) == "open"
    assert shop.done(shop.window(shop.params(link)))["status"] == "success"
    assert shop.world.states(subscription) == ["declined", "paid"]


def test_a_window_the_buyer_closed_is_no_failure_and_opens_again_under_its_number(shop: Shop) -> None:
    link = shop.paying()
    params = shop.params(link)
    said = shop.done(shop.window(params, act="close"))
    assert (said["status"], said["completion"]) == ("failed", "closed")
    again = shop.params(link)
    assert again["merchant_uid"] == params["merchant_uid"]
    assert shop.done(shop.window(again))["status"] == "success"
    assert len(shop.world.pg.kept()) == 1


def test_a_window_that_never_opened_says_so(shop: Shop) -> None:
    params = shop.params(shop.paying())
    said = shop.complete(None, params["merchant_uid"], error_code="F1000", error_msg="팝업이 차단되었습니다.").json()
    assert (said["status"], said["completion"], said["message"]) == ("failed", "not_opened", "팝업이 차단되었습니다.")


def test_an_account_that_was_issued_is_told_with_its_deadline(shop: Shop) -> None:
    told = shop.window(shop.params(shop.paying(methods=["vbank"]), "vbank"), bank="004")
    said = shop.done(told)
    assert (said["status"], said["account"]["due_at"]) == ("vbankIssued", "2024-02-07T14:59:59+00:00")


def test_what_the_pg_does_not_show_yet_is_pending_and_not_a_failure(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    params = shop.params(shop.paying(invoice))
    shop.world.pg.fault("lookup_lag", times=1, value=30)
    told = shop.window(params)
    said = shop.done(told)
    assert (said["status"], shop.world.states(subscription)) == ("pending", ["sending"])
    shop.world.later(seconds=31)
    assert shop.done(told)["status"] == "success"


def test_a_pg_that_cannot_be_asked_is_no_answer_and_the_page_asks_again(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    told = shop.window(shop.params(shop.paying(invoice)))
    shop.world.pg.fault("auth_dead")
    refused = shop.complete(told["imp_uid"], told["merchant_uid"])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert shop.world.states(subscription) == ["sending"]
    shop.world.pg.heals()
    assert shop.done(told)["status"] == "success"


# --- nobody is believed ---------------------------------------------------------------------------------------


def test_who_says_it_was_paid_pays_nothing(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    params = shop.params(shop.paying(invoice))
    for imp_uid in (None, "imp_000000000000"):
        assert shop.complete(imp_uid, params["merchant_uid"]).json()["status"] == "pending"
    assert shop.world.states(subscription) == ["sending"]
    assert shop.world.app.verify().holds


def test_a_small_payment_does_not_pay_a_big_invoice(shop: Shop) -> None:
    cheap, small = shop.invoice("pro-daily")
    dear, big = shop.invoice("pro-monthly")
    for_small, for_big = shop.params(shop.paying(small)), shop.params(shop.paying(big))
    told = shop.window(for_small)
    said = shop.complete(told["imp_uid"], for_big["merchant_uid"]).json()
    assert said["status"] == "forgery"
    assert shop.world.states(dear) == ["sending"]
    assert shop.world.states(cheap) == ["paid"], "it counts for what it is"
    assert topics(shop).count("payment.forgery") == 1
    shop.complete(told["imp_uid"], for_big["merchant_uid"])
    assert topics(shop).count("payment.forgery") == 1
    assert shop.world.is_proven()


def test_ids_that_were_swapped_between_two_buyers_help_neither(shop: Shop) -> None:
    mine, yours = shop.invoice(), shop.invoice()
    my_window, your_window = shop.window(shop.params(shop.paying(mine[1]))), shop.params(shop.paying(yours[1]))
    said = shop.complete(my_window["imp_uid"], your_window["merchant_uid"]).json()
    assert said["status"] == "forgery"
    assert shop.world.states(yours[0]) == ["sending"]
    assert shop.done(my_window)["status"] == "success"


def test_a_card_that_was_registered_for_nothing_pays_for_nothing(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    card = shop.window(shop.params(shop.registering()))
    params = shop.params(shop.paying(invoice))
    assert shop.complete(card["imp_uid"], params["merchant_uid"]).json()["status"] == "forgery"
    assert shop.world.states(subscription) == ["sending"]


def test_a_window_opened_for_less_is_not_opened(shop: Shop) -> None:
    params = shop.params(shop.paying())
    told = shop.window({**params, "amount": 100})
    assert told["imp_uid"] is None
    assert shop.world.pg.kept() == []


def test_an_order_number_nobody_gave_out_makes_us_ask_nobody(quick: Shop) -> None:
    quick.world.pg.fault("auth_dead")  # whoever asks it now gets no answer
    said = quick.complete("imp_123456789012", "order-nobody")
    assert (said.status_code, said.json()["status"]) == (200, "forgery")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"imp_uid": "imp_1"},
        {"merchant_uid": ""},
        {"merchant_uid": "a" * 41},
        {"merchant_uid": "m", "imp_uid": "imp_1/../../users/getToken"},
        {"merchant_uid": "m", "imp_uid": "%2e%2e"},
        {"merchant_uid": "m\r\nx: y"},
        {"merchant_uid": "m", "imp_uid": "imp_１"},
        {"merchant_uid": "m", "amount": 1},
        {"merchant_uid": "m", "success": True},
        {"merchant_uid": ["m"]},
        {"merchant_uid": "m", "error_msg": "x" * 1001},
    ],
)
def test_ids_of_another_shape_go_nowhere(quick: Shop, body: dict[str, object]) -> None:
    refused = quick.client.post("/payments/complete", json=body)
    assert refused.status_code == 422
    assert set(refused.json()["error"]) == {"field", "problem", "cure"}
    assert "getToken" not in refused.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"merchant_uid":"a","merchant_uid":"b"}', 400),
        (b'{"merchant_uid":' + b"[" * 9 + b"]" * 9 + b"}", 400),
        (b'{"merchant_uid":"m"', 400),
        (b'["m"]', 400),
        (b"\xff", 400),
        (b'{"merchant_uid":"m","error_msg":"' + b"x" * 17_000 + b'"}', 413),
    ],
)
def test_a_body_that_can_be_read_two_ways_or_not_at_all_is_not_read(quick: Shop, body: bytes, status: int) -> None:
    refused = quick.client.post("/payments/complete", content=body, headers={"content-type": "application/json"})
    assert (refused.status_code, set(refused.json())) == (status, {"error"})


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain"])
def test_a_form_of_another_site_completes_nothing(quick: Shop, content_type: str) -> None:
    refused = quick.client.post("/payments/complete", content=b"merchant_uid=m", headers={"content-type": content_type})
    assert refused.status_code == 415


def test_one_payment_is_looked_at_so_often_and_no_more_whoever_asks(quick: Shop) -> None:
    told = quick.window(quick.params(quick.paying()))
    quick.world.pg.fault("auth_dead")
    answers = [quick.complete(told["imp_uid"], told["merchant_uid"]).status_code for _ in range(LOOKS_PER_NUMBER + 2)]
    assert answers == [503] * LOOKS_PER_NUMBER + [200] * 2
    assert quick.complete(told["imp_uid"], told["merchant_uid"]).json()["status"] == "pending"
    quick.world.pg.heals()
    quick.world.later(minutes=2)
    assert quick.done(told)["status"] == "success"


# --- a phone comes back ---------------------------------------------------------------------------------------


def test_a_phone_is_brought_back_to_the_page_it_left(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    link = shop.paying(invoice)
    shop.see(link)
    _, answer = back(shop, shop.window(shop.params(link), agent=PHONE))
    assert (answer.status_code, answer.headers["location"]) == (303, f"../../checkout/{link.token}")
    assert shop.world.states(subscription) == ["paid"], "before the page is seen"
    assert shop.panel(link) == "paid"


def test_and_the_page_asks_what_came_of_a_window_that_was_closed(shop: Shop) -> None:
    link = shop.paying()
    query, answer = back(shop, shop.window(shop.params(link), agent=PHONE, act="close"))
    target = answer.headers["location"]
    assert answer.status_code == 303
    page = shop.client.get(target.replace("../..", ""))
    assert panel(page) == "open"
    assert f'data-merchant-uid="{query["merchant_uid"]}"' in page.text
    assert shop.complete(query["imp_uid"], query["merchant_uid"], error_msg=query["error_msg"]).json()["completion"] == "closed"


def test_another_browser_sees_a_page_that_names_nobody(quick: Shop) -> None:
    link = quick.paying()
    told = quick.window(quick.params(link), agent=PHONE)
    query = dict(parse_qsl(urlsplit(told["redirect"]).query))
    page = quick.client.another().get("/payments/complete/mobile", params=query)
    assert (page.status_code, panel(page)) == (200, "success")
    assert link.token not in page.text + str(page.headers)
    for personal in ("김하늘", "9,900", query["merchant_uid"], query["imp_uid"]):
        assert personal not in page.text
    assert quick.panel(link) == "paid", "decided all the same"


def test_the_cookie_of_another_checkout_brings_nobody_to_it(quick: Shop) -> None:
    mine, yours = quick.paying(), quick.paying()
    query, _ = back(quick, quick.window(quick.params(mine), agent=PHONE))
    quick.see(yours)
    answer = quick.mobile(**query)
    assert answer.status_code == 200
    assert yours.token not in answer.text


@pytest.mark.parametrize("success", ["true", "false", "1", ""])
def test_what_the_address_says_of_success_is_not_read(quick: Shop, success: str) -> None:
    link = quick.paying()
    uid = quick.params(link)["merchant_uid"]
    page = quick.client.another().get("/payments/complete/mobile", params={"merchant_uid": uid, "imp_success": success})
    assert panel(page) == "later"
    assert quick.panel(link) == "open"


def test_a_redirect_goes_to_our_own_page_and_nowhere_else(quick: Shop) -> None:
    link = quick.paying()
    quick.see(link)
    uid = quick.params(link)["merchant_uid"]
    evil = {"next": "//evil.example", "return_url": "https://evil.example", "m_redirect_url": "https://evil.example"}
    answer = quick.mobile(merchant_uid=uid, error_msg="https://evil.example", **evil)
    assert answer.status_code == 303
    target = urlsplit(answer.headers["location"])
    assert (target.scheme, target.netloc, target.path) == ("", "", f"../../checkout/{link.token}")
    assert set(dict(parse_qsl(target.query))) == {"merchant_uid", "error_msg"}


@pytest.mark.parametrize("token", ["//evil.example", "x", "..", "a" * 4000])
def test_a_cookie_that_was_made_up_leads_nowhere(quick: Shop, token: str) -> None:
    uid = quick.params(quick.paying())["merchant_uid"]
    answer = quick.client.another().get(
        "/payments/complete/mobile", params={"merchant_uid": uid}, headers={"cookie": f"billing_checkout={token}"}
    )
    assert answer.status_code == 200
    assert "evil" not in answer.text


def test_words_in_the_address_are_shown_as_words(quick: Shop) -> None:
    link = quick.paying()
    uid = quick.params(link)["merchant_uid"]
    evil = '"><script>alert(1)</script>'
    page = quick.see(link, merchant_uid=uid, error_msg=evil)
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    bare = quick.client.another().get("/payments/complete/mobile", params={"merchant_uid": uid, "error_msg": evil})
    assert "alert(1)" not in bare.text


@pytest.mark.parametrize("query", [{}, {"merchant_uid": "../x"}, {"merchant_uid": "m", "imp_uid": "<b>"}, {"imp_uid": "imp_1"}])
def test_a_redirect_without_a_number_of_the_right_shape_is_an_invalid_link(quick: Shop, query: dict[str, str]) -> None:
    page = quick.mobile(**query)
    assert (page.status_code, panel(page)) == (422, "invalid")


def test_a_phone_that_comes_back_while_the_pg_is_away_is_told_not_to_pay_again(quick: Shop) -> None:
    link = quick.paying()
    told = quick.window(quick.params(link), agent=PHONE)
    quick.world.pg.fault("auth_dead")
    query, answer = back(quick, told)
    assert answer.status_code == 303
    assert query["imp_uid"] in answer.headers["location"]
    page = quick.client.another().get("/payments/complete/mobile", params=query)
    assert panel(page) == "later"
