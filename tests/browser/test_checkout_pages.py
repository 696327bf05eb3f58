"""Every state of the checkout page in a real Chromium: in both languages, on a screen and on the smallest phone.

`BILLING_PICTURES=docs/pictures` keeps one sheet of pictures per language and screen there.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page, Playwright, Route, expect

from billing import web
from billing.domain.invoice import InvoiceState
from tests.kit.world import World, world_on

NARROW = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
WIDE = {"viewport": {"width": 640, "height": 860}}
MESSAGE = "[120054] 잔액부족 (한도초과 포함)"


_PICTURES = os.environ.get("BILLING_PICTURES")
_SHEETS = [("narrow", "ko"), ("wide", "en")]
if _PICTURES:
    _SHEETS += [("narrow", "en"), ("wide", "ko")]


class Shop:
    """Links into the page, one for each way it can stand."""

    def __init__(self, world: World, base: str) -> None:
        self.world, self.base = world, base
        self._people = 0

    def customer(self) -> str:
        self._people += 1
        return self.world.app.customers.add(f"pictured-{self._people}", name="김하늘", tel="010-1234-5678", actor="test").id

    def invoice(self) -> str:
        started = self.world.app.subscriptions.start(self.customer(), "team-monthly", actor="test")
        return self.world.invoice(started.subscription_id).id

    def card(self, **given: Any) -> str:
        return self._here(self.world.app.checkouts.register_card(self.customer(), actor="test", **given).token)

    def charged_card(self) -> str:
        customer = self.customer()
        started = self.world.app.subscriptions.start(customer, "pro-monthly", actor="test")
        invoice = self.world.invoice(started.subscription_id).id
        return self._here(self.world.app.checkouts.register_card(customer, invoice=invoice, actor="test").token)

    def pay(self, invoice: str = "", methods: tuple[str, ...] = ("card", "vbank", "trans"), **given: Any) -> str:
        made = self.world.app.checkouts.pay(
            invoice or self.invoice(), methods=methods, return_url="https://shop.example/", actor="test", **given
        )
        return self._here(made.token)

    def closed(self) -> str:
        invoice = self.invoice()
        link = self.pay(invoice)
        self.world.app.invoices.close(invoice, InvoiceState.VOID, reason="test", actor="test")
        return link

    def expired(self) -> str:
        link = self.pay(lifetime=timedelta(minutes=2))
        self.world.later(minutes=3)
        return link

    def busy(self) -> str:
        customer = self.customer()
        self.world.card(customer)
        started = self.world.app.subscriptions.start(customer, "pro-daily", actor="test")
        self.world.later(days=1)
        self.world.pg.fault("lost_reply", times=1)
        self.world.pg.fault("lookup_lag", times=1, value=3600)
        self.world.tick()
        return self.pay(self.world.invoice(started.subscription_id).id)

    def _here(self, token: str) -> str:
        return f"{self.base}/checkout/{token}"


@pytest.fixture
def shop(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Shop]:
    with (
        world_on(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'billing.db')}", hears=True) as world,
        _served(world) as base,
    ):
        yield Shop(world, base)


@contextmanager
def _served(world: World) -> Iterator[str]:
    """Our routes on a socket, whose address must be known before them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        billing = world.another_process(public_url=base)
        world.app.close()
        world.app = billing
        server = uvicorn.Server(uvicorn.Config(web.app(billing), log_level="critical", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield base
        server.should_exit = True
        thread.join(10)


def press(page: Page, button: str) -> None:
    """Begin, and press a button of the PG's window."""
    page.get_by_test_id("begin").click()
    page.frame_locator("iframe[name=iamport-window]").get_by_test_id(button).click()


def answered(page: Page, link: str, body: dict[str, Any], status: int = 200) -> None:
    """Open the page, and let its server say this to whatever it completes; the window is closed at once."""

    def answer(route: Route) -> None:
        route.fulfill(status=status, json={"status": "x", "merchant_uid": "m", "message": "", **body})

    page.route("**/payments/complete", answer)
    page.goto(link)
    press(page, "close")


def go(link: Callable[[Shop], str]) -> Callable[[Page, Shop, str], None]:
    return lambda page, shop, lang: page.goto(f"{link(shop)}?lang={lang}") and None


def decided(link: Callable[[Shop], str], *, method: str = "card", card: str = "approves") -> Any:
    def play(page: Page, shop: Shop, lang: str) -> None:
        page.goto(f"{link(shop)}?lang={lang}")
        if method != "card":
            page.get_by_test_id(f"method-{method}").check()
        page.get_by_test_id("begin").click()
        window = page.frame_locator("iframe[name=iamport-window]")
        if method == "card":
            window.get_by_test_id(f"card-{card}").check()
        window.get_by_test_id("approve").click()

    return play


def said(completion: str, message: str = "", *, is_card: bool = False) -> Any:
    def play(page: Page, shop: Shop, lang: str) -> None:
        link = shop.card() if is_card else shop.pay()
        answered(page, f"{link}?lang={lang}", {"completion": completion, "message": message})

    return play


def opened_with(status: int) -> Any:
    def play(page: Page, shop: Shop, lang: str) -> None:
        page.route("**/open", lambda route: route.fulfill(status=status, json={}) if status else route.abort())
        page.goto(f"{shop.pay()}?lang={lang}")
        page.get_by_test_id("begin").click()

    return play


def blocked(page: Page, shop: Shop, lang: str) -> None:
    page.route("**/iamport.js", lambda route: route.abort())
    page.goto(f"{shop.pay()}?lang={lang}")
    page.get_by_test_id("begin").click()


def unanswered(page: Page, shop: Shop, lang: str) -> None:
    page.route("**/payments/complete", lambda route: None)
    page.goto(f"{shop.pay()}?lang={lang}")
    press(page, "close")


def in_vain(page: Page, shop: Shop, lang: str) -> None:
    page.clock.install()
    answered(page, f"{shop.pay()}?lang={lang}", {"completion": "pending"})
    expect(page.get_by_test_id("panel-pending")).to_be_visible()
    for _ in range(8):
        with page.expect_response("**/payments/complete"):
            page.clock.run_for(60_000)


def bare(page: Page, shop: Shop, lang: str) -> None:
    page.goto(f"{shop.base}/payments/complete/mobile?merchant_uid=nobody&lang={lang}")


STATES: dict[str, tuple[Callable[[Page, Shop, str], None], str]] = {
    "pay": (go(Shop.pay), "open"),
    "register": (go(Shop.card), "open"),
    "register-and-pay": (go(Shop.charged_card), "open"),
    "registered": (decided(Shop.card), "registered"),
    "registered-charge-waits": (decided(Shop.charged_card, card="balance"), "registered"),
    "paid": (decided(Shop.pay), "paid"),
    "waiting": (decided(Shop.pay, method="vbank"), "waiting"),
    "busy": (go(Shop.busy), "busy"),
    "closed": (go(Shop.closed), "closed"),
    "expired": (go(Shop.expired), "expired"),
    "invalid": (go(lambda shop: f"{shop.base}/checkout/nobody"), "invalid"),
    "checking": (unanswered, "checking"),
    "failed": (said("failed", MESSAGE), "failed"),
    "card-failed": (said("failed", MESSAGE, is_card=True), "failed"),
    "suspended": (said("suspended", "[120026] 분실·도난 정지카드"), "suspended"),
    "canceled": (said("closed"), "canceled"),
    "not-opened": (said("not_opened", "팝업이 차단되었습니다."), "not_opened"),
    "pending": (said("pending"), "pending"),
    "later": (in_vain, "later"),
    "forgery": (said("forged"), "forgery"),
    "no-sdk": (blocked, "no_sdk"),
    "offline": (opened_with(0), "offline"),
    "unavailable": (opened_with(503), "unavailable"),
    "refused": (opened_with(409), "refused"),
    "bare": (bare, "forgery"),
}


@pytest.mark.parametrize(("screen", "language"), _SHEETS)
def test_every_state_has_its_words_in_sight_and_fits_on_the_smallest_phone(
    shop: Shop, new_page: Callable[..., Page], tmp_path: Path, screen: str, language: str
) -> None:
    options = {"wide": WIDE, "narrow": NARROW}[screen]
    taken = []
    for name, (play, panel) in STATES.items():
        page = new_page(**options, locale=f"{language}-KR" if language == "ko" else "en-US")
        play(page, shop, language)
        expect(page.locator(f"[data-panel={panel}]")).to_be_visible()
        expect(page.locator("[data-panel]:visible")).to_have_count(1)
        assert page.locator("html").get_attribute("lang") == language
        if _PICTURES:
            taken.append(tmp_path / f"{name}.png")
            page.screenshot(path=taken[-1], animations="disabled")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            poor = {text: ratio for text, ratio in page.evaluate(_CONTRAST) if ratio < 4.5}
            assert poor == {}, f"{name} in the {scheme}"
        for width in (options["viewport"]["width"], 320):
            page.set_viewport_size({"width": width, "height": 568})
            assert page.evaluate(_OVERFLOW) <= 0, f"{name} at {width} px"
        page.context.close()
    if _PICTURES:
        _sheet(new_page(**WIDE), taken, Path(_PICTURES) / f"checkout-{screen}-{language}.png")


def test_a_page_without_scripts_says_what_it_needs(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page(**NARROW, java_script_enabled=False)
    page.goto(shop.pay())
    expect(page.get_by_test_id("noscript")).to_be_visible()


def test_everything_can_be_done_from_the_keyboard(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page(**WIDE)
    page.goto(shop.pay())
    for expected in ("language", "method-card", "begin"):
        page.keyboard.press("Tab")
        expect(page.get_by_test_id(expected)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("iframe[name=iamport-window]")).to_be_visible()


@pytest.mark.parametrize(("button", "panel"), [("approve", "paid"), ("close", "canceled")])
def test_a_phone_comes_back_to_the_page_it_left_and_to_a_clean_address(
    shop: Shop, playwright: Playwright, new_page: Callable[..., Page], button: str, panel: str
) -> None:
    page = new_page(**playwright.devices["Galaxy S9+"])
    link = shop.pay(methods=("card",))
    page.goto(link)
    page.get_by_test_id("begin").click()
    page.get_by_test_id(button).click()
    expect(page.get_by_test_id(f"panel-{panel}")).to_be_visible()
    expect(page).to_have_url(re.compile(re.escape(link) + r"(\?lang=ko)?$"))
    page.reload()
    expect(page.get_by_test_id("panel-paid" if button == "approve" else "panel-open")).to_be_visible()


def test_a_result_that_comes_late_is_shown_as_soon_as_it_is_known(shop: Shop, new_page: Callable[..., Page]) -> None:
    page = new_page(**WIDE)
    shop.world.pg.fault("lookup_lag", times=1, value=60)
    page.goto(shop.pay(methods=("card",)))
    press(page, "approve")
    expect(page.get_by_test_id("panel-pending")).to_be_visible()
    shop.world.later(minutes=2)
    expect(page.get_by_test_id("panel-paid")).to_be_visible()


_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

# The contrast of every text with what lies behind it. Source: WCAG 2.2, 1.4.3 and the definition of relative luminance.
_CONTRAST = """() => {
  const parsed = (text) => (text.match(/[0-9.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = parsed(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest(".unseen")) continue;
    const [a, b] = [light(parsed(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    found.push([node.textContent.trim(), (a + 0.05) / (b + 0.05)]);
  }
  return found;
}"""


def _sheet(page: Page, taken: list[Path], target: Path) -> None:
    """One picture of all of them, each under its name."""
    images = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in taken}
    figures = [
        f'<figure><img src="data:image/png;base64,{data}"><figcaption>{name}</figcaption></figure>'
        for name, data in images.items()
    ]
    page.set_viewport_size({"width": 1480, "height": 800})
    page.set_content(f"<style>{_SHEET}</style>{''.join(figures)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=target, full_page=True)


_SHEET = """
body { margin: 16px; display: grid; grid-template-columns: repeat(auto-fill, 224px); gap: 16px; background: #cfd6e2 }
figure { margin: 0 }
img { width: 100%; display: block; border-radius: 6px }
figcaption { padding-top: 4px; font: 13px sans-serif; text-align: center }
"""
