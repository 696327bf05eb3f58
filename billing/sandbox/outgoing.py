"""How the PG calls the merchant: one POST, one answer, no redirect followed."""

import time
from urllib.parse import urlsplit

ASK_SECONDS = 10.0
_BODY_MAX = 65_536


def post(url: str, content_type: str, body: bytes, *, connect_seconds: float, read_seconds: float) -> tuple[int, bytes]:
    """POST `body` and return status and the beginning of the answer.

    Raises:
        OSError: nobody answered, or not in HTTP.
    """
    import http.client  # here, because most processes never call the merchant

    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=connect_seconds)
    try:
        connection.connect()
        if connection.sock is not None:
            connection.sock.settimeout(read_seconds)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {"content-type": content_type})
        answer = connection.getresponse()
        return answer.status, answer.read(_BODY_MAX)
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


def ask(url: str, body: bytes) -> tuple[int, bytes]:
    """Ask the merchant whether a payment may be approved.

    Source: PortOne confirm process guide V1: JSON, and 10 seconds in all.

    Raises:
        OSError: no answer in time.
    """
    started = time.monotonic()
    answer = post(url, "application/json", body, connect_seconds=ASK_SECONDS, read_seconds=ASK_SECONDS)
    if time.monotonic() - started > ASK_SECONDS:
        raise TimeoutError("the merchant took too long")
    return answer
