"""Plans and their prices, and what applying a plan file would change.

A price is sold in versions. A version never changes: other terms under the same code make
the next version, and every subscription keeps the version it was sold.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from plans.calendar import Alignment, Interval
from plans.money import CurrencyMismatch, Money, krw

CODE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
NAME_LENGTH_MAX: Final = 40  # names go out as i'mport's order name, which takes no more
AMOUNT_MAX: Final = 1_000_000_000_000  # far above any price, and exact in every JSON reader (< 2**53)
TRIAL_DAYS_MAX: Final = 730


@dataclass(frozen=True, slots=True)
class Price:
    """One version of what a plan costs, and how often. VAT is included unless `tax_free`.

    An amount of 0 is a free plan: its invoices are paid without asking the PG. The setup
    fee is charged once, with the first paid period.

    Raises:
        ValueError: a code or name that cannot go on the wire, a version below 1, a negative
            or absurd amount, trial days outside 0 to `TRIAL_DAYS_MAX`.
        CurrencyMismatch: the setup fee is in another currency than the amount.
    """

    code: str
    version: int
    plan_code: str
    amount: Money
    interval: Interval
    _: KW_ONLY
    name: str
    trial_days: int = 0
    setup_fee: Money = field(default_factory=lambda: krw(0))
    alignment: Alignment = Alignment.ANNIVERSARY
    tax_free: bool = False

    def __post_init__(self) -> None:
        _check_labels(self.code, self.name)
        if not self.setup_fee:  # no fee has no currency of its own
            object.__setattr__(self, "setup_fee", Money(0, self.amount.currency))
        if self.setup_fee.currency != self.amount.currency:
            raise CurrencyMismatch(self.amount.currency, self.setup_fee.currency)
        if self.version < 1:
            raise ValueError(f"price versions count from 1, got {self.version}")
        for money in (self.amount, self.setup_fee):
            if not 0 <= money.amount <= AMOUNT_MAX:
                raise ValueError(f"price {self.code} takes 0 to {AMOUNT_MAX:,} minor units, got {money.amount:,}")
        if not 0 <= self.trial_days <= TRIAL_DAYS_MAX:
            raise ValueError(f"a trial lasts 0 to {TRIAL_DAYS_MAX} days, got {self.trial_days}")

    def same_terms(self, other: "Price") -> bool:
        """Tell whether the two differ in nothing but the version.

        The name counts as a term: it is what the buyer reads on the receipt.
        """
        return replace(other, version=self.version) == self


@dataclass(frozen=True, slots=True)
class Plan:
    """Something a customer can subscribe to, with every known version of its prices.

    An archived plan is not sold any more; those who have it keep it.

    Raises:
        ValueError: a price belongs to another plan, or a price version appears twice.
    """

    code: str
    name: str
    prices: tuple[Price, ...]
    archived: bool = False

    def __post_init__(self) -> None:
        _check_labels(self.code, self.name)
        seen = set()
        for price in self.prices:
            if price.plan_code != self.code:
                raise ValueError(f"price {price.code} belongs to plan {price.plan_code}, not to {self.code}")
            if (price.code, price.version) in seen:
                raise ValueError(f"price {price.code} v{price.version} appears twice in plan {self.code}")
            seen.add((price.code, price.version))

    def newest(self) -> tuple[Price, ...]:
        """Return the newest version of each price, the one a new subscriber gets."""
        return tuple(newest_versions(self.prices).values())


class PlanLike(Protocol):
    """What `changes` reads of a plan; a stored plan may carry more than a `Plan`."""

    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def prices(self) -> Sequence[Price]: ...
    @property
    def archived(self) -> bool: ...


class PriceCodeTaken(ValueError):
    """A price code already belongs to another plan; subscriptions name prices by code alone."""

    def __init__(self, code: str, owner: str, claimant: str) -> None:
        super().__init__(f"price code {code} belongs to plan {owner}, so plan {claimant} cannot have it")
        self.code = code
        self.owner = owner


class ChangeKind(StrEnum):
    """What applying a plan does to one plan or price."""

    PLAN_CREATED = "plan_created"
    PLAN_RENAMED = "plan_renamed"
    PLAN_ARCHIVED = "plan_archived"
    PLAN_RESTORED = "plan_restored"  # an archived plan is applied again: back on sale
    PRICE_ADDED = "price_added"
    PRICE_UNCHANGED = "price_unchanged"
    PRICE_REVISED = "price_revised"  # other terms: the next version is made, the old one stays as it is
    PRICE_KEPT = "price_kept"  # known but not wanted here: stays, since a file never deletes


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the stored catalogue and the wanted plan.

    `price` is the price as it is to stand, with its version; `old` is the version it
    follows or replaces. A change of the plan itself has neither.
    """

    kind: ChangeKind
    code: str
    words: str
    price: Price | None = None
    old: Price | None = None

    def describe(self) -> str:
        """Return one line for a human: what happens, to what, from which terms to which."""
        subject = f"plan {self.code}" if self.price is None else f"price {self.code} v{self.price.version}"
        return f"{subject}: {self.words}"


