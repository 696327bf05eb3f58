"""Drive time: day by day, renewals in the morning, people during the day, late looks when they are due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path

from sqlalchemy import func, select

from billing.app import Billing
from billing.clock import ManualClock
from billing.demo.folder import DATABASE, INSTANCE, PG
from billing.demo.people import OPENS_ON, SEOUL, Deed, Plastic, Step, Subscriber, days_between, ends_on, moment
from billing.domain.customer import BillingKey
from billing.errors import RuleError
from billing.gateway.card import Card
from billing.ids import SeededIds
from billing.sandbox import MAGIC_CARDS, Sandbox
from billing.settings import Settings
from billing.store.tables import attempt, outbox_event
from plans.files import read_plan_file

HOST = "demo shop"
"""Who acts: the actor in the audit trail."""
MORNING, EVENING = time(10, 0), time(21, 59)
PLAN_FILES = sorted((Path(__file__).parent / "plans").glob("*.toml"))

_WEATHER = (("lost_reply", 0.006), ("error_after_approval", 0.003), ("lost_request", 0.001), ("lookup_lag", 0.003))
"""What happens to anybody's charge now and then, with how often."""

_HOUSE_RULES: dict[str, object] = {
    "time_zone": "Asia/Seoul",
    "charge_hours": "09:00-22:00",
    "dunning_days": "1,3,5,7",
    "dunning_end": "cancel",
    "time_scale": 1.0,
    "lease_seconds": 180.0,
    "catch_up": "latest",
    "imp_key": "",
    "imp_secret": "",
    "pg": "",
    "instance_secret": "",
}
"""What the environment could change is fixed here: the same seed must tell the same story everywhere."""


@dataclass(frozen=True, slots=True)
class Today:
    """Where the simulation stands: the day that has just passed, and the verdicts so far."""

    day: date
    number: int
    of: int
    verdicts: Counter[str]
    joined: int


