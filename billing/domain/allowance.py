"""How often something may happen: a token bucket that is told the time. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Allowance:
    """At most `burst` at once, filling up again evenly over `seconds`.

    Args:
        burst: how many may be taken at once, and how many come back in `seconds`.
        seconds: how long an empty allowance takes to be full again.
    """

    burst: int
    seconds: float
    _left: float = -1.0
    _at: float = 0.0

    def take(self, at: float) -> bool:
        """Take one, if there is one. `at` is monotonic seconds."""
        if self.wait(at) > 0:
            return False
        self._left -= 1
        return True

    def wait(self, at: float) -> float:
        """Seconds until the next one can be taken; 0 when it can be now."""
        grown = self.burst if self._left < 0 else self._left + (at - self._at) * self.burst / self.seconds
        self._left, self._at = min(float(self.burst), grown), at
        return 0.0 if self._left >= 1 else (1 - self._left) * self.seconds / self.burst
