"""What must be true of the books at any moment, and at rest. Shares no code with the engine.

Plain SQL on the engine's own rows, beside a mirror of the PG's ledger (`pg_payment`, `pg_refund`) that is kept in
temporary tables of the same connection. Each promise is one function whose docstring says what would break it; each
can: `tests/simulation/test_checker.py` breaks them one by one. Promises about a request on its way in are kept by the
doorman (`doorman.py`), those about a buyer's window by the usher (`usher.py`); the numbers are those of the reliability
plan, I1 to I20, and what follows them.

Most promises are checked after every step. The dearer ones that look at whole histories (I12, I13, I15, I21) are
checked once a virtual day, after every act of a foreign hand, and at rest.
"""

from __future__ import annotations

import sqlite3
from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

from billing.simulate.doorman import Answered, Arrival, Doorman, Send, Sender, stem
from billing.simulate.usher import Usher, is_from_a_window

_KST = timezone(timedelta(hours=9))
_LIVE = "('planned', 'sending', 'unknown', 'mismatch')"
_UNDECIDED = "('planned', 'sending', 'unknown')"

# What a row promised when it was written. Columns that may change later are left out.
WRITTEN_ONCE = {
    "billing_identity": "ledger_id, uid_prefix",
    "billing_price": "code, version, amount, currency, interval_count, interval_unit, alignment, trial_days, setup_fee",
    "billing_invoice": "number, subscription_id, purpose, period_index, period_start, period_end, uid_stem, currency, total, vat",
    "billing_invoice_line": "invoice_id, position, kind, quantity, unit_amount, amount, vat, price_id",
    "billing_attempt": "id, invoice_id, seq, merchant_uid, customer_uid, amount, currency",
    "billing_payment": "imp_uid, attempt_id, invoice_id, merchant_uid, amount, currency",
    "billing_refund": "id, imp_uid, invoice_id, request_key, amount, currency",
    "billing_ledger_transfer": "kind, ref, debit, credit, amount, currency",
    "billing_charge_day": "subscription_id, local_day, attempt_id",
    "billing_checkout": "id, purpose, customer_id, invoice_id, actor, created_at, expires_at",
    "billing_virtual_account": "imp_uid, attempt_id, invoice_id, bank_code, number, amount, currency, due_at",
    "billing_outbox_event": '"key", topic, customer_id, version, payload',
    "billing_audit": "actor, action, subject, details, previous, digest, at",
}

# Where an attempt can still get to from each state, over any number of steps.
_REACHABLE = {
    "paid": set(),
    "surplus": set(),
    "declined": {"paid", "mismatch", "surplus"},
    "rejected": {"paid", "mismatch", "surplus"},
    "void": {"paid", "mismatch", "surplus"},  # and, for windows, open again
    "mismatch": {"paid", "surplus", "void"},
}

_MIRROR = """
CREATE TEMP TABLE IF NOT EXISTS pg_payment (
    imp_uid TEXT PRIMARY KEY, merchant_uid TEXT, stem TEXT, customer_uid TEXT, amount, cancel_amount, currency TEXT,
    status TEXT, sandbox INTEGER, took, kept, started_at REAL, paid_at REAL, visible_at REAL, excuse TEXT
);
CREATE INDEX IF NOT EXISTS temp.pg_payment_stem ON pg_payment (stem);
CREATE TEMP TABLE IF NOT EXISTS pg_refund (cancellation_id TEXT PRIMARY KEY, imp_uid TEXT, amount, reason TEXT, source TEXT);
DELETE FROM pg_payment;
DELETE FROM pg_refund;
"""


