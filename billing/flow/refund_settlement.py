"""Learn from the PG's history what was given back, ours and a console's alike, and book each once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from billing import fault
from billing.domain import ledger
from billing.domain.booking import Pen, money
from billing.domain.evidence import Cancellation, PaymentFact, Refusal, Reply, Silence, Unauthorized, asked_to_wait
from billing.domain.invoice import Invoice
from billing.domain.policy import Policy
from billing.domain.refund import REASON_MAX, Origin, Refund, RefundState, refuse_unless_legal, tag_of, taxes_inside, taxes_of
from billing.domain.refund_settlement import (
    Account,
    NotSent,
    Outdated,
    RefundVerdict,
    Refused,
    Repeat,
    Settled,
    Waiting,
    accounted,
    judge,
)
from billing.errors import GatewayError, InvariantBroken
from billing.flow.journal import post_pen
from billing.flow.poison import POISON
from billing.ports import Gateway
from billing.redaction import redacted
from billing.store.payments import Payment
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.refunding")


@dataclass(slots=True)
class Page:
    """One payment's page in the books, as locked: its refunds, and what is told of them in this step."""

    tx: Tx
    invoice: Invoice
    pen: Pen
    payment: Payment
    refunds: list[Refund]
    changed: list[Refund] = field(default_factory=list)

    @classmethod
    def opened(cls, tx: Tx, invoice_id: str, imp_uid: str) -> Page:
        """Lock invoice, payment and refunds, in the order everybody locks."""
        ((invoice, subscription),) = tx.invoices.lock([invoice_id])
        payment = tx.payments.lock(imp_uid)
        if payment is None:
            raise InvariantBroken(f"payment {imp_uid} vanished")
        return cls(tx, invoice, Pen(subscription), payment, tx.refunds.locked_of(imp_uid))

    @property
    def left(self) -> int:
        """What of the payment is neither refunded nor reserved for a refund."""
        return self.payment.amount - sum(one.amount for one in self.refunds if one.state is not RefundState.REFUSED)

    def of(self, refund_id: str) -> Refund:
        """The refund as it stands now."""
        return next(one for one in self.refunds if one.id == refund_id)

    def taken_over(self, request_key: str) -> Refund | None:
        """The refund this request once made, where a restored backup forgot it and the PG's history gave it back."""
        tag = tag_of(request_key)
        return next((one for one in self.refunds if one.origin is Origin.PG and one.reason.startswith(tag)), None)

    def plan(self, amount: int, *, key: str | None, origin: Origin, actor: str, reason: str, is_awake: bool = True) -> Refund:
        """Write a new refund with its share of the taxes; its amount is reserved from here on.

        Args:
            key: names the request; None makes it one of its own.
            is_awake: False where only a human, or the PG's history, moves it on.
        """
        now, paid = self.tx.now, self.payment.amount
        whole, currency = taxes_of(self.invoice, paid), self.payment.currency
        taxes = taxes_inside(amount, paid=paid, whole=whole, refunds=self.refunds, currency=currency)
        refund_id = self.tx.new_id()
        planned = Refund(
            id=refund_id,
            imp_uid=self.payment.imp_uid,
            invoice_id=self.invoice.id,
            request_key=key or refund_id,
            origin=origin,
            actor=actor,
            reason=reason,
            amount=amount,
            currency=currency,
            tax_free=taxes.tax_free,
            vat=taxes.vat,
            state=RefundState.PLANNED,
            created_at=now,
            moved_at=now,
            wake_at=now if is_awake else None,
        )
        self.tx.refunds.insert([planned])
        self.refunds.append(planned)
        return planned

    def write(self, before: Refund, after: Refund) -> None:
        """Write one refund as it stands from now on."""
        if after.state is not before.state:
            refuse_unless_legal(before, after.state)
            after = after._replace(moved_at=self.tx.now)
        self.tx.refunds.update([after], was=[before])
        self.refunds[self.refunds.index(before)] = after
        self.changed.append(after)

    def finish(self, one: Refund, entry: Cancellation) -> None:
        """Book a refund that the PG's history shows."""
        self.write(one, one._replace(state=RefundState.DONE, wake_at=None, cancellation_id=entry.cancellation_id))
        # Money of a foreign mode or currency never was a balance of ours, so none is countered.
        if self.payment.role != "mismatch" or self.tx.ledger.has("charge", one.imp_uid):
            self.tx.ledger.post(ledger.refund_transfers(one, self.payment.role), self.tx.business_now)
        topic = "payment.cancelled_at_pg" if one.origin is Origin.PG else "refund.done"
        self.pen.tell_of(one.id, topic, **_told(one))
        self.pen.note(topic, one.id, imp_uid=one.imp_uid, amount=one.amount, cancellation_id=entry.cancellation_id)

    def refuse(self, one: Refund, why: str) -> None:
        """Book that a refund did not happen: its amount is free again, and a human decides."""
        self.write(one, one._replace(state=RefundState.REFUSED, wake_at=None, refusal=why))
        self.pen.tell_of(one.id, "refund.refused", **_told(one), why=why)
        self.pen.note("refund.refused", one.id, imp_uid=one.imp_uid, amount=one.amount, why=why)

    def adopt(self, key: str, entry: Cancellation) -> None:
        """Book what somebody gave back at the PG, without a card number they may have typed."""
        reason = redacted(entry.reason or "")[:REASON_MAX]
        self.finish(self.plan(entry.amount, key=key, origin=Origin.PG, actor="pg", reason=reason, is_awake=False), entry)

    def account(self, fact: PaymentFact) -> Account | None:
        """Book all that the PG's record says of this payment; None where the record is not about this money."""
        if (fact.imp_uid, fact.amount, fact.currency) != (self.payment.imp_uid, self.payment.amount, self.payment.currency):
            log.error("the PG's record of %s is over another amount than it was booked with", self.payment.imp_uid)
            return None
        account = accounted(self.refunds, fact)
        # Room first: what the PG has already given to another cannot stay reserved for ours.
        for refund_id, why in account.crowded.items():
            self.refuse(self.of(refund_id), why)
        for refund_id, entry in account.done.items():
            self.finish(self.of(refund_id), entry)
        for key, entry in account.strangers.items():
            self.adopt(key, entry)
        return account

    def close(self) -> list[Refund]:
        """Write what is told and noted; return the refunds that changed."""
        if self.pen.events or self.pen.audits:
            post_pen(self.tx, self.pen, business_now=self.tx.business_now)
        return self.changed


