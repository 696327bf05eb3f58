"""The page behind a link: what it shows as things stand, whom it lets in, and what may run in it."""

from __future__ import annotations

import logging
import re
import tomllib
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from httpx import Response

from billing import web
from billing.domain.invoice import InvoiceState
from billing.errors import SettingsError
from billing.settings import Settings
from billing.web import limits
from billing.web.checkout import OPENINGS_PER_LINK
from billing.web.headers import page_headers
from tests.kit.world import World
from tests.web.shop import BASE, PHONE, Shop, panel, shop_on

PAGES = Path(web.__file__).parent / "pages"


# --- what it shows ---------------------------------------------------------------------------------------


def test_a_link_registers_a_card_and_from_then_on_shows_which(shop: Shop) -> None:
    customer = shop.customer()
    link = shop.registering(customer)
    assert shop.panel(link) == "open"
    told = shop.window(shop.params(link))
    assert shop.done(told)["completion"] == "registered"
    assert shop.panel(link) == "registered"
    page = shop.see(link).text
    assert "신한카드" in page
    assert "424242******4242" in page
    assert shop.cards(customer) == ["current"]


def test_a_link_pays_an_invoice_and_from_then_on_shows_that(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    link = shop.paying(invoice)
    page = shop.see(link)
    assert (panel(page), "9,900원" in page.text) == ("open", True)
    assert shop.done(shop.window(shop.params(link)))["status"] == "success"
    assert shop.panel(link) == "paid"
    assert shop.world.states(subscription) == ["paid"]
    assert shop.world.is_proven()


def test_a_card_that_is_registered_to_pay_says_what_came_of_that(shop: Shop) -> None:
    customer = shop.customer()
    started = shop.world.app.subscriptions.start(customer, "pro-monthly", actor="test")
    link = shop.registering(customer, invoice=shop.world.invoice(started.subscription_id).id)
    assert "바로 결제" in shop.see(link).text
    said = shop.done(shop.window(shop.params(link)))
    assert (said["completion"], said["charge"]) == ("registered", "paid")
    assert "9,900원 결제도 완료되었습니다." in shop.see(link).text


def test_and_so_it_does_where_the_card_is_registered_and_refuses_to_pay(shop: Shop) -> None:
    customer = shop.customer()
    started = shop.world.app.subscriptions.start(customer, "pro-monthly", actor="test")
    link = shop.registering(customer, invoice=shop.world.invoice(started.subscription_id).id)
    said = shop.done(shop.window(shop.params(link), card="balance"))
    assert (said["completion"], said["charge"]) == ("registered", "failed")
    assert "9,900원 결제는 아직 완료되지 않았습니다." in shop.see(link).text
    assert shop.world.pg.kept() == []


def test_a_virtual_account_is_shown_until_it_is_paid_into(shop: Shop) -> None:
    subscription, invoice = shop.invoice()
    link = shop.paying(invoice, methods=["card", "vbank"])
    assert set(re.findall(r'data-testid="method-(\w+)"', shop.see(link).text)) == {"card", "vbank"}
    said = shop.done(shop.window(shop.params(link, "vbank"), bank="004"))
    assert said["status"] == "vbankIssued"
    page = shop.see(link)
    assert panel(page) == "waiting"
    for text in (said["account"]["number"], said["account"]["holder"], "9,900원", "2024년 2월 7일 (수) 23:59까지"):
        assert text in page.text
    assert "Wednesday, 7 February 2024, 23:59 (Korean time)" in shop.see(link, lang="en").text
    assert shop.world.states(subscription) == ["unknown"]


def test_an_invoice_that_is_being_charged_elsewhere_cannot_be_paid_meanwhile(shop: Shop) -> None:
    world, customer = shop.world, shop.customer()
    world.card(customer)
    mina = world.app.subscriptions.start(customer, "pro-monthly", actor="test").subscription_id
    world.at("2024-02-29 10:00")
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=600)
    world.tick()
    link = shop.paying(world.invoice(mina).id)
    assert shop.panel(link) == "busy"
    said = shop.open(link).json()
    assert said["outcome"]["completion"] == "pending"
    assert "params" not in said


def test_an_invoice_that_is_owed_no_more_says_so_and_opens_nothing(shop: Shop) -> None:
    _, invoice = shop.invoice()
    link = shop.paying(invoice)
    shop.world.app.invoices.close(invoice, InvoiceState.VOID, reason="test", actor="test")
    assert shop.panel(link) == "closed"
    refused = shop.open(link)
    assert (refused.status_code, refused.json()["error"]["field"]) == (409, "invoice")


# --- whom it lets in -------------------------------------------------------------------------------------


