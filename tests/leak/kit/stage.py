"""A merchant whose card, keys and token are canaries, before a PG that quotes everything it hears."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from billing.app import Billing
from billing.clock import ManualClock
from billing.gateway.card import Card
from billing.gateway.http import HandlerAnswer, Http
from billing.gateway.iamport import IamportGateway
from billing.sandbox import Fault, Sandbox
from billing.settings import Settings
from plans import parse_plan
from tests.kit.world import PLANS
from tests.leak.kit.canaries import Canaries, Matcher
from tests.leak.kit.sinks import Witness, about, bytes_of, every_row, leaks, shape_of

FOUNDED_AT = datetime(2024, 1, 31, 1, tzinfo=UTC)
DUE_AT = datetime(2024, 2, 29, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Heard:
    """One request, and how the PG would really have answered it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    onward: Callable[[], HandlerAnswer]
    canaries: Canaries

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "")

    def quoted(self) -> str:
        """Everything the PG heard now or may remember, as text."""
        return f"{self.method} {self.target} {dict(self.headers)} {self.body.decode()} {json.dumps(self.canaries.card())}"


@dataclass(frozen=True)
class Told:
    """An answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Failure = Callable[[Heard], HandlerAnswer]


class Nasty:
    """The sandbox, until it is told to fail where the request line matches."""

    def __init__(self, sandbox: Sandbox, canaries: Canaries) -> None:
        self._sandbox, self._canaries = sandbox, canaries
        self._where: re.Pattern[str] | None = None
        self._failure: Failure | None = None
        self.failed = 0

    def fail(self, where: str, failure: Failure) -> None:
        """From now on."""
        self._where, self._failure = re.compile(where), failure

    def heal(self) -> None:
        """Answer as the sandbox does."""
        self._where = None

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HandlerAnswer:
        def onward() -> HandlerAnswer:
            return self._sandbox.handle(method, target, headers, body)

        if self._where is None or self._failure is None or not self._where.search(f"{method} {target}"):
            return onward()
        self.failed += 1
        return self._failure(Heard(method, target, headers, body, onward, self._canaries))


class Stage:
    """One engine on a database in a directory of its own, with all that is secret set to canaries."""

    def __init__(
        self, home: Path, canaries: Canaries, *, at: datetime = DUE_AT, database_url: str | None = None, known: bytes = b""
    ) -> None:
        self._known = known
        self.home, self.canaries = home, canaries
        self.clock = ManualClock(at)
        self.sandbox = Sandbox(
            str(home / "pg" / "sandbox.db") if (home / "pg").is_dir() else None,
            seed=1,
            now=lambda: self.clock.now().timestamp(),
            sleep=self.clock.sleep,
            imp_key=canaries.key,
            imp_secret=canaries.secret,
        )
        self.nasty = Nasty(self.sandbox, canaries)
        self.settings = _settings(database_url or f"sqlite:///{home / 'books' / 'billing.db'}", canaries)
        self.app = Billing(self.settings, clock=self.clock, gateway=self.gateway(), sandbox=self.sandbox, actor="test", lanes=1)

    def gateway(self, *, http: Http | None = None, concurrency: int = 1) -> IamportGateway:
        """The real gateway before the nasty PG."""
        given = http or Http("http://pg.test", handler=self.nasty.handle)
        key, secret = self.settings.credentials
        return IamportGateway(given, key=key, secret=secret, clock=self.clock, is_live=False, concurrency=concurrency)

    def close(self) -> None:
        """Close every connection."""
        self.app.close()
        self.sandbox.close()

    def found(self) -> None:
        """Make the shop: `plain` has no card, `mina` pays and is due again at `DUE_AT`."""
        self.app.init()
        self.app.plans.apply(parse_plan(PLANS, "plans.toml"), actor="test")
        for name in ("plain", "mina"):
            self.app.customers.add(name, name="김하늘", actor="test")
        self.app.cards.add("mina", self.card(), actor="test")
        self.app.subscriptions.start("mina", "pro-monthly", actor="test")

    def owed(self) -> str:
        """An open invoice of mina's: her renewal, declined."""
        self.sandbox.add_fault(Fault("decline", path="/subscribe/payments/again", times=1))
        self.app.worker.renew()
        (owed,) = self.app.views.invoices(state="open", of="mina", limit=1, after=None)
        return str(owed["id"])

    def card(self) -> Card:
        """The canary."""
        return Card.from_json(json.dumps(self.canaries.card()))

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.clock.sleep(timedelta(**span).total_seconds())

    def token(self) -> str:
        """The token in use, by asking the PG for it as anybody with the key could: it gives the same one."""
        body = json.dumps({"imp_key": self.canaries.key, "imp_secret": self.canaries.secret}).encode()
        answer = self.sandbox.handle("POST", "/users/getToken", {"content-type": "application/json"}, body)
        return str(json.loads(answer.body)["response"]["access_token"])

    def run(self, act: Callable[[Stage], Any]) -> list[str]:
        """Do it under the eyes of a witness; every leak there is, and none is wanted."""
        with Witness() as witness:
            places: dict[str, bytes | str] = {}
            try:
                places["result"] = shape_of(act(self))
            except BaseException as problem:  # noqa: BLE001 — whatever it is, it must not carry a secret
                places["exception"] = about(problem)
                sys.excepthook(type(problem), problem, problem.__traceback__)  # as Python would end the process
            places |= self._files("before closing")
            if not self.settings.database_url.get_secret_value().startswith("sqlite"):
                places |= {f"row of {where}": value for where, value in every_row(self.app.engine)}
            places["fingerprint"] = "\n".join(map(repr, (self.app, self.app.gateway, self.settings, self.app.engine)))
            self.app.close()
            places |= self._files("after closing")
            places |= witness.said()
        others = {"token": self.token()}
        return leaks(Matcher(Canaries(others=others)), places)

    def _files(self, when: str) -> dict[str, bytes]:
        return {f"{when}: {name}": content for name, content in bytes_of(self.home / "books", known=self._known).items()}


