"""The gateway under test against a scripted PG, over a socket or in the same process."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import SecretStr

from billing.clock import ManualClock
from billing.domain.evidence import CancelOrder, ChargeOrder, Reply
from billing.gateway.http import Handler, Http, Timeouts
from billing.gateway.iamport import IamportGateway
from tests.wire.scripted import Arrival, Say, ScriptedServer, token_answer

SECRET = "canary-secret-5d41"  # a canary: no test may ever find it anywhere
Script = Callable[[Arrival], Say]


def shown(problem: BaseException) -> str:
    """All that an error reporter would send: the text, and the locals of every frame but the test's own."""
    seen: list[str] = []
    chain: list[traceback.TracebackException | None] = [traceback.TracebackException.from_exception(problem, capture_locals=True)]
    while chain:
        one = chain.pop()
        if one is not None:
            chain += [one.__cause__, one.__context__]
            seen += one.format_exception_only()
            seen += [f"{frame.name}: {frame.locals}" for frame in one.stack if "/tests/" not in frame.filename]
    return "\n".join(seen)


def order(merchant_uid: str = "gd1a01", **changes: object) -> ChargeOrder:
    fields: dict[str, object] = {
        "attempt_id": "a1", "merchant_uid": merchant_uid, "customer_uid": "cu1", "amount": 9900, "currency": "KRW",
        "name": "프로 요금제", **changes,
    }  # fmt: skip
    return ChargeOrder(**fields)  # type: ignore[arg-type]


def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, tzinfo=UTC))


def gateway(http: Http, **changes: object) -> IamportGateway:
    given: dict[str, object] = {
        "key": SecretStr("imp-key"),
        "secret": SecretStr(SECRET),
        "clock": clock(),
        "is_live": False,
        "concurrency": 4,
    }
    return IamportGateway(http, **{**given, **changes})  # type: ignore[arg-type]


@dataclass
class World:
    server: ScriptedServer
    gateway: IamportGateway
    seconds_slept: list[float] = field(default_factory=list)

    def charge(self, *orders: ChargeOrder, gate: Callable[[], bool] = lambda: True) -> dict[str, Reply]:
        replies = self.gateway.charge(orders or (order(),), token=self.gateway.token(), gate=gate)
        return {of.merchant_uid: reply for group in replies for of, reply in group}

    def cancel(self, order: CancelOrder, *, gate: Callable[[], bool] = lambda: True) -> Reply:
        return self.gateway.cancel(order, token=self.gateway.token(), gate=gate)


@contextmanager
def world(script: Script, *, read: float = 0.5, **changes: object) -> Iterator[World]:
    """A gateway on a real socket; getToken always works, `script` says the rest."""

    def told(arrival: Arrival) -> Say:
        return token_answer() if arrival.path == "/users/getToken" else script(arrival)

    with ScriptedServer(told) as server:
        http = Http(server.url, timeouts=Timeouts(connect=1.0, write=1.0, read=read))
        with gateway(http, **changes) as made:
            yield World(server, made)


@dataclass(frozen=True)
class Reported:
    status: int
    headers: dict[str, str]
    body: bytes


def handler(script: Script, arrivals: list[Arrival]) -> Handler:
    """The same script without a network; getToken always works unless `script` speaks for it."""

    def handle(method: str, target: str, headers: object, body: bytes) -> Reported:
        arrival = Arrival(method, target, dict(headers), body)  # type: ignore[call-overload]
        arrivals.append(arrival)
        say = script(arrival)
        return Reported(say.status, say.headers, say.body)

    return handle
