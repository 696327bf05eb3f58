"""The PG's own list against our books: what differs is set right or found, once; a clean month finds nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.domain.attempt import AttemptState
from billing.domain.invoice import InvoiceState
from billing.domain.reconciliation import Finding, FindingKind, Report
from billing.domain.refund import Refund
from billing.errors import Frozen, GatewayUnavailable, RuleError
from billing.flow import reconciliation
from billing.ports import Findings, PaymentPage
from billing.store import tables
from tests.kit.world import World, seoul

STRANGE_TAIL = "0" * 25 + "1" + "a01"


def asked(world: World, path: str, fields: dict[str, Any]) -> Any:
    """Do something at the PG that the engine knows nothing of; returns what the PG answers."""
    handle = world.pg.sandbox.handle
    headers = {"Content-Type": "application/json"}
    if not path.startswith("/_sandbox/"):
        key, secret = (one.get_secret_value() for one in world.app.settings.credentials)
        token = handle("POST", "/users/getToken", headers, json.dumps({"imp_key": key, "imp_secret": secret}).encode())
        headers["Authorization"] = json.loads(token.body)["response"]["access_token"]
    document = json.loads(handle("POST", path, headers, json.dumps(fields).encode()).body)
    assert document["code"] == 0, document["message"]
    return document["response"]


def charged(world: World, customer_uid: str, merchant_uid: str, amount: int = 700, custom_data: str | None = None) -> str:
    """Another engine's charge on a card; returns its imp_uid."""
    fields = {"customer_uid": customer_uid, "merchant_uid": merchant_uid, "amount": amount, "name": "other"}
    if custom_data is not None:
        fields["custom_data"] = custom_data
    return str(asked(world, "/subscribe/payments/again", fields)["imp_uid"])


def foreign_card(world: World) -> str:
    """A card of another shop on the same PG account."""
    card = {"card_number": "4242-4242-4242-4242", "expiry": "2040-12", "birth": "900101"}
    asked(world, "/subscribe/customers/other-shop", card)
    return "other-shop"


def our_card(world: World, subscription: str) -> str:
    """The card a subscriber of ours pays with."""
    with world.app.store.read() as tx:
        return tx.customers.keys_of(world.subscription(subscription).customer_id)[-1].customer_uid


def approved_late(world: World, merchant_uid: str) -> None:
    """Let a failed record turn paid at the PG."""
    state = world.pg.sandbox._state
    with state.transaction():
        state.run("UPDATE payments SET becomes_paid_at = 1 WHERE merchant_uid = ?", (merchant_uid,))


def kinds(findings: tuple[Finding, ...]) -> list[str]:
    """What was found, in words."""
    return [one.kind.value for one in findings]


def a_clean_look(world: World) -> Report:
    """A reconciliation that must find nothing at all."""
    report = world.app.reconcile()
    assert report.is_clean, report
    return report


