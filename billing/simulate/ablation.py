"""Switch one guard off and see what breaks. Nothing here can be reached by an engine that is not simulated.

A guard of the database is dropped from the image every life begins with; a guard in the code is a function replaced by
one that does not care, for as long as the lives last. What no life notices is a second belt, or is not needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from billing import app
from billing.domain import booking
from billing.domain import reconciliation as comparing
from billing.domain import settlement as rules
from billing.domain.attempt import BROWSER_WAYS, LIVE, AttemptState, ChargeAttempt, Way
from billing.domain.charging import armed, is_news
from billing.domain.evidence import DeclineClass, PaymentFact, PaymentStatus
from billing.domain.patience import Patience
from billing.domain.settlement import Declined, Evidence, Rejected, Verdict, Wait
from billing.flow import charging, opening, probing, settlement
from billing.flow.charging import Charging
from billing.flow.confirming import Confirming
from billing.flow.opening import Opening
from billing.flow.planning import Planning
from billing.flow.probing import Probing
from billing.gateway.http import Answer, Http
from billing.gateway.iamport import IamportGateway
from billing.simulate.foreign import HANDS, Hand
from billing.store.guards import guards

Patch = Callable[[ExitStack], None]


class Ablation(NamedTuple):
    """One guard, or a few that stand for each other, switched off.

    `seen_as` is the promise that is expected to break; another may break first.
    """

    name: str
    seen_as: str
    guards: tuple[str, ...] = ()
    patches: tuple[Patch, ...] = ()

    @property
    def hands(self) -> list[Hand]:
        """The foreign hands that only these guards hold back; none where code is switched off, too, which is to be missed."""
        return [] if self.patches else [hand for hand in HANDS if set(hand.guards) <= set(self.guards)]

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Replace the code it replaces, and let the engine live without the guards it drops."""
        with ExitStack() as stack:
            if self.guards:
                stack.enter_context(mock.patch.object(app, "assert_guarded", return_value=None))
            for patch in self.patches:
                patch(stack)
            yield


def weaken(db: sqlite3.Connection, names: Sequence[str]) -> None:
    """Drop these guards from a SQLite database."""
    kinds = {guard.name: guard for guard in guards("sqlite")}
    for name in names:
        guard = kinds[name]
        if guard.kind == "trigger":
            db.execute(f"DROP TRIGGER {name}")
        elif guard.kind == "unique index":
            db.execute(f"DROP INDEX {name}")
        else:
            _rebuilt(db, guard.table, name)


def _rebuilt(db: sqlite3.Connection, table: str, constraint: str) -> None:
    """Make a table again without one of its constraints: SQLite cannot drop one."""
    (sql,) = db.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    others = db.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL", (table,)
    ).fetchall()
    head, _, body = sql.partition("(")
    parts = [part for part in _parts(body.rpartition(")")[0]) if part.split()[:2] != ["CONSTRAINT", constraint]]
    # A key that other tables refer to takes their foreign keys along.
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("PRAGMA legacy_alter_table = ON")
    db.execute(f"{head.replace(table, table + '_weak')}({','.join(parts)})")
    db.execute(f"INSERT INTO {table}_weak SELECT * FROM {table}")
    db.execute(f"DROP TABLE {table}")
    db.execute(f"ALTER TABLE {table}_weak RENAME TO {table}")
    for (each,) in others:
        db.execute(each)


