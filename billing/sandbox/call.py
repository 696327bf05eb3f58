"""One call as its handler sees it: the request, the state within one transaction, the instant, the faults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from billing.sandbox.config import SandboxConfig
from billing.sandbox.faults import Faults, Subject
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
