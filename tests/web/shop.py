"""A shop on the web: our routes over a world, a buyer's browser that asks them, and the PG's window as that browser sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response

from billing import web
from billing.checkouts import Invitation
from tests.kit.world import World

BASE = "http://127.0.0.1:8000"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"


class Client:
    """Somebody's browser, with its cookies, at an address; any thread may use it."""

    def __init__(self, app: FastAPI, portal: BlockingPortal, address: str = "203.0.113.9") -> None:
        self.app = app
        self._portal = portal
        self._http = AsyncClient(transport=ASGITransport(app, client=(address, 4321)), base_url=BASE)

    @property
    def cookies(self) -> dict[str, str]:
        """What it keeps."""
        return dict(self._http.cookies)

    def get(self, url: str, **given: Any) -> Response:
        """GET."""
        return self.request("GET", url, **given)

    def post(self, url: str, **given: Any) -> Response:
        """POST."""
        return self.request("POST", url, **given)

    def request(self, method: str, url: str, **given: Any) -> Response:
        """Ask once; redirects are not followed."""

        async def ask() -> Response:
            return await self._http.request(method, url, **given)

        return self._portal.call(ask)

    def another(self, address: str = "198.51.100.7") -> Client:
        """Another browser."""
        return Client(self.app, self._portal, address)


class Shop:
    """Everything a buyer can do, and what it leaves in the books."""

    def __init__(self, world: World, client: Client, prefix: str = "") -> None:
        self.world, self.client, self.prefix = world, client, prefix
        # The window asks our confirm_url; here it does so without a network.
        world.pg.sandbox._ask = self._asked

    def customer(self, name: str = "김하늘") -> str:
        """A customer the PG's window takes: with a telephone number, and without a card."""
        id = f"buyer-{len(self.world.app.views.customers(limit=100)) + 1}"
        return self.world.app.customers.add(id, name=name, tel="010-1234-5678", actor="test").id

    def cards(self, customer: str) -> list[str]:
        """The states of a customer's cards."""
        with self.world.app.store.read() as tx:
            return [key.state.value for key in tx.customers.keys_of(customer)]

    def invoice(self, price: str = "pro-monthly", name: str = "김하늘") -> tuple[str, str]:
        """An open invoice nobody has paid: its subscription and its id."""
        started = self.world.app.subscriptions.start(self.customer(name), price, actor="test")
        return started.subscription_id, self.world.invoice(started.subscription_id).id

    def registering(self, customer: str | None = None, **given: Any) -> Invitation:
        """A link that registers a card."""
        return self.world.app.checkouts.register_card(customer or self.customer(), actor="test", **given)

    def paying(self, invoice: str | None = None, **given: Any) -> Invitation:
        """A link that pays an invoice."""
        return self.world.app.checkouts.pay(invoice or self.invoice()[1], actor="test", **given)

    def see(self, link: Invitation | str, **query: str) -> Response:
        """GET the page of a link."""
        token = link if isinstance(link, str) else link.token
        return self.client.get(f"{self.prefix}/checkout/{token}", params=query)

    def panel(self, link: Invitation | str) -> str:
        """What the page of a link shows."""
        return panel(self.see(link))

    def open(self, link: Invitation | str, method: str = "card", **given: Any) -> Response:
        """POST what the page posts when the button is pressed."""
        token = link if isinstance(link, str) else link.token
        return self.client.post(f"{self.prefix}/checkout/{token}/open", json={"pay_method": method}, **given)

    def params(self, link: Invitation, method: str = "card") -> dict[str, Any]:
        """What the window is opened with."""
        answer = self.open(link, method)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["params"])

    def window(self, params: Mapping[str, Any], *, agent: str = "", **form: str) -> dict[str, Any]:
        """Open the PG's window and press one of its buttons; what it tells the page, or where it sends a phone."""
        return pressed(self.client, f"{self.prefix}/sandbox/v1", params, agent=agent, **form)

    def complete(self, imp_uid: str | None, merchant_uid: str, **more: Any) -> Response:
        """POST what a page posts when its window has ended."""
        return self.client.post(
            f"{self.prefix}/payments/complete", json={"imp_uid": imp_uid, "merchant_uid": merchant_uid, **more}
        )

    def done(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Complete with what the window told; what our server says to it."""
        errors = {name: told[name] for name in ("error_code", "error_msg") if told.get(name)}
        answer = self.complete(told["imp_uid"], told["merchant_uid"], **errors)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def mobile(self, **query: str) -> Response:
        """Come back from a phone's window."""
        return self.client.get(f"{self.prefix}/payments/complete/mobile", params=query)

    def _asked(self, url: str, body: bytes) -> tuple[int, bytes]:
        said = self.client.post(urlsplit(url).path, content=body, headers={"content-type": "application/json"})
        return said.status_code, said.content


def panel(page: Response) -> str:
    """Which panel a page shows."""
    shown = re.findall(r'<section class="panel[^"]*"[^>]*data-panel="([a-z_]+)"[^>]*>', page.text)
    hidden = re.findall(r'<section class="panel[^"]*"[^>]*data-panel="([a-z_]+)"[^>]* hidden>', page.text)
    (one,) = [name for name in shown if name not in hidden]
    return str(one)


def pressed(
    browser: Client | httpx.Client, sandbox: str, params: Mapping[str, Any], *, agent: str = "", **form: str
) -> dict[str, Any]:
    """Open the window of the sandbox at `sandbox` and press a button: what the page is told, or where a phone is sent."""
    asked = {"code": "imp00000000", "params": dict(params)}
    opened = browser.post(f"{sandbox}/window", json=asked, headers={"user-agent": agent}).json()
    if "refused" in opened:
        return dict(opened["refused"])
    page = browser.post(f"{sandbox}/{opened['window']}", data={"act": "approve", "card": "approves", **form})
    if page.status_code == 303:
        page = browser.get(f"{sandbox}/{opened['window']}")
    found = re.search(r'data-(result|redirect)="([^"]*)"', page.text)
    assert found, page.text
    return dict(json.loads(unescape(found[2]))) if found[1] == "result" else {"redirect": unescape(found[2])}


@contextmanager
def shop_on(world: World, prefix: str = "", **settings: Any) -> Iterator[Shop]:
    """Our routes over a world, mounted below `prefix`."""
    billing = world.another_process(**{"public_url": f"{BASE}{prefix}" if prefix else "", **settings})
    app: FastAPI = web.app(billing)
    if prefix:
        app = FastAPI()
        app.include_router(web.router(billing), prefix=prefix)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        yield Shop(world, Client(app, portal), prefix)
    billing.close()
