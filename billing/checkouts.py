"""Checkouts, as hosts and the router use them: links out, and what comes back from a browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Unpack

from billing.domain.checkout import Checkout, Outcome, Purpose
from billing.errors import InvariantBroken, NotFound
from billing.flow.completing import Completing
from billing.flow.confirming import Confirming
from billing.flow.inviting import Inviting, Wishes
from billing.flow.opening import Opened, Opening
from billing.flow.showing import Showing, Shown, Stand
from billing.links import LinkRefused, Links


class Invitation(NamedTuple):
    """A link for one customer. Whoever has it can use it, so it is given to nobody else."""

    checkout_id: str
    purpose: Purpose
    url: str
    token: str
    expires_at: datetime


class Checkouts:
    """Register a card or pay an invoice in the PG's own window: card data never comes near this server."""

    def __init__(
        self,
        inviting: Inviting,
        showing: Showing,
        opening: Opening,
        completing: Completing,
        confirming: Confirming,
        *,
        links: Callable[[], Links],
        check: Callable[[], None],
    ) -> None:
        self._inviting = inviting
        self._showing = showing
        self._opening = opening
        self._completing = completing
        self._links = links
        self._check = check
        self.confirm = confirming.confirm

    def register_card(self, customer: str, *, invoice: str | None = None, actor: str, **wishes: Unpack[Wishes]) -> Invitation:
        """A link with which a customer registers a card; see `Inviting.register_card`."""
        self._check()
        return self._invited(self._inviting.register_card(customer, invoice=invoice, actor=actor, **wishes))

    def pay(self, invoice: str, *, methods: Sequence[str] = ("card",), actor: str, **wishes: Unpack[Wishes]) -> Invitation:
        """A link with which an open invoice is paid; see `Inviting.pay`."""
        self._check()
        return self._invited(self._inviting.pay(invoice, methods=methods, actor=actor, **wishes))

    def show(self, token: str) -> Shown:
        """How the checkout behind a link stands; what is done stays to be seen after the link is too old to be used.

        Raises:
            LinkRefused: it was not signed here.
        """
        return self._shown(token)

    def is_about(self, token: str, merchant_uid: str) -> bool:
        """True where a link and an order number belong together; False also for a link that is none of ours."""
        try:
            return self._showing.is_about(self._links().read(token).checkout_id, merchant_uid)
        except (LinkRefused, NotFound):
            return False

    def open(self, token: str, method: str) -> Opened | Outcome:
        """Make ready for the window; see `Opening.open`.

        Raises:
            LinkRefused: it was not signed here, or is too old.
        """
        shown = self._shown(token)
        if shown.stand is Stand.EXPIRED:
            raise LinkRefused("is too old", is_expired=True)
        self._check()
        return self._opening.open(shown.checkout_id, method)

    def complete(self, imp_uid: str | None, merchant_uid: str, *, told: str = "") -> Outcome:
        """How a window ended, by the PG's own record; see `Completing.complete`."""
        return self._completing.complete(imp_uid, merchant_uid, told=told)

    def _shown(self, token: str) -> Shown:
        claim = self._links().read(token)
        shown = self._showing.show(claim.checkout_id)
        if (shown.purpose, shown.customer_id) != (claim.purpose, claim.customer_id):
            raise InvariantBroken("a link of ours names another customer or purpose than its checkout")
        return shown

    def _invited(self, one: Checkout) -> Invitation:
        links = self._links()
        token = links.token(one)
        return Invitation(one.id, one.purpose, links.url(token), token, one.expires_at)
