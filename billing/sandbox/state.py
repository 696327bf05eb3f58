"""The sandbox's memory: SQLite tables, in memory or in a file that several processes share."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY,
    issued_at REAL NOT NULL,
    expired_at REAL NOT NULL,
    extensions INTEGER NOT NULL DEFAULT 0,
    revoked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_by_expiry ON tokens (expired_at);

CREATE TABLE IF NOT EXISTS billing_keys (
    id INTEGER PRIMARY KEY,
    customer_uid TEXT NOT NULL,
    is_current INTEGER NOT NULL DEFAULT 1,
    alive_at_pg INTEGER NOT NULL DEFAULT 1,
    card_number TEXT NOT NULL,
    behaviour TEXT NOT NULL,
    valid_until REAL NOT NULL,
    charges INTEGER NOT NULL DEFAULT 0,
    echo TEXT NOT NULL,
    inserted REAL NOT NULL,
    updated REAL NOT NULL,
    deleted_at REAL
);
CREATE UNIQUE INDEX IF NOT EXISTS billing_keys_current ON billing_keys (customer_uid) WHERE is_current;

CREATE TABLE IF NOT EXISTS payments (
    seq INTEGER PRIMARY KEY,
    imp_uid TEXT NOT NULL UNIQUE,
    merchant_uid TEXT NOT NULL,
    uid_key TEXT NOT NULL,
    customer_uid TEXT,
    card_number TEXT,
    usage TEXT,
    pay_method TEXT NOT NULL,
    amount NUMERIC NOT NULL,
    cancel_amount NUMERIC NOT NULL DEFAULT 0,
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at REAL NOT NULL,
    paid_at REAL NOT NULL DEFAULT 0,
    failed_at REAL NOT NULL DEFAULT 0,
    cancelled_at REAL NOT NULL DEFAULT 0,
    moved_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    visible_at REAL NOT NULL,
    becomes_paid_at REAL,
    sandbox INTEGER NOT NULL,
    fail_reason TEXT,
    cancel_reason TEXT,
    notice_url TEXT,
    echo TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS payments_by_uid ON payments (uid_key, started_at);
CREATE INDEX IF NOT EXISTS payments_by_customer ON payments (customer_uid);
CREATE INDEX IF NOT EXISTS payments_by_move ON payments (moved_at);
CREATE INDEX IF NOT EXISTS payments_to_turn ON payments (becomes_paid_at) WHERE becomes_paid_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS refunds (
    seq INTEGER PRIMARY KEY,
    imp_uid TEXT NOT NULL,
    cancellation_id TEXT NOT NULL,
    pg_tid TEXT NOT NULL,
    amount NUMERIC NOT NULL,
    reason TEXT,
    cancelled_at REAL NOT NULL,
    source TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS refunds_by_payment ON refunds (imp_uid);

CREATE TABLE IF NOT EXISTS deposits (
    seq INTEGER PRIMARY KEY,
    imp_uid TEXT NOT NULL,
    pg_tid TEXT NOT NULL,
    amount NUMERIC NOT NULL,
    depositor_name TEXT,
    deposited_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS deposits_by_payment ON deposits (imp_uid);

CREATE TABLE IF NOT EXISTS arrivals (
    seq INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    merchant_uid TEXT,
    customer_uid TEXT,
    token TEXT,
    arrived_at REAL NOT NULL,
    finished_at REAL,
    outcome TEXT NOT NULL,
    answer TEXT,
    imp_uid TEXT
);
CREATE INDEX IF NOT EXISTS arrivals_by_uid ON arrivals (merchant_uid);
CREATE INDEX IF NOT EXISTS arrivals_by_time ON arrivals (arrived_at);

CREATE TABLE IF NOT EXISTS schedules (
    seq INTEGER PRIMARY KEY,
    merchant_uid TEXT NOT NULL,
    uid_key TEXT NOT NULL,
    customer_uid TEXT NOT NULL,
    amount NUMERIC NOT NULL,
    currency TEXT NOT NULL,
    schedule_at REAL NOT NULL,
    executed_at REAL NOT NULL DEFAULT 0,
    revoked_at REAL NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'scheduled',
    payment_status TEXT,
    imp_uid TEXT,
    fail_reason TEXT,
    echo TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS schedules_by_uid ON schedules (uid_key);
CREATE INDEX IF NOT EXISTS schedules_by_customer ON schedules (customer_uid);
CREATE INDEX IF NOT EXISTS schedules_by_time ON schedules (status, schedule_at);

CREATE TABLE IF NOT EXISTS prepared (
    uid_key TEXT PRIMARY KEY, merchant_uid TEXT NOT NULL, amount NUMERIC NOT NULL, currency TEXT
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS windows (
    id TEXT PRIMARY KEY,
    imp_uid TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',
    origin TEXT,
    asked TEXT NOT NULL,
    result TEXT,
    opened_at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS receipts (
    ref TEXT PRIMARY KEY, facts TEXT NOT NULL, applied_at REAL NOT NULL, cancelled_at REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    times INTEGER,
    rate REAL NOT NULL,
    card TEXT,
    customer_uid TEXT,
    merchant_uid TEXT,
    path TEXT,
    value TEXT,
    seen INTEGER NOT NULL DEFAULT 0,
    hits INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS notices (
    id INTEGER PRIMARY KEY,
    url TEXT,
    format TEXT NOT NULL,
    facts TEXT NOT NULL,
    made_at REAL NOT NULL,
    due_at REAL NOT NULL,
    is_early INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    said TEXT
);
CREATE INDEX IF NOT EXISTS notices_by_due ON notices (state, due_at);
"""

