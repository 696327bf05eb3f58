"""What must be true of any walk, read from the PG's own ledger and from plain SQL. Shares no code with the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, text

_DAY = 86_400
_SEOUL = 9 * 3_600


def violations(ledger: dict[str, Any], engine: Engine) -> Iterator[str]:
    """Every promise broken so far; a promise that cannot break is not listed."""
    with engine.connect() as db:
        booked = {row.imp_uid: row for row in db.execute(text("SELECT imp_uid, role, amount FROM billing_payment"))}
        attempts = list(
            db.execute(
                text(
                    "SELECT a.merchant_uid, a.state, a.trigger, a.wire_count, a.imp_uid, a.customer_uid, a.amount, "
                    "i.state AS invoice_state, a.invoice_id FROM billing_attempt a JOIN billing_invoice i ON i.id = a.invoice_id"
                )
            )
        )
    ledger = ledger | {"arrivals": [row for row in ledger["arrivals"] if row["path"] != "/payments/cancel"]}
    kept = [row for row in ledger["payments"] if row["kept"] > 0]
    yield from _paid_once(kept, booked, ledger["arrivals"])
    yield from _known(kept, booked, attempts)
    yield from _real(booked, ledger)
    yield from _one_at_a_time(ledger["arrivals"])
    yield from _armed(ledger["arrivals"], attempts)
    yield from _no_new_number_before_the_last_is_decided(ledger)
    yield from _one_automatic_charge_a_day(ledger["arrivals"], attempts)


def stem(uid: str) -> str:
    """What the numbers of one invoice share."""
    return uid[:-3]


def _paid_once(kept: list[dict[str, Any]], booked: dict[str, Any], arrivals: list[dict[str, Any]]) -> Iterator[str]:
    """I1: an invoice is never paid twice, except by a PG that approves what it had declined."""
    answered = {row["merchant_uid"]: row["finished_at"] or 0.0 for row in arrivals}
    kept = [row for row in kept if row["paid_at"] <= answered.get(row["merchant_uid"], 0.0) + 1]
    by_invoice: dict[str, list[str]] = defaultdict(list)
    for row in kept:
        by_invoice[stem(row["merchant_uid"])].append(row["imp_uid"])
    for uids in by_invoice.values():
        surplus = [uid for uid in uids if uid in booked and booked[uid].role == "surplus"]
        if len(uids) - len(surplus) > 1:
            yield f"I1: one invoice was paid {len(uids)} times: {uids}"
        if surplus:
            yield f"I1: {surplus} were charged although the invoice was paid"


def _known(kept: list[dict[str, Any]], booked: dict[str, Any], attempts: list[Any]) -> Iterator[str]:
    """I2: money at the PG is in our books, unless its attempt is still being looked at."""
    open_uids = {row.merchant_uid for row in attempts if row.state in ("planned", "sending", "unknown")}
    for row in kept:
        late = row["merchant_uid"] in {one.merchant_uid for one in attempts if one.state in ("declined", "void", "rejected")}
        if row["imp_uid"] not in booked and row["merchant_uid"] not in open_uids and not late:
            yield f"I2: {row['imp_uid']} ({row['merchant_uid']}) is in nobody's books"


def _real(booked: dict[str, Any], ledger: dict[str, Any]) -> Iterator[str]:
    """I3: what we booked, the PG has, to the won."""
    theirs = {row["imp_uid"]: row for row in ledger["payments"]}
    for imp_uid, row in booked.items():
        if imp_uid not in theirs or not theirs[imp_uid]["took_money"] or theirs[imp_uid]["amount"] != row.amount:
            yield f"I3: {imp_uid} is booked over {row.amount}, the PG says {theirs.get(imp_uid)}"


def _one_at_a_time(arrivals: list[dict[str, Any]]) -> Iterator[str]:
    """I8: no two requests of one invoice are at the PG together."""
    running: dict[str, float] = {}
    for row in sorted(arrivals, key=lambda one: one["arrived_at"]):
        name = stem(row["merchant_uid"])
        if running.get(name, 0.0) > row["arrived_at"]:
            yield f"I8: {row['merchant_uid']} arrived while another request of its invoice ran"
        running[name] = max(running.get(name, 0.0), row["finished_at"] or row["arrived_at"])


def _armed(arrivals: list[dict[str, Any]], attempts: list[Any]) -> Iterator[str]:
    """I6, I7: every request has its row, and never more requests than the row was armed."""
    counts: dict[str, int] = defaultdict(int)
    for row in arrivals:
        counts[row["merchant_uid"]] += 1
    rows = {row.merchant_uid: row for row in attempts}
    for uid, count in counts.items():
        if uid not in rows:
            yield f"I6: {uid} arrived and has no row"
        elif rows[uid].wire_count < count:
            yield f"I7: {uid} arrived {count} times, armed {rows[uid].wire_count} times"


def _no_new_number_before_the_last_is_decided(ledger: dict[str, Any]) -> Iterator[str]:
    """I5: a later number arrives only after the PG failed, or never saw, the one before."""
    paid_at = {row["merchant_uid"]: row["paid_at"] for row in ledger["payments"] if row["took_money"]}
    for row in ledger["arrivals"]:
        number = int(row["merchant_uid"][-2:])
        for earlier in range(1, number):
            uid = f"{stem(row['merchant_uid'])}a{earlier:02d}"
            if uid in paid_at and paid_at[uid] <= row["arrived_at"]:
                yield f"I5: {row['merchant_uid']} arrived after {uid} was paid"


def _one_automatic_charge_a_day(arrivals: list[dict[str, Any]], attempts: list[Any]) -> Iterator[str]:
    """I14: at most one automatic number a day for an invoice."""
    automatic = {row.merchant_uid for row in attempts if row.trigger == "automatic"}
    first: dict[str, float] = {}
    for row in arrivals:
        if row["merchant_uid"] in automatic:
            first.setdefault(row["merchant_uid"], row["arrived_at"])
    days: dict[tuple[str, int], set[str]] = defaultdict(set)
    for uid, at in first.items():
        days[stem(uid), int((at + _SEOUL) // _DAY)].add(uid)
    for (_, day), uids in days.items():
        if len(uids) > 1:
            yield f"I14: {sorted(uids)} on day {day}"
