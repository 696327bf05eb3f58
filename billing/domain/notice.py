"""Notices of the PG: an id somebody mentioned, never a fact. Pure: bytes in, checked ids out.

V1 signs nothing. A notice says which payment is worth a look; what happened to it, the PG's own record says.
Source: PortOne webhook guide V1: JSON or form, the fields imp_uid, merchant_uid, status, and cancellation_id on cancels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import parse_qsl

from billing.domain.attempt import AttemptState, ChargeAttempt
from billing.domain.patience import Patience
from billing.errors import RuleError

BODY_BYTES_MAX = 16 * 1024
DEPTH_MAX = 8
_FIELDS_MAX = 64

# What may stand in a URL of ours later. Longer or other ids are refused at the door, not cut or escaped.
# Source: PortOne REST V1 (imp_uid <= 32, merchant_uid <= 40); the status words and cancellation ids are plain words.
_ALLOWED = {
    "imp_uid": re.compile(r"[A-Za-z0-9_-]{1,32}"),
    "merchant_uid": re.compile(r"[A-Za-z0-9_-]{1,40}"),
    "status": re.compile(r"[A-Za-z_]{1,20}"),
    "cancellation_id": re.compile(r"[A-Za-z0-9_-]{1,64}"),
}
_OPTIONAL = ("cancellation_id",)
_LOOKS_KNOWN, _LOOKS_STRANGE = 6, 3


class Notice(NamedTuple):
    """One notice as somebody sent it: ids of the right shape, and nothing believed."""

    imp_uid: str
    merchant_uid: str
    status: str
    cancellation_id: str = ""

    @property
    def dedupe_key(self) -> str:
        """The same for every repetition of the same notice; its parts contain no `|`, so no two notices share one."""
        return "|".join(self)

    @property
    def tells_of_a_cancel(self) -> bool:
        """True where money may have gone back."""
        return self.status == "cancelled" or bool(self.cancellation_id)

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Notice:
        """The notice in a parsed body; fields it does not know are ignored.

        Raises:
            RuleError: a field is missing or not of its shape. The value is never repeated.
        """
        given = {name: _checked(name, fields.get(name)) for name in _ALLOWED}
        return cls(**given)


def says_nothing_new(status: str, imp_uid: str, attempt: ChargeAttempt) -> bool:
    """True when a notice tells what our books say already, so that nobody need ask the PG: most do.

    Believing it costs nothing: nothing is booked from it, and whoever forges it achieves that we do not look now.
    """
    if status == "paid":
        return attempt.state in (AttemptState.PAID, AttemptState.SURPLUS, AttemptState.MISMATCH) and attempt.imp_uid == imp_uid
    return status == "failed" and attempt.state is AttemptState.DECLINED


def next_look(looks: int, *, is_known: bool, patience: Patience) -> timedelta | None:
    """The wait after `looks` looks that found nothing; None when it is enough.

    A notice can come before the record can be seen, so one look is too few. A few are enough: our own attempts are
    looked at on their own schedule, and whatever nobody told us about, reconciliation finds.
    """
    if is_known:
        return patience.after_look(looks - 1) if looks < _LOOKS_KNOWN else None
    return patience.quiet if looks < _LOOKS_STRANGE else None


def media_type(content_type: str | None) -> str:
    """`json` or `form`.

    Raises:
        RuleError: neither, or not in UTF-8.
    """
    kind, *parameters = [part.strip().lower() for part in (content_type or "").split(";")]
    found = {"application/json": "json", "application/x-www-form-urlencoded": "form"}.get(kind)
    charsets = [one.partition("=")[2].strip(' "') for one in parameters if one.partition("=")[0].strip() == "charset"]
    if found is None or any(one not in ("utf-8", "utf8") for one in charsets):
        cure = "send application/json or application/x-www-form-urlencoded in utf-8"
        raise RuleError("content-type", "is not one a notice comes in", cure)
    return found


def fields_of(body: bytes, content_type: str | None = None) -> dict[str, object]:
    """The fields of a body, as the PG's two encodings have them.

    Args:
        content_type: the header; without one a body that begins with `{` is JSON.

    Raises:
        RuleError: too long, another encoding, broken, nested too deep, or a field stands there twice.
    """
    if len(body) > BODY_BYTES_MAX:
        raise RuleError("body", f"is longer than {BODY_BYTES_MAX} bytes")
    guessed = "application/json" if body.lstrip().startswith(b"{") else "application/x-www-form-urlencoded"
    kind = media_type(guessed if content_type is None else content_type)
    try:
        text = body.decode()
        pairs = _json_pairs(text) if kind == "json" else _form_pairs(text)
    except (ValueError, RecursionError):
        raise RuleError("body", f"is not readable as {kind}", "send what the PG's notices carry") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RuleError("body", "names a field twice")
    return fields


def checked_id(name: str, value: object) -> str:
    """An id that somebody outside named, if it is of the shape the PG's ids have: it may come to stand in a URL of ours.

    Raises:
        RuleError: names the field, never its value.
    """
    return _checked(name, value)


def _checked(name: str, value: object) -> str:
    if name in _OPTIONAL and value in (None, ""):
        return ""
    if value is None:
        raise RuleError(name, "is missing")
    if not isinstance(value, str) or not _ALLOWED[name].fullmatch(value):
        raise RuleError(name, "is not of the shape the PG's ids and words have")
    return value


def _json_pairs(text: str) -> list[tuple[str, object]]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ValueError("a name stands twice in one object")
        return fields

    value = json.loads(text, object_pairs_hook=unique)
    if not isinstance(value, dict) or is_deeper(value, DEPTH_MAX):
        raise ValueError("not an object, or too deep")
    return list(value.items())


def _form_pairs(text: str) -> list[tuple[str, object]]:
    return [*parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_FIELDS_MAX)]


def is_deeper(value: object, levels: int) -> bool:
    """True when lists and objects stand in one another more than `levels` times."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return bool(levels == 0 and isinstance(value, (dict, list))) or any(is_deeper(one, levels - 1) for one in inner)
