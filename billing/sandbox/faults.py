"""Faults that can be switched on by name: what goes wrong, for whom, how often."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from billing.sandbox.cards import digits_of, masked
from billing.sandbox.state import State

AGAIN = "/subscribe/payments/again"
ONETIME = "/subscribe/payments/onetime"
CANCEL = "/payments/cancel"
SCHEDULED = "/subscribe/payments/schedule"
RETRY = "/subscribe/payments/schedule/*/retry"
WINDOW = "/v1/window/*"

_CHARGES = (AGAIN, ONETIME, RETRY, SCHEDULED, WINDOW)
_MONEY = (AGAIN, ONETIME, RETRY, CANCEL)
_ANYTHING = ("*",)

FAULTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "lost_reply": ("executed, then the connection is lost", _MONEY),
    "lost_request": ("the connection is lost before anything is executed", _MONEY),
    "refuse_connection": ("no connection comes about", _MONEY),
    "slow_approval": ("the approval takes VALUE seconds (70)", _CHARGES),
    "server_error": ("502 with an HTML page, nothing executed", _MONEY),
    "error_after_approval": ("executed, then 502 with an HTML page", _MONEY),
    "garbage": ("executed, then 200 with JSON cut in half", _MONEY),
    "lookup_lag": ("look-ups do not see the fresh record for VALUE seconds (60)", _CHARGES),
    "late_approval": ("answers failed, turns paid after VALUE seconds (60)", _CHARGES),
    "pending": ("answers ready, turns paid after VALUE seconds (60)", _CHARGES),
    "decline": ("declines with code VALUE (120054)", _CHARGES),
    "wrong_amount": ("charges VALUE instead (one won less)", _CHARGES),
    "wrong_customer": ("the record names customer_uid VALUE (a stranger)", _CHARGES),
    "live_record": ("the record carries the opposite test mark", _CHARGES),
    "shadowed_paid": ("a newer failed record of the same merchant_uid follows the paid one", _CHARGES),
    "cancel_refused": ("the PG refuses the refund with text VALUE (no settlement balance)", (CANCEL,)),
    "webhook_drop": ("the notice is never sent", _ANYTHING),
    "webhook_twice": ("the notice is sent twice", _ANYTHING),
    "webhook_reorder": ("the notice is held back VALUE seconds (5), so later ones overtake it", _ANYTHING),
    "webhook_early": ("the notice goes out before the answer; VALUE seconds (0) of look-up lag", _ANYTHING),
    "token_revoked": ("the current token dies at its next use", _ANYTHING),
    "auth_dead": ("every call answers 401, also getToken", _ANYTHING),
    "rate_limit": ("429 with Retry-After VALUE seconds (1)", _MONEY),
}
"""Name → what happens, and the paths it concerns while a fault names none of its own."""

_ONCE_BY_DEFAULT = frozenset({"token_revoked"})
_WITH_SECONDS = frozenset(
    {
        "slow_approval",
        "lookup_lag",
        "late_approval",
        "pending",
        "webhook_reorder",
        "webhook_early",
        "rate_limit",
    }
)
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and whom it concerns.

    `times` limits how often it strikes (None: no limit), `rate` how probably it does at
    each chance. `card` is a full number or its last four digits, `path` a call with `*`
    as a wildcard. `value` is seconds, a code, an amount or an id, by the fault's name.
    """

    name: str
    times: int | None = None
    rate: float = 1.0
    card: str | None = None
    customer_uid: str | None = None
    merchant_uid: str | None = None
    path: str | None = None
    value: str | float | None = None

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"unknown fault {self.name!r}; known: {', '.join(FAULTS)}")
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float) or not 0 <= self.rate <= 1:
            raise ValueError(f"{self.name}: rate {self.rate!r} must lie between 0 and 1")
        if self.times is not None and (isinstance(self.times, bool) or not isinstance(self.times, int) or self.times < 1):
            raise ValueError(f"{self.name}: times {self.times!r} must be a whole number of at least 1")
        for name in ("customer_uid", "merchant_uid", "path"):
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"{self.name}: {name} must be text")
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float | None):
            raise ValueError(f"{self.name}: value must be text or a number")
        if self.card is not None and not re.fullmatch(r"[0-9]{4}|[0-9]{15,16}", digits_of(str(self.card))):
            raise ValueError(f"{self.name}: card must be a card number or its last four digits")

        try:
            if self.name in _WITH_SECONDS:
                seconds(self.value, 0)
            elif self.name == "wrong_amount" and self.value is not None:
                float(self.value)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Fault":
        """Read a fault as it comes over the wire; raise `ValueError` on what it cannot mean."""
        unknown = set(facts) - set(cls.__dataclass_fields__)
        if unknown or "name" not in facts:
            raise ValueError(f"a fault has name, {', '.join(list(cls.__dataclass_fields__)[1:])}; got {sorted(facts)}")
        return cls(**facts)


