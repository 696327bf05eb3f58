"""What must never be read in a log line, an error message or the database, whoever wrote it there."""

from __future__ import annotations

import re
import unicodedata
from string import ascii_letters

HIDDEN = "[hidden]"

SECRET_KEYS = frozenset(
    {
        "access_token",
        "authorization",
        "birth",
        "card_number",
        "cvc",
        "expiry",
        "imp_secret",
        "password",
        "pwd_2digit",
        "secret",
        "token",
    }
)
"""Names whose values are replaced wherever they stand as a key."""

# 13 digits or more, with at most one sign between two of them as people and terminals set it; a UUID is matched
# first, so that its hyphens do not make a number of it. `\d` is any script's digit.
_DASHES = r" \t\u00a0\u3000\u2010-\u2015\u2212\uff0d-"
_UUID = r"(?<![0-9a-fA-F])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9a-fA-F])"
_LONG = re.compile(rf"(?P<uuid>{_UUID})|\d(?:[{_DASHES}]?\d){{12,}}|(?<!\d)\d{{4}}(?:[./_·:]\d{{4}}){{3}}(?!\d)")
_GLUED = frozenset(f"{ascii_letters}_")
_PAIR = re.compile(
    rf"""(["']?\b(?:{"|".join(sorted(SECRET_KEYS))})\b["']?\s*[:=]\s*)(bearer\s+)?("[^"]*"|'[^']*'|[^\s,;&}})]+)""", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)([^\s/:@]*):([^\s/@]+)@")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127, 0x85, 0x2028, 0x2029)} | {9: " ", 10: "\\n", 13: "\\r"}

# Length → what a number of that length may begin with.
# Source: ISO/IEC 7812 ranges as the schemes publish them (Visa 4, Mastercard 51–55 and 2221–2720, Amex 34 and 37,
# JCB 3528–3589, Diners 30, 36, 38, UnionPay and Discover 6; cards that work in Korea alone begin with 9).
_ISSUERS = {
    14: re.compile(r"3[068]"),
    15: re.compile(r"3[47]"),
    16: re.compile(r"4|5[0-8]|6|9|35(?:2[89]|[3-8])|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"),
    19: re.compile(r"4|62"),
}


def redacted(text: str) -> str:
    """`text` without card-like numbers, without the values of secret names and without the password of a URL.

    A long number that stands alone is hidden whatever it is, because test cards have no check digit. One
    that is glued to Latin letters is an id (`imp_…`) unless it passes for a card: Korean glues its particles on.
    """
    text = _USERINFO.sub(rf"\1:{HIDDEN}@", _PAIR.sub(rf"\1{HIDDEN}", text))
    return _LONG.sub(_hidden, text)


def holds_card_number(text: str) -> bool:
    """True when a number in `text` may be a card's: 14 to 16 or 19 digits, an issuer's first ones, a right check digit.

    Order numbers, phone numbers and instants fail one of the three; of random 16-digit numbers 4 % pass.
    """
    return any(_may_be_card(found) for found in _LONG.finditer(text))


def one_line(text: str) -> str:
    """`text` on one line: a buyer's name cannot fake a second log entry or move the cursor of a terminal."""
    return text.translate(_CONTROLS)


def _hidden(found: re.Match[str]) -> str:
    before, after = found.string[found.start() - 1 : found.start()], found.string[found.end() : found.end() + 1]
    is_id = found["uuid"] is not None or ((before in _GLUED or after in _GLUED) and not _may_be_card(found))
    return found[0] if is_id else HIDDEN


def _may_be_card(found: re.Match[str]) -> bool:
    """Also where other figures stand beside it: any row of neighbouring groups may be the card."""
    if found["uuid"] is not None:
        return False
    groups = [[unicodedata.digit(sign) for sign in group] for group in re.findall(r"\d+", found[0])]
    return any(
        _passes([digit for group in groups[first:end] for digit in group])
        for first in range(len(groups))
        for end in range(first + 1, min(first + 19, len(groups)) + 1)
    )


def _passes(digits: list[int]) -> bool:
    issuers = _ISSUERS.get(len(digits))
    if issuers is None or not issuers.match("".join(map(str, digits))):
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
