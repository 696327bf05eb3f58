"""Links into the PG's window, and one-off key-in, at the terminal."""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from billing.app import Billing
from billing.errors import SettingsError
from billing.sandbox import Sandbox
from billing.settings import SANDBOX_KEY, SANDBOX_SECRET, Settings
from tests.e2e.conftest import POOR_CARD, Said, Shell, card_json, moved_to
from tests.e2e.test_cli_card_secrecy import CANARY, CHECKOUT, DIGITS, until
from tests.kit.buyer import Buyer


@pytest.fixture(scope="module")
def till_home(shop_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with jun, who has a phone and owes invoice 1, and ara, who has none and owes 2; mina paid 3."""
    shop = moved_to(tmp_path_factory.mktemp("till") / "shop", shop_home)
    for name, words in (("jun", ["--tel", "010-1234-5678"]), ("ara", [])):
        shop.does("customer", "add", name, *words)
        shop.does("card", "add", name, stdin=card_json(POOR_CARD))
        assert shop("subscription", "add", name, "pro-monthly").status == 1
    shop.does("subscription", "add", "mina", "pro-monthly")
    for name, content in FILES.items():
        (shop.home / name).write_bytes(content)
    return shop.home


@pytest.fixture
def till(till_home: Path, tmp_path: Path, clean_env: None) -> Shell:
    """A shell in a copy of it."""
    return moved_to(tmp_path / "till", till_home)


def lifetime(link: dict[str, str]) -> timedelta:
    return datetime.fromisoformat(link["expires_at"]) - datetime.now(UTC)


# --- links -----------------------------------------------------------------------------------------


def test_a_link_registers_a_card(till: Shell) -> None:
    link = till.does("card", "window", "jun", "--hours", "2", "--language", "en", "--return-url", "https://shop.example/me")[
        "link"
    ]
    assert {name: link[name] for name in ("purpose", "customer", "invoice_number")} == {
        "purpose": "card", "customer": "jun", "invoice_number": None,
    }  # fmt: skip
    assert urlsplit(link["url"])[:2] == ("http", "127.0.0.1:8000")
    assert urlsplit(link["url"]).path.startswith("/checkout/")
    assert timedelta(hours=1.9) < lifetime(link) < timedelta(hours=2.1)
    assert till.does("card", "list", "jun")["cards"][-1]["state"] == "current", "nothing is registered before it is used"


def test_a_link_that_registers_a_card_can_pay_an_invoice_with_it(till: Shell) -> None:
    assert till.does("card", "window", "jun", "--charge", "1")["link"]["invoice_number"] == 1
    assert "It registers a card of jun and pays invoice 1, until " in till("card", "window", "jun", "--charge", "1").out


def test_a_link_pays_an_open_invoice_in_one_of_several_ways(till: Shell) -> None:
    words = ["invoice", "window", "1", "--method", "card", "--method", "vbank", "--actor", "sora"]
    (till.home / "wishes.json").write_text(json.dumps({"vbank_due": "20270131"}))
    link = till.does(*words, "--options", "wishes.json")["link"]
    assert (link["purpose"], link["customer"], link["invoice_number"]) == ("invoice", "jun", 1)
    ((shown),) = till.does("invoice", "show", "1")["invoice"]["windows"]
    assert (shown["id"], shown["methods"], shown["actor"], shown["state"]) == (
        link["checkout_id"],
        ["card", "vbank"],
        "sora",
        "open",
    )


def test_the_words_hold_the_whole_link_on_one_line_and_say_how_careful_to_be(till: Shell) -> None:
    said = till("invoice", "window", "1", env={"COLUMNS": "40"})
    assert said.status == 0
    url, *rest = said.out.splitlines()
    assert url.startswith("http://127.0.0.1:8000/checkout/")
    assert len(url) > 100
    text = " ".join(rest)
    assert "It pays invoice 1 of jun, until" in text
    assert "Whoever has the link can use it" in text


def test_a_link_is_kept_nowhere(till: Shell) -> None:
    url = till.does("card", "window", "jun", "--verbose")["link"]["url"]
    token = url.rpartition("/")[2]
    said = till("invoice", "show", "1")
    for place in (*till.files().values(), said.out.encode(), said.err.encode()):
        assert token.encode() not in place


# words · what the line names
WRONG = [
    ("card window nobody", "customer: there is no customer 'nobody'"),
    ("card window jun --charge 99", "invoice: there is no invoice '99'"),
    ("card window jun --charge 3", "--charge: is no invoice of jun; choose one of `billing invoice list --customer jun`"),
    ("card window mina --charge 3", "invoice: number 3 is paid"),
    ("card window jun --hours 0", "--hours: 0 is not in the range"),
    ("card window jun --hours 721", "--hours: 721 is not in the range"),
    ("card window jun --hours soon", "--hours:"),
    ("card window jun --language fr", "language: 'fr' is not one this page speaks; choose ko or en"),
    ("card window jun --return-url javascript:alert(1)", "return_url:"),
    ("card window jun --return-url //evil.example", "return_url:"),
    ("card window jun --options nofile.json", "--options: nofile.json cannot be read: No such file or directory"),
    ("card window jun --options .", "--options: . cannot be read: Is a directory"),
    ("card window jun --options broken.json", "--options: broken.json:2 is not JSON: "),
    ("card window jun --options latin.json", "--options: latin.json is not UTF-8 text; save it as UTF-8"),
    ("card window jun --options list.json", "--options: list.json is not a JSON object"),
    ("card window jun --options huge.json", "--options: huge.json is larger than 65,536 bytes"),
    ("card window jun --options deep.json", "--options: deep.json"),
    ("card window jun --options digits.json", "--options: digits.json"),
    ("card window jun --options typo.json", "options.bypas: is not an option; did you mean bypass?"),
    ("card window jun --options amount.json", "options.amount: is not yours to set; it comes from the invoice"),
    ("card window jun --options card.json", "options.custom_data: holds what looks like a card number"),
    ("card window jun --options nan.json", "options.custom_data: is not JSON"),
    ("invoice window 99", "invoice: there is no invoice '99'"),
    ("invoice window 3", "invoice: number 3 is paid"),
    ("invoice window 1 --method cash", "methods: 'cash' is not one the PG knows; one of alipay, "),
    ("invoice window 1 --method samsungpay", "html5_inicis does not take samsungpay"),
    ("invoice window 1 --method card --method nope", "methods: 'nope' is not one the PG knows"),
    ("invoice window 1 --method 4242424242424242", "methods: holds what looks like a card number"),
    ("invoice window 2", "buyer_tel: is missing or too long, and html5_inicis opens no window without; give it to the customer"),
    ("invoice window 1 --actor=", "--actor:"),
    ("invoice window", "INVOICE: is missing"),
    ("card charge 99", "invoice: there is no invoice '99'"),
]  # fmt: skip

FILES = {
    "broken.json": b'{\n "escrow" true}',
    "latin.json": b'{"buyer_name": "\xe9"}',
    "list.json": b"[]",
    "huge.json": b'{"buyer_name": "' + b"x" * 70_000 + b'"}',
    "deep.json": b"[" * 60_000,
    "digits.json": b'{"escrow": ' + b"9" * 5_000 + b"}",
    "typo.json": b'{"bypas": {}}',
    "amount.json": b'{"amount": 1}',
    "card.json": b'{"custom_data": {"note": "4242-4242-4242-4242"}}',
    "nan.json": b'{"custom_data": {"a": NaN}}',
}


@pytest.mark.parametrize(("words", "names"), WRONG, ids=[words for words, _ in WRONG])
def test_a_wrong_wish_is_refused_in_one_line_and_leaves_no_trace(
    till_home: Path, clean_env: None, words: str, names: str
) -> None:
    till = Shell(till_home)
    before = till.files()["billing.db"]
    said = till(*words.split(), stdin=card_json())
    assert (said.status, said.out) == (2, ""), said
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert names in line
    assert "4242" not in line
    as_json = till(*words.split(), "--json", stdin=card_json())
    assert (as_json.status, as_json.document["error"]["cure"] != "") == (2, True)
    assert till.files()["billing.db"] == before


@pytest.mark.parametrize("words", ["card window jun", "invoice window 1"])
def test_in_another_mode_a_link_needs_an_address_and_a_channel(till: Shell, words: str) -> None:
    """Whether the database fits that mode is asked first, so the settings are asked alone."""
    live = {"mode": "live", "imp_key": "k", "imp_secret": "s", "channels": "live/billing=html5_inicis.MOI"}
    with pytest.raises(SettingsError, match="BILLING_PUBLIC_URL: is not set; write where the routes are mounted"):
        _ = Settings.from_env(_env_file=None, **live).public_base
    said = till(*words.split(), env={"BILLING_PUBLIC_URL": "ftp://shop.example"})
    assert (said.status, "BILLING_PUBLIC_URL" in said.err) == (2, True)


# --- what came of them ---------------------------------------------------------------------------------


@dataclass
class Pg:
    sandbox: Sandbox


@dataclass
class Desk:
    """The router's side of the same shop: where the browser of a buyer arrives."""

    app: Billing
    pg: Pg


@contextmanager
def desk(till: Shell) -> Iterator[Desk]:
    def asked(_url: str, body: bytes) -> tuple[int, bytes]:
        """The PG asks before it approves; the router would answer."""
        question = json.loads(body)
        return (500 if app.checkouts.confirm(question["merchant_uid"], question["amount"]) else 200), b"{}"

    sandbox = Sandbox(str(till.home / "billing-sandbox.db"), imp_key=SANDBOX_KEY, imp_secret=SANDBOX_SECRET, ask=asked)
    settings = Settings(_env_file=None, database_url=f"sqlite:///{till.home / 'billing.db'}")  # type: ignore[call-arg,arg-type]
    with Billing(settings, sandbox=sandbox) as app:
        yield Desk(app, Pg(sandbox))
    sandbox.close()


def browses(till: Shell, link: dict[str, str], method: str = "card") -> None:
    """The buyer follows the link, approves in the PG's window, and is brought back."""
    with desk(till) as there:
        Buyer(there, link["url"].rpartition("/")[2]).opens(method).approves().reports()  # type: ignore[arg-type]


def test_a_link_that_is_followed_registers_the_card_and_pays_what_it_was_told_to(till: Shell) -> None:
    browses(till, till.does("card", "window", "jun", "--charge", "1")["link"])
    assert [one["state"] for one in till.does("card", "list", "jun")["cards"]] == ["removed", "current"]
    shown = till.does("invoice", "show", "1")["invoice"]
    assert (shown["state"], shown["windows"][0]["state"]) == ("paid", "done")


def test_a_link_that_is_followed_pays_the_invoice(till: Shell) -> None:
    browses(till, till.does("invoice", "window", "1")["link"])
    shown = till.does("invoice", "show", "1")["invoice"]
    assert (shown["state"], [one["way"] for one in shown["attempts"]]) == ("paid", ["key", "window"])
    again = till("invoice", "window", "1")
    assert (again.status, "invoice: number 1 is paid" in again.err) == (2, True)


def test_who_was_invited_to_what_is_listed_with_what_came_of_it_and_without_the_link(till: Shell) -> None:
    till.does("card", "window", "mina")
    registering = till.does("card", "window", "jun", "--actor", "sora")["link"]
    paying = till.does("invoice", "window", "1", "--method", "card", "--method", "trans")["link"]
    browses(till, registering)
    browses(till, paying)
    page = till.does("checkout", "list", "--customer", "jun")
    assert [(one["id"], one["purpose"], one["state"], one["invoice_state"]) for one in page["checkouts"]] == [
        (paying["checkout_id"], "invoice", "open", "paid"), (registering["checkout_id"], "card", "done", None),
    ]  # fmt: skip
    assert len(till.does("checkout", "list")["checkouts"]) == 3
    said = till("checkout", "list", "--customer", "jun").out
    for words in ("jun", "sora", "card, trans", "registered", "invoice paid"):
        assert words in said
    assert registering["url"].rpartition("/")[2] not in said + json.dumps(page)
    first = till.does("checkout", "list", "--limit", "1")
    assert len(till.does("checkout", "list", "--after", first["next"])["checkouts"]) == 2


def test_an_account_that_waits_for_its_deposit_is_shown_wherever_the_invoice_is(till: Shell) -> None:
    browses(till, till.does("invoice", "window", "1", "--method", "vbank")["link"], "vbank")
    shown = till.does("invoice", "show", "1")["invoice"]
    (account,) = shown["accounts"]
    assert (account["amount"], shown["state"]) == ({"amount": 9900, "currency": "KRW"}, "open")
    assert account["due_at"] > account["issued_at"]
    said = till("invoice", "show", "1").out
    for words in ("virtual account", account["bank_name"], account["number"], account["holder"], "₩9,900", "window"):
        assert words in said

    retried = till("retry", "1", "--json")
    assert (retried.status, retried.document["verdicts"][0]["verdict"]) == (1, "account_issued")
    assert f"it waits for a deposit into {account['bank_name']} {account['number']}" in till("retry", "1").out
    assert till("renew").status == 0, "an account that waits is as it should be"
    refused = till("card", "charge", "1", stdin=card_json())
    assert (refused.status, "wait until it is decided" in refused.err) == (2, True)


# --- one-off key-in ----------------------------------------------------------------------------------


def test_a_typed_in_card_pays_an_invoice_once(till: Shell) -> None:
    before = till.does("card", "list", "jun")
    document = till.does("card", "charge", "1", stdin=card_json())
    assert (document["verdict"], document["invoice_state"], document["card"]) == ("paid", "paid", None)
    assert till.does("card", "list", "jun") == before
    shown = till("invoice", "show", "1").out
    assert "typed-in card" in shown
    assert "card on file" in shown
    assert "typed-in card" in till("attempt", "list").out
    assert "typed-in card" in till("attempt", "show", document["merchant_uid"]).out
    assert till.does("verify")["holds"]


def test_a_typed_in_card_can_be_kept(till: Shell) -> None:
    document = till.does("card", "charge", "1", "--keep", stdin=card_json())
    assert (document["verdict"], document["card"]["state"]) == ("paid", "current")
    assert [one["state"] for one in till.does("card", "list", "jun")["cards"]] == ["removed", "current"]
    till.does("clock", "advance", "1 month")
    till("renew")
    (newest, *_) = till.does("attempt", "list", "--customer", "jun")["attempts"]
    assert (newest["customer_uid"], newest["state"]) == (document["card"]["customer_uid"], "paid")


def test_a_paid_invoice_takes_no_card(till: Shell) -> None:
    said = till("card", "charge", "3", stdin=card_json())
    assert (said.status, said.out) == (2, "")
    assert "error: invoice: number 3 is paid and its subscription active; choose an open one" in said.err


def charged(till: Shell, faults: str = "", card: str = card_json(), *words: str) -> Said:
    return till("card", "charge", "1", *words, stdin=card, env={"BILLING_SANDBOX_FAULTS": faults})


def test_a_refused_card_is_an_outcome(till: Shell) -> None:
    said = charged(till, card=card_json(POOR_CARD))
    assert said.status == 1
    assert "The card was refused: " in said.out
    assert "잔액부족" in said.out
    assert "invoice 1 is collected as before" in said.out


def test_an_outcome_that_is_not_known_is_said_so_with_what_happens_next(till: Shell) -> None:
    said = charged(till, "lost_request=1")
    assert said.status == 1
    assert "Not known yet: " in said.out
    assert "The card is not sent again; every pass looks the charge up" in said.out
    uid = till.does("invoice", "show", "1")["invoice"]["attempts"][-1]["merchant_uid"]
    assert f"billing attempt show {uid}" in said.out
    again = charged(till)
    assert (again.status, "is unknown; wait until it is decided" in again.err) == (2, True)


def test_what_was_not_sent_is_said_so(till: Shell) -> None:
    said = charged(till, "refuse_connection=1,path=/subscribe/payments/onetime")
    assert said.status == 1
    assert "Nothing was sent: " in said.out
    assert "type it again where invoice 1 is still owed" in said.out
    assert charged(till).status == 0


def test_money_that_is_not_what_was_asked_for_is_said_so(till: Shell) -> None:
    said = charged(till, "wrong_amount=1")
    assert said.status == 1
    assert "Money moved, but the PG's record differs in amount" in said.out


def test_a_pg_that_cannot_be_asked_is_an_error_and_the_invoice_stays(till: Shell) -> None:
    said = charged(till, "auth_dead=always")
    assert (said.status, said.out) == (3, "")
    assert charged(till).status == 0


@pytest.mark.parametrize(
    "words", [["1", DIGITS], ["1", CANARY, "2039-12"], ["1", "--number", DIGITS], ["1", f"--number={CANARY}"], [DIGITS]]
)
def test_a_card_among_the_arguments_is_refused_and_never_repeated(till: Shell, words: list[str]) -> None:
    for said in (
        till("card", "charge", *words, stdin=card_json()),
        till("card", "charge", *words, "--json", stdin=card_json()),
    ):
        assert said.status == 2
        assert CANARY not in said.out + said.err
        assert DIGITS not in said.out + said.err
    assert len(till.does("invoice", "show", "1")["invoice"]["attempts"]) == 1


@pytest.mark.parametrize("keep", [[], ["--keep"]])
@pytest.mark.parametrize("fault", ["", "decline=1", "lost_reply=1", "garbage=1"])
def test_a_typed_in_card_is_in_no_file_and_in_no_line(till: Shell, keep: list[str], fault: str) -> None:
    said = charged(till, fault, card_json(CANARY), "--verbose", *keep)
    written = b"".join(till.files().values()) + (said.out + said.err).encode()
    for secret in (CANARY, DIGITS, "900101"):
        assert secret.encode() not in written


def test_prompts_echo_nothing(till: Shell) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(till.home)
        os.environ["PYTHONPATH"] = str(CHECKOUT)
        os.execv(sys.executable, [sys.executable, "-m", "billing", "card", "charge", "1"])
    shown = ""
    try:
        for prompt, answer in (("Card number", CANARY), ("Expiry", "12/39"), ("Birth", "900101"), ("First two", "12")):
            shown = until(terminal, shown, prompt)
            os.write(terminal, f"{answer}\n".encode())
        shown = until(terminal, shown, "Paid")
        _, status = os.waitpid(child, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert CANARY not in shown
    assert "900101" not in shown
