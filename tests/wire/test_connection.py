"""How answers travel: in pieces, in chunks, without a length, after an announcement, or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from billing.gateway.http import Answer, Http, Lost, Timeouts

JSON = b'{"code":0}'


@contextmanager
def talking(*pieces: bytes, closes: bool = True) -> Iterator[str]:
    """A server that says exactly these bytes, one piece a packet, to whoever connects."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(65_536)
                for piece in pieces:
                    peer.sendall(piece)
                if not closes:
                    peer.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def answer_to(*pieces: bytes, closes: bool = True, read: float = 1.0) -> Answer | Lost:
    with talking(*pieces, closes=closes) as url, Http(url, timeouts=Timeouts(read=read)) as http:
        return http.call("POST", "/subscribe/payments/again", body=b"{}")


def head(*lines: bytes, version: bytes = b"1.1", status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/" + version + b" " + status, *lines, b"", b""])


@pytest.mark.parametrize(
    "pieces",
    [
        [head(b"Content-Length: 10") + JSON],
        [bytes([byte]) for byte in head(b"Content-Length: 10") + JSON],
        [head(b"Transfer-Encoding: chunked"), b"4\r\n" + JSON[:4] + b"\r\n", b"6\r\n" + JSON[4:] + b"\r\n", b"0\r\n\r\n"],
        [head(version=b"1.0"), JSON],
        [head(b"Connection: close"), JSON],
        [head(status=b"100 Continue"), head(b"Content-Length: 10") + JSON],
        [head(status=b"100 Continue") + head(b"Content-Length: 10") + JSON],
        [head(b"Content-Length: 10") + JSON + b"HTTP/1.1 200 OK\r\n\r\nsomething nobody asked for"],
    ],
    ids=["whole", "byte by byte", "chunked", "HTTP/1.0", "until it closes", "announced", "announced at once", "more than asked"],
)
def test_an_answer_is_read_whole_however_it_comes(pieces: list[bytes]) -> None:
    answer = answer_to(*pieces)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, JSON)


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"HTTP/1.1 200"],
        [head(b"Content-Length: 10") + JSON[:4]],
        [head(b"Transfer-Encoding: chunked") + b"4\r\n" + JSON[:4]],
        [b"this is not HTTP at all\r\n\r\n"],
        [head(b"Content-Length: ten") + JSON],
    ],
    ids=["nothing", "half a line", "short", "no last chunk", "noise", "no number"],
)
def test_an_answer_that_is_not_whole_may_have_been_executed(pieces: list[bytes]) -> None:
    lost = answer_to(*pieces)
    assert isinstance(lost, Lost)
    assert lost.is_sent


def test_silence_is_not_waited_for_for_ever() -> None:
    assert answer_to(closes=False, read=0.1) == Lost(True, "no answer within 0.1 s")


def test_nobody_there_is_unsent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Http(f"http://127.0.0.1:{port}") as http:
        lost = http.call("POST", "/", body=b"{}")
    assert isinstance(lost, Lost)
    assert not lost.is_sent


def test_an_announcement_alone_is_no_answer() -> None:
    lost = answer_to(head(status=b"102 Processing"))
    assert isinstance(lost, Lost)
    assert lost.is_sent
