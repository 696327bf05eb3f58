"""The network between the engine and the PG, in virtual time, and everything a network can do to a request.

A request is a parcel: it leaves its sender, arrives once, twice, late or never, and its answer travels back whether or
not anybody waits for it still. The PG serves each arrival in an actor of its own, so that a slow approval keeps nobody
waiting but its client, and so that a request outlives the process that sent it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, Protocol

from billing.sandbox import ConnectionLost, ConnectionRefused, Sandbox
from billing.sandbox.wire import Answer
from billing.simulate.stage import Actor, Stage
from billing.simulate.trace import Trace

READ_SECONDS = 75.0
"""How long a client waits for an answer, as the gateway does on a real wire."""

MONEY = ("/subscribe/payments/again", "/payments/cancel")
"""What moves money; the rest are looks."""

_REORDERED = (60.0, 4 * 3600.0)


class Weather(NamedTuple):
    """How probable each mishap is for one request; all zero is a calm sea."""

    refused: float = 0.0  # no connection
    lost: float = 0.0  # never arrives
    late: float = 0.0  # arrives minutes or hours after its client gave up
    doubled: float = 0.0  # a proxy sends the same bytes again, up to a minute later
    deaf: float = 0.0  # the answer is lost
    garbled: float = 0.0  # the answer is cut in half
    looks: float = 0.0  # any of these, for a look-up


CALM = Weather()


@dataclass(slots=True)
class Parcel:
    """One request on its way. `sent_at` is when its last byte left the client."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    sender: str
    sent_at: float
    is_copy: bool = False
    is_late: bool = False
    waiter: tuple[Actor, int] | None = None
    answer: Answer | None = None

    @property
    def path(self) -> str:
        """The call, without its query."""
        return self.target.partition("?")[0]


class Watcher(Protocol):
    """Who is told of every money request as it reaches the PG, and of what came of it."""

    def arrives(self, parcel: Parcel) -> object:
        """The PG is about to serve `parcel`; what this returns is given back to `served`."""
        ...

    def heard(self, parcel: Parcel, answer: Answer, by: Actor) -> None:
        """Its answer reached the process that asked, whole."""
        ...

    def served(self, arrival: Any, answer: Answer | None) -> None:
        """The PG is done with it; no answer where a fault of the PG cut the wire."""
        ...


@dataclass
class Wire:
    """A `Handler` for the gateway: asked by an actor, it answers as a network would.

    `after` is called whenever the PG has moved money.
    """

    stage: Stage
    sandbox: Sandbox
    random: Random
    trace: Trace
    watcher: Watcher
    after: Callable[[], None]
    weather: Weather = CALM
    under_way: list[Parcel] = field(default_factory=list)

    def __call__(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, and wait for the answer.

        Raises:
            ConnectionRefusedError: nothing was sent.
            ConnectionResetError, TimeoutError: sent, or not; no answer came.
        """
        random, stage = self.random, self.stage
        is_money = target.partition("?")[0] in MONEY
        self.trace.count("calls")
        mishap = self._mishap(is_money)
        if mishap:
            self.trace.count(f"wire {mishap}")
            self._tell(stage.current.name if stage.current else "?", f"{mishap}: {_named(method, target, body)}")
        if mishap == "refused":
            raise ConnectionRefusedError
        sender = stage.current.name if stage.current else "?"
        parcel = Parcel(method, target, headers, body, sender, stage.seconds)
        out = 0.02 + random.random() * 0.2
        if mishap == "late":
            parcel.is_late = True
            out = random.choice((90.0, 400.0, 1000.0, 1600.0, 3000.0, 7000.0)) * (0.7 + 0.6 * random.random())
        if mishap != "lost":
            self._leaves(parcel, out)
        if mishap == "doubled":
            copy = Parcel(method, target, headers, body, sender, stage.seconds, is_copy=True)
            self._leaves(copy, out + random.random() * 60)
        # A network that loses a request shows it as a reset or as silence.
        parcel.waiter = stage.turn()
        patience = random.random() * READ_SECONDS if mishap == "lost" and random.random() < 0.5 else READ_SECONDS
        came = stage.wait(patience, f"on the wire ({target.partition('?')[0]})")
        parcel.waiter = None
        if came is None:
            raise TimeoutError if patience == READ_SECONDS else ConnectionResetError
        if isinstance(came, ConnectionRefused):
            raise ConnectionRefusedError
        if isinstance(came, ConnectionLost) or mishap == "deaf":
            raise ConnectionResetError
        if mishap == "garbled":
            return Answer(came.status, came.headers, came.body[: len(came.body) // 2])
        answer: Answer = came
        if is_money:
            self.watcher.heard(parcel, answer, stage.turn()[0])
        return answer

    def calm(self) -> None:
        """No more mishaps; what is under way still arrives."""
        self.weather = CALM

    def holds(self, name: str) -> bool:
        """True while a request that names this order number travels or is served."""
        return any(name.encode() in parcel.body for parcel in self.under_way)

    def _mishap(self, is_money: bool) -> str:
        weather, random = self.weather, self.random
        if weather is CALM:
            return ""
        if not is_money:
            return random.choice(("refused", "lost", "deaf", "garbled")) if random.random() < weather.looks else ""
        dice = random.random()
        for name in ("refused", "lost", "late", "doubled", "deaf", "garbled"):
            dice -= getattr(weather, name)
            if dice < 0:
                return name
        return ""

    def _leaves(self, parcel: Parcel, seconds: float) -> None:
        self.under_way.append(parcel)
        kind = "copy of " if parcel.is_copy else "late " if parcel.is_late else ""
        self.stage.enters("PG", lambda: self._served(parcel, kind), at=self.stage.seconds + seconds)

    def _served(self, parcel: Parcel, kind: str) -> None:
        """The PG's side of one arrival."""
        is_money = parcel.path in MONEY
        arrival = self.watcher.arrives(parcel) if is_money else None
        outcome: Answer | ConnectionLost | ConnectionRefused
        try:
            outcome = self.sandbox.handle(parcel.method, parcel.target, parcel.headers, parcel.body)
        except (ConnectionLost, ConnectionRefused) as cut:
            outcome = cut
        self.under_way.remove(parcel)
        if is_money:
            said = f"HTTP {outcome.status}" if isinstance(outcome, Answer) else type(outcome).__name__
            self._tell("PG", f"{kind}{_named(parcel.method, parcel.target, parcel.body)} from {parcel.sender}: {said}")
            self.watcher.served(arrival, outcome if isinstance(outcome, Answer) else None)
        if parcel.waiter is not None:
            self.stage.wake(*parcel.waiter, outcome)
        if is_money:
            self.after()

    def _tell(self, who: str, what: str) -> None:
        self.trace.tell(self.stage.seconds, who, what)


def _named(method: str, target: str, body: bytes) -> str:
    """A request in a few words, without anything secret."""
    path = target.partition("?")[0]
    if path in MONEY:
        fields = json.loads(body)
        name = fields.get("merchant_uid") or fields.get("imp_uid")
        return f"{'charge' if path == MONEY[0] else 'refund'} {name} over {fields.get('amount')}"
    return f"{method} {path}"