class Checker:
    """Reports every promise broken.

    Args:
        db: the engine's database; only asked while no transaction is open.
        changes: what moved in the PG's ledger since an instant.
        prefix: how our order numbers begin.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        *,
        changes: Callable[[float], Mapping[str, Sequence[Mapping[str, Any]]]],
        prefix: str,
        secret: str,
        now: Callable[[], float],
    ) -> None:
        self.broken: list[str] = []
        self.usher = Usher(db, now=now, report=self.broken.append)
        self.doorman = Doorman(db, secret=secret, now=now, report=self.broken.append, open_windows=self.usher.open_windows)
        self.checks = 0
        self._db, self._changes, self._prefix, self._now = db, changes, prefix, now
        self._seen_changes = self._seen_closely = -1
        self._mirrored_at = float("-inf")
        self._attempts: set[tuple[Any, ...]] = set()
        self._states: dict[str, tuple[str, int, int]] = {}
        self._refunds: dict[str, tuple[Any, ...]] = {}
        self._written: dict[str, tuple[int, str]] = {}
        self._heard: set[str] = set()
        self._last_heard: dict[str, int] = {}
        self._periods_until = 0
        self._restored_at = 0.0
        db.executescript(_MIRROR)

    # --- the PG's side -------------------------------------------------------------------------

    def arrives(self, parcel: Send) -> Arrival | None:
        """See `Doorman.arrives`."""
        return self.doorman.arrives(parcel)

    def heard(self, parcel: Send, answer: Answered, by: Sender) -> None:
        """See `Doorman.heard`."""
        self.doorman.heard(parcel, answer, by)

    def served(self, arrival: Arrival | None, answer: Answered | None) -> None:  # noqa: ARG002 (what it said is `heard`)
        """See `Doorman.served`; the mirror learns first what the PG has just done."""
        self.mirror()
        self.doorman.served(arrival)

    def mirror(self) -> None:
        """Bring the mirror of the PG's ledger up to date."""
        moved = self._changes(self._mirrored_at)
        self._mirrored_at = self._now()
        for one in moved["payments"]:
            uid = one["merchant_uid"]
            copied = any(uid == name and abs(one["started_at"] - at) < 1e-6 for name, at in self.doorman.copies)
            excuse = self._excuse(one) if is_from_a_window(one["imp_uid"]) else "copied" if copied else None
            self._db.execute(
                "INSERT INTO pg_payment VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (imp_uid) DO UPDATE SET customer_uid = excluded.customer_uid, amount = excluded.amount,"
                " currency = excluded.currency, sandbox = excluded.sandbox, cancel_amount = excluded.cancel_amount,"
                " status = excluded.status, took = excluded.took, kept = excluded.kept, paid_at = excluded.paid_at,"
                # The PG said no and took the money later: it was its own doing, and a second payment may be none of ours.
                " excuse = coalesce(excuse, excluded.excuse,"
                " CASE WHEN status = 'failed' AND excluded.kept > 0 THEN 'approved late' END)",
                (
                    one["imp_uid"], uid, stem(uid), one["customer_uid"], one["amount"], one["cancel_amount"], one["currency"],
                    one["status"], one["sandbox"], one["took_money"], one["kept"], one["started_at"], one["paid_at"],
                    one["visible_at"], excuse,
                ),
            )  # fmt: skip
        for one in moved["refunds"]:
            self._db.execute(
                "INSERT OR IGNORE INTO pg_refund VALUES (?, ?, ?, ?, ?)",
                (one["cancellation_id"], one["imp_uid"], one["amount"], one["reason"], one["source"]),
            )

    def _excuse(self, one: Mapping[str, Any]) -> str | None:
        """Asked once, when a window's payment begins to hold money."""
        before = self._db.execute("SELECT took FROM pg_payment WHERE imp_uid = ?", (one["imp_uid"],)).fetchone()
        return self.usher.excuse(one) if one["kept"] > 0 and not (before and before[0]) else None

    def told(self, key: str, subscription: str | None, version: int) -> None:
        """The host took an event. I12: what comes for the first time comes in the order of the subscription's versions."""
        if key in self._heard:
            return
        self._heard.add(key)
        if subscription is not None:
            if version < self._last_heard.get(subscription, 0):
                self.broken.append(f"I12: {key} came after version {self._last_heard[subscription]}")
            self._last_heard[subscription] = version

    def orphan(self, imp_uid: str) -> None:
        """A human explained this payment, whose subscription the restored database does not know."""
        self._db.execute("UPDATE pg_payment SET excuse = coalesce(excuse, 'orphan') WHERE imp_uid = ?", (imp_uid,))

    def ruled(self, imp_uid: str) -> None:
        """A human ruled this payment to be given back, so that the invoice may be charged again."""
        self._db.execute("UPDATE pg_payment SET excuse = 'ruled' WHERE imp_uid = ?", (imp_uid,))

    def forgets(self) -> None:
        """The database was put back to an older state, and may know less than it did."""
        self.doorman.forgets()
        self.usher.forgets()
        self._attempts, self._states, self._refunds, self._written = set(), {}, {}, {}
        self._periods_until = 0
        self._last_heard = {}
        self._restored_at = self._now()

    # --- moments -------------------------------------------------------------------------------

    def look(self, *, closely: bool = False, force: bool = False) -> None:
        """Check what must hold after every step, and `closely` what is checked daily, where anything moved."""
        seen = self._seen_closely if closely else self._seen_changes
        if self._db.total_changes == seen and not force:
            return
        self.mirror()
        self.checks += 1
        for promise in (paid_once, known, real, one_live, balanced, refunds_match):
            self.broken += promise(self)
        self.broken += self._arrows()
        if closely:
            for promise in (told, chained, sensible):
                self.broken += promise(self)
            self.broken += self._periods()
            self.broken += self._written_once()
            self.broken += self.usher.closely()
            self._seen_closely = self._db.total_changes
        self._seen_changes = self._db.total_changes

    def look_at_rest(self) -> None:
        """Check everything, and what must hold once no fault has struck for days."""
        self.look(closely=True, force=True)
        for promise in (decided, all_known, given_back):
            self.broken += promise(self)
        for (key,) in self._db.execute(
            'SELECT "key" FROM billing_outbox_event WHERE occurred_at > ?', (_text(self._restored_at),)
        ):
            if key not in self._heard:
                self.broken.append(f"I12: {key} never reached the host")

    def due(self) -> set[tuple[str, str]]:
        """What is due now: for `completed_pass`, from before the pass."""
        at = _text(self._now())
        return set(
            self._db.execute(
                "SELECT id, due_at FROM billing_subscription WHERE due_at <= ?1"
                " UNION SELECT id, next_attempt_at FROM billing_invoice WHERE next_attempt_at <= ?1",
                (at,),
            )
        )

    def completed_pass(self, was_due: set[tuple[str, str]], poisoned: Sequence[str]) -> None:
        """I20: a pass that ends well leaves nothing behind that was due when it began, whatever one poisoned row does.

        Breaks when one row that cannot be worked on keeps its neighbours from being worked on.
        """
        for id, at in sorted(was_due & self.due()):
            if id not in poisoned:
                self.broken.append(f"I20: a pass ended well and left {id}, due since {at}")

    # --- what needs a memory -------------------------------------------------------------------

    def _arrows(self) -> Iterator[str]:
        """I7: an attempt moves along its arrows, and its fence and its count of sends only grow.

        Breaks when somebody takes PAID back, revives what is decided, or lets a zombie's fence pass for a new one.
        """
        rows = set(self._db.execute("SELECT merchant_uid, way, state, fence, wire_count FROM billing_attempt"))
        for uid, way, state, fence, wires in sorted(rows - self._attempts):
            before, fence_before, wires_before = self._states.get(uid, (state, fence, wires))
            is_reopened = before == "void" and way in ("window", "issue") and wires > wires_before
            if state != before and state not in _REACHABLE.get(before, {state}) and not is_reopened:
                yield f"I7: {uid} went from {before} to {state}"
            if fence < fence_before or wires < wires_before:
                yield f"I7: {uid} went back from fence {fence_before}, sent {wires_before} times, to {fence} and {wires}"
            self._states[uid] = (state, fence, wires)
        self._attempts = rows
        refunds = {
            row[0]: row[1:]
            for row in self._db.execute("SELECT id, state, fence, wire_count, checksum, cancellation_id FROM billing_refund")
        }
        for id, now in refunds.items():
            before = self._refunds.get(id, now)
            if before[0] == "done" != now[0] or now[1] < before[1] or now[2] < before[2]:
                yield f"I11: refund {id} went back from {before[:3]} to {now[:3]}"
            if (before[0] == now[0] != "planned" and now[3] != before[3]) or (before[4] is not None and now[4] != before[4]):
                yield f"I11: refund {id} is asked for under {now[3:]}, it was under {before[3:]}"
        self._refunds = refunds

    def _written_once(self) -> Iterator[str]:
        """I21: what was agreed stays as it was written, and no row of money vanishes.

        Breaks when a hand edits an amount, a card or a period after the fact, or deletes a row.
        """
        for table, columns in WRITTEN_ONCE.items():
            until, text = self._written.get(table, (0, ""))
            if until:
                now_text = self._text_of(table, columns, until)
                if now_text != text:
                    yield f"I21: {table}: rows written before were changed or are gone"
            last = self._db.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0]
            self._written[table] = (last, self._text_of(table, columns, last))

    def _text_of(self, table: str, columns: str, until: int) -> str:
        glued = " || '|' || ".join(f"coalesce({column.strip()}, '')" for column in columns.split(","))
        query = f"SELECT group_concat(text, x'0a') FROM (SELECT {glued} AS text FROM {table} WHERE rowid <= ? ORDER BY rowid)"
        return self._db.execute(query, (until,)).fetchone()[0] or ""

    def _periods(self) -> Iterator[str]:
        """I13: periods are whole, touch each other, and stand where the anchor puts them.

        Breaks when a boundary is counted from the one before (31 January, 28 February, 28 March) or billed twice.
        """
        last = self._db.execute("SELECT coalesce(max(rowid), 0) FROM billing_invoice").fetchone()[0]
        for id, index, start, end, first_on, anchor_on, count, unit in self._db.execute(
            "SELECT s.id, i.period_index, i.period_start, i.period_end, s.first_on, s.anchor_on, s.interval_count,"
            " s.interval_unit FROM billing_invoice i JOIN billing_subscription s ON s.id = i.subscription_id"
            " WHERE i.rowid > ? AND s.time_zone = 'Asia/Seoul'",
            (self._periods_until,),
        ):
            wanted = _boundaries(date.fromisoformat(first_on), date.fromisoformat(anchor_on), index, count, unit)
            found = tuple(datetime.fromisoformat(one).astimezone(_KST) for one in (start, end))
            if tuple(one.date() for one in found) != wanted or any(one.hour or one.minute for one in found):
                yield f"I13: period {index} of {id} is {found[0]:%F}..{found[1]:%F}, its anchor says {wanted[0]}..{wanted[1]}"
        for id, index, times in self._db.execute(
            "SELECT subscription_id, period_index, count(*) FROM billing_invoice WHERE purpose = 'period'"
            " GROUP BY 1, 2 HAVING count(*) > 1"
        ):
            yield f"I13: period {index} of {id} was billed {times} times"
        self._periods_until = last


