"""What must be true of the windows buyers open, as the shop's pages and the PG see them. Shares no code with the engine.

The usher sees every number that is handed to a browser, every window that opens with it at the PG, every question the PG
asks before an approval, and every answer a buyer is given. The number of an hour, the form of an order number and the
meaning of a state are written down here once more, so that they can disagree with the engine's.

What buyers tamper with is told to the usher by whoever tampers, never found out from the engine. Such money is promised
less: it counts for an invoice only where every field is what was asked for (I3), and in the end it stands in the books or
among the findings (I2). That it is not paid twice is nobody's promise.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

OPEN_SECONDS = 3_600.0
"""How long a window may stay open."""
_DEPOSIT_SECONDS = 30 * 86_400.0
"""The longest an account is waited for."""
_RACE_SECONDS = 120.0
_LOOK_SECONDS = 3_700.0
"""The longest anybody waits before the next look at a window's attempt while a day has not passed."""
_UNDECIDED = ("sending", "unknown")


def is_from_a_window(imp_uid: str) -> bool:
    """True for the PG's ids of browser payments: `imp_` and digits; those of its API begin with `imps_`."""
    return imp_uid.startswith("imp_")


@dataclass(slots=True)
class Given:
    """One order number in the hands of buyers. `at` is when it was given last, or when the PG was last told to go on."""

    invoice_id: str
    at: float
    times: int = 0
    windows: list[str] = field(default_factory=list)


