"""Who subscribes: the roles written by hand, and everybody else drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from random import Random
from typing import TypeVar

from billing.demo.people import (
    LEAP_DAY,
    OPENS_ON,
    Deed,
    NameBook,
    Plastic,
    Step,
    Subscriber,
    Trouble,
    ends_on,
    moment,
)

STAR = "user-0001"
"""Whose life is told at the end."""

T = TypeVar("T")

_GOOD = Plastic()


def cast(size: int, months: int, seed: int) -> list[Subscriber]:
    """Return `size` subscribers whose lives play between the opening and the end.

    The first ones are written by hand, so that every kind of trouble is met even in a small cast;
    the rest are drawn. The same arguments give the same people.
    """
    rng = Random(f"cast|{seed}")  # noqa: S311 — a seed must give the same people every time
    book = NameBook(rng)
    found = [role(book) for role in _ROLES[:size]]
    return found + [_drawn(book, rng, ends_on(months)) for _ in range(size - len(found))]


def _join(day: date, *cards: Plastic, hour: int = 11, minute: int = 0) -> Step:
    return Step(moment(day, hour, minute), Deed.JOIN, cards=cards or (_GOOD,))


def _does(month: int, day: int, deed: Deed, *cards: Plastic) -> Step:
    return Step(moment(date(2028, month, day), 15), deed, cards=cards)


def _meets(month: int, day: int, *troubles: Trouble) -> Step:
    """Trouble is laid out in the morning, before that day's renewals."""
    return Step(moment(date(2028, month, day), 9), Deed.TROUBLE, troubles=troubles)


# --- roles ------------------------------------------------------------------------------------------


def _star(book: NameBook) -> Subscriber:
    """Anchored on the 31st; an answer gets lost, her card expires, her balance runs out: and she stays."""
    id, name = book.named("김하늘")
    steps = (
        _join(OPENS_ON, Plastic("expires", "2028-04"), hour=10, minute=30),
        _meets(3, 31, Trouble("lost_reply"), Trouble("lookup_lag", value="90s")),
        _meets(8, 31, Trouble("decline", times=2, value="120054")),
    )
    return Subscriber(id, name, "pro-monthly", steps, trial_days=0, answers_after_days=3, role="star")


def _leap_trial(book: NameBook) -> Subscriber:
    id, name = book.person()
    return Subscriber(id, name, "pro-yearly", (_join(LEAP_DAY - timedelta(days=14)),), role="yearly from 29 Feb, after a trial")


def _leap_now(book: NameBook) -> Subscriber:
    id, name = book.person()
    return Subscriber(id, name, "pro-yearly", (_join(LEAP_DAY),), trial_days=0, role="yearly from 29 Feb")


def _team(book: NameBook) -> Subscriber:
    id, name = book.firm()
    steps = (_join(date(2028, 2, 16)),)
    return Subscriber(id, name, "team-monthly", steps, quantity=5, start_on=date(2028, 3, 1), role="five seats, on the 1st")


def _deaf(book: NameBook) -> Subscriber:
    id, name = book.person()
    return Subscriber(id, name, "pro-weekly", (_join(date(2028, 2, 2), Plastic("deaf")),), role="every 4th answer is lost")


def _second_card_at_once(book: NameBook) -> Subscriber:
    id, name = book.person()
    steps = (_join(date(2028, 2, 3), Plastic("balance")), _does(2, 4, Deed.NEW_CARD, _GOOD))
    return Subscriber(id, name, "pro-monthly", steps, trial_days=0, role="first payment declined, completed by another card")


def _never_completed(book: NameBook) -> Subscriber:
    id, name = book.person()
    steps = (_join(date(2028, 2, 5), Plastic("lost")),)
    return Subscriber(id, name, "pro-monthly", steps, trial_days=0, role="first payment declined, never completed")


def _expired_and_gone(book: NameBook) -> Subscriber:
    id, name = book.person()
    return Subscriber(id, name, "pro-monthly", (_join(date(2028, 2, 6), Plastic("expired")),), role="expired card, no answer")


def _lost_and_replaced(book: NameBook) -> Subscriber:
    id, name = book.person()
    steps = (_join(date(2028, 2, 7), Plastic("lost")),)
    return Subscriber(id, name, "pro-monthly", steps, answers_after_days=2, role="lost card, replaced")