def _parts(body: str) -> Iterator[str]:
    """The columns and constraints of a CREATE TABLE."""
    depth, start, is_text = 0, 0, False
    for place, sign in enumerate(body):
        if sign == "'":
            is_text = not is_text
        depth += 0 if is_text else {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and not depth and not is_text:
            yield body[start:place].strip()
            start = place + 1
    yield body[start:].strip()


# --- guards in the code ---------------------------------------------------------------------------


def _replaced(target: object, name: str, new: object) -> Patch:
    def patch(stack: ExitStack) -> None:
        stack.enter_context(mock.patch.object(target, name, new))

    return patch


def _no_probe(_self: Probing, attempts: Sequence[Any]) -> tuple[list[Verdict], list[Any]]:
    return [], list(attempts)


def _resends_on_401(stack: ExitStack) -> None:
    """A transport that helps itself to a new token and sends again, as HTTP clients like to."""
    charge = IamportGateway.charge

    def helpful(self: IamportGateway, orders: Any, *, token: Any, gate: Any, linger: float = 0.25) -> Any:
        http = self._http
        self._http = _Helpful(http, self)  # type: ignore[assignment]
        try:
            yield from charge(self, orders, token=token, gate=gate, linger=linger)
        finally:
            self._http = http

    stack.enter_context(mock.patch.object(IamportGateway, "charge", helpful))


class _Helpful:
    def __init__(self, http: Http, gateway: IamportGateway) -> None:
        self._http, self._gateway = http, gateway

    def call(self, method: str, target: str, *, token: Any = None, body: bytes | None = None) -> Any:
        answer = self._http.call(method, target, token=token, body=body)
        if isinstance(answer, Answer) and answer.status == 401:
            self._gateway.discard_token(token.fingerprint)
            answer = self._http.call(method, target, token=self._gateway.token(), body=body)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._http, name)


def _no_gate(stack: ExitStack) -> None:
    charge = IamportGateway.charge

    def hurried(self: IamportGateway, orders: Any, *, token: Any, gate: Any, linger: float = 0.25) -> Any:  # noqa: ARG001
        return charge(self, orders, token=token, gate=lambda: True, linger=linger)

    stack.enter_context(mock.patch.object(IamportGateway, "charge", hurried))


def _no_fence(stack: ExitStack) -> None:
    """Whoever once held an attempt may arm it and write down that it found nothing."""
    armed = Charging._armed

    def anyone(self: Charging, tx: Any, attempts: Any, token: Any) -> Any:
        rows = tx.attempts.locked([one.id for one in attempts])
        return armed(self, tx, [one._replace(fence=rows[one.id].fence) for one in attempts], token)

    stack.enter_context(mock.patch.object(Charging, "_armed", anyone))
    stack.enter_context(mock.patch.object(settlement, "NEGATIVE", ()))


def _unarmed(stack: ExitStack) -> None:
    """Sends what was never written down as sent."""
    armed = Charging._armed

    def forgetful(self: Charging, tx: Any, attempts: Any, token: Any) -> Any:
        with mock.patch.object(type(tx.attempts), "update", return_value=None):
            return armed(self, tx, attempts, token)

    stack.enter_context(mock.patch.object(Charging, "_armed", forgetful))


def _judged(change: Callable[[Verdict, Evidence], Verdict]) -> Patch:
    """Replace verdicts as `change` says."""

    def patch(stack: ExitStack) -> None:
        judge = rules.judge

        def judging(attempt: Any, invoice_state: Any, evidence: Evidence, **more: Any) -> Verdict:
            return change(judge(attempt, invoice_state, evidence, **more), evidence)

        stack.enter_context(mock.patch.object(settlement, "judge", judging))

    return patch


def _pending_is_no(verdict: Verdict, evidence: Evidence) -> Verdict:
    waits = isinstance(verdict, Wait) and any(fact.status is not PaymentStatus.FAILED for fact in evidence.facts)
    return Declined(verdict.merchant_uid, verdict.invoice_id, evidence.facts[0]) if waits else verdict


def _unknown_is_failed(verdict: Verdict, evidence: Evidence) -> Verdict:
    gives_up = isinstance(verdict, Wait) and verdict.is_negative and evidence.reply is None
    return Rejected(verdict.merchant_uid, verdict.invoice_id, "timed out", DeclineClass.SOFT) if gives_up else verdict


def _answer_is_proof(verdict: Verdict, evidence: Evidence) -> Verdict:
    """A lost answer is a refused charge: what naive loops believe."""
    lost = isinstance(verdict, Wait) and not evidence.facts and evidence.reply is not None
    return Rejected(verdict.merchant_uid, verdict.invoice_id, "no answer", DeclineClass.SOFT) if lost else verdict


def _no_canary(stack: ExitStack) -> None:
    find = IamportGateway.find_payments

    def trusting(self: IamportGateway, uids: Any, *, imp_uids: Any = (), canary: Any = None) -> Any:
        return replace(find(self, uids, imp_uids=imp_uids, canary=canary), canary_seen=None)

    stack.enter_context(mock.patch.object(IamportGateway, "find_payments", trusting))


