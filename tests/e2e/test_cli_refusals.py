"""Wrong inputs: the exit status, one line that names the field, and nothing changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.e2e.conftest import PLAN, Shell

UNREACHABLE = "postgresql://someone:hunter2@127.0.0.1:1/billing"

# words · environment · exit status · what the line names
WRONG = [
    ("subscription add mina nope", {}, 2, "price: there is no price 'nope'; list what there is with `billing plan list`"),
    ("subscription add nobody pro-monthly", {}, 2, "customer:"),
    ("subscription add mina pro-monthly --quantity 0", {}, 2, "quantity:"),
    ("subscription add mina pro-monthly --quantity 2.5", {}, 2, "--quantity:"),
    ("subscription add mina pro-monthly --start 2026-02-30", {}, 2, "--start:"),
    ("subscription add mina pro-monthly --start 1999-12-31", {}, 2, "start:"),
    ("subscription add mina pro-monthly --trial-days -1", {}, 2, "trial_days:"),
    ("subscription show nope", {}, 2, "subscription:"),
    ("subscription cancel nope --yes", {}, 2, "subscription:"),
    ("subscription list --state asleep", {}, 2, "--state:"),
    ("customer add mina", {}, 2, "external_id: 'mina' is taken"),
    ("customer add", {}, 2, "--external-id: is missing"),
    ("customer add jun --email nowhere", {}, 2, "email:"),
    ("customer add jun --time-zone Mars/Olympus", {}, 2, "time_zone:"),
    ("customer add jun --actor=", {}, 2, "--actor:"),
    ("customer show nobody", {}, 2, "customer:"),
    ("customer list --limit 0", {}, 2, "--limit:"),
    ("clock set 2026-12-24", {}, 2, "has no offset"),
    ("clock set 2026-12-24T10:00", {}, 2, "has no offset"),
    ("clock set yesterday", {}, 2, "INSTANT:"),
    ("clock set 2026-11-30T10:00+09:00", {}, 2, "lies before the test clock"),
    ("clock advance soon", {}, 2, "SPAN:"),
    ("plan apply missing.toml", {}, 2, "missing.toml: cannot be read"),
    ("plan apply pro.toml broken.toml", {}, 2, "broken.toml:8: plan.prices[0].amount:"),
    ("plan show nope", {}, 2, "plan:"),
    ("plan archive nope --yes", {}, 2, "plan:"),
    ("retry 99", {}, 2, "invoice:"),
    ("invoice show 99", {}, 2, "invoice:"),
    ("invoice void 99 --reason x --yes", {}, 2, "invoice:"),
    ("attempt resolve nope --as paid --reason x --yes", {}, 2, "attempt:"),
    ("attempt resolve nope --as maybe", {}, 2, "--as:"),
    ("card remove mina nope --yes", {}, 2, "card:"),
    ("card list nobody", {}, 2, "customer:"),
    ("freeze on", {}, 2, "reason: is missing"),
    ("scheduler --buckets 9-3", {}, 2, "--buckets:"),
    ("sandbox --fault gremlins=1", {}, 2, "--fault:"),
    ("sandbox --webhook https://example.com/hook", {}, 2, "--webhook:"),
    ("db upgrade 9999", {}, 2, "revision:"),
    ("nonsense", {}, 2, "No such command"),
    ("renew --nonsense", {}, 2, "No such option"),
    ("renew", {"BILLING_MODE": "play"}, 2, "BILLING_MODE:"),
    ("renew", {"BILLING_MODE": "live"}, 2, "BILLING_IMP_KEY: is missing"),
    ("renew", {"BILLING_MODE": "test", "BILLING_IMP_KEY": "k"}, 2, "BILLING_IMP_SECRET: is missing"),
    ("renew", {"BILLING_TIME_ZONE": "Seoul"}, 2, "BILLING_TIME_ZONE:"),
    ("renew", {"BILLING_CHARGE_HOURS": "late"}, 2, "BILLING_CHARGE_HOURS:"),
    ("renew", {"BILLING_GATEWAY_URL": "ftp://pg"}, 2, "BILLING_GATEWAY_URL:"),
    ("renew", {"BILLING_DATABASE_URL": "mysql://db"}, 2, "BILLING_DATABASE_URL:"),
    ("renew", {"BILLING_FAULTS": "K99"}, 2, "BILLING_FAULTS:"),
    ("renew", {"BILLING_SANDBOX_FAULTS": "gremlins"}, 2, "BILLING_SANDBOX_FAULTS:"),
    ("renew", {"BILLING_DATABASE_URL": UNREACHABLE}, 3, "PostgreSQL database billing at 127.0.0.1:1"),
    (
        "renew",
        {"BILLING_DATABASE_URL": "sqlite:///elsewhere.db"},
        3,
        "there is no database elsewhere.db here; run `billing init`",
    ),
    ("verify", {"BILLING_GATEWAY_URL": "http://127.0.0.1:1"}, 3, "127.0.0.1:1"),
    ("renew", {"BILLING_MODE": "test", "BILLING_IMP_KEY": "k", "BILLING_IMP_SECRET": "s"}, 4, "made for mode sandbox, not test"),
    ("renew", {"BILLING_IMP_KEY": "another"}, 4, "another PG account"),
]


@pytest.mark.parametrize(("words", "env", "status", "names"), WRONG)
def test_a_wrong_input_is_refused_in_one_line(shop: Shell, words: str, env: dict[str, str], status: int, names: str) -> None:
    (shop.home / "broken.toml").write_text(PLAN.replace("9900", "-1"))
    before, files = _rows(shop), set(shop.files())

    said = shop(*words.split(), env=env)
    assert (said.status, said.out) == (status, "")
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert names in line
    assert "Traceback" not in line
    assert "hunter2" not in line

    as_json = shop(*words.split(), "--json", env=env)
    assert as_json.status == status
    error = as_json.document["error"]
    assert set(error) >= {"kind", "field", "problem", "cure", "message"}
    assert names in error["message"]
    assert _rows(shop) == before
    assert {name for name in shop.files() if not name.endswith(("-wal", "-shm"))} <= files


def _rows(shell: Shell) -> dict[str, list[object]]:
    found = {}
    with sqlite3.connect(shell.home / "billing.db") as one:
        for (table,) in one.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
            found[table] = one.execute(f"SELECT * FROM {table}").fetchall()
    one.close()
    return found


@pytest.mark.parametrize(
    "words", ["plan apply pro.toml", "customer add mina", "freeze on --reason x", "renew", "scheduler", "doctor"]
)
def test_in_the_wrong_directory_nothing_is_made(shell: Shell, words: str) -> None:
    assert shell(*words.split()).status == 3
    assert set(shell.files()) == {"pro.toml"}


def test_every_problem_of_every_plan_file_is_named(shell: Shell) -> None:
    (shell.home / "bad.toml").write_text('[plan]\ncode = "PRO"\n\n[[plan.prices]]\namount = "9900"\ncolour = 3\n')
    said = shell("plan", "apply", "pro.toml", "bad.toml", "nofile.toml")
    assert said.status == 2
    lines = said.err.splitlines()
    assert len(lines) >= 6
    assert all(line.startswith("error: ") for line in lines)
    assert {"plan.code", "plan.prices[0].amount", "plan.prices[0].colour"} <= {line.split(": ")[2] for line in lines[:-1]}
    document = shell("plan", "diff", "bad.toml", "--json").document
    assert len(document["error"]["problems"]) == len(lines) - 1


def test_a_bug_of_ours_is_one_line_and_a_file_with_the_traceback(shop: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from billing.store.views import Views

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("card 4242-4242-4242-4242")

    monkeypatch.setattr(Views, "customers", broken)
    said = shop("customer", "list")
    assert (said.status, said.out) == (70, "")
    (line,) = said.err.splitlines()
    assert line.startswith("error: internal error: ZeroDivisionError (log: ")
    log = Path(line.partition("(log: ")[2].partition(")")[0])
    text = log.read_text()
    log.unlink()
    assert "Traceback" in text
    assert "4242" not in text


def test_an_interrupt_ends_with_130(shop: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from billing.store.views import Views

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Views, "customers", interrupted)
    assert shop("customer", "list").status == 130
    assert shop("customer", "list", "--json").document["error"]["kind"] == "interrupted"
