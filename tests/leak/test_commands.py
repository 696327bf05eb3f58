"""The command line with canaries in its environment: every verb, every shape of answer, every way to fail."""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from billing.gateway.iamport import IamportGateway
from tests.e2e.conftest import PLAN, Said, Shell, card_json
from tests.leak.kit.canaries import Canaries, Matcher
from tests.leak.kit.sinks import bytes_of, leaks

C = Canaries()
PG = "billing-sandbox.db"  # the fake PG's own file: there the token belongs


@pytest.fixture
def till(tmp_path: Path, clean_env: None, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A founded shop under canary credentials, with one customer; error files fall into its directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "pro.toml").write_text(PLAN)
    shell = Shell(tmp_path)
    shell.env = {
        "BILLING_IMP_KEY": C.key,
        "BILLING_IMP_SECRET": C.secret,
        "BILLING_INSTANCE_SECRET": C.instance,
        "BILLING_WEBHOOK_SECRET": C.instance,
    }
    for words in ("init", "plan apply pro.toml", "clock set 2026-12-01T10:00+09:00", "customer add mina"):
        shell.does(*words.split())
    return shell


def clean(shell: Shell, *heard: Said) -> list[str]:
    files = bytes_of(shell.home)
    places = {name: content for name, content in files.items() if not name.startswith(PG)}
    places |= {
        f"{number}: {name}": text for number, one in enumerate(heard) for name, text in (("out", one.out), ("err", one.err))
    }
    return leaks(Matcher(C), places) + [
        f"{name} in {PG}" for name in Matcher(C).found(files[PG]) if name not in ("key", "secret")
    ]


READS = """doctor; plan list; plan show pro; customer list; customer show mina; card list mina; subscription list; invoice list;
attempt list; events list; refund list; freeze status; db current; clock show; verify; --help; card add --help;
card charge --help; card window mina; invoice show 1; checkout list"""


def test_every_verb_in_words_and_in_json(till: Shell) -> None:
    stdin = json.dumps(C.card())
    heard = [
        till("card", "add", "mina", "--verbose", stdin=stdin),
        till("subscription", "add", "mina", "pro-monthly", "--verbose"),
    ]
    assert [one.status for one in heard] == [0, 0], heard
    for words in READS.replace("\n", " ").split(";"):
        heard += [till(*words.split(), "--verbose"), till(*words.split(), "--json")]
    heard += [till("renew", "--verbose"), till("renew", "--json")]
    assert clean(till, *heard) == []


@pytest.mark.parametrize("shape", [[], ["--json"], ["--verbose"]], ids=["words", "json", "verbose"])
@pytest.mark.parametrize(
    "fault",
    [
        "refuse_connection=1", "lost_request=1", "lost_reply=1", "server_error=1", "error_after_approval=1", "garbage=1",
        "auth_dead=1", "token_revoked=1", "rate_limit=1",
    ],
)  # fmt: skip
def test_a_card_on_a_broken_wire(till: Shell, fault: str, shape: list[str]) -> None:
    till.env["BILLING_SANDBOX_FAULTS"] = fault
    assert clean(till, till("card", "add", "mina", *shape, stdin=json.dumps(C.card())), till("renew", *shape)) == []


@pytest.mark.parametrize("shape", [[], ["--json"], ["--verbose", "--keep"]], ids=["words", "json", "verbose, kept"])
@pytest.mark.parametrize(
    "fault",
    ["", "refuse_connection=1", "lost_request=1", "lost_reply=1", "garbage=1", "auth_dead=1", "decline=1", "wrong_amount=1"],
)
def test_a_card_that_is_charged_once(till: Shell, fault: str, shape: list[str]) -> None:
    till("card", "add", "mina", stdin=card_json("4000-0000-0000-0054"))
    till("subscription", "add", "mina", "pro-monthly")
    till.env["BILLING_SANDBOX_FAULTS"] = fault
    heard = [till("card", "charge", "1", *shape, stdin=json.dumps(C.card())), till("renew", *shape[:1])]
    heard += [till("invoice", "show", "1", "--json"), till("attempt", "list", "--json"), till("events", "list", "--json")]
    assert clean(till, *heard) == []


