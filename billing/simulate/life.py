"""One seed: sixty days of a merchant to whom everything happens, and a calm in which everything must come right."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from random import Random

from billing import fault
from billing.app import Billing
from billing.errors import BillingError
from billing.ids import SeededIds
from billing.sandbox import Sandbox, SandboxConfig
from billing.simulate.buyers import Buyers
from billing.simulate.checker import Checker
from billing.simulate.foreign import Hand
from billing.simulate.host import Host
from billing.simulate.house import CUSTOMERS, PRICES, SECRET, START, House
from billing.simulate.mischief import Mischief
from billing.simulate.stage import Actor, Died, Stage
from billing.simulate.trace import Trace
from billing.simulate.wire import Weather, Wire

DAY = 86_400.0
CALM_DAYS = 3
_KST = timezone(timedelta(hours=9))
_OPENS, _CLOSES = 9, 22

_DUE = """
SELECT min(at) FROM (
    SELECT min(due_at) AS at FROM billing_subscription UNION ALL SELECT min(next_attempt_at) FROM billing_invoice
    UNION ALL SELECT min(wake_at) FROM billing_attempt WHERE state = 'planned')
"""
_DOUBTFUL = """
SELECT min(at) FROM (
    SELECT min(wake_at) AS at FROM billing_attempt WHERE state IN ('sending', 'unknown')
    UNION ALL SELECT min(wake_at) FROM billing_refund UNION ALL SELECT min(wake_at) FROM billing_webhook_inbox)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed."""

    seed: int
    digest: str
    broken: tuple[str, ...]
    counts: dict[str, int]


@dataclass(slots=True)
class Process:
    """One engine process: a worker or an operator's console. Its memory is its engine's; it dies with it."""

    name: str
    app: Billing | None = None
    actor: Actor | None = None

    @property
    def is_idle(self) -> bool:
        """True when nothing of it is under way."""
        return self.actor is None or self.actor.is_over


@dataclass
class Temper:
    """How hard this seed is on everybody; probabilities per fault point and per commit."""

    dies: float
    stalls: float
    commit_fails: float


@dataclass
class Life:
    """One seed's merchant, his workers, his PG and his bad luck.

    `hands` are foreign hands that come more often than others: those whose guard is switched off.
    """

    house: House
    seed: int
    days: int = 60
    show: Callable[[str], None] | None = None
    hands: Sequence[Hand] = ()
    workers: list[Process] = field(default_factory=list)
    consoles: list[Process] = field(default_factory=list)
    poisoned: list[str] = field(default_factory=list)
    is_calm: bool = False
    is_down: bool = False
    address: Process = field(default_factory=lambda: Process("webhook"))
    consumer: Process = field(default_factory=lambda: Process("consumer"))
    webs: list[Process] = field(default_factory=lambda: [Process("web-1"), Process("web-2")])

    def __post_init__(self) -> None:
        random = self.random = Random(f"life|{self.seed}")
        self.trace = Trace(self.show)
        self.start = START.timestamp()
        self.stage = Stage(
            self.start,
            Random(f"stage|{self.seed}"),
            tell=self.tell,
            assert_calm=self._assert_calm,
        )
        self.sandbox = Sandbox(
            image=self.house.pg_image,
            seed=self.seed,
            now=lambda: self.stage.seconds,
            sleep=lambda seconds: self.stage.sleep(seconds),
            config=_character(random),
            deliver=lambda notice: self.host.hears(notice),
            ask=lambda _url, body: self.buyers.confirms(body),
        )
        self.house.reset()
        self.checker = Checker(
            self.house.db,
            changes=self.sandbox.changed_since,
            prefix=self.house.prefix,
            secret=SECRET,
            now=lambda: self.stage.seconds,
        )
        self.wire = Wire(
            stage=self.stage,
            sandbox=self.sandbox,
            random=Random(f"wire|{self.seed}"),
            trace=self.trace,
            watcher=self.checker,
            after=self.after_money,
            weather=_weather(random),
        )
        hard = random.choice((0.3, 1.0, 1.0, 2.5))
        self.temper = Temper(dies=0.006 * hard, stalls=0.008 * hard, commit_fails=0.002 * hard)
        self.new_id = SeededIds(self.seed, self.stage)
        self.workers = [Process(f"worker-{number}") for number in range(1, random.choice((1, 2, 2, 3, 4)) + 1)]
        self.consoles = [Process(f"console-{number}") for number in (1, 2)]
        self._patience = 900.0
        self.host = Host(self)
        self.mischief = Mischief(self)
        self.buyers = Buyers(self, self.webs)

    # --- the course of it ----------------------------------------------------------------------

    def live(self) -> Outcome:
        """Live through it, and say what broke."""
        fault.visit(self._visited)
        self.house.on_commit(self._committing)
        try:
            self._live()
            self.heal()
            self._sum_up()
        finally:
            fault.visit(None)
            self.house.on_commit(None)
            self.sandbox.close()
        return Outcome(self.seed, self.trace.digest, tuple(self.checker.broken), dict(self.trace.counts))

    def _live(self) -> None:
        self.tell("merchant", f"opens with {len(self.workers)} workers")
        self._subscribe()
        self.mischief.begin()
        self.buyers.begin()
        self.stage.at(self.stage.seconds, self._tick)
        self.host.listens()
        for day in range(1, self.days + 1):
            self.stage.run_until(self.start + day * DAY)
            self.checker.look(closely=True)
            if self.checker.broken:
                return
        self._calm_down()
        for day in range(1, CALM_DAYS + 1):
            self.stage.run_until(self.start + (self.days + day) * DAY)
            if self.checker.broken:
                return
        # Here workers wake when rows are due. A scheduler never sleeps so long, and sees what only the PG's list shows.
        for _ in range(2):
            last = self.workers[0]
            last.actor = self.stage.enters(last.name, partial(self._pass, last))
            self.stage.run_until(self.stage.seconds + 600.0)
        self.host.catches_up()
        self.stage.run_until(self.stage.seconds + 60.0)
        self.checker.look_at_rest()

    def _sum_up(self) -> None:
        """Count what happened, as far as it was not counted on the way."""
        (renewals,) = self.house.db.execute("SELECT count(*) FROM billing_invoice WHERE state = 'paid'").fetchone()
        self.trace.count("invoices paid", renewals)
        self.trace.count("checks", self.checker.checks)
        self.trace.count("days", round((self.stage.seconds - self.start) / DAY))

    def _subscribe(self) -> None:
        """Who pays for what: a few start together, as they do, so that a morning has company."""
        random = self.random
        size = random.choices((random.randint(5, 6), random.randint(7, 15), random.randint(16, CUSTOMERS)), (85, 12, 3))[0]
        app = self.process("host")
        days = [random.randint(0, 12) for _ in range(2)] + [21]
        customers = random.sample(range(CUSTOMERS), size)
        prices = [*(random.choice(PRICES) for _ in customers)]
        if random.random() < 0.05:
            prices[0] = "daily"
        for customer, price in zip(customers, prices, strict=True):
            begin = (START + timedelta(hours=9, days=1 + random.choice(days))).date()
            app.subscriptions.start(f"user-{customer:02d}", price, start_on=begin, actor="host")
            self.tell("host", f"user-{customer:02d} subscribes to {price} from {begin}")

    def after_money(self) -> None:
        """The PG has moved money: the books are checked, and its courier goes round soon."""
        self.checker.look()
        self.stage.at(self.stage.seconds + self.random.random() * 10, self.host.post)

    def processes(self) -> list[Process]:
        """Everybody who can die."""
        return [*self.workers, *self.consoles, self.address, self.consumer, *self.webs]

    def _tick(self) -> None:
        """Wake workers where something is due, and come back when something will be."""
        self.host.post()
        due = self.next_due()
        if self.is_down:
            wait = 600.0
        elif due is not None and due <= self.stage.seconds:
            idle = [one for one in self.workers if one.is_idle]
            many = self.random.choices((1, 2, len(idle)), (80, 15, 5))[0]
            for worker in self.random.sample(idle, min(many, len(idle))):
                worker.actor = self.stage.enters(
                    worker.name, partial(self._pass, worker), at=self.stage.seconds + self.random.random()
                )
            if self._charges_are_due():
                self.mischief.while_they_work()
                self.buyers.while_they_work()
            wait = self._patience * (0.5 + 2 * self.random.random())
            self._patience = min(self._patience * 3, 4 * 3600.0)
        else:
            if due is not None:
                self.buyers.before(due)
            wait = (due if due is not None else self.stage.seconds + DAY) - self.stage.seconds + self._lateness(due)
        self.stage.at(self.stage.seconds + min(max(wait, 1.0), DAY), self._tick)

    def _lateness(self, due: float | None) -> float:
        """How much later than it might a tick comes: seconds mostly; where only a doubt is to be looked at, hours often."""
        (charge,) = self.house.db.execute(_DUE).fetchone()
        is_charge = charge is not None and due == _in_hours(_seconds(charge))
        return (
            self.random.random() * self.random.choices((60.0, 1800.0, 10 * 3600.0), (75, 22, 3) if is_charge else (15, 30, 55))[0]
        )

    def _charges_are_due(self) -> bool:
        (due,) = self.house.db.execute(_DUE).fetchone()
        return due is not None and _seconds(due) <= self.stage.seconds

    def next_due(self) -> float | None:
        """When a worker has something to do next."""
        (due,) = self.house.db.execute(_DUE).fetchone()
        (doubtful,) = self.house.db.execute(_DOUBTFUL).fetchone()
        found = [_in_hours(_seconds(due))] if due else []
        found += [_seconds(doubtful)] if doubtful else []
        return min(found) if found else None

    def _pass(self, worker: Process) -> None:
        """One pass of one worker, as its scheduler would make it."""
        began, was_due = self.stage.seconds, self.checker.due()
        outcome = self.attempt(worker, "a pass", lambda app: dict(app.renew()))
        self.trace.count("passes")
        if isinstance(outcome, dict):
            for verdict, times in outcome.items():
                self.trace.count(f"verdict {verdict}", times)
            if outcome:
                self._patience = 900.0
            if self._is_open(began) and self._is_open(self.stage.seconds):
                self.checker.completed_pass(was_due, self.poisoned)
        self.checker.look()

    def attempt(self, process: Process, what: str, deed: Callable[[Billing], object]) -> object:
        """Let a process do something, and tell how it ended; its death ends this actor."""
        try:
            process.app = process.app or self.process(process.name)
            outcome = deed(process.app)
        except Died:
            process.app = None
            self.trace.count("deaths")
            raise
        except BillingError as error:
            self.stage.turn()[0].has_failed = True
            self.trace.count(f"said {type(error).__name__}")
            self.tell(process.name, f"{what}: {error}")
            return error
        except Exception as error:  # noqa: BLE001 — that it happens at all is what must be known
            self.checker.broken.append(f"I23: {what} ended with {type(error).__name__}: {error}")
            return error
        self.tell(process.name, f"{what}: {outcome}")
        return outcome

    def process(self, name: str) -> Billing:
        """A fresh engine process on the same database, PG and clock."""
        return Billing(
            self.house.settings,
            clock=self.stage,
            engine=self.house.engine,
            wire=self.wire,
            new_id=self.new_id,
            actor=name,
            lanes=1,
        )

    def _calm_down(self) -> None:
        """From here on nothing goes wrong any more; what went wrong must come right."""
        self.tell("merchant", "calm")
        self.is_calm = True
        self.wire.calm()
        self.heal()
        self.temper = Temper(0.0, 0.0, 0.0)
        self.mischief.ends()
        self.buyers.ends()

    def heal(self) -> None:
        """The PG behaves again; what it did until now is counted."""
        for fault_ in self.sandbox.faults():
            self.trace.count(f"PG {fault_['name']}", fault_["hits"])
        self.sandbox.clear_faults()

    # --- what can happen to a process ----------------------------------------------------------

    def _visited(self, point: str) -> None:
        """A fault point: go on, stand still for a while, or die."""
        actor = self.stage.current
        if actor is None:
            return
        if actor.is_over:
            raise Died
        dice = self.random.random()
        if dice < self.temper.dies:
            self.trace.count(f"death at {point}")
            self.tell(actor.name, f"dies at {point}")
            raise Died
        if dice < self.temper.dies + self.temper.stalls and not self.house.is_busy:
            seconds = self.random.choice((5.0, 60.0, 200.0, 600.0, 1200.0, 4000.0, 20000.0)) * (0.5 + self.random.random())
            self.trace.count(f"stall at {point}")
            self.tell(actor.name, f"stands still at {point} for {seconds:.0f} s")
            self.stage.wait(seconds, f"stopped at {point}")

    def _committing(self, commit: Callable[[], None]) -> None:
        """A COMMIT: it works, it fails, or it works and nobody hears of it."""
        actor = self.stage.current
        if actor is None or self.random.random() >= self.temper.commit_fails:
            commit()
            return
        is_done = self.random.random() < 0.6
        self.trace.count("commit answer lost" if is_done else "commit failed")
        self.tell(actor.name, "COMMIT is done, its answer is lost" if is_done else "COMMIT fails")
        if is_done:
            commit()
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    def _assert_calm(self, where: str) -> None:
        """I22: no transaction is open while anybody waits. Breaks when the wire is asked inside one."""
        if self.house.is_busy:
            self.checker.broken.append(f"I22: a transaction is open while its process is {where}")
            raise Died

    def tell(self, who: str, what: str) -> None:
        """Add a line to the story."""
        self.trace.tell(self.stage.seconds if hasattr(self, "stage") else self.start, who, what)

    def _is_open(self, seconds: float) -> bool:
        return _OPENS <= datetime.fromtimestamp(seconds, _KST).hour < _CLOSES


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _in_hours(seconds: float) -> float:
    """The same instant, or when charging opens next."""
    local = datetime.fromtimestamp(seconds, _KST)
    if _OPENS <= local.hour < _CLOSES:
        return seconds
    opens = local.replace(hour=_OPENS, minute=0, second=0, microsecond=0)
    return (opens if local < opens else opens + timedelta(days=1)).astimezone(UTC).timestamp()


def _weather(random: Random) -> Weather:
    """The network of one seed: some have a good one, some a terrible one."""
    hard = random.choice((0.0, 0.5, 1.0, 1.0, 2.0))
    return Weather(
        refused=0.02 * hard, lost=0.04 * hard, late=0.06 * hard, doubled=0.03 * hard, deaf=0.06 * hard, garbled=0.01 * hard,
        looks=0.01 * hard,
    )  # fmt: skip


def _character(random: Random) -> SandboxConfig:
    """The PG of one seed where its documents are silent: the worst answer mostly, another now and then."""

    def rarely() -> bool:
        return random.random() < 0.12

    return SandboxConfig(
        refuses_paid_uid=rarely(),
        dedupes_in_flight=rarely(),
        failed_uid_reusable=not rarely(),
        uid_ignores_case=not rarely(),
        find_lag_seconds=random.choice((0.0, 0.0, 0.0, 2.0, 30.0)),
        batch_lists_every_record=rarely(),
        partial_cancel_status="paid" if rarely() else "cancelled",
        rate_limit_body="envelope" if rarely() else "html",
        approval_seconds=random.choice((0.0, 0.0, 0.5, 3.0)),
        unknown_customer_is_404=random.random() < 0.5,
        unauthorized_code=random.choice((-1, 1)),
        not_found_code=random.choice((-1, 1)),
        late_card_seconds=random.choice((60.0, 4000.0)),
        closed_window_leaves=random.choice(("ready", "ready", "failed", "none")),
        window_refuses_ready_uid=rarely(),
        window_refuses_failed_uid=rarely(),
    )
