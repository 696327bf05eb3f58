"""Raw card data for one call: held as briefly as possible, and never shown, copied or kept.

A Python string cannot be wiped, so the rule is fewer copies: nothing here ends up in a repr, a
log, an exception, a pickle or a dict, and a card can be used once.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from itertools import pairwise
from typing import NoReturn

from billing.errors import RuleError
from billing.gateway.sealed import SealedFields, sealed

_FIELDS = ("number", "expiry", "birth", "pwd_2digit")


class Card:
    """The four fields of a key-in registration.

    Args:
        number: 15 or 16 digits, spaces and hyphens as you like. Not checked by Luhn: test cards fail it.
        expiry: `YYYY-MM` or `MM/YY`.
        birth: `YYMMDD`, or the ten digits of a business number for a corporate card; "" if the PG needs none.
        pwd_2digit: the first two digits of the card password; "" if the PG needs none.

    Raises:
        RuleError: names the field that is wrong, never its value.

    Source: PortOne REST V1, POST /subscribe/customers/{customer_uid} (card_number
    dddd-dddd-dddd-dddd, expiry YYYY-MM, birth, pwd_2digit).
    """

    # No dataclass, no __dict__: both would show the fields to vars(), repr() and pickle.
    __slots__ = ("__fields",)
    __fields: SealedFields | None

    def __init__(self, *, number: str, expiry: str, birth: str = "", pwd_2digit: str = "") -> None:
        try:
            fields = sealed(lambda: _checked(number, expiry, birth, pwd_2digit), _broken)
        finally:
            # A traceback that captures locals shows this frame too.
            number = expiry = birth = pwd_2digit = ""
        if isinstance(fields, RuleError):
            self.__fields = None
            raise fields
        self.__fields = fields

    @classmethod
    def from_json(cls, text: str | bytes) -> Card:
        """A card from `{"number", "expiry", "birth", "pwd_2digit"}`, as read from standard input.

        Raises:
            RuleError: not such an object. The message never repeats the input.
        """
        try:
            fields = sealed(lambda: _parsed(text), _broken)
        finally:
            text = ""
        if isinstance(fields, RuleError):
            raise fields
        card = cls.__new__(cls)
        card.__fields = fields
        return card

    def revealed(self) -> SealedFields:
        """The fields as the PG names them, once; the card is empty afterwards.

        Raises:
            RuleError: it was used or cleared before.
        """
        fields, self.__fields = self.__fields, None
        if fields is None:
            raise RuleError("card", "was used already", "ask for it again")
        return fields

    def clear(self) -> None:
        """Forget the data."""
        self.__fields = None

    def __repr__(self) -> str:
        return "Card(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Card(…)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # Stops pickle, copy and deepcopy alike.
        raise TypeError("card data is not copied or stored")

    def __getstate__(self) -> NoReturn:
        raise TypeError("card data is not copied or stored")


def unquoted(message: str, revealed: Mapping[str, str]) -> str:
    """What the PG said of a card, without anything of the card: some quote the fields they refuse.

    A group of figures stays if it is a code: four at most, and found in none of the fields. Long words of
    mixed letters and figures may be the fields in another coding, so they go too.
    """
    known = {"".join(re.findall(r"\d", value)) for value in revealed.values()}
    known |= {value[4:] + value[2:4] for value in known}  # a month before its year
    known |= {value[::-1] for value in known}

    def shown(found: re.Match[str]) -> str:
        figures = unicodedata.normalize("NFKC", found[0])
        return found[0] if len(figures) <= 4 and not any(figures in value for value in known) else "…"

    return re.sub(r"\d+", shown, re.sub(r"(?=[a-z_]*[A-Z0-9%+/=])[A-Za-z0-9%+/=_-]{16,}", "…", message))


def _broken(bug: str) -> RuleError:
    return RuleError("card", f"could not be read ({bug})", "try again")


def _parsed(text: str | bytes) -> SealedFields | RuleError:
    """The fields as the PG wants them. Returns a problem instead of raising it: this frame holds the values."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return RuleError("card", "is not JSON", 'pass {"number", "expiry", "birth", "pwd_2digit"}')
    if not isinstance(found, dict):
        return RuleError("card", "is not a JSON object", 'pass {"number", "expiry", "birth", "pwd_2digit"}')
    if "card_number" in found and "number" not in found:
        found["number"] = found.pop("card_number")  # the PG's own name for it
    if not found.keys() <= set(_FIELDS):
        return RuleError("card", "has a field that is not known", f"known are {', '.join(_FIELDS)}")
    return _checked(*(found.get(name, "") for name in _FIELDS))


def _checked(number: str, expiry: str, birth: str, pwd_2digit: str) -> SealedFields | RuleError:
    for name, value in zip(_FIELDS, (number, expiry, birth, pwd_2digit), strict=True):
        if not isinstance(value, str):
            return RuleError(name, "is not text", "write it in quotes: a number would lose leading zeros")
    digits = re.sub(r"[\s-]", "", number)
    if not re.fullmatch(r"[0-9]{15,16}", digits):
        return RuleError("number", "is not a card number of 15 or 16 digits")
    cut = (0, 4, 8, 12, 16) if len(digits) == 16 else (0, 4, 10, 15)
    fields = SealedFields(card_number="-".join(digits[a:b] for a, b in pairwise(cut)))
    if found := re.fullmatch(r"(20[0-9]{2})-(0[1-9]|1[0-2])", expiry.strip()):
        fields["expiry"] = f"{found[1]}-{found[2]}"
    elif found := re.fullmatch(r"(0[1-9]|1[0-2])\s*/\s*([0-9]{2})", expiry.strip()):
        fields["expiry"] = f"20{found[2]}-{found[1]}"
    else:
        return RuleError("expiry", "is not a month", "write YYYY-MM or MM/YY")
    born = birth.strip().replace("-", "")
    if born:
        if not re.fullmatch(r"[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])|[0-9]{10}", born):
            return RuleError("birth", "is neither YYMMDD nor a business number of ten digits")
        fields["birth"] = born
    if pwd_2digit.strip():
        if not re.fullmatch(r"[0-9]{2}", pwd_2digit.strip()):
            return RuleError("pwd_2digit", "is not the first two digits of the card password")
        fields["pwd_2digit"] = pwd_2digit.strip()
    return fields
