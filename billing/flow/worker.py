"""One pass over everything due, and the loop that a tick wakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple

from billing.domain.policy import Policy
from billing.errors import BillingError, Frozen
from billing.flow.charging import Charging
from billing.flow.heeding import Heeding
from billing.flow.refunding import Refunding
from billing.flow.registration import Registration
from billing.flow.renewal import Renewal
from billing.flow.resolution import Resolution
from billing.store.agenda import Due
from billing.store.unit import Store


class Worker:
    """Renewals, retries, notices, unknown outcomes and refunds, in that order, batch by batch.

    Several lanes are several workers in one process: they compete for rows exactly as processes do,
    so that one lane's database work fills the time another waits for the PG.
    """

    def __init__(
        self,
        store: Store,
        renewal: Renewal,
        charging: Charging,
        resolution: Resolution,
        refunding: Refunding,
        registration: Registration,
        heeding: Heeding,
        policy: Policy,
        *,
        lanes: int = 1,
    ) -> None:
        self._store = store
        self._renewal = renewal
        self._charging = charging
        self._resolution = resolution
        self._refunding = refunding
        self._registration = registration
        self._heeding = heeding
        self._policy = policy
        self._lanes = lanes

    def renew(self, limit: int | None = None) -> Counter[str]:
        """One pass over everything due now; returns how many verdicts of each name it brought.

        `limit` bounds the subscriptions, the invoices, the unknown outcomes and the refunds taken, each by itself.

        Raises:
            Frozen, GatewayError, DatabaseUnavailable: the pass stopped there; what was done stays done.
        """
        first = self._seen()
        total = self._passed(_Budget(limit), first)
        if first.due.cards:
            self._registration.sweep()
        return total

    def _passed(self, budget: _Budget, first: _Sight) -> Counter[str]:
        if self._lanes == 1:
            return self._lane(budget, first)
        total: Counter[str] = Counter()
        with ThreadPoolExecutor(self._lanes, thread_name_prefix="lane") as pool:
            failures: list[BillingError] = []
            for future in [pool.submit(self._lane, budget, first) for _ in range(self._lanes)]:
                try:
                    total += future.result()
                except BillingError as error:
                    failures.append(error)
        if failures:
            raise failures[0]
        return total

    def _lane(self, budget: _Budget, first: _Sight) -> Counter[str]:
        counts: Counter[str] = Counter()
        done, due, may_charge = 0, first.due, first.may_charge

        def looked() -> Due:
            """What is due; looked at again once anything was done, because that may have made more due."""
            nonlocal done, due
            if counts.total() != done:
                done, due = counts.total(), self._seen().due
            return due

        frozen: Frozen | None = None
        while may_charge and frozen is None and not self._charging.stopping.is_set():
            opened = self._take(budget, "opened", self._renewal.open_due) if looked().subscriptions else 0
            counts["opened"] += opened
            try:
                # Frozen, it is asked whatever is due: it says so.
                charged = self._charge(budget, counts) if opened or due.invoices or due.is_frozen else 0
            except Frozen as error:
                # A freeze stops sends, never settlement: what is undecided is still looked up below.
                frozen, done = error, -1  # how far it came nobody knows: look again
                break
            if not opened and not charged:
                break
            # A day's renewals take minutes, and what somebody waits for at a browser is heard of through the inbox.
            if looked().notices:
                counts += self._heeding.heed(self._policy.batch)
        if looked().notices:
            counts += self._heeding.heed(self._policy.batch)
        while looked().attempts and not self._charging.stopping.is_set():
            size = budget.take("resolved", self._policy.batch)
            try:
                verdicts = self._resolution.resolve(size) if size else []
            except Frozen as error:
                # One that may not be sent must not hide what refunds came to, either.
                frozen, done = error, -1
                break
            counts.update(one.name for one in verdicts)
            budget.give_back("resolved", size - len(verdicts))
            if not verdicts:
                break
        while looked().refunds and not self._charging.stopping.is_set() and self._refund(budget, counts):
            pass
        if frozen is not None:
            raise frozen
        return +counts

    def _seen(self) -> _Sight:
        """One glance at the agenda: an idle pass costs this and no more."""
        with self._store.read() as tx:
            return _Sight(tx.agenda.due(tx.now, tx.business_now), self._policy.charges_at(tx.business_now))

    def _charge(self, budget: _Budget, counts: Counter[str]) -> int:
        size = budget.take("charged", self._policy.batch)
        verdicts = self._charging.charge_due(size) if size else []
        counts.update(one.name for one in verdicts)
        budget.give_back("charged", size - len(verdicts))
        return len(verdicts)

    def _refund(self, budget: _Budget, counts: Counter[str]) -> int:
        # One at a time: each is a wire call of its own, and its lease begins when it is taken.
        size = budget.take("refunded", 1)
        verdicts = self._refunding.take_up(size)
        counts.update(one.name for one in verdicts)
        budget.give_back("refunded", size - len(verdicts))
        return len(verdicts)

    def _take(self, budget: _Budget, what: str, step: Callable[[int], int]) -> int:
        size = budget.take(what, self._policy.batch)
        done = step(size) if size else 0
        budget.give_back(what, size - done)
        return done


class _Sight(NamedTuple):
    """What steps can be taken for, and whether the hour allows charging."""

    due: Due
    may_charge: bool


class _Budget:
    """What is left of `--limit`, shared by the lanes."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._used: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, what: str, wanted: int) -> int:
        with self._lock:
            granted = wanted if self._limit is None else max(0, min(wanted, self._limit - self._used[what]))
            self._used[what] += granted
            return granted

    def give_back(self, what: str, unused: int) -> None:
        with self._lock:
            self._used[what] -= unused
