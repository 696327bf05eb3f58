"""A shop as its operator runs it: a database, an instance file, `billing serve` on a port of its own, and the sandbox.

The sandbox is in the serving process, or a process beside it, at another origin than the page. Links are made at the
command line, and what was charged is asked of the PG's own ledger.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from billing.settings import Settings
from tests.e2e.conftest import Shell
from tests.e2e.test_scheduler import _running as running

PLAN = """
[plan]
code = "pro"
name = "프로 요금제"

[[plan.prices]]
code = "pro-monthly"
amount = 9900
currency = "KRW"
every = "1 month"

[[plan.prices]]
code = "pro-daily"
amount = 500
currency = "KRW"
every = "1 day"
"""
EVIL = "<img src=x onerror=alert(1)>"
EVIL_PLAN = f"""
[plan]
code = "evil"
name = "{EVIL}"

[[plan.prices]]
code = "evil-monthly"
amount = 9900
currency = "KRW"
every = "1 month"
"""
DOORS = ("inside", "beside")
"""Where the sandbox stands: in the serving process, or beside it."""


class Storefront:
    """Customers, invoices, links, and what came of them.

    Attributes:
        base: where `billing serve` is found.
        pg: where the PG's wire is found.
        settings: the engine's, for whoever opens it beside the server.
    """

    def __init__(self, shell: Shell, base: str, pg: Beside | None) -> None:
        self.shell, self.base = shell, base
        self.pg = pg.url if pg else f"{base}/sandbox"
        self.settings = {
            "public_url": base,
            "instance_file": shell.home / "instance",
            "database_url": f"sqlite:///{shell.home / 'billing.db'}",
            "sandbox_file": shell.home / "billing-sandbox.db",
            "gateway_url": pg.url if pg else "",
            "charge_hours": "00:00-24:00",
        }
        shell.env.update({f"BILLING_{name.upper()}": str(value) for name, value in self.settings.items()})
        self._beside = pg
        self._people = 0

    def stops_the_pg(self) -> None:
        """Nobody listens at the PG's address."""
        assert self._beside
        self._beside.close()

    def starts_the_pg(self) -> None:
        """It is there again, and knows what it knew."""
        assert self._beside
        self._beside.open()

    def customer(self, name: str = "김하늘") -> str:
        """Somebody without a card, whom the PG's window takes: with a telephone number."""
        self._people += 1
        id = f"buyer-{self._people}"
        self.shell.does("customer", "add", id, "--name", name, "--tel", "010-1234-5678")
        return id

    def invoice(self, price: str = "pro-monthly", customer: str = "") -> str:
        """The number of an open invoice nobody has paid."""
        said = self.shell("subscription", "add", customer or self.customer(), price, "--json")
        assert said.status == 1, said
        return str(said.document["subscription"]["invoices"][0]["number"])

    def pays(self, invoice: str, *words: str) -> str:
        """A link that pays an invoice."""
        return str(self.shell.does("invoice", "window", invoice, *words)["link"]["url"])

    def registers(self, customer: str, *words: str) -> str:
        """A link that registers a card."""
        return str(self.shell.does("card", "window", customer, *words)["link"]["url"])

    def shown(self, invoice: str) -> Any:
        """An invoice as the operator sees it."""
        return self.shell.does("invoice", "show", invoice)["invoice"]

    def cards(self, customer: str) -> list[str]:
        """The states of somebody's cards."""
        return [one["state"] for one in self.shell.does("card", "list", customer)["cards"]]

    def events(self, customer: str) -> list[str]:
        """The topics of everything the host was told about somebody, or is about to be."""
        return [one["topic"] for one in self.shell.does("events", "list", "--customer", customer)["events"]]

    def ledger(self) -> Any:
        """What the PG itself has recorded."""
        return httpx.get(f"{self.pg}/_sandbox/ledger").json()

    def records(self, invoice: str) -> list[dict[str, Any]]:
        """What the PG has recorded under an invoice's order numbers, the oldest first."""
        return _records(self.shown(invoice), self.ledger())

    def is_paid_once(self, invoice: str) -> bool:
        """Paid in the books, charged once at the PG, and every book agrees with every other and with the PG."""
        one = self.shown(invoice)
        return self._is_proven(one, "paid", [one["total"]["amount"]])

    def is_unpaid(self, invoice: str, *, kept: Sequence[int] = ()) -> bool:
        """Open in the books, nothing (or only what was `kept`) charged at the PG, and every book agrees."""
        return self._is_proven(self.shown(invoice), "open", list(kept))

    def _is_proven(self, one: Any, state: str, kept: list[int]) -> bool:
        ledger = self.ledger()
        assert (one["state"], [row["kept"] for row in _records(one, ledger) if row["kept"]]) == (state, kept)
        assert ledger["double_charged"] == []
        return self.is_proven()

    def is_proven(self) -> bool:
        """`billing verify` finds no difference."""
        return bool(self.shell.does("verify")["holds"])

    def control(self, what: str, **fields: Any) -> Any:
        """Do to the sandbox what no merchant can do to a PG."""
        return httpx.post(f"{self.pg}/_sandbox/{what}", json=fields).raise_for_status().json()

    def has_heard_of(self, imp_uid: str, status: str) -> None:
        """Wait until the PG's notice stands in our inbox."""
        deadline = time.monotonic() + 20
        while (imp_uid, status) not in [(one["imp_uid"], one["status"]) for one in self._inbox()]:
            assert time.monotonic() < deadline, "the notice did not come"
            time.sleep(0.05)

    def _inbox(self) -> list[dict[str, Any]]:
        return list(self.shell.does("webhook", "list")["webhooks"])

    def forgets_the_amount(self, merchant_uid: str, amount: int) -> None:
        """The PG lets a window open for this amount: as one would whose contract compares nothing."""
        with httpx.Client(base_url=self.pg) as pg:
            key, secret = Settings.from_env(_env_file=None).credentials
            said = pg.post("/users/getToken", json={"imp_key": key.get_secret_value(), "imp_secret": secret.get_secret_value()})
            token = said.json()["response"]["access_token"]
            fields = {"merchant_uid": merchant_uid, "amount": amount}
            assert pg.put("/payments/prepare", json=fields, headers={"authorization": token}).json()["code"] == 0


