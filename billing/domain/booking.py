"""What a verdict does to the books: the records as they should stand, and every row that goes with them.

Pure: `booked` takes one attempt with its invoice and subscription and returns what to write.
The flow writes it in one transaction, so attempt, payment, invoice, period, ledger, outbox and
audit never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from billing.domain import attempt as attempts
from billing.domain import ledger
from billing.domain.attempt import BROWSER_WAYS, NUMBERS_PER_INVOICE, AttemptState, ChargeAttempt, Way
from billing.domain.dunning import FinalState, Ladder, NextStep, next_step
from billing.domain.events import AuditEntry, Event
from billing.domain.evidence import Answered, DeclineClass, PaymentFact, Refusal, Reply, asked_to_wait
from billing.domain.invoice import Collection, Invoice, InvoiceState
from billing.domain.ledger import Transfer
from billing.domain.patience import Patience
from billing.domain.settlement import (
    AccountIssued,
    Declined,
    Evidence,
    Lapsed,
    Mismatch,
    NeverArrived,
    Paid,
    PaidTwice,
    Rejected,
    Unsent,
    Verdict,
    Wait,
    is_superseded,
)
from billing.domain.subscription import OVER, Subscription, SubscriptionState

ENGINE = "engine"


class Case(NamedTuple):
    """One attempt with everything its verdict may touch, as locked."""

    attempt: ChargeAttempt
    invoice: Invoice
    subscription: Subscription


class Booking(NamedTuple):
    """What to write for one case. `payments` pairs a PG record with its role; `accounts` are records that wait for a deposit."""

    attempt: ChargeAttempt | None
    invoice: Invoice
    subscription: Subscription
    payments: tuple[tuple[PaymentFact, str], ...] = ()
    transfers: tuple[Transfer, ...] = ()
    events: tuple[Event, ...] = ()
    audits: tuple[AuditEntry, ...] = ()
    accounts: tuple[PaymentFact, ...] = ()


@dataclass(slots=True)
class Pen:
    """Collects what happens to one subscription in one step, all under its next version."""

    subscription: Subscription
    events: list[Event] = field(default_factory=list)
    audits: list[AuditEntry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.subscription = self.subscription._replace(version=self.subscription.version + 1)

    def tell(self, topic: str, **payload: object) -> None:
        """Tell the host; the key is the same however often the step is repeated."""
        one = self.subscription
        key = f"{topic}:{one.id}:{one.version}"
        # Two payments can turn out to be surplus in one step.
        told = sum(event.topic == topic for event in self.events)
        key = f"{key}:{told}" if told else key
        self.events.append(Event(topic, key, one.customer_id, one.id, one.version, {"subscription_id": one.id, **payload}))

    def tell_of(self, subject: str, topic: str, **payload: object) -> None:
        """Tell the host what happens once in the life of `subject`, whose several may be told of in one step."""
        one = self.subscription
        told = {"subscription_id": one.id, **payload}
        self.events.append(Event(topic, f"{topic}:{subject}", one.customer_id, one.id, one.version, told))

    def note(self, action: str, subject: str, actor: str = ENGINE, **details: object) -> None:
        """Leave a trace."""
        self.audits.append(AuditEntry(actor, action, subject, details))


def money(amount: int, currency: str) -> dict[str, object]:
    """An amount as hosts and scripts read it."""
    return {"amount": amount, "currency": currency}


def paid_invoice(invoice: Invoice, pen: Pen, *, at: datetime, imp_uid: str | None) -> Invoice:
    """The invoice paid and the subscription advanced by the period it bought.

    A period never goes backwards: an older invoice paid late buys the past, and makes nothing due that a newer
    one has billed already. A subscription that is over or paused stays so; what to do with the money is for the
    host to decide.
    """
    one = pen.subscription
    is_newest = invoice.period_index + 1 >= one.next_index
    changes: dict[str, Any] = {}
    if one.period_index is None or invoice.period_index >= one.period_index:
        changes = {
            "period_index": invoice.period_index,
            "period_start": invoice.period_start,
            "period_end": invoice.period_end,
            "next_index": max(one.next_index, invoice.period_index + 1),
        }
    if is_newest and one.state not in OVER and one.state is not SubscriptionState.PAUSED:
        is_renewal = one.state is SubscriptionState.ACTIVE and invoice.period_index > 0
        changes |= {"state": SubscriptionState.ACTIVE, "due_at": changes.get("period_end", one.period_end)}
        topic = "subscription.renewed" if is_renewal else "subscription.activated"
        pen.tell(topic, period_index=invoice.period_index, period_end=str(invoice.period_end))
    pen.subscription = one._replace(**changes)
    pen.tell(
        "invoice.paid",
        invoice_id=invoice.id,
        number=invoice.number,
        total=money(invoice.total, invoice.currency),
        imp_uid=imp_uid,
        is_subscription_over=one.state in OVER,
    )
    return invoice._replace(state=InvoiceState.PAID, moved_at=at, next_attempt_at=None, collection=Collection.MANUAL)


def ended(subscription: Subscription, state: SubscriptionState, at: datetime) -> Subscription:
    """The subscription stopped: nothing is due any more."""
    return subscription._replace(
        state=state,
        due_at=None,
        cancel_at_end=False,
        canceled_at=at if state is SubscriptionState.CANCELED else subscription.canceled_at,
        ended_at=at,
    )


def booked(
    verdict: Verdict,
    case: Case,
    evidence: Evidence,
    *,
    known_imp_uids: frozenset[str],
    ladder: Ladder,
    patience: Patience,
    now: datetime,
    business_now: datetime,
) -> Booking | None:
    """Return what `verdict` changes, None when it changes nothing.

    Args:
        known_imp_uids: PG records booked before; they are never booked again.
        now: system clock, for looks and leases.
        business_now: business clock, for invoices, periods and dunning.
    """
    pen = Pen(case.subscription)
    match verdict:
        case Paid():
            return _paid(verdict, case, evidence, pen, known_imp_uids, now, business_now)
        case PaidTwice():
            return _surplus(case, evidence, pen, known_imp_uids, now)
        case Mismatch():
            return _mismatch(verdict, case, pen, known_imp_uids, now)
        case Declined(fact=fact):
            attempt = _moved(
                case.attempt,
                AttemptState.DECLINED,
                now,
                fail_code=fact.fail_code,
                fail_reason=fact.fail_reason,
                fail_class=(fact.decline_class or DeclineClass.UNKNOWN).value,
            )
            return _failed(attempt, case, pen, fact.decline_class or DeclineClass.UNKNOWN, ladder, patience, business_now)
        case Rejected(reason=reason, decline_class=of):
            attempt = _moved(case.attempt, AttemptState.REJECTED, now, fail_reason=reason, fail_class=of.value)
            return _failed(attempt, case, pen, of, ladder, patience, business_now)
        case Unsent():
            attempt = _moved(case.attempt, AttemptState.PLANNED, now)._replace(
                wake_at=now if verdict.is_unauthorized else now + patience.after_unsent(case.attempt.wire_count),
            )
            return Booking(attempt, case.invoice, case.subscription)
        case Wait(why=why):
            return _waiting(why, case, evidence, pen, patience, now, is_negative=verdict.is_negative)
        case AccountIssued():
            return _account(verdict, case, evidence, pen, patience, now)
        case Lapsed():
            return _lapsed(verdict, case, pen, now)
        case NeverArrived():
            # The caller sends it again, or finds it unwanted; until then the next look is only postponed. It does not count:
            # where nothing may be sent for hours, the looks of a month would be used up.
            again = case.attempt._replace(wake_at=now + patience.lease)
            return Booking(again, case.invoice, case.subscription)
    return None


def _moved(attempt: ChargeAttempt, state: AttemptState, at: datetime, **changes: Any) -> ChargeAttempt:
    attempts.refuse_unless_legal(attempt, state)
    return attempt._replace(state=state, moved_at=at, wake_at=None, **changes)


def _paid(
    verdict: Paid, case: Case, evidence: Evidence, pen: Pen, known: frozenset[str], now: datetime, business_now: datetime
) -> Booking:
    fact = verdict.fact
    invoice = paid_invoice(case.invoice, pen, at=business_now, imp_uid=fact.imp_uid)
    pen.note("attempt.paid", case.attempt.merchant_uid, imp_uid=fact.imp_uid, amount=fact.amount, invoice=invoice.number)
    payments = [(fact, "invoice")]
    transfers = ledger.payment_transfers(invoice, fact.imp_uid)
    for extra in evidence.facts:
        # More than one paid record under one number: the PG does not promise to refuse that.
        if extra.imp_uid != fact.imp_uid and extra.status == fact.status and extra.is_money and extra.imp_uid not in known:
            payments.append((extra, "surplus"))
            transfers.append(ledger.suspense_transfer(ledger.SURPLUS, extra.imp_uid, extra.amount, extra.currency))
            pen.tell("payment.surplus", invoice_id=invoice.id, imp_uid=extra.imp_uid, amount=money(extra.amount, extra.currency))
    attempt = _moved(case.attempt, AttemptState.PAID, now, imp_uid=fact.imp_uid)
    return Booking(attempt, invoice, pen.subscription, tuple(payments), tuple(transfers), tuple(pen.events), tuple(pen.audits))


def _surplus(case: Case, evidence: Evidence, pen: Pen, known: frozenset[str], now: datetime) -> Booking | None:
    """Every payment under this number that nobody booked yet is money to give back."""
    attempt = case.attempt
    extras = [fact for fact in evidence.facts if fact.is_money and fact.imp_uid not in known and fact.imp_uid != attempt.imp_uid]
    if not extras:
        return None
    if attempt.state not in (AttemptState.PAID, AttemptState.SURPLUS, AttemptState.MISMATCH):
        attempt = _moved(attempt, AttemptState.SURPLUS, now, imp_uid=extras[0].imp_uid)
    for fact in extras:
        pen.tell("payment.surplus", invoice_id=case.invoice.id, imp_uid=fact.imp_uid, amount=money(fact.amount, fact.currency))
        pen.note("payment.surplus", attempt.merchant_uid, imp_uid=fact.imp_uid, amount=fact.amount)
    transfers = [ledger.suspense_transfer(ledger.SURPLUS, fact.imp_uid, fact.amount, fact.currency) for fact in extras]
    return Booking(
        attempt,
        case.invoice,
        pen.subscription,
        tuple((fact, "surplus") for fact in extras),
        tuple(transfers),
        tuple(pen.events),
        tuple(pen.audits),
    )


def _mismatch(verdict: Mismatch, case: Case, pen: Pen, known: frozenset[str], now: datetime) -> Booking | None:
    fact = verdict.fact
    if fact.imp_uid in known:
        return None
    attempt = _moved(case.attempt, AttemptState.MISMATCH, now, imp_uid=fact.imp_uid)
    differs = list(verdict.differs)
    pen.tell(
        "charge.mismatch", invoice_id=case.invoice.id, merchant_uid=attempt.merchant_uid, imp_uid=fact.imp_uid, differs=differs
    )
    pen.note("attempt.mismatch", attempt.merchant_uid, imp_uid=fact.imp_uid, differs=differs)
    # Money of a foreign mode or currency is no money of this ledger; it is kept as a fact and never as a balance.
    is_ours = "sandbox" not in differs and "currency" not in differs and fact.amount > fact.cancel_amount
    transfers = (ledger.suspense_transfer(ledger.MISMATCH, fact.imp_uid, fact.amount, fact.currency),) if is_ours else ()
    invoice = case.invoice._replace(next_attempt_at=None, collection=Collection.MANUAL)
    return Booking(attempt, invoice, pen.subscription, ((fact, "mismatch"),), transfers, tuple(pen.events), tuple(pen.audits))


def _account(verdict: AccountIssued, case: Case, evidence: Evidence, pen: Pen, patience: Patience, now: datetime) -> Booking:
    """The account told once, and watched until it takes no more deposits: the host and the buyer wait for its money."""
    fact, account = verdict.fact, verdict.fact.account
    waiting = _waiting("the account waits for its deposit", case, evidence, pen, patience, now)
    if waiting.attempt is None or account is None or case.attempt.hint_imp_uid == fact.imp_uid:
        return waiting
    pen.tell(
        "account.issued",
        invoice_id=case.invoice.id,
        merchant_uid=case.attempt.merchant_uid,
        imp_uid=fact.imp_uid,
        bank=account.bank_name,
        number=account.number,
        holder=account.holder,
        due_at=account.due_at.isoformat() if account.due_at else None,
        amount=money(fact.amount, fact.currency),
    )
    pen.note("account.issued", case.attempt.merchant_uid, imp_uid=fact.imp_uid, amount=fact.amount)
    attempt = waiting.attempt._replace(hint_imp_uid=fact.imp_uid)
    return Booking(attempt, case.invoice, pen.subscription, events=tuple(pen.events), audits=tuple(pen.audits), accounts=(fact,))


def _lapsed(verdict: Lapsed, case: Case, pen: Pen, now: datetime) -> Booking:
    attempt = _moved(case.attempt, AttemptState.VOID, now, hint_imp_uid=None)
    if verdict.fact is not None:
        pen.tell("account.expired", invoice_id=case.invoice.id, merchant_uid=attempt.merchant_uid, imp_uid=verdict.fact.imp_uid)
    pen.note("window.lapsed", attempt.merchant_uid)
    return Booking(attempt, case.invoice, pen.subscription, events=tuple(pen.events), audits=tuple(pen.audits))


def _waiting(
    why: str, case: Case, evidence: Evidence, pen: Pen, patience: Patience, now: datetime, *, is_negative: bool = False
) -> Booking:
    attempt = case.attempt
    looks = attempt.looks + (attempt.state is AttemptState.UNKNOWN)
    waiting = attempt._replace(
        state=AttemptState.UNKNOWN,
        moved_at=attempt.moved_at if attempt.state is AttemptState.UNKNOWN else now,
        looks=looks,
        wake_at=None if patience.is_given_up(looks) else now + max(patience.after_look(looks), asked_to_wait(evidence.reply)),
        refusal=_refusal(evidence.reply) or attempt.refusal,
        hint_imp_uid=_hint(evidence.reply) or attempt.hint_imp_uid,
    )
    if is_negative and attempt.first_negative_at is None:
        waiting = waiting._replace(first_negative_at=now)
    if attempt.superseded_at is None and is_superseded(attempt, evidence.token_fp):
        waiting = waiting._replace(superseded_at=now)
    # A virtual account may wait for days, which needs nobody.
    if attempt.way in BROWSER_WAYS or not patience.asks_for_a_human(looks):
        return Booking(waiting, case.invoice, case.subscription)
    pen.tell("charge.undecided", invoice_id=case.invoice.id, merchant_uid=attempt.merchant_uid, why=why)
    return Booking(waiting, case.invoice, pen.subscription, events=tuple(pen.events))


def _refusal(reply: Reply | None) -> str | None:
    """The text of a refusal that may mean anything; a duplicate's is no refusal but a hint that it worked."""
    return reply.message if isinstance(reply, Refusal) and reply.kind == "unclear" else None


