"""What must be true of a request at the moment it reaches the PG. Shares no code with the engine.

The doorman stands at the PG's door with its own eyes on the database: plain SQL on committed rows, and its own memory
of what arrived before. It judges a charge when it arrives, and condemns it when it left a record at the PG: one that was
turned away at the door (a dead token, a limit) moved nothing.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

CHARGE = "/subscribe/payments/again"
_DAY, _SEOUL = 86_400, 9 * 3_600
_LIVE = ("planned", "sending", "unknown", "mismatch")
_LEASE_SECONDS = 180.0
_RACE_SECONDS = 120.0
"""Between probe and send the PG may approve late what it had declined: nobody can see that in time."""


class Send(Protocol):
    """One request as the network carries it."""

    @property
    def path(self) -> str: ...
    @property
    def headers(self) -> Any: ...
    @property
    def body(self) -> bytes: ...
    @property
    def sent_at(self) -> float: ...
    @property
    def is_copy(self) -> bool: ...
    @property
    def is_late(self) -> bool: ...


class Answered(Protocol):
    """An HTTP answer."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Any: ...


class Sender(Protocol):
    """The process that asked."""

    @property
    def has_failed(self) -> bool: ...


@dataclass(slots=True)
class Arrival:
    """One charge at the PG: what is wrong with it if it is let in, and whether it runs still."""

    uid: str
    at: float
    is_copy: bool
    suspicions: list[str] = field(default_factory=list)


def stem(uid: str) -> str:
    """What the order numbers of one invoice share: all but `a` and two digits."""
    return uid[:-3]


def seconds(instant: str | None) -> float:
    """An instant as the database keeps it, in Unix seconds; far in the future for none."""
    if instant is None:
        return float("inf")
    return datetime.fromisoformat(instant).astimezone(UTC).timestamp()