# --- after every step ---------------------------------------------------------------------------


def paid_once(one: Checker) -> Iterator[str]:
    """I1: of all payments of an invoice at the PG, at most one keeps money that we asked for.

    Not asked for are what a proxy's copy brought about, what the PG approved after it had declined, what a human ruled to
    be given back, and what a buyer pays too much in windows; see `Usher.excuse`. Breaks when anything is sent under a
    second number, or twice under one.
    """
    for name, count, uids in one._db.execute(
        "SELECT stem, count(*), group_concat(imp_uid) FROM pg_payment WHERE kept > 0 AND excuse IS NULL"
        " GROUP BY stem HAVING count(*) > 1"
    ):
        yield f"I1: the invoice of {name} was paid {count} times: {uids}"


def known(one: Checker) -> Iterator[str]:
    """I2: money at the PG under our numbers is in our books, or its attempt is still being looked at.

    Breaks when an answer is lost and nobody asks again, or when unknown is taken for failed.
    """
    for imp_uid, uid, state in one._db.execute(
        "SELECT p.imp_uid, p.merchant_uid, a.state FROM pg_payment p LEFT JOIN billing_attempt a USING (merchant_uid)"
        " WHERE p.kept > 0 AND p.excuse IS NULL AND p.merchant_uid GLOB ? AND p.started_at > ?"
        # Of two records under one number a look-up shows one, be it that of a window that failed; the other is found by
        # reconciliation, at rest.
        " AND NOT EXISTS (SELECT 1 FROM pg_payment c WHERE c.merchant_uid = p.merchant_uid"
        "  AND c.excuse IN ('copied', 'second window'))"
        " AND NOT EXISTS (SELECT 1 FROM billing_payment b WHERE b.imp_uid = p.imp_uid)"
        f" AND (a.state IS NULL OR a.state NOT IN {_UNDECIDED})"
        " AND NOT (a.state = 'declined' AND a.way IN ('window', 'issue'))",
        (f"{one._prefix}*", one._restored_at),
    ):
        yield f"I2: {imp_uid} ({uid}) was paid and its attempt is {state or 'gone'}"