class Usher:
    """Judges windows.

    Args:
        db: the engine's database with the mirror of the PG's ledger; only asked when no transaction is open.
        now: the instant, in Unix seconds.
        report: is told every broken promise.
    """

    def __init__(self, db: sqlite3.Connection, *, now: Callable[[], float], report: Callable[[str], None]) -> None:
        self._db, self._now, self._report = db, now, report
        self.asks_first = False
        """The PG asks the shop before it approves: what is paid twice all the same was under way twice."""
        self._given: dict[str, Given] = {}
        self._tampered: set[str] = set()
        self._accounts: dict[str, float] = {}
        self._odd_accounts: dict[str, float] = {}
        self._go: dict[str, bool] = {}
        self._cards: dict[str, str] = {}

    def forgets(self) -> None:
        """The database was put back to an older state, and may not know what it gave out since."""
        self._given, self._accounts, self._odd_accounts, self._cards = {}, {}, {}, {}

    # --- what happens to windows -------------------------------------------------------------------

    def gives(self, params: Mapping[str, Any], invoice_id: str) -> None:
        """A browser is about to be given these parameters to pay this invoice.

        I6: the row is written first, and says the same. I24: no number pays for two invoices. Breaks when a number leaves
        before its row is committed, or is made of too little.
        """
        uid = params["merchant_uid"]
        state, way, amount, invoice, kept = self._db.execute(
            "SELECT a.state, a.way, a.amount, a.invoice_id, coalesce(nullif(a.customer_uid, ''), '-')"
            " FROM billing_attempt a WHERE a.merchant_uid = ?",
            (uid,),
        ).fetchone() or ("gone", "", 0, "", "")
        if state != "sending" or way not in ("window", "issue") or amount != params["amount"]:
            self._report(f"I6: {uid} is given to a browser over {params['amount']}, its row is {state}, {way}, {amount}")
        if kept != params.get("customer_uid", "-"):
            self._report(f"I6: {uid} is given to a browser with the card {params.get('customer_uid')}, its row says {kept}")
        given = self._given.setdefault(uid, Given(invoice_id, self._now()))
        if {invoice, given.invoice_id} != {invoice_id}:
            self._report(f"I24: {uid} of invoice {given.invoice_id} is given out for {invoice_id}")
        given.at, given.times = self._now(), given.times + 1

    def registers(self, params: Mapping[str, Any], customer_id: str) -> None:
        """A browser is about to be given these parameters to register a card of this customer."""
        uid, card = params["merchant_uid"], params["customer_uid"]
        if params["amount"] or self._db.execute("SELECT 1 FROM billing_attempt WHERE merchant_uid = ?", (uid,)).fetchone():
            self._report(f"I24: {uid}, which registers a card, is over {params['amount']} or an attempt's number")
        if self._cards.setdefault(card, customer_id) != customer_id:
            self._report(f"I24: the card {card} of {self._cards[card]} is given out to {customer_id}")

    def opens(self, uid: str, *, is_tampered: bool) -> str | None:
        """A window has just opened at the PG under this number; the mirror knows. Returns the PG's id of its record."""
        found = self._db.execute(
            "SELECT imp_uid FROM pg_payment WHERE merchant_uid = ? AND abs(started_at - ?) < 1e-6 AND imp_uid GLOB 'imp[_]*'",
            (uid, self._now()),
        ).fetchone()
        if found is None:
            return None
        imp_uid: str = found[0]
        if is_tampered:
            self._tampered.add(imp_uid)
        elif uid in self._given:
            self._given[uid].windows.append(imp_uid)
        return imp_uid

    def asked(self, imp_uid: str, uid: str, amount: int, why: str | None) -> None:
        """The shop answered the PG's question before an approval; `why` not, None to go on.

        I24: go is said to what is wanted, and to nothing else. Breaks when the answer is given by habit.
        """
        if why is not None:
            return
        row = self._db.execute(
            "SELECT a.state, a.way, a.amount, i.state, s.state, (SELECT count(*) FROM billing_payment b WHERE b.invoice_id = i.id"
            " AND b.role = 'invoice'), (SELECT count(*) FROM billing_freeze WHERE is_frozen) FROM billing_attempt a"
            " JOIN billing_invoice i ON i.id = a.invoice_id JOIN billing_subscription s ON s.id = a.subscription_id"
            " WHERE a.merchant_uid = ?",
            (uid,),
        ).fetchone()
        if row is None:
            self._report(f"I24: the PG may approve {imp_uid} under {uid}, which nobody knows")
            return
        state, way, wanted, invoice, subscription, paid, frozen = row
        is_wanted = invoice == "open" and subscription not in ("canceled", "ended", "paused") and not paid and not frozen
        if state not in _UNDECIDED or way not in ("window", "issue") or wanted != amount or not is_wanted:
            self._report(f"I24: the PG may approve {imp_uid} over {amount} for {uid}, which is {row}")
        self._go[imp_uid] = True
        if uid in self._given:
            self._given[uid].at = self._now()

    def issues(self, imp_uid: str, uid: str, until: float) -> None:
        """The PG gave a buyer an account to pay into until this instant."""
        given, state = self._given.get(uid), self._state(uid)[0]
        if given is None or state not in _UNDECIDED or self._now() > given.at + OPEN_SECONDS - _RACE_SECONDS:
            return
        # One that somebody tampered with may be waited for, when it is over what was asked; it need not be.
        accounts = self._odd_accounts if imp_uid in self._tampered else self._accounts
        accounts[imp_uid] = min(until, given.at + _DEPOSIT_SECONDS)

    def answers(self, uid: str, how: str) -> None:
        """A buyer was told how his window ended.

        I25: nobody is told that he paid, or that his card is registered, before the PG has it. Breaks when what a browser
        says is believed.
        """
        if how == "paid" and uid:
            took = "SELECT 1 FROM pg_payment p JOIN billing_attempt a USING (merchant_uid) WHERE p.merchant_uid = ?"
            if self._db.execute(f"{took} AND p.took > 0 AND a.state IN ('paid', 'surplus')", (uid,)).fetchone() is None:
                self._report(f"I25: a buyer was told that {uid} is paid, and it is not")
        if how == "registered":
            mine = (
                "SELECT 1 FROM billing_checkout c JOIN billing_key k USING (customer_uid, customer_id) WHERE c.merchant_uid = ?"
            )
            if self._db.execute(f"{mine} AND k.confirmed_at > ''", (uid,)).fetchone() is None:
                self._report(f"I25: a buyer was told that the card of {uid} is registered, and it is not")

    # --- what others ask -----------------------------------------------------------------------------

    def excuse(self, one: Mapping[str, Any]) -> str | None:
        """Why this payment of a window, which holds money now, may be one too many; None where it may not.

        Not asked for is what a buyer tampered with, what a restored database cannot know, what was paid in a window that
        had lapsed, and the second of two windows under one number. Where the PG asks first, the last two are none, unless
        the shop said go when nothing of it was known yet.
        """
        imp_uid, uid = one["imp_uid"], one["merchant_uid"]
        if imp_uid in self._tampered:
            return "tampered"
        if uid not in self._given:
            return "forgotten"
        # Nobody is asked before a deposit: the PG approves nothing there.
        if self.asks_first and imp_uid not in self._go and one["pay_method"] != "vbank":
            return None
        others = "SELECT 1 FROM pg_payment WHERE stem = ? AND imp_uid <> ? AND took > 0"
        if self._db.execute(others, (uid[:-3], imp_uid)).fetchone() is not None:
            return "second window"
        state, own = self._state(uid)
        return None if state in _UNDECIDED or own == imp_uid else "late window"

    def open_windows(self, stem: str, at: float) -> Iterator[str]:
        """The order numbers of an invoice under which a buyer may still pay: in a window, or into an account."""
        for uid, given in self._given.items():
            if uid[:-3] != stem:
                continue
            failed = "SELECT count(*) FROM pg_payment WHERE merchant_uid = ? AND imp_uid GLOB 'imp[_]*' AND status = 'failed'"
            (ended,) = self._db.execute(failed, (uid,)).fetchone()
            is_young = at < given.at + OPEN_SECONDS - _RACE_SECONDS and ended < given.times
            if is_young or any(self._waits(imp_uid, at) for imp_uid in given.windows):
                yield uid

    def waits(self, uid: str) -> bool:
        """True while an account of this number takes deposits, or did until a moment ago."""
        # Looks at an account come a day apart in the end.
        at = self._now() - OPEN_SECONDS - 24 * _LOOK_SECONDS
        under = self._db.execute("SELECT imp_uid FROM pg_payment WHERE merchant_uid = ?", (uid,)).fetchall()
        return any(self._waits(one, at) for (one,) in under)

    def closely(self) -> Iterator[str]:
        """What is checked daily.

        I24: the card that was registered is its customer's; a window holds up nothing for longer than its hour and a look;
        and what a browser sends switches charging off for nobody. Breaks when a window is not looked at again, is watched
        for as long as it says itself, or when strangers are believed to be us.
        """
        for card, owner in self._cards.items():
            for (other,) in self._db.execute(
                "SELECT customer_id FROM billing_key WHERE customer_uid = ? AND customer_id <> ?", (card, owner)
            ):
                yield f"I24: the card {card}, registered for {owner}, is {other}'s"
        for uid, state, sent_at, wake_at in self._db.execute(
            "SELECT merchant_uid, state, unixepoch(sent_at), unixepoch(wake_at) FROM billing_attempt WHERE way IN ('window',"
            " 'issue') AND state IN ('sending', 'unknown')"
        ):
            is_late = wake_at is None or wake_at > self._now() + _LOOK_SECONDS
            if is_late and self._now() < sent_at + 20 * OPEN_SECONDS and not self.waits(uid):
                yield f"I24: the window of {uid} is {state} since {sent_at} and nobody looks before {wake_at}"
        for (imp_uid,) in self._db.execute(
            "SELECT f.imp_uid FROM billing_finding f WHERE f.kind = 'stranger' AND f.imp_uid GLOB 'imp[_]*'"
        ):
            yield f"I24: {imp_uid} was paid in a browser and is held for a charge of ours"

    def _waits(self, imp_uid: str, at: float) -> bool:
        if at >= max(self._accounts.get(imp_uid, 0.0), self._odd_accounts.get(imp_uid, 0.0)):
            return False
        ready = self._db.execute("SELECT 1 FROM pg_payment WHERE imp_uid = ? AND status = 'ready'", (imp_uid,))
        return ready.fetchone() is not None

    def _state(self, uid: str) -> tuple[str, str | None]:
        found = self._db.execute("SELECT state, imp_uid FROM billing_attempt WHERE merchant_uid = ?", (uid,)).fetchone()
        return (found[0], found[1]) if found else ("gone", None)
