"""Virtual time, and everybody who moves in it: one at a time, and a seed decides who.

An actor is a greenlet: a worker's pass, an operator's command, a request on its way through the PG. It runs until it
waits (for the wire, for a lock-free moment of the scheduler, for time), and only there can others move, time pass, or
the actor die. Between two waits nothing happens to it, exactly as inside a transaction nothing may.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet


class Died(BaseException):
    """The process of this actor is gone. No handler of the engine may catch it, as none catches SIGKILL."""


class Actor:
    """One greenlet on the stage."""

    def __init__(self, stage: Stage, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self.is_over = False
        self.has_failed = False
        """It died, or ended with an error: what it heard last may be written nowhere."""
        self._turn = 0
        self._stage = stage
        self._greenlet = greenlet(self._run, stage.hub)
        self._work = work

    def _run(self) -> None:
        try:
            self._work()
        except Died:
            self.has_failed = True
            self._stage.tell(self.name, "is dead")
        finally:
            self.is_over = True


class Stage:
    """The clock and the queue of what happens when.

    Args:
        start: Unix seconds at which time begins.
        random: decides who goes first among those who may.
        tell: hears who did what, in words.
        assert_calm: called before anyone gives way; raises where that would leave a transaction open.
    """

    def __init__(
        self, start: float, random: Random, *, tell: Callable[[str, str], None], assert_calm: Callable[[str], None]
    ) -> None:
        self.seconds = start
        self.tell = tell
        self.current: Actor | None = None
        self._start = start
        self._random = random
        self._assert_calm = assert_calm
        self.hub = getcurrent()
        self._queue: list[tuple[float, float, int, Callable[[], None]]] = []
        self._count = 0

    # --- for the simulator ---------------------------------------------------------------------

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Let `what` happen at this instant; of several at one instant, the seed says which comes first."""
        self._count += 1
        heapq.heappush(self._queue, (max(seconds, self.seconds), self._random.random(), self._count, what))

    def enters(self, name: str, work: Callable[[], object], *, at: float | None = None) -> Actor:
        """A new actor begins `work` at this instant, now by default."""
        actor = Actor(self, name, work)
        self.at(self.seconds if at is None else at, lambda: self._resume(actor, 0, None))
        return actor

    def run_until(self, seconds: float) -> None:
        """Let everything happen that is to happen up to this instant, which it then is."""
        while self._queue and self._queue[0][0] <= seconds:
            self.seconds, _, _, what = heapq.heappop(self._queue)
            what()
        self.seconds = max(self.seconds, seconds)

    def next_at(self) -> float | None:
        """When something happens next; None where nothing is to come."""
        return self._queue[0][0] if self._queue else None

    def wake(self, actor: Actor, turn: int, value: Any) -> None:
        """End the wait number `turn` of an actor with this value, unless it has ended already."""
        self.at(self.seconds, lambda: self._resume(actor, turn, value))

    def kill(self, actor: Actor) -> None:
        """End an actor where it waits."""
        if actor.is_over:
            return
        self.current, before = actor, self.current
        actor.is_over = True
        if actor._greenlet:
            actor._greenlet.throw(Died())
        self.current = before

    def _resume(self, actor: Actor, turn: int, value: Any) -> None:
        if actor.is_over or actor._turn != turn:
            return
        self.current = actor
        actor._turn += 1
        actor._greenlet.switch(*() if turn == 0 else (value,))
        self.current = None

    # --- for actors ----------------------------------------------------------------------------

    def turn(self) -> tuple[Actor, int]:
        """The actor that is moving, and the number of its next wait, for whoever shall `wake` it."""
        assert self.current is not None, "only an actor can wait"
        return self.current, self.current._turn

    def wait(self, seconds: float, where: str) -> Any:
        """Give way until somebody wakes this actor, or None this many seconds later."""
        actor, turn = self.turn()
        if actor.is_over:
            raise Died
        self._assert_calm(where)
        self.at(self.seconds + seconds, lambda: self._resume(actor, turn, None))
        return self.hub.switch()

    # --- the port `Clock` ----------------------------------------------------------------------

    def now(self) -> datetime:
        """The current instant, in UTC."""
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        """Seconds since time began."""
        return self.seconds - self._start

    def sleep(self, seconds: float) -> None:
        """Let others move for this long."""
        self.wait(max(seconds, 0.0), "asleep")
