"""A seeded walk: weeks of billing with everything going wrong at random, then a calm."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from sqlalchemy import text

from billing import fault
from billing.domain.invoice import InvoiceState
from billing.errors import BillingError
from tests.kit.world import World
from tests.simulation.checker import violations

PRICES = ("pro-monthly", "pro-weekly", "pro-daily", "pro-trial", "team-monthly")
CARDS = ("approves", "approves", "approves", "recovers", "deaf", "balance", "late", "expires")
WIRE = (
    "lost_reply", "lost_request", "server_error", "error_after_approval", "garbage", "lookup_lag", "late_approval",
    "pending", "decline", "shadowed_paid", "rate_limit", "refuse_connection", "token_revoked",
)  # fmt: skip
POINTS = ("K00", "K01", "K02", "K03", "K08", "K09", "K10")


@dataclass
class Walk:
    """One seed's life of a merchant; `story` says what happened, for whoever reads a failure."""

    world: World
    seed: int
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.subscriptions: list[str] = []

    def run(self, days: int) -> None:
        """Live through `days` hostile days and a calm, checking every promise after every step."""
        for _ in range(self.random.randint(4, 8)):
            self._arrives()
        for _ in range(days):
            for _ in range(self.random.randint(1, 3)):
                self._something()
                self._tick()
            self.world.later(days=1)
        self.world.pg.heals()
        self.story.append("calm")
        for _ in range(12):
            self.world.later(hours=6)
            self._tick()
        assert self.world.undecided() == 0, f"I17: {self.world.undecided()} attempts undecided after three calm days"
        self._look_at_declines_again()
        assert self.world.app.verify().differences == (), "\n".join(self.story)

    def _look_at_declines_again(self) -> None:
        """A PG may approve what it declined before; the last decline of an invoice has no later probe to notice."""
        with self.world.app.store.read() as tx:
            query = text("SELECT merchant_uid FROM billing_attempt WHERE state IN ('declined', 'rejected', 'void')")
            uids = list(tx.connection.execute(query).scalars())
        self.world.app.settle(uids)

    def _arrives(self) -> None:
        price, card = self.random.choice(PRICES), self.random.choice(CARDS)
        self.story.append(f"{price} with {card}")
        try:
            self.subscriptions.append(self.world.subscriber(price, card, expiry="2024-03"))
        except BillingError as error:
            self.story.append(f"  {error}")

    def _something(self) -> None:
        dice = self.random.random()
        if dice < 0.45:
            name = self.random.choice(WIRE)
            value = self.random.choice((30, 400, 4000)) if name in ("lookup_lag", "late_approval", "pending") else None
            self.story.append(f"{self.world.clock.now():%m-%d %H:%M} fault {name} {value or ''}")
            self.world.pg.fault(name, times=self.random.randint(1, 2), value=value)
        elif dice < 0.6:
            self._admin()
        elif dice < 0.65:
            self._arrives()
        self.world.later(minutes=self.random.choice((0, 1, 7, 45)))

    def _admin(self) -> None:
        one = self.random.choice(self.subscriptions)
        app, subscription = self.world.app, self.world.subscription(one)
        what = self.random.choice(("cancel", "end", "pause", "resume", "card", "retry", "void"))
        self.story.append(f"{self.world.clock.now():%m-%d %H:%M} admin {what}")
        try:
            match what:
                case "cancel" if self.random.random() < 0.3:
                    app.subscriptions.cancel(one, at_period_end=False, actor="sim")
                case "end" if self.random.random() < 0.3:
                    app.subscriptions.cancel(one, at_period_end=True, actor="sim")
                case "pause":
                    app.subscriptions.pause(one, actor="sim")
                case "resume":
                    app.subscriptions.resume(one, actor="sim")
                case "card":
                    self.world.card(subscription.customer_id, self.random.choice(("approves", "recovers")), expiry="2026-01")
                case "retry":
                    app.retry([self.world.invoice(one).id])
                case "void" if self.random.random() < 0.2:
                    app.invoices.close(self.world.invoice(one).id, InvoiceState.VOID, reason="sim", actor="sim")
        except (BillingError, IndexError) as error:
            self.story.append(f"  {error}")

    def _tick(self) -> None:
        """One pass, which may die at a random point; then every promise is checked."""
        if self.random.random() < 0.15:
            fault.arm(f"{self.random.choice(POINTS)}=error@{self.random.randint(1, 2)}")
        try:
            counts = dict(self.world.tick())
            if counts:
                self.story.append(f"{self.world.clock.now():%m-%d %H:%M} {counts}")
        except (BillingError, fault.InjectedFault) as error:
            self.story.append(f"{self.world.clock.now():%m-%d %H:%M} died: {error!r}")
        finally:
            fault.arm("")
        broken = list(violations(self.world.pg.sandbox.ledger(), self.world.app.engine))
        assert not broken, "\n".join([*broken, f"seed {self.seed}:", *self.story])
