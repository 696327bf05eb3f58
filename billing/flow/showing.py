"""What a checkout's page shows: how it stands by our own rows. Read only; nothing is asked of the PG."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from billing.domain.attempt import BROWSER_WAYS, LIVE, AttemptState
from billing.domain.charging import is_wanted
from billing.domain.checkout import Checkout, CheckoutState, Completion, Purpose
from billing.domain.evidence import VirtualAccount
from billing.domain.invoice import InvoiceState
from billing.store.accounts import Account
from billing.store.unit import Store, Tx


class Stand(StrEnum):
    """How far a checkout is."""

    OPEN = "open"  # the buyer may begin, or begin again
    REGISTERED = "registered"
    PAID = "paid"
    WAITING = "waiting"  # a virtual account waits for the deposit
    BUSY = "busy"  # a charge of this invoice is under way elsewhere
    FORGERY = "forgery"  # what was paid for it is not what was asked for; nothing may be paid until somebody has looked
    CLOSED = "closed"  # there is nothing to pay any more
    EXPIRED = "expired"


class Shown(NamedTuple):
    """Everything the page may show; none of it is secret to whoever has the link.

    Args:
        amount, currency: of the invoice, minor units; None where a card is registered and nothing charged.
        card_name, card_number: of the card that was registered, as the PG masked it.
        charge: once a card is registered, PAID or PENDING of what was to be charged on it at once; None where nothing was.
    """

    checkout_id: str
    purpose: Purpose
    stand: Stand
    language: str
    methods: tuple[str, ...]
    customer_id: str
    customer_name: str
    order_name: str
    amount: int | None
    currency: str
    return_url: str
    expires_at: datetime
    account: VirtualAccount | None = None
    card_name: str = ""
    card_number: str = ""
    charge: Completion | None = None


class Showing:
    """Reads how checkouts stand."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def show(self, checkout_id: str) -> Shown:
        """How this checkout stands now.

        Raises:
            NotFound: there is no such checkout.
        """
        with self._store.read() as tx:
            one = tx.checkouts.find(checkout_id)
            owner = tx.customers.find(one.customer_id)
            stand, account = self._stand(tx, one)
            invoice, subscription = tx.invoices.pairs([one.invoice_id])[0] if one.invoice_id else (None, None)
            key = next((key for key in tx.customers.keys_of(owner.id) if key.customer_uid == one.customer_uid), None)
            is_shown = stand is Stand.REGISTERED and key is not None
            charge = None
            if stand is Stand.REGISTERED and invoice and subscription:
                is_paid = invoice.state is InvoiceState.PAID
                charge = Completion.PAID if is_paid else Completion.PENDING if is_wanted(invoice, subscription) else None
            return Shown(
                checkout_id=one.id,
                purpose=one.purpose,
                stand=stand,
                language=one.language,
                methods=tuple(one.methods),
                customer_id=owner.id,
                customer_name=owner.name,
                order_name=invoice.order_name if invoice else "",
                amount=invoice.total if invoice else None,
                currency=invoice.currency if invoice else "KRW",
                return_url=one.return_url,
                expires_at=one.expires_at,
                account=_told(account),
                card_name=key.card_name if is_shown and key else "",
                card_number=key.card_number if is_shown and key else "",
                charge=charge,
            )

    def is_about(self, checkout_id: str, merchant_uid: str) -> bool:
        """True where this order number was given out for this checkout, or pays the same invoice.

        Raises:
            NotFound: there is no such checkout.
        """
        with self._store.read() as tx:
            one = tx.checkouts.find(checkout_id)
            attempts = tx.attempts.by_uids([merchant_uid])
        return one.merchant_uid == merchant_uid or any(attempt.invoice_id == one.invoice_id for attempt in attempts)

    def _stand(self, tx: Tx, one: Checkout) -> tuple[Stand, Account | None]:
        if one.purpose is Purpose.CARD and one.state is CheckoutState.DONE:
            return Stand.REGISTERED, None
        if one.purpose is Purpose.INVOICE:
            ((invoice, subscription),) = tx.invoices.pairs([one.invoice_id or ""])
            if invoice.state is InvoiceState.PAID:
                return Stand.PAID, None
            if not is_wanted(invoice, subscription):
                return Stand.CLOSED, None
            for attempt in tx.attempts.of_invoices([invoice.id])[invoice.id]:
                if attempt.state not in LIVE:
                    continue
                if attempt.state is AttemptState.MISMATCH:
                    return Stand.FORGERY, None
                if attempt.way not in BROWSER_WAYS:
                    return Stand.BUSY, None
                known = {account.imp_uid: account for account in tx.accounts.of_invoice(invoice.id)}
                if attempt.hint_imp_uid in known:
                    return Stand.WAITING, known[attempt.hint_imp_uid]
        return (Stand.EXPIRED if tx.now >= one.expires_at else Stand.OPEN), None


def _told(account: Account | None) -> VirtualAccount | None:
    if account is None:
        return None
    return VirtualAccount(account.bank_code, account.bank_name, account.number, account.holder, account.due_at, account.issued_at)