@dataclass(slots=True)
class Year:
    """One shop, its subscribers and its calendar.

    Use it as a context manager; then iterate `days()` to the end, then call `close_books()`.
    """

    people: Sequence[Subscriber]
    months: int
    seed: int
    folder: Path
    verdicts: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    clock: ManualClock = field(init=False)
    sandbox: Sandbox = field(init=False)
    app: Billing = field(init=False)
    _diary: dict[date, list[tuple[datetime, int, Subscriber, Step]]] = field(default_factory=dict)
    _subscriptions: dict[str, str] = field(default_factory=dict)
    _card_now: dict[str, str] = field(default_factory=dict)
    _customers: dict[str, Subscriber] = field(default_factory=dict)
    _heard: str = ""
    _planned: int = 0

    def __post_init__(self) -> None:
        self.clock = ManualClock(moment(OPENS_ON, 9))
        self.sandbox = Sandbox(
            str(self.folder / PG), seed=self.seed, now=lambda: self.clock.now().timestamp(), sleep=self.clock.sleep
        )
        settings = Settings.from_env(
            mode="sandbox",
            database_url=f"sqlite:///{self.folder / DATABASE}",
            instance_file=self.folder / INSTANCE,
            gateway_url="",
            faults="",
            **_HOUSE_RULES,
        )
        self.app = Billing(settings, clock=self.clock, sandbox=self.sandbox, new_id=SeededIds(self.seed, self.clock), actor=HOST)
        for one in self.people:
            for step in one.steps:
                self._plan(one, step)

    def __enter__(self) -> Year:
        return self

    def __exit__(self, *_: object) -> None:
        self.app.close()
        self.sandbox.close()

    @property
    def last_day(self) -> date:
        """The day the demo ends."""
        return ends_on(self.months)

    @property
    def calendar(self) -> Sequence[date]:
        """Every day of the demo."""
        return days_between(OPENS_ON, self.last_day)

    def days(self) -> Iterator[Today]:
        """Open the shop and live through every day; yields after each."""
        self.app.init()
        for file in PLAN_FILES:
            self.app.plans.apply(read_plan_file(file), actor=HOST)
        for name, rate in _WEATHER:
            self.sandbox.add_fault(name, rate=rate, value="90s" if name == "lookup_lag" else None)
        for number, day in enumerate(self.calendar, 1):
            self._live(day)
            yield Today(day, number, len(self.calendar), self.verdicts, len(self._subscriptions))

    def close_books(self) -> None:
        """Look once more at what failed today: an approval that came late is still today's money.

        Every other day the next morning's probe finds it; after the last there is no morning.
        """
        self.clock.sleep(300)
        with self.app.store.read() as tx:
            recent = select(attempt.c.merchant_uid).where(
                attempt.c.state == "declined", attempt.c.moved_at >= self.clock.now() - timedelta(days=1)
            )
            uids = list(tx.connection.execute(recent.order_by(attempt.c.merchant_uid)).scalars())
        self.verdicts.update(one.name for one in self.app.settle(uids))

    def leave_clock(self, real_now: datetime) -> None:
        """Let whoever goes on by command line find both clocks where the demo left them."""
        end = self.clock.now()
        self.app.controls.set_clock(end, actor=HOST)
        body = f'{{"seconds": {(end - real_now).total_seconds():.0f}}}'.encode()
        self.sandbox.handle("POST", "/_sandbox/clock", {"content-type": "application/json"}, body)

    # --- one day ---------------------------------------------------------------------------------

    def _live(self, day: date) -> None:
        todo = self._diary.pop(day, [])
        morning = datetime.combine(day, MORNING, SEOUL)
        for at, _, one, step in sorted(todo, key=lambda entry: entry[:2]):
            if at >= morning:
                break
            self._move_to(at)
            self._act(one, step)
        self._move_to(morning)
        self._renew(day)
        # People act in the order of the day; what they do may plan something later today.
        done = morning
        for at, _, one, step in sorted(todo, key=lambda entry: entry[:2]):
            if at < morning:
                continue
            self._move_to(at)
            if self._act(one, step):
                self._renew(day)
            else:
                self._look_later(day)
            done = at
        self._move_to(done)

    def _move_to(self, at: datetime) -> None:
        if at > self.clock.now():
            self.clock.set(at)

    def _renew(self, day: date) -> None:
        """A pass over everything due, then the looks that fall due today."""
        self.verdicts.update(self.app.renew())
        self._look_later(day)
        self._listen()

    def _look_later(self, day: date) -> None:
        """Take the looks at unknown outcomes when they are due, as a worker that waits for them would."""
        evening = datetime.combine(day, EVENING, SEOUL)
        while (wake_at := self._next_wake()) is not None and wake_at <= evening:
            self._move_to(wake_at)
            self.verdicts.update(self.app.renew())

    def _next_wake(self) -> datetime | None:
        with self.app.store.read() as tx:
            return tx.connection.execute(select(func.min(attempt.c.wake_at)).where(attempt.c.wake_at.is_not(None))).scalar()

    def _listen(self) -> None:
        """The shop reads its events: who is asked for another card answers, or does not."""
        query = select(outbox_event.c.id, outbox_event.c.customer_id).where(
            outbox_event.c.topic == "invoice.needs_card", outbox_event.c.id > self._heard
        )
        with self.app.store.read() as tx:
            rows = tx.connection.execute(query.order_by(outbox_event.c.id)).all()
        for row in rows:
            self._heard = row.id
            one = self._customers[row.customer_id]
            if one.answers_after_days is not None:
                at = self.clock.now().astimezone(SEOUL) + timedelta(days=one.answers_after_days, hours=2)
                self._plan(one, Step(at, Deed.NEW_CARD, cards=(Plastic(),)))

    # --- people ----------------------------------------------------------------------------------

    def _plan(self, one: Subscriber, step: Step) -> None:
        self._planned += 1
        self._diary.setdefault(step.at.astimezone(SEOUL).date(), []).append((step.at, self._planned, one, step))

    def _act(self, one: Subscriber, step: Step) -> bool:
        """Do what the step says; True when something may be due at once. A wish against the rules is noted, not forced."""
        if step.deed is Deed.JOIN:
            self._join(one, step)
            return False
        id = self._subscriptions.get(one.external_id)
        if id is None:
            return False
        verbs = self.app.subscriptions
        try:
            match step.deed:
                case Deed.TROUBLE:
                    uid = self._card_now[one.external_id]
                    for trouble in step.troubles:
                        self.sandbox.add_fault(trouble.fault, times=trouble.times, value=trouble.value, customer_uid=uid)
                    return False
                case Deed.NEW_CARD:
                    self._register(one, step.cards)
                case Deed.CANCEL_AT_END:
                    verbs.cancel(id, at_period_end=True, actor=HOST)
                case Deed.CANCEL_NOW:
                    verbs.cancel(id, at_period_end=False, actor=HOST)
                case Deed.UNCANCEL:
                    verbs.uncancel(id, actor=HOST)
                case Deed.PAUSE:
                    verbs.pause(id, actor=HOST)
                case Deed.RESUME:
                    verbs.resume(id, actor=HOST)
        except RuleError as error:
            self.refused.append(f"{step.at:%Y-%m-%d} {one.external_id} {step.deed}: {error.problem}")
            return False
        return step.deed in (Deed.NEW_CARD, Deed.RESUME)

    def _join(self, one: Subscriber, step: Step) -> None:
        customer = self.app.customers.add(one.external_id, name=one.name, email=one.email, tel=one.tel, actor=HOST)
        self._customers[customer.id] = one
        self._register(one, step.cards)
        started = self.app.subscriptions.start(
            one.external_id,
            one.price,
            quantity=one.quantity,
            start_on=one.start_on,
            trial_days=one.trial_days,
            actor=HOST,
        )
        self._subscriptions[one.external_id] = started.subscription_id
        self.verdicts.update(verdict.name for verdict in started.verdicts)

    def _register(self, one: Subscriber, cards: Sequence[Plastic]) -> None:
        """Type cards in until the PG takes one."""
        for plastic in cards:
            number = MAGIC_CARDS[plastic.behaviour].number
            key = self.app.cards.add(one.external_id, Card(number=number, expiry=plastic.expiry), actor=HOST)
            if isinstance(key, BillingKey):
                self._card_now[one.external_id] = key.customer_uid
                return