def _hint(reply: Reply | None) -> str | None:
    return reply.fact.imp_uid if isinstance(reply, Answered) else None


def _failed(
    attempt: ChargeAttempt, case: Case, pen: Pen, of: DeclineClass, ladder: Ladder, patience: Patience, business_now: datetime
) -> Booking:
    pen.tell(
        "charge.declined",
        invoice_id=case.invoice.id,
        merchant_uid=attempt.merchant_uid,
        code=attempt.fail_code,
        reason=attempt.fail_reason,
        decline_class=of.value,
    )
    pen.note("attempt.failed", attempt.merchant_uid, state=attempt.state.value, code=attempt.fail_code, decline_class=of.value)
    # A buyer who tries to pay by hand has lost nothing when that fails: what collects by itself goes on as before.
    invoice = dunned(case.invoice, pen, of, ladder, business_now) if attempt.way is Way.KEY else case.invoice
    if attempt.way in BROWSER_WAYS and invoice.next_attempt_at is not None:
        # The PG shows one record of a number that was opened twice; of the other window, which may be open, it says nothing.
        invoice = invoice._replace(next_attempt_at=max(invoice.next_attempt_at, business_now + patience.window))
    return Booking(attempt, invoice, pen.subscription, events=tuple(pen.events), audits=tuple(pen.audits))


