"""One call as its handler sees it: the request, the state within one transaction, the instant, the faults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from billing.sandbox.config import SandboxConfig
from billing.sandbox.faults import Faults, Subject, seconds
from billing.sandbox.state import State
from billing.sandbox.wire import Refused, Request


@dataclass(slots=True)
class Call:
    """Everything a handler may use. Two transactions of one slow call are two of these."""

    request: Request
    ids: tuple[str, ...]
    state: State
    config: SandboxConfig
    credentials: tuple[str, str]
    faults: Faults
    now: float
    path: str
    subject: Subject = field(default_factory=Subject)
    loses_reply: bool = False
    notifies_early: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """The body."""
        return self.request.fields

    @property
    def query(self) -> dict[str, Any]:
        """The query string."""
        return self.request.query

    def strikes(self, name: str) -> Any:
        """Return the row of the fault `name` if it strikes here, else None."""
        return self.faults.draw(name, self.path, self.subject) if self.faults.rows else None

    def approval_seconds(self) -> float:
        """Return how long the card network takes with this call."""
        slow = self.strikes("slow_approval")
        return seconds(slow["value"], 70) if slow else self.config.approval_seconds

    def uid_key(self, merchant_uid: str) -> str:
        """Return the form under which order numbers are compared."""
        return merchant_uid.lower() if self.config.uid_ignores_case else merchant_uid

    def not_found(self, message: str) -> Refused:
        """Return the 404 of the PG."""
        return Refused(self.config.not_found_code, message, status=404)


@dataclass(frozen=True, slots=True)
class Approval:
    """A charge that was admitted and now waits for the card network; `finish` books what came of it.

    Admission and approval are apart so that a slow approval holds no lock, and so that
    two requests with one merchant_uid can both have been admitted before either ends.
    """

    finish: Callable[[Call], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """What the PG asks the merchant before it approves, and where."""

    url: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """A call that was admitted and now waits outside of any transaction: for the card network, or for the merchant's word.

    `then` goes on in a transaction of its own, with the merchant's answer to `question`: its
    status (0 when there was none) and its body.
    """

    then: Callable[[Call, tuple[int, bytes]], Any]
    seconds: float = 0.0
    question: Question | None = None