def changes(current: Mapping[str, PlanLike], wanted: Plan) -> list[Change]:
    """Return what applying `wanted` would do, the plan first, then its prices in their order.

    A stored version never changes, whether it was sold or not: nobody has to ask, and no sale can
    slip in between the question and the write.

    Args:
        current: every stored plan by code, with the newest versions of its prices.
        wanted: the plan as it should be; the versions of its prices are ignored, except
            that the newest counts where there are several.

    Raises:
        PriceCodeTaken: a wanted price code belongs to another plan of `current`.
    """
    asked = newest_versions(wanted.prices)
    for other in current.values():
        for price in other.prices:
            if other.code != wanted.code and price.code in asked:
                raise PriceCodeTaken(price.code, other.code, wanted.code)
    stored = current.get(wanted.code)
    known = newest_versions(stored.prices if stored else ())
    found = _plan_changes(stored, wanted)
    found += [_price_change(known.get(code), price) for code, price in asked.items()]
    found += [
        Change(ChangeKind.PRICE_KEPT, code, "not named here, stays as it is", price, price)
        for code, price in known.items()
        if code not in asked
    ]
    return found


def newest_versions(prices: Iterable[Price]) -> dict[str, Price]:
    """Return the newest version of each price by code, in the order in which the codes first appear."""
    newest: dict[str, Price] = {}
    for price in prices:
        if price.code not in newest or newest[price.code].version < price.version:
            newest[price.code] = price
    return newest


def _plan_changes(stored: PlanLike | None, wanted: Plan) -> list[Change]:
    if stored is None:
        return [Change(ChangeKind.PLAN_CREATED, wanted.code, f"created as “{wanted.name}”")]
    found = []
    if stored.name != wanted.name:
        words = f"renamed from “{stored.name}” to “{wanted.name}”"
        found.append(Change(ChangeKind.PLAN_RENAMED, wanted.code, words))
    if stored.archived and not wanted.archived:
        found.append(Change(ChangeKind.PLAN_RESTORED, wanted.code, "was archived, back on sale"))
    if wanted.archived and not stored.archived:
        found.append(Change(ChangeKind.PLAN_ARCHIVED, wanted.code, "archived, not sold any more"))
    return found


def _price_change(old: Price | None, wanted: Price) -> Change:
    code = wanted.code
    if old is None:
        first = replace(wanted, version=1)
        every = first.interval if first.interval.count > 1 else first.interval.unit
        return Change(ChangeKind.PRICE_ADDED, code, f"added, {first.amount} every {every}", first)
    if wanted.same_terms(old):
        return Change(ChangeKind.PRICE_UNCHANGED, code, "unchanged", old, old)
    words = f"made, {_differences(old, wanted)}; v{old.version} stays with those who bought it"
    return Change(ChangeKind.PRICE_REVISED, code, words, replace(wanted, version=old.version + 1), old)


def _differences(old: Price, new: Price) -> str:
    terms = ("name", "amount", "interval", "trial_days", "setup_fee", "alignment", "tax_free")
    pairs = [(term.replace("_", " "), getattr(old, term), getattr(new, term)) for term in terms]
    return ", ".join(f"{term} {before} → {after}" for term, before, after in pairs if before != after)


def _check_labels(code: str, name: str) -> None:
    if not CODE.fullmatch(code):
        raise ValueError(f"a code is 1 to 40 of a-z 0-9 . _ - and starts with a letter or digit, got {code!r}")
    if not fits_order_name(name):
        raise ValueError(f"a name is 1 to {NAME_LENGTH_MAX} printable characters without blanks around, got {name!r}")


def fits_order_name(name: str) -> bool:
    """Tell whether a plan or price name can go to the PG as an order name."""
    return 1 <= len(name) <= NAME_LENGTH_MAX and name.isprintable() and name == name.strip()
