"""`billing refund` at the terminal: money back, a refusal with a way out, and wrong inputs."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Shell


@pytest.fixture
def paid(shop: Shell) -> Shell:
    """A shop whose invoice 1 over ₩9,900 is paid."""
    shop.does("subscription", "add", "mina", "pro-monthly")
    return shop


def test_a_part_and_the_rest_are_given_back(paid: Shell) -> None:
    part = paid.does("refund", "1", "--amount", "3000", "--reason", "반품", "--key", "ticket-1", "--actor", "sora")["refund"]
    assert (part["state"], part["amount"]["amount"], part["actor"]) == ("done", 3000, "sora")
    assert paid.does("refund", "1", "--amount", "3000", "--reason", "반품", "--key", "ticket-1")["refund"]["id"] == part["id"]
    rest = paid.does("refund", "add", "1", "--full", "--reason", "해지")["refund"]
    assert rest["amount"]["amount"] == 6900

    assert [one["id"] for one in paid.does("refund", "list", "--state", "done")["refunds"]] == [rest["id"], part["id"]]
    assert [one["amount"]["amount"] for one in paid.does("invoice", "show", "1")["invoice"]["refunds"]] == [3000, 6900]
    proof = paid.does("verify")
    assert (proof["holds"], proof["totals"]["refunded_amount"], proof["totals"]["ledger_receivable"]) == (True, 9900, 0)
    assert "done" in paid("refund", "show", part["id"]).out
    assert "billing refund" not in paid("doctor").out


def test_a_refusal_of_the_pg_is_told_kept_and_retried(paid: Shell) -> None:
    paid.env["BILLING_SANDBOX_FAULTS"] = "cancel_refused=1"
    said = paid("refund", "1", "--amount", "3000", "--reason", "반품", "--json")
    one = said.document["refund"]
    assert (said.status, one["state"], one["refusal"]) == (1, "refused", "[8178] 취소 가능 금액이 부족합니다.")
    paid.env.clear()
    assert "billing refund retry" in paid("doctor").out
    assert "Nothing was given back" in paid("refund", "show", one["id"]).out
    assert paid.does("refund", "retry", one["id"])["refund"]["state"] == "done"
    assert "refused refunds" not in paid("doctor").out
    assert paid.does("verify")["holds"]


def test_an_unknown_end_says_so_and_not_to_ask_twice(paid: Shell) -> None:
    paid.env["BILLING_SANDBOX_FAULTS"] = "lost_request=1,path=/payments/cancel"
    said = paid("refund", "1", "--amount", "3000", "--reason", "반품")
    assert said.status == 1
    assert "Do not ask for it twice" in said.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("refund 1 --amount 0 --reason x", "amount: 0 gives nothing back"),
        ("refund 1 --amount -5 --reason x", "amount: -5 gives nothing back"),
        ("refund 1 --amount 9901 --reason x", "amount: 9901 is more than the 9900 that is left"),
        ("refund 1 --amount 1.5 --reason x", "--amount:"),
        ("refund 1 --reason x", "amount: is missing"),
        ("refund 1 --full --amount 5 --reason x", "amount: was given together with --full"),
        ("refund 1 --amount 5", "reason: is missing"),
        ("refund 1 --amount 5 --reason 4242-4242-4242-4242", "reason: holds what looks like a card number"),
        ("refund 1 --amount 5 --reason x --key again:1", "key: must not begin with"),
        ("refund 99 --amount 5 --reason x", "invoice: there is no invoice '99'"),
        ("refund --amount 5 --reason x", "INVOICE: is missing"),
        ("refund show nope", "refund: there is no refund 'nope'; list what there is with `billing refund list`"),
        ("refund retry nope", "refund: there is no refund 'nope'"),
        ("refund list --state lost", "--state:"),
    ],
)
def test_wrong_inputs_are_one_line_and_give_nothing_back(paid: Shell, words: str, line: str) -> None:
    said = paid(*words.split())
    assert (said.status, len(said.err.splitlines())) == (2, 1), said
    assert line in said.err
    assert paid.does("refund", "list")["refunds"] == []


def test_a_frozen_engine_refuses(paid: Shell) -> None:
    paid.does("freeze", "on", "--reason", "a look")
    assert paid("refund", "1", "--full", "--reason", "x").status == 4
    assert paid.does("refund", "list")["refunds"] == []
