"""The simulator itself: lives keep every promise, repeat themselves to the letter, and a guard switched off is missed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from billing.simulate.ablation import ABLATIONS, SECOND_BELTS
from billing.simulate.run import live, run

BILLING = [sys.executable, "-c", "from billing.commands import main; main()", "simulate"]


def simulated(*words: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """`billing simulate` as a user runs it, in a process of its own."""
    env = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.run([*BILLING, *words], capture_output=True, text=True, env=env, check=False)


def test_lives_keep_every_promise() -> None:
    report = run(range(1, 5))

    assert report.seeds == 4
    assert [(one.seed, one.broken[0]) for one in report.failed] == []
    assert report.counts["invoices paid"] > 10
    assert report.counts["deaths"] > 5
    assert report.counts["foreign hand refused"] > 10


def test_the_same_seed_lives_the_same_life_in_any_process() -> None:
    """I18: whatever order a set or a dictionary of strings comes in."""
    lives = [json.loads(simulated("--seed", "3", "--json", hash_seed=one).stdout) for one in ("1", "2")]

    assert lives[0]["digest"] == lives[1]["digest"]
    assert lives[0] == lives[1]


def test_a_failed_life_names_the_line_that_lives_it_again() -> None:
    done = simulated("--seeds", "3", "--jobs", "1", "--without", "intent-before-wire")

    assert done.returncode == 4
    line = next(one for one in done.stdout.splitlines() if one.startswith("billing simulate --seed"))
    words, _, broken = line.partition("   # ")
    assert broken.startswith("I")

    again = simulated(*words.split()[2:])
    assert again.returncode == 4
    assert broken in again.stdout
    assert "PG" in again.stdout


@pytest.mark.parametrize("guard", ["mismatch-quarantine", "silence-is-no-refusal", "payment_kept", "audit_fixed"])
def test_a_guard_that_is_off_is_missed(guard: str) -> None:
    report = run(range(1, 40), without=guard, stops_at=1)

    assert report.failed, f"nobody missed {guard}"


def test_a_guard_that_is_off_is_on_again_afterwards() -> None:
    live(1, without="mismatch-quarantine")

    assert live(1).broken == ()


def test_second_belts_have_reasons() -> None:
    assert all(len(reason) > 20 for reason in SECOND_BELTS.values())
    assert len(ABLATIONS) >= 15