def test_an_approval_after_the_last_decline_is_seen_although_nobody_looks(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("decline")
    world.at("2024-02-29 10:00").tick()
    while world.invoice(mina).state is InvoiceState.OPEN:
        world.days(1)
    world.pg.heals()
    last = world.attempts(mina)[-1].merchant_uid
    world.later(days=31)
    approved_late(world, last)

    world.tick()

    assert world.attempts(mina)[-1].merchant_uid == last
    assert world.states(mina)[-1] == "paid"
    assert len(world.pg.kept()) == 2
    assert world.is_proven()


def test_a_clean_month_finds_nothing_and_costs_one_call_a_quarter_of_an_hour(world: World) -> None:
    for _ in range(5):
        world.subscriber()
    world.at("2024-02-29 10:00").tick()
    for _ in range(30):
        world.days(1)
        assert a_clean_look(world).pages == 1
    assert world.is_proven()


def test_nothing_is_asked_again_within_a_quarter_of_an_hour_whoever_asked(world: World) -> None:
    world.subscriber()
    assert world.app.reconciliation.keep_up() is None, "its first charge has waited for a look"
    other = world.another_process()
    assert other.reconciliation.keep_up() is not None, "every process looks once before it charges"
    assert other.reconciliation.keep_up() is None
    world.later(minutes=16)
    assert other.reconciliation.keep_up() is not None
    assert world.app.reconciliation.keep_up() is None
    other.close()


def test_a_process_that_cannot_ask_charges_nothing_and_one_that_has_asked_goes_on(world: World) -> None:
    ids = [world.subscriber() for _ in range(2)]
    world.at("2024-02-29 10:00")
    fresh = world.another_process()
    world.pg.fault("refuse_connection", path="/payments/status/*")
    with pytest.raises(GatewayUnavailable):
        fresh.renew()
    with pytest.raises(GatewayUnavailable):
        fresh.retry([world.invoice(ids[0]).id])
    assert len(world.pg.arrivals()) == 2
    world.pg.heals()
    assert fresh.renew()["paid"] == 2

    world.pg.fault("refuse_connection", path="/payments/status/*")
    world.at("2024-03-31 10:00")
    assert fresh.renew()["paid"] == 2
    fresh.close()


def test_a_list_that_shows_nothing_of_what_the_pg_knows_by_name_was_not_compared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account whose list is unknown, or always empty: it looks like one that never took a payment."""
    monkeypatch.setattr(world.app.gateway, "list_payments", lambda **_: PaymentPage((), 0, 0))
    world.app.reconcile()
    world.subscriber()
    world.app.reconcile()
    world.later(hours=1)
    with pytest.raises(GatewayUnavailable, match=r"list of payments is empty, and it knows 1 .* ask PortOne"):
        world.app.reconcile()
    monkeypatch.undo()
    assert world.app.reconcile().is_clean


def test_a_list_that_names_a_page_again_and_again_comes_to_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.subscriber()
    honest = world.app.gateway.list_payments

    def echoing(*, page: int, **more: Any) -> PaymentPage:
        return replace(honest(page=1, **more), next_page=2)

    monkeypatch.setattr(world.app.gateway, "list_payments", echoing)
    assert world.app.reconcile().payments == 1


def test_an_order_number_of_ours_without_a_row_stops_all_charging_and_settling_goes_on(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    prefix = world.app.controls.identity().uid_prefix
    imp_uid = charged(world, foreign_card(world), prefix + STRANGE_TAIL)

    with pytest.raises(Frozen):
        world.tick()

    (found,) = world.app.reconcile().unexplained
    assert (found.kind, found.imp_uid, found.amount) == (FindingKind.STRANGER, imp_uid, 700)
    switch = world.app.controls.freeze()
    assert switch is not None
    assert (switch.is_frozen, switch.actor, switch.cause) == (True, "engine", "strangers")
    assert prefix + STRANGE_TAIL in switch.reason
    assert world.states(mina) == ["paid"]
    assert len(world.pg.kept()) == 2

    world.app.reconciliation.explain(found.id, reason="made by a test", actor="admin")
    world.app.controls.set_freeze(is_frozen=False, reason="explained", actor="admin")
    assert world.later(minutes=20).tick()["paid"] == 1
    assert world.app.reconcile().is_clean, "an explained stranger is found once and never freezes again"


def test_an_operators_freeze_keeps_its_own_reason(world: World) -> None:
    world.subscriber()
    world.app.controls.set_freeze(is_frozen=True, reason="holiday", actor="admin")
    charged(world, foreign_card(world), world.app.controls.identity().uid_prefix + STRANGE_TAIL)
    assert world.app.reconcile().is_frozen
    switch = world.app.controls.freeze()
    assert switch is not None
    assert switch.reason == "holiday"


def test_another_ledger_on_the_same_account_is_its_own_affair(world: World) -> None:
    world.subscriber()
    card = foreign_card(world)
    prefix = world.app.controls.identity().uid_prefix
    charged(world, card, prefix + STRANGE_TAIL, custom_data='{"ledger":"somebody-else","invoice":"1"}')
    charged(world, card, "gd" + STRANGE_TAIL)
    charged(world, card, prefix + "short")
    charged(world, card, "order-2024-0001")
    a_clean_look(world)


def test_a_second_engine_on_our_card_is_found_and_so_is_a_schedule(world: World) -> None:
    mina = world.subscriber()
    card = our_card(world, mina)
    charged(world, card, "someone-elses-1")
    soon = {"merchant_uid": "planned-1", "schedule_at": int(world.clock.now().timestamp()) + 60, "amount": 500}
    asked(world, "/subscribe/payments/schedule", {"customer_uid": card, "schedules": [soon]})
    world.later(minutes=5)

    report = world.app.reconcile()

    assert sorted(one.merchant_uid for one in report.new) == ["planned-1", "someone-elses-1"]
    assert kinds(report.new) == ["scheduled_charge"] * 2
    assert {one.details.get("customer_id") for one in report.new} == {world.subscription(mina).customer_id}
    assert not report.is_frozen
    again = world.later(hours=1).app.reconcile()
    assert again.new == ()
    assert len(again.unexplained) == 2
    with world.app.store.read() as tx:
        told = tx.connection.execute(select(tables.outbox_event).where(tables.outbox_event.c.topic == "finding.made")).all()
    assert len(told) == 2


def test_an_unknown_charge_is_found_by_the_list_before_its_own_next_look(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=60)
    assert world.tick()["unknown"] == 1
    world.later(seconds=70)
    assert [one.name for one in world.app.reconcile().settled] == ["paid"]
    assert world.states(mina) == ["paid", "paid"]
    a_clean_look(world)


def test_a_payment_we_booked_that_stands_otherwise_at_the_pg_is_found_once(world: World) -> None:
    mina = world.subscriber()
    imp_uid = world.attempts(mina)[0].imp_uid
    state = world.pg.sandbox._state
    with state.transaction():
        state.run("UPDATE payments SET amount = amount - 1 WHERE imp_uid = ?", (imp_uid,))
    report = world.app.reconcile()
    assert [(one.kind.value, one.imp_uid, one.amount) for one in report.new] == [("amount_differs", imp_uid, 9899)]
    assert world.app.reconcile().new == ()


def test_a_payment_we_booked_that_the_pg_does_not_show_is_found_once(world: World) -> None:
    mina = world.subscriber()
    imp_uid = world.attempts(mina)[0].imp_uid
    state = world.pg.sandbox._state
    with state.transaction():
        state.run("DELETE FROM payments WHERE imp_uid = ?", (imp_uid,))
    world.later(minutes=1)
    assert [(one.kind.value, one.imp_uid) for one in world.app.reconcile().new] == [("missing_at_pg", imp_uid)]
    assert world.app.reconcile().new == ()


def test_one_record_that_cannot_be_read_does_not_hide_the_others(world: World) -> None:
    mina = world.subscriber()
    card = our_card(world, mina)
    charged(world, card, "odd-1")
    charged(world, foreign_card(world), "odd-2")
    charged(world, card, "fine-1")
    state = world.pg.sandbox._state
    with state.transaction():
        state.run("UPDATE payments SET currency = 'XXX' WHERE merchant_uid LIKE 'odd-%'")
    report = world.app.reconcile()
    assert sorted((one.kind.value, one.merchant_uid) for one in report.new) == [
        ("scheduled_charge", "fine-1"),
        ("unreadable", "odd-1"),
    ]


def test_three_thousand_payments_are_all_seen_while_new_ones_arrive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.subscriber()
    card = foreign_card(world)
    imp_uid = charged(world, card, "bulk-0")
    state = world.pg.sandbox._state
    row = state.one("SELECT * FROM payments WHERE imp_uid = ?", (imp_uid,))
    prefix = world.app.controls.identity().uid_prefix
    with state.transaction():
        for number in range(1, 3000):
            copy = {name: row[name] for name in row.keys() if name != "seq"} | {  # noqa: SIM118 - a sqlite3.Row
                "imp_uid": f"imp_{number:012d}",
                "merchant_uid": f"bulk-{number}",
                "uid_key": f"bulk-{number}",
                "updated_at": row["updated_at"] - number,
            }
            state.insert("payments", **copy)
        # The oldest of all is one of ours that we forgot.
        state.run(
            "UPDATE payments SET merchant_uid = ?, uid_key = ? WHERE merchant_uid = 'bulk-2999'", (prefix + STRANGE_TAIL,) * 2
        )
    monkeypatch.setattr(reconciliation, "MANY", 100)
    honest = world.app.gateway.list_payments
    arrived = 0

    def busy(*given: Any, **more: Any) -> PaymentPage:
        nonlocal arrived
        page = honest(*given, **more)
        charged(world, card, f"new-{arrived}")
        arrived += 1
        return page

    monkeypatch.setattr(world.app.gateway, "list_payments", busy)
    report = world.app.reconcile()
    monkeypatch.undo()
    assert report.pages >= 30
    assert report.payments >= 3000
    assert [one.merchant_uid for one in report.new] == [prefix + STRANGE_TAIL]
    world.later(hours=1).app.reconcile()
    quiet = world.later(hours=1).app.reconcile()
    assert (quiet.pages, quiet.payments) == (1, 100), "of a long list only what moved is read"


def test_a_look_at_last_year_is_split_and_does_not_move_the_mark(world: World) -> None:
    world.subscriber()
    world.later(days=300)
    world.app.reconcile()
    with world.app.store.read() as tx:
        before = tx.reconciliations.last()
    world.later(minutes=30)
    report = world.app.reconcile(seoul("2024-01-01 00:00"), seoul("2024-09-30 00:00"))
    assert report.payments == 1
    assert report.pages >= 4
    world.app.reconcile(world.clock.now() - timedelta(minutes=5))
    with world.app.store.read() as tx:
        assert tx.reconciliations.last() == before, "a look that does not join the last one leaves a gap"
    with pytest.raises(RuleError, match="--from"):
        world.app.reconcile(seoul("2024-02-01 00:00"), seoul("2024-01-01 00:00"))


def test_an_empty_account_is_no_trouble(world: World) -> None:
    assert a_clean_look(world).payments == 0


@pytest.mark.parametrize("amount", [3000, None])
def test_a_refund_in_the_console_is_taken_over_even_weeks_after_the_payment(world: World, amount: int | None) -> None:
    mina = world.subscriber()
    imp_uid = world.attempts(mina)[0].imp_uid
    world.at("2024-02-20 10:00")
    a_clean_look(world)
    fields = {"imp_uid": imp_uid, "reason": "고객 요청"}
    asked(world, "/_sandbox/console/cancel", fields if amount is None else fields | {"amount": amount})

    report = world.app.reconcile()

    assert [(one.imp_uid, one.amount, one.origin.value) for one in report.adopted] == [(imp_uid, amount or 9900, "pg")]
    assert (report.new, report.unexplained) == ((), ())
    assert world.is_proven()
    a_clean_look(world)


def test_what_cannot_be_taken_over_is_found_and_closed_once_the_books_have_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mina = world.subscriber()
    imp_uid = world.attempts(mina)[0].imp_uid
    asked(world, "/_sandbox/console/cancel", {"imp_uid": imp_uid, "amount": 100, "reason": "console"})

    def poison(_imp_uids: object) -> list[Refund]:
        raise ValueError("poison")

    monkeypatch.setattr(world.app.reconciliation, "_adopt", poison)
    assert [(one.kind.value, one.imp_uid) for one in world.app.reconcile().new] == [("cancelled_at_pg", imp_uid)]
    monkeypatch.undo()
    report = world.app.reconcile()
    assert len(report.adopted) == 1
    assert report.unexplained == ()
    a_clean_look(world)


def test_refunds_that_run_while_we_compare_are_no_findings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the page was read and before our rows are, one between our rows and the look that checks them."""
    invoice = world.invoice(world.subscriber()).id
    app, gateway = world.app, world.app.gateway
    list_payments, find_payments = gateway.list_payments, gateway.find_payments

    def give_back() -> None:
        monkeypatch.setattr(gateway, "find_payments", find_payments)
        app.refunds.request(invoice, amount=100, reason="in between", actor="test")

    def listing(*given: Any, **more: Any) -> PaymentPage:
        page = list_payments(*given, **more)
        give_back()
        monkeypatch.setattr(gateway, "find_payments", finding)
        return page

    def finding(*given: Any, **more: Any) -> Findings:
        give_back()
        return find_payments(*given, **more)

    monkeypatch.setattr(gateway, "list_payments", listing)
    a_clean_look(world)
    assert [amount for _, amount in world.pg.given_back()] == [100, 100]


def test_a_stretch_that_loses_a_record_while_it_is_read_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mina = world.subscriber()
    card = foreign_card(world)
    numbers = [charged(world, card, f"bulk-{number}") for number in range(6)]
    end = world.clock.now() + timedelta(seconds=1)
    world.later(minutes=5)
    monkeypatch.setattr(reconciliation, "FEW", 2)
    monkeypatch.setattr(reconciliation, "MANY", 2)
    honest = world.app.gateway.list_payments
    calls = 0

    def busy(*given: Any, **more: Any) -> PaymentPage:
        nonlocal calls
        calls += 1
        page = honest(*given, **more)
        if calls == 2:
            asked(world, "/_sandbox/console/cancel", {"imp_uid": numbers[-1]})
        return page

    monkeypatch.setattr(world.app.gateway, "list_payments", busy)
    report = world.app.reconcile(end - timedelta(hours=1), end)
    assert report.payments == 7
    assert our_card(world, mina)


def test_a_stranger_that_looks_like_a_card_number_stops_charging_too(world: World) -> None:
    world.subscriber()
    ledger = world.app.controls.identity().ledger_id
    charged(world, foreign_card(world), "4242424242424242", custom_data=f'{{"ledger":"{ledger}","card":"4242-4242-4242-4242"}}')
    report = world.app.reconcile()
    assert report.is_frozen
    assert "4242424242424242" not in str(report.new)
    assert "4242-4242-4242-4242" not in str(report.new)


def test_the_list_tells_of_a_charge_that_was_adopted_and_closes_its_own_finding(world: World) -> None:
    mina = world.subscriber()
    stem = world.invoice(mina).uid_stem
    charged(world, our_card(world, mina), f"{stem}a02", amount=9900)
    assert kinds(world.app.reconcile().unexplained) == ["stranger"]
    with world.app.store.begin() as tx:
        first = world.attempts(mina)[0]
        lost = first._replace(id=tx.new_id(), seq=2, merchant_uid=f"{stem}a02", imp_uid=None, state=AttemptState.PLANNED, fence=1)
        tx.attempts.insert([lost])
    report = world.app.reconcile()
    assert [one.name for one in report.settled] == ["surplus"]
    assert report.unexplained == ()
    assert report.is_frozen, "a freeze is lifted by whoever looked into it"
