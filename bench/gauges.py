"""What a measured process says about itself: statements, CPU by layer, memory along the way.

CPU is split by doors, not by sampling: around each call through the HTTP client and through SQLAlchemy
the CPU clock of the calling thread is read before and after. What runs below the door belongs to that
layer, library code included; what is left of the process's CPU is Python: rules, records, threads.
A door costs about a microsecond, and waiting costs nothing on a CPU clock.
"""

from __future__ import annotations

import functools
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session

_PAGE = os.sysconf("SC_PAGE_SIZE")


def rss_mib() -> float:
    """Resident memory of this process now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE / 2**20


class Gauges:
    """Counters of one measured run. Install once, `start()`, run, `stop()`.

    Args:
        total: how many renewals the run will make; memory is noted at each third of it.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._local = threading.local()
        self._seconds: list[Counter[str]] = []
        self._statements: list[Counter[str]] = []
        self._charges = 0
        self._lock = threading.Lock()
        self._rss: list[float] = []
        self._cpu = self._wall = 0.0

    def watch_sql(self) -> None:
        """Count statements and commits, and time everything below SQLAlchemy's doors."""

        def statement(*_: Any) -> None:
            self._mine("statements", self._statements)["sql"] += 1

        def commit(*_: Any) -> None:
            self._mine("statements", self._statements)["commits"] += 1

        event.listen(Engine, "before_cursor_execute", statement)
        event.listen(Engine, "commit", commit)
        for owner, names in (
            (Connection, ("execute", "exec_driver_sql", "commit", "rollback", "_commit_impl", "_rollback_impl")),
            (Engine, ("connect",)),
            (Session, ("execute", "get", "scalars", "flush", "commit", "rollback", "close")),
            (psycopg.Cursor, ("fetchone", "fetchmany", "fetchall")),
        ):
            for name in names:
                self._door(owner, name, "sql")

    def watch_http(self, owner: type, name: str) -> None:
        """Time everything below this method, and count charges through it for the thirds of the run."""
        self._door(owner, name, "http")

    def charged(self) -> None:
        """Note memory whenever another third of the charges has been sent."""
        with self._lock:
            self._charges += 1
            if self._charges * 3 >= self.total * (len(self._rss) + 1):
                self._rss.append(round(rss_mib(), 1))

    def start(self) -> None:
        """From here on it counts."""
        for one in (*self._seconds, *self._statements):
            one.clear()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def stop(self) -> dict[str, Any]:
        """What happened since `start`; microseconds and counts are per renewal."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        seconds, statements = sum(self._seconds, Counter()), sum(self._statements, Counter())
        per = 1e6 / self.total
        http, sql = seconds["http"], seconds["sql"]
        return {
            "renewals": self.total,
            "seconds": round(wall, 3),
            "per_second": round(self.total / wall, 1),
            "statements": round(statements["sql"] / self.total, 4),
            "commits": round(statements["commits"] / self.total, 4),
            "cpu_us": round(cpu * per),
            "cpu_http_us": round(http * per),
            "cpu_sql_us": round(sql * per),
            "cpu_python_us": round((cpu - http - sql) * per),
            "rss_thirds_mib": self._rss,
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }

    def _mine(self, name: str, everybodys: list[Counter[str]]) -> Counter[str]:
        """This thread's own counter: no lock on the way, all are added up at the end."""
        mine: Counter[str] | None = getattr(self._local, name, None)
        if mine is None:
            mine = Counter()
            setattr(self._local, name, mine)
            everybodys.append(mine)
        return mine

    def _door(self, owner: type, name: str, layer: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)
        local, clock = self._local, time.thread_time

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if getattr(local, "inside", False):
                return inner(*args, **kwargs)
            local.inside = True
            began = clock()
            try:
                return inner(*args, **kwargs)
            finally:
                self._mine("seconds", self._seconds)[layer] += clock() - began  # type: ignore[assignment]
                local.inside = False

        setattr(owner, name, timed)