def real(one: Checker) -> Iterator[str]:
    """I3: what our books call paid, the PG took: this number, this amount, this card, this mode.

    Breaks when an answer, a webhook or a timer is believed instead of the record, or a record that differs is accepted.
    """
    for imp_uid, amount, theirs, uid in one._db.execute(
        "SELECT b.imp_uid, b.amount, p.amount, b.merchant_uid FROM billing_payment b"
        " LEFT JOIN pg_payment p ON p.imp_uid = b.imp_uid"
        " WHERE p.imp_uid IS NULL OR p.paid_at = 0 OR p.amount <> b.amount OR p.merchant_uid <> b.merchant_uid"
    ):
        yield f"I3: {imp_uid} ({uid}) is booked over {amount}, at the PG it is {theirs}"
    for number, uid, why in one._db.execute(
        "SELECT i.number, b.merchant_uid, p.amount || ' of ' || coalesce(p.customer_uid, 'nobody') || ', test mark ' || p.sandbox"
        " FROM billing_payment b JOIN billing_invoice i ON i.id = b.invoice_id JOIN billing_attempt a ON a.id = b.attempt_id"
        " JOIN pg_payment p ON p.imp_uid = b.imp_uid WHERE b.role = 'invoice' AND p.excuse IS NOT 'ruled'"
        " AND (p.amount <> i.total OR p.currency <> i.currency OR NOT p.sandbox OR coalesce(p.customer_uid, '') <> a.customer_uid"
        # All of it, paid in a window under a number that was not sent yet: by whom is nobody's business.
        "  AND NOT (p.imp_uid GLOB 'imp[_]*' AND p.customer_uid IS NULL))"
    ):
        yield f"I3: invoice {number} is paid by {uid}, which is {why}"
    for number in one._db.execute(
        "SELECT i.number FROM billing_invoice i WHERE i.state = 'paid' AND i.total > 0 AND NOT EXISTS"
        " (SELECT 1 FROM billing_payment b JOIN billing_attempt a ON a.id = b.attempt_id"
        "  WHERE b.invoice_id = i.id AND b.role = 'invoice' AND a.state = 'paid')"
    ):
        yield f"I3: invoice {number[0]} is paid and no payment of it is"
    for uid, state in one._db.execute(
        "SELECT a.merchant_uid, i.state FROM billing_attempt a JOIN billing_invoice i ON i.id = a.invoice_id"
        " WHERE a.state = 'paid' AND i.state <> 'paid'"
    ):
        yield f"I3: {uid} is paid and its invoice is {state}"


