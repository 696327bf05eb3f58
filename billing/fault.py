"""Named points on the road where tests cut the power. No-ops unless armed.

`BILLING_FAULTS="K05=kill,K03=stop@2"`: at the named point the process kills itself (`kill`),
stops itself (`stop`, until someone sends SIGCONT) or raises (`error`); `@2` means at the second
passing. Refused in live mode. The points, in the order a renewal passes them:

    K00 before claim            K05 all bytes sent             K10 settled and committed
    K01 claim committed         K06 answer begun, not read     K11 before the outbox is read
    K02 probe answered          K07 answer read, not parsed    K12 event handed over, not marked
    K03 armed, before connect   K08 looked up, before settling K13 event marked as delivered
    K04 right before the send   K09 inside the settling transaction

and a webhook, a refund and a migration:

    W1 received, not stored     R1 planned                     M1 before the first statement
    W2 stored, not answered     R2 armed                       M2 inside a revision
    W3 answered, not fetched    R3 sent                        M3 migrated, guards not checked
    W4 fetched, not settled     R4 answered, not looked up     M4 guards checked
                                R5 inside the settling transaction
                                R6 settled and committed
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from billing.errors import SettingsError


class InjectedFault(RuntimeError):
    """Raised at a point armed with `error`."""


POINTS = (
    *(f"K{number:02d}" for number in range(14)),
    *(f"W{number}" for number in range(1, 5)),
    *(f"R{number}" for number in range(1, 7)),
    *(f"M{number}" for number in range(1, 5)),
)

_ACTIONS: dict[str, Callable[[str], None]] = {}
_armed: dict[str, tuple[str, int]] = {}
_passed: dict[str, int] = {}
_visitor: Callable[[str], None] | None = None


def visit(visitor: Callable[[str], None] | None) -> None:
    """Let `visitor` see every passing of every point, and decide what happens there; None ends it. For the simulator."""
    global _visitor
    _visitor = visitor


def arm(plan: str) -> None:
    """Arm points from `NAME=ACTION[@N]` items separated by commas; an empty plan disarms all.

    Raises:
        SettingsError: an unknown point or action.
    """
    armed: dict[str, tuple[str, int]] = {}
    for item in filter(None, (part.strip() for part in plan.split(","))):
        name, _, rest = item.partition("=")
        action, _, passing = (rest or "kill").partition("@")
        if name not in POINTS or action not in _ACTIONS or not (passing or "1").isdigit():
            points, actions = ", ".join(POINTS), ", ".join(_ACTIONS)
            raise SettingsError("BILLING_FAULTS", f"{item!r} is not POINT=ACTION[@N]", f"points: {points}; actions: {actions}")
        armed[name] = (action, int(passing or "1"))
    _armed.clear()
    _passed.clear()
    _armed.update(armed)


def point(name: str) -> None:
    """Pass a named point; does nothing unless that point is armed or visited."""
    if _visitor is not None:
        _visitor(name)
    if not _armed:
        return
    planned = _armed.get(name)
    if planned is None:
        return
    _passed[name] = _passed.get(name, 0) + 1
    action, passing = planned
    if _passed[name] == passing:
        _ACTIONS[action](name)


def _kill(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _error(name: str) -> None:
    raise InjectedFault(name)


_ACTIONS.update(kill=_kill, stop=_stop, error=_error)