_BUSY_SECONDS = 20.0
_DIGITS = 10**12


class State:
    """One SQLite database. Every use lies in `transaction()`, which is `BEGIN IMMEDIATE`.

    The journal is a WAL with synchronous=NORMAL: a killed process loses nothing, a
    power cut may lose the last commits, which for a fake PG is a fair price.
    """

    def __init__(self, path: str | None, seed: int | None, image: bytes | None = None) -> None:
        self._db = sqlite3.connect(
            path or ":memory:",
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        self._db.row_factory = sqlite3.Row
        if path:
            self._use_wal()
        self._db.execute("PRAGMA synchronous=NORMAL")
        if image is not None:
            self._db.deserialize(image)
            self.run("DELETE FROM meta WHERE name = 'seed'")
        with self.transaction():
            for statement in _TABLES.split(";") if image is None else ():
                self._db.execute(statement)
            first_seed = str(seed) if seed is not None else os.urandom(16).hex()
            self.run(
                "INSERT OR IGNORE INTO meta (name, value) VALUES ('seed', ?), ('serial', '0'), ('shift', '0')",
                (first_seed,),
            )
            self._seed = self.one("SELECT value FROM meta WHERE name = 'seed'")["value"]

    def _use_wal(self) -> None:
        # Switching to WAL does not wait for the busy timeout, and processes may start together.
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one transaction that saw every earlier one; roll back if it raises."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def image(self) -> bytes:
        """Everything it remembers, to start another from."""
        return self._db.serialize()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __del__(self) -> None:
        # A sandbox that was only dropped shall not warn of an open database.
        if hasattr(self, "_db"):
            self._db.close()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement; return the id of the row it inserted, if it did."""
        return self._db.execute(sql, values).lastrowid or 0

    def count(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement; return the number of rows it touched."""
        return self._db.execute(sql, values).rowcount

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Return the first row of a query, or None."""
        return self._db.execute(sql, values).fetchone()

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return every row of a query."""
        return self._db.execute(sql, values).fetchall()

    def insert(self, table: str, *, over: str = "", **columns: Any) -> int:
        """Insert one row; return its rowid. One that is there with the same `over`, a unique column, is written over."""
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - names are ours
        if over:
            sql += f" ON CONFLICT ({over}) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in columns)
        return self.run(sql, tuple(columns.values()))

    @property
    def shift(self) -> float:
        """Seconds the sandbox clock runs ahead of the given one."""
        return float(self.one("SELECT value FROM meta WHERE name = 'shift'")["value"])

    @shift.setter
    def shift(self, seconds: float) -> None:
        self.run("UPDATE meta SET value = ? WHERE name = 'shift'", (str(seconds),))

    def mint(self) -> "Serial":
        """Return the next serial: identifiers that follow from seed and order of calls alone."""
        row = self.one("UPDATE meta SET value = value + 1 WHERE name = 'serial' RETURNING value")
        return Serial(self._digest(f"serial|{row['value']}"))

    def chance(self, fault_id: int, seen: int) -> float:
        """Return the draw in [0, 1) of the `seen`-th chance of a fault, the same for the same seed."""
        return int(self._digest(f"fault|{fault_id}|{seen}")[:13], 16) / 16**13

    def _digest(self, what: str) -> str:
        return hashlib.sha256(f"{self._seed}|{what}".encode()).hexdigest()


class Serial:
    """The identifiers of one record, all drawn from one digest."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    @property
    def token(self) -> str:
        """An access token: forty hexadecimal digits."""
        return self._digest[:40]

    @property
    def imp_uid(self) -> str:
        """A payment id of the API kind (`imps_…`), at most 32 characters."""
        return f"imps_{self._digest[:20]}"

    @property
    def window_imp_uid(self) -> str:
        """A payment id of the browser kind: `imp_` and twelve digits."""
        return f"imp_{int(self._digest[:20], 16) % _DIGITS:012d}"

    @property
    def window(self) -> str:
        """The name of a browser window in its address; nobody guesses it who does not know the seed."""
        return self._digest[:48]

    @property
    def pg_tid(self) -> str:
        """A transaction id of the PG, at most 64 characters."""
        return f"SandboxINIBill{self._digest[20:46]}"

    @property
    def apply_num(self) -> str:
        """The issuer's approval number: eight digits."""
        return f"{int(self._digest[46:58], 16) % 10**8:08d}"

    @property
    def cancellation_id(self) -> str:
        """The PG's id of one refund."""
        return f"cancellation_{self._digest[:16]}"

    @property
    def account(self) -> str:
        """The number of a virtual account: twelve digits and a leading 7."""
        return f"7{int(self._digest[46:60], 16) % _DIGITS:012d}"
