"""Every host of examples/, started as its README says, and a customer who subscribes there, over HTTP alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from billing import Billing, Settings
from tests.examples.customer import Customer
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
        one.ends_well()


@pytest.fixture
def http(host: Host) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, trust_env=False, timeout=10) as one:
        yield one


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
    mina.subscribes()
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
    assert "<button>" not in mina.page()
    with books(host) as app:
        assert len(app.views.subscriptions(of=mina.name)) == 1, "a button pressed twice is one subscription"


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
    came = yuna.pays_by_phone(yuna.window(link))
    assert came.status_code == 303
    assert urljoin(str(came.url), came.headers["location"]) == link
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
