"""How often something may happen: a token bucket that is told the time. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field


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


@dataclass(slots=True)
class Rations:
    """One `Allowance` for each name that comes along; the names longest unheard of are forgotten, so memory stays flat.

    Args:
        burst, seconds: what each name is allowed.
        kept: how many names are remembered.
    """

    burst: int
    seconds: float
    kept: int
    _of: OrderedDict[str, Allowance] = field(default_factory=OrderedDict)

    def of(self, name: str) -> Allowance:
        """The allowance of this name."""
        own = self._of.pop(name, None) or Allowance(self.burst, self.seconds)
        self._of[name] = own
        if len(self._of) > self.kept:
            self._of.popitem(last=False)
        return own
