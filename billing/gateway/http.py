"""Bytes out, bytes in, over one connection per call under way.

Why no HTTP client: a client adds what the caller of a PG must not have (redirects, cookies, proxies from the
environment, a netrc, retries, an INFO line with the full URL) and a pool that all threads share under one
lock. With 256 requests in flight `httpx.Client` fell from thousands of requests a second to a crawl, and
now and then closed a connection under a neighbour's feet ("Bad file descriptor"), which on a charge is an
unknown outcome. On one thread a charge costs a fifth to an eighth of its CPU here (`python -m bench.wire`). So
every call under way owns one connection (`connection.py`), taken from a stack of idle ones and put back
afterwards. That needs no lock (a deque is atomic), never waits for a pool, and leaves one
neighbour's trouble with the neighbour.
"""

from __future__ import annotations

import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import certifi

from billing import fault
from billing.errors import SettingsError
from billing.gateway.connection import Address, Broken, Connection, NotConnected, Timeouts
from billing.gateway.sealed import Sealed, bare
from billing.ports import Token
from billing.redaction import HIDDEN


class HandlerAnswer(Protocol):
    """What an in-process stand-in for the PG answers."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


Handler = Callable[[str, str, Mapping[str, str], bytes], HandlerAnswer]
"""`handler(method, target, headers, body)`: a PG without a network.

It raises `ConnectionRefusedError` where a network would not have connected (never sent) and
`ConnectionResetError` or `TimeoutError` where the answer would have been lost (sent).
"""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """A complete HTTP answer, whatever it says. Header names match in any case; the repr shows no body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class Lost:
    """No complete answer. `is_sent=False` only where no byte of the request can have left."""

    is_sent: bool
    why: str


class Http:
    """One origin, spoken to by any number of threads at once.

    `call` *returns* what went wrong instead of raising it: an exception would carry frames that
    hold the token, the body and, at a card registration, the card number.

    Args:
        base_url: `https://api.iamport.kr`; a path is kept as a prefix.
        handler: answers instead of a network; then nothing is ever connected to.
        tls: the certificates to trust, by default the public ones of certifi.

    Raises:
        SettingsError: the URL is not an http(s) origin, or carries a user, a query or a fragment.
    """

    def __init__(
        self,
        base_url: str,
        *,
        handler: Handler | None = None,
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        scheme, name, port, self._prefix = _origin(base_url)
        default = {"http": 80, "https": 443}[scheme]
        self.host = name if port in (None, default) else f"{name}:{port}"
        self._timeouts = timeouts or Timeouts()
        self._handler = handler
        self._tls = tls
        self._tls_lock = threading.Lock()
        self._idle: deque[Connection] = deque()
        self._is_closed = False
        self._at = Address(name.strip("[]"), port or default)
        self._is_https = scheme == "https"
        self._head = f"Host: {self.host}\r\nAccept: application/json\r\nUser-Agent: gudok\r\n"

    def call(self, method: str, target: str, *, token: Token | None = None, body: bytes | None = None) -> Answer | Lost:
        """Send one request, once, and wait for its whole answer. Never raises for the wire.

        Args:
            target: path and query, already percent-encoded.
            body: JSON; None sends none.
        """
        connection = None
        try:
            if self._handler is not None:
                return self._handled(method, target, token, body)
            request = self._request(method, target, token, body)
            connection = self._connection()
            answer = connection.exchange(request)
        except NotConnected as failure:
            # Connecting, resolving, shaking hands for TLS: all before the first byte of the request.
            return Lost(False, f"could not connect: {failure}")
        except Broken as failure:
            lost = Lost(True, str(failure))
        except Exception as bug:  # noqa: BLE001 — a fault below us must not cost the other calls their answers
            lost = Lost(True, f"the HTTP client failed ({type(bug).__name__})")
        except BaseException as interrupt:  # noqa: BLE001 — raised again
            # The frames below hold the token and the body; this one shows neither.
            if connection is not None:
                connection.close()
            raise bare(interrupt) from None
        else:
            self._put_back(connection, answer.keeps_alive)
            return Answer(answer.status, answer.headers, _without(token, b"".join(answer.body)))
        if connection is not None:
            connection.close()
        return lost

    def close(self) -> None:
        """Close every connection; one in use is closed by the call that uses it."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Http({self.host})"

    def _request(self, method: str, target: str, token: Token | None, body: bytes | None) -> Sealed:
        lines = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._head}"
        if body is not None:
            lines += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        # Source: PortOne REST V1, "Authorization: Bearer <access_token>"; never in the URL, which gets logged.
        authorization = b"" if token is None else Sealed(f"Authorization: Bearer {token.value}\r\n".encode("ascii"))
        return Sealed(b"".join((lines.encode("ascii"), authorization, b"\r\n", body or b"")))

    def _handled(self, method: str, target: str, token: Token | None, body: bytes | None) -> Answer | Lost:
        assert self._handler is not None
        headers = {"host": self.host, "accept": "application/json", "user-agent": "gudok"}
        if token is not None:
            headers["authorization"] = f"Bearer {token.value}"
        if body is not None:
            headers |= {"content-type": "application/json", "content-length": str(len(body))}
        fault.point("K05")
        try:
            answer = self._handler(method, self._prefix + target, headers, body or b"")
        except ConnectionRefusedError:
            return Lost(False, "could not connect: refused")
        except TimeoutError:
            return Lost(True, f"no answer within {self._timeouts.read:g} s")
        except OSError:
            return Lost(True, "the connection broke")
        fault.point("K06")
        return Answer(
            answer.status, {name.lower(): value for name, value in answer.headers.items()}, _without(token, answer.body)
        )

    def _connection(self) -> Connection:
        """An idle connection the other side has not closed, or a new one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return Connection(self._at, self._trusted() if self._is_https else None, self._timeouts)
            if connection.is_fresh():
                return connection
            connection.close()

    def _trusted(self) -> ssl.SSLContext:
        with self._tls_lock:
            if self._tls is None:
                # Reading the certificates takes 30 ms: once for all, and never for a plain local server.
                self._tls = ssl.create_default_context(cafile=certifi.where())
            return self._tls

    def _put_back(self, connection: Connection, keeps_alive: bool) -> None:
        if not keeps_alive:
            connection.close()
            return
        self._idle.append(connection)
        if self._is_closed:
            self.close()


def _without(token: Token | None, body: bytes) -> bytes:
    """An answer that quotes our token, without it: its texts are kept and logged."""
    return body if token is None else body.replace(token.value.encode("ascii"), HIDDEN.encode())


def _origin(base_url: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path prefix of `base_url`.

    Raises:
        SettingsError: without quoting the URL, a password could be in there.
    """
    try:
        url = urlsplit(base_url.strip())
        port = url.port
        name = (url.hostname or "").encode("idna").decode("ascii") if ":" not in (url.hostname or "") else f"[{url.hostname}]"
    except (ValueError, UnicodeError):
        url, port, name = urlsplit(""), None, ""
    if url.scheme not in ("http", "https") or not name:
        raise SettingsError("BILLING_GATEWAY_URL", "is not a URL of the PG", "write https://api.iamport.kr")
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise SettingsError("BILLING_GATEWAY_URL", "carries a user, a query or a fragment", "write the origin alone")
    return url.scheme, name, port, url.path.rstrip("/")
