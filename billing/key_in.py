"""One-off key-in: an opt-in module, because whoever imports it lets card data pass through this very process.

The PG's window (`Billing.checkouts`) is the usual way. Key-in needs a contract of its own with the PG.
Source: PortOne PG list V1 (raw card data: inicis, kcp, nice, nice_v2, tosspayments, daou, ksnet, welcome, settle).
"""

from __future__ import annotations

from billing.app import Billing
from billing.domain.settlement import Verdict
from billing.errors import RuleError
from billing.flow.keying_in import KeyingIn
from billing.ports import CardSecrets

_KEEP_NOTHING = ("ksnet", "tosspayments")
"""PGs that charge a card and forget it, whatever name it is given. Source: PortOne REST V1, POST /subscribe/payments/onetime."""


class KeyIn:
    """Charges cards that are typed in, on the engine of a host."""

    def __init__(self, billing: Billing) -> None:
        self._billing = billing
        self._keying_in = KeyingIn(
            billing.store,
            billing.gateway,
            billing.settlement,
            billing.cards,
            billing.vouching,
            billing.policy,
            billing.clock,
            billing.charging.stopping,
            pg=billing.settings.key_in_channel,
        )

    def charge(self, invoice: str, card: CardSecrets, *, keeps: bool = False, actor: str | None = None) -> Verdict:
        """Try once to collect an open invoice from this card, now; see `KeyingIn.charge`.

        `card` is empty afterwards, however it ends.

        Raises:
            RuleError: also where `keeps` asks for what the PG does not do: it would charge, and keep nothing.
        """
        try:
            provider = self._billing.settings.key_in_channel.partition(".")[0]
            if keeps and provider in _KEEP_NOTHING:
                raise RuleError("keeps", f"{provider} keeps no card that comes with a charge", "register the card by itself")
            self._billing.check()
            self._billing.reconciliation.keep_up()
            return self._keying_in.charge(invoice, card, keeps=keeps, actor=actor or self._billing.actor)
        finally:
            card.clear()