def one_live(one: Checker) -> Iterator[str]:
    """I4: an invoice has one live attempt at most, and one paid one. Breaks when two planners win one race."""
    for states in (_LIVE, "('paid')"):
        for number, count in one._db.execute(
            f"SELECT i.number, count(*) FROM billing_attempt a JOIN billing_invoice i ON i.id = a.invoice_id"
            f" WHERE a.state IN {states} GROUP BY a.invoice_id HAVING count(*) > 1"
        ):
            yield f"I4: invoice {number} has {count} attempts in {states}"


def balanced(one: Checker) -> Iterator[str]:
    """I10: every payment stands in the ledger once and to the won, and every paid invoice was sold for its total.

    Breaks when a booking is written in part, twice, or with an amount of its own.
    """
    for imp_uid, amount, booked in one._db.execute(
        "SELECT b.imp_uid, b.amount, (SELECT sum(amount) FROM billing_ledger_transfer t WHERE t.ref = b.imp_uid"
        " AND t.kind = 'charge' AND t.debit = 'pg:receivable') AS booked FROM billing_payment b"
        " JOIN pg_payment p ON p.imp_uid = b.imp_uid WHERE booked IS NOT b.amount"
        " AND NOT (b.role = 'mismatch' AND (NOT p.sandbox OR p.currency <> 'KRW' OR p.cancel_amount > 0))"
    ):
        yield f"I10: payment {imp_uid} over {amount} stands in the ledger over {booked}"
    for ref in one._db.execute(
        "SELECT ref FROM billing_ledger_transfer WHERE kind = 'charge' AND ref NOT IN (SELECT imp_uid FROM billing_payment)"
    ):
        yield f"I10: the ledger holds a charge {ref[0]} that is no payment"
    for number, total, sold in one._db.execute(
        "SELECT i.number, i.total, (SELECT sum(amount) FROM billing_ledger_transfer t WHERE t.ref = i.id"
        " AND t.kind IN ('sale', 'vat')) AS sold FROM billing_invoice i"
        " WHERE (i.state = 'paid' AND i.total > 0 AND sold IS NOT i.total)"
        " OR (i.state <> 'paid' AND sold IS NOT NULL)"
    ):
        yield f"I10: invoice {number} over {total} was sold for {sold}"
    for (row,) in one._db.execute("SELECT id FROM billing_ledger_transfer WHERE amount <= 0 OR debit = credit"):
        yield f"I10: transfer {row} moves nothing"


def refunds_match(one: Checker) -> Iterator[str]:
    """I11: never more is given back than was paid, and what a payment says of its refunds is what they say.

    Breaks when two operators refund at once, or when a figure is written by hand.
    """
    for imp_uid, amount, refunded, reserved, done, planned in one._db.execute(
        "SELECT b.imp_uid, b.amount, b.refunded, b.refund_reserved,"
        " coalesce(sum(CASE WHEN r.state = 'done' THEN r.amount END), 0) AS done,"
        " coalesce(sum(CASE WHEN r.state IN ('planned', 'sending', 'unknown') THEN r.amount END), 0) AS planned"
        " FROM billing_payment b LEFT JOIN billing_refund r ON r.imp_uid = b.imp_uid GROUP BY b.imp_uid"
        " HAVING b.refunded <> done OR b.refund_reserved <> planned OR done + planned > b.amount"
    ):
        yield f"I11: payment {imp_uid} over {amount} says {refunded} + {reserved} refunded, its refunds say {done} + {planned}"
    for imp_uid, cancelled, amount in one._db.execute(
        "SELECT imp_uid, cancel_amount, amount FROM pg_payment WHERE cancel_amount > amount"
    ):
        yield f"I11: {cancelled} of {amount} of {imp_uid} were given back"
    for (id,) in one._db.execute(
        "SELECT r.id FROM billing_refund r LEFT JOIN pg_refund p ON p.cancellation_id = r.cancellation_id"
        " AND p.imp_uid = r.imp_uid AND p.amount = r.amount WHERE r.state = 'done' AND p.cancellation_id IS NULL"
    ):
        yield f"I11: refund {id} is done and the PG's history does not show it"


# --- once a day, after a foreign hand, and at rest --------------------------------------------------


MUST_BE_TOLD: tuple[tuple[str, str, str], ...] = (
    ("invoice.opened", "$.invoice_id", "SELECT id FROM billing_invoice"),
    ("invoice.paid", "$.invoice_id", "SELECT id FROM billing_invoice WHERE state = 'paid'"),
    ("charge.declined", "$.merchant_uid", "SELECT merchant_uid FROM billing_attempt WHERE state IN ('declined', 'rejected')"),
    ("charge.mismatch", "$.merchant_uid", "SELECT merchant_uid FROM billing_attempt WHERE state = 'mismatch'"),
    ("payment.surplus", "$.imp_uid", "SELECT imp_uid FROM billing_payment p WHERE role = 'surplus' AND NOT EXISTS (SELECT 1"
     " FROM billing_audit a WHERE a.action = 'attempt.resolved' AND a.subject = p.merchant_uid)"),
    ("refund.done", "$.refund_id", "SELECT id FROM billing_refund WHERE state = 'done' AND origin <> 'pg'"),
    ("refund.refused", "$.refund_id", "SELECT id FROM billing_refund WHERE state = 'refused'"),
)  # fmt: skip
"""Topic, where its payload names what it tells of, and what must have been told of, once each."""


