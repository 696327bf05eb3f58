"""What every seed of one process shares: one database connection in memory, and what each life begins with."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime

from billing.app import Billing
from billing.clock import ManualClock
from billing.gateway.card import Card
from billing.ids import SeededIds
from billing.sandbox import MAGIC_CARDS, Sandbox
from billing.settings import SANDBOX_SECRET, Settings
from billing.store.engine import create_engine_for
from plans.files import parse_plan

START = datetime(2024, 1, 9, 23, 30, tzinfo=UTC)
"""Half past eight on 10 January 2024 in Seoul: sixty days hold the ends of January and of a long February."""

CUSTOMERS = 40
SECRET = SANDBOX_SECRET
PRICES = (*("monthly",) * 6, "fortnightly", "tenth", "weekly", "calendar", "trial")

PLAN = """
[plan]
code = "sim"
name = "Sim"
""" + "\n".join(
    f'[[plan.prices]]\ncode = "{code}"\namount = {amount}\ncurrency = "KRW"\nevery = "{every}"\n{more}'
    for code, amount, every, more in (
        ("monthly", 9900, "1 month", ""),
        ("fortnightly", 4900, "2 weeks", ""),
        ("tenth", 3300, "10 days", ""),
        ("weekly", 2900, "1 week", ""),
        ("daily", 500, "1 day", ""),
        ("calendar", 49000, "1 month", 'setup_fee = 30000\nalign = "calendar"\n'),
        ("trial", 7700, "1 month", "trial_days = 14\n"),
    )
)

_CARDS = ("approves",) * 28 + ("recovers", "deaf") * 3 + ("late", "expires") * 2 + ("balance", "maintenance")
"""The cards of the customers; who subscribes in one life is drawn."""

BUYERS = ("balance", "balance", "recovers", "maintenance", None, None, None, None)
"""The cards of those who pay in windows, if they have one."""

_SETTINGS: dict[str, object] = {
    "mode": "sandbox",
    "database_url": "sqlite://",
    "gateway_url": "",
    "imp_key": "",
    "imp_secret": "",
    "pg": "",
    "time_zone": "Asia/Seoul",
    "charge_hours": "09:00-22:00",
    "concurrency": 1,
    "lease_seconds": 180.0,
    "time_scale": 1.0,
    "catch_up": "latest",
    "dunning_days": "1,3,5,7",
    "dunning_end": "cancel",
    "faults": "",
    "sandbox_faults": "",
    "instance_secret": "the one machine on which the simulator lives",
}
"""What the environment could change is fixed: the same seed must live the same life everywhere."""


class House:
    """One engine's database in memory, ready to be put back to the beginning.

    Args:
        weaken: switches guards of the database off, before life begins.
    """

    def __init__(self, weaken: Callable[[sqlite3.Connection], None] | None = None) -> None:
        self.settings = Settings(_env_file=None, **_SETTINGS)  # type: ignore[arg-type, call-arg]
        self.engine = create_engine_for("sqlite://")
        connection = self.engine.raw_connection()
        driver = connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self.db = driver
        connection.close()
        self.db.execute("PRAGMA synchronous = OFF")
        self.pg_image = self._furnished(weaken)
        self._beginning = self.snapshot()
        self.prefix = self.db.execute("SELECT uid_prefix FROM billing_identity").fetchone()[0]

    @property
    def is_busy(self) -> bool:
        """True while a transaction is open."""
        return bool(self.engine.pool.checkedout())  # type: ignore[attr-defined]

    def snapshot(self) -> sqlite3.Connection:
        """A copy of the database as it is now."""
        copy = sqlite3.connect(":memory:")
        self.db.backup(copy)
        return copy

    def restore(self, snapshot: sqlite3.Connection) -> None:
        """Put the database back to what it was."""
        snapshot.backup(self.db)

    def reset(self) -> None:
        """Put the database back to the beginning."""
        self.restore(self._beginning)

    def on_commit(self, hook: Callable[[Callable[[], None]], None] | None) -> None:
        """Let `hook` see every COMMIT, and decide when to let it through."""
        dialect = self.engine.dialect
        if hook is None:
            dialect.__dict__.pop("do_commit", None)
            return
        commit = type(dialect).do_commit

        def hooked(connection: object) -> None:
            hook(lambda: commit(dialect, connection))  # type: ignore[arg-type]

        dialect.do_commit = hooked  # type: ignore[method-assign, assignment]

    def close(self) -> None:
        """Close the database."""
        self._beginning.close()
        self.engine.dispose()

    def _furnished(self, weaken: Callable[[sqlite3.Connection], None] | None) -> bytes:
        """Fill the database with plans and customers; returns the PG that knows their cards."""
        clock = ManualClock(START)
        with (
            Sandbox(seed=-1, now=lambda: clock.now().timestamp(), sleep=clock.sleep) as sandbox,
            Billing(
                self.settings,
                clock=clock,
                engine=self.engine,
                sandbox=sandbox,
                new_id=SeededIds(-1, clock),
                actor="host",
                lanes=1,
            ) as app,
        ):
            app.init()
            app.plans.apply(parse_plan(PLAN, "plans.toml"), actor="host")
            people: list[tuple[str, str | None]] = [(f"user-{number:02d}", _CARDS[number]) for number in range(CUSTOMERS)]
            for name, card in people + [(f"buyer-{number}", card) for number, card in enumerate(BUYERS)]:
                customer = app.customers.add(name, name="김하늘", tel="010-0000-0000", actor="host")
                if card is not None:
                    number = MAGIC_CARDS[card].number
                    app.cards.add(customer.id, Card(number=number, expiry="2024-02", birth="900101"), actor="host")
            pg_image = sandbox.image()
        if weaken is not None:
            weaken(self.db)
        return pg_image
