"""Keep what is secret out of whatever shows a value or a frame.

Error reporters send the locals of every frame an exception passed, interrupts included. So values that
must be bytes for a moment do not show themselves, and what is raised below a seal leaves without its frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from billing.errors import BillingError

T = TypeVar("T")


class Sealed(bytes):
    """Bytes on their way to the wire, with a secret inside: no repr, no pickle, no copy."""

    def __repr__(self) -> str:
        return f"Sealed({len(self)} bytes)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not copied or stored")


class SealedFields(dict[str, str]):
    """Names and secret values: no repr, no pickle, no copy."""

    def __repr__(self) -> str:
        return f"SealedFields({len(self)})"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not copied or stored")


def sealed(work: Callable[[], T], broken: Callable[[str], BillingError]) -> T:
    """What `work` returns; what it raises arrives here without the frames it passed.

    What it returns must not show itself: it stands in frames above the seal.

    Errors of ours and interrupts stay what they are. Anything else is a bug, whose own text may quote the
    secret: `broken` makes an error from the name of its type.
    """
    # Twice, because an interrupt may come while the first is busy with another exception.
    outcome = _caught(lambda: _caught(work, broken), broken)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def bare(problem: BaseException) -> BaseException:
    """The exception without the frames it passed, and without those of the ones it came from."""
    problem.__cause__ = problem.__context__ = None
    return problem.with_traceback(None)


def _caught(work: Callable[[], T], broken: Callable[[str], BillingError]) -> T | BaseException:
    try:
        return work()
    except BaseException as problem:  # noqa: BLE001 — whatever it is, it must not leave with a secret in its frames
        is_bug = isinstance(problem, Exception) and not isinstance(problem, BillingError)
        return broken(type(problem).__name__) if is_bug else bare(problem)
