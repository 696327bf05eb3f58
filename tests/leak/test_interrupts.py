"""An interrupt, or the end of memory, at every line between a card and the wire: no frame of ours shows a secret.

A trace function raises at one line of our own code, the next time at the next, until the deed ends undisturbed.
The test's own frames hold the canaries, as a host's would; they are left out.
"""

from __future__ import annotations

import gc
import json
import linecache
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import billing
from billing.errors import BillingError
from billing.gateway.card import Card
from billing.key_in import KeyIn
from tests.leak.kit.canaries import Canaries, Matcher
from tests.leak.kit.sinks import about
from tests.leak.kit.stage import FIELD_QUOTES, WIRE, Stage, refuses
from tests.wire.worlds import order

OURS = str(Path(billing.__file__).parent)
Line = tuple[str, int]


class Interrupter:
    """Raises `kind` at the first line in `files` that it has not met before, and remembers it."""

    def __init__(self, kind: type[BaseException], files: tuple[str, ...]) -> None:
        self._kind, self._files = kind, files
        self.met = _own_lines(Card.__init__.__code__) | _own_lines(Card.from_json.__func__.__code__)  # type: ignore[attr-defined]
        self.struck: Line | None = None

    def strikes(self, act: Callable[[], Any]) -> bool:
        """Do it once; False when no new line was met."""
        self.struck = None
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            act()
        finally:
            sys.settrace(before)
        return self.struck is not None

    def _enter(self, frame: FrameType, event: str, _arg: object) -> Any:
        name = frame.f_code.co_filename
        return self._line if self.struck is None and name.startswith(OURS) and name.endswith(self._files) else None

    def _line(self, frame: FrameType, event: str, _arg: object) -> Any:
        line = (frame.f_code.co_filename, frame.f_lineno)
        if event != "line" or self.struck is not None or line in self.met:
            return self._line
        self.met.add(line)
        self.struck = line
        raise self._kind


def _everywhere(striker: Interrupter, act: Callable[[], Any], matcher: Matcher) -> int:
    """Strike at every line; returns how many there were."""
    while True:
        said = ""
        try:
            if not striker.strikes(act):
                return len(striker.met)
        except BaseException as problem:  # noqa: BLE001 — what was raised, or what it was turned into
            said = about(problem)
        assert matcher.found(said) == [], striker.struck
        if striker.struck is None:  # undisturbed, and it ends with an error of its own
            return len(striker.met)


KINDS = [KeyboardInterrupt, MemoryError]
_MODULES = ("asking", "bodies", "card", "http", "iamport", "ports", "replies", "sealed", "token", "wire")
GATEWAY = tuple(f"{name}.py" for name in _MODULES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["taken", "refused", "lost"])
def test_between_the_card_and_the_wire(stage: Callable[[], Stage], kind: type[BaseException], answer: str) -> None:
    one = stage()
    if answer != "taken":
        where = "POST /subscribe/customers/"
        one.nasty.fail(where, WIRE["reset after"] if answer == "lost" else refuses(FIELD_QUOTES["the whole body"]))
    matcher = Matcher(Canaries(others={"token": one.token()}))
    count = iter(range(10_000))

    def act() -> None:
        pg = one.gateway()
        pg.issue_key(f"cu{next(count)}", one.card())

    assert _everywhere(Interrupter(kind, GATEWAY), act, matcher) > 60


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["taken", "refused", "lost"])
def test_between_a_typed_in_card_and_the_wire(stage: Callable[[], Stage], kind: type[BaseException], answer: str) -> None:
    one = stage()
    if answer != "taken":
        where = "POST /subscribe/payments/onetime"
        one.nasty.fail(where, WIRE["reset after"] if answer == "lost" else refuses(FIELD_QUOTES["the whole body"]))
    matcher = Matcher(Canaries(others={"token": one.token()}))
    count = iter(range(10_000))

    def act() -> None:
        pg = one.gateway()
        wanted = order(f"gdtyped{next(count):06d}", customer_uid="")
        pg.charge_card(wanted, one.card(), token=pg.token(), gate=lambda: True)

    assert _everywhere(Interrupter(kind, GATEWAY), act, matcher) > 60


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_verb_that_charges_it(stage: Callable[[], Stage], kind: type[BaseException]) -> None:
    matcher = Matcher(Canaries(others={"token": stage().token()}))

    def act() -> None:
        one = stage()  # a charge that was armed stands in the way of the next
        owed = one.owed()
        KeyIn(one.app).charge(owed, one.card(), keeps=True)

    assert _everywhere(Interrupter(kind, ("key_in.py", "keying_in.py")), act, matcher) > 50


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_verb_that_registers_it(stage: Callable[[], Stage], kind: type[BaseException]) -> None:
    one = stage()
    matcher = Matcher(Canaries(others={"token": one.token()}))

    def act() -> None:
        one.app.cards.add("plain", one.card(), actor="test")

    assert _everywhere(Interrupter(kind, ("registration.py",)), act, matcher) > 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["fields", "JSON"])
