"""Values that exist nowhere else, and every form in which one could come to light."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import quote

_HALF = 8
"""Half a card number gives the other half away to whoever knows the issuer."""

_ID = frozenset(b"0123456789abcdefABCDEF.")
"""Six figures turn up in ids and instants too, so they count only where none of these is beside them."""


@dataclass(frozen=True)
class Canaries:
    """A card that no issuer gave out, and credentials that open nothing."""

    number: str = "5379831246907711"
    expiry: str = "2037-08"
    birth: str = "731129"
    pwd_2digit: str = "83"
    key: str = "imp_canary_key_Q7vX2mZp"
    secret: str = "canary-secret-Wd4Tn8Kb1Jr6Yc3L"
    instance: str = "canary-instance-Hs5Pg9Vq2Fx7Ub0M"
    password: str = "canary-password-Lk3Re6Nd"
    others: dict[str, str] = field(default_factory=dict)
    """What only the run knows, such as the token the PG issued."""

    def dashed(self, sign: str = "-") -> str:
        """The card number as it is embossed."""
        return sign.join(self.number[a:b] for a, b in pairwise((0, 4, 8, 12, 16)))

    def card(self) -> dict[str, str]:
        """The four fields of a key-in registration."""
        return {"number": self.dashed(), "expiry": self.expiry, "birth": self.birth, "pwd_2digit": self.pwd_2digit}

    def words(self) -> dict[str, str]:
        """Every secret word by its name."""
        return {"key": self.key, "secret": self.secret, "instance": self.instance, "password": self.password, **self.others}


class Matcher:
    """Finds canaries in bytes: plain, grouped, halved, reversed, URL-encoded, in base64, hexadecimal or UTF-16."""

    def __init__(self, canaries: Canaries) -> None:
        number = canaries.number
        digits = {number, canaries.dashed("-"), canaries.dashed(" "), number[::-1], number[:_HALF], number[_HALF:]}
        self._forms = {form: "card number" for text in digits for form in _codings(text)}
        for name, word in canaries.words().items():
            half = len(word) // 2
            for text in {word, word[::-1], word[:half] if half >= 12 else word, word[-half:] if half >= 12 else word}:
                self._forms |= dict.fromkeys(_codings(text), name)
        self._digits = number.encode()
        year, month = canaries.expiry.split("-")
        born = canaries.birth
        days = [sign.join((century + born[:2], born[2:4], born[4:])) for sign in ("", "-", ".", "/") for century in ("19", "")]
        self._patterns = {
            "middle of the card number": re.compile(number[6:12].encode()),
            "birth": re.compile("|".join(map(re.escape, days)).encode()),
            "expiry": re.compile(rf"{year}[-/. ]?{month}|{month}\s?/\s?(?:20)?{year[2:]}".encode()),
            # Two figures say nothing alone: they count beside the name of their field.
            "pwd_2digit": re.compile(rb"pwd(?:_2digit)?[\"'\\\s:=]{1,6}%s" % canaries.pwd_2digit.encode()),
        }

    def found(self, data: bytes | str) -> list[str]:
        """The names of the canaries in `data`."""
        seen = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        names = {name for form, name in self._forms.items() if form in seen}
        if self._digits in seen.translate(None, b" -_./,:\t\r\n\"'"):
            names.add("card number")
        return sorted(names | {name for name, pattern in self._patterns.items() if any(map(_is_alone, pattern.finditer(seen)))})


def _is_alone(found: re.Match[bytes]) -> bool:
    before, after = found.string[max(found.start() - 1, 0) : found.start()], found.string[found.end() : found.end() + 1]
    return not _ID.intersection(before + after)


def _codings(text: str) -> set[bytes]:
    plain = text.encode()
    coded = {plain, plain.hex().encode(), text.encode("utf-16-le"), quote(text, safe="").encode()}
    coded.add("".join(f"%{one:02X}" for one in plain).encode())
    for shift in range(3):
        # Base64 depends on where the text begins; only the characters that depend on nothing else are kept.
        whole = base64.b64encode(b"\0" * shift + plain)
        inner = whole[(0, 2, 3)[shift] : len(whole) - ((shift + len(plain)) % 3 and 4)]
        coded |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return coded