def _out_of_balance(book: NameBook) -> Subscriber:
    id, name = book.person()
    return Subscriber(id, name, "pro-monthly", (_join(date(2028, 2, 8), Plastic("balance")),), role="no balance to the end")


def _recovers(book: NameBook) -> Subscriber:
    id, name = book.person()
    return Subscriber(id, name, "pro-monthly", (_join(OPENS_ON, Plastic("recovers")),), trial_days=0, role="pays at the retry")


def _late(book: NameBook) -> Subscriber:
    id, name = book.person()
    return Subscriber(id, name, "pro-monthly", (_join(date(2028, 2, 9), Plastic("late")),), role="declined, then approved late")


def _leaves_at_end(book: NameBook) -> Subscriber:
    id, name = book.person()
    steps = (_join(date(2028, 2, 10)), _does(3, 20, Deed.CANCEL_AT_END))
    return Subscriber(id, name, "pro-monthly", steps, trial_days=0, role="cancels at the period's end")


def _leaves_in_trial(book: NameBook) -> Subscriber:
    id, name = book.person()
    return Subscriber(
        id, name, "pro-monthly", (_join(date(2028, 2, 11)), _does(2, 20, Deed.CANCEL_NOW)), role="leaves in the trial"
    )


def _rests(book: NameBook) -> Subscriber:
    id, name = book.person()
    steps = (_join(date(2028, 2, 5)), _does(4, 10, Deed.PAUSE), _does(5, 25, Deed.RESUME))
    return Subscriber(id, name, "pro-monthly", steps, trial_days=0, role="pauses and resumes")


def _stays_after_all(book: NameBook) -> Subscriber:
    id, name = book.person()
    steps = (_join(date(2028, 2, 12)), _does(3, 15, Deed.CANCEL_AT_END), _does(3, 18, Deed.UNCANCEL))
    return Subscriber(id, name, "pro-monthly", steps, role="takes a cancellation back")


def _mistypes(book: NameBook) -> Subscriber:
    id, name = book.person()
    steps = (_join(date(2028, 2, 13), Plastic("wrong_number"), _GOOD),)
    return Subscriber(id, name, "pro-monthly", steps, role="mistypes the card number")


def _struck(fault: Trouble, day: int, role: str) -> Callable[[NameBook], Subscriber]:
    """A weekly subscriber whose charge of one day in March meets `fault`; renewals fall on Tuesdays."""

    def made(book: NameBook) -> Subscriber:
        id, name = book.person()
        return Subscriber(id, name, "pro-weekly", (_join(date(2028, 2, 1)), _meets(3, day, fault)), role=role)

    return made


_ROLES: tuple[Callable[[NameBook], Subscriber], ...] = (
    _star,
    _leap_trial,
    _leap_now,
    _team,
    _deaf,
    _second_card_at_once,
    _never_completed,
    _expired_and_gone,
    _lost_and_replaced,
    _out_of_balance,
    _recovers,
    _late,
    _leaves_at_end,
    _rests,
    _mistypes,
    _struck(Trouble("error_after_approval"), 7, "502 after the approval"),
    _struck(Trouble("lost_request"), 7, "the request never arrived"),
    _struck(Trouble("server_error"), 14, "502, nothing executed"),
    _struck(Trouble("decline", value="1200B9"), 14, "issuer under maintenance"),
    _leaves_in_trial,
    _stays_after_all,
    _struck(Trouble("garbage"), 21, "half an answer"),
    _struck(Trouble("rate_limit"), 21, "told to slow down"),
    _struck(Trouble("token_revoked"), 28, "the access token dies on the way"),
)


# --- everybody else -------------------------------------------------------------------------------

_KINDS = {"on the 31st": 19, "monthly": 36, "yearly on 29 Feb": 9, "yearly": 7, "weekly": 17, "team": 12}
_CARDS = {
    "approves": 74,
    "expires": 10,
    "deaf": 5,
    "recovers": 5,
    "balance": 2,
    "lost": 1,
    "daily_limit": 1,
    "call_issuer": 1,
    "late": 1,
}
_SHORTAGE = {1: 45, 2: 25, 3: 12, 4: 8, 9: 10}  # 9: longer than the ladder
_SHORT_CODES = {"120054": 70, "120002": 15, "120016": 15}


