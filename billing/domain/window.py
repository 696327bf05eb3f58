"""What the PG's window is opened with: the host's wishes and our own facts as one flat set of parameters. Pure.

Nothing here decides what was paid. A window shows and collects; what came of it, our own look-up says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from billing.domain.amount import major, tax_fields
from billing.domain.channel import ChannelId, Module, OnIssue
from billing.domain.link import checked_link
from billing.domain.options import INSTALMENT_MIN, Buyer, WindowOptions
from billing.errors import RuleError
from plans.money import MINOR_DIGITS

__all__ = ["Buyer", "Urls", "WindowOptions", "pay_params", "register_params"]

MERCHANT_UID_MAX, CUSTOMER_UID_MAX, NAME_MAX = 40, 80, 40
CUSTOM_DATA_MAX = 900
"""Of its JSON, with every letter beyond ASCII escaped. We read back a thousand characters of a record's custom_data, and
one that is cut no longer says whose payment it is."""

_UID = re.compile(r"[A-Za-z0-9_-]+")
_LENDS = frozenset(("tosspayments", "ksnet", "nice_v2", "welcome", "html5_inicis"))
_WANT_DUE_DAY = frozenset(("nice_v2", "smartro_v2", "welcome"))
_ALWAYS_DIGITAL = frozenset(("daou",))


class Urls(NamedTuple):
    """Where the window sends the browser and the PG."""

    redirect: str
    """Where a phone's browser ends up; without it the outcome of a mobile window is lost."""
    notice: tuple[str, ...] = ()
    """Notices of this payment go here instead of to the address in the console."""
    confirm: str = ""
    """Asked before approval; works only where the PG's support turned it on."""


def register_params(
    *,
    channel: ChannelId,
    merchant_uid: str,
    customer_uid: str,
    name: str,
    buyer: Buyer,
    urls: Urls,
    amount: int = 0,
    currency: str = "KRW",
    custom_data: Mapping[str, object] | None = None,
    options: WindowOptions | None = None,
) -> dict[str, Any]:
    """The parameters of `IMP.request_pay` that register a card: `customer_uid` makes it a window for a billing key.

    Args:
        merchant_uid: of this registration, at most 40 letters, digits, - and _; issuing uses it up.
        customer_uid: the name the key will have, at most 80; one in use would silently swap the card behind it.
        amount: shown only, in minor units; phones do not show it.
        custom_data: ours; it wins over the host's, whose words must not make our payment look like another ledger's.

    Raises:
        RuleError: an option or value the channel cannot take, or a channel on which registering would take money.
    Source: PortOne JavaScript SDK V1, request parameters; PG integration pages V1, window for billing keys.
    """
    wish = options or WindowOptions()
    if not _is_whole(amount) or amount < 0:
        raise RuleError("amount", "is not a whole number from 0", "register with amount 0")
    for field in wish.about_paying:
        raise RuleError(f"options.{field}", "is about paying, and registering a card pays nothing", "leave it out")
    method = _issue_method(channel, wish, amount)
    params = _common(channel, wish, method, merchant_uid, name, amount, currency, buyer, urls, custom_data)
    return params | {"customer_uid": _uid("customer_uid", customer_uid, CUSTOMER_UID_MAX)}


def pay_params(
    *,
    channel: ChannelId,
    merchant_uid: str,
    name: str,
    amount: int,
    buyer: Buyer,
    urls: Urls,
    currency: str = "KRW",
    tax_free: int = 0,
    vat_amount: int | None = None,
    custom_data: Mapping[str, object] | None = None,
    options: WindowOptions | None = None,
) -> dict[str, Any]:
    """The parameters of `IMP.request_pay` with which the customer pays once. Never a `customer_uid`: no key is issued.

    Args:
        merchant_uid: the attempt's, at most 40 letters, digits, - and _.
        amount: in minor units, above 0.
        tax_free: the part of it that is free of VAT; `vat_amount` is the VAT in it.
        custom_data: ours; see `register_params`.

    Raises:
        RuleError: an option or value the channel cannot take.
    Source: PortOne JavaScript SDK V1, request parameters; PG integration pages V1, ordinary window.
    """
    wish = options or WindowOptions()
    if not _is_whole(amount) or amount <= 0:
        raise RuleError("amount", "is not a whole number above 0", "a window pays a positive amount")
    if not 0 <= tax_free <= amount or not 0 <= (vat_amount or 0) <= amount - tax_free:
        raise RuleError("tax_free", "and vat_amount do not fit into the amount", "they are parts of it")
    method = _pay_method(channel, wish)
    _refuse_instalments(wish, amount, currency)
    _refuse_unsaid(wish, channel.provider, method)
    params = _common(channel, wish, method, merchant_uid, name, amount, currency, buyer, urls, custom_data)
    for field in sorted(channel.module.needs if channel.module else ()):
        if field not in params:
            raise RuleError(
                field, f"is missing or too long, and {channel.provider} opens no window without", "give it to the customer"
            )
    return params | tax_fields(tax_free, vat_amount, currency)


