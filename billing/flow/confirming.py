"""Say go or stop right before the PG approves what a buyer began in a window. From our rows alone: it has ten seconds.

Source: PortOne confirm process V1 (`confirm_url`: POST imp_uid, merchant_uid, amount; HTTP 200 goes on, anything else stops,
and `{"reason": …}` is shown to the buyer; support turns it on).
"""

from __future__ import annotations

import logging

from billing.domain.amount import major
from billing.domain.attempt import BROWSER_WAYS, OPENINGS_MAX, AttemptState, ChargeAttempt
from billing.domain.charging import is_wanted
from billing.domain.checkout import CheckoutState
from billing.domain.policy import Policy
from billing.errors import InvariantBroken
from billing.flow.switch import refuse_when_frozen
from billing.flow.vouching import Vouching
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.window")

UNKNOWN = "알 수 없는 주문입니다."
OTHER_AMOUNT = "주문 금액이 일치하지 않습니다."
SETTLED = "이미 결제되었거나 취소된 주문입니다."
TOO_LATE = "결제 시간이 지났습니다. 처음부터 다시 시도해 주세요."
STOPPED = "지금은 결제할 수 없습니다. 잠시 후 다시 시도해 주세요."
"""What a stopped buyer reads, in the PG's own window; so in its language."""


class Confirming:
    """The last word before an approval."""

    def __init__(self, store: Store, vouching: Vouching, policy: Policy) -> None:
        self._store = store
        self._vouching = vouching
        self._policy = policy

    def confirm(self, merchant_uid: str, amount: float) -> str | None:
        """None to go on, else why not. A go begins the window's time anew: it must not lapse while the PG approves.

        Args:
            amount: what the PG is about to approve, as it writes it: in the large unit of our own row's currency.

        Raises:
            DatabaseUnavailable: nobody knows; answer anything but 200, and the PG stops.
        """

        def work(tx: Tx) -> str | None:
            try:
                refuse_when_frozen(tx)
                self._vouching.vouched(tx)
            except InvariantBroken as error:
                log.warning("a window is stopped: %s", error)
                return STOPPED
            found = tx.attempts.by_uids([merchant_uid])
            return self._payment(tx, found[0], amount) if found else self._registration(tx, merchant_uid)

        why = self._store.run(work)
        log.info("a window may go on" if why is None else "a window is stopped", extra={"merchant_uid": merchant_uid})
        return why

    def _payment(self, tx: Tx, seen: ChargeAttempt, amount: float) -> str | None:
        ((invoice, subscription),) = tx.invoices.lock([seen.invoice_id])
        attempt = tx.attempts.locked([seen.id])[seen.id]
        if attempt.way not in BROWSER_WAYS:
            return UNKNOWN
        if major(attempt.amount, attempt.currency) != amount:
            return OTHER_AMOUNT
        if not is_wanted(invoice, subscription):
            return SETTLED
        if attempt.state not in (AttemptState.SENDING, AttemptState.UNKNOWN):
            return TOO_LATE if attempt.state is AttemptState.VOID else SETTLED
        if attempt.wire_count < OPENINGS_MAX:
            # Counted, or whoever knows the number could keep its invoice from being collected for ever.
            tx.attempts.update([attempt._replace(sent_at=tx.now, wire_count=attempt.wire_count + 1)], was=[attempt])
        return None

    def _registration(self, tx: Tx, merchant_uid: str) -> str | None:
        one = tx.checkouts.by_uids([merchant_uid]).get(merchant_uid)
        if one is None:
            return UNKNOWN
        if one.state is not CheckoutState.OPEN:
            return SETTLED
        if one.opened_at is None or tx.now >= one.opened_at + self._policy.patience.window:
            return TOO_LATE
        tx.checkouts.update(one._replace(opened_at=tx.now))
        return None