class RefundSettlement:
    """Looks payments up and books what their history says."""

    def __init__(self, store: Store, gateway: Gateway, policy: Policy) -> None:
        self._store = store
        self._gateway = gateway
        self._policy = policy

    def settle(self, held: Refund, reply: Reply | None = None) -> RefundVerdict:
        """Settle a refund the caller holds; its reply and its absence from the history count too.

        A PG that cannot be asked leaves it unknown instead of raising: the look is simply repeated later.
        """
        fact: PaymentFact | None = None
        if not (isinstance(reply, Unauthorized) or (isinstance(reply, Silence) and not reply.sent)):
            try:
                fact = self._gateway.get_payment(held.imp_uid)
            except GatewayError as error:
                log.warning("look-up failed, refund %s stays unknown: %s", held.id, error)
        verdict = self._store.run(lambda tx: self._judge_and_write(tx, held, fact, reply))
        fault.point("R6")
        log.info("%s", verdict.name, extra={"refund_id": held.id, "imp_uid": held.imp_uid})
        return verdict

    def adopt(self, imp_uids: Sequence[str]) -> list[Refund]:
        """Look these payments up and book every cancellation that is new to us; return the refunds that changed.

        For whoever heard of a cancellation: webhook, reconciliation, a restored backup. A refund of ours that the
        history shows is done; one nobody here asked for becomes a refund of origin `pg`. Payments we never booked
        are left out. Nothing is booked from an absence, except that what the PG has no balance for cannot happen.

        Raises:
            GatewayError: the PG could not be asked; nothing was booked.
        """
        with self._store.read() as tx:
            ours = list(tx.payments.invoices_of(imp_uids)) if imp_uids else []
        found = {fact.imp_uid: fact for some in self._bulk(ours) for fact in some}
        facts = [found.get(imp_uid) or self._gateway.get_payment(imp_uid) for imp_uid in ours]
        return self.adopt_facts([fact for fact in facts if fact is not None])

    def adopt_facts(self, facts: Sequence[PaymentFact]) -> list[Refund]:
        """The same for records that were just looked up. Of several, one that cannot be booked keeps no other back."""
        changed: list[Refund] = []
        for fact in facts:
            try:
                changed += self._store.run(lambda tx, fact=fact: self.book(tx, fact))  # type: ignore[misc]
            except (*POISON, InvariantBroken):
                if len(facts) == 1:
                    raise
                log.exception("what was given back of %s could not be booked", fact.imp_uid)
        return changed

    def book(self, tx: Tx, fact: PaymentFact) -> list[Refund]:
        """The same for one record, in the caller's transaction."""
        invoice_id = tx.payments.invoices_of([fact.imp_uid]).get(fact.imp_uid)
        if invoice_id is None:
            return []
        page = Page.opened(tx, invoice_id, fact.imp_uid)
        page.account(fact)
        return page.close()

    def _bulk(self, imp_uids: Sequence[str]) -> Iterable[tuple[PaymentFact, ...]]:
        return self._gateway.find_payments([], imp_uids=imp_uids).facts.values() if imp_uids else ()

    def _judge_and_write(self, tx: Tx, held: Refund, fact: PaymentFact | None, reply: Reply | None) -> RefundVerdict:
        page = Page.opened(tx, held.invoice_id, held.imp_uid)
        before = page.of(held.id)
        account = page.account(fact) if fact is not None else None
        verdict = judge(before, account, fact, reply, now=tx.now, patience=self._policy.patience)
        if page.of(held.id) is before:
            if before.fence != held.fence:
                # Another took it over: only the PG's history may speak through us now.
                verdict = Settled(held.id, before.state)
            self._write(page, before, verdict, reply)
        page.close()
        fault.point("R5")
        return verdict

    def _write(self, page: Page, one: Refund, verdict: RefundVerdict, reply: Reply | None) -> None:
        now, patience = page.tx.now, self._policy.patience
        match verdict:
            case Refused(why=why):
                page.refuse(one, why)
            case NotSent():
                page.write(one, one._replace(state=RefundState.PLANNED, wake_at=now + patience.after_unsent(one.wire_count)))
            case Outdated():
                page.write(one, one._replace(state=RefundState.PLANNED, wake_at=now))
            case Repeat():
                # The caller sends it again; until then the next look is only postponed. The first makes it a repeat; more of
                # them do not count: a freeze of hours would use up the looks of a month.
                page.write(one, one._replace(looks=max(one.looks, 1), wake_at=now + patience.lease))
            case Waiting(why=why):
                looks = one.looks + (one.state is RefundState.UNKNOWN)
                wait = max(patience.after_look(looks), asked_to_wait(reply))
                waiting = one._replace(
                    state=RefundState.UNKNOWN,
                    looks=looks,
                    wake_at=None if patience.is_given_up(looks) else now + wait,
                    refusal=reply.message if isinstance(reply, Refusal) else one.refusal,
                )
                page.write(one, waiting)
                if patience.asks_for_a_human(looks):
                    page.pen.tell_of(one.id, "refund.undecided", **_told(one), why=why)


def _told(one: Refund) -> dict[str, object]:
    return {
        "refund_id": one.id,
        "invoice_id": one.invoice_id,
        "imp_uid": one.imp_uid,
        "amount": money(one.amount, one.currency),
        "origin": one.origin.value,
        "reason": one.reason,
    }
