"""A buyer in a story: follows a link of ours, does something in the PG's window, and brings home whatever it likes."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from billing.domain.checkout import Outcome
from billing.flow.opening import Opened
from tests.kit.world import World

TEL = "010-0000-0000"
_SHOP = {"origin": "http://127.0.0.1:8000", "user-agent": "Mozilla/5.0 (X11; Linux x86_64)"}
_JSON = {**_SHOP, "content-type": "application/json"}
_FORM = {**_SHOP, "content-type": "application/x-www-form-urlencoded"}


@dataclass
class Window:
    """One window at the PG, or the refusal to open it."""

    world: World
    params: dict[str, Any]
    address: str = ""
    refused: dict[str, Any] | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def decides(self, **fields: str) -> Window:
        """Press a button; what the page would be told is in `result` afterwards."""
        pg = self.world.pg.sandbox
        pg.handle("POST", self.address, _FORM, urlencode(fields).encode())
        page = pg.handle("GET", self.address, _SHOP, b"").body.decode()
        found = re.search(r'data-result="([^"]*)"', page)
        self.result = json.loads(html.unescape(found[1])) if found else {}
        return self

    def approves(self, card: str = "approves") -> Window:
        """Choose a card (or another way) and approve."""
        return self.decides(act="approve", card=card, bank="004")

    def closes(self) -> Window:
        """Press the X."""
        return self.decides(act="close")

    @property
    def imp_uid(self) -> str:
        """The PG's id of what happened here."""
        return str(self.result["imp_uid"])

    @property
    def number(self) -> str:
        """The order number the window was opened under."""
        return str(self.params["merchant_uid"])

    def reports(self) -> Outcome:
        """The page's callback posts what it was told to our server."""
        told = self.result or self.refused or {}
        return self.world.app.checkouts.complete(told.get("imp_uid"), self.number, told=told.get("error_msg") or "")


@dataclass
class Buyer:
    """Whoever has the link."""

    world: World
    token: str

    def tries(self, method: str = "card") -> Opened | Outcome:
        """Press the button on our page."""
        return self.world.app.checkouts.open(self.token, method)

    def opens(self, method: str = "card", **tampered: Any) -> Window:
        """Press the button, and let the page open the PG's window, with whatever the buyer wrote into the page."""
        opened = self.tries(method)
        assert isinstance(opened, Opened), opened
        params = {name: value for name, value in {**opened.params, **tampered}.items() if value is not None}
        body = json.dumps({"code": "imp00000000", "params": params}).encode()
        answer = json.loads(self.world.pg.sandbox.handle("POST", "/v1/window", _JSON, body).body)
        if "window" not in answer:
            return Window(self.world, params, refused=answer["refused"])
        return Window(self.world, params, f"/v1/{answer['window']}")


def payer(world: World, invoice: str, *methods: str) -> Buyer:
    """Somebody with a link that pays this invoice."""
    return Buyer(world, world.app.checkouts.pay(invoice, methods=methods or ("card",), actor="test").token)


def registrant(world: World, customer: str, *, invoice: str | None = None) -> Buyer:
    """Somebody with a link that registers a card."""
    return Buyer(world, world.app.checkouts.register_card(customer, invoice=invoice, actor="test").token)
