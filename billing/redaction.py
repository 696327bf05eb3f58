"""What must never be read in a log line or an error message, whoever wrote it there."""

from __future__ import annotations

import re

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

# 13 to 19 digits, grouped by blanks or hyphens or not, standing alone: ids of ours and of the PG carry
# letters right before or after their digits, a UUID carries more hyphens. No check digit is asked
# for, because test cards have none.
_CARD = re.compile(r"(?<![\w-])[0-9](?:[ -]?[0-9]){12,18}(?![\w-])")
_PAIR = re.compile(
    rf"""(["']?\b(?:{"|".join(sorted(SECRET_KEYS))})\b["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,;&}})]+)""", re.IGNORECASE
)
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127, 0x85, 0x2028, 0x2029)} | {9: " ", 10: "\\n", 13: "\\r"}


def redacted(text: str) -> str:
    """`text` without card-like numbers and without the values of secret names."""
    return _CARD.sub(HIDDEN, _PAIR.sub(rf"\1{HIDDEN}", text))


def one_line(text: str) -> str:
    """`text` on one line: a buyer's name cannot fake a second log entry or move the cursor of a terminal."""
    return text.translate(_CONTROLS)
