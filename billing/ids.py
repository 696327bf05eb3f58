"""Ids of ours: drawn anew in production, derived from a seed where a run must repeat itself."""

from __future__ import annotations

from random import Random
from uuid import UUID

from uuid_utils import uuid7

from billing.ports import Clock


def new_uuid() -> str:
    """A UUIDv7 as text: sorts by time, names nothing."""
    return str(uuid7())


class SeededIds:
    """UUIDs version 7 that follow from seed, simulated time and order of calls alone."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._rng = Random(f"ids|{seed}")  # noqa: S311 — demo and simulator repeat themselves; ids guard nothing there
        self._clock = clock
        self._count = 0

    def __call__(self) -> str:
        """The next id; sorts after every earlier one."""
        self._count += 1
        millis = int(self._clock.now().timestamp() * 1000)
        high, low = self._count >> 30 & 0xFFF, self._count & 0x3FFFFFFF
        return str(UUID(int=millis << 80 | 7 << 76 | high << 64 | 2 << 62 | low << 32 | self._rng.getrandbits(32)))
