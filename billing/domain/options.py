"""What a host may wish of a payment window, checked value by value. Pure, and in the PG's own names on the outside.

Source of every name and range: PortOne JavaScript SDK V1, request parameters; the PG integration pages V1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, NamedTuple

from billing.domain.channel import PAY_METHODS
from billing.domain.notice import is_deeper
from billing.domain.wording import refuse_card_numbers
from billing.errors import RuleError

INSTALMENT_MIN = 50_000
"""Won from which card companies take instalments. Source: PortOne SDK V1, card_quota; INICIS 120006, NICE 3024."""

_CODES = "361 381 367 365 368 371 041 374 366 370 364 372 373 369 002 045 048 071 089 090 10001 10002 10003 10004 10005 10006"
CARD_CODES = frozenset(_CODES.split())
"""Card companies: the financial clearing standard, and PortOne's own numbers for foreign ones. Source: PortOne card codes."""

LANGUAGES = ("ko", "en", "zh")
MONTHS_MAX = 36
_EVERY_CARD = "*"
_TEXT_MAX, _LIST_MAX, _DEPTH_MAX, _JSON_MAX = 80, 100, 8, 4000
_BUYER_MAX = {"name": 16, "tel": 16, "email": 64, "addr": 128, "postcode": 8}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,49}(://)?")
_BROWSER_SCHEMES = frozenset(("about", "blob", "data", "file", "http", "https", "javascript", "vbscript"))
_DUE_FORMATS = {10: "%Y-%m-%d", 8: "%Y%m%d", 19: "%Y-%m-%d %H:%M:%S", 14: "%Y%m%d%H%M%S"}
_OURS = {
    "amount": "it comes from the invoice",
    "currency": "it comes from the invoice",
    "tax_free": "it comes from the invoice",
    "vat_amount": "it comes from the invoice",
    "name": "it comes from the invoice",
    "merchant_uid": "it comes from the attempt",
    "customer_uid": "it comes from the registration",
    "channelKey": "assign channels in BILLING_CHANNELS",
    "pg": "assign channels in BILLING_CHANNELS",
    "m_redirect_url": "set BILLING_PUBLIC_URL",
    "notice_url": "set BILLING_PUBLIC_URL",
    "confirm_url": "set BILLING_PUBLIC_URL",
}
"""Parameters of a window that are not the host's to wish: with another amount or number the payment would not be ours."""


class Buyer(NamedTuple):
    """Who is asked to pay, as the window shows it. Decoration: none of it may keep a payment from happening."""

    name: str = ""
    tel: str = ""
    email: str = ""
    addr: str = ""
    postcode: str = ""

    def over(self, other: Buyer) -> Buyer:
        """This buyer, with what `other` does not say left as `self` has it."""
        return Buyer(*(theirs or mine for mine, theirs in zip(self, other, strict=True)))

    @property
    def fields(self) -> dict[str, str]:
        """What fits the wire: a long name is cut, a cut address or number would be somebody else's and stays at home."""
        told = {"buyer_name": self.name[: _BUYER_MAX["name"]].strip()}
        for part, value in list(self._asdict().items())[1:]:
            told[f"buyer_{part}"] = value if len(value) <= _BUYER_MAX[part] else ""
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Direct:
    """One card company's own window, without the choice before it. `quota` 0 pays at once."""

    code: str
    quota: int = 0

    def __post_init__(self) -> None:
        _card_code("card.direct.code", self.code)
        _whole("card.direct.quota", self.quota, 0, MONTHS_MAX)


@dataclass(frozen=True, slots=True)
class CardDetail:
    """Whether a card company (or `*`, all of them) is offered, and up to how many months the shop pays its interest."""

    card_code: str
    enabled: bool | None = None
    max_month: int | None = None

    def __post_init__(self) -> None:
        if self.card_code != _EVERY_CARD:
            _card_code("card.detail.card_code", self.card_code)
        _flag("card.detail.enabled", self.enabled)
        if self.max_month is not None:
            _whole("card.detail.max_month", self.max_month, 1, MONTHS_MAX)
        if self.enabled is None and self.max_month is None:
            raise _wrong("card.detail", "has an entry that says nothing", "give enabled or max_month")


@dataclass(frozen=True, slots=True)
class Product:
    """One thing of an escrow payment, so that parts can be shipped apart; `unit_price` in won."""

    id: str = ""
    name: str = ""
    code: str = ""
    unit_price: int | None = None
    quantity: int | None = None

    def __post_init__(self) -> None:
        for name, value in {"id": self.id, "name": self.name, "code": self.code}.items():
            _text(f"products.{name}", value, 100)
        for name, number, least in (("unitPrice", self.unit_price, 0), ("quantity", self.quantity, 1)):
            if number is not None:
                _whole(f"products.{name}", number, least, 10**9)


@dataclass(frozen=True, slots=True)
class Service:
    """The days a customer pays for, first and last, shown in the window."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise _wrong("period", "ends before it begins", "write from and to in this order")


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """A host's wishes; everything may be left out, and then the channel decides.

    Raises:
        RuleError: names the option as the PG names it, and what may stand there.
    """

    pay_method: str = ""
    """Empty takes a card, or the one way the channel has."""
    escrow: bool = False
    products: tuple[Product, ...] = ()
    custom_data: Mapping[str, Any] | None = None
    """Kept by the PG with the payment and shown in its console."""
    language: str = ""
    digital: bool | None = None
    """Whether what is sold is no thing; phone bills cost differently for it."""
    vbank_due: str = ""
    app_scheme: str = ""
    """For a window inside an app: how to come back to it."""
    biz_num: str = ""
    customer_id: str = ""
    """The buyer's id in the host's own system, for the PGs that want one."""
    free_interest: bool = False
    """The shop pays the interest of the months in `card_detail`."""
    card_quota: tuple[int, ...] | None = None
    """Months offered; () offers none, None leaves it to the channel."""
    direct: Direct | None = None
    card_detail: tuple[CardDetail, ...] = ()
    interest_free: int | None = None
    """INICIS: the shop pays the interest of up to this many months on every card."""
    period: Service | None = None
    bypass: Mapping[str, Any] | None = None
    """What the PG's own module understands and PortOne passes on unseen."""
    buyer: Buyer = field(default_factory=Buyer)
    """What it says wins over what is known of the customer."""

    def __post_init__(self) -> None:
        for name in ("pay_method", "language", "vbank_due", "app_scheme", "biz_num", "customer_id"):
            _text(name, getattr(self, name), _TEXT_MAX)
        if self.pay_method and self.pay_method not in PAY_METHODS:
            raise _wrong("pay_method", "is not one the PG knows", f"one of {', '.join(sorted(PAY_METHODS))}")
        for name, flag in {"escrow": self.escrow, "digital": self.digital, "useFreeInterestFromMall": self.free_interest}.items():
            _flag(name, flag)
        if self.language and self.language not in LANGUAGES:
            raise _wrong("language", "is not one of the window's", f"one of {', '.join(LANGUAGES)}")
        if self.vbank_due and not _is_due(self.vbank_due):
            raise _wrong("vbank_due", "is not a day", "write 2027-01-31, 20270131, 2027-01-31 23:59:59 or 20270131235959")
        if self.app_scheme and not _is_app_scheme(self.app_scheme):
            raise _wrong("app_scheme", "is not the scheme of an app", "write for example myshop://")
        if self.biz_num and not re.fullmatch(r"[0-9]{10}", self.biz_num):
            raise _wrong("biz_num", "is not a business number", "write its ten digits")
        if len(self.products) > _LIST_MAX or len(self.card_detail) > _LIST_MAX:
            raise _wrong("products" if len(self.products) > _LIST_MAX else "card.detail", "is too long", f"at most {_LIST_MAX}")
        if self.products and not self.escrow:
            raise _wrong("products", "is for escrow payments", "set escrow, or leave it out")
        codes = [one.card_code for one in self.card_detail]
        if len(set(codes)) != len(codes):
            raise _wrong("card.detail", "names a card company twice", "keep one entry of each")
        for months in self.card_quota or ():
            _whole("display.card_quota", months, 0, MONTHS_MAX)
        if self.interest_free is not None:
            _whole("card.interest_free", self.interest_free, 2, MONTHS_MAX)
        for part, value in self.buyer._asdict().items():
            _text(f"buyer_{part}", value, 200)
        for name in ("custom_data", "bypass"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _plain(name, value))

    @classmethod
    def of(cls, given: Mapping[str, object]) -> WindowOptions:
        """The wishes in a JSON object, in the names and the nesting of `IMP.request_pay`; null counts as left out.

        Raises:
            RuleError: an option nobody knows, by name, or one that is not the host's to wish.
        """
        left = _object("", given)
        display, card = _inner(left, "display", ("card_quota",)), _inner(left, "card", ("direct", "detail", "interest_free"))
        period, direct = _inner(left, "period", ("from", "to")), _inner(card, "direct", ("code", "quota"), "card.")
        details = [_object("card.detail", one, ("card_code", "enabled", "max_month")) for one in _items(card, "detail", "card.")]
        products = [_object("products", one, tuple(_PRODUCT)) for one in _items(left, "products")]
        wanted: dict[str, Any] = {attribute: left.pop(name) for name, attribute in _FLAT.items() if name in left}
        buyer = {part: left.pop(f"buyer_{part}") for part in Buyer._fields if f"buyer_{part}" in left}
        for name in left:
            raise _unknown(
                name, "", (*_FLAT, *(f"buyer_{part}" for part in Buyer._fields), "card", "display", "period", "products")
            )
        if "card_quota" in display:
            wanted["card_quota"] = tuple(_items(display, "card_quota", "display."))
        if direct:
            wanted["direct"] = Direct(direct.get("code", ""), direct.get("quota", 0))
        if "interest_free" in card:
            wanted["interest_free"] = card["interest_free"]
        if period:
            wanted["period"] = Service(_day("period.from", period.get("from")), _day("period.to", period.get("to")))
        return cls(
            products=tuple(Product(**{_PRODUCT[name]: value for name, value in one.items()}) for one in products),
            card_detail=tuple(CardDetail(one.get("card_code", ""), one.get("enabled"), one.get("max_month")) for one in details),
            buyer=Buyer(**buyer),
            **wanted,
        )

    @property
    def fields(self) -> dict[str, Any]:
        """The wishes as a JSON object that `of` reads again: only what was said."""
        card: dict[str, Any] = {}
        if self.direct:
            card["direct"] = {"code": self.direct.code, "quota": self.direct.quota}
        if self.card_detail:
            card["detail"] = [
                _said(one, {"card_code": "card_code", "enabled": "enabled", "max_month": "max_month"}) for one in self.card_detail
            ]
        if self.interest_free is not None:
            card["interest_free"] = self.interest_free
        told = {name: value for name, attribute in _FLAT.items() if (value := getattr(self, attribute)) or value == {}}
        if self.digital is not None:
            told["digital"] = self.digital
        if self.products:
            told["products"] = [_said(one, _PRODUCT) for one in self.products]
        if self.card_quota is not None:
            told["display"] = {"card_quota": list(self.card_quota)}
        if card:
            told["card"] = card
        if self.period:
            told["period"] = {"from": f"{self.period.first:%Y%m%d}", "to": f"{self.period.last:%Y%m%d}"}
        return told | {f"buyer_{part}": value for part, value in self.buyer._asdict().items() if value}

    @property
    def about_paying(self) -> tuple[str, ...]:
        """The options set here that mean nothing where nothing is paid."""
        said = self.fields
        names = [
            one for one in ("escrow", "digital", "vbank_due", "biz_num", "useFreeInterestFromMall", "display") if one in said
        ]
        return (*names, *self._months)

    @property
    def instalments(self) -> tuple[str, int]:
        """The option that asks for most months, and how many; ("", 0) where everything is paid at once."""
        return max(self._months.items(), key=lambda one: one[1], default=("", 0))

    @property
    def _months(self) -> dict[str, int]:
        found = {
            "display.card_quota": max(self.card_quota or (0,)),
            "card.direct.quota": self.direct.quota if self.direct else 0,
            "card.detail.max_month": max((one.max_month or 0 for one in self.card_detail), default=0),
            "card.interest_free": self.interest_free or 0,
        }
        return {name: months for name, months in found.items() if months > 1}


_FLAT = {
    "pay_method": "pay_method",
    "escrow": "escrow",
    "custom_data": "custom_data",
    "language": "language",
    "digital": "digital",
    "vbank_due": "vbank_due",
    "app_scheme": "app_scheme",
    "biz_num": "biz_num",
    "customer_id": "customer_id",
    "useFreeInterestFromMall": "free_interest",
    "bypass": "bypass",
}
_PRODUCT = {"id": "id", "name": "name", "code": "code", "unitPrice": "unit_price", "quantity": "quantity"}


def _wrong(name: str, problem: str, cure: str) -> RuleError:
    return RuleError(f"options.{name}" if name else "options", problem, cure)


def _unknown(name: str, path: str, known: Sequence[str]) -> RuleError:
    if not path and name in _OURS:
        return _wrong(name, "is not yours to set", _OURS[name])
    near = get_close_matches(name, known, 1)
    shown = name if name.isprintable() and len(name) <= 40 else "…"
    return _wrong(
        path + shown, "is not an option", f"did you mean {path}{near[0]}?" if near else f"one of {', '.join(sorted(known))}"
    )


def _object(path: str, value: object, known: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON object without its nulls; where `known` says so, with no other names."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _wrong(path, "is not a JSON object", "write names and values between { and }")
    for name in value:
        if known and name not in known:
            raise _unknown(name, f"{path}.", known)
    return {name: one for name, one in value.items() if one is not None}


def _inner(left: dict[str, Any], name: str, known: Sequence[str], path: str = "") -> dict[str, Any]:
    return _object(path + name, left.pop(name), known) if name in left else {}


def _items(left: dict[str, Any], name: str, path: str = "") -> list[Any]:
    value = left.pop(name, [])
    if not isinstance(value, (list, tuple)) or len(value) > _LIST_MAX:
        raise _wrong(path + name, "is not a list, or too long", f"write at most {_LIST_MAX} between [ and ]")
    return list(value)


def _said(one: object, names: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, attribute in names.items() if (value := getattr(one, attribute)) not in (None, "")}


def _text(name: str, value: object, most: int) -> None:
    if not isinstance(value, str) or len(value) > most or value != value.strip() or (value and not value.isprintable()):
        raise _wrong(name, f"is not a text of at most {most} printable characters", "write it shorter, without blanks around it")
    refuse_card_numbers({f"options.{name}": value})


def _flag(name: str, value: object) -> None:
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "is neither true nor false", "write one of them, without quotes")


def _whole(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise _wrong(name, f"is not a whole number from {least} to {most:,}", "write it without quotes")


def _card_code(name: str, value: object) -> None:
    if not isinstance(value, str) or value not in CARD_CODES:
        raise _wrong(name, "is no card company", f"one of {', '.join(sorted(CARD_CODES))}")


def _day(name: str, value: object) -> date:
    with suppress(ValueError):
        if isinstance(value, str) and re.fullmatch(r"[0-9]{8}", value):
            return datetime.strptime(value, "%Y%m%d").date()  # noqa: DTZ007  (a date, no instant)
    raise _wrong(name, "is not a day", "write it as 20270131")


def _is_due(text: str) -> bool:
    try:
        datetime.strptime(text, _DUE_FORMATS[len(text)])  # noqa: DTZ007  (the PG takes it as its own wall clock)
    except (KeyError, ValueError):
        return False
    return text.isascii()


def _is_app_scheme(text: str) -> bool:
    return bool(_SCHEME.fullmatch(text)) and text.partition(":")[0].lower() not in _BROWSER_SCHEMES


def _plain(name: str, value: object) -> Mapping[str, Any]:
    """A JSON object as a parser would give it, so that what is kept is what is sent."""
    try:
        text = json.dumps(value, allow_nan=False)
        plain: object = json.loads(text)
        json.dumps(plain, ensure_ascii=False).encode()  # half a surrogate pair is a text that no database takes
    except (TypeError, ValueError, RecursionError):
        raise _wrong(name, "is not JSON", "use texts, numbers, true, false, null, lists and objects") from None
    if not isinstance(plain, dict) or len(text) > _JSON_MAX or "\\u0000" in text or is_deeper(plain, _DEPTH_MAX):
        raise _wrong(
            name, "is not a JSON object, is too long or too deep", f"at most {_JSON_MAX} characters, {_DEPTH_MAX} levels"
        )
    refuse_card_numbers({f"options.{name}": text})
    return plain