def dunned(invoice: Invoice, pen: Pen, of: DeclineClass, ladder: Ladder, now: datetime) -> Invoice:
    """The open invoice after a failure of class `of`, with the subscription moved along.

    An invoice that is settled meanwhile, by an earlier number the PG approved late, stays as it is.
    A subscription that was stopped while the charge was under way owes nothing: its invoice is void.
    A first payment that failed is not tried again by itself: its customer is at the screen, and tries another card.
    """
    if invoice.state is not InvoiceState.OPEN:
        return invoice
    if pen.subscription.state in OVER:
        return closed(invoice, InvoiceState.VOID, pen, now)
    first_failed_at = invoice.first_failed_at or now
    if pen.subscription.state is SubscriptionState.INCOMPLETE:
        return invoice._replace(first_failed_at=first_failed_at, next_attempt_at=None, collection=Collection.MANUAL)
    step = next_step(
        ladder,
        of,
        declines=invoice.declines,
        attempts=invoice.attempts_planned,
        attempts_max=NUMBERS_PER_INVOICE,
        first_failed_at=first_failed_at,
        now=now,
        zone=pen.subscription.zone,
    )
    invoice = invoice._replace(
        first_failed_at=first_failed_at,
        declines=invoice.declines + step.consumes,
        collection=step.collection,
        next_attempt_at=step.at,
    )
    if step.gives_up:
        return given_up(invoice, pen, ladder, now)
    _tell_next(invoice, pen, step, of)
    if of is not DeclineClass.CONFIG and pen.subscription.state not in (SubscriptionState.PAST_DUE, SubscriptionState.PAUSED):
        pen.subscription = pen.subscription._replace(state=SubscriptionState.PAST_DUE)
        pen.tell("subscription.past_due", invoice_id=invoice.id)
    return invoice


