"""What each PG module can do, and which of a merchant's channels serves what. Pure: texts in, rules out.

Source: PortOne V1, list of PG modules and the integration page of each (pay_method, billing-key window, REST with card
data, whether issuing charges at once); the parameters of `IMP.request_pay`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from billing.errors import RuleError

KEY_PREFIX = "channel-key-"
_WAYS = (
    "card trans vbank phone samsung samsungpay applepay kakaopay naverpay naverpay_card naverpay_point payco lpay ssgpay "
    "ssgpay_bank tosspay tosspay_card tosspay_money toss_brandpay kpay pinpay skpay point paypal cultureland smartculture "
    "culturegift booknlife happymoney wechat alipay unionpay tenpay paysbuy econtext molpay cvs"
)
PAY_METHODS = frozenset(_WAYS.split())
"""Every word for a way to pay. Source: PortOne JavaScript SDK V1, pay_method."""

_PUBLIC_TEST = frozenset(("inipaytest", "inibilltst", "inibilltest"))
"""The test shops of INICIS that everybody shares. Source: PortOne help centre, test mode of INICIS."""


class OnIssue(StrEnum):
    """Whether a window that issues a billing key also takes money."""

    NEVER = "never"  # an amount is shown at most
    ABOVE_ZERO = "above zero"  # an amount is charged, 0 only registers
    ALWAYS = "always"  # there is no registering without a charge


class Module(NamedTuple):
    """What one `pg_provider` can do."""

    name: str
    windows: frozenset[str] | None
    """Ways to pay in its ordinary window; empty: it has none; None: not documented, so none is refused."""
    issues: Mapping[str, OnIssue]
    """Ways to pay for which its window issues billing keys, and whether that charges; empty: it has no such window."""
    keys_in: bool
    """It issues billing keys by REST from card data."""
    needs: frozenset[str]
    """Fields about the buyer without which its ordinary window fails."""
    customer_id_max: int
    """Longest `customer_id`, which its billing-key window demands; 0 where it does not."""
    sends_method: bool
    """Its window takes `pay_method`; the wallets choose inside the app and are called without."""

    @property
    def can_issue(self) -> bool:
        """True where a card can be registered with it at all."""
        return bool(self.issues) or self.keys_in


def _module(
    name: str,
    windows: str | None = "",
    issues: str = "",
    on_issue: OnIssue = OnIssue.NEVER,
    *,
    keys_in: bool = False,
    needs: str = "",
    customer_id_max: int = 0,
    sends_method: bool = True,
) -> Module:
    ways = None if windows is None else frozenset(windows.split())
    issuing = MappingProxyType(dict.fromkeys(issues.split(), on_issue))
    return Module(name, ways, issuing, keys_in, frozenset(needs.split()), customer_id_max, sends_method)


_GIFT = "cultureland smartculture booknlife"

# How long a customer_id may be at welcome is not documented; the length of a customer_uid bounds it.
# danal_tpay charges ten won at amount 0 and takes them back by itself within half an hour. Whether smilepay charges at
# issue is not documented: the answer that could hurt is taken.
_MODULES = (
    _module(
        "html5_inicis",
        f"card trans vbank phone kakaopay naverpay samsung applepay ssgpay payco tosspay lpay {_GIFT}",
        "card",
        needs="buyer_tel",
    ),
    _module("inicis", keys_in=True),
    _module("inicis_unified"),
    _module("kcp", f"card trans vbank phone payco lpay kakaopay naverpay samsung applepay point {_GIFT}", keys_in=True),
    _module("kcp_billing", issues="card"),
    _module("kcp_quick", "card trans"),
    _module("uplus", "card trans vbank phone applepay tosspay naverpay kakaopay lpay payco samsung"),
    _module(
        "tosspayments",
        f"card trans vbank phone kakaopay naverpay lpay samsung ssgpay applepay payco tosspay {_GIFT}",
        "card",
        keys_in=True,
        needs="buyer_name",
    ),
    _module("toss_brandpay", "toss_brandpay"),
    _module("nice", "card trans vbank phone kakaopay", keys_in=True),
    _module(
        "nice_v2",
        "card trans vbank phone cultureland naverpay_card naverpay_point kakaopay payco samsungpay skpay ssgpay ssgpay_bank lpay "
        "applepay",
        keys_in=True,
        needs="buyer_tel",
    ),
    _module("kicc", "card trans vbank phone", "card", needs="buyer_tel"),
    _module("danal_tpay", "card trans vbank cultureland booknlife", "card", OnIssue.ABOVE_ZERO, needs="buyer_tel"),
    _module("danal", "phone", "phone", OnIssue.ALWAYS, keys_in=True, needs="buyer_tel"),
    _module("mobilians", "card phone", "phone", OnIssue.ALWAYS, needs="buyer_tel"),
    _module("settle", "card trans vbank phone", keys_in=True, needs="buyer_tel"),
    _module("settle_acc", "trans", "trans", OnIssue.ABOVE_ZERO, needs="buyer_tel"),
    _module("daou", f"card trans vbank kakaopay naverpay payco samsung applepay {_GIFT}", keys_in=True),
    _module("ksnet", "card vbank trans phone lpay ssgpay kakaopay naverpay payco", keys_in=True, needs="buyer_name"),
    _module("smartro", "card trans vbank"),
    _module(
        "smartro_v2",
        "card trans vbank phone lpay kakaopay naverpay payco pinpay",
        "card",
        needs="buyer_tel",
        customer_id_max=20,
    ),
    _module(
        "welcome",
        "card trans vbank phone culturegift lpay kakaopay payco tosspay",
        "card",
        keys_in=True,
        needs="buyer_name buyer_tel",
        customer_id_max=80,
    )._replace(issues=MappingProxyType({"card": OnIssue.NEVER, "phone": OnIssue.ALWAYS})),
    _module("kakaopay", "kakaopay card", "kakaopay card", OnIssue.ABOVE_ZERO, sends_method=False),
    _module("naverpay", "naverpay card", "naverpay card", sends_method=False),
    _module("naverco", None),
    _module("payco", "payco card trans vbank", "payco card", needs="buyer_tel"),
    _module("tosspay", None),
    _module("tosspay_v2", "tosspay tosspay_card tosspay_money", "tosspay", customer_id_max=50),
    _module("smilepay", "card", "card", OnIssue.ALWAYS, needs="buyer_tel"),
    _module("galaxia", None),
    _module("paymentwall", None, "card", OnIssue.ALWAYS, needs="buyer_name buyer_email"),
    _module("paypal", None),
    _module("paypal_v2", "paypal", "paypal"),
    _module("eximbay", "card alipay unionpay tenpay econtext wechat molpay", needs="buyer_name buyer_tel"),
)
MODULES: Mapping[str, Module] = MappingProxyType({one.name: one for one in _MODULES})
"""Rules by `pg_provider`."""

_MID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]+")
_PG_MAX, _KEY_MAX = 80, 55


def takes_nothing_at_issue(provider: str) -> bool:
    """True for a module of which it is documented that registering a card in its window never takes money."""
    module = MODULES.get(provider)
    return module is not None and all(one is OnIssue.NEVER for one in module.issues.values())


class ChannelId(NamedTuple):
    """A channel as a request names it: `provider`, `provider.MID`, or a channel key, behind which the module is not seen."""

    provider: str = ""
    mid: str = ""
    key: str = ""

    @classmethod
    def parse(cls, text: str, field: str = "channel") -> ChannelId:
        """The channel a text names.

        Raises:
            RuleError: no such module, or not the shape of an id.
        Source: PortOne REST V1 (pg ≤ 80, `provider` or `provider.MID`; channel_key ≤ 55).
        """
        given = text.strip()
        if given.startswith(KEY_PREFIX):
            if len(given) > _KEY_MAX or not _KEY.fullmatch(given):
                raise RuleError(field, "is not a channel key", f"copy it from the PortOne console: {KEY_PREFIX}…")
            return cls(key=given)
        provider, dot, mid = given.partition(".")
        if provider not in MODULES:
            near = get_close_matches(provider, MODULES, 1)
            cure = f"did you mean {near[0]}?" if near else f"write for example html5_inicis.MID, or a key: {KEY_PREFIX}…"
            raise RuleError(field, "does not begin with a pg_provider", cure)
        if len(given) > _PG_MAX or (dot and not _MID.fullmatch(mid)):
            raise RuleError(
                field, f"{provider} is followed by what is no MID", f"write {provider}.MID, the shop id the PG gave you"
            )
        return cls(provider, mid)

    def __str__(self) -> str:
        return self.key or (f"{self.provider}.{self.mid}" if self.mid else self.provider)

    @property
    def module(self) -> Module | None:
        """The rules of its module; None behind a channel key."""
        return MODULES.get(self.provider)

    @property
    def is_public_test(self) -> bool:
        """True for the test shops everybody shares: what is paid there is given back within the day."""
        return self.mid.lower() in _PUBLIC_TEST

    @property
    def params(self) -> dict[str, str]:
        """How a window is told. Source: PortOne JavaScript SDK V1, channelKey, or `pg` before it."""
        return {"channelKey": self.key} if self.key else {"pg": str(self)}


class ChannelUse(StrEnum):
    """What a channel is for: an ordinary contract cannot register cards, a billing contract cannot sell once."""

    BILLING = "billing"  # registers cards and charges them
    KEY_IN = "key-in"  # where card data goes by REST, if that is another one: INICIS has a module of its own for it
    PAY = "pay"  # an ordinary window: the customer pays once


class Assigned(NamedTuple):
    """One entry of `BILLING_CHANNELS`: `mode/use=channel`, or `mode/pay/pay_method=channel`."""

    mode: str
    use: ChannelUse
    pay_method: str
    channel: ChannelId

    @property
    def place(self) -> str:
        """What stands left of the equals sign."""
        return "/".join(filter(None, (self.mode, self.use, self.pay_method)))


DEFAULTS = tuple(
    Assigned(mode, use, "", ChannelId("html5_inicis", mid))
    for mode in ("sandbox", "test")
    for use, mid in ((ChannelUse.BILLING, "INIBillTst"), (ChannelUse.PAY, "INIpayTest"))
)
"""Where nothing is assigned: the test shops of INICIS. In live mode there is no default."""


def assigned(text: str, field: str = "BILLING_CHANNELS") -> tuple[Assigned, ...]:
    """The entries of `live/billing=html5_inicis.MOIbill, live/pay=html5_inicis.MOIpay, live/pay/kakaopay=kakaopay.CID`.

    Raises:
        RuleError: an entry is not of this shape, stands there twice, or names a channel that cannot do what it is for.
            A word it does not know is not repeated: somebody may have pasted a secret.
    """
    found: dict[str, Assigned] = {}
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        place, equals, channel = (part.strip() for part in entry.partition("="))
        mode, _, rest = place.partition("/")
        use, _, pay_method = rest.partition("/")
        is_shaped = bool(equals) and mode in ("sandbox", "test", "live") and use in tuple(ChannelUse)
        if not is_shaped or (pay_method and use != ChannelUse.PAY) or rest.endswith("/"):
            cure = "write entries like live/billing=html5_inicis.MID, live/pay=html5_inicis.MID or live/pay/kakaopay=kakaopay.CID"
            raise RuleError(
                field, f"entry {number} does not begin with MODE/billing=, MODE/key-in=, MODE/pay= or MODE/pay/PAY_METHOD=", cure
            )
        if pay_method and pay_method not in PAY_METHODS:
            raise RuleError(field, f"entry {number} names no pay_method", "write for example card, phone or kakaopay")
        if place in found:
            raise RuleError(field, f"{place} stands there twice", "keep one")
        one = Assigned(mode, ChannelUse(use), pay_method, ChannelId.parse(channel, f"{field}: {place}"))
        refuse_unfit(one, field)
        found[place] = one
    return tuple(found.values())


def refuse_unfit(one: Assigned, field: str) -> None:
    """Refuse a channel that cannot do what it is assigned to.

    Raises:
        RuleError: a public test shop in live mode, or a module without that ability.
    """
    where = f"{one.place}: {one.channel}"
    if one.mode == "live" and one.channel.is_public_test:
        raise RuleError(field, f"{where} is the public test shop of INICIS", "write the MID of your own contract")
    problem = inability(one)
    if problem:
        raise RuleError(field, f"{where} {problem}", "see the module list of the PG for one that does")


def inability(one: Assigned) -> str:
    """Why the module of a channel cannot do what it is assigned to; empty where it can, or where nobody can tell."""
    module = one.channel.module
    if module is None:
        return ""
    if one.use is ChannelUse.BILLING:
        return "" if module.can_issue else "registers no cards"
    if one.use is ChannelUse.KEY_IN:
        return "" if module.keys_in else "takes no card data by REST"
    if module.windows is None:
        return ""
    if not module.windows:
        return "has no window to pay in"
    return "" if not one.pay_method or one.pay_method in module.windows else f"does not take {one.pay_method}"
