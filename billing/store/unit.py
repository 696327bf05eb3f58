"""One transaction at a time: `Store.begin()` gives a `Tx` with a room per record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

from billing.ports import Clock, NewId
from billing.store.accounts import Accounts
from billing.store.agenda import Agenda
from billing.store.attempts import Attempts
from billing.store.audit import AuditTrail
from billing.store.catalog import Catalog
from billing.store.checkouts import Checkouts
from billing.store.customers import Customers
from billing.store.engine import translated
from billing.store.findings import Findings
from billing.store.identity import Controls
from billing.store.inbox import Inbox
from billing.store.invoices import Invoices
from billing.store.ledger import Ledger
from billing.store.outbox import Outbox
from billing.store.payments import Payments
from billing.store.reconciliations import Reconciliations
from billing.store.refunds import Refunds
from billing.store.subscriptions import Subscriptions
from billing.store.turns import Turns, turns

T = TypeVar("T")

_TRIES = 5
_RETRYABLE_SQLSTATES = ("40001", "40P01", "55P03")  # serialization failure, deadlock, lock not available


class Tx:
    """One open transaction."""

    def __init__(self, connection: Connection, store: Store) -> None:
        self.connection = connection
        self._store = store
        self.new_id = store.new_id
        self.accounts = Accounts(connection)
        self.agenda = Agenda(connection)
        self.attempts = Attempts(connection)
        self.audit = AuditTrail(connection, store.new_id)
        self.catalog = Catalog(connection)
        self.checkouts = Checkouts(connection)
        self.controls = Controls(connection)
        self.customers = Customers(connection)
        self.findings = Findings(connection, store.new_id)
        self.inbox = Inbox(connection)
        self.invoices = Invoices(connection)
        self.ledger = Ledger(connection, store.new_id)
        self.outbox = Outbox(connection, store.new_id)
        self.payments = Payments(connection)
        self.reconciliations = Reconciliations(connection)
        self.refunds = Refunds(connection, self.payments)
        self.subscriptions = Subscriptions(connection)

    @cached_property
    def now(self) -> datetime:
        """The system instant of this transaction: the database's own clock where several machines share it."""
        if self._store.uses_database_clock:
            instant: datetime = self.connection.execute(select(func.clock_timestamp())).scalar_one()
            return instant
        return self._store.clock.now()

    @cached_property
    def business_now(self) -> datetime:
        """The instant that says what is due: the test clock where one is set, the system clock otherwise."""
        test_clock = None if self._store.is_live else self.controls.test_clock()
        return test_clock or self.now


class Store:
    """The way into the database.

    Args:
        clock: times leases and looks where the database's own clock does not.
        uses_database_clock: True on PostgreSQL outside simulation, so that skewed machines agree on leases.
        is_live: ignore the test clock whatever the database holds.
    """

    def __init__(
        self, engine: Engine, clock: Clock, new_id: NewId, *, uses_database_clock: bool = False, is_live: bool = False
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.new_id = new_id
        self.uses_database_clock = uses_database_clock
        self.is_live = is_live
        self._turn_in_memory = Lock()

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """A writing transaction: committed when the block ends, rolled back when it raises."""
        with translated(self.engine), self.engine.begin() as connection:
            yield Tx(connection, self)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A reading transaction; on SQLite it does not wait for a writer."""
        with translated(self.engine), self.engine.connect().execution_options(billing_read_only=True) as connection:
            yield Tx(connection, self)

    @contextmanager
    def turns(self) -> Iterator[Turns]:
        """What only one process does at a time; every turn taken ends with the block."""
        with turns(self.engine, self._turn_in_memory) as holder:
            yield holder

    def run(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction and give what it returns; a deadlock or serialization failure runs it again.

        `work` must be keyed: running it again after a COMMIT whose answer was lost books nothing twice.
        """
        with translated(self.engine):
            for remaining in range(_TRIES - 1, -1, -1):
                try:
                    with self.engine.begin() as connection:
                        return work(Tx(connection, self))
                except DBAPIError as error:
                    if not remaining or getattr(error.orig, "sqlstate", None) not in _RETRYABLE_SQLSTATES:
                        raise
        raise AssertionError("unreachable")