def test_a_link_that_is_too_old_is_gone_and_opens_nothing(shop: Shop) -> None:
    link = shop.registering(lifetime=timedelta(minutes=5), language="en")
    shop.world.later(minutes=6)
    page = shop.see(link)
    assert (page.status_code, panel(page)) == (410, "expired")
    assert "This link has expired" in page.text
    assert shop.open(link).status_code == 410
    assert shop.world.pg.sandbox.ledger()["payments"] == []


def test_what_is_done_stays_to_be_seen(shop: Shop) -> None:
    link = shop.paying(lifetime=timedelta(minutes=5))
    shop.done(shop.window(shop.params(link)))
    shop.world.later(days=40)
    page = shop.see(link)
    assert (page.status_code, panel(page)) == (200, "paid")


@pytest.mark.parametrize("change", ["cut", "flipped", "swapped", "none", "long", "odd"])
def test_a_link_that_was_changed_is_nobodys(quick: Shop, change: str) -> None:
    token, other = quick.registering().token, quick.registering().token
    head, _, signature = token.rpartition(".")
    tried = {
        "cut": token[:-3],
        "flipped": f"{head[:-1]}{'A' if head[-1] != 'A' else 'B'}.{signature}",
        "swapped": f"{other.rpartition('.')[0]}.{signature}",
        "none": "x",
        "long": "a" * 5000,
        "odd": "%00%ff<script>",
    }[change]
    page, opened = quick.see(tried), quick.open(tried)
    assert (page.status_code, panel(page)) == (404, "invalid")
    assert opened.status_code == 404
    assert "<script>" not in page.text.replace("<script src", "")
    assert "set-cookie" not in page.headers


def test_a_link_signed_by_another_machine_is_nobodys(quick: Shop) -> None:
    link = quick.registering()
    with shop_on(quick.world, instance_secret=Settings(instance_secret="x" * 40, _env_file=None).instance_secret) as other:  # type: ignore[call-arg]
        assert other.see(link).status_code == 404


def test_only_a_method_that_was_offered_is_opened(quick: Shop) -> None:
    link = quick.paying(methods=["card"])
    refused = quick.open(link, "vbank")
    assert (refused.status_code, refused.json()["error"]["field"]) == (409, "pay_method")


def test_a_frozen_engine_opens_nothing_and_says_when_to_come_again(quick: Shop) -> None:
    link = quick.paying()
    quick.world.app.controls.set_freeze(is_frozen=True, reason="drill", actor="test")
    refused = quick.open(link)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "drill" not in refused.text
    assert quick.panel(link) == "open"


def test_a_pg_that_is_away_opens_nothing(quick: Shop) -> None:
    link = quick.paying()
    quick.world.pg.fault("auth_dead")
    refused = quick.open(link)
    assert (refused.status_code, refused.json()["error"]["field"]) == (503, "service")


def test_what_a_merchant_forgot_to_set_is_told_to_the_merchant_and_not_to_the_buyer(
    quick: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    link = quick.registering()
    settings = Settings.from_env(_env_file=None, mode="test", imp_key="k", imp_secret="s")
    with shop_on(quick.world, **settings.model_dump(include={"mode", "imp_key", "imp_secret"})) as other:
        page, opened = other.see(link), other.open(link)
    assert (page.status_code, opened.status_code) == (503, 503)
    assert "BILLING_" not in page.text + opened.text
    assert "BILLING_PUBLIC_URL" in caplog.text


def test_without_the_code_of_the_shop_no_window_is_counted_as_opened(quick: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Settings) -> str:
        raise SettingsError("BILLING_MERCHANT_CODE", "is not set")

    monkeypatch.setattr(Settings, "merchant", property(missing))
    subscription, invoice = quick.invoice()
    assert quick.open(quick.paying(invoice)).status_code == 503
    assert quick.world.states(subscription) == []


def test_a_link_is_written_into_no_log(quick: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    link = quick.paying()
    quick.see(link)
    quick.see(link.token[:-2])
    query = dict(parse_qsl(urlsplit(quick.window(quick.params(link), agent=PHONE)["redirect"]).query))
    assert quick.mobile(**query).status_code == 303
    quick.world.pg.fault("auth_dead")
    quick.open(quick.paying())
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("billing")]
    assert ours
    assert not [message for message in ours if link.token[:-2] in message]


# --- what a stranger's page can do with it (S20) ------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""]
)
def test_a_form_of_another_site_opens_nothing(quick: Shop, content_type: str) -> None:
    link = quick.registering()
    url = f"/checkout/{link.token}/open"
    refused = quick.client.post(
        url, content=b'{"pay_method":"card"}', headers={"content-type": content_type, "origin": "https://evil.example"}
    )
    assert refused.status_code == 415
    assert "access-control-allow-origin" not in refused.headers


