"""What a decline text means: find the code in it, look it up for this PG, name the class.

The PG passes on whatever the card network said as free text, and the code sits in it in several
shapes. The same code means different things at different PGs, so nothing is ever looked up
without `pg_provider`. What no row knows is `UNKNOWN`: soft for retries, never hard.

The rows in `decline_codes.csv` are facts from the error code documents that PortOne publishes per
PG for V1 (KG Inicis credit card sheet, NHN KCP, Toss Payments current and legacy, KakaoPay, Danal
with its two card acquirer tables, NICE Payments code list) and the refusals of the V1 REST API
itself (`portone`). The class of each row is our judgement, not the PG's.

Read on first use, not on import: 2,000 rows have no place in the start of a command line.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from functools import cached_property
from importlib.resources import files

from billing.domain.evidence import DeclineClass

_TABLES = {
    "html5_inicis": ("inicis",),
    "inicis": ("inicis",),
    "kcp": ("kcp",),
    "kcp_billing": ("kcp",),
    "kcp_quick": ("kcp",),
    "nice": ("nice",),
    "nice_v2": ("nice",),
    "tosspayments": ("tosspayments", "tosspayments-legacy"),
    "uplus": ("tosspayments-legacy", "tosspayments"),
    "kakaopay": ("kakaopay",),
    "danal_tpay": ("danal_tpay", "danal_tpay-k", "danal_tpay-l"),
}
_WRAPPED = re.compile(r"code:\s*(-?[A-Z0-9_]{1,40})")
_BRACKETED = re.compile(r"\[(-?[A-Z0-9_]{1,40})\]")
_PIPED = re.compile(r"^\s*(-?[A-Z0-9_]{1,40})\|")
# The outer shell of a wrapped answer; the PG's own code stands further in.
_HTTP_STATUSES = frozenset(map(str, (200, 400, 401, 403, 404, 405, 408, 409, 422, 429, 500, 501, 502, 503, 504)))
_REASON_MAX = 500
_NOISE = re.compile(r"[\W_]+")
_SHORTEST_MESSAGE = 4

Row = tuple[str, DeclineClass]  # message without spaces and signs, class


class DeclineTable:
    """The rows of one CSV (`pg,code,message_ko,class`), the packaged one by default. Safe to share."""

    def __init__(self, text: str | None = None) -> None:
        self._text = text

    def classify(self, pg_provider: str, fail_reason: str) -> tuple[str | None, DeclineClass]:
        """Return the code found in a decline text, None if there is none, and what the decline asks of us."""
        reason = fail_reason[:_REASON_MAX]
        provider = pg_provider.partition(".")[0].strip().lower()
        tables = _TABLES.get(provider, (provider,))
        candidates = codes_in(reason)
        message = _plain(reason)
        for code in candidates:
            rows = [row for table in tables for row in self._rows_of(table, code)]
            if rows:
                return code, _best(rows, message)
        return (candidates[0] if candidates else None), self._by_message((*tables, "portone"), message)

    def refusal(self, message: str) -> DeclineClass:
        """What a refusal by the API itself asks of us: it names no PG, only its text is known."""
        return self._by_message(("portone",), _plain(message[:_REASON_MAX]))

    def _rows_of(self, table: str, code: str) -> list[Row]:
        rows = self._codes.get((table, code), [])
        if not rows and table == "inicis":
            # Which of its two forms an Inicis billing decline carries is not documented: 120054 or 1254.
            if len(code) == 6 and code.startswith("1200"):
                rows = self._codes.get((table, "12" + code[4:]), [])
            elif len(code) == 4 and code.startswith("12"):
                rows = self._codes.get((table, "1200" + code[2:]), [])
        return rows

    def _by_message(self, tables: tuple[str, ...], message: str) -> DeclineClass:
        """The class of the longest known message inside `message`; rows that contradict each other know nothing."""
        inside = [row for table in tables for row in self._messages.get(table, []) if row[0] in message]
        if not inside:
            return DeclineClass.UNKNOWN
        longest = max(len(row[0]) for row in inside)
        classes = {row[1] for row in inside if len(row[0]) == longest}
        return classes.pop() if len(classes) == 1 else DeclineClass.UNKNOWN

    @cached_property
    def _codes(self) -> dict[tuple[str, str], list[Row]]:
        found: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
        for pg, code, message, of in self._rows:
            if code and pg != "portone":
                found[pg, code].append((message, of))
        return dict(found)

    @cached_property
    def _messages(self) -> dict[str, list[Row]]:
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for pg, _, message, of in self._rows:
            if len(message) >= _SHORTEST_MESSAGE:
                found[pg].append((message, of))
        return dict(found)

    @cached_property
    def _rows(self) -> list[tuple[str, str, str, DeclineClass]]:
        text = self._text
        if text is None:
            text = (files(__package__) / "decline_codes.csv").read_text("utf-8")
        return [
            (row["pg"], row["code"], _plain(row["message_ko"]), DeclineClass(row["class"]))
            for row in csv.DictReader(io.StringIO(text))
        ]


def codes_in(reason: str) -> list[str]:
    """The codes a decline text may carry, the most telling first; HTTP statuses are not codes."""
    found = [*_WRAPPED.findall(reason), *_BRACKETED.findall(reason), *_PIPED.findall(reason)]
    return [code for code in dict.fromkeys(found) if code not in _HTTP_STATUSES]


def _best(rows: list[Row], message: str) -> DeclineClass:
    """One code, several rows (NICE F113, Danal's acquirers): the one whose text fits, else the first."""
    fitting = [row for row in rows if row[0] and row[0] in message]
    return max(fitting, key=lambda row: len(row[0]))[1] if fitting else rows[0][1]


def _plain(text: str) -> str:
    """Text as it is compared: no spaces, no signs, one case, one Unicode form."""
    return _NOISE.sub("", unicodedata.normalize("NFKC", text)).casefold()
