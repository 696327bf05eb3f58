"""Bytes out, bytes in, over one connection per call under way. The only module that knows the HTTP library.

The library is httpcore, the wire under httpx, spoken to directly. A client on top of it adds what a PG
client must not have (redirects, cookies, proxies from the environment, a netrc, an INFO line with the full
URL) and what nobody here needs (a URL parsed and quoted anew for every call). Measured on one thread:
190 µs of CPU a charge, 344 µs through httpx's transport, 240 µs and more through `httpx.Client`.

Why no pool: it is shared by all threads under one lock. With 256 requests in flight `httpx.Client` fell
from thousands of requests a second to a crawl and now and then closed a connection under a neighbour's
feet ("Bad file descriptor"), which on a charge is an unknown outcome. So every call under way owns one
connection, taken from a stack of idle ones and put back afterwards. That needs no lock (a deque is
atomic), never waits for a pool, and leaves one neighbour's trouble with the neighbour.

httpcore's DEBUG lines show the request line and the *answer's* headers, never ours and never a body.
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
import httpcore

from billing import fault
from billing.errors import SettingsError
from billing.ports import Token


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


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for each step; there is none for a pool because there is no pool.

    The read time is long on purpose: hanging up does not stop a charge at the PG, it only makes
    the outcome unknown. Source: PortOne REST V2 manual (read time-outs of 60 s or more; a client
    that disconnects does not stop the payment); V1 publishes none.
    """

    connect: float = 5.0
    write: float = 10.0
    read: float = 75.0


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
        self._idle: deque[httpcore.HTTPConnection] = deque()
        self._is_closed = False
        bare = name.strip("[]").encode("ascii")
        self._at = httpcore.Origin(scheme.encode("ascii"), bare, port or default)
        waits = self._timeouts
        self._extensions = {
            "timeout": {"connect": waits.connect, "write": waits.write, "read": waits.read, "pool": waits.connect}
        }
        self._headers = [
            (b"Host", self.host.encode("ascii")),
            (b"Accept", b"application/json"),
            (b"User-Agent", b"gudok"),
        ]

    def call(self, method: str, target: str, *, token: Token | None = None, body: bytes | None = None) -> Answer | Lost:
        """Send one request, once, and wait for its whole answer. Never raises for the wire.

        Args:
            target: path and query, already percent-encoded.
            body: JSON; None sends none.
        """
        connection = None
        try:
            headers = self._headed(token, body)
            if self._handler is not None:
                return self._handled(method, target, headers, body)
            connection = self._connection()
            answer = self._exchange(connection, method, target, headers, body)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
            # Raised while connecting, resolving and shaking hands for TLS, so before the request.
            lost = Lost(False, f"could not connect: {_in_one_line(failure)}")
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as failure:
            lost = Lost(True, self._in_words(failure))
        except Exception as bug:  # noqa: BLE001 — a fault below us must not cost the other calls their answers
            lost = Lost(True, f"the HTTP client failed ({type(bug).__name__})")
        else:
            self._put_back(connection)
            return answer
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

    def _headed(self, token: Token | None, body: bytes | None) -> list[tuple[bytes, bytes]]:
        headers = list(self._headers)
        if token is not None:
            # Source: PortOne REST V1, "Authorization: Bearer <access_token>"; never in the URL, which gets logged.
            headers.append((b"Authorization", b"Bearer " + token.value.encode("ascii")))
        if body is not None:
            headers.append((b"Content-Type", b"application/json"))
            headers.append((b"Content-Length", b"%d" % len(body)))
        return headers

    def _exchange(
        self,
        connection: httpcore.HTTPConnection,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes | None,
    ) -> Answer:
        at = self._at
        path = (self._prefix + target).encode("ascii")
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=at.scheme, host=at.host, port=at.port, target=path),
            headers=headers,
            content=body,
            extensions=self._extensions | {"trace": _traced} if fault.is_armed() else self._extensions,
        )
        response = connection.handle_request(request)
        try:
            content = response.read()
        finally:
            response.close()
        named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Answer(response.status, named, content)

    def _handled(self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes | None) -> Answer | Lost:
        assert self._handler is not None
        named = {name.decode("ascii").lower(): value.decode("ascii") for name, value in headers}
        try:
            answer = self._handler(method, self._prefix + target, named, body or b"")
        except ConnectionRefusedError:
            return Lost(False, "could not connect: refused")
        except TimeoutError:
            return Lost(True, self._in_words(httpcore.ReadTimeout()))
        except OSError:
            return Lost(True, self._in_words(httpcore.ReadError()))
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    def _connection(self) -> httpcore.HTTPConnection:
        """An idle connection the other side has not closed, or a new one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._opened()
            if connection.is_available() and not connection.has_expired():
                return connection
            connection.close()

    def _opened(self) -> httpcore.HTTPConnection:
        return httpcore.HTTPConnection(
            self._at,
            ssl_context=self._trusted() if self._at.scheme == b"https" else None,
            retries=0,
            # An idle connection is dropped before common load balancers (60 s) drop it: a charge
            # written into a dying connection would be an unknown outcome for nothing.
            keepalive_expiry=10.0,
        )

    def _trusted(self) -> ssl.SSLContext:
        with self._tls_lock:
            if self._tls is None:
                # Reading the certificates takes 30 ms: once for all, and never for a plain local server.
                self._tls = ssl.create_default_context(cafile=certifi.where())
            return self._tls

    def _put_back(self, connection: httpcore.HTTPConnection) -> None:
        self._idle.append(connection)
        if self._is_closed:
            self.close()

    def _in_words(self, failure: Exception) -> str:
        # No text of the exception itself: a complaint about a header would quote the token.
        match failure:
            case httpcore.ReadTimeout():
                return f"no answer within {self._timeouts.read:g} s"
            case httpcore.WriteTimeout():
                return f"the request could not be written within {self._timeouts.write:g} s"
            case httpcore.ReadError() | httpcore.WriteError():
                return "the connection broke"
            case httpcore.RemoteProtocolError():
                return "the answer was cut off or is not HTTP"
        return f"the exchange failed ({type(failure).__name__})"


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


def _traced(event: str, _info: Mapping[str, object]) -> None:
    """Two points of the road lie inside the library: all bytes sent, and an answer begun."""
    if event == "http11.send_request_body.complete":
        fault.point("K05")
    elif event == "http11.receive_response_headers.complete":
        fault.point("K06")


def _in_one_line(failure: Exception) -> str:
    return " ".join(str(failure).split())[:200] or type(failure).__name__
