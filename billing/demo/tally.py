"""What the books say when the demo is over: every number is read back, none was counted along the way."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Table, func, select

from billing.demo.people import SEOUL
from billing.demo.year import Year
from billing.domain.subscription import SubscriptionState
from billing.flow.verification import Proof
from billing.store import tables as t
from billing.store.guards import guards
from plans.calendar import local_day


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How invoices ended. `recovered` counts by the way that brought the money after a first failure."""

    at_once: int
    recovered: Mapping[str, int]
    given_up: int
    void: int
    open: int

    @property
    def recovered_total(self) -> int:
        """Paid after all."""
        return sum(self.recovered.values())

    @property
    def total(self) -> int:
        """Every invoice of the demo."""
        return self.at_once + self.recovered_total + self.given_up + self.void + self.open


@dataclass(frozen=True, slots=True)
class Doubts:
    """Charges whose answer did not come, came broken, or was wrong; and what became of them."""

    lost_answers: int
    broken_answers: int
    not_executed: int
    looked_up_later: int
    sent_again: int
    approved_late: int
    undecided: int


@dataclass(frozen=True, slots=True)
class Money:
    """The three sums that must be equal, in won."""

    payments: int
    ledger: int
    pg: int
    refunded: int
    double_charges: int

    @property
    def agree(self) -> bool:
        """True when our payments, our ledger and the PG's ledger say the same and nobody paid twice."""
        return self.payments == self.ledger == self.pg and not self.double_charges


@dataclass(frozen=True, slots=True)
class Month:
    """One calendar month: who came and left, how its invoices ended, what was collected in it per price."""

    label: str
    joined: int
    left: int
    at_once: int
    recovered: int
    unpaid: int
    collected: Mapping[str, int]

    @property
    def total(self) -> int:
        """Won collected."""
        return sum(self.collected.values())


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything tables and report show."""

    seed: int
    months_asked: int
    first_day: date
    last_day: date
    prices: Mapping[str, str]
    sold: Mapping[str, int]
    states: Mapping[str, int]
    outcomes: Outcomes
    doubts: Doubts
    money: Money
    months: Sequence[Month]
    invoice_numbers: int
    numbers_have_no_gap: bool
    guards: int
    chains: int
    audit_rows: int
    refused_wishes: Sequence[str]
    proof: Proof
    digest: str

    @property
    def guards_stand(self) -> bool:
        """True when the database still refuses everything it must."""
        return not any(one.startswith("guard") for one in self.proof.differences)

    @property
    def chains_hold(self) -> bool:
        """True when no audit trail was touched."""
        return not any("audit" in one for one in self.proof.differences)

    @property
    def holds(self) -> bool:
        """True when nothing contradicts anything."""
        return self.proof.holds and self.money.agree and self.numbers_have_no_gap and not self.doubts.undecided


_BOOKS: tuple[Table, ...] = (
    t.subscription,
    t.invoice,
    t.invoice_line,
    t.attempt,
    t.payment,
    t.ledger_transfer,
    t.outbox_event,
    t.audit,
)
_AT_ONCE = timedelta(seconds=60)
AT_RETRY = "retry after {} day{}"
NEW_CARD, APPROVED_LATE, MAINTENANCE = "another card", "approved late, found by the probe", "next day, issuer was down"


def tally(year: Year) -> Tally:
    """Read everything back from the books and from the PG's own ledger."""
    proof = year.app.verify()
    pg = year.sandbox.ledger()
    with year.app.store.read() as tx:
        one = tx.connection
        prices = _mapping(one, select(t.price.c.code, t.price.c.name).where(t.price.c.is_current).order_by(t.price.c.code))
        rows = _invoices(one)
        ways = {row.id: _way(row) for row in rows}
        numbers, highest = one.execute(select(func.count(), func.max(t.invoice.c.number))).one()
        sold = select(t.price.c.code, func.count()).join(t.subscription, t.subscription.c.price_id == t.price.c.id)
        states = _mapping(one, select(t.subscription.c.state, func.count()).group_by(t.subscription.c.state))
        chains = select(func.count(func.distinct(t.audit.c.subscription_id)), func.count())
        chained, audited = one.execute(chains).one()
        return Tally(
            seed=year.seed,
            months_asked=year.months,
            first_day=min(year.calendar),
            last_day=year.last_day,
            prices=prices,
            sold=_mapping(one, sold.group_by(t.price.c.code).order_by(t.price.c.code)),
            states={state.value: states[state.value] for state in SubscriptionState if state.value in states},
            outcomes=_outcomes(rows, ways),
            doubts=_doubts(one, year, pg),
            money=_money(one, proof, pg),
            months=_months(one, rows, ways),
            invoice_numbers=numbers,
            numbers_have_no_gap=numbers == (highest or 0),
            guards=len(guards(one.dialect.name)),
            chains=chained,
            audit_rows=audited,
            refused_wishes=tuple(year.refused),
            proof=proof,
            digest=digest(one, pg),
        )