def told(one: Checker) -> Iterator[str]:
    """I12: what happened to anybody's money is told under one key, once, and a subscription's events in order.

    Breaks when a booking is committed without its event, an event without its booking, or one is told twice.
    """
    for topic, path, query in MUST_BE_TOLD:
        for what, times in one._db.execute(
            f"WITH w (id) AS ({query}) SELECT w.id, count(e.id) FROM w LEFT JOIN billing_outbox_event e"
            " ON e.topic = ? AND json_extract(e.payload, ?) = w.id GROUP BY w.id HAVING count(e.id) <> 1",
            (topic, path),
        ):
            yield f"I12: {topic} of {what} was told {times} times"
    for (id,) in one._db.execute(
        "SELECT s.id FROM billing_subscription s JOIN billing_outbox_event e ON e.subscription_id = s.id GROUP BY s.id"
        " HAVING max(e.version) > s.version OR min(e.version) < 1"
    ):
        yield f"I12: subscription {id} was told of a version it has not reached"
    for id, before, version in one._db.execute(
        "SELECT subscription_id, before, version FROM (SELECT subscription_id, version, lag(version) OVER"
        " (PARTITION BY subscription_id ORDER BY rowid) AS before FROM billing_outbox_event WHERE subscription_id IS NOT NULL)"
        " WHERE version < before"
    ):
        yield f"I12: subscription {id} was told of version {version} after {before}"
    for (key,) in one._db.execute('SELECT "key" FROM billing_outbox_event GROUP BY "key" HAVING count(*) > 1'):
        yield f"I12: {key} was written twice"


def chained(one: Checker) -> Iterator[str]:
    """I15: each audit entry carries the hash of the one before, and each subscription the hash of its last.

    Breaks when an entry is edited, removed or slipped in.
    """
    heads: dict[str, str] = {}
    for id, subscription, actor, action, subject, details, previous, digest, at in one._db.execute(
        "SELECT id, subscription_id, actor, action, subject, details, previous, digest, at FROM billing_audit ORDER BY rowid"
    ):
        expected = heads.get(subscription, "0" * 64) if subscription else "0" * 64
        computed = sha256("\x1f".join((previous, at, actor, action, subject, details)).encode()).hexdigest()
        if previous != expected or digest != computed:
            yield f"I15: the audit chain breaks at {id} ({action} {subject})"
        if subscription:
            heads[subscription] = digest
    for id, head in one._db.execute("SELECT id, audit_head FROM billing_subscription"):
        if head != heads.get(id, "0" * 64):
            yield f"I15: subscription {id} does not end where its audit chain does"


