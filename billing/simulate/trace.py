"""The story of one seed: every line is hashed, and kept where somebody wants to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

_SEOUL = timezone(timedelta(hours=9))


class Trace:
    """What happened, in order. `digest` is the same for the same seed, whatever process tells it (I18)."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._hash = sha256()
        self._show = show
        self._lines = 0

    def tell(self, seconds: float, who: str, what: str) -> None:
        """One line: who did what at which instant."""
        self._lines += 1
        self._hash.update(f"{seconds:.3f}\t{who}\t{what}\n".encode())
        if self._show is not None:
            at = datetime.fromtimestamp(seconds, UTC).astimezone(_SEOUL)
            self._show(f"{at:%m-%d %H:%M:%S}.{int(seconds % 1 * 1000):03d}  {who:<12} {what}")

    def count(self, what: str, times: int = 1) -> None:
        """Remember that something happened once more."""
        self.counts[what] += times

    @property
    def digest(self) -> str:
        """Hash of every line so far and of what was counted."""
        counted = "\n".join(f"{name}={count}" for name, count in sorted(self.counts.items()))
        return sha256(self._hash.digest() + counted.encode()).hexdigest()[:16]
