"""A merchant of the sandbox that speaks the wire by hand, so that no client of ours is in between."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from billing.sandbox import MAGIC_CARDS, Sandbox, SandboxConfig

NOON = 1_800_000_000.0
OK_CARD = MAGIC_CARDS["approves"].number


class Clock:
    """A clock that stands until it is moved; a sleeping sandbox moves it."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Answered:
    """An answer, opened."""

    status: int
    code: int | None
    message: str | None
    response: Any
    headers: Mapping[str, str]
    body: bytes


def opened(status: int, headers: Mapping[str, str], body: bytes) -> Answered:
    try:
        content = json.loads(body)
    except ValueError:
        content = {}
    if not isinstance(content, dict) or "code" not in content:
        return Answered(status, None, None, content, headers, body)
    assert set(content) == {"code", "message", "response"}
    return Answered(status, content["code"], content["message"], content["response"], headers, body)


@dataclass
class Merchant:
    sandbox: Sandbox
    clock: Clock
    token: str | None = field(default=None)

    def call(self, method: str, target: str, fields: Mapping[str, Any] | None = None) -> Answered:
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        body = b"" if fields is None else json.dumps(fields).encode()
        answer = self.sandbox.handle(method, target, headers, body)
        return opened(answer.status, answer.headers, answer.body)

    def get(self, target: str) -> Answered:
        return self.call("GET", target)

    def post(self, target: str, **fields: Any) -> Answered:
        return self.call("POST", target, fields)

    def log_in(self) -> Answered:
        answer = self.post("/users/getToken", imp_key="imp_sandbox_key", imp_secret="imp_sandbox_secret")
        if answer.code == 0:
            self.token = answer.response["access_token"]
        return answer

    def issue(self, customer_uid: str = "cu_1", card_number: str = OK_CARD, **fields: Any) -> Answered:
        card = {"card_number": card_number, "expiry": "2030-12", "birth": "900101", "pwd_2digit": "12"}
        return self.post(f"/subscribe/customers/{customer_uid}", **{**card, **fields})

    def again(self, merchant_uid: str = "order_1", amount: Any = 9900, customer_uid: str = "cu_1", **fields: Any) -> Answered:
        given = {"customer_uid": customer_uid, "merchant_uid": merchant_uid, "amount": amount, "name": "Pro"}
        return self.post("/subscribe/payments/again", **{**given, **fields})

    def records(self, merchant_uid: str = "order_1") -> list[dict[str, Any]]:
        return [row for row in self.sandbox.ledger()["payments"] if row["merchant_uid"] == merchant_uid]


def merchant(*, logged_in: bool = True, config: SandboxConfig | None = None, **options: Any) -> Merchant:
    """Return a merchant with a fresh, seeded, in-memory sandbox whose clock stands at `NOON`."""
    clock = Clock()
    sandbox = Sandbox(options.pop("path", None), seed=7, now=clock, sleep=clock.move, config=config, **options)
    made = Merchant(sandbox, clock)
    if logged_in:
        made.log_in()
    return made
