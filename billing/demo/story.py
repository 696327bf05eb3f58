"""The life of one subscriber, told from the events, attempts and PG records it left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing.demo.people import SEOUL
from billing.demo.year import Year
from billing.sandbox import MAGIC_CARDS
from billing.store import tables as t
from plans.money import Money


@dataclass(frozen=True, slots=True)
class Moment:
    """One dated line. `mood` is good, bad, odd or plain: what colour it is told in."""

    at: datetime
    mood: str
    words: str


@dataclass(frozen=True, slots=True)
class Story:
    """Whose life, on what, and what happened."""

    name: str
    email: str
    terms: str
    moments: Sequence[Moment]
    paid: int
    payments: int
    periods: int


def story(year: Year, external_id: str) -> Story:
    """Tell the life of one customer with one subscription."""
    with year.app.store.read() as tx:
        one = tx.connection
        who = one.execute(select(t.customer).where(t.customer.c.external_id == external_id)).one()
        what = one.execute(
            select(t.subscription, t.price.c.name.label("price_name"), t.price.c.amount.label("price_amount"))
            .join(t.price, t.price.c.id == t.subscription.c.price_id)
            .where(t.subscription.c.customer_id == who.id)
        ).one()
        events = one.execute(
            select(t.outbox_event).where(t.outbox_event.c.customer_id == who.id).order_by(t.outbox_event.c.id)
        ).all()
        invoices = {row.id: row for row in one.execute(select(t.invoice).where(t.invoice.c.customer_id == who.id))}
        attempts = {row.merchant_uid: row for row in one.execute(select(t.attempt).where(t.attempt.c.customer_id == who.id))}
        payments = one.execute(select(t.payment).where(t.payment.c.invoice_id.in_(invoices))).all()
    charges = [row for row in year.sandbox.ledger()["arrivals"] if row["path"] != "/payments/cancel"]
    answers = {row["merchant_uid"]: row["answer"] for row in charges}
    teller = _Teller(what, invoices, attempts, answers)
    told = [(row.occurred_at.astimezone(SEOUL), teller.told(row.topic, json.loads(row.payload))) for row in events]
    amount = won(what.price_amount * what.quantity)
    return Story(
        name=who.name,
        email=who.email,
        terms=f"{what.price_name}, {amount} every {_interval(what)}, anchored on day {what.anchor_on.day}",
        moments=[Moment(at, *words) for at, words in told if words is not None],
        paid=sum(row.amount for row in payments),
        payments=len(payments),
        periods=len({invoices[row.invoice_id].period_index for row in payments}),
    )


def won(amount: int) -> str:
    """An amount as Koreans read it."""
    return str(Money(amount))


def _interval(row: Any) -> str:
    return str(row.interval_unit) if row.interval_count == 1 else f"{row.interval_count} {row.interval_unit}s"


def _day(at: datetime) -> str:
    local = at.astimezone(SEOUL)
    return f"{local.day} {local:%b}"


_IN_ENGLISH = {
    card.code: card.what.partition(": ")[2].partition(",")[0]
    for card in MAGIC_CARDS.values()
    if card.what.startswith("declines: ")
}


class _Teller:
    """Turns an event into a line, with what attempts and the PG know about it."""

    def __init__(
        self, subscription: Any, invoices: Mapping[str, Any], attempts: Mapping[str, Any], answers: Mapping[str, str]
    ) -> None:
        self._subscription = subscription
        self._invoices = invoices
        self._attempts = attempts
        self._answers = answers
        self._cards = 0

    def told(self, topic: str, payload: Mapping[str, Any]) -> tuple[str, str] | None:
        """Mood and words, None for what goes without saying."""
        match topic:
            case "card.registered":
                self._cards += 1
                which = "a card" if self._cards == 1 else "another card"
                return "plain", f"registers {which}: {payload['card_name']} {payload['card_number']}"
            case "subscription.created":
                return "plain", f"subscribes to {self._subscription.price_name}"
            case "charge.declined":
                amount = self._attempts[payload["merchant_uid"]].amount
                gloss = _IN_ENGLISH.get(payload["code"] or "")
                return "bad", f"{won(amount)} declined: {payload['reason']}" + (f" – {gloss}" if gloss else "")
            case "invoice.needs_card":
                return (
                    "odd",
                    f"asked for another card by {_day(datetime.fromisoformat(payload['until']))}; this one is not tried again",
                )
            case "invoice.retry_planned":
                return "odd", f"to be tried again on {_day(datetime.fromisoformat(payload['at']))}"
            case "invoice.paid":
                return "good", self._paid(payload)
            case "subscription.canceled":
                return "bad", f"the subscription is canceled ({payload['reason']})"
            case "subscription.cancel_planned":
                return "odd", f"cancels for {_day(datetime.fromisoformat(payload['at']))}"
            case "subscription.uncanceled":
                return "good", "takes the cancellation back"
            case "subscription.paused" | "subscription.resumed" | "subscription.ended":
                return "odd", topic.removeprefix("subscription.")
        return None

    def _paid(self, payload: Mapping[str, Any]) -> str:
        invoice = self._invoices[payload["invoice_id"]]
        paid = next(one for one in self._attempts.values() if one.invoice_id == invoice.id and one.state == "paid")
        words = (
            f"{won(invoice.total)} paid for {_day(invoice.period_start)} – {_day(invoice.period_end)} (invoice {invoice.number})"
        )
        said = self._answers.get(paid.merchant_uid)
        if said in ("lost", "502"):
            words += "; the answer was lost" if said == "lost" else "; answered with a 502"
            if paid.looks:
                seconds = round((paid.moved_at - paid.sent_at).total_seconds())
                words += f", unknown for {seconds // 60} min {seconds % 60:02d} s"
            words += ", found at the PG by look-up, not charged again"
        elif paid.seq > 1:
            words += f", at attempt {paid.seq}"
        return words