class Beside:
    """The sandbox in a process of its own, which keeps its state in a file."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._home = home
        self._words = ("sandbox", "--port", str(port), "--file", "pg.db", "--json")
        self._running = ExitStack()

    def open(self) -> None:
        """Start it, and wait until it listens."""
        _said(self._running.enter_context(running(self._home, *self._words, env={})))

    def close(self) -> None:
        """Kill it."""
        self._running.close()


@contextmanager
def open_shop(home: Path, door: str) -> Iterator[Storefront]:
    """Found a shop in an empty directory and open it; its processes end with the block."""
    (home / "pro.toml").write_text(PLAN)
    (home / "evil.toml").write_text(EVIL_PLAN)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in Settings.model_fields:
            patch.delenv(f"BILLING_{name.upper()}", raising=False)
        pg = None
        if door == "beside":
            pg = Beside(home)
            stack.callback(pg.close)
            pg.open()
        port = free_port()
        shop = Storefront(Shell(home), f"http://127.0.0.1:{port}", pg)
        shop.shell.does("init")
        shop.shell.does("plan", "apply", "pro.toml")
        shop.shell.does("plan", "apply", "evil.toml")
        server = stack.enter_context(running(home, "serve", "--port", str(port), "--json", env=shop.shell.env))
        assert _said(server)["url"] == shop.base
        yield shop


def free_port() -> int:
    """A port of this machine nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _records(invoice: Any, ledger: Any) -> list[dict[str, Any]]:
    mine = {one["merchant_uid"] for one in invoice["attempts"]}
    return [row for row in ledger["payments"] if row["merchant_uid"] in mine]


def _said(process: Any) -> Any:
    """The JSON document a process begins with."""
    said = ""
    while not said.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.log()
        said += line
    return json.loads(said)
