"""How long we wait before we look again, and before "not found" means anything.

Every figure here is a *waiting* time; `scale` shortens them all alike, so that recovery can be
watched in seconds (refused in live mode). Time-outs of the wire are not waiting times.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

# Gaps between the looks at an unknown charge, in seconds: at once, then 5 s, 20 s, 60 s, 3, 10, 20
# and 40 minutes after the send, hourly to a day, six-hourly to three days, daily to 35 days.
# The PG documents neither a longest approval time nor a delay before a record can be seen.
_GAPS = (5, 15, 40, 2 * _MINUTE, 7 * _MINUTE, 10 * _MINUTE, 20 * _MINUTE, *(_HOUR,) * 24, *(6 * _HOUR,) * 8, *(_DAY,) * 32)
_LOOKS_IN_A_DAY = 7 + 24


@dataclass(frozen=True, slots=True)
class Patience:
    """Waiting times of leases, looks and proofs, multiplied by `scale` (1 in production)."""

    scale: float = 1.0
    lease_seconds: float = 180.0

    def _span(self, seconds: float) -> timedelta:
        return timedelta(seconds=seconds * self.scale)

    @property
    def lease(self) -> timedelta:
        """How long a claimed attempt belongs to its taker."""
        return self._span(self.lease_seconds)

    @property
    def gate(self) -> timedelta:
        """How long after the claim an armed request may still leave; later it goes back unsent.

        A bound on our own work and not a wait, so it is not scaled: the wire is as slow as ever.
        """
        return timedelta(seconds=self.lease_seconds / 3)

    @property
    def negative_gap(self) -> timedelta:
        """Two "not found" count as two only when they lie this far apart."""
        return self._span(5 * _MINUTE)

    @property
    def refusal_gap(self) -> timedelta:
        """The same for an attempt the PG refused with a text we do not know."""
        return self._span(_MINUTE)

    @property
    def admission(self) -> timedelta:
        """How long a request may still run after the token it carried was replaced."""
        return self._span(10 * _MINUTE)

    @property
    def stale(self) -> timedelta:
        """No request travels this long: dead-proof where a shared key keeps the token from ever changing."""
        return self._span(_DAY)

    @property
    def poll(self) -> timedelta:
        """How long an idle worker sleeps before it asks the database again."""
        return self._span(5)

    @property
    def breather(self) -> timedelta:
        """How long an attempt waits whose subscription was charged by another one today."""
        return self._span(_HOUR)

    @property
    def quiet(self) -> timedelta:
        """How long a notice that was looked into is only counted when it comes again."""
        return self._span(10 * _MINUTE)

    def after_postponed(self, age: timedelta) -> timedelta:
        """The wait before the PG is asked about a notice that could not be looked into: as long again as it waited so far."""
        return min(max(age, self._span(5)), self.quiet)

    @property
    def window(self) -> timedelta:
        """How long a payment window may stay open: until then nothing else collects its invoice.

        PGs close theirs after minutes; none documents how many.
        """
        return self._span(_HOUR)

    @property
    def deposit(self) -> timedelta:
        """The longest a virtual account is waited for. Its own deadline is what a browser asked for: years, if it likes."""
        return self._span(30 * _DAY)

    @property
    def deposit_grace(self) -> timedelta:
        """How long after its deadline a virtual account is still watched: a deposit of the last minute is told of later."""
        return self._span(_HOUR)

    @property
    def reconcile_every(self) -> timedelta:
        """How old the last comparison with the PG's list may be."""
        return self._span(15 * _MINUTE)

    def overlap(self, *, is_first: bool) -> timedelta:
        """How far before the last comparison's end the next one begins.

        Half an hour covers two clocks and a list that lags; the first one of a process goes two days back, because
        nobody knows what happened to the database in between. Never under a minute: the PG counts whole seconds.
        """
        return max(self._span(48 * _HOUR if is_first else 30 * _MINUTE), timedelta(minutes=1))

    def after_look(self, looks: int) -> timedelta:
        """The wait after look number `looks` (0 is the one right after the send)."""
        return self._span(_GAPS[min(looks, len(_GAPS) - 1)])

    def after_unsent(self, wire_count: int) -> timedelta:
        """The wait before a request that provably never left is tried again: 5 s doubling to 10 minutes."""
        return self._span(min(5 * 2 ** min(wire_count, 10), 10 * _MINUTE))

    def asks_for_a_human(self, looks: int) -> bool:
        """True at the one look that marks a day without an answer."""
        return looks == _LOOKS_IN_A_DAY

    def is_given_up(self, looks: int) -> bool:
        """True once 35 days of looks have brought nothing."""
        return looks >= len(_GAPS)
