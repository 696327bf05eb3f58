"""The tests of this folder can fail: a canary let out on purpose is found in every sink and in every form."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import sqlite3
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from billing.gateway.sealed import Sealed, SealedFields
from billing.ports import Token
from tests.leak.kit.canaries import Canaries, Matcher
from tests.leak.kit.sinks import Witness, leaks, shape_of
from tests.leak.kit.stage import Stage

C = Canaries(others={"token": "canary-token-Zq8Rw3Yx"})
DB = "books/billing.db"


def _raise(problem: BaseException) -> None:
    raise problem


def _noted(stage: Stage) -> None:
    problem = ValueError("x")
    problem.add_note(C.secret)
    raise problem


def _hidden_behind(stage: Stage) -> None:
    try:
        raise ValueError(C.secret)
    except ValueError:
        raise RuntimeError("clean") from None


def _in_a_frame(stage: Stage) -> None:
    # A frame that is not the tests' own: the locals of `loads` hold the document.
    json.loads(C.secret)


def _wal(stage: Stage) -> None:
    with sqlite3.connect(stage.home / "books" / "billing.db") as one:
        one.execute("UPDATE billing_customer SET name = ?", (C.dashed(),))
    stage.kept = one  # type: ignore[attr-defined]  # open: the row is in the -wal alone


def _deleted(stage: Stage) -> None:
    stage.kept = one = sqlite3.connect(stage.home / "books" / "billing.db")  # type: ignore[attr-defined]
    for statement in ("INSERT INTO billing_counter VALUES (?, 1)", "DELETE FROM billing_counter WHERE name = ?"):
        with one:
            one.execute(statement, (C.secret,))


def _died(stage: Stage) -> None:
    thread = threading.Thread(target=_raise, args=(ValueError(C.secret),))
    thread.start()
    thread.join()


def _file(stage: Stage) -> None:
    (stage.home / "books" / "billing-error-x.log").write_text(C.secret)


LETS_OUT: dict[str, Callable[[Stage], Any]] = {
    "result": lambda stage: {"answer": C.secret},
    "stdout": lambda stage: sys.stdout.write(C.dashed()),
    "stderr": lambda stage: sys.stderr.write(C.birth),
    "a log record": lambda stage: logging.getLogger("billing.x").debug("said %s", C.secret),
    "a field of a log record": lambda stage: logging.getLogger("sqlalchemy").debug("x", extra={"inner": {"number": C.number}}),
    "the traceback of a log record": lambda stage: logging.getLogger("x").error("x", exc_info=ValueError(C.key)),
    "a warning": lambda stage: warnings.warn(C.secret, stacklevel=1),
    "a dying thread": _died,
    "the text of an exception": lambda stage: _raise(ValueError(C.expiry)),
    "the arguments of an exception": lambda stage: _raise(UnicodeDecodeError("ascii", C.secret.encode(), 0, 1, "no")),
    "the note of an exception": _noted,
    "what an exception hides": _hidden_behind,
    "the frames of an exception": _in_a_frame,
    "the write-ahead log": _wal,
    "a row deleted since": _deleted,
    "a file left behind": _file,
}


@pytest.mark.parametrize("sink", LETS_OUT)
def test_a_canary_in_any_sink_is_found(stage: Callable[[], Stage], sink: str) -> None:
    one = stage()
    assert one.run(LETS_OUT[sink]) != []
    if hasattr(one, "kept"):
        one.kept.close()


def test_nothing_is_found_where_nothing_is(stage: Callable[[], Stage]) -> None:
    assert stage().run(lambda one: one.app.views.customers(limit=10, after=None)) == []


FORMS = {
    "plain": C.number,
    "dashes": C.dashed(),
    "blanks": C.dashed(" "),
    "dots": C.dashed("."),
    "lines": "\n".join(C.number),
    "JSON": json.dumps(C.card()),
    "URL-encoded": quote(json.dumps(C.card())),
    "every sign encoded": "".join(f"%{ord(digit):x}" for digit in C.number),
    "backwards": C.number[::-1],
    "first half": C.number[:8],
    "second half": C.number[8:],
    "the middle": f"537983 {C.number[6:12]} 7711",
    "base64": base64.b64encode(C.number.encode()).decode(),
    "base64 of JSON": base64.b64encode(json.dumps(C.card()).encode()).decode(),
    "hexadecimal": C.number.encode().hex(),
    "UTF-16": C.number.encode("utf-16-le").decode("latin-1"),
    "expiry as MM/YY": "08/37",
    "birth with its century": "1973-11-29",
    "password": "pwd_2digit='83'",
    "secret": C.secret,
    "half a secret": C.secret[:15],
    "key": C.key,
    "token": C.words()["token"],
    "password of the database": C.password,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_canary_in_any_form_is_found(form: str) -> None:
    assert Matcher(C).found(f"x {FORMS[form]} y")


@pytest.mark.parametrize(
    "text", ["2026-11-21T12:16:15.731129Z", "01a1fe09-1c64-75d4-8368-731129cd49f3", "537983******7711", "83", "imp_731129731129"]
)
def test_ids_instants_and_masked_cards_are_no_canaries(text: str) -> None:
    assert Matcher(C).found(text) == []


def test_our_process_log_hides_what_a_raw_record_holds() -> None:
    with Witness(is_process=True) as witness:
        log = logging.getLogger("billing.x")
        log.warning("card %s of %s", C.dashed(), f"postgresql://shop:{C.password}@db/x")
        log.error("broke", exc_info=ValueError(f"imp_secret={C.secret} {C.number}"), extra={"access_token": C.secret})
        warnings.warn(f"card {C.dashed()}", stacklevel=1)
        thread = threading.Thread(target=_raise, args=(ValueError(f"card {C.dashed()}"),))
        thread.start()
        thread.join()
    raw, ours = witness.said()["log records"], witness.said()["streams"]
    assert len(leaks(Matcher(C), {"raw": raw})) >= 3
    assert leaks(Matcher(C), {"ours": ours}) == []
    assert ours.count("[hidden]") >= 6
    assert all("\n" not in line and json.loads(line) for line in ours.splitlines())


# --- the types that carry secrets ----------------------------------------------------------------

CARRIERS: dict[str, Callable[[Stage], Any]] = {
    "card": lambda stage: stage.card(),
    "sealed bytes": lambda stage: Sealed(C.secret.encode()),
    "sealed fields": lambda stage: SealedFields(card_number=C.number, birth=C.birth),
    "token": lambda stage: Token(C.words()["token"], "fingerprint"),
    "settings": lambda stage: stage.settings,
    "keeper": lambda stage: stage.app.gateway._tokens,  # type: ignore[attr-defined]
    "engine": lambda stage: stage.app.engine,
    "instance": lambda stage: stage.app.vouching.instance,
}


@pytest.mark.parametrize("name", CARRIERS)
def test_what_carries_a_secret_never_shows_it(stage: Callable[[], Stage], name: str) -> None:
    one = CARRIERS[name](stage())
    places = {"shape": shape_of(one), "format": f"{one} {one!r} {one!s} {[one]!r} {({'x': one},)!r}"}
    assert leaks(Matcher(C), places) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["card", "sealed bytes", "sealed fields", "token"])
@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_carries_a_secret_is_not_copied(stage: Callable[[], Stage], name: str, way: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError) as caught:
        way(CARRIERS[name](stage()))
    assert Matcher(C).found(str(caught.value)) == []