def digest(one: Connection, pg: Mapping[str, Any]) -> str:
    """SHA-256 over the PG's whole ledger and every row of our own books, in the order of their keys."""
    sums = sha256(json.dumps(dict(pg), sort_keys=True).encode())
    for table in _BOOKS:
        keys = list(table.primary_key.columns)
        for row in one.execute(select(table).order_by(*keys)):
            sums.update("\x1f".join(map(str, row)).encode())
    return sums.hexdigest()


def _mapping(one: Connection, query: Any) -> dict[str, Any]:
    return {row[0]: row[1] for row in one.execute(query)}


def _invoices(one: Connection) -> list[Any]:
    """Every invoice with its price, its first attempt and the one that paid it."""
    first, paid = t.attempt.alias("first_try"), t.attempt.alias("paid_try")
    query = (
        select(
            t.invoice.c.id,
            t.invoice.c.state,
            t.invoice.c.opened_at,
            t.invoice.c.first_failed_at,
            t.invoice.c.moved_at,
            t.price.c.code.label("price"),
            first.c.customer_uid.label("first_card"),
            first.c.fail_class.label("first_class"),
            paid.c.customer_uid.label("paid_card"),
            paid.c.seq.label("paid_seq"),
            paid.c.fail_code.label("paid_after_code"),
        )
        .join(t.subscription, t.subscription.c.id == t.invoice.c.subscription_id)
        .join(t.price, t.price.c.id == t.subscription.c.price_id)
        .outerjoin(first, (first.c.invoice_id == t.invoice.c.id) & (first.c.seq == 1))
        .outerjoin(paid, (paid.c.invoice_id == t.invoice.c.id) & (paid.c.state == "paid"))
        .order_by(t.invoice.c.number)
    )
    return list(one.execute(query))


def _way(row: Any) -> str:
    """How an invoice ended: `at once`, its state, or the way it was recovered."""
    if row.state != "paid":
        return str(row.state)
    if row.first_failed_at is None:
        return "at once"
    if row.paid_after_code:
        return APPROVED_LATE
    if row.paid_card != row.first_card:
        return NEW_CARD
    if row.first_class == "transient" and row.paid_seq == 2:
        return MAINTENANCE
    days = (local_day(row.moved_at, SEOUL) - local_day(row.first_failed_at, SEOUL)).days
    return AT_RETRY.format(days, "" if days == 1 else "s")


_STATES = ("uncollectible", "void", "open")


def _outcomes(rows: Sequence[Any], ways: Mapping[str, str]) -> Outcomes:
    counts = Counter(ways[row.id] for row in rows)
    recovered = {way: count for way, count in sorted(counts.items(), key=_ladder_order) if way not in ("at once", *_STATES)}
    return Outcomes(counts["at once"], recovered, counts["uncollectible"], counts["void"], counts["open"])