NONSENSE: tuple[tuple[str, str], ...] = (
    ("an attempt's number is not the one its invoice derives",
     "SELECT a.merchant_uid FROM billing_attempt a JOIN billing_invoice i ON i.id = a.invoice_id"
     " WHERE a.merchant_uid <> i.uid_stem || 'a' || printf('%02d', a.seq) OR a.seq NOT BETWEEN 1 AND 16 OR a.amount <> i.total"),
    ("an attempt names a payment that is not its own",
     "SELECT a.merchant_uid FROM billing_attempt a LEFT JOIN billing_payment b ON b.imp_uid = a.imp_uid AND b.attempt_id = a.id"
     " WHERE a.imp_uid IS NOT NULL AND b.imp_uid IS NULL OR a.state IN ('paid', 'surplus', 'mismatch') AND a.imp_uid IS NULL"),
    ("an attempt is armed and nobody will look after it",
     "SELECT merchant_uid FROM billing_attempt WHERE state = 'sending' AND (wake_at IS NULL OR token_fp IS NULL)"),
    ("an invoice has more attempts than numbers, or fewer than there are",
     "SELECT number FROM billing_invoice i WHERE attempts_planned NOT BETWEEN 0 AND 16 OR attempts_planned <"
     " (SELECT coalesce(max(seq), 0) FROM billing_attempt a WHERE a.invoice_id = i.id)"),
    ("an invoice's lines do not sum to it",
     "SELECT i.number FROM billing_invoice i LEFT JOIN billing_invoice_line l ON l.invoice_id = i.id GROUP BY i.rowid"
     " HAVING coalesce(sum(l.amount), 0) <> i.total OR min(l.part_days) < 1 OR max(l.part_days > l.natural_days)"),
    ("what is settled is to be tried",
     "SELECT number FROM billing_invoice WHERE state <> 'open' AND next_attempt_at IS NOT NULL"),
    ("who has stopped is to be billed",
     "SELECT id FROM billing_subscription WHERE state IN ('canceled', 'ended', 'paused') AND due_at IS NOT NULL"
     " OR quantity < 1 OR next_index < 0"),
    ("a refund moves nothing, or more tax than money",
     "SELECT id FROM billing_refund WHERE amount < 1 OR vat NOT BETWEEN 0 AND amount OR tax_free NOT BETWEEN 0 AND amount"
     " OR checksum < amount OR state IN ('sending', 'unknown') AND checksum IS NULL"),
    ("two refunds of a payment are on their way",
     "SELECT imp_uid FROM billing_refund WHERE state IN ('sending', 'unknown') GROUP BY imp_uid HAVING count(*) > 1"),
    ("a price is below nothing", "SELECT code FROM billing_price WHERE amount < 0 OR setup_fee < 0 OR version < 1"),
    ("a customer is in no bucket", "SELECT id FROM billing_customer WHERE bucket NOT BETWEEN 0 AND 255"),
    ("a link pays nothing, or is too old when it is made",
     "SELECT id FROM billing_checkout WHERE purpose = 'invoice' AND invoice_id IS NULL OR expires_at <= created_at"),
    ("a link is used up and its card is not registered, or the other way round",
     "SELECT c.id FROM billing_checkout c WHERE (c.state = 'done') <> EXISTS (SELECT 1 FROM billing_key k"
     " WHERE k.customer_uid = c.customer_uid AND k.confirmed_at IS NOT NULL)"),
    ("an account takes nothing", "SELECT imp_uid FROM billing_virtual_account WHERE amount < 1"),
    ("a switch is not the one that is read",
     "SELECT id FROM billing_identity WHERE id <> 1 UNION ALL SELECT id FROM billing_freeze WHERE id <> 1"
     " UNION ALL SELECT id FROM billing_test_clock WHERE id <> 1"),
    ("a word means nothing",
     "SELECT state FROM billing_attempt WHERE state NOT IN ('planned', 'sending', 'unknown', 'paid', 'declined', 'rejected',"
     " 'mismatch', 'surplus', 'void') UNION SELECT state FROM billing_invoice WHERE state NOT IN ('open', 'paid', 'void',"
     " 'uncollectible') UNION SELECT collection FROM billing_invoice WHERE collection NOT IN ('charge', 'await_card', 'manual')"
     " UNION SELECT role FROM billing_payment WHERE role NOT IN ('invoice', 'surplus', 'mismatch')"
     " UNION SELECT state FROM billing_key WHERE state NOT IN ('pending', 'current', 'retired', 'removed')"
     " UNION SELECT state FROM billing_subscription WHERE state NOT IN ('scheduled', 'incomplete', 'trialing', 'active',"
     " 'past_due', 'paused', 'canceled', 'ended') UNION SELECT state FROM billing_refund WHERE state NOT IN ('planned',"
     " 'sending', 'unknown', 'done', 'refused') UNION SELECT origin FROM billing_refund WHERE origin NOT IN ('operator', 'pg',"
     " 'surplus')"
     " UNION SELECT purpose FROM billing_checkout WHERE purpose NOT IN ('card', 'invoice')"
     " UNION SELECT state FROM billing_checkout WHERE state NOT IN ('open', 'done')"
     " UNION SELECT mode FROM billing_identity WHERE mode <> 'sandbox'"),
)  # fmt: skip
"""What makes no sense: a sentence, and the rows that do it. (I21)"""

UNIQUE: tuple[tuple[str, str], ...] = (
    ("attempt", "id"), ("attempt", "merchant_uid"), ("attempt", "invoice_id, seq"), ("attempt", "imp_uid"),
    ("invoice", "id"), ("invoice", "number"), ("invoice", "uid_stem"), ("invoice_line", "invoice_id, position"),
    ("payment", "imp_uid"), ("refund", "id"), ("refund", "request_key"), ("refund", "cancellation_id"),
    ("ledger_transfer", "id"), ("ledger_transfer", "kind, ref"), ("audit", "id"), ("outbox_event", "id"),
    ("charge_day", "subscription_id, local_day"), ("price", "id"), ("price", "code, version"), ("plan", "id"), ("plan", "code"),
    ("customer", "id"), ("customer", "external_id"), ("key", "id"), ("key", "customer_uid"), ("subscription", "id"),
    ("subscription", "request_key"),
    ("identity", "1"), ("freeze", "1"), ("test_clock", "1"), ("counter", "name"), ("webhook_inbox", "id"),
    ("webhook_inbox", "dedupe_key"), ("finding", "id"), ("finding", "kind, ref"), ("reconciliation", "id"),
    ("checkout", "id"), ("virtual_account", "imp_uid"),
)  # fmt: skip
"""What there is one of: a table, and what tells its rows apart. (I21)"""

_ONE_OF_MANY = (
    ("payment", "invoice_id", "role = 'invoice'"), ("key", "customer_id", "state = 'current'"), ("price", "code", "is_current"),
)  # fmt: skip


