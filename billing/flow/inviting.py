"""Invite a customer into the browser: a row first, which says what the link may be used for. Nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypedDict, Unpack

from billing.domain.attempt import ChargeAttempt, Trigger, Way
from billing.domain.channel import PAY_METHODS
from billing.domain.charging import is_wanted, planned
from billing.domain.checkout import Checkout, Purpose
from billing.domain.customer import Customer
from billing.domain.events import AuditEntry
from billing.domain.invoice import Invoice
from billing.domain.link import checked_link
from billing.domain.options import WindowOptions
from billing.domain.subscription import Subscription
from billing.domain.wording import refuse_card_numbers
from billing.errors import NotFound, RuleError
from billing.flow.vouching import Vouching
from billing.flow.windows import Windows
from billing.store.unit import Store, Tx

LONGEST = timedelta(days=30)
LANGUAGES = ("ko", "en")


class Wishes(TypedDict, total=False):
    """How a link may be wished for; what is left out is a day, Korean, nowhere, and the PG's own ways.

    Args:
        lifetime: how long the link is good, a minute to 30 days.
        language: of our page and of the window, `ko` or `en`.
        return_url: where the page sends the buyer afterwards, http(s).
        options: further parameters of the window, see `billing.domain.options.WindowOptions`.
    """

    lifetime: timedelta
    language: str
    return_url: str
    options: Mapping[str, object]


class Inviting:
    """Makes checkouts."""

    def __init__(self, store: Store, vouching: Vouching, windows: Windows) -> None:
        self._store = store
        self._vouching = vouching
        self._windows = windows

    def register_card(
        self,
        customer: str,
        *,
        invoice: str | None = None,
        actor: str,
        **wishes: Unpack[Wishes],
    ) -> Checkout:
        """A checkout in which a customer registers a card in the PG's window, and makes it the one it is charged on.

        Args:
            customer: id or external id.
            invoice: an open invoice of this customer to charge on the card as soon as it is registered.
            wishes: see `Wishes`.

        Raises:
            NotFound, RuleError: no such customer or invoice; the PG's window cannot do this; a field is wrong.
            InvariantBroken: this database is a copy.
        """

        def work(tx: Tx) -> Checkout:
            ledger_id = self._vouching.vouched(tx).ledger_id
            owner = tx.customers.find(customer)
            if invoice is not None:
                self._owed(tx, invoice, owner.id)
            made = self._made(tx, Purpose.CARD, owner.id, invoice, ["card"], actor, wishes)
            # Whatever the window would refuse is said now, to whoever asked, and not to the customer.
            if not self._windows.charges_for_a_card(made):
                self._windows.registering(made, "rehearsal", "rehearsal", owner, ledger_id)
            elif invoice is None:
                problem = f"is missing: {self._windows.billing_channel()} takes money when a card is registered"
                raise RuleError("invoice", problem, "name the open invoice this pays, or register on another channel")
            else:
                rehearsed = _rehearsed(tx, *self._owed(tx, invoice, owner.id), owner, Way.ISSUE)
                self._windows.issuing(made, rehearsed, owner, ledger_id)
            return made

        return self._store.run(work)

    def pay(
        self,
        invoice: str,
        *,
        methods: Sequence[str] = ("card",),
        actor: str,
        **wishes: Unpack[Wishes],
    ) -> Checkout:
        """A checkout in which an open invoice is paid in the PG's window, by whoever has the link.

        Args:
            methods: what the buyer may choose from, in the PG's words: `card`, `vbank`, `trans`, …
            wishes: see `Wishes`.

        Raises:
            NotFound, RuleError: no such invoice, or none that is owed; the PG has no such method; a field is wrong.
            InvariantBroken: this database is a copy.
        """
        if not methods:
            raise RuleError("methods", "is empty", "name at least one way to pay, for example card")
        refuse_card_numbers({"methods": " ".join(methods)})
        for unknown in (one for one in methods if one not in PAY_METHODS):
            raise RuleError("methods", f"{unknown!r} is not one the PG knows", f"one of {', '.join(sorted(PAY_METHODS))}")

        def work(tx: Tx) -> Checkout:
            ledger_id = self._vouching.vouched(tx).ledger_id
            owed, subscription = self._owed(tx, invoice)
            owner = tx.customers.find(owed.customer_id)
            chosen = list(dict.fromkeys(methods))
            made = self._made(tx, Purpose.INVOICE, owner.id, invoice, chosen, actor, wishes)
            for method in chosen:
                rehearsed = _rehearsed(tx, owed, subscription, owner, Way.WINDOW)
                self._windows.paying(made, rehearsed, method, owner, ledger_id)
            return made

        return self._store.run(work)

    def _owed(self, tx: Tx, invoice_id: str, customer_id: str | None = None) -> tuple[Invoice, Subscription]:
        """An open invoice, locked; refuses one that is not owed, or not by this customer."""
        pairs = tx.invoices.lock([invoice_id])
        if not pairs or (customer_id is not None and pairs[0][0].customer_id != customer_id):
            raise NotFound("invoice", invoice_id)
        invoice, subscription = pairs[0]
        if not is_wanted(invoice, subscription):
            problem = f"number {invoice.number} is {invoice.state} and its subscription {subscription.state}"
            raise RuleError("invoice", problem, "choose an open one: `billing invoice list`")
        return invoice, subscription

    def _made(
        self,
        tx: Tx,
        purpose: Purpose,
        customer_id: str,
        invoice_id: str | None,
        methods: Sequence[str],
        actor: str,
        wishes: Wishes,
    ) -> Checkout:
        lifetime, language = wishes.get("lifetime", timedelta(days=1)), wishes.get("language", "ko")
        return_url, options = wishes.get("return_url", ""), wishes.get("options", {})
        if not timedelta(minutes=1) <= lifetime <= LONGEST:
            raise RuleError("lifetime", "is out of range", "give a link between a minute and 30 days")
        if language not in LANGUAGES:
            raise RuleError("language", f"{language!r} is not one this page speaks", f"choose {' or '.join(LANGUAGES)}")
        if return_url:
            checked_link("return_url", return_url)
        WindowOptions.of(options)
        text = json.dumps(dict(options), ensure_ascii=False, separators=(",", ":"))
        refuse_card_numbers({"options": text, "return_url": return_url, "actor": actor})
        one = Checkout(
            id=tx.new_id(),
            purpose=purpose,
            customer_id=customer_id,
            invoice_id=invoice_id,
            pay_methods=",".join(methods),
            language=language,
            return_url=return_url,
            options=text,
            actor=actor,
            created_at=tx.now,
            expires_at=(tx.now + lifetime).replace(microsecond=0) + timedelta(seconds=1),
        )
        tx.checkouts.insert(one)
        about = {"purpose": purpose.value, "customer": customer_id, "invoice": invoice_id, "until": one.expires_at.isoformat()}
        tx.audit.note(AuditEntry(actor, "checkout.made", one.id, about), tx.now)
        tx.audit.flush()
        return one


def _rehearsed(tx: Tx, invoice: Invoice, subscription: Subscription, owner: Customer, way: Way) -> ChargeAttempt:
    """What an attempt of this invoice would ask for; nobody writes it."""
    card = "rehearsal" if way is Way.ISSUE else ""
    at = tx.now
    return planned(
        invoice, subscription, owner, card, attempt_id="", trigger=Trigger.MANUAL, lease_until=at, now=at, seq=1, way=way
    )