def _ladder_order(item: tuple[str, int]) -> tuple[bool, str]:
    return (not item[0].startswith("retry"), item[0])


def _doubts(one: Connection, year: Year, pg: Mapping[str, Any]) -> Doubts:
    arrivals = Counter((row["answer"], row["outcome"]) for row in pg["arrivals"])
    executed = {key: count for key, count in arrivals.items() if key[1] in ("paid", "failed")}
    hits: Counter[str] = Counter()
    for fault in year.sandbox.faults():
        hits[fault["name"]] += fault["hits"]
    attempts = t.attempt.c
    count = select(func.count())
    return Doubts(
        lost_answers=sum(count for (answer, _), count in executed.items() if answer == "lost"),
        broken_answers=sum(count for (answer, _), count in executed.items() if answer == "502") + hits["garbage"],
        not_executed=hits["lost_request"] + hits["server_error"] + hits["rate_limit"] + hits["token_revoked"],
        looked_up_later=sum(_was_in_doubt(row) for row in one.execute(select(t.attempt).where(attempts.sent_at.is_not(None)))),
        sent_again=one.execute(count.where(attempts.wire_count > 1)).scalar_one(),
        approved_late=one.execute(count.where(attempts.state == "paid", attempts.fail_code.is_not(None))).scalar_one(),
        undecided=one.execute(count.where(attempts.state.in_(["planned", "sending", "unknown", "mismatch"]))).scalar_one(),
    )


def _was_in_doubt(attempt: Any) -> bool:
    """True when the end of an attempt was not known at once: decided after its send, or sent again later."""
    if attempt.state == "paid" and attempt.fail_code:
        return False  # declined at once, approved later: that is another story
    return bool(attempt.moved_at > attempt.sent_at or attempt.sent_at - attempt.created_at > _AT_ONCE)


def _money(one: Connection, proof: Proof, pg: Mapping[str, Any]) -> Money:
    surplus = select(func.count()).where(t.payment.c.role == "surplus")
    return Money(
        payments=proof.totals["paid_amount"] - proof.totals["refunded_amount"],
        ledger=proof.totals["ledger_receivable"],
        pg=int(pg["totals"]["kept"]),
        refunded=proof.totals["refunded_amount"],
        double_charges=len(pg["double_charged"]) + one.execute(surplus).scalar_one(),
    )


def _months(one: Connection, rows: Sequence[Any], ways: Mapping[str, str]) -> list[Month]:
    joined: Counter[str] = Counter(_month(at) for at in one.execute(select(t.subscription.c.created_at)).scalars())
    left: Counter[str] = Counter(
        _month(at)
        for at in one.execute(select(t.subscription.c.ended_at).where(t.subscription.c.ended_at.is_not(None))).scalars()
    )
    ended: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        ended[_month(row.opened_at)][ways[row.id]] += 1
    paid = (
        select(t.payment.c.booked_at, t.payment.c.amount, t.price.c.code)
        .join(t.invoice, t.invoice.c.id == t.payment.c.invoice_id)
        .join(t.subscription, t.subscription.c.id == t.invoice.c.subscription_id)
        .join(t.price, t.price.c.id == t.subscription.c.price_id)
    )
    collected: dict[str, Counter[str]] = defaultdict(Counter)
    for row in one.execute(paid):
        collected[_month(row.booked_at)][row.code] += row.amount
    return [
        Month(
            label,
            joined[label],
            left[label],
            at_once=ended[label]["at once"],
            recovered=sum(count for way, count in ended[label].items() if way not in ("at once", *_STATES)),
            unpaid=sum(ended[label][state] for state in _STATES),
            collected=dict(sorted(collected[label].items())),
        )
        for label in sorted({*joined, *left, *ended, *collected})
    ]


def _month(at: datetime) -> str:
    return f"{at.astimezone(SEOUL):%Y-%m}"
