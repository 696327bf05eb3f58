"""Real worker processes, really killed: the next one finishes, nothing is charged twice, nothing is lost.

The oracle is the sandbox's own ledger, a file that survives every death.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from billing.app import Billing
from billing.gateway.card import Card
from billing.sandbox import MAGIC_CARDS, Sandbox
from billing.settings import Settings
from plans import parse_plan
from tests.kit.world import PLANS, seoul

CUSTOMERS = 6
LAUNCHER = Path(__file__).parents[2] / "cli.py"


class Shop:
    """A merchant with renewals due, whose worker is another process."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.environment = {
            "BILLING_DATABASE_URL": database_url,
            "BILLING_SANDBOX_FILE": str(folder / "pg.db"),
            "BILLING_TIME_SCALE": "0.001",
            "BILLING_CONCURRENCY": "4",
        }
        self.folder = folder
        self.sandbox = Sandbox(str(folder / "pg.db"))
        settings = Settings(_env_file=None, **{name[8:].lower(): value for name, value in self.environment.items()})  # type: ignore[call-arg,arg-type]
        self.app = Billing(settings, sandbox=self.sandbox, actor="test", lanes=1)
        self.app.init()
        self.app.controls.set_clock(seoul("2030-01-31 10:00"), actor="test")
        self.app.plans.apply(parse_plan(PLANS, "plans.toml"), actor="test")
        for number in range(CUSTOMERS):
            customer = self.app.customers.add(f"user-{number}", name="김하늘", actor="test")
            self.app.cards.add(customer.id, Card(number=MAGIC_CARDS["approves"].number, expiry="2040-12"), actor="test")
            self.app.subscriptions.start(customer.id, "pro-monthly", actor="test")
        self.app.controls.set_clock(seoul("2030-02-28 10:00"), actor="test")

    def worker(self, faults: str = "") -> subprocess.Popen[bytes]:
        """One pass in a process of its own."""
        environment = {**os.environ, **self.environment, "BILLING_FAULTS": faults}
        return subprocess.Popen(
            [sys.executable, str(LAUNCHER), "renew", "--json"],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def undecided(self) -> int:
        """Attempts that are neither decided nor parked, and renewals that were not tried."""
        with self.app.store.read() as tx:
            attempts = "SELECT count(*) FROM billing_attempt WHERE state IN ('planned', 'sending', 'unknown')"
            due = "SELECT count(*) FROM billing_invoice WHERE next_attempt_at IS NOT NULL"
            return sum(int(tx.connection.execute(text(query)).scalar_one()) for query in (attempts, due))

    def recover(self) -> None:
        """Let healthy workers come by until nothing is open; the PG's token dies on the way."""
        deadline = time.monotonic() + 30
        is_shifted = False
        while True:
            self.app.renew()
            if not self.undecided():
                return
            assert time.monotonic() < deadline, "still undecided after thirty seconds"
            time.sleep(0.2)
            if not is_shifted:
                self.sandbox.handle(
                    "POST", "/_sandbox/clock", {"content-type": "application/json"}, json.dumps({"seconds": 1900}).encode()
                )
                is_shifted = True

    def is_whole(self) -> None:
        """Everyone paid both months, once each, and the books say so."""
        kept = [row for row in self.sandbox.ledger()["payments"] if row["kept"] > 0]
        assert len(kept) == 2 * CUSTOMERS
        assert len({row["merchant_uid"] for row in kept}) == 2 * CUSTOMERS
        assert {row["merchant_uid"][-3:] for row in kept} == {"a01"}
        assert self.sandbox.ledger()["double_charged"] == []
        assert self.app.verify().differences == ()


@contextmanager
def shop_on(database_url: str, folder: Path) -> Iterator[Shop]:
    """A shop that is closed in the end."""
    shop = Shop(database_url, folder)
    try:
        yield shop
    finally:
        shop.app.close()
        shop.sandbox.close()


def test_a_worker_killed_at_a_point_of_the_road(database_url: str, tmp_path: Path, point: str, passing: int) -> None:
    with shop_on(database_url, tmp_path) as shop:
        ended = shop.worker(f"{point}=kill@{passing}").wait(60)
        assert ended in (-signal.SIGKILL, 0)
        if passing == 1:
            assert ended == -signal.SIGKILL, "the point was never passed"
        shop.recover()
        shop.is_whole()


def test_a_worker_killed_at_a_random_moment(database_url: str, tmp_path: Path, moment: int) -> None:
    with shop_on(database_url, tmp_path) as shop:
        worker = shop.worker()
        time.sleep(random.Random(moment).uniform(0.4, 1.6))
        worker.kill()
        worker.wait(60)
        shop.recover()
        shop.is_whole()


@pytest.mark.parametrize("stopped_at", ["K03", "K04"])
def test_a_worker_stopped_for_three_leases_does_no_harm_when_it_goes_on(
    database_url: str, tmp_path: Path, stopped_at: str
) -> None:
    with shop_on(database_url, tmp_path) as shop:
        worker = shop.worker(f"{stopped_at}=stop")
        time.sleep(2.5)
        shop.recover()
        worker.send_signal(signal.SIGCONT)
        worker.wait(60)
        shop.recover()
        shop.is_whole()
