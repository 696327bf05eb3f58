"""Everything that talks to the PG, times everything that can go wrong there: nothing secret comes to light."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from billing.key_in import KeyIn
from tests.leak.kit.stage import FIELD_QUOTES, QUOTES, WIRE, Failure, Stage, changes, refuses

Set = Callable[[], Stage]


def _add(stage: Stage) -> Any:
    try:
        return stage.app.cards.add("plain", stage.card(), actor="test")
    finally:
        stage.nasty.heal()
        stage.later(minutes=20)
        stage.app.cards.sweep()


def _charge(stage: Stage) -> Any:
    try:
        return stage.app.worker.renew()
    finally:
        stage.nasty.heal()
        for _ in range(3):
            stage.later(minutes=40)
            stage.app.worker.renew()


def _look(stage: Stage) -> Any:
    """A charge whose answer was lost, and then the look-up is what fails."""
    found = stage.nasty
    found.fail("POST /subscribe/payments/again", WIRE["reset after"])
    armed = _ARMED[:]
    stage.app.worker.renew()
    found.fail(*armed[0])
    for _ in range(2):
        stage.later(minutes=40)
        stage.app.worker.renew()
    found.heal()
    stage.later(minutes=40)
    return stage.app.worker.renew()


def _type_in(stage: Stage, *, keeps: bool = False) -> Any:
    """The renewal is declined, somebody types a card in, and the engine finds out what became of it."""
    owed = stage.owed()
    try:
        return KeyIn(stage.app).charge(owed, stage.card(), keeps=keeps)
    finally:
        stage.nasty.heal()
        for _ in range(3):
            stage.later(minutes=40)
            stage.app.worker.renew()


def _type_in_and_keep(stage: Stage) -> Any:
    return _type_in(stage, keeps=True)


_ARMED: list[tuple[str, Failure]] = []


def _refund(stage: Stage) -> Any:
    (invoice,) = stage.app.views.invoices(state="paid", of="mina", limit=1, after=None)
    try:
        return stage.app.refunds.request(invoice["id"], amount=1000, reason="a reason", actor="test")
    finally:
        stage.nasty.heal()
        stage.later(minutes=40)
        stage.app.worker.renew()


def _settle(stage: Stage) -> Any:
    (paid,) = stage.app.gateway.list_payments().facts
    return stage.app.settle([paid.merchant_uid])


def _remove(stage: Stage) -> Any:
    (key,) = stage.app.views.cards("mina")
    return stage.app.cards.remove("mina", key["id"], actor="test")


def _prepare(stage: Stage) -> Any:
    return stage.app.gateway.prepare("gd1", 100), stage.app.gateway.prepared("gd1")


def _lists(stage: Stage) -> Any:
    return stage.app.gateway.list_payments(), stage.app.gateway.channels()


# what is done · the request that fails · whether the PG hears the card in it
DEEDS: dict[str, tuple[Callable[[Stage], Any], str, bool]] = {
    "card add": (_add, r"POST /subscribe/customers/", True),
    "card look-up": (_add, r"GET /subscribe/customers/", False),
    "card remove": (_remove, r"DELETE /subscribe/customers/", False),
    "card charge": (_type_in, r"POST /subscribe/payments/onetime", True),
    "card charge, kept": (_type_in_and_keep, r"POST /subscribe/payments/onetime", True),
    "look-up of the kept card": (_type_in_and_keep, r"GET /subscribe/customers/", False),
    "charge": (_charge, r"POST /subscribe/payments/again", False),
    "probe": (_charge, r"GET /payments", False),
    "look-up": (_look, r"GET /payments", False),
    "token": (_charge, r"POST /users/getToken", False),
    "token for a card": (_add, r"POST /users/getToken", False),
    "refund": (_refund, r"POST /payments/cancel", False),
    "settle": (_settle, r"GET /payments\?", False),
    "lists": (_lists, r"GET /(payments/status|users/pg)", False),
    "prepare": (_prepare, r"/payments/prepare", False),
}


def _failures(hears_the_card: bool) -> dict[str, Failure]:
    quotes = QUOTES | (FIELD_QUOTES if hears_the_card else {})
    return (
        WIRE
        | {f"quotes {name}": refuses(quote) for name, quote in quotes.items()}
        | {f"quotes {name}, code 1, HTTP 400": refuses(quotes[name], code=1, status=400) for name in ("dashes", "the token")}
        | {
            "quotes in fail_reason": changes(status=lambda _: "failed", fail_reason=QUOTES["Korean around it"]),
            "quotes in card_name": changes(card_name=QUOTES["dashes"]),
            "shows the number unmasked": changes(card_number=QUOTES["blanks"]),
        }
    )


PATHS = [(deed, name) for deed, (_, _, hears) in DEEDS.items() for name in _failures(hears)]


@pytest.mark.parametrize(("deed", "failure"), PATHS, ids=[f"{deed}: {name}" for deed, name in PATHS])
def test_nothing_secret_comes_to_light(stage: Set, deed: str, failure: str) -> None:
    act, where, hears = DEEDS[deed]
    one = stage()
    armed = (where, _failures(hears)[failure])
    one.nasty.fail(*armed)
    _ARMED[:] = [armed]
    assert one.run(act) == []
    assert one.nasty.failed, "the path was not walked"


def test_there_are_paths_enough() -> None:
    assert len(PATHS) >= 300
