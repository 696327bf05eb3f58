"""Events at the terminal: one line of JSON each, marked once it is written out, told again on request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Shell

CHECKOUT = Path(__file__).parents[2]


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_event_is_one_line_and_comes_once(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly")
    said = shop("events", "deliver")
    assert (said.status, said.err) == (0, "")
    told = lines(said.out)
    assert {"customer.added", "card.registered", "subscription.activated", "invoice.paid"} <= {one["topic"] for one in told}
    assert {"id", "key", "version", "payload", "occurred_at", "subscription_id"} <= told[0].keys()
    assert shop("events", "deliver").out == ""


def test_a_limit_leaves_the_rest_for_the_next(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly")
    first, rest = lines(shop("events", "deliver", "--limit", "2").out), lines(shop("events", "deliver").out)
    assert len(first) == 2
    assert not {one["key"] for one in first} & {one["key"] for one in rest}


def test_what_was_delivered_comes_again_when_asked_for(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly")
    told = lines(shop("events", "deliver").out)
    assert shop.does("events", "replay", told[-1]["id"], "--actor", "sora")["replayed"] == 1
    assert lines(shop("events", "deliver").out) == told[-1:]
    assert shop.does("events", "replay", "--since", "2026-12-01T10:00+09:00")["replayed"] == len(told)
    assert shop.does("events", "replay", "--since", "2030-01-01T10:00+09:00")["replayed"] == 0


def test_a_replay_of_nothing_in_particular_is_refused_in_one_line(shop: Shell) -> None:
    for words in ((), ("nobody",), ("--since", "real"), ("--since", "yesterday")):
        said = shop("events", "replay", *words)
        assert said.status == 2
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert len(said.err.splitlines()) == 1


def test_a_reader_that_leaves_early_finds_the_rest_the_next_time(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly")
    env = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    start = [sys.executable, "-m", "billing", "events", "deliver"]
    with subprocess.Popen(start, cwd=shop.home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.close()
        assert (writer.wait(60), writer.stderr.read()) == (141, b"")  # type: ignore[union-attr]
    assert "invoice.paid" in {one["topic"] for one in lines(shop("events", "deliver").out)}
