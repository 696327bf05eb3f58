"""Bytes out, bytes in, over one connection per call under way. The only module that knows httpx.

Why no `httpx.Client`: all threads share its pool under one lock, and each call walks all of its
connections. Measured with 256 threads against a server that takes 200 ms: 83 requests a second at
10.8 ms of CPU each, and once a connection closed under a neighbour's feet ("Bad file descriptor"),
which on a charge is an unknown outcome. A connection per call: 1,200 a second (1,280 is the
ceiling) at 0.5 ms, and 0.26 ms instead of 0.5 ms where nobody contends.
So every call under way owns a transport with exactly one connection, taken from a stack of idle
ones and put back afterwards. That needs no lock (a deque is atomic), never waits for a pool, and
leaves one neighbour's trouble with the neighbour. There are as many connections as threads that
ever called at the same moment; the gateway's `concurrency` bounds those.

Working on transports also leaves out what a PG client must not have: redirects, cookies,
proxies from the environment, a netrc, and httpx's INFO line with the full URL. What is left,
httpcore's DEBUG lines, shows the method and the answer's headers, but no target, no header of
ours and no body; so nobody's logging is touched here.
"""

from __future__ import annotations

import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import httpx

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
        tls: the certificates to trust, by default the public ones that httpx ships with.

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
        base = _base(base_url)
        waits = timeouts or Timeouts()
        self.host = base.netloc.decode("ascii")
        self._timeouts = waits
        self._handler = handler
        self._tls = tls
        self._tls_lock = threading.Lock()
        self._idle: deque[httpx.BaseTransport] = deque()
        self._is_closed = False
        self._extensions = {
            "timeout": {"connect": waits.connect, "write": waits.write, "read": waits.read, "pool": waits.connect}
        }
        prefix = base.path.rstrip("/")
        # The charge path is built once; look-up targets pass through the small cache.
        self._url = lru_cache(maxsize=16)(lambda target: base.copy_with(raw_path=(prefix + target).encode("ascii")))
        self._is_https = base.scheme == "https"

    def call(self, method: str, target: str, *, token: Token | None = None, body: bytes | None = None) -> Answer | Lost:
        """Send one request, once, and wait for its whole answer. Never raises for the wire.

        Args:
            target: path and query, already percent-encoded.
            body: JSON; None sends none.
        """
        try:
            transport = self._idle.pop()
        except IndexError:
            transport = self._opened()
        try:
            answer = self._exchange(transport, method, target, token, body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as failure:
            # Raised while connecting, resolving and shaking hands for TLS, so before the request.
            lost = Lost(False, f"could not connect: {_in_one_line(failure)}")
        except httpx.TransportError as failure:
            lost = Lost(True, self._in_words(failure))
        except Exception as bug:  # noqa: BLE001 — a fault below us must not cost the other calls their answers
            lost = Lost(True, f"the HTTP client failed ({type(bug).__name__})")
        else:
            self._put_back(transport)
            return answer
        transport.close()
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

    def _exchange(
        self, transport: httpx.BaseTransport, method: str, target: str, token: Token | None, body: bytes | None
    ) -> Answer:
        headers = [
            (b"Host", self.host.encode("ascii")),
            (b"Accept", b"application/json"),
            (b"User-Agent", b"gudok"),
        ]
        if token is not None:
            # Source: PortOne REST V1, "Authorization: Bearer <access_token>"; never in the URL, which gets logged.
            headers.append((b"Authorization", b"Bearer " + token.value.encode("ascii")))
        if body is not None:
            headers.append((b"Content-Type", b"application/json"))
            headers.append((b"Content-Length", b"%d" % len(body)))
        # Headers and stream are handed over ready-made: letting httpx derive them costs more than sending them.
        request = httpx.Request(
            method,
            self._url(target),
            headers=httpx.Headers(headers),
            stream=httpx.ByteStream(body or b""),
            extensions=self._extensions,
        )
        response = transport.handle_request(request)
        try:
            assert isinstance(response.stream, httpx.SyncByteStream)
            content = b"".join(response.stream)
        finally:
            response.close()
        return Answer(response.status_code, response.headers, content)

    def _opened(self) -> httpx.BaseTransport:
        if self._handler is not None:
            return httpx.MockTransport(_adapted(self._handler))
        return httpx.HTTPTransport(
            verify=self._trusted(),
            trust_env=False,
            retries=0,
            # An idle connection is dropped before common load balancers (60 s) drop it: a charge
            # written into a dying connection would be an unknown outcome for nothing.
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=10.0),
        )

    def _trusted(self) -> ssl.SSLContext:
        with self._tls_lock:
            if self._tls is None:
                # Reading the certificates takes 30 ms: once for all, and never for a plain local server,
                # which gets a context that is not used and would trust nobody.
                self._tls = (
                    httpx.create_ssl_context(trust_env=False) if self._is_https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                )
            return self._tls

    def _put_back(self, transport: httpx.BaseTransport) -> None:
        self._idle.append(transport)
        if self._is_closed:
            self.close()

    def _in_words(self, failure: httpx.TransportError) -> str:
        # No text of the exception itself: a complaint about a header would quote the token.
        match failure:
            case httpx.ReadTimeout():
                return f"no answer within {self._timeouts.read:g} s"
            case httpx.WriteTimeout():
                return f"the request could not be written within {self._timeouts.write:g} s"
            case httpx.ReadError() | httpx.WriteError():
                return "the connection broke"
            case httpx.RemoteProtocolError():
                return "the answer was cut off or is not HTTP"
        return f"the exchange failed ({type(failure).__name__})"


def _base(base_url: str) -> httpx.URL:
    """`base_url` as a URL; raise `SettingsError` without quoting it, a password could be in there."""
    try:
        url: httpx.URL | None = httpx.URL(base_url.strip())
    except (httpx.InvalidURL, ValueError):
        url = None
    if url is None or url.scheme not in ("http", "https") or not url.host:
        raise SettingsError("BILLING_GATEWAY_URL", "is not a URL of the PG", "write https://api.iamport.kr")
    if url.userinfo or url.query or url.fragment:
        raise SettingsError("BILLING_GATEWAY_URL", "carries a user, a query or a fragment", "write the origin alone")
    return url


def _adapted(handler: Handler) -> Callable[[httpx.Request], httpx.Response]:
    def handle(request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode("ascii")
        try:
            answer = handler(request.method, target, dict(request.headers), request.content)
        except ConnectionRefusedError:
            raise httpx.ConnectError("refused") from None
        except TimeoutError:
            raise httpx.ReadTimeout("timed out") from None
        except OSError:
            raise httpx.ReadError("reset") from None
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)

    return handle


def _in_one_line(failure: Exception) -> str:
    return " ".join(str(failure).split())[:200] or type(failure).__name__
