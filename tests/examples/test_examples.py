"""Every host of examples/, started as its README says, and a customer who subscribes there, over HTTP alone."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from billing import Billing, Settings
from tests.examples.host import CHECKOUT, Host, free_port, running

HOSTS = ["fastapi_shop", "django_shop", "flask_shop"]


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    examples = shutil.copytree(CHECKOUT / "examples", tmp_path_factory.mktemp("try") / "examples")
    home, port = examples / request.param, free_port()
    install, start = re.findall(r"```\n(.*?)```", (home / "README.md").read_text(), re.S)[0].splitlines()
    assert install.startswith("pip install ")
    words = start.removesuffix(" --port 8000").split()
    with running(home, [*words, "--port", str(port)], port, {"SHOP_URL": f"http://127.0.0.1:{port}"}) as one:
        yield one
        one.process.send_signal(signal.SIGINT)
        assert one.process.wait(10) in (0, 1, -signal.SIGINT)
        assert "Traceback" not in one.log


@pytest.fixture
def http(host: Host) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, trust_env=False, timeout=10) as one:
        yield one


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
        sandbox = "/billing/sandbox/v1"
        opened = self.http.post(f"{sandbox}/window", json={"code": "imp00000000", "params": params}).json()
        page = self.http.post(f"{sandbox}/{opened['window']}", data={"act": "approve", "card": card}, follow_redirects=True)
        found = re.search(r'data-result="([^"]*)"', page.text)
        assert found, page.text
        told = json.loads(unescape(found[1]))
        answer = self.http.post("/billing/payments/complete", json={name: told[name] for name in ("imp_uid", "merchant_uid")})
        assert (answer.status_code, answer.json()["completion"]) == (200, "registered"), answer.text


def books(host: Host) -> Billing:
    """What the host has written, and its PG, read from beside it."""
    settings = Settings.from_env(
        _env_file=None,
        database_url=f"sqlite:///{host.home / 'billing.db'}",
        sandbox_file=host.home / "billing-sandbox.db",
    )
    return Billing(settings, actor="test")


def test_a_customer_subscribes_and_comes_back(host: Host, http: httpx.Client) -> None:
    mina = Customer(http, "김하늘")
    assert "not subscribed" in mina.page()
    link = mina.subscribes()
    assert link.startswith(f"{host.url}/billing/checkout/")
    assert "incomplete" in mina.page()

    page = mina.http.get(link)
    assert page.status_code == 200
    assert "9,900원" in page.text
    for file in re.findall(r'(?:src|href)="([^"?]+\.(?:js|css|svg))"', page.text):
        assert mina.http.get(urljoin(link, file)).status_code == 200, file
    assert f'src="{host.url}/billing/sandbox/v1/iamport.js"' in page.text

    params = mina.window(link)
    for name, path in {"notice_url": "webhooks/iamport", "confirm_url": "payments/confirm"}.items():
        assert params[name] == f"{host.url}/billing/{path}"
    assert params["m_redirect_url"] == f"{host.url}/billing/payments/complete/mobile"

    mina.pays(params)
    host.until(lambda: "subscribed until" in mina.page())
    back = re.search(r'href="([^"]+)"[^>]*data-testid="return"', mina.http.get(link).text)
    assert back
    assert unescape(back[1]).startswith(f"{host.url}/?user=")
    assert re.search(r"subscribed until 20\d\d-\d\d-\d\d", mina.http.get(unescape(back[1])).text)
    host.until(lambda: "invoice.paid" in mina.page())
    assert not mina.subscribes().startswith(f"{host.url}/billing"), "nothing is owed: there is nothing to open"


def test_a_card_that_refuses_to_pay_can_be_replaced(host: Host, http: httpx.Client) -> None:
    juno = Customer(http, "juno")
    juno.pays(juno.window(juno.subscribes()), card="balance")
    with books(host) as app:
        host.until(lambda: [one["state"] for one in app.views.attempts(of="juno")] == ["declined"])
    assert "incomplete" in juno.page()
    juno.pays(juno.window(juno.subscribes()))
    host.until(lambda: "subscribed until" in juno.page())


def test_a_phone_comes_back_to_the_page_it_left(host: Host, http: httpx.Client) -> None:
    yuna = Customer(http, "yuna")
    link = yuna.subscribes()
    params = yuna.window(link)
    opened = yuna.http.post(
        "/billing/sandbox/v1/window",
        json={"code": "imp00000000", "params": params},
        headers={"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"},
    ).json()
    page = yuna.http.post(
        f"/billing/sandbox/v1/{opened['window']}", data={"act": "approve", "card": "approves"}, follow_redirects=True
    )
    found = re.search(r'data-redirect="([^"]*)"', page.text)
    assert found, page.text
    came = yuna.http.get(unescape(found[1]))
    assert came.status_code == 303
    assert urljoin(unescape(found[1]), came.headers["location"]).partition("?")[0] == link
    host.until(lambda: "subscribed until" in yuna.page())


def test_notices_arrive_past_whatever_guards_the_host(host: Host, http: httpx.Client) -> None:
    mina = Customer(http, "nari")
    params = mina.window(mina.subscribes())
    mina.pays(params)
    with books(host) as app:

        def heard() -> list[dict[str, Any]]:
            return [one for one in app.views.webhooks() if one["merchant_uid"] == params["merchant_uid"]]

        host.until(lambda: bool(heard()))
        assert heard()[0]["source_ip"] == "127.0.0.1"
    fields = {"imp_uid": "imp_1", "merchant_uid": "of-nobody", "status": "paid"}
    assert http.post("/billing/webhooks/iamport", json=fields).status_code == 200
    assert http.post("/billing/webhooks/iamport", data=fields).status_code == 200


def test_what_stands_in_the_books_is_what_the_pg_has(host: Host, http: httpx.Client) -> None:
    ada = Customer(http, "ada")
    ada.pays(ada.window(ada.subscribes()))
    host.until(lambda: "subscribed until" in ada.page())
    with books(host) as app:
        proof = app.verify()
    assert proof.differences == ()
