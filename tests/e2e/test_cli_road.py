"""The main job at the terminal, from an empty directory to the proof."""

from __future__ import annotations

from tests.e2e.conftest import POOR_CARD, WRONG_CARD, Shell, card_json


def test_a_subscriber_is_renewed_and_the_books_are_proven(shop: Shell) -> None:
    started = shop.does("subscription", "add", "mina", "pro-monthly")
    assert started["subscription"]["state"] == "active"
    assert [one["verdict"] for one in started["verdicts"]] == ["paid"]
    assert started["subscription"]["amount"] == {"amount": 9900, "currency": "KRW"}

    assert shop.does("renew")["counts"] == {}
    assert shop.does("clock", "advance", "1 month")["now"] == "2027-01-01T01:00:00+00:00"
    assert shop.does("renew")["counts"] == {"opened": 1, "paid": 1}
    assert shop.does("renew")["counts"] == {}

    proof = shop.does("verify")
    assert (proof["holds"], proof["differences"], proof["totals"]["paid_amount"]) == (True, [], 19_800)
    invoices = shop.does("invoice", "list")["invoices"]
    assert [(one["number"], one["state"], one["customer"]) for one in invoices] == [(2, "paid", "mina"), (1, "paid", "mina")]
    assert invoices[0]["period"] == {"index": 1, "start": "2026-12-31T15:00:00+00:00", "end": "2027-01-31T15:00:00+00:00"}
    shown = shop.does("invoice", "show", "2")["invoice"]
    assert [line["amount"]["amount"] for line in shown["lines"]] == [9900]
    assert [one["state"] for one in shown["attempts"]] == ["paid"]
    assert [one["role"] for one in shown["payments"]] == ["invoice"]
    assert {"invoice.paid", "subscription.renewed"} <= {one["topic"] for one in shop.does("events", "list")["events"]}


def test_a_declined_card_is_an_outcome_and_a_new_card_mends_it(shop: Shell) -> None:
    shop.does("customer", "add", "jun")
    shop.does("card", "add", "jun", stdin=card_json(POOR_CARD))
    said = shop("subscription", "add", "jun", "pro-monthly", "--json")
    assert (said.status, said.document["verdicts"][0]["verdict"]) == (1, "declined")
    assert "잔액부족" in said.document["verdicts"][0]["why"]
    assert shop("retry", "1").status == 1

    refused = shop("card", "add", "jun", "--json", stdin=card_json(WRONG_CARD))
    assert (refused.status, refused.document["status"], refused.document["card"]["state"]) == (1, "refused", "removed")
    shop.does("card", "add", "jun", stdin=card_json())
    assert shop.does("retry", "1")["verdicts"][0]["verdict"] == "paid"
    assert [one["state"] for one in shop.does("card", "list", "jun")["cards"]] == ["removed", "removed", "current"]
    assert shop.does("verify")["holds"]


def test_a_subscription_can_be_stopped_and_taken_back(shop: Shell) -> None:
    wanted = shop.does("subscription", "add", "mina", "pro-monthly")["subscription"]["id"]
    assert shop.does("subscription", "cancel", wanted)["subscription"]["cancel_at_end"] is True
    assert shop.does("subscription", "uncancel", wanted)["subscription"]["cancel_at_end"] is False
    assert shop.does("subscription", "pause", wanted)["subscription"]["state"] == "paused"
    assert shop.does("subscription", "resume", wanted)["subscription"]["state"] == "active"
    assert shop.does("subscription", "cancel", wanted, "--now")["subscription"]["state"] == "canceled"
    assert shop.does("subscription", "list", "--state", "canceled")["subscriptions"][0]["id"] == wanted


