"""A real Chromium, started once, and pages in it that reach this machine only.

A missing browser fails the tests that want one: they are never skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

_SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright, for its descriptions of phones."""
    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="session")
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

    A test fails of what its page complains about: a script that broke, a policy that was violated.
    """
    contexts, complaints = [], []

    def heard(said: ConsoleMessage) -> None:
        # A page that answers 4xx on purpose is an error in the console, too.
        if said.type == "error" and not said.text.startswith("Failed to load resource"):
            complaints.append(f"{said.location.get('url')}: {said.text}")

    def opened(**options: object) -> Page:
        context = chromium.new_context(**{"locale": "ko-KR", "viewport": {"width": 1100, "height": 820}, **options})
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("console", heard)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Page, str], None]:
    """Take a picture of a page; `BILLING_PICTURES=docs/pictures` keeps them there under their names."""
    folder = Path(os.environ.get("BILLING_PICTURES") or tmp_path)

    def take(page: Page, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")

    return take
