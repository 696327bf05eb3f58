"""The last question before a byte leaves: may this armed request still go?"""

from __future__ import annotations

from threading import Event, Lock

from billing.errors import BillingError
from billing.ports import Clock
from billing.store.unit import Store

GLANCE_SECONDS = 1.0
"""How old the answer to "is charging frozen?" may be: the rest of a batch that waits for its turn stops within this."""


class Gate:
    """Open until `deadline` (monotonic seconds), until the process is stopping, or until charging is frozen.

    Asked from the threads that send, once for each request; the switch was read when they were armed.
    """

    def __init__(self, store: Store, clock: Clock, deadline: float, stopping: Event) -> None:
        self._store = store
        self._clock = clock
        self._deadline = deadline
        self._stopping = stopping
        self._glanced_at = clock.monotonic()
        self._is_frozen = False
        self._lock = Lock()

    def __call__(self) -> bool:
        """True while a request may leave."""
        now = self._clock.monotonic()
        if now > self._deadline or self._stopping.is_set():
            return False
        with self._lock:
            if not self._is_frozen and now - self._glanced_at >= GLANCE_SECONDS:
                self._glanced_at, self._is_frozen = now, self._read()
            return not self._is_frozen

    def _read(self) -> bool:
        try:
            with self._store.read() as tx:
                switch = tx.controls.freeze()
        except BillingError:
            return True  # who cannot read the switch does not send
        return switch is not None and switch.is_frozen
