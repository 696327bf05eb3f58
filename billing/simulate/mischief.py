"""Everything that happens to a merchant besides the network: the PG's moods, busy operators, clumsy hands."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from billing.app import Billing
from billing.domain.invoice import InvoiceState
from billing.flow.adjudication import Ruling
from billing.gateway.card import Card
from billing.sandbox import MAGIC_CARDS
from billing.simulate.foreign import HANDS

if TYPE_CHECKING:
    from billing.simulate.life import Life, Process

DAY = 86_400.0
_RESTORES = 0.15
"""How many merchants put a backup back."""
_DOWNTIME = 45 * 60.0
"""How long it takes: longer than a token lives, so that nothing sent before can still arrive."""

MOODS: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    ("lost_reply", (None,)),
    ("lost_request", (None,)),
    ("refuse_connection", (None,)),
    ("slow_approval", ("70s", "120s", "180s")),
    ("slow_approval", ("70s", "120s", "180s")),
    ("server_error", (None,)),
    ("error_after_approval", (None,)),
    ("garbage", (None,)),
    ("lookup_lag", ("30s", "120s", "300s")),
    ("late_approval", ("60s", "4000s", "26h")),
    ("pending", ("60s", "4000s", "26h")),
    ("decline", ("120054", "120026", "1200B9", "550690")),
    ("wrong_amount", (None, "100")),
    ("wrong_customer", (None,)),
    ("live_record", (None,)),
    ("shadowed_paid", (None,)),
    ("token_revoked", (None,)),
    ("token_revoked", (None,)),
    ("auth_dead", (None,)),
    ("rate_limit", ("1s", "30s", "3600s")),
)
"""The PG's faults, each with the values it may take."""

_NEW_CARDS = ("approves", "approves", "approves", "recovers", "deaf", "late", "wrong_number")


