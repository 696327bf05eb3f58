"""A notice sent to ourselves, the way the PG would: does the address we gave it lead here?"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import certifi

from billing.domain.link import checked_link
from billing.domain.notice import Notice
from billing.ports import Clock
from billing.redaction import HIDDEN
from billing.settings import Settings
from billing.web.client import PG_ADDRESSES, is_in, parsed_address

PATH = "/webhooks/iamport"
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
"""How long the PG waits. Source: PortOne webhook guide V1 (10 s to connect, 30 s to read)."""


class Answer(NamedTuple):
    """What came back: an HTTP status, or why there is none. `asked_from` is this end of the connection."""

    status: int | None
    why: str
    asked_from: str
    seconds: float


class Judged(NamedTuple):
    """What an answer means; `has_arrived` only where the notice stands in our own inbox."""

    has_arrived: bool
    said: str
    cure: str


def trial_notice(id: str) -> Notice:
    """A notice about a payment nobody has, like the one the PG's test button sends; `id` makes it one of its kind.

    Source: PortOne webhook guide V1 (the fields imp_uid, merchant_uid and status; ids of a test need not exist).
    """
    letters = "".join(filter(str.isalnum, id))
    return Notice(f"imp_test{letters[-16:]}", f"test-{letters[-32:]}", "paid")


def target(settings: Settings, url: str | None = None) -> str:
    """Where the notice goes: our own address, with the secret after it where one is set.

    Args:
        url: another address; the secret follows it where it ends like our own.

    Raises:
        RuleError: no address, or nothing a notice is sent to.
    """
    link = checked_link("--url", url) if url else f"{settings.public_base}{PATH}"
    secret = settings.webhook_secret.get_secret_value()
    return f"{link}/{quote(secret, safe='')}" if secret and link.endswith(PATH) else link


def shown(link: str) -> str:
    """An address without what may be a secret in it: its query, and what follows the path of the webhook."""
    parts = urlsplit(link)
    before, path, after = parts.path.partition(PATH)
    return f"{parts.scheme}://{parts.netloc}{before}{path}" + (f"/{HIDDEN}" if after or parts.query else "")


def sent(link: str, notice: Notice, clock: Clock, *, as_form: bool, patience: float = ANSWER_SECONDS) -> Answer:
    """Send it once, follow nothing, and read no more than the status: an answer may repeat what was sent."""
    fields = {name: value for name, value in notice._asdict().items() if value}
    body = urlencode(fields) if as_form else json.dumps(fields)
    kind = "application/x-www-form-urlencoded" if as_form else "application/json"
    parts = urlsplit(link)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    waited = min(CONNECT_SECONDS, patience)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, waited)
    began, asked_from, status, why = clock.monotonic(), "", None, ""
    try:
        connection.connect()
        asked_from = str(connection.sock.getsockname()[0])
        waited = patience
        connection.sock.settimeout(waited)
        connection.request("POST", path, body.encode(), {"Content-Type": kind, "User-Agent": "gudok", "Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as failure:
        why = _why(failure, waited)
    finally:
        connection.close()
    return Answer(status, why, asked_from, clock.monotonic() - began)


def judged(answer: Answer, settings: Settings, *, is_stored: bool) -> Judged:
    """What an answer says about the way a notice takes, and what to mend."""
    if answer.status is None:
        return Judged(False, f"no answer came: {answer.why}", _UNREACHED)
    if answer.status == 200 and is_stored:
        return Judged(True, "it arrived, and the inbox holds it", "")
    if answer.status == 200:
        cure = "another server or another database is behind this address: start it with the settings of this command"
        return Judged(False, "answered with 200, and this inbox does not hold it", cure)
    if answer.status == 403:
        return _judged_403(answer, settings)
    if 300 <= answer.status < 400:
        return Judged(False, f"answered with {answer.status}, a redirect", "give the PG the address it leads to")
    said, cure = _STATUS.get(answer.status, ("", "see the log of the server"))
    return Judged(False, f"answered with {answer.status}" + (f", {said}" if said else ""), cure)


def warning(settings: Settings) -> str:
    """What would go wrong for the PG alone: an allow-list without its addresses, unless a proxy of ours stands for them."""
    allowed = settings.webhook_sources
    missing = [str(address) for address in PG_ADDRESSES if not is_in(address, allowed)]
    if not allowed or settings.proxies or not missing:
        return ""
    return f"BILLING_WEBHOOK_ALLOW does not hold {', '.join(missing)}, from where the PG's notices come"


def _judged_403(answer: Answer, settings: Settings) -> Judged:
    address = parsed_address(answer.asked_from)
    if settings.webhook_sources and (address is None or not is_in(address, settings.webhook_sources)):
        said = f"refused with 403: {answer.asked_from} asked, and BILLING_WEBHOOK_ALLOW does not hold it"
        cure = (
            f"right, if only the PG may ask ({', '.join(map(str, PG_ADDRESSES))}); add {answer.asked_from} for the time of a test"
        )
        return Judged(False, said, cure)
    if settings.webhook_secret.get_secret_value():
        said = "refused with 403: the server has another BILLING_WEBHOOK_SECRET or another BILLING_WEBHOOK_ALLOW"
    else:
        said = "refused with 403, and not by these settings: the server wants a secret, or something in front of it refuses"
    return Judged(False, said, "start the server with the settings of this command; its log says who was refused and why")


_UNREACHED = "check that the server runs, that its name and port are right, and that the PG can reach it from outside"
_STATUS = {
    401: ("something in front of the server wants a password", "let POSTs to this path through without one"),
    404: ("nothing is mounted there", f"BILLING_PUBLIC_URL is where the router is mounted, and {PATH} hangs below it"),
    405: ("something else is mounted there", f"BILLING_PUBLIC_URL is where the router is mounted, and {PATH} hangs below it"),
    413: ("something in front of the server takes no body of this size", "let 16 KiB through"),
    415: ("the encoding was changed on the way", "pass the Content-Type on as it came"),
    429: ("too many came from one address", "wait a little; behind a proxy name it in BILLING_TRUSTED_PROXIES"),
    502: ("a proxy could not reach the server", "check that the server runs and where the proxy sends this path"),
    503: ("the server could not store it", "its database cannot be reached or is not migrated; see `billing doctor` there"),
    504: ("a proxy waited in vain for the server", "see the log of the server"),
}


def _connection(scheme: str, host: str, port: int | None, timeout: float) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context(cafile=certifi.where()))


def _why(failure: OSError | http.client.HTTPException, timeout: float) -> str:
    """In words, and never with what was sent."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({failure.verify_message.rstrip('.')})"
    if isinstance(failure, ssl.SSLError):
        return "TLS could not be agreed; is it an https address?"
    if isinstance(failure, socket.gaierror):
        return "its name is not known to DNS"
    if isinstance(failure, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(failure, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(failure, ConnectionError):
        return "the connection broke before an answer came"
    if isinstance(failure, http.client.HTTPException):
        return "what answers there does not speak HTTP"
    return (failure.strerror or type(failure).__name__).lower()
