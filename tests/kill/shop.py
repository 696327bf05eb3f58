"""A merchant whose workers die. The PG is a process of its own, so its ledger survives every death: it is the oracle."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from socket import create_server, socket
from typing import Any

from sqlalchemy import Select, func, select

from billing.app import Billing
from billing.gateway.card import Card
from billing.sandbox import MAGIC_CARDS, SandboxConfig
from billing.settings import Settings
from billing.store import tables
from plans import parse_plan
from tests.kill import workers
from tests.kill.workers import Diary
from tests.kit.world import PLANS, seoul

TICKS = 3
CHARGED_ONCE = "renewals, each charged exactly once"
TOKEN_SECONDS = 1900
"""Longer than an access token lives. Source: PortOne REST V1, /users/getToken (30 minutes)."""


class Pg:
    """The sandbox in a process of its own; it sends its notices to `door`."""

    def __init__(self, door: socket) -> None:
        listening = create_server(("127.0.0.1", 0))
        self.url = _url(listening)
        self._process = workers.started_pg(listening, SandboxConfig(webhook_url=f"{_url(door)}/webhooks/iamport"))
        listening.close()

    def close(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.join()

    def ledger(self) -> dict[str, Any]:
        """Everything it recorded."""
        found: dict[str, Any] = self._call("GET", "ledger")
        return found

    def kept(self) -> list[dict[str, Any]]:
        """Every payment of which the merchant has the money."""
        return [row for row in self.ledger()["payments"] if row["kept"] > 0]

    def later(self, seconds: float = TOKEN_SECONDS) -> None:
        """Let its clock run on: every token it issued is dead."""
        self._call("POST", "clock", {"seconds": seconds})

    def fault(self, *texts: str) -> None:
        """Let these go wrong from now on; none of them, and everything goes right again."""
        self._call("DELETE", "faults")
        for one in texts:
            self._call("POST", "faults", {"fault": one})

    def _call(self, method: str, what: str, body: Any = None) -> Any:
        request = urllib.request.Request(f"{self.url}/_sandbox/{what}", method=method)
        request.add_header("content-type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=60) as answer:
            return json.load(answer)


class Shop:
    """People who pay every day, and what is left of the processes that collect it.

    Args:
        scale: every waiting time is multiplied by it.
    """

    def __init__(self, database_url: str, folder: Path, *, people: int = 12, scale: float = 0.001) -> None:
        folder.mkdir(exist_ok=True)
        self.door = create_server(("127.0.0.1", 0))
        self.pg = Pg(self.door)
        self.events = folder / "events.jsonl"
        self.environment = {
            "BILLING_DATABASE_URL": database_url,
            "BILLING_GATEWAY_URL": self.pg.url,
            "BILLING_TIME_SCALE": str(scale),
            "BILLING_CONCURRENCY": "4",
        }
        given = {name.removeprefix("BILLING_").lower(): value for name, value in self.environment.items()}
        self.app = Billing(
            Settings(_env_file=None, **given),  # type: ignore[call-arg,arg-type]
            actor="test",
            lanes=1,
        )
        self.patience = self.app.policy.patience
        self.database = self.app.engine.dialect.name
        self.app.init()
        self.today = seoul("2030-01-01 10:00")
        self.set_clock()
        self.app.plans.apply(parse_plan(PLANS, "plans.toml"), actor="test")
        self.people = people
        self.days = 1
        self._checked = 1
        self._working: list[BaseProcess] = []
        for number in range(people):
            self.join(f"user-{number}", "pro-daily")

    def join(self, name: str, price: str) -> None:
        """One more who pays."""
        customer = self.app.customers.add(name, name="김하늘", actor="test")
        self.app.cards.add(customer.id, Card(number=MAGIC_CARDS["approves"].number, expiry="2040-12"), actor="test")
        self.app.subscriptions.start(customer.id, price, actor="test")

    def close(self) -> None:
        """Kill who still works; close everything."""
        self.dismiss(self._working)
        self.app.close()
        self.pg.close()
        self.door.close()

    # --- workers, and the days they work on ------------------------------------------------------

    def worker(
        self, work: Callable[..., None] = workers.renews_and_delivers, faults: str = "", *, through: str | None = None
    ) -> BaseProcess:
        """A worker process; `through` is the URL it reaches the database by, where that is not the database's own."""
        environment = self.environment | ({"BILLING_DATABASE_URL": through} if through else {})
        process = workers.started(work, environment, self.events, faults)
        self._working.append(process)
        return process

    def unheard_of(self) -> list[dict[str, str]]:
        """A notice of every payment the PG has and the books do not."""
        with self.app.store.read() as tx:
            known = set(tx.connection.execute(select(tables.payment.c.imp_uid)).scalars())
        news = [row for row in self.pg.kept() if row["imp_uid"] not in known]
        return [{name: row[name] for name in ("imp_uid", "merchant_uid", "status")} for row in news]

    def refundable(self) -> list[str]:
        """Paid invoices of which nothing was given back, the newest first."""
        one = tables.payment
        query = select(one.c.invoice_id).where(one.c.role == "invoice", one.c.refund_reserved + one.c.refunded == 0)
        with self.app.store.read() as tx:
            return list(tx.connection.execute(query.order_by(one.c.booked_at.desc(), one.c.imp_uid)).scalars())

    def are_planned(self, keys: Iterable[str]) -> bool:
        """True once every refund that was asked for under these keys is written down."""
        wanted, one = list(keys), tables.refund
        with self.app.store.read() as tx:
            query = select(func.count()).where(one.c.request_key.in_(wanted))
            return int(tx.connection.execute(query).scalar_one()) == len(wanted)

    def notices(self) -> int:
        """How many notices were taken in."""
        with self.app.store.read() as tx:
            return int(tx.connection.execute(select(func.count()).select_from(tables.webhook_inbox)).scalar_one())

    def booked(self) -> int:
        """How many payments the books know."""
        with self.app.store.read() as tx:
            return int(tx.connection.execute(select(func.count()).select_from(tables.payment)).scalar_one())

    def next_day(self) -> None:
        """Let the next day begin: everyone owes another payment."""
        self.today += timedelta(days=1)
        self.days += 1
        self.set_clock()

    def set_clock(self) -> None:
        """Let the database know what day it is."""
        self.app.controls.set_clock(self.today, actor="test")

    def undecided(self) -> int:
        """Renewals that were not begun, invoices that were not tried, attempts that nobody knows the end of."""
        due, open_, live, back = tables.subscription, tables.invoice, tables.attempt, tables.refund
        counted = [
            select(func.count()).where(due.c.due_at <= self.today, due.c.state.in_(["active", "past_due"])),
            select(func.count()).where(open_.c.next_attempt_at <= self.today),
            select(func.count()).where(live.c.state.in_(["planned", "sending", "unknown"])),
            select(func.count()).where(back.c.state.in_(["planned", "sending", "unknown"])),
        ]
        with self.app.store.read() as tx:
            return sum(int(tx.connection.execute(query).scalar_one()) for query in counted)

    def wait_for(self, happened: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so; fail when it is not by then."""
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end, f"nothing of the kind within {seconds} s"
            time.sleep(0.01)

    def works_until_quiet(self, seconds: float) -> None:
        """Give the workers time, this long at most; tokens of the PG die meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.undecided():
            self.pg.later(TOKEN_SECONDS / 10)
            time.sleep(0.1)

    def dismiss(self, crew: Iterable[BaseProcess]) -> None:
        """Kill these workers, whatever they are at."""
        for one in crew:
            one.kill()
            one.join()

    def ticks(self) -> int:
        """Let healthy ticks come by until everything is decided; fails after three.

        A tick is a pass over everything due. Between two of them passes what a production worker would wait for: leases
        and looks that are not due yet, the end of the PG's token, and the time a late request might still take.
        """
        # A pool may hold connections that died with the server: the first step through each would fail, and the next would not.
        self.app.engine.dispose()
        for number in range(1, TICKS + 1):
            self._wait_for_the_last()
            self.pg.later()
            self.app.renew()
            # Workers that still live may hold something this very moment.
            self.works_until_quiet(self.patience.lease.total_seconds())
            if not self.undecided():
                return number
            time.sleep(self.patience.admission.total_seconds())
        raise AssertionError(f"{self.undecided()} still undecided after {TICKS} ticks")

    def _wait_for_the_last(self) -> None:
        live = ["planned", "sending", "unknown"]
        queries = [select(func.max(one.c.wake_at)).where(one.c.state.in_(live)) for one in (tables.attempt, tables.refund)]
        with self.app.store.read() as tx:
            waiting = [tx.connection.execute(query).scalar() for query in queries]
            left = [(one - tx.now).total_seconds() for one in waiting if one is not None]
        time.sleep(max(0.0, *left, 0.0) + 0.01)

    # --- what must be true -----------------------------------------------------------------------

    def is_paid_once_a_day(self, tally: Counter[str]) -> None:
        """Everyone paid every day, once, under one number."""
        kept = [row["merchant_uid"] for row in self.pg.kept()]
        assert len(kept) == len(set(kept)), "charged twice under one number"
        assert len({uid[:-3] for uid in kept}) == len(kept), "charged twice under two numbers"
        assert len(kept) == self.people * self.days, "a payment was lost"
        assert {uid[-3:] for uid in kept} == {"a01"}, "a second number was used although nothing was declined"
        tally[CHARGED_ONCE] += self.people * (self.days - self._checked)
        self._checked = self.days

    def given_back(self) -> list[int]:
        """What the PG gave back, a figure for each payment it gave something back of."""
        return [row["cancel_amount"] for row in self.pg.ledger()["payments"] if row["cancel_amount"]]

    def is_settled(self) -> None:
        """After declines: no period was paid twice, none forgotten, and who did not pay was declined by the PG."""
        ledger = self.pg.ledger()
        assert ledger["double_charged"] == []
        stems = Counter(row["merchant_uid"][:-3] for row in ledger["payments"] if row["kept"] > 0)
        assert not [stem for stem, count in stems.items() if count > 1], "charged twice under two numbers"
        declined = {row["merchant_uid"][:-3] for row in ledger["payments"] if row["status"] == "failed"}
        today = self.today.date()
        bill, day = tables.invoice, tables.charge_day
        bills = select(bill.c.uid_stem, bill.c.state, bill.c.subscription_id)
        with self.app.store.read() as tx:
            invoices = tx.connection.execute(bills).all()
            waiting = set(tx.connection.execute(select(day.c.subscription_id).where(day.c.local_day == today)).scalars())
            active = set(tx.connection.execute(_unserved(self.today)).scalars())
        assert {stem for stem, state, _ in invoices if state == "paid"} == set(stems), "books and PG disagree on what is paid"
        unpaid = [(stem, whose) for stem, state, whose in invoices if state in ("open", "uncollectible")]
        # Nobody is charged twice a day: who paid yesterday's period late today pays today's tomorrow.
        assert {stem for stem, whose in unpaid if whose not in waiting} <= declined, "somebody was not charged, nobody declined"
        assert active <= {whose for _, whose in unpaid}, "a period was forgotten"

    def is_proven(self) -> None:
        """Books, ledger, attempts and the PG say the same."""
        proof = self.app.verify()
        assert proof.differences == ()
        assert proof.holds

    def is_told(self) -> None:
        """The host heard of everything that is written, and of nothing else, in order but for repetitions."""
        self.app.deliver(Diary(self.events))
        told = [json.loads(line) for line in self.events.read_text().splitlines()]
        event = tables.outbox_event
        with self.app.store.read() as tx:
            written = set(tx.connection.execute(select(event.c.key)).scalars())
            left = tx.connection.execute(select(func.count()).where(event.c.delivered_at.is_(None))).scalar_one()
        assert {key for key, _, _ in told} == written
        assert left == 0
        newest: dict[str, int] = {}
        known: set[str] = set()
        for key, subscription, version in told:
            if key not in known and subscription is not None:
                assert version >= newest.get(subscription, 0), f"{key} came after a newer one"
                newest[subscription] = version
            known.add(key)


def _url(listening: socket) -> str:
    host, port = listening.getsockname()
    return f"http://{host}:{port}"


def _unserved(now: datetime) -> Select[Any]:
    """Subscriptions that run and have paid for no period that lasts until now."""
    one = tables.subscription
    return select(one.c.id).where(one.c.period_end <= now, one.c.state.in_(["active", "past_due"]))


@contextmanager
def shop_on(database_url: str, folder: Path, **given: Any) -> Iterator[Shop]:
    """A shop that is closed in the end."""
    shop = Shop(database_url, folder, **given)
    try:
        yield shop
    finally:
        shop.close()