def test_while_a_card_is_made(kind: type[BaseException], way: str) -> None:
    canaries = Canaries()
    matcher = Matcher(canaries)
    text = json.dumps(canaries.card())
    striker = Interrupter(kind, ("card.py", "sealed.py"))
    assert _everywhere(striker, lambda: Card(**canaries.card()) if way == "fields" else Card.from_json(text), matcher) > 25


def _own_lines(code: CodeType) -> set[Line]:
    """The lines of a card's maker on which its arguments are still there: before its seal, and while it clears them.

    They show what the caller's own frame shows anyway; no other line does.
    """
    lines = {line for _, _, line in code.co_lines() if line is not None}
    clearing = ("try:", "number = expiry", 'text = ""')
    return {(code.co_filename, line) for line in lines if linecache.getline(code.co_filename, line).strip().startswith(clearing)}


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_charge(stage: Callable[[], Stage], kind: type[BaseException]) -> None:
    one = stage()
    matcher = Matcher(Canaries(others={"token": one.token()}))
    count = iter(range(10_000))

    def act() -> None:
        pg = one.gateway()
        list(pg.charge([order(f"gdleak{next(count):06d}")], token=pg.token(), gate=lambda: True))

    assert _everywhere(Interrupter(kind, GATEWAY), act, matcher) > 60


def test_nothing_keeps_a_card_alive_after_the_call(stage: Callable[[], Stage]) -> None:
    """Taken, refused or lost: no object that the collector can reach still refers to the number."""
    one = stage()

    def made() -> Card:
        return Card(number="".join(PARTS), expiry="2038-01", birth="650102")

    def add() -> None:
        with suppress(BillingError):
            one.app.cards.add("plain", made(), actor="test")

    def charge() -> None:
        pg = one.gateway()
        pg.charge_card(order("gdtyped", customer_uid=""), made(), token=pg.token(), gate=lambda: True)

    for where, act in (("customers/", add), ("payments/onetime", charge)):
        for failure in (None, WIRE["reset after"], WIRE["HTTP 500"], refuses(lambda heard: heard.body.decode())):
            one.nasty.heal()
            if failure is not None:
                one.nasty.fail(f"POST /subscribe/{where}", failure)
            act()
            assert _alive() == []


def test_a_card_that_is_kept_is_seen() -> None:
    for kept in (
        {"body": f'{{"card_number": "{"".join(PARTS)}"}}'},
        [b"-".join(part.encode() for part in PARTS)],
        "".join(PARTS),
    ):
        KEPT.append(kept)
        assert _alive() != []
        KEPT.clear()
    assert _alive() == []


PARTS = ("4111", "2222", "3333", "4454")  # never whole in this file, so that nothing but a call knows it
KEPT: list[object] = []


def _alive() -> list[str]:
    """Types of the objects that refer to the number, the collector's own view: what it does not track is looked into."""
    gc.collect()
    forms = {"".join(PARTS), "-".join(PARTS)}
    coded = {form.encode() for form in forms}

    def holds(one: object) -> bool:
        if isinstance(one, str):
            return any(form in one for form in forms)
        if isinstance(one, (bytes, bytearray)):
            return any(form in one for form in coded)
        return isinstance(one, (dict, tuple)) and not gc.is_tracked(one) and any(map(holds, gc.get_referents(one)))

    own = (forms, coded)
    return [
        type(one).__name__
        for one in gc.get_objects()
        if all(one is not mine for mine in own) and any(map(holds, gc.get_referents(one)))
    ]
