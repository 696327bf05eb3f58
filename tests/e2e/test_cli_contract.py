"""What scripts rely on: every verb speaks JSON, is explained, and help comes before the engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from billing.commands import attempt, finding, invoice, subscription
from billing.commands.root import VERBS, root
from billing.domain.attempt import AttemptState
from billing.domain.invoice import InvoiceState
from billing.domain.reconciliation import FindingKind
from billing.domain.subscription import SubscriptionState
from billing.flow.adjudication import Ruling
from tests.e2e.conftest import Shell

CHECKOUT = Path(__file__).parents[2]


def _leaves() -> Iterator[tuple[str, click.Command]]:
    for name in VERBS:
        command = root.loaded(name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {verb}", one) for verb, one in command.commands.items())
        else:
            yield name, command


LEAVES = dict(_leaves())
LATER = {"coupon"}


@pytest.mark.parametrize("name", LEAVES)
def test_every_verb_has_json_and_is_explained(name: str) -> None:
    command = LEAVES[name]
    options = {option for one in command.params for option in one.opts}
    assert "--json" in options
    assert command.help is not None
    assert command.help[0].isupper()
    assert command.help.partition("\n")[0].rstrip().endswith((".", "?", ",")) or "\n" in command.help
    assert all(one.help for one in command.params if isinstance(one, click.Option) and one.name not in ("name", "email", "tel"))


@pytest.mark.parametrize("name", VERBS)
def test_the_sentence_in_the_table_is_the_first_of_the_verb_itself(name: str) -> None:
    command = root.loaded(name)
    assert command.name == name
    assert command.help is not None
    assert VERBS[name][1].split()[0] == command.help.split()[0]


def test_verbs_of_later_issues_do_not_exist() -> None:
    assert not LATER & {word for name in LEAVES for word in name.split()}


def test_choices_are_the_states_there_are() -> None:
    assert set(subscription.STATES) == {one.value for one in SubscriptionState}
    assert set(invoice.STATES) == {one.value for one in InvoiceState}
    assert set(attempt.STATES) == {one.value for one in AttemptState}
    assert set(attempt.RULINGS) == {one.value for one in Ruling}
    assert set(finding.KINDS) == {one.value for one in FindingKind}


def test_help_names_every_verb_and_needs_nothing_of_the_engine() -> None:
    script = (
        "import sys\nfrom billing.commands.root import root\n"
        "try:\n    root(['--help'])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "heavy = {'sqlalchemy', 'pydantic', 'httptools', 'alembic', 'uvicorn', 'structlog', 'apscheduler'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in VERBS)


@pytest.mark.parametrize("start", [["cli.py"], ["-m", "billing"]])
def test_both_ways_to_start_it_are_the_same_command(start: list[str], tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")} | {
        "NO_COLOR": "1",
        "COLUMNS": "80",
    }
    done = subprocess.run([sys.executable, *start, "--help"], cwd=CHECKOUT, env=env, capture_output=True, text=True, check=True)
    assert "subscription" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_reader_that_leaves_early_is_no_error(shop: Shell) -> None:
    env = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    command = f"{sys.executable} -m billing events list --json | true"
    done = subprocess.run(["sh", "-c", command], cwd=shop.home, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""


READING = [
    "attempt list", "attempt show {attempt}", "card list mina", "clock show", "customer list", "customer show mina", "db check",
    "db current", "events list --topic invoice.paid", "freeze status", "invoice list --customer mina", "invoice show 1",
    "plan diff pro.toml", "plan list", "plan show pro", "renew", "subscription list", "subscription show {subscription}",
    "webhook list",    "verify",
]  # fmt: skip


def test_readers_say_one_document_or_a_page_of_words(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly")
    ids = {
        "attempt": shop.does("attempt", "list")["attempts"][0]["merchant_uid"],
        "subscription": shop.does("subscription", "list")["subscriptions"][0]["id"],
    }
    for line in READING:
        words = line.format(**ids).split()
        assert isinstance(shop(*words, "--json").document, dict)
        said = shop(*words)
        assert (said.status, said.err) == (0, ""), said
        assert said.out.strip()


def test_markup_in_a_name_is_only_a_name(shop: Shell) -> None:
    shop.does("customer", "add", "jun", "--name", "[bold red]Jun[/] [link=http://x]")
    assert "[bold red]Jun[/] [link=http://x]" in shop("customer", "list").out


def test_a_terminal_without_our_signs_gets_question_marks_and_no_error(shop: Shell) -> None:
    env = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    start = [sys.executable, "-m", "billing", "plan", "list"]
    words = subprocess.run(start, cwd=shop.home, env=env, capture_output=True, text=True, check=True)
    assert "?9,900" in words.stdout
    document = subprocess.run([*start, "--json"], cwd=shop.home, env=env, capture_output=True, text=True, check=True)
    assert json.loads(document.stdout)["plans"][0]["code"] == "pro"