_MADE: dict[str, Settings] = {}


def _settings(url: str, canaries: Canaries) -> Settings:
    """The same every time; making them reads every time zone there is."""
    if url not in _MADE:
        _MADE[url] = Settings(
            _env_file=None,  # type: ignore[call-arg]
            database_url=SecretStr(url),
            imp_key=SecretStr(canaries.key),
            imp_secret=SecretStr(canaries.secret),
            instance_secret=SecretStr(canaries.instance),
        )
    return _MADE[url]


# --- what the PG does wrong ----------------------------------------------------------------------


def raises(make: Callable[[Heard], BaseException]) -> Failure:
    """It never answers: this happens instead."""

    def fail(heard: Heard) -> HandlerAnswer:
        raise make(heard)

    return fail


def after(make: Callable[[Heard], BaseException]) -> Failure:
    """It did what it was asked for, and then this happens."""

    def fail(heard: Heard) -> HandlerAnswer:
        heard.onward()
        raise make(heard)

    return fail


def answers(status: int, body: Callable[[Heard], bytes]) -> Failure:
    """It answers, and quotes."""
    return lambda heard: Told(status, body(heard))


def refuses(message: Callable[[Heard], str], *, code: int = -1, status: int = 200) -> Failure:
    """It refuses in its own envelope, and quotes."""
    return answers(
        status, lambda heard: json.dumps({"code": code, "message": message(heard), "response": None}, ensure_ascii=False).encode()
    )


def changes(**fields: Callable[[Heard], object]) -> Failure:
    """It does what it is asked for, and quotes in a field of the record."""

    def fail(heard: Heard) -> HandlerAnswer:
        answer = heard.onward()
        frame = json.loads(answer.body)
        records = frame.get("response")
        for record in records if isinstance(records, list) else [records]:
            if isinstance(record, dict):
                record.update({name: value(heard) for name, value in fields.items()})
        return Told(answer.status, json.dumps(frame).encode(), answer.headers)

    return fail


