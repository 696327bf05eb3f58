"""One keep-alive connection: a request written, its answer read, and which of the two went wrong.

Sockets and TLS are the standard library's, the parser is httptools (llhttp, the one of Node). What matters
here and in no general client is the line between *not sent* and *perhaps sent*: only a failure before the
first byte of a request is the former.
"""

from __future__ import annotations

import select
import socket
import ssl
from dataclasses import dataclass
from typing import Any, NamedTuple

import httptools

from billing import fault
from billing.clock import SystemClock

IDLE_SECONDS = 10.0
"""An idle connection is dropped before common load balancers (60 s) drop it: a charge written into a dying
connection would be an unknown outcome for nothing."""

BODY_BYTES_MAX = 64 * 1024 * 1024
_CHUNK_BYTES = 65_536
_monotonic = SystemClock().monotonic


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


class Address(NamedTuple):
    """Where to connect."""

    host: str
    port: int


class NotConnected(Exception):
    """No connection came about, so nothing can have been sent. Its text is safe to show."""


class Broken(Exception):
    """The exchange failed after the first byte may have left. Its text is safe to show."""


class Connection:
    """One connection, used by one thread at a time.

    Raises:
        NotConnected: from the constructor: refused, timed out, no such host, TLS not agreed.
    """

    def __init__(self, at: Address, tls: ssl.SSLContext | None, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._idle_since = 0.0
        try:
            plain = socket.create_connection(at, timeouts.connect)
        except OSError as failure:
            raise NotConnected(_words(failure)) from None
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = tls.wrap_socket(plain, server_hostname=at.host) if tls else plain
        except OSError as failure:  # ssl.SSLError is one
            plain.close()
            raise NotConnected(_words(failure)) from None

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def is_fresh(self) -> bool:
        """True while the other side has neither closed it nor said anything unasked."""
        if _monotonic() - self._idle_since > IDLE_SECONDS:
            return False
        return not select.select([self._socket], [], [], 0)[0]

    def exchange(self, request: bytes) -> Reader:
        """Write `request` and read its whole answer.

        Raises:
            Broken: the request may or may not have been executed.
        """
        try:
            self._socket.settimeout(self._timeouts.write)
            self._socket.sendall(request)
        except TimeoutError:
            raise Broken(f"the request could not be written within {self._timeouts.write:g} s") from None
        except OSError:
            raise Broken("the connection broke") from None
        fault.point("K05")
        try:
            self._socket.settimeout(self._timeouts.read)
            answer = self._answer()
        except TimeoutError:
            raise Broken(f"no answer within {self._timeouts.read:g} s") from None
        except OSError:
            raise Broken("the connection broke") from None
        self._idle_since = _monotonic()
        return answer

    def _answer(self) -> Reader:
        reader = Reader()
        parser = reader.parser = httptools.HttpResponseParser(reader)
        is_begun = False
        while not reader.is_complete:
            data = self._socket.recv(_CHUNK_BYTES)
            if not is_begun:
                is_begun = True
                fault.point("K06")
            if not data:
                if not reader.ends_with_the_connection:
                    raise Broken("the answer was cut off or is not HTTP")
                reader.on_message_complete()
                break
            try:
                parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                raise Broken("the answer was cut off or is not HTTP") from None
            if reader.size > BODY_BYTES_MAX:
                raise Broken("the answer is too large to be one of the PG's")
        return reader


class Reader:
    """One answer, as the parser calls it back."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.size = 0
        self.is_complete = False
        self.keeps_alive = False
        self._has_headers = False

    @property
    def ends_with_the_connection(self) -> bool:
        """True for an answer whose end is told by nothing else. Source: RFC 9112, section 6.3."""
        if self.status < 200:
            return False
        return self._has_headers and "content-length" not in self.headers and "transfer-encoding" not in self.headers

    def on_message_begin(self) -> None:
        """100 Continue and its kin announce the answer and are none: what follows them starts afresh."""
        if not self.is_complete:
            self.headers, self._has_headers = {}, False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Names come back in lower case."""
        if not self.is_complete:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The status is known."""
        if not self.is_complete:
            self._has_headers = True
            self.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A piece of the body, of any size."""
        if not self.is_complete:
            self.body.append(data)
            self.size += len(data)

    def on_message_complete(self) -> None:
        """The end, unless it was that of an announcement."""
        if self.is_complete or self.status < 200:
            return
        self.is_complete = True
        is_open_ended = self.ends_with_the_connection and self.size > 0
        wants_close = self.headers.get("connection", "").lower() == "close" or self.parser.get_http_version() != "1.1"
        self.keeps_alive = not is_open_ended and not wants_close


def _words(failure: OSError) -> str:
    return " ".join(str(failure).split())[:200] or type(failure).__name__
