"""Plan files: TOML in, a checked `Plan` out, and every mistake named by line and key.

The person who reads these errors is about to change what customers pay. So all mistakes
of a file are told at once, each with what is wrong, where, and what to write instead.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from plans.calendar import COUNT_MAX, Alignment, Interval
from plans.catalog import AMOUNT_MAX, CODE, NAME_LENGTH_MAX, TRIAL_DAYS_MAX, Plan, Price, fits_order_name
from plans.money import MINOR_DIGITS, Money
from plans.toml_lines import Path as KeyPath
from plans.toml_lines import key_lines, line_of, shown, spelled

FILE_SIZE_MAX: Final = 1_000_000  # bytes; a catalogue is a few hundred lines, anything this large is a wrong file

_MONEY = "must be a whole number of minor units (won for KRW) from {} to " + f"{AMOUNT_MAX:,}"
_BOUNDS = ", ".join(f"1 to {count} {unit}s" for unit, count in COUNT_MAX.items())

# Per key: what its value must be, and the cure. One pair covers every way of getting it wrong.
_RULES: Final[dict[str, tuple[str, str]]] = {
    "plan": ("must be a table", 'write [plan] with code = "…" and name = "…"'),
    "prices": (
        "must be one or more [[plan.prices]] tables",
        "write [[plan.prices]] with code, amount, currency, every",
    ),
    "code": (
        "must be 1 to 40 characters of a-z 0-9 . _ - and start with a letter or digit",
        'write code = "pro-monthly" or the like',
    ),
    "name": (
        f"must be 1 to {NAME_LENGTH_MAX} printable characters without blanks around them",
        'write name = "Pro" or the like: buyers read it on the receipt, and the PG takes no longer one',
    ),
    # A price of nothing is nearly always a slip, and nothing to charge for: the host just lets such a customer in.
    "amount": (_MONEY.format(1), "write it without quotes, point or separators, such as amount = 9900"),
    "setup_fee": (_MONEY.format(0), "write it without quotes, point or separators, such as setup_fee = 5000"),
    "currency": ("must be a currency code we know the decimals of", 'write currency = "KRW"'),
    "every": (f"must be a count and a unit ({_BOUNDS})", 'write every = "1 month" or the like'),
    "trial_days": (f"must be a whole number of days from 0 to {TRIAL_DAYS_MAX}", "write trial_days = 14 or the like"),
    "align": ("must be anniversary or calendar", 'write align = "anniversary" or align = "calendar"'),
    "tax_free": ("must be true or false", "write tax_free = true or tax_free = false"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a plan file; `str` of it is one line.

    `line` counts from 1, and is None where the mistake has no place, as in a missing file.
    """

    source: str
    line: int | None
    key: str
    problem: str
    cure: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        subject = f"{self.key}: " if self.key else ""
        words = f"{place}: {subject}{self.problem}; {self.cure}"
        return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in words)


class PlanFileError(ValueError):
    """A plan file cannot be used. `str` is one line on the first problem; `problems` has them all."""

    def __init__(
        self, source: str, line: int | None, key: str, problem: str, cure: str, *, others: Sequence[Problem] = ()
    ) -> None:
        super().__init__(source, line, key, problem, cure)
        self.source = source
        self.line = line
        self.key = key
        self.problem = problem
        self.cure = cure
        self.problems = [Problem(source, line, key, problem, cure), *others]

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "PlanFileError":
        """Return the error that tells all of `problems`, of which there is at least one."""
        first, *others = problems
        return cls(first.source, first.line, first.key, first.problem, first.cure, others=others)

    def __str__(self) -> str:
        more = len(self.problems) - 1
        return f"{self.problems[0]}{f' (and {more} more)' if more else ''}"


def _known_currency(code: str) -> str:
    if code not in MINOR_DIGITS:
        raise ValueError(code)
    return code


def _order_name(name: str) -> str:
    if not fits_order_name(name):
        raise ValueError(name)
    return name


def _interval(text: str) -> str:
    Interval.parse(text)
    return text


_Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
_Code = Annotated[str, Field(pattern=f"^{CODE.pattern}$")]
_Name = Annotated[str, AfterValidator(_order_name)]


class _Table(BaseModel):
    # Strict: "9900", 9900.0 and true are not amounts, whatever they could be turned into.
    model_config = ConfigDict(extra="forbid", strict=True)


class _PriceTable(_Table):
    code: _Code
    amount: Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
    currency: Annotated[str, AfterValidator(_known_currency)]
    every: Annotated[str, AfterValidator(_interval)]
    name: _Name | None = None
    trial_days: Annotated[int, Field(ge=0, le=TRIAL_DAYS_MAX)] = 0
    setup_fee: _Amount = 0
    align: Annotated[Alignment, Field(strict=False)] = Alignment.ANNIVERSARY
    tax_free: bool = False


