"""A world to tell stories in: one merchant, a hostile PG, and a clock that stands still until it is moved.

Every instant in a story is wall time in Seoul. `world.tick()` is one pass of the scheduler;
`world.pg` is the PG as it really stands, asked past every fault.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from billing.app import Billing
from billing.clock import ManualClock
from billing.domain.attempt import ChargeAttempt
from billing.domain.customer import BillingKey
from billing.domain.invoice import Invoice
from billing.domain.subscription import Subscription
from billing.gateway.card import Card
from billing.sandbox import MAGIC_CARDS, Fault, Sandbox, SandboxConfig
from billing.sandbox.webhooks import Notice
from billing.settings import Settings
from billing.store import tables
from billing.store.invoices import MAPPER as INVOICE
from billing.store.subscriptions import subscription_columns, subscription_of
from plans import Interval, Plan, Price, Unit, krw, parse_plan

SEOUL = ZoneInfo("Asia/Seoul")

MACHINE = "the secret of the one machine this story plays on"
"""Given outright, so that no story writes into the home of whoever runs it."""

PLANS = """
[plan]
code = "pro"
name = "Pro"

[[plan.prices]]
code = "pro-monthly"
amount = 9900
currency = "KRW"
every = "1 month"

[[plan.prices]]
code = "pro-trial"
amount = 9900
currency = "KRW"
every = "1 month"
trial_days = 14

[[plan.prices]]
code = "pro-weekly"
amount = 2900
currency = "KRW"
every = "1 week"

[[plan.prices]]
code = "pro-daily"
amount = 500
currency = "KRW"
every = "1 day"

