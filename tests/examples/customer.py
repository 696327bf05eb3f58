"""Somebody with a browser, as far as HTTP goes."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import httpx

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"


class Customer:
    """Somebody with a browser, who can read HTML and press what is on it."""

    def __init__(self, http: httpx.Client, name: str) -> None:
        self.http, self.name = http, name

    def page(self) -> str:
        """The shop's page, signed in."""
        answer = self.http.get("/", params={"user": self.name})
        assert answer.status_code == 200, answer.text
        return answer.text

    def subscribes(self) -> str:
        """Press the button; where it leads."""
        form = re.search(r'<form method="post" action="([^"]+)">(.*?)</form>', self.page(), re.S)
        assert form
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', form[2]))
        answer = self.http.post(unescape(form[1]), data=hidden)
        assert answer.status_code in (302, 303), answer.text
        return answer.headers["location"]

    def window(self, link: str) -> dict[str, Any]:
        """Press the checkout's button: what the PG's window is opened with."""
        answer = self.http.post(f"{link}/open", json={"pay_method": "card"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["params"])

    def pays(self, params: dict[str, Any], card: str = "approves") -> None:
        """Choose a card in the window, and bring home what it says: the card is registered, and what is owed charged on it."""
        told = json.loads(self._decides(params, card, "result", ""))
        answer = self.http.post("/billing/payments/complete", json={name: told[name] for name in ("imp_uid", "merchant_uid")})
        assert (answer.status_code, answer.json()["completion"]) == (200, "registered"), answer.text

    def pays_by_phone(self, params: dict[str, Any]) -> httpx.Response:
        """Choose a card on a phone, where the window leads back by itself; what is answered there."""
        return self.http.get(self._decides(params, "approves", "redirect", PHONE))

    def _decides(self, params: dict[str, Any], card: str, way: str, agent: str) -> str:
        sandbox = "/billing/sandbox/v1"
        asked = {"code": "imp00000000", "params": params}
        opened = self.http.post(f"{sandbox}/window", json=asked, headers={"user-agent": agent}).json()
        window = f"{sandbox}/{opened['window']}"
        page = self.http.post(window, data={"act": "approve", "card": card}, follow_redirects=True)
        found = re.search(f'data-{way}="([^"]*)"', page.text)
        assert found, page.text
        return unescape(found[1])
