"""Customers and their billing keys: one current key per customer, older ones kept as history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from hashlib import sha256
from typing import Any
from zoneinfo import available_timezones

from billing.domain.wording import refuse_card_numbers
from billing.errors import IllegalTransition, RuleError

BUCKETS = 256


class KeyState(StrEnum):
    """The life of a billing key."""

    PENDING = "pending"  # the row exists, the PG has not confirmed the key
    CURRENT = "current"  # the key renewals are charged to; exactly one per customer
    RETIRED = "retired"  # replaced by a newer card, still to be deleted at the PG
    REMOVED = "removed"  # deleted at the PG, or refused at registration


KEY_ARROWS: dict[KeyState, set[KeyState]] = {
    KeyState.PENDING: {KeyState.CURRENT, KeyState.REMOVED},
    KeyState.CURRENT: {KeyState.RETIRED, KeyState.REMOVED},
    KeyState.RETIRED: {KeyState.REMOVED},
    KeyState.REMOVED: set(),
}


@dataclass(frozen=True, slots=True)
class Customer:
    """Someone who pays. `time_zone` is where its billing dates live (IANA name)."""

    id: str
    external_id: str
    name: str
    email: str
    tel: str
    time_zone: str
    bucket: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BillingKey:
    """A registered card: `customer_uid` is the name we minted for it at the PG, one per card."""

    id: str
    customer_id: str
    customer_uid: str
    state: KeyState
    created_at: datetime
    pg_provider: str = ""
    pg_id: str = ""
    card_name: str = ""
    card_number: str = ""
    card_type: int | None = None
    confirmed_at: datetime | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyFact:
    """A billing key as the PG knows it. The card number is masked by the PG, never by us."""

    customer_uid: str
    pg_provider: str
    pg_id: str
    sandbox: bool
    card_name: str = ""
    card_code: str = ""
    card_number: str = ""
    card_type: int | None = None
    inserted: int = 0
    updated: int = 0


def moved(key: BillingKey, there: KeyState, **changes: Any) -> BillingKey:
    """The key in state `there`; raise `IllegalTransition` where no arrow leads: a removed card never comes back."""
    if there not in KEY_ARROWS[key.state]:
        raise IllegalTransition(f"card {key.customer_uid}", key.state, there, "register the card again")
    return replace(key, state=there, **changes)


def bucket_of(customer_id: str) -> int:
    """The shard bucket of a customer, 0–255: what narrows a worker today and shards tables later."""
    return sha256(customer_id.encode()).digest()[0] % BUCKETS


def checked_customer(external_id: str, name: str, email: str, tel: str, time_zone: str) -> None:
    """Refuse a customer that could not be stored or billed.

    Raises:
        RuleError: names the field and the limit, or the field in which a card number was typed.
    """
    limits = {"external_id": (external_id, 200), "name": (name, 100), "email": (email, 254), "tel": (tel, 40)}
    for field, (value, longest) in limits.items():
        if len(value) > longest:
            raise RuleError(field, f"has {len(value)} characters", f"at most {longest} are kept")
        if value != value.strip() or not value.isprintable():
            raise RuleError(field, "has blanks around it or signs that cannot be printed", "write plain text")
    refuse_card_numbers({field: value for field, (value, _) in limits.items()})
    if not external_id:
        raise RuleError("external_id", "is empty", "give the id your own system knows the customer by")
    if email and "@" not in email:
        raise RuleError("email", "has no @", "write an address or leave it out")
    if time_zone not in _zones():
        raise RuleError("time_zone", f"{time_zone!r} is not an IANA time zone", "write for example Asia/Seoul")


@cache
def _zones() -> frozenset[str]:
    """Every IANA zone; the standard library reads a directory tree each time it is asked."""
    return frozenset(available_timezones())