def _tell_next(invoice: Invoice, pen: Pen, step: NextStep, of: DeclineClass) -> None:
    if step.collection is Collection.AWAIT_CARD:
        pen.tell("invoice.needs_card", invoice_id=invoice.id, until=str(step.at))
    elif step.collection is Collection.CHARGE:
        pen.tell("invoice.retry_planned", invoice_id=invoice.id, at=str(step.at))
    else:
        pen.tell("invoice.needs_attention", invoice_id=invoice.id, decline_class=of.value)


def given_up(invoice: Invoice, pen: Pen, ladder: Ladder, now: datetime) -> Invoice:
    """The end of the ladder: the subscription is canceled, or left past due with its invoice open."""
    if ladder.final is FinalState.PAST_DUE:
        pen.subscription = pen.subscription._replace(state=SubscriptionState.PAST_DUE, due_at=None)
        pen.tell("invoice.retries_exhausted", invoice_id=invoice.id)
        return invoice._replace(next_attempt_at=None, collection=Collection.MANUAL)
    pen.subscription = ended(pen.subscription, SubscriptionState.CANCELED, now)
    pen.tell("subscription.canceled", reason="unpaid", invoice_id=invoice.id)
    return closed(invoice, InvoiceState.UNCOLLECTIBLE, pen, now)


def closed(invoice: Invoice, state: InvoiceState, pen: Pen, now: datetime, *, actor: str = ENGINE, reason: str = "") -> Invoice:
    """The invoice void or uncollectible, with its trace."""
    pen.tell(f"invoice.{state.value}", invoice_id=invoice.id, number=invoice.number, reason=reason)
    pen.note(f"invoice.{state.value}", invoice.id, actor, reason=reason)
    return invoice._replace(state=state, moved_at=now, next_attempt_at=None, collection=Collection.MANUAL)
