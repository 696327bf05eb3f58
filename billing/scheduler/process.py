"""The worker process: passes until nothing is due, then waits for a tick, a poll or the end."""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType

from billing import collector
from billing.app import Billing
from billing.errors import InvariantBroken, SettingsError, Unavailable
from billing.release import installed_version
from billing.scheduler.jobs import ticking

log = logging.getLogger("billing.scheduler")

WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX = 1.0, 60.0


class Process:
    """One scheduler process on one engine.

    An ordinary failure never ends it: what cannot be reached is asked again after growing waits, and where
    charging would not be safe it pauses until the next tick finds that it is. Only a configuration that can
    never work (another mode's or account's database) is refused at the start.
    """

    def __init__(self, app: Billing) -> None:
        self._app = app
        self._wake = Event()
        self._stop = Event()
        self._is_ticked = True
        self.passes = 0
        self.counts: Counter[str] = Counter()

    def run(self) -> int:
        """Work until a signal; returns the exit status.

        Raises:
            InvariantBroken, SettingsError: this database can never be served with these settings.
        """
        collector.calm()
        with self._signals():
            log.info("scheduler starts", extra=self._card())
            ticks = ticking(self._tick, zone=self._app.settings.zone, opens=self._app.policy.opens)
            try:
                self._work()
            finally:
                ticks.shutdown(wait=False)
            log.info("scheduler stops", extra={"passes": self.passes, "counts": dict(self.counts), "pid": os.getpid()})
        return 0

    def stop(self) -> None:
        """Begin no charge any more; what is on the wire is settled, then `run` returns."""
        self._app.charging.stopping.set()
        self._stop.set()
        self._wake.set()

    def _work(self) -> None:
        failures = 0
        is_checked = False
        while not self._stop.is_set():
            self._wake.clear()
            wait = self._app.policy.patience.poll.total_seconds()
            try:
                if self._is_ticked:
                    self._app.check()
                    self._is_ticked, is_checked = False, True
                self._app.reconciliation.keep_up()
                counts = self._app.worker.renew()
                self.passes += 1
                self.counts += counts
                failures = 0
                if counts:
                    log.info("pass done", extra={"counts": dict(counts)})
                    continue
            except (InvariantBroken, SettingsError) as error:
                if not is_checked:
                    raise
                log.critical("charging pauses until the next tick: %s", error, extra={"error": type(error).__name__})
                wait = WAIT_SECONDS_MAX
            except Unavailable as error:
                failures += 1
                wait = _after(failures)
                log.warning("pass failed, next in %.0f s: %s", wait, error, extra={"error": type(error).__name__})
            except Exception:
                failures += 1
                wait = _after(failures)
                log.exception("pass broke, next in %.0f s", wait)
            self._wake.wait(wait)

    def _tick(self) -> None:
        self._is_ticked = True
        self._wake.set()

    def _card(self) -> dict[str, object]:
        buckets = self._app.policy.buckets
        return {
            "version": installed_version(),
            "mode": self._app.settings.mode.value,
            "database": self._app.schema.place,
            "buckets": f"{buckets.start}-{buckets.stop - 1}",
            "pid": os.getpid(),
        }

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def first(number: int, _frame: FrameType | None) -> None:
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, second)
            self.stop()
            # From another thread: a handler may interrupt the very write of a log line.
            said = "%s: finishing what is on the wire; once more ends at once"
            Thread(target=log.info, args=(said, signal.Signals(number).name)).start()

        def second(number: int, _frame: FrameType | None) -> None:
            # Rows tell whoever comes next what was under way; nothing here could say it better.
            os._exit(128 + number)

        before = {one: signal.signal(one, first) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def _after(failures: int) -> float:
    return min(WAIT_SECONDS_FIRST * float(2 ** min(failures - 1, 10)), WAIT_SECONDS_MAX)
