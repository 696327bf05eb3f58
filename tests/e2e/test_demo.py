"""`billing demo` as a newcomer runs it: the same ledger every time, proven books, a report that needs nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from billing.commands.root import Root
from billing.demo.cast import STAR, cast
from billing.demo.folder import prepare
from billing.demo.report import written
from billing.demo.story import story
from billing.demo.tally import tally
from billing.demo.year import Year
from billing.errors import RuleError

_CHECKOUT = Path(__file__).parents[2]
VERBS = {"demo": ("billing.commands.demo", "Watch a year go by.")}
_RUN = f"""
import sys
from billing.commands.root import Root
Root(name="billing", verbs={VERBS}).main(sys.argv[1:])
"""


def _started(folder: Path, *words: str, hash_seed: str = "0", **env: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")}
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, "demo", *words],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(_CHECKOUT), "PYTHONHASHSEED": hash_seed, "PYTHONUTF8": "1", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def _ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, int, str, str]]:
    """Two runs with the same seed side by side: one in words, one in JSON, under different hash seeds."""
    folders = [tmp_path_factory.mktemp("words"), tmp_path_factory.mktemp("json")]
    small = ("--subscribers", "20", "--months", "3")
    processes = [
        _started(folders[0], *small, hash_seed="1", COLUMNS="80"),
        _started(folders[1], *small, "--json", hash_seed="2"),
    ]
    return [(folder, *_ended(process)) for folder, process in zip(folders, processes, strict=True)]


@pytest.fixture(scope="module")
def told(twins: list[tuple[Path, int, str, str]]) -> dict[str, Any]:
    _, status, out, err = twins[1]
    assert (status, err) == (0, "")
    document: dict[str, Any] = json.loads(out)
    return document


def test_the_same_seed_gives_the_same_ledger_whatever_the_process(
    twins: list[tuple[Path, int, str, str]], told: dict[str, Any]
) -> None:
    _, status, words, err = twins[0]
    assert (status, err) == (0, "")
    assert f"digest {told['digest']}" in words


def test_the_books_are_proven(told: dict[str, Any]) -> None:
    assert told["holds"]
    assert told["differences"] == []
    assert told["double_charges"] == 0
    assert told["money"]["payments"] == told["money"]["ledger"] == told["money"]["pg"]
    assert told["money"]["payments"]["amount"] > 0
    assert told["invoices"]["numbers_have_no_gap"]


def test_every_kind_of_trouble_is_met_even_in_a_small_cast(told: dict[str, Any]) -> None:
    doubts, ways = told["doubts"], told["invoices"]["recovered"]
    assert all(doubts[name] for name in ("lost_answers", "broken_answers", "not_executed", "looked_up_later", "approved_late"))
    assert doubts["undecided"] == 0
    assert {"retry after 1 day", "another card", "next day, issuer was down"} <= ways.keys()
    assert told["invoices"]["given_up"]
    assert {"active", "canceled", "ended"} <= told["subscribers"]["by_state"].keys()


def test_the_31st_is_kept_over_a_leap_february(told: dict[str, Any]) -> None:
    days = [one["at"][:10] for one in told["story"] if "paid for" in one["words"]]
    assert days == ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]


def test_words_fit_eighty_columns_without_colour_or_animation(twins: list[tuple[Path, int, str, str]]) -> None:
    words = twins[0][2]
    assert "\x1b" not in words
    assert "\r" not in words
    # What is meant to be copied is never broken: the digest and the export lines.
    long = [line for line in words.splitlines() if len(line) > 80 and "digest" not in line and "export" not in line]
    assert long == []


def test_the_report_needs_nothing_else(twins: list[tuple[Path, int, str, str]]) -> None:
    page = (twins[0][0] / "billing-demo" / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//\w|@import|url\(|<script|<link|<img|<iframe", page)
    assert page.count("<svg") == page.count('role="img"') == page.count("<desc")
    assert page == (twins[1][0] / "billing-demo" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    with Year(cast(3, 1, 7), 1, 7, prepare(tmp_path_factory.mktemp("lived") / "out")) as year:
        assert len(list(year.days())) == len(year.calendar)
        year.close_books()
        yield year


def test_the_report_escapes_what_it_did_not_write(lived: Year) -> None:
    life = story(lived, STAR)
    evil, found = "<img src=x onerror=alert(1)>", tally(lived)
    page = written(
        replace(found, prices=dict.fromkeys(found.prices, evil)),
        replace(life, name=evil, terms=evil, moments=[replace(one, words=evil) for one in life.moments]),
    )
    assert "<img" not in page
    assert page.count("&lt;img") > len(life.moments)


def test_a_report_of_broken_books_says_so(lived: Year) -> None:
    found = tally(lived)
    broken = replace(found, money=replace(found.money, pg=found.money.pg + 1, double_charges=1))
    page = written(broken, story(lived, STAR))
    assert not broken.holds
    assert "The books contradict each other" in page
    assert "≠" in page


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--subscribers", "0"], "--subscribers"),
        (["--subscribers", "many"], "--subscribers"),
        (["--months", "25"], "--months"),
        (["--seed", "-1"], "--seed"),
        (["--out", "taken"], "--out"),
        (["--out", "foreign"], "--out"),
        (["--out", "what?"], "--out"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], named: str
) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "demo.db").write_text("not ours")
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(Root(name="billing", verbs=VERBS), ["demo", *words])
    assert (said.exit_code, said.stdout, said.stderr.count("\n")) == (2, "", 1)
    assert said.stderr.startswith(f"error: {named}: ")
    assert (tmp_path / "foreign" / "demo.db").read_text() == "not ours"


def test_a_folder_of_an_earlier_demo_is_used_again_and_a_strangers_file_is_not(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "new" / "demo")
    (folder / "demo.db").write_text("old")
    (folder / "notes.txt").write_text("mine")
    prepare(folder)
    assert not (folder / "demo.db").exists()
    assert (folder / "notes.txt").read_text() == "mine"
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "report.html").symlink_to(folder / "notes.txt")
    with pytest.raises(RuleError, match=r"report\.html that no demo made"):
        prepare(stranger)
