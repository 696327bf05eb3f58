"""What a restored database must take back from the PG, and in which order. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from billing.domain.attempt import merchant_uid_stem, stem_of
from billing.domain.evidence import PaymentFact
from billing.domain.invoice import Purpose
from billing.domain.reconciliation import Finding
from billing.domain.subscription import OVER, Subscription

OVERLAP = timedelta(hours=48)
REACH = timedelta(days=35)
"""At least so far back the PG is asked: a probe that has adopted one of today's payments must not hide yesterday's."""

_AHEAD, _BEHIND = 8, 40
"""How many periods after and before the next one are tried for a name the PG knows; the search begins again after each find."""


class Adopted(NamedTuple):
    """One charge the PG remembered and this database had forgotten; `outcome` is the verdict it was settled with."""

    merchant_uid: str
    imp_uid: str
    invoice_id: str
    outcome: str
    amount: int
    currency: str


class Restored(NamedTuple):
    """What an adoption found between this database and the PG. Amounts are minor units.

    Args:
        since, until: the PG's records of this stretch were compared.
        payments: how many of them are this ledger's.
        adopted: what was taken back, oldest first.
        settled: how many outcomes were booked besides, of attempts this database had not forgotten.
        orphans: what nothing here explains; charging stays frozen until somebody does.
        unexplained: these, and whatever else reconciliation has found and nobody has explained.
        is_moved: the ledger was recorded as living in another place, or under another instance secret.
        is_frozen: charging is still switched off.
    """

    since: datetime
    until: datetime
    payments: int
    adopted: tuple[Adopted, ...]
    settled: int
    orphans: tuple[Finding, ...]
    unexplained: tuple[Finding, ...]
    is_moved: bool
    is_frozen: bool


class Home(NamedTuple):
    """The period of a subscription an order number was minted for."""

    subscription_id: str
    period_index: int


def asked_since(newest_known: datetime | None, now: datetime) -> datetime:
    """From when on the PG's records are compared, when the operator does not say."""
    return min(newest_known or now, now - REACH) - OVERLAP


def homes(
    subscriptions: Iterable[Subscription], stems: Container[str], *, prefix: str, ledger_id: str, now: datetime
) -> dict[str, Home]:
    """Which period of which subscription each of `stems` names; those that name none are left out.

    A name cannot be read backwards, so the periods a subscription may have billed meanwhile are named and compared. A
    test clock may stand far behind the PG's records: how far to look is counted from the next period, not from `now` alone.
    """
    found: dict[str, Home] = {}
    for one in subscriptions:
        if one.state in OVER:
            continue
        last = max(one.next_index, one.index_at(now) if now >= one.period(0).start else 0) + _AHEAD
        for index in range(max(0, one.next_index - _BEHIND), last + 1):
            stem = merchant_uid_stem(prefix, ledger_id, one.id, Purpose.PERIOD.value, index)
            if stem in stems:
                found[stem] = Home(one.id, index)
    return found


def next_steps(facts: Mapping[str, PaymentFact], where: Mapping[str, Home]) -> list[str]:
    """The oldest order number of each subscription: charges of one customer are taken back in the order they were made.

    Args:
        facts: what is left to take back, by order number.
        where: the home of each number's stem.
    """
    queues: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for uid in facts:
        home = where.get(stem_of(uid)[0])
        if home is not None:
            queues[home.subscription_id].append((home.period_index, uid))
    return [min(queue)[1] for queue in queues.values()]