BROKEN = {
    "no JSON": json.dumps(C.card())[:-3],
    "a list": json.dumps([C.number, C.birth]),
    "a number": json.dumps({**C.card(), "number": int(C.number)}),
    "a letter in it": json.dumps({**C.card(), "number": C.number + "x"}),
    "no such month": json.dumps({**C.card(), "expiry": f"{C.expiry}-13"}),
    "no such day": json.dumps({**C.card(), "birth": f"{C.birth}9"}),
    "a password too long": json.dumps({**C.card(), "pwd_2digit": f"{C.pwd_2digit}{C.pwd_2digit}{C.number}"}),
    "a field too many": json.dumps({**C.card(), C.number: C.secret}),
    "not UTF-8": json.dumps(C.card()) + "\udcff",
    "far too long": json.dumps(C.card()) * 80,
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("shape", [[], ["--json"]], ids=["words", "json"])
def test_a_card_that_cannot_be_read(till: Shell, name: str, shape: list[str]) -> None:
    till("subscription", "add", "mina", "pro-monthly")
    for words in (["add", "mina"], ["charge", "1"]):
        said = till("card", *words, *shape, stdin=BROKEN[name].encode("utf-8", "surrogateescape"))  # type: ignore[arg-type]
        assert said.status == 2, said
        assert clean(till, said) == []


DIES: dict[str, tuple[Callable[[], BaseException], int]] = {
    "Ctrl-C": (KeyboardInterrupt, 130),
    "no memory": (MemoryError, 70),
    "a bug that quotes": (lambda: ZeroDivisionError(f"{C.card()} imp_secret={C.secret} postgresql://u:{C.password}@h/d"), 70),
    "a bug in another coding": (lambda: UnicodeDecodeError("ascii", json.dumps(C.card()).encode(), 0, 1, "no"), 70),
    "a bug behind a bug": (lambda: RuntimeError(str(ValueError(f"카드{C.number}은"))), 70),
}


@pytest.mark.parametrize("name", DIES)
@pytest.mark.parametrize("shape", [[], ["--json"]], ids=["words", "json"])
@pytest.mark.parametrize(("words", "called"), [(["add", "mina"], "issue_key"), (["charge", "1"], "charge_card")])
def test_a_verb_that_dies_with_the_card_in_hand(
    till: Shell, name: str, shape: list[str], words: list[str], called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, status = DIES[name]

    def broken(*_: object, **__: object) -> None:
        raise make()

    monkeypatch.setattr(IamportGateway, called, broken)
    if called == "charge_card":
        till("subscription", "add", "mina", "pro-monthly")
    said = till("card", *words, *shape, "--verbose", stdin=json.dumps(C.card()))
    assert said.status == status
    files = list(till.home.glob("billing-error-*"))
    assert len(files) == (status == 70)
    assert clean(till, said) == []
    if files:
        assert files[0].stat().st_mode & 0o077 == 0


WRONG = {
    "the gateway's URL": {"BILLING_GATEWAY_URL": f"https://user:{C.password}@pg.example/?token={C.secret}"},
    "another scheme": {"BILLING_GATEWAY_URL": f"ftp://user:{C.password}@pg.example"},
    "another database": {"BILLING_DATABASE_URL": f"oracle://u:{C.password}@db.example/x"},
    "a database that is not there": {"BILLING_DATABASE_URL": f"postgresql://u:{C.password}@127.0.0.1:1/x"},
    "its password as a parameter": {"BILLING_DATABASE_URL": f"postgresql://127.0.0.1:1/x?user=u&password={C.password}"},
    "no URL at all": {"BILLING_DATABASE_URL": f"{C.password}"},
    "a mode": {"BILLING_MODE": "play"},
    "live without a channel": {"BILLING_MODE": "live", "BILLING_FAULTS": "K01=kill"},
    "a secret too short": {"BILLING_INSTANCE_SECRET": C.instance[:12]},
    "a secret of other signs": {"BILLING_WEBHOOK_SECRET": f"{C.instance} {C.secret}"},
    "another account": {"BILLING_IMP_KEY": C.key + "2"},
    "hours": {"BILLING_CHARGE_HOURS": "late"},
    "sandbox faults": {"BILLING_SANDBOX_FAULTS": "gremlins"},
    "a zone": {"BILLING_TIME_ZONE": "Seoul"},
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("words", ["renew", "renew --json", "doctor", "card add mina", "init --verbose"])
def test_settings_that_do_not_fit(till: Shell, name: str, words: str) -> None:
    said = till(*words.split(), env=WRONG[name], stdin=json.dumps(C.card()))
    assert clean(till, said) == []


def test_an_env_file_that_is_no_text(till: Shell) -> None:
    (till.home / ".env").write_bytes(b"\xff\xfeBILLING_IMP_SECRET=x")
    said = till("renew")
    assert (said.status, said.err) == (2, "error: .env: is not UTF-8 text; save it as UTF-8\n")


def test_a_command_leaves_no_core(till: Shell) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        till("plan", "list")
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (0, before[1]))