def parse_fault(spec: str) -> Fault:
    """Return the fault written as `NAME[=HOW_OFTEN][,KEY=VALUE]...`, the way a command line gives it.

    A semicolon does for the comma, where commas already part one fault from the next.

    HOW_OFTEN is a rate with a point or percent sign (`0.05`, `5%`), a number of times
    (`3`), or `always`. KEY is value, card, customer, merchant or path; a value may carry
    a unit of time (`70s`, `26h`). For example `lost_reply=0.05`,
    `slow_approval=1,value=70s,customer=cu_7`, `decline=always,value=120026,card=4242`.

    Raises:
        ValueError: says which part could not be read.
    """
    head, *rest = (part.strip() for part in re.split("[,;]", spec))
    name, _, often = (part.strip() for part in head.partition("="))
    facts: dict[str, Any] = {"name": name, **_how_often(spec, often)}
    keys = {"value": "value", "card": "card", "customer": "customer_uid", "merchant": "merchant_uid", "path": "path"}
    for part in rest:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in keys or not value:
            raise ValueError(f"fault {spec!r}: {part!r} is not KEY=VALUE with KEY one of {', '.join(keys)}")
        facts[keys[key]] = value
    return Fault(**facts)


def _how_often(spec: str, often: str) -> dict[str, Any]:
    if often in ("", "always"):
        return {}
    if re.fullmatch(r"[0-9]+", often):
        return {"times": int(often)}
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)(%?)", often)
    if match is None:
        raise ValueError(f"fault {spec!r}: {often!r} is not a rate (0.05, 5%), a number of times (3) or 'always'")
    return {"rate": float(match[1]) / (100 if match[2] else 1)}


def seconds(value: str | float | None, default: float) -> float:
    """Read a fault's value as seconds; text may end in s, m, h or d."""
    if value is None:
        return default
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)([smhd]?)", str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a number of seconds")
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a call concerns, so that a fault can be meant for one of them. `card` is masked."""

    merchant_uid: str | None = None
    customer_uid: str | None = None
    card: str | None = None


@dataclass(slots=True)
class Faults:
    """The faults switched on, as one transaction sees them."""

    state: State
    rows: list[Any]

    @classmethod
    def load(cls, state: State) -> "Faults":
        """Read the faults that can still strike."""
        return cls(state, state.all("SELECT * FROM faults WHERE times IS NULL OR times > hits ORDER BY id"))

    def draw(self, name: str, path: str, subject: Subject) -> Any:
        """Return the row of the fault called `name` if one strikes this call now, else None.

        Every look is counted, so that with a seed the same calls meet the same fate.
        """
        for row in self.rows:
            if row["name"] != name or not _concerns(row, path, subject):
                continue
            seen, hits = self.state.one("SELECT seen, hits FROM faults WHERE id = ?", (row["id"],))
            strikes = (row["times"] is None or hits < row["times"]) and (
                row["rate"] >= 1 or self.state.chance(row["id"], seen) < row["rate"]
            )
            self.state.run("UPDATE faults SET seen = seen + 1, hits = hits + ? WHERE id = ?", (strikes, row["id"]))
            if strikes:
                return row
        return None


def _concerns(row: Any, path: str, subject: Subject) -> bool:
    paths = (row["path"],) if row["path"] else FAULTS[row["name"]][1]
    if not any(fnmatchcase(path, pattern) for pattern in paths):
        return False
    if row["customer_uid"] not in (None, subject.customer_uid):
        return False
    if row["merchant_uid"] not in (None, subject.merchant_uid):
        return False
    card = row["card"]
    return card is None or (subject.card is not None and (subject.card == card or subject.card[-4:] == card))


def add(state: State, fault: Fault) -> None:
    """Switch a fault on. Of a full card number only the masked form is kept.

    One without a limit that is on already stays as it is: commands that share a file each
    bring the same faults from their environment, and many of one kind would strike more often.
    """
    facts = asdict(fault)
    if fault.times is None and fault.rate >= 1 and fault.name in _ONCE_BY_DEFAULT:
        facts["times"] = 1
    if fault.card is not None:
        digits = digits_of(str(fault.card))
        facts["card"] = digits if len(digits) == 4 else masked(digits)
    if fault.value is not None:
        facts["value"] = str(fault.value)
    if facts["times"] is None:
        same = " AND ".join(f"{column} IS ?" for column in facts)
        if state.one(f"SELECT 1 FROM faults WHERE {same}", tuple(facts.values())) is not None:  # noqa: S608 - names are ours
            return
    state.insert("faults", **facts)


def listed(state: State) -> list[dict[str, Any]]:
    """Return every fault with how often it could strike (`seen`) and did (`hits`)."""
    return [dict(row) for row in state.all("SELECT * FROM faults ORDER BY id")]


def clear(state: State) -> None:
    """Switch every fault off."""
    state.run("DELETE FROM faults")