class _PlanTable(_Table):
    code: _Code
    name: _Name
    prices: Annotated[list[_PriceTable], Field(min_length=1)]


class _Document(_Table):
    plan: _PlanTable


def read_plan_file(path: str | Path) -> Plan:
    """Return the plan described by a TOML file, its prices all at version 1.

    Raises:
        PlanFileError: the file cannot be read, or is not a plan; nothing else is raised.
    """
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_SIZE_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a name no file can have
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise PlanFileError(source, None, "", f"cannot be read: {reason}", "name a readable plan file") from error
    if len(content) > FILE_SIZE_MAX:
        problem = f"is larger than {FILE_SIZE_MAX:,} bytes"
        raise PlanFileError(source, None, "", problem, "name a plan file, or write one file per plan")
    try:
        text = content.decode("utf-8-sig")  # some editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PlanFileError(source, line, "", "is not UTF-8 text", "save the file in UTF-8 encoding") from error
    return parse_plan(text, source)


def parse_plan(text: str, source_name: str) -> Plan:
    """Return the plan described by TOML text, its prices all at version 1.

    A price without a name of its own carries the plan's. Free access is no price: an amount of 0 is refused.

    Raises:
        PlanFileError: the text is not a plan; `source_name` leads the message.
    """
    document, lines = _loaded(text, source_name)
    found: list[tuple[KeyPath, str, str]] = []
    plan: _PlanTable | None = None
    try:
        plan = _Document.model_validate(document).plan
    except ValidationError as error:
        found += [_told(details["type"], details["loc"], details["input"]) for details in error.errors(include_url=False)]
    found += _repeated_codes(document, lines)
    if plan is None or found:
        told = [Problem(source_name, line_of(lines, path), spelled(path), *words) for path, *words in found]
        raise PlanFileError.of(sorted(told, key=lambda problem: problem.line or 0))
    return Plan(plan.code, plan.name, tuple(_price(table, plan) for table in plan.prices))


def _price(table: _PriceTable, plan: _PlanTable) -> Price:
    return Price(
        code=table.code,
        version=1,
        plan_code=plan.code,
        amount=Money(table.amount, table.currency),
        interval=Interval.parse(table.every),
        trial_days=table.trial_days,
        setup_fee=Money(table.setup_fee, table.currency),
        alignment=table.align,
        tax_free=table.tax_free,
        name=table.name or plan.name,
    )


def _loaded(text: str, source: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        return tomllib.loads(text), key_lines(text)
    except RecursionError as error:
        raise PlanFileError(source, None, "", "is nested too deeply", "write a plan file") from error
    except tomllib.TOMLDecodeError as error:
        words, line = str(error), None
        if place := re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", words):
            words, line = words[: place.start()], int(place[1] or text.count("\n") + 1)
        problem = f"is not TOML: {words}"
        raise PlanFileError(source, line, "", problem, "correct the line, or quote the text in it") from error
    except ValueError as error:  # Python does not read decimal numbers of more than 4300 digits
        raise PlanFileError(source, None, "", "holds an endless number", "write a plan file") from error


def _told(kind: str, path: KeyPath, value: object) -> tuple[KeyPath, str, str]:
    key = next(part for part in reversed(path) if isinstance(part, str))
    if kind == "extra_forbidden":
        table = _Document if len(path) == 1 else _PlanTable if len(path) == 2 else _PriceTable
        known = list(table.model_fields)
        near = difflib.get_close_matches(key, known, n=1)
        return path, "is not a known key", f"write {near[0]}" if near else f"known here: {', '.join(known)}"
    must, cure = _RULES[key]
    return path, "is missing" if kind == "missing" else f"{must} (got {shown(value)})", cure


def _repeated_codes(document: Mapping[str, Any], lines: Mapping[KeyPath, int]) -> list[tuple[KeyPath, str, str]]:
    # On the raw values, so that a repeated code is told together with the other mistakes.
    plan = document.get("plan")
    prices = plan.get("prices") if isinstance(plan, dict) else None
    first: dict[str, KeyPath] = {}
    found: list[tuple[KeyPath, str, str]] = []
    for index, price in enumerate(prices if isinstance(prices, list) else ()):
        code = price.get("code") if isinstance(price, dict) else None
        path: KeyPath = ("plan", "prices", index, "code")
        if isinstance(code, str) and first.setdefault(code, path) != path:
            words = f"{shown(code)} is already used on line {lines[first[code]]}"
            found.append((path, words, "write another code, one per price"))
    return found