class Doorman:
    """Judges arrivals.

    Args:
        db: the engine's database; only asked when no transaction is open.
        secret: the API secret, with which the engine keys the fingerprints of its tokens.
        now: the instant, in Unix seconds.
        report: is told every broken promise.
        open_windows: the order numbers of a stem under which a buyer may still pay by himself.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        *,
        secret: str,
        now: Callable[[], float],
        report: Callable[[str], None],
        open_windows: Callable[[str, float], Iterator[str]] = lambda _stem, _at: iter(()),
    ) -> None:
        self._db, self._secret, self._now, self._report = db, secret, now, report
        self._open_windows = open_windows
        self.arrived: defaultdict[str, int] = defaultdict(int)
        """Requests that arrived per order number, the copies a proxy made not counted."""
        self.copies: set[tuple[str, float]] = set()
        """Order number and instant of what only a proxy's copy brought about."""
        self._running: defaultdict[str, list[Arrival]] = defaultdict(list)
        self._days: dict[tuple[str, int], str] = {}
        self._not_before: dict[str, tuple[float, Sender]] = {}
        self._restored_at = 0.0

    def forgets(self) -> None:
        """The database was put back to an older state: what it knew of earlier arrivals is gone, and rightly so."""
        self.arrived.clear()
        self._restored_at = self._now()

    def arrives(self, parcel: Send) -> Arrival | None:
        """A money request is at the door."""
        if parcel.path != CHARGE:
            return None
        order = json.loads(parcel.body)
        uid = order["merchant_uid"]
        arrival = Arrival(uid, self._now(), parcel.is_copy)
        if parcel.is_copy:
            self.copies.add((uid, arrival.at))
        elif parcel.sent_at >= self._restored_at:
            self.arrived[uid] += 1
            arrival.suspicions += self._suspicions(parcel, order, arrival)
        self._running[stem(uid)].append(arrival)
        return arrival

    def heard(self, parcel: Send, answer: Answered, by: Sender) -> None:
        """An answer reached its sender. One that asks for patience binds everybody, once its sender lived to write it down."""
        if parcel.path == CHARGE and answer.status == 429:
            until = self._now() + float(answer.headers.get("retry-after", 0))
            self._not_before[json.loads(parcel.body)["merchant_uid"]] = (until, by)

    def served(self, arrival: Arrival | None) -> None:
        """The PG is done with it, and the mirror knows what came of it."""
        if arrival is None:
            return
        self._running[stem(arrival.uid)].remove(arrival)
        left_a_record = self._db.execute(
            "SELECT 1 FROM pg_payment WHERE merchant_uid = ? AND abs(started_at - ?) < 1e-6", (arrival.uid, arrival.at)
        )
        if arrival.suspicions and left_a_record.fetchone():
            for one in arrival.suspicions:
                self._report(one)

    def _suspicions(self, parcel: Send, order: dict[str, Any], arrival: Arrival) -> Iterator[str]:
        uid = arrival.uid
        row = self._db.execute(
            "SELECT a.state, a.amount, a.customer_uid, a.token_fp, a.wire_count, a.trigger, a.sent_at, a.seq, a.invoice_id,"
            " a.subscription_id, i.state, i.total FROM billing_attempt a JOIN billing_invoice i ON i.id = a.invoice_id"
            " WHERE a.merchant_uid = ?",
            (uid,),
        ).fetchone()
        if row is None:
            yield f"I6: {uid} arrived and no committed row says so"
            return
        state, amount, customer_uid, token_fp, wire_count, trigger, sent_at, seq, invoice_id, subscription_id, _, total = row
        is_fresh = not parcel.is_late and arrival.at - seconds(sent_at) < _LEASE_SECONDS
        yield from _written(parcel, order, self._secret, state, amount, customer_uid, token_fp, total, is_fresh=is_fresh)
        if self.arrived[uid] > wire_count:
            yield f"I7: {uid} arrived {self.arrived[uid]} times and was armed {wire_count} times"
        yield from self._one_at_a_time(arrival)
        yield from self._earlier_ones_decided(invoice_id, seq, trigger, arrival)
        yield from self._still_wanted(uid, subscription_id, seconds(sent_at))
        if trigger == "automatic" and sent_at is not None:
            yield from self._one_a_day(uid, subscription_id, seconds(sent_at))
        until, by = self._not_before.get(uid, (0.0, None))
        if by is not None and not by.has_failed and not parcel.is_late and arrival.at < until:
            yield f"I19: {uid} arrived {until - arrival.at:.0f} s before the PG said it may"

    def _one_at_a_time(self, arrival: Arrival) -> Iterator[str]:
        """I8: two requests of one invoice are never at the PG together. Breaks when something is sent again too early."""
        for other in self._running[stem(arrival.uid)]:
            if not other.is_copy:
                yield f"I8: {arrival.uid} arrived while {other.uid} was being served"

    def _earlier_ones_decided(self, invoice_id: str, seq: int, trigger: str, arrival: Arrival) -> Iterator[str]:
        """I5: a new number arrives only when every earlier one of its invoice is decided and not paid, and no window is open.

        Breaks when unknown is taken for failed, when nobody asks the PG first, when the PG's pending is taken for no, or
        when a buyer's window is taken for closed while he can pay in it.
        """
        for uid, state in self._db.execute(
            f"SELECT merchant_uid, state FROM billing_attempt WHERE invoice_id = ? AND seq < ? AND state IN {_LIVE}",
            (invoice_id, seq),
        ):
            yield f"I5: {arrival.uid} arrived while {uid} was {state}"
        for uid, status, paid_at, visible_at in self._db.execute(
            "SELECT merchant_uid, status, paid_at, visible_at FROM pg_payment WHERE stem = ? AND merchant_uid <= ?"
            " AND (kept > 0 OR status = 'ready' AND imp_uid NOT GLOB 'imp[_]*') AND excuse IS NOT 'ruled'",
            (stem(arrival.uid), arrival.uid),
        ):
            if max(paid_at, visible_at) < arrival.at - _RACE_SECONDS:
                yield f"I5: {arrival.uid} arrived although {uid} is {status} at the PG"
        # Whoever charges by hand beside a window that was declined answers for the buyer's other tab.
        for uid in self._open_windows(stem(arrival.uid), arrival.at) if trigger == "automatic" else ():
            yield f"I5: {arrival.uid} arrived while {uid} can be paid in a window"

    def _still_wanted(self, uid: str, subscription_id: str, sent_at: float) -> Iterator[str]:
        """I9: nothing is armed after a freeze, a cancellation or a pause was committed.

        Breaks when arming does not look again.
        """
        frozen = self._db.execute("SELECT changed_at FROM billing_freeze WHERE is_frozen").fetchone()
        if frozen is not None and seconds(frozen[0]) < sent_at:
            yield f"I9: {uid} was armed while charging was frozen"
        state, canceled_at, paused_at = self._db.execute(
            "SELECT state, canceled_at, (SELECT max(at) FROM billing_audit WHERE subscription_id = s.id"
            " AND action = 'subscription.paused') FROM billing_subscription s WHERE id = ?",
            (subscription_id,),
        ).fetchone()
        if state == "canceled" and seconds(canceled_at) < sent_at:
            yield f"I9: {uid} was armed after its subscription was canceled"
        if state == "paused" and seconds(paused_at) < sent_at:
            yield f"I9: {uid} was armed after its subscription was paused"

    def _one_a_day(self, uid: str, subscription_id: str, sent_at: float) -> Iterator[str]:
        """I14: a subscription is charged by itself once a local day. Breaks when a backlog or a second planner is let loose."""
        day = (subscription_id, int((sent_at + _SEOUL) // _DAY))
        other = self._days.setdefault(day, uid)
        if other != uid:
            yield f"I14: {uid} and {other} were charged on one day without anybody asking"


def _written(
    parcel: Send,
    order: dict[str, Any],
    secret: str,
    state: str,
    amount: int,
    customer_uid: str,
    token_fp: str | None,
    total: int,
    *,
    is_fresh: bool,
) -> Iterator[str]:
    """I6: what arrives was written down and committed first, word for word. Breaks when something is sent unarmed or changed."""
    uid = order["merchant_uid"]
    if (order["amount"], order["customer_uid"]) != (amount, customer_uid) or amount != total:
        yield f"I6: {uid} asks {order['amount']} of {order['customer_uid']}, written are {amount} of {total} and {customer_uid}"
    token = parcel.headers.get("authorization", "").removeprefix("Bearer ")
    if token_fp != hmac.digest(secret.encode(), token.encode(), "sha256").hex()[:16]:
        yield f"I6: {uid} arrived under another token than it was armed with"
    # Held up for longer than a lease, it may find its row waiting; never decided, for nobody could know how it ends.
    if state not in (("sending",) if is_fresh else ("sending", "unknown")):
        yield f"I6: {uid} arrived while its row said {state}"
