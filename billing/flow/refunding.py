"""Give money back: a row first, the PG once, its own history last. Nothing else calls `gateway.cancel`."""

from __future__ import annotations

import logging

from sqlalchemy.exc import IntegrityError

from billing import fault
from billing.domain.evidence import Unauthorized
from billing.domain.policy import Policy
from billing.domain.refund import (
    IN_FLIGHT,
    Origin,
    Refund,
    RefundState,
    again_key,
    checked_terms,
    order_of,
    refuse_unless_legal,
)
from billing.domain.refund_settlement import Outdated, RefundVerdict, Repeat, Settled, Waiting
from billing.errors import CredentialsRefused, Frozen, GatewayError, InvariantBroken, RuleError
from billing.flow.poison import POISON
from billing.flow.refund_settlement import Page, RefundSettlement
from billing.flow.switch import refuse_when_frozen
from billing.flow.vouching import Vouching
from billing.ports import Clock, Gateway
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.refunding")


class Refunding:
    """Plans, arms, sends, and hands every outcome to the settlement of refunds."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        settlement: RefundSettlement,
        policy: Policy,
        clock: Clock,
        vouching: Vouching,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._settlement = settlement
        self._policy = policy
        self._clock = clock
        self._vouching = vouching
        self.adopt = settlement.adopt

    def request(
        self,
        invoice_id: str,
        *,
        amount: int | None = None,
        full: bool = False,
        reason: str,
        actor: str,
        request_key: str | None = None,
    ) -> Refund:
        """Give back `amount`, or with `full` all that is left, of the payment that settled an invoice.

        Refunds of one payment go out one at a time, oldest first. The refund is returned as it then stands: planned
        (waiting its turn, or the PG could not be asked), unknown, done or refused; the worker takes up what is left.

        Args:
            amount: minor units. 0, negative and more than is left are refused here, before anything is written.
            reason: 1 to 200 characters; the PG's history shows it.
            request_key: names the request. Given again with the same terms it is the same refund, and nothing more is
                given back; give one wherever a request may be repeated.

        Raises:
            NotFound, RuleError: no such invoice; it was not paid; the terms are not those of a refund.
            Frozen: refunding is switched off; nothing was planned.
        """
        checked_terms(amount, full=full, reason=reason, request_key=request_key)

        def plan(tx: Tx) -> Refund:
            return self._requested(tx, invoice_id, amount, reason, actor, request_key)

        try:
            planned = self._store.run(plan)
        except IntegrityError:
            # The same key came in by another invoice's lock: the loser reads the winner, and the rule decides.
            planned = self._store.run(plan)
        fault.point("R1")
        return self._worked_off(planned)

    def retry(self, refund_id: str, *, actor: str) -> Refund:
        """Take up a refund by hand: start one that waits for a human, look at one unknown, repeat a refused one.

        The PG is asked first: what it shows as done is done. A refused one stays as it is, for the record; what
        repeats it is a new refund, one at most.

        Raises:
            NotFound, RuleError: no such refund; no longer enough left of the payment.
            GatewayError: the PG could not be asked.
            Frozen: refunding is switched off.
        """
        with self._store.read() as tx:
            one = tx.refunds.find(refund_id)
        if one.state in IN_FLIGHT or one.state is RefundState.REFUSED:
            self._settlement.adopt([one.imp_uid])
        return self._worked_off(self._store.run(lambda tx: self._woken(tx, one, actor)))

    def take_up(self, limit: int) -> list[RefundVerdict]:
        """Take up to `limit` refunds nobody holds, one step each: first in their queue, or due to be looked at.

        While frozen, outcomes are still looked up, but nothing is sent.

        Raises:
            GatewayError: the PG could not be asked before anything was sent; the refund waits.
        """
        verdicts: list[RefundVerdict] = []
        while len(verdicts) < limit:
            verdict = self._step(None)
            if verdict is None:
                break
            verdicts.append(verdict)
        return verdicts

    # --- planning ----------------------------------------------------------------------------------

    def _requested(self, tx: Tx, invoice_id: str, amount: int | None, reason: str, actor: str, request_key: str | None) -> Refund:
        known = tx.refunds.by_key(request_key) if request_key is not None else None
        imp_uid = tx.payments.settling(invoice_id)
        page = Page.opened(tx, invoice_id, imp_uid) if known is None and imp_uid is not None else None
        if page is not None and request_key is not None:
            known = page.taken_over(request_key)
        if known is not None:
            if known.invoice_id != invoice_id or amount not in (None, known.amount):
                problem = f"{request_key!r} named a refund of {known.amount} of another invoice or amount"
                raise RuleError("key", problem, "give every request a key of its own")
            return known
        refuse_when_frozen(tx)
        if page is None:
            raise RuleError("invoice", "no payment settled it", "only a paid invoice can be refunded")
        wanted = page.left if amount is None else amount
        _refuse_unless_left(wanted, page.left)
        one = page.plan(wanted, key=request_key, origin=Origin.OPERATOR, actor=actor, reason=reason)
        page.pen.note("refund.requested", one.id, actor, amount=wanted, reason=reason)
        page.close()
        return one

    def _woken(self, tx: Tx, asked: Refund, actor: str) -> Refund:
        page = Page.opened(tx, asked.invoice_id, asked.imp_uid)
        one = page.of(asked.id)
        if one.state in (RefundState.PLANNED, RefundState.UNKNOWN) and one.wake_at is None:
            refuse_when_frozen(tx)
            page.write(one, one._replace(wake_at=tx.now))
        elif one.state is RefundState.REFUSED:
            again = tx.refunds.by_key(again_key(one.id)) or page.taken_over(again_key(one.id))
            if again is not None:
                return again
            refuse_when_frozen(tx)
            _refuse_unless_left(one.amount, page.left)
            one = page.plan(one.amount, key=again_key(one.id), origin=one.origin, actor=actor, reason=one.reason)
        else:
            return one
        page.pen.note("refund.retried", asked.id, actor, amount=one.amount)
        page.close()
        return page.of(one.id)

    # --- sending -----------------------------------------------------------------------------------

    def _worked_off(self, wanted: Refund) -> Refund:
        """Work the queue of the wanted refund's payment off until it had its step; return it as it stands then."""
        try:
            while (verdict := self._step(wanted.imp_uid)) is not None and verdict.refund_id != wanted.id:
                pass
        except (Frozen, GatewayError) as error:
            # The row exists. Raising would hide that, and whoever asked again would give back twice.
            log.warning("refund %s waits: %s", wanted.id, error)
        with self._store.read() as tx:
            return tx.refunds.find(wanted.id)

    def _step(self, imp_uid: str | None) -> RefundVerdict | None:
        """Take one refund that is free, of this payment or of any, one step further; None when none is."""
        began = self._clock.monotonic()
        held, is_frozen = self._store.run(lambda tx: self._claimed(tx, imp_uid))
        if held is None:
            return None
        try:
            return self._one_step(held, began, is_frozen=is_frozen)
        except POISON:
            # Left where it is, to be looked at again when its lease ends; it delays nobody else.
            log.exception("refund %s could not be booked", held.id)
            return Waiting(held.id, "could not be booked; see the log")

    def _one_step(self, held: Refund, began: float, *, is_frozen: bool) -> RefundVerdict:
        if held.state is RefundState.UNKNOWN:
            verdict = self._settlement.settle(held)
            if is_frozen or not isinstance(verdict, Repeat):
                return verdict
        return self._sent(held, began)

    def _claimed(self, tx: Tx, imp_uid: str | None) -> tuple[Refund | None, bool]:
        switch = tx.controls.freeze()
        is_frozen = switch is not None and switch.is_frozen
        states = [*IN_FLIGHT] if is_frozen else [*IN_FLIGHT, RefundState.PLANNED]
        lease_until = tx.now + self._policy.patience.lease
        return tx.refunds.claim(tx.now, lease_until, states=states, buckets=self._policy.buckets, imp_uid=imp_uid), is_frozen

    def _sent(self, held: Refund, began: float) -> RefundVerdict:
        """Arm and send; once more where the token died under us, or the balance had changed behind our back.

        Args:
            began: monotonic seconds from before the claim; what is not on the wire a third of a lease
                later goes back unsent.
        """
        deadline = began + self._policy.patience.gate.total_seconds()
        verdict: RefundVerdict = Settled(held.id, held.state)
        for is_last in (False, True):
            try:
                token = self._gateway.token()
                armed = self._store.run(lambda tx: self._armed(tx, held))
            except (GatewayError, InvariantBroken):
                self._store.run(lambda tx: self._let_go(tx, held))
                raise
            if armed is None:
                return verdict
            fault.point("R2")
            reply = self._gateway.cancel(order_of(armed), token=token, gate=lambda: self._clock.monotonic() <= deadline)
            fault.point("R4")
            verdict = self._settlement.settle(armed, reply)
            if isinstance(reply, Unauthorized):
                self._gateway.discard_token(token.fingerprint)
                if is_last:
                    raise CredentialsRefused("the PG refuses access tokens it has just issued; nothing was refunded with them")
            elif not isinstance(verdict, Outdated):
                break
        return verdict

    def _armed(self, tx: Tx, held: Refund) -> Refund | None:
        """SENDING, to be committed before a byte leaves: from here on a crash leaves a trace.

        What may have been sent before keeps its checksum; what never was names the balance our books show now.
        """
        refuse_when_frozen(tx)
        self._vouching.vouched(tx)
        payment = tx.payments.lock(held.imp_uid)
        rows = {one.id: one for one in tx.refunds.locked_of(held.imp_uid)}
        one = rows.pop(held.id)
        if payment is None or one.fence != held.fence or one.state not in (RefundState.PLANNED, RefundState.UNKNOWN):
            return None
        if any(other.state in IN_FLIGHT for other in rows.values()):
            tx.refunds.update([one._replace(wake_at=tx.now + self._policy.patience.after_unsent(0))], was=[one])
            return None
        is_repeat = one.state is RefundState.UNKNOWN
        refuse_unless_legal(one, RefundState.SENDING)
        armed = one._replace(
            state=RefundState.SENDING,
            checksum=one.checksum if is_repeat else payment.amount - payment.refunded,
            wire_count=one.wire_count + 1,
            looks=one.looks if is_repeat else 0,
            sent_at=tx.now,
            wake_at=tx.now + self._policy.patience.lease,
            moved_at=tx.now,
            refusal=None,
        )
        tx.refunds.update([armed], was=[one])
        return armed

    def _let_go(self, tx: Tx, held: Refund) -> None:
        """Give a refund that was not armed back to whoever comes next."""
        tx.payments.lock(held.imp_uid)
        one = next(one for one in tx.refunds.locked_of(held.imp_uid) if one.id == held.id)
        if one.fence == held.fence and one.state in (RefundState.PLANNED, RefundState.UNKNOWN):
            at = tx.now + self._policy.patience.after_unsent(one.wire_count)
            tx.refunds.update([one._replace(wake_at=at)], was=[one])


def _refuse_unless_left(wanted: int, left: int) -> None:
    if left <= 0:
        raise RuleError("invoice", "nothing of its payment is left to give back", "see `billing refund list`")
    if wanted > left:
        raise RuleError("amount", f"{wanted} is more than the {left} that is left of the payment", f"give back {left} at most")
