"""A buyer at a screen: opens a link, presses what is to be pressed, and reads what the page says."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import FrameLocator, Locator, Page, expect


class Buyer:
    """One browser on one link. On a computer the PG's window lies over the page, on a phone it takes the page's place.

    Attributes:
        asked: every request of this page, method and address.
    """

    def __init__(self, page: Page, link: str, *, is_phone: bool = False) -> None:
        self.page, self.link, self.is_phone = page, link, is_phone
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(f"{request.method} {request.url}"))

    def comes(self) -> Buyer:
        """Open the link."""
        self.page.goto(self.link)
        return self

    @property
    def window(self) -> Page | FrameLocator:
        """The PG's window."""
        return self.page if self.is_phone else self.page.frame_locator("iframe[name=iamport-window]")

    def begins(self, method: str = "") -> Buyer:
        """Choose how to pay, and let the window open."""
        if method:
            self.page.get_by_test_id(f"method-{method}").check()
        self.page.get_by_test_id("begin").click()
        expect(self.window.get_by_test_id("window")).to_be_visible()
        return self

    def approves(self, card: str = "") -> Buyer:
        """Press the window's own button, with one of the sandbox's cards."""
        if card:
            self.window.get_by_test_id(f"card-{card}").check()
        self.window.get_by_test_id("approve").click()
        return self

    def closes(self) -> Buyer:
        """Close the window."""
        self.window.get_by_test_id("close").click()
        return self

    def sees(self, panel: str) -> Buyer:
        """Wait until the page shows this, and nothing beside it."""
        expect(self.page.get_by_test_id(f"panel-{panel}")).to_be_visible()
        expect(self.page.locator("[data-panel]:visible")).to_have_count(1)
        return self

    def reads(self, name: str) -> str:
        """A text of the page."""
        return self.at(name).inner_text()

    def at(self, name: str) -> Locator:
        """What is shown of the page under this name; panels that are hidden have their own."""
        return self.page.get_by_test_id(name).locator("visible=true")

    def posts(self, path: str, body: Any) -> Any:
        """What our server answers to a `fetch` typed into the page's console."""
        return self.page.evaluate(
            """async ([path, body]) => {
              const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
              const said = await fetch(path, options);
              return { status: said.status, ...(await said.json()) };
            }""",
            [path, body],
        )
