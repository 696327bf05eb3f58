"""What a window of this merchant is opened with: its channels, its addresses, and the words of our own records."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from billing.domain.attempt import ChargeAttempt
from billing.domain.channel import ChannelId, Module, OnIssue
from billing.domain.charging import note_of
from billing.domain.checkout import Checkout
from billing.domain.customer import Customer
from billing.domain.options import Buyer, WindowOptions
from billing.domain.window import Urls, pay_params, register_params

Params = dict[str, object]
"""What the SDK's `IMP.request_pay` is called with."""

_REGISTERING = {"ko": "자동결제 카드 등록", "en": "Card for automatic payment"}


@dataclass(frozen=True, slots=True)
class Windows:
    """The merchant's side of every window.

    Args:
        billing_channel, pay_channel: which contract a card is registered on, and which takes a method of payment.
        base: where the router is mounted, as browsers and the PG see it.
        notices_to: where the PG shall tell of a window; empty leaves it to the console. A secret in that address
            would be shown to every buyer, so where the address has one it is left to the console.
        asks_before: the PG is asked to ask us before it approves; see `flow.confirming`.
    """

    billing_channel: Callable[[], ChannelId]
    pay_channel: Callable[[str], ChannelId]
    base: Callable[[], str]
    notices_to: Callable[[], str]
    asks_before: bool

    def charges_for_a_card(self, checkout: Checkout) -> bool:
        """True where registering a card takes money at once, so that it must pay an invoice.

        Source: PortOne PG list V1 (pay-on-issue: phones, some wallets).
        """
        module = self.billing_channel().module
        return module is not None and module.issues.get(_way_to_register(module, checkout)) is OnIssue.ALWAYS

    def registering(self, checkout: Checkout, merchant_uid: str, customer_uid: str, owner: Customer, ledger_id: str) -> Params:
        """The parameters that register a card: amount 0, shown only.

        Raises:
            RuleError, SettingsError: the channel or an option does not allow it.
        """
        return register_params(
            channel=self.billing_channel(),
            merchant_uid=merchant_uid,
            customer_uid=customer_uid,
            name=_REGISTERING[checkout.language],
            buyer=_buyer(owner),
            urls=self._urls(),
            custom_data={"ledger": ledger_id, "checkout": checkout.id},
            options=_options(checkout),
        )

    def issuing(self, checkout: Checkout, attempt: ChargeAttempt, owner: Customer, ledger_id: str) -> Params:
        """The parameters that pay an attempt and keep the card, at a PG whose every registration is a payment.

        Raises:
            RuleError, SettingsError: the channel or an option does not allow it.
        """
        channel, wishes = self.billing_channel(), _options(checkout)
        if channel.module is not None:
            wishes = replace(wishes, pay_method=_way_to_register(channel.module, checkout))
        params = self._paid(channel, attempt, wishes, owner, ledger_id)
        return params | {"customer_uid": attempt.customer_uid}

    def paying(self, checkout: Checkout, attempt: ChargeAttempt, method: str, owner: Customer, ledger_id: str) -> Params:
        """The parameters that pay an attempt: amount, number and taxes are its own.

        Raises:
            RuleError, SettingsError: the channel or an option does not allow it.
        """
        wishes = replace(_options(checkout), pay_method=method)
        return self._paid(self.pay_channel(method), attempt, wishes, owner, ledger_id)

    def _paid(self, channel: ChannelId, attempt: ChargeAttempt, wishes: WindowOptions, owner: Customer, ledger_id: str) -> Params:
        return pay_params(
            channel=channel,
            merchant_uid=attempt.merchant_uid,
            name=attempt.order_name,
            amount=attempt.amount,
            currency=attempt.currency,
            tax_free=attempt.tax_free,
            vat_amount=attempt.vat,
            buyer=_buyer(owner),
            urls=self._urls(),
            custom_data=note_of(attempt, ledger_id),
            options=wishes,
        )

    def _urls(self) -> Urls:
        base, notices = self.base(), self.notices_to()
        return Urls(
            redirect=f"{base}/payments/complete/mobile",
            notice=(notices,) if notices else (),
            confirm=f"{base}/payments/confirm" if self.asks_before else "",
        )


def _way_to_register(module: Module, checkout: Checkout) -> str:
    wished = _options(checkout).pay_method
    return wished or ("card" if "card" in module.issues else next(iter(module.issues), "card"))


def _options(checkout: Checkout) -> WindowOptions:
    """The host's wishes; the page's language is the window's too, unless they say otherwise."""
    wishes = WindowOptions.of(json.loads(checkout.options))
    return wishes if wishes.language else replace(wishes, language=checkout.language)


def _buyer(owner: Customer) -> Buyer:
    return Buyer(name=owner.name, tel=owner.tel, email=owner.email)