def _issue_method(channel: ChannelId, wish: WindowOptions, amount: int) -> str:
    """How a key is issued on this channel, where that takes no money."""
    module = channel.module
    if module is None:
        if amount:
            problem = "is above 0, and whether a module behind a channel key would charge it is not known here"
            raise RuleError("amount", problem, "register with amount 0, or name the channel as provider.MID")
        return wish.pay_method or "card"
    if not module.issues:
        raise RuleError("channel", f"{channel} has no window that registers cards", "key the card in, or assign another channel")
    method = wish.pay_method or _first(module.issues)
    if method not in module.issues:
        raise RuleError(
            "options.pay_method", f"{method} cannot be registered with {module.name}", f"one of {_list(module.issues)}"
        )
    on_issue = module.issues[method]
    if on_issue is OnIssue.ALWAYS:
        problem = f"{module.name} takes money where a key for {method} is issued"
        raise RuleError("channel", problem, "let the customer pay in an ordinary window, or assign another channel")
    if on_issue is OnIssue.ABOVE_ZERO and amount:
        raise RuleError("amount", f"{module.name} charges any amount above 0 where a key is issued", "register with amount 0")
    longest = module.customer_id_max
    if longest and not 0 < len(wish.customer_id) <= longest:
        problem = f"{module.name} wants the buyer's id, 1 to {longest} characters"
        raise RuleError("options.customer_id", problem, "give the id your own system knows the buyer by")
    return method


def _pay_method(channel: ChannelId, wish: WindowOptions) -> str:
    """How is paid on this channel; options that only other channels understand are refused."""
    module = channel.module
    if module is None:
        return wish.pay_method or "card"
    if module.windows is not None and not module.windows:
        raise RuleError("channel", f"{channel} has no window to pay in", "assign another channel")
    method = wish.pay_method or _first(module.windows or ("card",))
    if module.windows is not None and method not in module.windows:
        raise RuleError("options.pay_method", f"{module.name} does not take {method}", f"one of {_list(module.windows)}")
    _refuse_foreign(wish, module)
    return method


def _refuse_foreign(wish: WindowOptions, module: Module) -> None:
    lends = wish.free_interest or any(one.max_month for one in wish.card_detail)
    if lends and module.name not in _LENDS:
        problem = f"{module.name} lets no shop pay the interest"
        raise RuleError("options.useFreeInterestFromMall", problem, f"leave max_month out too; it is for {_list(_LENDS)}")
    if wish.interest_free and module.name != "html5_inicis":
        raise RuleError("options.card.interest_free", f"is not understood by {module.name}", "it is for html5_inicis")
    if wish.products and module.name != "tosspayments":
        raise RuleError("options.products", f"is not understood by {module.name}", "it is for tosspayments")


def _refuse_instalments(wish: WindowOptions, amount: int, currency: str) -> None:
    field, months = wish.instalments
    if months and (currency != "KRW" or amount < INSTALMENT_MIN):
        problem = f"asks for {months} months, and instalments begin at {INSTALMENT_MIN:,} won"
        raise RuleError(f"options.{field}", problem, "leave it out for this amount")


def _refuse_unsaid(wish: WindowOptions, provider: str, method: str) -> None:
    """What a way to pay wants said, and what may only be said of one."""
    if method == "phone" and wish.digital is None:
        raise RuleError("options.digital", "is missing: phone bills cost differently for things", "write true or false")
    if method != "phone" and wish.digital is not None and provider not in _ALWAYS_DIGITAL:
        raise RuleError("options.digital", f"says nothing about {method}", "it is for pay_method phone")
    if method == "vbank" and provider in _WANT_DUE_DAY and not wish.vbank_due:
        raise RuleError("options.vbank_due", f"is missing, and {provider} wants it", "write for example 20270131")
    if method == "vbank" and provider == "danal_tpay" and not wish.biz_num:
        raise RuleError("options.biz_num", "is missing, and danal_tpay wants it for a virtual account", "write its ten digits")


def _common(
    channel: ChannelId,
    wish: WindowOptions,
    method: str,
    merchant_uid: str,
    name: str,
    amount: int,
    currency: str,
    buyer: Buyer,
    urls: Urls,
    custom_data: Mapping[str, object] | None,
) -> dict[str, Any]:
    if currency not in MINOR_DIGITS:
        raise RuleError("currency", "is not one we know", "write for example KRW")
    if not 0 < len(name) <= NAME_MAX or not name.isprintable() or not name.strip():
        raise RuleError(
            "name", "is not a text of 1 to 40 printable characters", "the window shows what is bought in one short line"
        )
    params: dict[str, Any] = {one: value for one, value in wish.fields.items() if not one.startswith("buyer_")}
    params |= channel.params | {
        "pay_method": method,
        "merchant_uid": _uid("merchant_uid", merchant_uid, MERCHANT_UID_MAX),
        "name": name,
        "amount": major(amount, currency),
        "m_redirect_url": checked_link("m_redirect_url", urls.redirect),
    }
    if channel.module is not None and not channel.module.sends_method:
        del params["pay_method"]
    if currency != "KRW":
        params["currency"] = currency
    if urls.notice:
        notices = [checked_link("notice_url", one) for one in urls.notice]
        params["notice_url"] = notices[0] if len(notices) == 1 else notices
    if urls.confirm:
        params["confirm_url"] = checked_link("confirm_url", urls.confirm)
    if note := dict(wish.custom_data or {}) | dict(custom_data or {}):
        if len(json.dumps(note)) > CUSTOM_DATA_MAX:
            raise RuleError(
                "options.custom_data", f"is longer than {CUSTOM_DATA_MAX} characters of JSON", "keep it in your own system"
            )
        params["custom_data"] = note
    return params | buyer.over(wish.buyer).fields


def _uid(field: str, value: str, most: int) -> str:
    if not 0 < len(value) <= most or not _UID.fullmatch(value):
        raise RuleError(
            field, f"is not 1 to {most} letters, digits, - and _", "the PG cuts what is longer, and two could become one"
        )
    return value


def _is_whole(amount: object) -> bool:
    return type(amount) is int


def _first(methods: Iterable[str]) -> str:
    """A card where there is a choice; wallets have but one way."""
    return min(methods, key=lambda one: (one != "card", one))


def _list(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