def sensible(one: Checker) -> Iterator[str]:
    """I21: rows say what can be meant, and there is one of what there can be one of.

    Breaks when another program writes to our tables what no engine would.
    """
    for what, query in NONSENSE:
        for row in one._db.execute(query):
            yield f"I21: {what}: {row[0]}"
    wanted = [*((table, columns, "true") for table, columns in UNIQUE), *_ONE_OF_MANY]
    for table, columns, condition in wanted:
        known = " AND ".join(f"{column} IS NOT NULL" for column in columns.split(", "))
        for row in one._db.execute(
            f"SELECT {columns} FROM billing_{table} WHERE {condition} AND {known} GROUP BY {columns} HAVING count(*) > 1"
            if columns != "1"
            else f"SELECT count(*) FROM billing_{table} HAVING count(*) > 1"
        ):
            yield f"I21: billing_{table} has more than one {'row' if columns == '1' else columns}: {row[0]}"


# --- at rest --------------------------------------------------------------------------------------


def decided(one: Checker) -> Iterator[str]:
    """I17: days after the last fault nothing is undecided and nothing is overdue.

    Breaks when work is lost with the worker that held it, or when caution never ends.
    """
    for uid, state, since in one._db.execute(
        f"SELECT a.merchant_uid, a.state, a.moved_at FROM billing_attempt a WHERE a.state IN {_UNDECIDED} AND NOT EXISTS"
        # A window nobody finished stays so for ever at the PG; it is open for an hour.
        " (SELECT 1 FROM pg_payment p WHERE p.merchant_uid = a.merchant_uid AND p.status = 'ready'"
        "  AND p.imp_uid NOT GLOB 'imp[_]*')"
    ):
        if one.usher.waits(uid):
            continue
        yield f"I17: {uid} is {state} since {since}"
    day_ago = _text(one._now() - 86_400)
    for number, at in one._db.execute(
        "SELECT number, next_attempt_at FROM billing_invoice WHERE next_attempt_at < ?", (day_ago,)
    ):
        yield f"I17: invoice {number} was to be tried {at}"
    for id, at in one._db.execute("SELECT id, due_at FROM billing_subscription WHERE due_at < ?", (day_ago,)):
        yield f"I17: subscription {id} was due {at}"


def all_known(one: Checker) -> Iterator[str]:
    """I2 at rest: every payment of ours is in our books, late approvals and restored backups included.

    What a browser paid under a name of ours that nobody gave out may be a finding instead.
    """
    for imp_uid, uid in one._db.execute(
        "SELECT imp_uid, merchant_uid FROM pg_payment WHERE kept > 0 AND merchant_uid GLOB ? AND excuse IS NOT 'orphan'"
        " AND imp_uid NOT IN (SELECT imp_uid FROM billing_payment) AND NOT (excuse IN ('tampered', 'forgotten')"
        " AND imp_uid IN (SELECT imp_uid FROM billing_finding))",
        (f"{one._prefix}*",),
    ):
        yield f"I2: {imp_uid} ({uid}) is in nobody's books"


def given_back(one: Checker) -> Iterator[str]:
    """I1 at rest: of several payments of one invoice, all but the one that pays it are to be given back, or a human's."""
    for name, count, uids in one._db.execute(
        "SELECT p.stem, count(*), group_concat(p.imp_uid) FROM pg_payment p JOIN billing_payment b ON b.imp_uid = p.imp_uid"
        " WHERE p.kept > 0 AND b.role NOT IN ('surplus', 'mismatch') GROUP BY p.stem HAVING count(*) > 1"
    ):
        yield f"I1: {count} payments of the invoice of {name} are kept: {uids}"
    for imp_uid, uid in one._db.execute(
        "SELECT b.imp_uid, b.merchant_uid FROM billing_payment b JOIN pg_payment p USING (imp_uid) WHERE b.role = 'surplus'"
        " AND p.kept > 0 AND NOT EXISTS (SELECT 1 FROM billing_refund r WHERE r.imp_uid = b.imp_uid)"
    ):
        yield f"I1: {imp_uid} ({uid}) is one too many, and nobody gives it back"


# --- calendar -------------------------------------------------------------------------------------


def _boundaries(first: date, anchor: date, index: int, count: int, unit: str) -> tuple[date, date]:
    """First day of period `index` and of the next, counted from the anchor and from nothing else."""

    def after(times: int) -> date:
        if unit in ("day", "week"):
            return anchor + timedelta(days=times * count * (7 if unit == "week" else 1))
        months = anchor.year * 12 + anchor.month - 1 + times * count * (12 if unit == "year" else 1)
        year, month = divmod(months, 12)
        return date(year, month + 1, min(anchor.day, monthrange(year, month + 1)[1]))

    # A first period that a calendar anchor cuts short begins where it was sold.
    return first if index == 0 else after(index), after(index + 1)


def _text(at: float) -> str:
    """An instant as the database keeps it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
