"""A real Chromium, started for this folder, and pages in it that reach this machine only.

A missing browser fails the tests that want one: they are never skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Playwright, Request, expect, sync_playwright

from tests.browser.buyer import Buyer
from tests.kit.storefront import DOORS, Storefront, open_shop

_SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


everywhere = pytest.mark.parametrize(
    "street", [(door, screen) for door in DOORS for screen in ("computer", "phone")], ids="-".join, indirect=True
)
"""Each kind of screen at each door."""

anywhere = pytest.mark.parametrize("street", [("beside", "computer"), ("inside", "phone")], ids="-".join, indirect=True)
"""Each kind of screen, and each door, once."""


# Not for the session: while Playwright runs, no other test of the same process can run an event loop of its own.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright, for its descriptions of phones."""
    expect.set_options(timeout=20_000)
    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="package")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """The browser of this machine, without a window, with a fresh profile."""
    path = next((found for found in ("/usr/bin/chromium", shutil.which("chromium")) if found and Path(found).exists()), None)
    if path is None:
        pytest.fail("no Chromium: install the Debian package `chromium` (and `fonts-noto-cjk`, to see Korean)")
    with playwright.chromium.launch(executable_path=path, args=_SWITCHES) as browser:
        yield browser


@pytest.fixture
def new_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page of its own, with what `new_context` takes: a screen, or a phone's whole description.

    A test fails of what its page complains about, a script that broke or a policy that was violated, of a dialog, and of
    a request that leaves this machine.
    """
    contexts, complaints = [], []

    def heard(said: ConsoleMessage) -> None:
        # A page that answers 4xx on purpose is an error in the console, too.
        if said.type == "error" and not said.text.startswith("Failed to load resource"):
            complaints.append(f"{said.location.get('url')}: {said.text}")

    def stopped(dialog: Dialog) -> None:
        complaints.append(f"a dialog says {dialog.message}")
        dialog.dismiss()

    def followed(request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            complaints.append(f"asked for {request.url}")

    def opened(**options: object) -> Page:
        context = chromium.new_context(**{"locale": "ko-KR", "viewport": {"width": 1100, "height": 820}, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("console", heard)
        page.on("dialog", stopped)
        page.on("request", followed)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Storefront]]:
    """The shop behind each door, opened when the first test wants it."""
    with ExitStack() as stack:
        yield cache(lambda door: stack.enter_context(open_shop(tmp_path_factory.mktemp(door), door)))


@pytest.fixture
def shop(shops: Callable[[str], Storefront]) -> Storefront:
    """A shop with the sandbox in it, shared with other tests: each brings its own customers."""
    return shops("inside")


class Street(NamedTuple):
    """A shop, and how buyers come to it."""

    shop: Storefront
    comes: Callable[[str], Buyer]
    screen: str


@pytest.fixture
def street(
    request: pytest.FixtureRequest,
    shops: Callable[[str], Storefront],
    buyer: Callable[[str], Buyer],
    caller: Callable[[str], Buyer],
) -> Street:
    """The street of `everywhere` and `anywhere`."""
    door, screen = request.param
    return Street(shops(door), caller if screen == "phone" else buyer, screen)


@pytest.fixture
def buyer(new_page: Callable[..., Page]) -> Callable[[str], Buyer]:
    """Somebody at a computer follows a link."""
    return lambda link: Buyer(new_page(viewport={"width": 720, "height": 760}), link).comes()


@pytest.fixture
def caller(new_page: Callable[..., Page], playwright: Playwright) -> Callable[[str], Buyer]:
    """Somebody with a phone follows a link."""
    return lambda link: Buyer(new_page(**playwright.devices["iPhone 13"]), link, is_phone=True).comes()


@pytest.fixture
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Page, str], None]:
    """Take a picture of a page; `BILLING_PICTURES=docs/pictures` keeps them there under their names."""
    folder = Path(os.environ.get("BILLING_PICTURES") or tmp_path)

    def take(page: Page, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", scale="css", animations="disabled")

    return take
