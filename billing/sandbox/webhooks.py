"""Notices to the merchant: when one is due, what it says, and how it is sent."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from billing.sandbox import outgoing
from billing.sandbox.call import Call
from billing.sandbox.config import SandboxConfig
from billing.sandbox.faults import Subject, seconds
from billing.sandbox.state import State
from billing.sandbox.wire import to_json

_RETRY_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0
_SENDING_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice: `facts` are its three or four fields, `body` the same as they travel.

    `state` is pending, sending, sent, failed, dropped (by a fault), refused (`said` tells why),
    or kept: it has no address, and waits for a `deliver` or to be read. `due_at` is sandbox time.
    """

    id: int
    url: str | None
    content_type: str
    body: bytes
    facts: dict[str, str]
    due_at: float
    state: str
    said: str | None


Deliver = Callable[[Notice], int | None]
"""Hands a notice to the merchant; returns the HTTP status (None means 200), raises OSError if unreachable."""


def tell(call: Call, payment: Any, *, cancellation_id: str | None = None, early: bool = False) -> None:
    """Queue the notice of what has just become of a payment.

    Source: PortOne webhook guide V1: the body carries imp_uid, merchant_uid, status, and
    cancellation_id on cancels; `notice_url` of a payment replaces the console's address.
    """
    facts = {"imp_uid": payment["imp_uid"], "merchant_uid": payment["merchant_uid"], "status": payment["status"]}
    if cancellation_id is not None:
        facts["cancellation_id"] = cancellation_id
    is_dropped, due_at, copies = False, call.now, 1
    if call.faults.rows:
        call.subject = Subject(payment["merchant_uid"], payment["customer_uid"], payment["card_number"])
        is_dropped = call.strikes("webhook_drop") is not None
        if call.strikes("webhook_twice"):
            copies = 2
        held = call.strikes("webhook_reorder")
        if held:
            due_at += seconds(held["value"], 5)
    call.notifies_early |= early
    urls = (payment["notice_url"] or call.config.webhook_url or "").split() or [None]
    for url in urls * copies:
        state, said = ("kept", None) if url is None else ("pending", None)
        if is_dropped:
            state = "dropped"
        elif url is not None and not call.config.may_notify(url):
            state, said = "refused", "the sandbox sends notices to this machine only (webhook_allow_remote)"
        call.state.insert(
            "notices",
            url=url,
            format=call.config.webhook_format,
            facts=to_json(facts),
            made_at=call.now,
            due_at=due_at,
            is_early=early,
            state=state,
            said=said,
        )


def notice_of(row: Any) -> Notice:
    """Return a queued notice as it travels."""
    facts: dict[str, str] = json.loads(row["facts"])
    as_json = row["format"] == "json"
    return Notice(
        id=row["id"],
        url=row["url"],
        content_type="application/json" if as_json else "application/x-www-form-urlencoded",
        body=(to_json(facts) if as_json else urlencode(facts)).encode(),
        facts=facts,
        due_at=row["due_at"],
        state=row["state"],
        said=row["said"],
    )


class Courier:
    """Sends queued notices, each claimed by exactly one process, outside of any transaction."""

    def __init__(self, state: State, lock: threading.RLock, config: SandboxConfig, deliver: Deliver | None) -> None:
        self._state = state
        self._lock = lock
        self._config = config
        self._deliver = deliver

    def deliver(self, now: float, *, only_early: bool = False) -> int:
        """Send what is due at sandbox time `now`, oldest first; return how many were tried."""
        tried = 0
        while (notice := self._claim(now, only_early=only_early)) is not None:
            tried += 1
            self._conclude(notice, now, *self._send(notice))
        return tried

    def _claim(self, now: float, *, only_early: bool) -> Notice | None:
        # A process killed between claim and answer leaves `sending` behind; its notice is sent again.
        with self._lock, self._state.transaction():
            row = self._state.one(
                "SELECT * FROM notices WHERE (state = 'pending' AND due_at <= ? OR state = 'sending' AND due_at <= ?"
                " OR ? AND state = 'kept' AND due_at <= ?) AND is_early >= ? ORDER BY due_at, id LIMIT 1",
                (now, now - _SENDING_SECONDS, self._deliver is not None, now, only_early),
            )
            if row is None:
                return None
            self._state.run("UPDATE notices SET state = 'sending', due_at = ?, tries = tries + 1 WHERE id = ?", (now, row["id"]))
            return notice_of(row)

    def _send(self, notice: Notice) -> tuple[int, str]:
        try:
            status = self._deliver(notice) if self._deliver else post(notice)
        except OSError as error:
            return 0, type(error).__name__
        return status or 200, f"HTTP {status or 200}"

    def _conclude(self, notice: Notice, now: float, status: int, said: str) -> None:
        """Book the merchant's answer.

        Source: PortOne webhook guide V1: repeats, where support enabled them, follow a
        network error (logged as 0) or a 5xx, one minute apart.
        """
        with self._lock, self._state.transaction():
            tries = self._state.one("SELECT tries FROM notices WHERE id = ?", (notice.id,))["tries"]
            again = (status == 0 or status >= 500) and tries <= self._config.webhook_retries
            state = "sent" if 200 <= status < 300 else "pending" if again else "failed"
            due_at = now + _RETRY_SECONDS if again else now
            self._state.run("UPDATE notices SET state = ?, due_at = ?, said = ? WHERE id = ?", (state, due_at, said, notice.id))


def post(notice: Notice) -> int:
    """POST a notice and return the status.

    Raises:
        OSError: nobody answered, or not in HTTP.
    """
    status, _ = outgoing.post(
        notice.url or "", notice.content_type, notice.body, connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS
    )
    return status


class CourierThread:
    """Keeps a sandbox's notices flowing while it is being served."""

    _PAUSE_SECONDS = 0.05

    def __init__(self, deliver_due: Callable[[], int]) -> None:
        self._deliver_due = deliver_due
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-courier", daemon=True)

    def start(self) -> None:
        """Start delivering."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the notice that is on its way."""
        self._stopped.set()
        self._thread.join(timeout=_READ_SECONDS)

    def _run(self) -> None:
        while not self._stopped.wait(self._PAUSE_SECONDS):
            self._deliver_due()
