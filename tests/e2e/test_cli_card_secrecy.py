"""Card data enters by prompt or standard input, goes to the PG, and is nowhere else afterwards."""

from __future__ import annotations

import os
import pty
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Shell, card_json

CHECKOUT = Path(__file__).parents[2]
CANARY = "5105-1051-0510-5100"
DIGITS = CANARY.replace("-", "")


@pytest.mark.parametrize(
    "words",
    [
        ["card", "add", "mina", CANARY],
        ["card", "add", "mina", DIGITS, "2039-12"],
        ["card", "add", "mina", "--number", DIGITS],
        ["card", "add", "mina", f"--number={CANARY}"],
        ["card", "add", DIGITS],
        ["card", "list", CANARY],
        ["customer", "show", DIGITS],
        ["customer", "show", "mina", DIGITS],
    ],
)
def test_a_card_among_the_arguments_is_refused_and_never_repeated(shop: Shell, words: list[str]) -> None:
    for said in (shop(*words, stdin=card_json()), shop(*words, "--json", stdin=card_json())):
        assert said.status == 2
        assert CANARY not in said.out + said.err
        assert DIGITS not in said.out + said.err
    assert len(shop.does("card", "list", "mina")["cards"]) == 1


@pytest.mark.parametrize(
    "stdin", ["", "{", "[]", '{"number": 5105105105105100}', f'{{"number": "{CANARY}x"}}', f'{{"pan": "{CANARY}"}}', DIGITS * 400]
)
def test_a_card_that_cannot_be_read_is_refused_and_never_repeated(shop: Shell, stdin: str) -> None:
    said = shop("card", "add", "mina", "--json", stdin=stdin)
    assert said.status == 2
    assert DIGITS not in said.out.replace("-", "")
    assert said.document["error"]["field"] in ("card", "number")
    assert len(shop.does("card", "list", "mina")["cards"]) == 1


def test_a_registered_card_is_in_no_file_and_in_no_line(shop: Shell) -> None:
    said = shop("card", "add", "mina", "--verbose", stdin=card_json(CANARY))
    assert (said.status, "510510******5100" in said.out) == (0, True)
    written = b"".join(shop.files().values()) + (said.out + said.err).encode()
    for secret in (CANARY, DIGITS, "900101"):
        assert secret.encode() not in written


def test_prompts_echo_nothing(shop: Shell) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(shop.home)
        os.environ["PYTHONPATH"] = str(CHECKOUT)
        os.execv(sys.executable, [sys.executable, "-m", "billing", "card", "add", "mina"])
    shown = ""
    try:
        for prompt, answer in (("Card number", CANARY), ("Expiry", "12/39"), ("Birth", "900101"), ("First two", "12")):
            shown = until(terminal, shown, prompt)
            os.write(terminal, f"{answer}\n".encode())
        shown = until(terminal, shown, "Registered")
        _, status = os.waitpid(child, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert CANARY not in shown
    assert "900101" not in shown


def until(terminal: int, shown: str, wanted: str) -> str:
    deadline = time.monotonic() + 20
    while wanted not in shown:
        assert time.monotonic() < deadline, shown
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown
