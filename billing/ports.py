"""What we need from outside, as Protocols. A port exists only where two implementations do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, Protocol

from billing.domain.customer import KeyFact
from billing.domain.evidence import CancelOrder, Channel, ChargeOrder, PaymentFact, Refusal, Reply, UnreadRecord

NewId = Callable[[], str]
"""Mints an id of ours: UUIDv7 text, or a seeded stand-in in demo and simulator."""


class Clock(Protocol):
    """The system clock: leases, tokens, time-outs, reconciliation windows. Never what is due."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow; for budgets and deadlines inside one process."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; a manual clock moves itself forward instead."""
        ...


class Token:
    """One access token of the PG: the value for one header, the fingerprint for our books.

    The value never reaches a log, a repr, a pickle or the database; the fingerprint is a keyed hash
    that only tells whether two requests carried the same token.
    """

    # No dataclass: `asdict` would hand out the value.
    __slots__ = ("__value", "fingerprint")

    def __init__(self, value: str, fingerprint: str) -> None:
        self.__value = value
        self.fingerprint = fingerprint

    @property
    def value(self) -> str:
        """For the Authorization header, and nothing else."""
        return self.__value

    def __repr__(self) -> str:
        return f"Token({self.fingerprint})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a token is not copied or stored")


@dataclass(frozen=True, slots=True)
class Findings:
    """What one bulk look-up brought: the records by `merchant_uid`, and whether an absence means anything.

    `canary_seen` is None when no canary was asked for, False when a payment we know to exist was
    missing from the same answer: then the PG is blind (wrong account, lagging replica) and
    "not found" proves nothing.
    """

    facts: Mapping[str, tuple[PaymentFact, ...]]
    canary_seen: bool | None = None


@dataclass(frozen=True, slots=True)
class PaymentPage:
    """One page of the PG's payment list; `next_page` is 0 on the last.

    A record that cannot be read is set aside in `unread` and does not spoil the page.
    """

    facts: tuple[PaymentFact, ...]
    total: int
    next_page: int
    unread: tuple[UnreadRecord, ...] = ()


class CardSecrets(Protocol):
    """Raw card data for one call; see `billing.gateway.card.Card`, its only implementation."""

    def revealed(self) -> dict[str, str]:
        """The fields as the PG names them. Called once, inside the request."""
        ...

    def clear(self) -> None:
        """Forget the data."""
        ...


class Gateway(Protocol):
    """The PG, as far as a billing engine needs one.

    Every method raises `GatewayUnavailable` when the PG could not be asked and
    `CredentialsRefused` when it does not accept our key; `charge`, `charge_card` and `cancel` alone never raise
    for what happens on the wire, they report a `Reply` for each order.
    """

    def token(self) -> Token:
        """The access token to charge with, good for some more seconds; never renewed behind the caller's back."""
        ...

    def discard_token(self, fingerprint: str) -> None:
        """Forget the token with this fingerprint (the PG answered 401 to it)."""
        ...

    def charge(
        self, orders: Sequence[ChargeOrder], *, token: Token, gate: Callable[[], bool], linger: float = 0.25
    ) -> Iterator[list[tuple[ChargeOrder, Reply]]]:
        """Send each order once, concurrently, with exactly this token; yield replies in groups, as they come.

        A group closes `linger` seconds after its first reply, so that one bulk look-up serves many and the
        slowest keeps nobody waiting.

        `gate` is asked right before each send; where it says no, the reply is `Silence(sent=False)`.
        """
        ...

    def charge_card(
        self, order: ChargeOrder, card: CardSecrets, *, pg: str = "", token: Token, gate: Callable[[], bool]
    ) -> Reply:
        """Charge raw card data once, with exactly this token; a `customer_uid` in the order keeps the card under that name.

        `gate` is asked right before the send; where it says no, the reply is `Silence(sent=False)`.
        """
        ...

    def find_payments(self, merchant_uids: Sequence[str], *, imp_uids: Sequence[str] = (), canary: str | None = None) -> Findings:
        """All records of these order numbers that the bulk look-up shows, any number of ids."""
        ...

    def find_paid(self, merchant_uids: Sequence[str]) -> Mapping[str, PaymentFact]:
        """For each order number the paid record, where there is one, even when a newer failed one hides it."""
        ...

    def find_all(self, merchant_uid: str) -> list[PaymentFact]:
        """Every record of one order number, oldest first."""
        ...

    def get_payment(self, imp_uid: str) -> PaymentFact | None:
        """One record by the PG's own id, test channels included."""
        ...

    def list_payments(
        self,
        status: str = "all",
        *,
        page: int = 1,
        limit: int = 100,
        since: datetime | None = None,
        until: datetime | None = None,
        sorting: str = "-updated",
    ) -> PaymentPage:
        """A page of the PG's payment list (windows of at most 90 days)."""
        ...

    def issue_key(
        self, customer_uid: str, card: CardSecrets, *, pg: str = "", buyer: Mapping[str, str] | None = None
    ) -> KeyFact | Refusal:
        """Register a card by key-in under `customer_uid`; does not charge it."""
        ...

    def get_key(self, customer_uid: str) -> KeyFact | None:
        """The billing key as the PG knows it, None when it knows none."""
        ...

    def get_keys(self, customer_uids: Sequence[str]) -> Mapping[str, KeyFact]:
        """Several keys in one look-up; unknown ones are absent."""
        ...

    def delete_key(self, customer_uid: str, *, reason: str) -> bool:
        """Delete the key at the PG; False when the PG knew none."""
        ...

    def prepare(self, merchant_uid: str, amount: int) -> None:
        """Register the amount a payment window may be opened with."""
        ...

    def prepared(self, merchant_uid: str) -> int | None:
        """The amount registered for this order number, None when there is none."""
        ...

    def cancel(self, order: CancelOrder, *, token: Token, gate: Callable[[], bool]) -> Reply:
        """Refund a positive amount once, guarded by the balance we believe in; never raises for the wire.

        `gate` is asked right before the send; where it says no, the reply is `Silence(sent=False)`.
        """
        ...

    def channels(self) -> list[Channel]:
        """The payment channels configured at the PG."""
        ...