def test_the_door_of_another_site_stays_shut_when_it_asks_first(quick: Shop) -> None:
    link = quick.registering()
    asked = quick.client.request(
        "OPTIONS",
        f"/checkout/{link.token}/open",
        headers={"origin": "https://evil.example", "access-control-request-method": "POST"},
    )
    assert asked.status_code == 405
    assert "access-control-allow-origin" not in asked.headers


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"{", b'{"pay_method":1}', b'{"pay_method":"card","amount":1}', b'{"pay_method":"../x"}', b"\xff"]
)
def test_a_body_of_another_shape_is_refused_and_not_repeated(quick: Shop, body: bytes) -> None:
    refused = quick.client.post(
        f"/checkout/{quick.registering().token}/open", content=body, headers={"content-type": "application/json"}
    )
    assert refused.status_code in (400, 422)
    assert set(refused.json()["error"]) == {"field", "problem", "cure"}
    assert "../x" not in refused.text


def test_more_than_anybody_types_is_not_read(quick: Shop) -> None:
    refused = quick.client.post(
        f"/checkout/{quick.registering().token}/open", content=b" " * 20_000, headers={"content-type": "application/json"}
    )
    assert refused.status_code == 413


def test_who_hammers_is_told_when_to_come_again(quick: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    link = quick.paying()
    answers = [quick.open(link).status_code for _ in range(25)]
    assert answers.count(200) == OPENINGS_PER_LINK
    refused = quick.open(link)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    monkeypatch.setattr(limits, "_SENDER_BURST", 2)
    with shop_on(quick.world) as other:
        assert [other.see(link).status_code for _ in range(3)] == [200, 200, 429]


# --- what runs in it --------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every tag of a page."""

    def __init__(self, page: Response) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def every_page(shop: Shop) -> list[Response]:
    """One page of every kind."""
    paid, card, account = shop.paying(), shop.registering(), shop.paying(methods=["vbank"])
    pages = [shop.see(paid), shop.see(card, lang="en"), shop.see("nobody"), shop.mobile(merchant_uid="nobody"), shop.mobile()]
    shop.done(shop.window(shop.params(paid)))
    shop.done(shop.window(shop.params(card)))
    shop.done(shop.window(shop.params(account, "vbank"), bank="004"))
    return [*pages, shop.see(paid), shop.see(card), shop.see(account)]


def test_no_page_holds_an_inline_script_or_style(quick: Shop) -> None:
    for page in every_page(quick):
        tags = Tags(page).found
        assert all(attrs.get("src") for tag, attrs in tags if tag == "script")
        assert not [tag for tag, _ in tags if tag in ("style", "form", "iframe", "object", "embed", "base")]
        assert not [name for _, attrs in tags for name in attrs if name == "style" or name.startswith("on")]


def test_every_page_lets_only_our_files_and_the_sdk_run(quick: Shop) -> None:
    for page in every_page(quick):
        policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == f"'self' {BASE}"
        assert policy["style-src"] == "'self'"
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cross-origin-opener-policy"] == "same-origin-allow-popups"


def test_the_real_window_may_bring_frames_of_any_pg_but_no_scripts(quick: Shop) -> None:
    live = Settings.from_env(
        _env_file=None, mode="live", imp_key="k", imp_secret="s", public_url="https://shop.example/billing", merchant_code="imp1"
    )
    policy = page_headers(live)["content-security-policy"]
    assert "script-src 'self' https://cdn.iamport.kr;" in policy
    assert "connect-src 'self' https://cdn.iamport.kr https://*.iamport.kr;" in policy
    assert "frame-src 'self' https:" in policy


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", '홍길동"', "a' onfocus='x", "{{7*7}}", "</title><script>"])
def test_a_name_is_text_whatever_it_looks_like(quick: Shop, name: str) -> None:
    page = quick.see(quick.paying(quick.invoice(name=name)[1]))
    tags = Tags(page)
    assert name in tags.texts
    assert "onerror" not in [attr for _, attrs in tags.found for attr in attrs]
    assert not [tag for tag, _ in tags.found if tag == "img"]


def test_files_are_kept_for_ever_and_pages_never(quick: Shop) -> None:
    tags = Tags(quick.see(quick.registering())).found
    links = [attrs.get("src") or attrs.get("href") for tag, attrs in tags if tag in ("script", "link")]
    ours = [link for link in links if link and link.startswith("../checkout/static/")]
    assert len(ours) == 3
    for link in ours:
        assert link
        answer = quick.client.get(link.replace("../", "/"))
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        assert re.search(r"\.[0-9a-f]{12}\.", link)
    assert quick.client.get("/checkout/static/checkout.js").status_code == 404
    assert quick.client.get("/checkout/static/..%2f..%2fko.toml").status_code == 404


def test_a_page_can_be_asked_for_its_head_and_nothing_else(quick: Shop) -> None:
    link = quick.registering()
    assert quick.client.request("HEAD", f"/checkout/{link.token}").content == b""
    assert quick.client.post(f"/checkout/{link.token}").status_code == 405
    assert quick.client.get(f"/checkout/{link.token}/open").status_code == 405
    assert quick.client.request("HEAD", "/payments/complete/mobile").status_code == 405


# --- in which language, and where ------------------------------------------------------------------------------


def test_the_page_speaks_the_checkouts_language_unless_asked_for_the_other(quick: Shop) -> None:
    link = quick.registering(language="en")
    assert '<html lang="en">' in quick.see(link).text
    assert '<html lang="ko">' in quick.see(link, lang="ko").text
    assert '<html lang="en">' in quick.see(link, lang="<b>").text


def test_a_page_of_no_checkout_speaks_what_the_browser_reads(quick: Shop) -> None:
    english = quick.client.get("/checkout/nobody", headers={"accept-language": "fr, en;q=0.8, ko;q=0.5"})
    assert '<html lang="en">' in english.text
    assert '<html lang="ko">' in quick.client.get("/checkout/nobody").text


def test_both_languages_say_the_same_things() -> None:
    def keys(words: dict[str, object], path: str = "") -> set[str]:
        return {
            place
            for name, value in words.items()
            for place in (keys(value, f"{path}{name}.") if isinstance(value, dict) else {f"{path}{name}"})
        }

    korean, english = (tomllib.loads((PAGES / f"{code}.toml").read_text()) for code in ("ko", "en"))
    assert keys(korean) == keys(english)


def test_a_host_mounts_the_pages_below_a_prefix(sqlite_world: World) -> None:
    with shop_on(sqlite_world, prefix="/billing/v1") as shop:
        link = shop.paying(return_url="https://shop.example/thanks?a=1&b=2")
        page = shop.see(link)
        assert panel(page) == "open"
        assert "path=/billing/v1/payments/complete" in page.headers["set-cookie"].lower()
        for _, attrs in Tags(page).found:
            for name in ("href", "src"):
                assert not (attrs.get(name) or "").startswith("/")
        assert shop.done(shop.window(shop.params(link)))["status"] == "success"
        assert 'href="https://shop.example/thanks?a=1&amp;b=2"' in shop.see(link).text


def test_a_host_header_comes_to_stand_in_no_page_and_no_redirect(quick: Shop) -> None:
    link = quick.registering()
    evil = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    page = quick.client.get(f"/checkout/{link.token}", headers=evil)
    back = quick.client.get("/payments/complete/mobile", params={"merchant_uid": "x"}, headers=evil)
    assert "evil.example" not in page.text + str(page.headers) + back.text + str(back.headers)


def test_a_cookie_travels_only_over_tls_where_there_is_tls(sqlite_world: World) -> None:
    with shop_on(sqlite_world) as plain, shop_on(sqlite_world, public_url="https://shop.example/b") as tls:
        link = plain.registering()
        cookies = [one.see(link).headers["set-cookie"].lower() for one in (plain, tls)]
    assert all("httponly" in one and "samesite=lax" in one for one in cookies)
    assert ["secure" in one for one in cookies] == [False, True]
    assert "path=/b/payments/complete" in cookies[1]


# --- the sandbox in the same process ----------------------------------------------------------------------------


def test_the_sandbox_is_there_to_practise_and_its_notices_come(quick: Shop) -> None:
    assert "request_pay" in quick.client.get("/sandbox/v1/iamport.js").text
    assert quick.client.get("/sandbox/v1/nobody%2e%2e").status_code == 404
    assert quick.client.request("OPTIONS", "/sandbox/v1/window").status_code == 204


def test_where_another_pg_is_asked_it_is_not(quick: Shop) -> None:
    with shop_on(quick.world, gateway_url="http://127.0.0.1:9") as elsewhere:
        assert elsewhere.client.get("/sandbox/v1/iamport.js").status_code == 404
    for mode in ("test", "live"):
        settings = Settings.from_env(_env_file=None, mode=mode, imp_key="k", imp_secret="s", public_url="https://shop.example")
        given = settings.model_dump(include={"mode", "imp_key", "imp_secret", "public_url"})
        with shop_on(quick.world, **given) as real:
            assert real.client.get("/sandbox/v1/iamport.js").status_code == 404
