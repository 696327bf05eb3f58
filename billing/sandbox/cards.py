"""Cards the sandbox knows: magic numbers that misbehave on purpose, and how any number is read and masked.

A full card number, a birth date and a password live in one call frame only. What is
kept is the masked number, the end of validity and the name of a behaviour.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

from billing.sandbox.wire import Refused

KST = timezone(timedelta(hours=9))

DECLINES: Mapping[str, str] = MappingProxyType(
    {
        "120001": "거래제한(정지)카드",
        "120002": "1일 사용금액초과",
        "120004": "유효기간 만료(기간오류)",
        "120006": "할부금액 오류",
        "120010": "카드사 거래 TIMEOUT",
        "120014": "카드번호 오류",
        "120016": "월 사용한도 초과",
        "120019": "비밀번호 상이",
        "120023": "유효기간 오류",
        "120026": "도난, 분실카드",
        "120049": "사용한도초과",
        "120051": "주민(사업자)번호 상이",
        "120054": "잔액부족",
        "120070": "비씨카드사 전화요망(1588-4500)",
        "1200B2": "해지카드",
        "1200B9": "해당 카드사 시스템 점검중",
        "550690": "금액 오류(100원 미만 승인 불가)",
        "550997": "조회되는 빌키 없음",
    }
)
"""Words of the decline codes used here. Source: INICIS code list, sheet of card errors."""


@dataclass(frozen=True, slots=True)
class MagicCard:
    """A card number that always behaves in one known way. `code` is its decline code, if it declines."""

    number: str
    what: str
    code: str | None = None


MAGIC_CARDS: Mapping[str, MagicCard] = MappingProxyType(
    {
        "approves": MagicCard("4242-4242-4242-4242", "approves every charge until it expires"),
        "balance": MagicCard("4000-0000-0000-0054", "declines: balance too low", "120054"),
        "daily_limit": MagicCard("4000-0000-0000-0002", "declines: daily limit reached", "120002"),
        "lost": MagicCard("4000-0000-0000-0026", "declines: reported lost or stolen", "120026"),
        "expired": MagicCard("4000-0000-0000-0004", "declines: expired, whatever its expiry says", "120004"),
        "wrong_number": MagicCard("4000-0000-0000-0014", "refused when the key is issued: no such number", "120014"),
        "maintenance": MagicCard("4000-0000-0000-0089", "declines: the issuer is under maintenance", "1200B9"),
        "call_issuer": MagicCard("4000-0000-0000-0070", "declines: the holder must call the issuer", "120070"),
        "deaf": MagicCard("4000-0000-0000-4444", "approves, but every 4th answer of its key is lost"),
        "recovers": MagicCard("4000-0000-0000-0205", "declines charges 2 and 4 of every 5 of its key", "120054"),
        "expires": MagicCard("4000-0000-0000-1231", "approves until its expiry has passed, then declines", "120004"),
        "late": MagicCard("4000-0000-0000-9999", "answers failed, turns paid a minute later", "120010"),
    }
)
"""The test cards, by the name of their behaviour. Every other well-formed number approves."""

_BEHAVIOURS = {card.number.replace("-", ""): name for name, card in MAGIC_CARDS.items()}
_ALWAYS = frozenset({"balance", "daily_limit", "lost", "expired", "maintenance", "call_issuer", "wrong_number"})
_ISSUERS = {"3": ("367", "현대카드"), "4": ("366", "신한카드"), "5": ("381", "KB국민카드"), "9": ("361", "BC카드")}


@dataclass(frozen=True, slots=True)
class Card:
    """What is kept of a card. `valid_until` is the instant its last month ends, in Unix seconds."""

    masked: str | None
    behaviour: str
    valid_until: float
    issuer_code: str | None
    issuer_name: str | None


NO_CARD = Card(None, "approves", float("inf"), None, None)
"""What stands for the card where the buyer pays with something else."""


def reason(code: str) -> str:
    """Return a `fail_reason` for `code` in the shape `[120054]잔액부족`; a text that has brackets already stays."""
    return code if code.startswith("[") else f"[{code}]{DECLINES.get(code, '승인거절')}"


def digits_of(number: str) -> str:
    """Return a card number without separators."""
    return re.sub(r"[\s-]", "", number)


def masked(number: str) -> str:
    """Return a card number with only its first six and last four digits left."""
    digits = digits_of(number)
    return digits[:6] + "*" * max(len(digits) - 10, 0) + digits[-4:]


def read_card(fields: Mapping[str, Any], *, now: float, refusal: str) -> Card:
    """Read the card of a key-in request and forget what must not be kept.

    Args:
        refusal: how the PG introduces its refusal, the code and its words follow.

    Raises:
        Refused: with code -1, as the card network refuses a malformed or expired card.

    Source: PortOne REST V1, `POST /subscribe/customers/{customer_uid}`: number `dddd-dddd-dddd-dddd`
    (separators are normalised, 15 digits are accepted), expiry `YYYY-MM`, birth `YYMMDD` or 10 digits.
    """
    digits = digits_of(str(fields.get("card_number", "")))
    behaviour = _BEHAVIOURS.get(digits, "approves")
    if not re.fullmatch(r"[0-9]{15,16}", digits) or behaviour == "wrong_number":
        raise Refused(-1, f"{refusal} {reason('120014')}")
    valid_until = _end_of_month(str(fields.get("expiry", "")))
    if valid_until is None or valid_until <= now:
        raise Refused(-1, f"{refusal} {reason('120023')}")
    if fields.get("birth") and not re.fullmatch(r"[0-9]{6}|[0-9]{10}", str(fields["birth"])):
        raise Refused(-1, f"{refusal} {reason('120051')}")
    if fields.get("pwd_2digit") and not re.fullmatch(r"[0-9]{2}", str(fields["pwd_2digit"])):
        raise Refused(-1, f"{refusal} {reason('120019')}")
    issuer_code, issuer_name = _ISSUERS.get(digits[0], ("365", "삼성카드"))
    return Card(masked(digits), behaviour, valid_until, issuer_code, issuer_name)


def _end_of_month(expiry: str) -> float | None:
    """Return the instant a `YYYY-MM` expiry ends in Korea: cards are good through the last day of their month."""
    match = re.fullmatch(r"(2[0-9]{3})-?(0[1-9]|1[0-2])", expiry)
    if match is None:
        return None
    year, month = int(match[1]), int(match[2])
    first = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=KST)
    return first.timestamp()


def decline_code(behaviour: str, *, charges: int, valid_until: float, now: float) -> str | None:
    """Return the code a charge is declined with, or None when the issuer approves.

    Args:
        charges: the how-manieth charge of this key it is, from 1.
    """
    if behaviour in _ALWAYS:
        return MAGIC_CARDS[behaviour].code
    if valid_until <= now:
        return "120004"
    if behaviour == "recovers" and charges % 5 in (2, 4):
        return "120054"
    return None
