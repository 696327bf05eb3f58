"""A shop whose database was copied, told at a terminal."""

from __future__ import annotations

import shutil

from tests.e2e.conftest import Shell


def test_a_copied_shop_refuses_is_adopted_and_goes_on(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly")
    shutil.copytree(shop.home, there := shop.home.with_name("staging"))
    copy = Shell(there)
    shop.does("clock", "set", "2027-01-01T10:00+09:00")
    assert shop.does("renew")["counts"]["paid"] == 1
    # One PG for both, as in life.
    for name in shop.files():
        if name.startswith("billing-sandbox"):
            shutil.copy(shop.home / name, there / name)
    copy.does("clock", "set", "2027-01-01T10:00+09:00")

    for words in ("renew", "retry 1", "subscription add mina pro-monthly"):
        said = copy(*words.split())
        assert said.status == 4
        assert "nothing is charged from a copy" in said.err
        assert "`billing restore adopt --reason TEXT`" in said.err
    assert copy("doctor").status == 4

    found = copy.does("restore", "adopt", "--reason", "the first machine burnt", "--actor", "mina", "--yes")
    assert [(one["outcome"], one["amount"]) for one in found["adopted"]] == [("paid", {"amount": 9900, "currency": "KRW"})]
    assert (found["is_moved"], found["is_frozen"], found["orphans"]) == (True, False, [])
    assert copy.does("renew")["counts"] == {}
    assert copy.does("verify")["holds"]

    again = copy("restore", "adopt", "--reason", "once more", "--yes")
    assert again.status == 0
    assert "This database had forgotten none of them." in again.out
    assert "Charging is allowed." in again.out


def test_what_nobody_explains_is_printed_and_keeps_the_freeze(shop: Shell) -> None:
    shutil.copytree(shop.home, there := shop.home.with_name("night"))
    shop.does("subscription", "add", "mina", "pro-monthly")
    for name in shop.files():
        if name.startswith("billing-sandbox"):
            shutil.copy(shop.home / name, there / name)
    restored = Shell(there)
    said = restored("restore", "adopt", "--reason", "last night's backup", "--yes")
    assert said.status == 4
    assert "stranger" in said.out
    assert "₩9,900" in said.out
    assert "Charging is frozen." in said.out
    (orphan,) = restored("restore", "adopt", "--reason", "last night's backup", "--json").document["orphans"]
    refused = restored("freeze", "off", "--reason", "go on")
    assert refused.status == 2
    assert orphan["id"] in refused.err
    assert restored.does("freeze", "status")["cause"] == "strangers"


def test_an_instant_without_an_offset_is_no_since(shop: Shell) -> None:
    for wrong in ("2026-12-01", "real", "yesterday"):
        said = shop("restore", "adopt", "--reason", "x", "--since", wrong)
        assert said.status == 2
        assert said.err.startswith("error: --since: ")
        assert "write for example 2026-01-31T10:00+09:00" in said.err