class Mischief:
    """Draws what goes wrong next, and does it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._random = Random(f"mischief|{life.seed}")
        self._is_over = False
        self._frozen = False
        self._deeds: tuple[tuple[int, Callable[[Billing], object]], ...] = (
            (2, self._cancels), (2, self._ends), (1, self._uncancels), (3, self._pauses), (3, self._resumes),
            (6, self._changes_card), (6, self._retries), (2, self._voids), (1, self._gives_up), (1, self._reprices),
            (2, self._freezes), (3, self._rules), (2, self._subscribes), (1, self._looks_up),
            (6, self._refunds), (2, self._asks_again_for_a_refund),
        )  # fmt: skip

    # --- when ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Sow what happens at any hour."""
        life, random = self._life, self._random
        for _ in range(random.randint(4, 12)):
            life.stage.at(life.start + random.random() * life.days * DAY, self._operator)
        for _ in range(random.randint(2, 8)):
            life.stage.at(life.start + random.random() * life.days * DAY, self._foreign_hand)
        for _ in range(random.randint(0, 3)):
            life.stage.at(life.start + random.random() * life.days * DAY, life.host.forges)
        for _ in range(random.randint(0, 2)):
            life.stage.at(life.start + random.random() * life.days * DAY, self._cancels_in_the_console)
        if random.random() < _RESTORES:
            life.stage.at(life.start + (0.2 + 0.6 * random.random()) * life.days * DAY, self._backs_up)

    def while_they_work(self) -> None:
        """Something may happen just now, while charges are on their way."""
        if self._is_over:
            return
        life, random = self._life, self._random
        if random.random() < 0.35:
            self._mood()
        if random.random() < 0.12:
            life.stage.at(life.stage.seconds + random.random() * random.choice((2.0, 100.0, 1000.0)), self._operator)
        if random.random() < 0.06:
            life.stage.at(life.stage.seconds + random.random() * random.choice((2.0, 100.0, 1000.0)), self._foreign_hand)

    def ends(self) -> None:
        """No more of it; operators put right what they did."""
        self._is_over = True
        life = self._life
        for console in life.consoles:
            if console.is_idle:
                self._enters(console, self._thaws)
                return
        life.stage.at(life.stage.seconds + 3600.0, self.ends)

    # --- the PG ----------------------------------------------------------------------------------

    def _mood(self) -> None:
        name, values = self._random.choice(MOODS)
        value = self._random.choice(values)
        times = self._random.choice((1, 1, 2, 4))
        self._life.tell("PG", f"will {name} {value or ''} {times}×")
        self._life.sandbox.add_fault(name, times=times, value=value)
        if self._random.random() < 0.3:
            self._life.stage.at(self._life.stage.seconds + self._random.random() * 4 * 3600, self._life.heal)

    # --- operators -------------------------------------------------------------------------------

    def _operator(self) -> None:
        """An operator does something, if one has a free hand."""
        idle = [one for one in self._life.consoles if one.is_idle]
        if self._is_over or self._life.is_down or not idle:
            return
        weights = [weight for weight, _ in self._deeds]
        deed = self._random.choices([deed for _, deed in self._deeds], weights)[0]
        self._enters(idle[0], deed)

    def _enters(self, console: Process, deed: Callable[[Billing], object]) -> None:
        life = self._life
        what = deed.__name__.strip("_").replace("_", " ")

        def work() -> None:
            life.trace.count(f"operator {what}")
            life.attempt(console, what, deed)
            life.checker.look()

        console.actor = life.stage.enters(console.name, work)

    def _someone(self) -> str:
        """The id of a subscription, drawn."""
        rows = self._life.house.db.execute("SELECT id FROM billing_subscription ORDER BY rowid").fetchall()
        return str(self._random.choice(rows)[0])

    def _row(self, query: str) -> Any:
        """A row of what `query` finds, drawn; None where it finds none."""
        rows = self._life.house.db.execute(query).fetchall()
        return self._random.choice(rows) if rows else None

    def _cancels(self, app: Billing) -> object:
        return app.subscriptions.cancel(self._someone(), at_period_end=False, actor="operator").charge_in_flight

    def _ends(self, app: Billing) -> object:
        return app.subscriptions.cancel(self._someone(), at_period_end=True, actor="operator").charge_in_flight

    def _uncancels(self, app: Billing) -> object:
        return app.subscriptions.uncancel(self._someone(), actor="operator").state

    def _pauses(self, app: Billing) -> object:
        return app.subscriptions.pause(self._someone(), actor="operator").state

    def _resumes(self, app: Billing) -> object:
        paused = self._row(
            "SELECT id FROM billing_subscription WHERE state = 'paused' OR parked_reason IS NOT NULL ORDER BY rowid"
        )
        if paused is None or paused[0] in self._life.poisoned:
            return "nobody to resume"
        return app.subscriptions.resume(paused[0], actor="operator").state

    def _changes_card(self, app: Billing) -> object:
        someone = self._row(
            "SELECT customer_id FROM billing_subscription WHERE state NOT IN ('canceled', 'ended') ORDER BY rowid"
        )
        if someone is None:
            return "nobody is left"
        card = MAGIC_CARDS[self._random.choice(_NEW_CARDS)]
        return type(
            app.cards.add(someone[0], Card(number=card.number, expiry="2030-12", birth="900101"), actor="operator")
        ).__name__

    def _retries(self, app: Billing) -> object:
        due = self._row("SELECT id FROM billing_invoice WHERE state = 'open' ORDER BY rowid")
        return [one.name for one in app.retry([due[0]])] if due else "nothing to retry"

    def _voids(self, app: Billing) -> object:
        due = self._row("SELECT id FROM billing_invoice WHERE state = 'open' ORDER BY rowid")
        return (
            app.invoices.close(due[0], InvoiceState.VOID, reason="voided", actor="operator").state if due else "nothing to void"
        )

    def _gives_up(self, app: Billing) -> object:
        due = self._row("SELECT id FROM billing_invoice WHERE state = 'open' ORDER BY rowid")
        if due is None:
            return "nothing to give up"
        return app.invoices.close(due[0], InvoiceState.UNCOLLECTIBLE, reason="given up", actor="operator").state

    def _reprices(self, app: Billing) -> object:
        from billing.simulate.house import PLAN
        from plans.files import parse_plan

        amount = 9900 + 100 * self._random.randint(1, 9)
        return len(app.plans.apply(parse_plan(PLAN.replace("9900", str(amount)), "plans.toml"), actor="operator"))

    def _freezes(self, app: Billing) -> object:
        self._frozen = not self._frozen
        app.controls.set_freeze(is_frozen=self._frozen, reason="looking", actor="operator")
        if self._frozen:
            life = self._life
            life.stage.at(life.stage.seconds + self._random.random() * 8 * 3600, self._thaw_later)
        return "frozen" if self._frozen else "thawed"

    def _thaw_later(self) -> None:
        idle = [one for one in self._life.consoles if one.is_idle]
        if idle and not self._is_over:
            self._enters(idle[0], self._thaws)
        elif not self._is_over:
            self._life.stage.at(self._life.stage.seconds + 600.0, self._thaw_later)

    def _thaws(self, app: Billing) -> object:
        switch = app.controls.freeze()
        if switch is not None and switch.is_frozen:
            app.thaw(reason="looked", actor="operator")
        self._frozen = False
        return "thawed"

    def _rules(self, app: Billing) -> object:
        """Decide what only a human can, with the PG's console open beside it."""
        parked = self._row("SELECT id, merchant_uid, imp_uid FROM billing_attempt WHERE state = 'mismatch' ORDER BY rowid")
        if parked is not None:
            ruling = self._random.choice((Ruling.PAID, Ruling.SURPLUS))
            self._life.checker.ruled(parked[2])
            return app.attempts.resolve(parked[0], ruling, reason="seen in the console", actor="operator").state
        lost = self._row("SELECT id, merchant_uid FROM billing_attempt WHERE state = 'unknown' AND looks > 8 ORDER BY rowid")
        if lost is None:
            return "nothing to rule on"
        seen = self._life.house.db.execute("SELECT 1 FROM pg_payment WHERE merchant_uid = ? AND status <> 'failed'", (lost[1],))
        if seen.fetchone() is not None or self._life.wire.holds(lost[1]):
            return "the console shows it: nothing to rule on"
        return app.attempts.resolve(lost[0], Ruling.VOID, reason="not in the console", actor="operator").state

    def _subscribes(self, app: Billing) -> object:
        number = self._random.randrange(40)
        started = app.subscriptions.start(
            f"user-{number:02d}", self._random.choice(("monthly", "tenth", "trial")), actor="operator"
        )
        return [one.name for one in started.verdicts]

    def _looks_up(self, app: Billing) -> object:
        one = self._row("SELECT merchant_uid FROM billing_attempt ORDER BY rowid")
        return [verdict.name for verdict in app.settle([one[0]])] if one else "nothing to look up"

    def _refunds(self, app: Billing) -> object:
        """Give back a part or all of a payment; twice under one key now and then, as a host that repeats itself does."""
        paid = self._row("SELECT invoice_id, amount FROM billing_payment WHERE role = 'invoice' ORDER BY rowid")
        if paid is None:
            return "nothing to refund"
        key = f"{paid[0]}:{self._random.randrange(3)}"
        if self._random.random() < 0.3:
            return app.refunds.request(paid[0], full=True, reason="all of it", actor="operator", request_key=key).state
        part = self._random.choice((1, 100, paid[1] // 3, paid[1], paid[1] + 1, 0))
        return app.refunds.request(paid[0], amount=part, reason="a part", actor="operator", request_key=key).state

    def _asks_again_for_a_refund(self, app: Billing) -> object:
        stuck = self._row("SELECT id FROM billing_refund WHERE state <> 'done' ORDER BY rowid")
        return app.refunds.retry(stuck[0], actor="operator").state if stuck else "no refund is stuck"

    def _cancels_in_the_console(self) -> None:
        """Somebody gives money back in the PG's console; the engine hears of it later."""
        if self._is_over:
            return
        life = self._life
        kept = self._row("SELECT imp_uid, amount FROM pg_payment WHERE kept > 0 AND stem <> '' ORDER BY rowid")
        if kept is None:
            return
        amount = self._random.choice((100, kept[1]))
        body = f'{{"imp_uid": "{kept[0]}", "amount": {amount}, "reason": "console"}}'.encode()
        answer = life.sandbox.handle("POST", "/_sandbox/console/cancel", {"content-type": "application/json"}, body)
        life.trace.count("cancels in the PG's console")
        life.tell("PG", f"its console cancels {amount} of {kept[0]}: HTTP {answer.status}")
        life.checker.look(force=True)

    # --- a backup ----------------------------------------------------------------------------------

    def _backs_up(self) -> None:
        """Take a backup, and some hours or days later put it back."""
        life = self._life
        snapshot = life.house.snapshot()
        life.tell("operator", "takes a backup")
        life.stage.at(life.stage.seconds + self._random.choice((2 * 3600.0, DAY, 3 * DAY)), lambda: self._puts_back(snapshot))

    def _puts_back(self, snapshot: sqlite3.Connection) -> None:
        """Stop everything, restore the backup, adopt what the PG remembers, go on. Every request of before is dead by then."""
        if self._is_over:
            return
        life = self._life
        life.is_down = True
        for process in life.processes():
            if process.actor is not None:
                life.stage.kill(process.actor)
            process.app = process.actor = None
        life.trace.count("backups restored")
        life.tell("operator", "puts the backup back")
        life.house.restore(snapshot)
        life.checker.forgets()
        life.stage.at(life.stage.seconds + _DOWNTIME, self._adopts)

    def _adopts(self) -> None:
        """Adopt until it is done, whatever dies on the way; then explain what is left, and thaw."""
        life = self._life
        console = life.consoles[0]
        if not life.is_down:
            return
        if console.is_idle:
            console.actor = life.stage.enters(console.name, lambda: life.attempt(console, "adopts", self._adopted))
        life.stage.at(life.stage.seconds + 900.0, self._adopts)

    def _adopted(self, app: Billing) -> object:
        found = app.restore.adopt(reason="a backup was restored", actor="operator")
        life = self._life
        for finding, imp_uid in life.house.db.execute(
            "SELECT id, imp_uid FROM billing_finding WHERE explained_at IS NULL"
        ).fetchall():
            app.reconciliation.explain(finding, reason="its subscription is younger than the backup", actor="operator")
            life.checker.orphan(imp_uid)
        switch = app.controls.freeze()
        if switch is not None and switch.is_frozen:
            app.thaw(reason="adopted", actor="operator")
        life.is_down = False
        return f"adopted {len(found.adopted)}, orphans {len(found.orphans)}"

    # --- foreign hands -----------------------------------------------------------------------------

    def _foreign_hand(self) -> None:
        """Another program writes to our tables what it must not."""
        if self._is_over:
            return
        life = self._life
        favourites = life.hands if self._random.random() < 0.5 else ()
        hand = self._random.choice(favourites or HANDS)
        outcome = hand.tries(life.house.db, self._random)
        life.trace.count(f"foreign hand {outcome}")
        life.tell("foreign hand", f"{hand.name}: {outcome}")
        if outcome == "went through":
            life.checker.look(closely=True)