WIRE: dict[str, Failure] = {
    "refused": raises(lambda _: ConnectionRefusedError()),
    "reset before": raises(lambda _: ConnectionResetError()),
    "reset after": after(lambda _: ConnectionResetError()),
    "timeout": after(lambda _: TimeoutError()),
    "TLS": raises(lambda heard: OSError(f"TLS of {heard.quoted()}")),
    "a bug that quotes": raises(lambda heard: ZeroDivisionError(heard.quoted())),
    "a codec error": raises(lambda heard: UnicodeDecodeError("ascii", heard.quoted().encode(), 0, 1, "no")),
    "Ctrl-C": raises(lambda _: KeyboardInterrupt()),
    "no memory": raises(lambda _: MemoryError()),
    "exit": after(lambda _: SystemExit(3)),
    **{
        f"HTTP {status}": answers(status, lambda heard: heard.quoted().encode()) for status in (301, 400, 403, 404, 408, 500, 502)
    },
    "HTTP 401": refuses(lambda heard: f"Unauthorized {heard.token}", status=401),
    "HTTP 401 in prose": answers(401, lambda heard: heard.quoted().encode()),
    "HTTP 429": answers(429, lambda heard: heard.quoted().encode()),
    "HTTP 503 in JSON": refuses(lambda heard: heard.canaries.dashed(), status=503),
    "HTML": answers(200, lambda heard: f"<html>{heard.quoted()}</html>".encode()),
    "half a JSON": answers(200, lambda heard: json.dumps({"code": 0, "response": heard.quoted()}).encode()[:-20]),
    "nothing": answers(200, lambda _: b""),
    "no envelope": answers(200, lambda heard: json.dumps({"error": heard.quoted()}).encode()),
    "code in words": answers(200, lambda heard: json.dumps({"code": heard.quoted(), "response": None}).encode()),
    "a record of another shape": answers(200, lambda heard: json.dumps({"code": 0, "response": [heard.quoted()]}).encode()),
}
"""What goes wrong with any request."""

QUOTES: dict[str, Callable[[Heard], str]] = {
    "the number": lambda heard: f"카드번호 {heard.canaries.number} 오류",
    "dashes": lambda heard: f"카드번호 오류({heard.canaries.dashed()})",
    "blanks": lambda heard: heard.canaries.dashed(" "),
    "dots": lambda heard: f"[8326] {heard.canaries.dashed('.')} 오류",
    "Korean around it": lambda heard: f"카드{heard.canaries.number}은 등록할 수 없는 카드입니다",
    "Latin around it": lambda heard: f"card{heard.canaries.number}refused",
    "other figures around it": lambda heard: f"3051 {heard.canaries.dashed(' ')} 2024",
    "the token": lambda heard: f"invalid {heard.token.removeprefix('Bearer ')} / {heard.token}",
    "full width": lambda heard: "".join(chr(ord(sign) + 0xFEE0) for sign in heard.canaries.number),
}
"""How the PG quotes what only it knows, on any call: seen by their shape."""

FIELD_QUOTES: dict[str, Callable[[Heard], str]] = {
    "birth": lambda heard: f"생년월일 {heard.canaries.birth} 불일치 [19{heard.canaries.birth}]",
    "expiry": lambda heard: f"유효기간 {heard.canaries.expiry} 오류, 08/37, 0837, 3708",
    "password": lambda heard: f"pwd_2digit: {heard.canaries.pwd_2digit} 비밀번호 {heard.canaries.pwd_2digit} 틀림",
    "the whole body": lambda heard: heard.body.decode(),
    "the body, URL-encoded": lambda heard: quote(heard.body.decode(), safe=""),
    "the body in base64": lambda heard: base64.b64encode(heard.body).decode(),
    "the number in base64": lambda heard: f"ref {base64.b64encode(heard.canaries.number.encode()).decode()}",
    "halves": lambda heard: f"{heard.canaries.number[8:]} / {heard.canaries.number[:8]}",
    "backwards": lambda heard: heard.canaries.number[::-1],
    "sign by sign": lambda heard: " . ".join(heard.canaries.number),
    "hexadecimal": lambda heard: heard.canaries.number.encode().hex(),
}
"""How it quotes what it was just told at a registration: seen because the fields are known there."""
