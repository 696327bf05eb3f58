"""The scheduler as an operator runs it: real processes, a real socket to the PG, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.app import Billing
from billing.gateway.card import Card
from billing.gateway.sandboxed import sandbox_ledger
from billing.settings import Mode, Settings
from plans.files import parse_plan
from tests.e2e.conftest import GOOD_CARD, PLAN

CHECKOUT = Path(__file__).parents[2]
TEN = datetime.fromisoformat("2026-12-01T10:00+09:00")
DAYS = 5


@contextmanager
def _running(home: Path, *words: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A `billing` process; killed at the end of the block if it still runs."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")}
    with (
        (home / f"{words[0]}-{time.monotonic_ns()}.log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "billing", *words],
            cwd=home,
            env=plain | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"} | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        process.log = lambda: Path(log.name).read_text()  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@contextmanager
def _sandbox(home: Path, *faults: str) -> Iterator[str]:
    words = ["sandbox", "--port", "0", "--json", *(word for fault in faults for word in ("--fault", fault))]
    with _running(home, *words, env={}) as process:
        said = ""
        while not said.endswith("\n}\n"):
            line = process.stdout.readline() if process.stdout else ""
            assert line, process.log()  # type: ignore[attr-defined]
            said += line
        yield json.loads(said)["url"]


@contextmanager
def _engine(url: str, gateway: str) -> Iterator[Billing]:
    settings = Settings.from_env(_env_file=None, mode=Mode.SANDBOX, database_url=url, gateway_url=gateway)
    with Billing(settings, actor="test") as app:
        yield app


def _due(app: Billing, subscribers: int, *, days: int = 1) -> None:
    """A shop at 10:00 whose subscribers start today and on the days that follow; nobody was charged yet."""
    app.init()
    app.plans.apply(parse_plan(PLAN, "pro"), actor="test")
    app.controls.set_clock(TEN.replace(day=1, month=11), actor="test")
    for number in range(subscribers):
        app.customers.add(f"c{number}", actor="test")
        app.cards.add(f"c{number}", Card(number=GOOD_CARD, expiry="2039-12"), actor="test")
        app.subscriptions.start(f"c{number}", "pro-monthly", start_on=TEN.date() + timedelta(days=number % days), actor="test")
    app.controls.set_clock(TEN, actor="test")


def _until(is_so: Callable[[], bool], process: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, process.log()
        assert time.monotonic() < deadline, process.log()
        time.sleep(0.05)


def _is_on_the_wire(gateway: str) -> bool:
    """Whether the PG has a charge in its hands that it has not answered."""
    arrivals: Any = sandbox_ledger(gateway)["arrivals"]
    return any(one["finished_at"] is None for one in arrivals)


def _lines(process: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.log().splitlines()]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'billing.db'}"


def test_sigterm_lets_a_slow_charge_finish_and_books_it(tmp_path: Path, sqlite_url: str, clean_env: None) -> None:
    with _sandbox(tmp_path, "slow_approval=always,value=2s") as gateway, _engine(sqlite_url, gateway) as app:
        _due(app, 1)
        with _running(tmp_path, "scheduler", "--json", env=_env(sqlite_url, gateway)) as process:
            _until(lambda: _is_on_the_wire(gateway), process)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=20)
            assert process.returncode == 0
            assert json.loads(out)["counts"] == {"opened": 1, "paid": 1}
            lines = _lines(process)
        assert [one["state"] for one in app.views.invoices()] == ["paid"]
        assert app.verify().holds
    assert lines[0]["event"] == "scheduler starts"
    assert lines[0]["buckets"] == "0-255"
    assert lines[-1]["event"] == "scheduler stops"
    (verdict,) = [one for one in lines if one["logger"] == "billing.settlement"]
    assert (verdict["event"], len(verdict["merchant_uid"])) == ("paid", 33)


def test_a_second_signal_ends_it_at_once_and_the_next_process_finishes_the_work(
    tmp_path: Path, sqlite_url: str, clean_env: None
) -> None:
    with _sandbox(tmp_path, "slow_approval=1,value=4s") as gateway, _engine(sqlite_url, gateway) as app:
        _due(app, 1)
        env = _env(sqlite_url, gateway) | {"BILLING_TIME_SCALE": "0.01"}
        with _running(tmp_path, "scheduler", env=env) as process:
            _until(lambda: _is_on_the_wire(gateway), process)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _until(lambda: "finishing what is on the wire" in process.log(), process)  # type: ignore[attr-defined]
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 128 + signal.SIGTERM
            assert time.monotonic() - began < 3
        with _running(tmp_path, "scheduler", env=env) as process:
            _until(lambda: app.views.invoices()[0]["state"] == "paid", process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert app.verify().holds


def test_two_processes_share_a_database_and_charge_nobody_twice(database_url: str, tmp_path: Path, clean_env: None) -> None:
    with _sandbox(tmp_path, "slow_approval=always,value=1s", "lost_reply=0.2") as gateway, _engine(database_url, gateway) as app:
        _due(app, 2 * DAYS, days=DAYS)
        env = _env(database_url, gateway) | {"BILLING_TIME_SCALE": "0.05", "BILLING_CONCURRENCY": "4"}
        with (
            _running(tmp_path, "scheduler", "--json", env=env) as one,
            _running(tmp_path, "scheduler", "--json", env=env) as other,
        ):
            for process in (one, other):
                _until(lambda process=process: "scheduler starts" in process.log(), process)
            for day in range(1, DAYS):
                # Approvals take a second and days pass faster: while one process waits, the other finds the next day's.
                time.sleep(0.4)
                app.controls.set_clock(TEN + timedelta(days=day), actor="test")
            _until(lambda: [invoice["state"] for invoice in app.views.invoices()] == ["paid"] * 2 * DAYS, one, 40)
            for process in (one, other):
                process.send_signal(signal.SIGINT)
            shares = [json.loads(process.communicate(timeout=20)[0])["counts"].get("opened", 0) for process in (one, other)]
            assert [one.returncode, other.returncode] == [0, 0]
        assert all(shares)
        assert sum(shares) == 2 * DAYS
        proof = app.verify()
        assert proof.differences == ()
        assert proof.totals["payments"] == 2 * DAYS


def test_an_unreachable_pg_and_a_freeze_end_no_process(tmp_path: Path, sqlite_url: str, clean_env: None) -> None:
    with _sandbox(tmp_path) as gateway, _engine(sqlite_url, gateway) as app:
        _due(app, 1)
        with _running(tmp_path, "scheduler", env=_env(sqlite_url, "http://127.0.0.1:1")) as process:
            _until(lambda: "pass failed, next in" in process.log(), process)  # type: ignore[attr-defined]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        app.controls.set_freeze(is_frozen=True, reason="a look", actor="test")
        with _running(tmp_path, "scheduler", env=_env(sqlite_url, gateway)) as process:
            _until(lambda: "charging pauses" in process.log(), process)  # type: ignore[attr-defined]
            assert {one["level"] for one in _lines(process)} >= {"critical"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert app.views.attention()["undecided_attempts"] == 0


def test_a_database_of_another_account_is_refused_at_the_start(tmp_path: Path, sqlite_url: str, clean_env: None) -> None:
    with _sandbox(tmp_path) as gateway, _engine(sqlite_url, gateway) as app:
        app.init()
    with _running(tmp_path, "scheduler", env=_env(sqlite_url, gateway) | {"BILLING_IMP_KEY": "another"}) as process:
        assert process.wait(20) == 4
        assert "another PG account" in process.log()  # type: ignore[attr-defined]
        assert "Traceback" not in process.log()  # type: ignore[attr-defined]


def _env(url: str, gateway: str) -> dict[str, str]:
    return {"BILLING_DATABASE_URL": url, "BILLING_GATEWAY_URL": gateway}