def _short(name: str, seconds: float) -> Patch:
    return _replaced(Patience, name, property(lambda _self: timedelta(seconds=seconds)))


def _ours_whoever_began_it(stack: ExitStack) -> None:
    """Sends what a browser was to send, on the customer's own card."""
    armed = Charging._armed

    def greedy(self: Charging, tx: Any, attempts: Any, token: Any) -> Any:
        locked = type(tx.attempts).locked

        def as_ours(room: Any, ids: Any) -> Any:
            return {id: row._replace(way=Way.KEY) for id, row in locked(room, ids).items()}

        with mock.patch.object(type(tx.attempts), "locked", as_ours):
            return armed(self, tx, attempts, token)

    stack.enter_context(mock.patch.object(Charging, "_armed", greedy))


def _blind_to_windows(stack: ExitStack) -> None:
    """Plans a charge although a buyer's window is open, as if nobody but us collected."""
    planned = Planning._planned

    def blind(self: Planning, tx: Any, due: Any, trigger: Any) -> Any:
        found = type(tx.attempts).of_invoices

        def without_windows(room: Any, ids: Any) -> Any:
            rows = found(room, ids)
            return {
                id: [one for one in some if one.way not in BROWSER_WAYS or one.state not in LIVE] for id, some in rows.items()
            }

        with mock.patch.object(type(tx.attempts), "of_invoices", without_windows):
            return planned(self, tx, due, trigger)

    stack.enter_context(mock.patch.object(Planning, "_planned", blind))


def _quietly(row: ChargeAttempt, **more: Any) -> ChargeAttempt:
    return armed(row._replace(fence=row.fence - 1), **more)


def _failed_is_over(attempt: Any, case: Any, pen: Any, of: Any, ladder: Any, _patience: Patience, at: Any) -> Any:
    """A window that failed is the only one there is."""
    return _failed(attempt, case, pen, of, ladder, Patience(scale=0.0), at)


_failed = booking._failed


def _open_windows_are_news(fact: PaymentFact, known: ChargeAttempt | None) -> bool:
    return (fact.is_from_a_browser and fact.status is PaymentStatus.READY) or is_news(fact, known)


def _stranger(fact: PaymentFact, _whose: comparing.Whose) -> comparing.Step:
    return comparing._difference(comparing.FindingKind.STRANGER, fact)


def _says_paid(fact: PaymentFact) -> bool:
    return fact.status in (PaymentStatus.PAID, PaymentStatus.CANCELLED)


_LAPSED_IS_GONE = SimpleNamespace(**{one.name: one for one in AttemptState} | {"VOID": None})


def _fresh_each_day(_self: Planning, _tx: Any, ready: list[Any], _plan: Any) -> list[Any]:
    return ready