[[plan.prices]]
code = "team-monthly"
amount = 49000
currency = "KRW"
every = "1 month"
setup_fee = 30000
align = "calendar"
"""

# Only a host's own code can sell for nothing; plan files refuse it.
FREE = Plan("free", "Free", (Price("free", 1, "free", krw(0), Interval(1, Unit.MONTH), name="Free"),))


def seoul(text: str) -> datetime:
    """An instant written as wall time in Seoul: `2024-01-31 10:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=SEOUL)


@dataclass
class Pg:
    """The PG's own truth."""

    sandbox: Sandbox

    def fault(self, name: str, **facts: Any) -> None:
        """Let something go wrong from now on."""
        self.sandbox.add_fault(Fault(name, **facts))

    def heals(self) -> None:
        """Let everything go right again."""
        self.sandbox.clear_faults()

    def kept(self) -> list[dict[str, Any]]:
        """Every payment of which the merchant has the money."""
        return [row for row in self.sandbox.ledger()["payments"] if row["kept"] > 0]

    def arrivals(self) -> list[str]:
        """The merchant_uid of every charge request that arrived, in order."""
        return [row["merchant_uid"] for row in self.sandbox.ledger()["arrivals"] if row["path"] != "/payments/cancel"]

    def cancels(self) -> list[dict[str, Any]]:
        """Every refund request that arrived, in order, with what came of it."""
        return [row for row in self.sandbox.ledger()["arrivals"] if row["path"] == "/payments/cancel"]

    def given_back(self) -> list[tuple[str, float]]:
        """Every refund the PG executed: which payment, how much."""
        return [(row["imp_uid"], row["amount"]) for row in self.sandbox.ledger()["refunds"]]

    def double_charged(self) -> list[Any]:
        """What was charged twice."""
        return list(self.sandbox.ledger()["double_charged"])


class World:
    """One merchant on one database, from `start` on."""

    def __init__(
        self,
        database_url: str,
        start: str = "2024-01-31 10:00",
        *,
        config: SandboxConfig | None = None,
        hears: bool = False,
        **settings: Any,
    ) -> None:
        self.clock = ManualClock(seoul(start))
        self.config = config
        self.pg = Pg(
            Sandbox(
                seed=1,
                now=lambda: self.clock.now().timestamp(),
                sleep=self.clock.sleep,
                config=config,
                deliver=self._receive if hears else None,
                ask=self._asked,
            )
        )
        self.settings = Settings(_env_file=None, **{"database_url": database_url, "instance_secret": MACHINE, **settings})  # type: ignore[call-arg]
        self.app = self.another_process()
        self.app.init(actor="test")
        self.app.plans.apply(parse_plan(PLANS, "plans.toml"), actor="test")
        self.app.plans.apply(FREE, actor="test")
        self._people = 0

    def another_process(self, **settings: Any) -> Billing:
        """A second engine on the same database, PG and clock, as another process would be."""
        given = self.settings.model_copy(update=settings) if settings else self.settings
        return Billing(given, clock=self.clock, sandbox=self.pg.sandbox, actor="test", lanes=1)

    def close(self) -> None:
        """Close every connection."""
        self.app.close()

    def _receive(self, notice: Notice) -> None:
        """The merchant's end of a notice, in a world that `hears`."""
        self.app.receive_webhook(notice.body, content_type=notice.content_type)

    def _asked(self, _url: str, body: bytes) -> tuple[int, bytes]:
        """The merchant's answer to `confirm_url`, as its router gives it."""
        asked = json.loads(body)
        why = self.app.checkouts.confirm(asked["merchant_uid"], asked["amount"])
        return (200, b"{}") if why is None else (409, json.dumps({"reason": why}).encode())

    # --- what happens ----------------------------------------------------------------------------

    def customer(
        self, card: str | None = "approves", *, expiry: str = "2040-12", time_zone: str | None = None, tel: str = ""
    ) -> str:
        """A customer, with a card that behaves like this."""
        self._people += 1
        one = self.app.customers.add(f"user-{self._people}", name="김하늘", tel=tel, time_zone=time_zone, actor="test")
        if card is not None:
            self.card(one.id, card, expiry=expiry)
        return one.id

    def card(self, customer: str, name: str = "approves", *, expiry: str = "2040-12") -> BillingKey:
        """Register a card for a customer; it becomes the current one."""
        key = self.app.cards.add(customer, Card(number=MAGIC_CARDS[name].number, expiry=expiry, birth="900101"), actor="test")
        assert isinstance(key, BillingKey)
        return key

    def subscriber(self, price: str = "pro-monthly", card: str | None = "approves", **start: Any) -> str:
        """A customer subscribed to a price; returns the subscription's id."""
        expiry = start.pop("expiry", "2040-12")
        customer = self.customer(card, expiry=expiry, time_zone=start.pop("time_zone", None), tel=start.pop("tel", ""))
        return self.app.subscriptions.start(customer, price, actor="test", **start).subscription_id

    def at(self, text: str) -> World:
        """Let it be this wall time in Seoul."""
        self.clock.set(seoul(text))
        return self

    def later(self, **span: float) -> World:
        """Let time pass."""
        self.clock.sleep(timedelta(**span).total_seconds())
        return self

    def tick(self) -> Counter[str]:
        """One pass of the scheduler."""
        return self.app.renew()

    def days(self, count: int) -> Counter[str]:
        """One tick a day at this hour, `count` days long."""
        total: Counter[str] = Counter()
        for _ in range(count):
            self.later(days=1)
            total += self.tick()
        return total

    def until_decided(self, hours: int = 12) -> Counter[str]:
        """Tick every ten minutes until nothing is undecided any more."""
        total: Counter[str] = Counter()
        for _ in range(hours * 6):
            if not self.undecided():
                break
            self.later(minutes=10)
            total += self.tick()
        return total

    # --- what the books say ----------------------------------------------------------------------

    def subscription(self, id: str) -> Subscription:
        """The subscription as stored."""
        with self.app.store.read() as tx:
            row = tx.connection.execute(select(*subscription_columns).where(tables.subscription.c.id == id)).one()
            return subscription_of(row)

    def invoices(self, subscription: str) -> list[Invoice]:
        """Its invoices, oldest period first."""
        with self.app.store.read() as tx:
            one = tables.invoice
            query = select(*INVOICE.columns).where(one.c.subscription_id == subscription).order_by(one.c.period_index)
            return [INVOICE.record(row) for row in tx.connection.execute(query)]

    def invoice(self, subscription: str) -> Invoice:
        """Its newest invoice."""
        return self.invoices(subscription)[-1]

    def attempts(self, subscription: str) -> list[ChargeAttempt]:
        """Every attempt of it, oldest first."""
        ids = [one.id for one in self.invoices(subscription)]
        with self.app.store.read() as tx:
            found = tx.attempts.of_invoices(ids)
        return [attempt for id in ids for attempt in found[id]]

    def states(self, subscription: str) -> list[str]:
        """The states of its attempts, oldest first."""
        return [one.state.value for one in self.attempts(subscription)]

    def undecided(self) -> int:
        """How many attempts are neither decided nor parked."""
        with self.app.store.read() as tx:
            query = select(tables.attempt.c.id).where(tables.attempt.c.state.in_(["planned", "sending", "unknown"]))
            return len(tx.connection.execute(query).all())

    def topics(self, subscription: str) -> list[str]:
        """What the host was told about it, in order."""
        one = tables.outbox_event
        with self.app.store.read() as tx:
            query = select(one.c.topic).where(one.c.subscription_id == subscription).order_by(one.c.version, one.c.id)
            return list(tx.connection.execute(query).scalars())

    def period(self, subscription: str) -> tuple[date, date] | None:
        """First and last-plus-one local day of the period it has paid for."""
        one = self.subscription(subscription)
        if one.period_start is None or one.period_end is None:
            return None
        return one.period_start.astimezone(one.zone).date(), one.period_end.astimezone(one.zone).date()

    def is_proven(self) -> bool:
        """The books equal the ledger, the attempts and the PG's own ledger."""
        proof = self.app.verify()
        assert proof.differences == ()
        return proof.holds


@contextmanager
def world_on(database_url: str, start: str = "2024-01-31 10:00", **given: Any) -> Iterator[World]:
    """A world that is closed in the end."""
    world = World(database_url, start, **given)
    try:
        yield world
    finally:
        world.close()
