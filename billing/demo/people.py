"""People: a price, a card, and what they will do. Records only; who they are stands in `cast.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from random import Random
from zoneinfo import ZoneInfo

from plans.calendar import Interval, Unit

SEOUL = ZoneInfo("Asia/Seoul")
OPENS_ON = date(2028, 1, 31)
"""The shop opens on a 31st of January in a leap year: the two days calendars get wrong are both ahead."""
LEAP_DAY = date(2028, 2, 29)


class Deed(StrEnum):
    """What someone does on a day."""

    JOIN = "join"
    NEW_CARD = "new_card"
    CANCEL_AT_END = "cancel_at_end"
    CANCEL_NOW = "cancel_now"
    UNCANCEL = "uncancel"
    PAUSE = "pause"
    RESUME = "resume"
    TROUBLE = "trouble"  # not theirs: what the PG or the issuer does to their next charges


@dataclass(frozen=True, slots=True)
class Plastic:
    """A test card: the name of its behaviour in `MAGIC_CARDS`, and the last month it is good for."""

    behaviour: str = "approves"
    expiry: str = "2035-12"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault of the sandbox that strikes this subscriber's next charges `times` times."""

    fault: str
    times: int = 1
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One deed at one moment. A JOIN may bring several cards: the next is tried when one is refused."""

    at: datetime
    deed: Deed
    cards: tuple[Plastic, ...] = ()
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One person or company of the demo.

    Args:
        start_on: first local day, when it is not the day of joining.
        trial_days: overrides the price's own.
        answers_after_days: how long until they register another card once they are asked to; None: never.
    """

    external_id: str
    name: str
    price: str
    steps: tuple[Step, ...]
    quantity: int = 1
    start_on: date | None = None
    trial_days: int | None = None
    answers_after_days: int | None = None
    role: str = ""

    @property
    def email(self) -> str:
        """An address nobody can have."""
        return f"{self.external_id}@example.com"

    @property
    def tel(self) -> str:
        """A number that is not assigned in Korea."""
        return f"010-0000-{int(self.external_id[-4:]):04d}"


def ends_on(months: int) -> date:
    """The last day: so many months after the leap day, by the catalogue's own calendar (12 → 28 Feb 2029)."""
    return Interval(1, Unit.MONTH).after(LEAP_DAY, months)


def moment(day: date, hour: int = 11, minute: int = 0) -> datetime:
    """A local moment in Seoul."""
    return datetime.combine(day, time(hour, minute), SEOUL)


_SURNAMES = "김이박최정강조윤장임한오서신권황안송류홍"
_GIVEN = (
    "하늘", "서연", "지우", "민준", "도윤", "예준", "시우", "주원", "지호", "서준",
    "하윤", "서윤", "지유", "채원", "수아", "지아", "다은", "은우", "유준", "건우",
    "현우", "지훈", "선우", "연우", "정우", "승우", "수빈", "예린", "가은", "나윤",
    "소율", "다인", "유나", "태윤", "민서", "해인", "보람", "새봄", "여름", "가온",
)  # fmt: skip
_FIRMS = (
    "누리", "한빛", "가람", "다온", "새론", "미르", "라온", "아라",
    "예솔", "푸른", "도담", "해오름", "마루", "나래", "온새", "별하",
)  # fmt: skip


@dataclass(slots=True)
class NameBook:
    """Hands out names and ids, never the same name twice in a row of reasonable length."""

    rng: Random
    count: int = 0
    _people: list[str] = field(default_factory=list)

    def person(self) -> tuple[str, str]:
        """The next external id and a person's name."""
        if not self._people:
            self._people = [surname + given for surname in _SURNAMES for given in _GIVEN]
            self.rng.shuffle(self._people)
        return self._next_id(), self._people.pop()

    def named(self, name: str) -> tuple[str, str]:
        """The next external id for someone whose name is given."""
        return self._next_id(), name

    def firm(self) -> tuple[str, str]:
        """The next external id and a company's name."""
        return self._next_id(), f"(주){self.rng.choice(_FIRMS)}{self.rng.choice(('소프트', '랩스', '상사', '디자인', '물류'))}"

    def _next_id(self) -> str:
        self.count += 1
        return f"user-{self.count:04d}"


def days_between(first: date, last: date) -> Sequence[date]:
    """Every day from `first` to `last`, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
