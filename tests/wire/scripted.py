"""A PG that says exactly what a test tells it to, on a real socket: half answers, cuts, silence."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Arrival:
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Say:
    """What to answer. `cut_at` ends the connection after that many bytes; `silent` holds the answer back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    is_reset: bool = False
    silent: bool = False
    raw: bytes | None = None

    def bytes(self) -> bytes:
        if self.raw is not None:
            return self.raw
        named = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(self.body)), **self.headers}
        head = f"HTTP/1.1 {self.status} Told\r\n" + "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return head.encode() + b"\r\n" + self.body


def envelope(response: object = None, *, code: int = 0, message: str | None = None) -> bytes:
    return json.dumps({"code": code, "message": message, "response": response}, ensure_ascii=False).encode()


def ok(response: object) -> Say:
    return Say(body=envelope(response))


def refused(message: str, *, code: int = 1, status: int = 200) -> Say:
    return Say(status=status, body=envelope(code=code, message=message))


def token_answer(value: str = "token-1", *, now: int = 1_700_000_000, life: int = 1800) -> Say:
    return ok({"access_token": value, "now": now, "expired_at": now + life})


def record(**changes: object) -> dict[str, object]:
    """A payment record with every field the documents require, and some they do not."""
    return {
        "imp_uid": "imps_1",
        "merchant_uid": "gd1a01",
        "status": "paid",
        "amount": 9900,
        "cancel_amount": 0,
        "currency": "KRW",
        "sandbox": True,
        "customer_uid": "cu1",
        "customer_uid_usage": "payment",
        "pg_provider": "html5_inicis",
        "started_at": 1_700_000_001,
        "paid_at": 1_700_000_005,
        "failed_at": 0,
        "cancelled_at": 0,
        "fail_reason": None,
        "card_name": "신한카드",
        "a_field_of_tomorrow": {"deep": [1, 2]},
        **changes,
    }


class ScriptedServer:
    """Answers each request with what `script` says, and remembers all that arrived."""

    def __init__(self, script: Callable[[Arrival], Say], *, tls: ssl.SSLContext | None = None) -> None:
        self._script, self._tls = script, tls
        self.arrivals: list[Arrival] = []
        self._released = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def charges(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.path == "/subscribe/payments/again"]

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            with connection, connection.makefile("rb") as incoming:
                while (arrival := _read(incoming)) is not None:
                    self.arrivals.append(arrival)
                    say = self._script(arrival)
                    if say.silent:
                        self._released.wait(10)
                        return
                    if say.is_reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    connection.sendall(say.bytes()[: say.cut_at])
                    if say.cut_at is not None or say.raw is not None:
                        return
        except OSError:
            return
        finally:
            self._open.discard(connection)
            connection.close()


def _read(incoming: object) -> Arrival | None:
    first = incoming.readline().decode("latin-1").split()  # type: ignore[attr-defined]
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while (line := incoming.readline().strip()) != b"":  # type: ignore[attr-defined]
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = incoming.read(int(headers.get("content-length", "0")))  # type: ignore[attr-defined]
    return Arrival(first[0], first[1], headers, body)