def test_freezing_stops_every_charge_until_it_is_lifted(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly")
    shop.does("clock", "advance", "1 month")
    assert shop.does("freeze", "on", "--reason", "looking into something", "--actor", "sora")["actor"] == "sora"
    frozen = shop("renew", "--json")
    assert (frozen.status, frozen.document["error"]["kind"]) == (4, "frozen")
    assert shop("doctor").status == 4
    shop.does("freeze", "off", "--reason", "found it")
    assert shop.does("renew")["counts"]["paid"] == 1


def test_a_subscription_begun_while_nothing_can_be_charged_is_told_and_charged_later(shop: Shell) -> None:
    shop.does("freeze", "on", "--reason", "a look")
    said = shop("subscription", "add", "mina", "pro-monthly", "--json")
    assert (said.status, said.document["subscription"]["state"]) == (1, "incomplete")
    assert "frozen" in said.document["verdicts"][0]["why"]
    shop.does("freeze", "off", "--reason", "seen")
    assert shop.does("renew")["counts"] == {"paid": 1}
    assert [one["state"] for one in shop.does("subscription", "list")["subscriptions"]] == ["active"]


def test_faults_of_the_own_sandbox_last_as_long_as_their_setting(shop: Shell) -> None:
    shop.env["BILLING_SANDBOX_FAULTS"] = "decline=always,value=120002; lookup_lag=1,value=1s"
    for _ in range(2):
        assert shop("subscription", "add", "mina", "pro-monthly").status == 1
    shop.env.clear()
    assert shop("subscription", "add", "mina", "pro-monthly").status == 0


def test_an_invoice_is_given_up_and_one_is_void(shop: Shell) -> None:
    shop.does("customer", "add", "jun")
    shop.does("card", "add", "jun", stdin=card_json(POOR_CARD))
    shop("subscription", "add", "jun", "pro-monthly")
    shop("subscription", "add", "jun", "pro-monthly")
    given_up = shop.does("invoice", "mark-uncollectible", "1", "--reason", "gone abroad")
    assert given_up["invoice"]["state"] == "uncollectible"
    assert shop.does("invoice", "void", "2", "--reason", "sold by mistake")["invoice"]["state"] == "void"
    assert shop.does("verify")["holds"]


def test_outside_charge_hours_nothing_is_sent_and_that_is_said(shop: Shell) -> None:
    shop.does("subscription", "add", "mina", "pro-monthly", "--start", "2026-12-02")
    shop.does("clock", "set", "2026-12-02T03:00+09:00")
    assert shop.does("renew") | {"business_now": ""} == {"counts": {}, "is_within_charge_hours": False, "business_now": ""}
    assert "outside the charge hours" in shop("renew").out


def test_doctor_is_content_with_a_fresh_shop_and_names_what_is_missing(shell: Shell) -> None:
    nothing = shell("doctor", "--json")
    assert (nothing.status, nothing.document["findings"][-1]["check"]) == (3, "database")
    shell.does("init")
    assert shell.does("doctor")["is_well"] is True
    shell.does("clock", "set", "2026-12-01T10:00+09:00")
    assert [one["check"] for one in _unwell(shell)] == ["test clock"]
    wrong = shell("doctor", "--json", env={"BILLING_PG": "html5_inicis.nothere"})
    assert wrong.status == 2
    assert "INIBillTst" in next(one["cure"] for one in wrong.document["findings"] if one["check"] == "channel")
    assert shell("doctor", env={"BILLING_MODE": "live"}).status == 2


def _unwell(shell: Shell) -> list[dict[str, str]]:
    return [one for one in shell("doctor", "--json").document["findings"] if one["verdict"] != "ok"]


def test_the_schema_can_be_asked_and_taken_back_while_it_is_empty(shell: Shell) -> None:
    newest = shell.does("db", "upgrade")["newest"]
    assert shell.does("db", "current")["current"] == newest
    assert shell.does("db", "check")["is_right"] is True
    assert shell.does("db", "downgrade", "base")["current"] is None
    said = shell("renew", "--json")
    assert (said.status, said.document["error"]["cure"]) == (3, "run `billing init`")


def test_pages_of_a_list_join_without_gap_or_overlap(shop: Shell) -> None:
    for number in range(7):
        shop.does("customer", "add", f"c{number}")
    seen: list[str] = []
    after: list[str] = []
    while True:
        page = shop.does("customer", "list", "--limit", "3", *after)
        seen += [one["external_id"] for one in page["customers"]]
        if page["next"] is None:
            break
        after = ["--after", page["next"]]
    assert seen == ["c6", "c5", "c4", "c3", "c2", "c1", "c0", "mina"]