def _drawn(book: NameBook, rng: Random, last: date) -> Subscriber:
    kind = _weighted(rng, _KINDS)
    id, name = book.firm() if kind == "team" else book.person()
    day = _joining_day(rng, last)
    one = Subscriber(
        id, name, "pro-monthly", (), answers_after_days=rng.randint(1, 6) if rng.random() < 0.65 else None, role=kind
    )
    if kind == "on the 31st":
        day = rng.choice([OPENS_ON, OPENS_ON, OPENS_ON, *_days_31(last)])
        one = replace(one, trial_days=0)
    elif kind == "yearly on 29 Feb":
        day = rng.choice((LEAP_DAY, LEAP_DAY - timedelta(days=14)))
        one = replace(one, price="pro-yearly", trial_days=0 if day == LEAP_DAY else None)
    elif kind == "yearly":
        one = replace(one, price="pro-yearly")
    elif kind == "weekly":
        one = replace(one, price="pro-weekly")
    elif kind == "team":
        first = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        one = replace(one, price="team-monthly", quantity=rng.randint(2, 9), start_on=first)
    return replace(one, steps=_life(one, day, rng, last))


def _life(one: Subscriber, day: date, rng: Random, last: date) -> tuple[Step, ...]:
    card = Plastic(_weighted(rng, _CARDS))
    is_paid_at_once = one.trial_days == 0 or one.price == "pro-weekly"
    if card.behaviour == "late" and is_paid_at_once:
        # A first payment is not tried again by itself, so its late approval would wait for reconciliation.
        card = _GOOD
    if card.behaviour == "expires":
        month = max(day + timedelta(days=40), OPENS_ON + timedelta(days=rng.randint(60, max(61, (last - OPENS_ON).days - 20))))
        card = Plastic("expires", f"{month:%Y-%m}")
    minute = rng.randint(0, 59)
    steps = [_join(day, card, hour=rng.randint(11, 20), minute=minute)]
    if card.behaviour in ("balance", "lost", "daily_limit", "call_issuer") and is_paid_at_once and rng.random() < 0.6:
        steps.append(Step(moment(day + timedelta(days=1), 13, minute), Deed.NEW_CARD, cards=(_GOOD,)))
    room = (last - day).days
    if room > 45 and rng.random() < 0.3:
        times, code = _weighted(rng, _SHORTAGE), _weighted(rng, _SHORT_CODES)
        at = moment(day + timedelta(days=rng.randint(20, room)), 9)
        steps.append(Step(at, Deed.TROUBLE, troubles=(Trouble("decline", times, code),)))
    if room > 30:
        steps += _decisions(day, room, rng)
    return tuple(sorted(steps, key=lambda step: step.at))


def _decisions(day: date, room: int, rng: Random) -> list[Step]:
    """What people do of their own accord, at most one thing each."""
    at = moment(day + timedelta(days=rng.randint(16, room)), rng.randint(12, 20), rng.randint(0, 59))
    wish = _weighted(rng, {"stay": 80, "leave at end": 9, "leave now": 4, "rest": 4, "waver": 3})
    if wish == "leave at end":
        return [Step(at, Deed.CANCEL_AT_END)]
    if wish == "leave now":
        return [Step(at, Deed.CANCEL_NOW)]
    if wish == "rest":
        return [Step(at, Deed.PAUSE), Step(at + timedelta(days=rng.randint(20, 60)), Deed.RESUME)]
    if wish == "waver":
        return [Step(at, Deed.CANCEL_AT_END), Step(at + timedelta(days=2), Deed.UNCANCEL)]
    return []


def _joining_day(rng: Random, last: date) -> date:
    """Half of them in the first weeks, the others over the rest of the year."""
    if rng.random() < 0.5:
        return OPENS_ON + timedelta(days=rng.randint(0, 29))
    return LEAP_DAY + timedelta(days=rng.randint(1, max(1, (last - LEAP_DAY).days * 3 // 4)))


def _days_31(last: date) -> list[date]:
    return [day for day in (date(2028, 3, 31), date(2028, 5, 31), date(2028, 7, 31)) if day < last]


def _weighted(rng: Random, weights: dict[T, int]) -> T:
    return rng.choices(list(weights), list(weights.values()))[0]
