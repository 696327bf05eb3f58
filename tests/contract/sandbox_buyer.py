"""A buyer's browser at the sandbox's window, as far as HTTP goes: it opens, sees, decides, and brings the result home."""

import html
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.contract.sandbox_merchant import Merchant

SHOP = "http://127.0.0.1:8000"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148"
BACK = f"{SHOP}/payments/complete/mobile"


@dataclass
class Seen:
    """A page, as it was answered."""

    status: int
    headers: dict[str, str]
    text: str

    def shows(self, testid: str) -> bool:
        return f'data-testid="{testid}"' in self.text

    @property
    def result(self) -> dict[str, Any] | None:
        """What the page posts to the one that opened it."""
        found = re.search(r'data-result="([^"]*)"', self.text)
        return None if found is None else json.loads(html.unescape(found[1]))

    @property
    def redirect(self) -> str | None:
        """Where the page sends its browser."""
        found = re.search(r'data-redirect="([^"]*)"', self.text)
        return None if found is None else html.unescape(found[1])

    @property
    def told(self) -> dict[str, str]:
        """What a redirect says."""
        assert self.redirect is not None
        return dict(parse_qsl(urlsplit(self.redirect).query))


@dataclass
class Buyer:
    shop: Merchant
    agent: str = "Mozilla/5.0 (X11; Linux x86_64)"
    address: str = field(default="")

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> Seen:
        answer = self.shop.sandbox.handle(method, target, {"user-agent": self.agent, "origin": SHOP, **headers}, body)
        return Seen(answer.status, answer.headers, answer.body.decode())

    def ask(self, code: Any = "imp00000000", **params: Any) -> dict[str, Any]:
        """Call `IMP.request_pay`; return what the script is answered."""
        given = {"pay_method": "card", "merchant_uid": "order_1", "name": "Pro", "amount": 9900, **params}
        body = json.dumps({"code": code, "params": given}).encode()
        seen = self.request("POST", "/v1/window", body, **{"content-type": "application/json"})
        assert seen.status == 200
        return json.loads(seen.text)

    def opens(self, **params: Any) -> "Buyer":
        """Open a window that must open."""
        answer = self.ask(**params)
        assert "window" in answer, answer
        self.address = f"/v1/{answer['window']}"
        return self

    def sees(self) -> Seen:
        return self.request("GET", self.address)

    def sends(self, **fields: str) -> Seen:
        """Send the form; return the answer itself."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self.request("POST", self.address, urlencode(fields).encode(), **kind)

    def decides(self, **fields: str) -> Seen:
        """Send the form and follow to where it leads."""
        seen = self.sends(**fields)
        assert seen.status == 303, seen.text
        assert f"/v1/window/{seen.headers['location']}" == self.address
        return self.sees()

    def approves(self, card: str = "approves", **fields: str) -> Seen:
        return self.decides(act="approve", card=card, **fields)