_CODE: tuple[Ablation, ...] = (
    Ablation("dead-proof", "I1", patches=(_replaced(rules, "_is_dead", lambda *_args, **_more: True),)),
    Ablation("no-resend-on-401", "I6", patches=(_resends_on_401,)),
    Ablation("unknown-is-no-decline", "I5", patches=(_judged(_unknown_is_failed),)),
    Ablation("silence-is-no-refusal", "I5", patches=(_judged(_answer_is_proof),)),
    Ablation("pending-is-no-decline", "I5", patches=(_judged(_pending_is_no),)),
    Ablation("hidden-paid-record", "I2", patches=(_replaced(IamportGateway, "find_paid", lambda *_: {}),)),
    Ablation("mismatch-quarantine", "I3", patches=(_replaced(rules, "differing", lambda *_args, **_more: ()),)),
    Ablation("freeze", "I9", patches=(_replaced(charging, "refuse_when_frozen", lambda *_: None),)),
    Ablation("wanted-when-armed", "I9", patches=(_replaced(charging, "is_wanted", lambda *_: True),)),
    Ablation("one-charge-a-day", "I14", patches=(
        _replaced(Planning, "_one_a_day", _fresh_each_day), _replaced(Charging, "_without_a_day", lambda *_: set()))),
    Ablation("intent-before-wire", "I6", patches=(_unarmed,)),
    Ablation("lease", "I8", patches=(_short("lease", 1.0), _short("admission", 0.0))),
    Ablation("fence", "I7", patches=(_no_fence,)),
    Ablation("gate", "I9", patches=(_no_gate,)),
    Ablation("probe", "I5", patches=(_replaced(Probing, "probe", _no_probe),)),
    Ablation("canary", "I1", patches=(_no_canary,)),
    Ablation("two-looks", "I1", patches=(_short("negative_gap", 0.0),)),
    Ablation("admission", "I1", patches=(_short("admission", 0.0),)),
    Ablation("window-postpones", "I5", guards=("billing_attempt_one_live",), patches=(_blind_to_windows,)),
    Ablation("window-hour", "I5", patches=(_short("window", 60.0),)),
    Ablation("two-windows", "I5", patches=(_replaced(booking, "_failed", _failed_is_over),)),
    Ablation("deposit-limit", "I17", patches=(_short("deposit", 3650 * 86_400.0),)),
    Ablation("open-window-is-no-news", "I17", patches=(_replaced(probing, "is_news", _open_windows_are_news),)),
    Ablation("over-nothing", "I23", patches=(
        _replaced(PaymentFact, "is_over_nothing", False), _replaced(PaymentFact, "is_money", property(_says_paid)))),
    Ablation("browsers-decide-no-charge", "I17", patches=(_replaced(rules, "_is_about", lambda *_: True),)),
    Ablation("unasked-is-no-stranger", "I24", patches=(_replaced(comparing, "_unasked", _stranger),)),
    Ablation("asked-before-approval", "I24", patches=(_replaced(Confirming, "confirm", lambda *_: None),)),
    Ablation("browser-sends", "I6", patches=(_ours_whoever_began_it,)),
    Ablation("fence-of-a-window", "I7", patches=(_replaced(opening, "armed", _quietly),)),
    Ablation("number-again", "I1", patches=(_replaced(opening, "AttemptState", _LAPSED_IS_GONE),)),
    Ablation("amount-registered", "I3", patches=(_replaced(Opening, "_register_amount", lambda *_: None),)),
    Ablation("refund_counted_new", "I11", guards=("billing_refund_counted_new", "billing_payment_figures")),
    Ablation("refund_counted_moved", "I11", guards=("billing_refund_counted_moved", "billing_payment_figures")),
)  # fmt: skip


def _of_the_database() -> Iterator[Ablation]:
    """One for each guard a foreign hand tries, alone where it stands alone."""
    seen: set[tuple[str, ...]] = set()
    for hand in HANDS:
        if hand.guards not in seen:
            seen.add(hand.guards)
            yield Ablation("+".join(name.removeprefix("billing_") for name in hand.guards), "I21", guards=hand.guards)


ABLATIONS: dict[str, Ablation] = {one.name: one for one in (*_CODE, *_of_the_database())}
"""Every guard that can be switched off, by name; those of the code first."""

SECOND_BELTS: dict[str, str] = {
    "billing_invoice_kept": "an invoice has lines, which are never deleted and whose foreign key holds it",
    "billing_test_clock_pkey": "a second row is refused by billing_test_clock_single_check, whatever its id",
    "billing_attempt_state_known_check": "an unknown state has no arrow that leads to it, and no attempt begins in one",
    "billing_checkout_state_known_check": "an unknown state has no arrow that leads to it, and no link begins in one",
    "billing_refund_state_known_check": "an unknown state has no arrow that leads to it, and no refund begins in one",
    "gate": "who sends late still sends with its own token, and nobody else may send before that token is dead",
    "lease": "who takes an attempt from a living holder may only look it up: dead-proof stands before every other send",
    "canary": "the simulated network has no look-up that is blind; tests/fault/test_blind.py has",
    "two-looks": "dead-proof takes longer than the simulated PG ever hides a record",
    "browser-sends": "a window's attempt names no card, so it is not the current one; in doubt it is never proven dead",
    "fence-of-a-window": "a verdict on a window is judged by the row as it is when written, and one just opened has not lapsed",
    "number-again": "whoever opens it again looks first, and a new number is probed, unless the PG hides what was paid",
    "amount-registered": "what is paid over another amount is parked: mismatch-quarantine",
    "admission": "a token lives longer than the simulated PG ever takes to approve what it has let in",
}
"""Guards no life notices, each with the guard that holds when it is gone. See docs/decisions/0018-second-belts.md."""
