"""What can go wrong, for callers and operators. A declined card is a verdict, never an exception.

BillingError
├── RuleError             the request breaks a rule; nothing changed         exit 2
│   ├── NotFound          no such customer, price, invoice …
│   ├── IllegalTransition no arrow leads from this state to that one
│   └── SettingsError     a setting is missing or wrong
├── Unavailable           try later; nothing was lost                        exit 3
│   ├── DatabaseUnavailable
│   └── GatewayError      the PG could not be asked, or broke its contract
│       ├── GatewayUnavailable
│       └── CredentialsRefused   the PG does not accept our API key
└── InvariantBroken       stop and call someone                              exit 4
    ├── Frozen            charging is switched off
    └── GuardMissing      the database no longer refuses what it must refuse
"""

from __future__ import annotations


class BillingError(Exception):
    """Anything this engine says no with. `str()` is one line that names the field and the cure."""


class RuleError(BillingError):
    """The request breaks a rule; nothing was changed.

    Args:
        field: what the caller passed, in the words of the caller (`amount`, `--quantity`).
        problem: what is wrong with it, without the value when the value could be a secret.
        cure: what to do instead.
    """

    def __init__(self, field: str, problem: str, cure: str = "") -> None:
        super().__init__(field, problem, cure)
        self.field, self.problem, self.cure = field, problem, cure

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" + (f"; {self.cure}" if self.cure else "")


class NotFound(RuleError):
    """There is no such record."""

    def __init__(self, noun: str, wanted: str) -> None:
        lister = {"price": "plan", "event": "events"}.get(noun, noun)
        super().__init__(noun, f"there is no {noun} {wanted!r}", f"list what there is with `billing {lister} list`")


class IllegalTransition(RuleError):
    """A state machine was asked for an arrow it does not have."""

    def __init__(self, what: str, here: str, there: str, cure: str = "") -> None:
        super().__init__(what, f"cannot go from {here} to {there}", cure)


class SettingsError(RuleError):
    """A setting is missing or wrong."""


class Unavailable(BillingError):
    """Something outside did not answer; ask again later. Nothing was lost."""


class DatabaseUnavailable(Unavailable):
    """The database could not be reached, or is not migrated."""


class GatewayError(Unavailable):
    """The PG could not be asked, or broke its contract."""


class GatewayUnavailable(GatewayError):
    """The PG could not be reached, or answered with an error of its own."""


class CredentialsRefused(GatewayError):
    """The PG does not accept our API key and secret. No attempt was consumed."""


class InvariantBroken(BillingError):
    """Our own books or guards contradict each other; nothing more is charged until someone looks."""


class Frozen(InvariantBroken):
    """Charging is switched off (`billing freeze status` says why and by whom)."""


class GuardMissing(InvariantBroken):
    """The database lacks an index, CHECK or trigger that refuses double charges."""
