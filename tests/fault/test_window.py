"""The window: whatever a browser does or says, an invoice is paid once, by the PG's own record, and nothing is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import select

from billing import fault
from billing.domain.attempt import OPENINGS_MAX, AttemptState, Way
from billing.domain.checkout import Completion, Outcome
from billing.domain.customer import KeyState
from billing.domain.invoice import InvoiceState
from billing.domain.settlement import Verdict
from billing.domain.subscription import SubscriptionState
from billing.errors import Frozen, RuleError
from billing.flow.confirming import OTHER_AMOUNT, UNKNOWN
from billing.flow.opening import ACCOUNTS_MAX
from billing.links import LinkRefused
from billing.sandbox import Channel, SandboxConfig
from billing.sandbox.config import CHANNELS
from billing.store.tables import outbox_event
from tests.kit.buyer import TEL, payer, registrant
from tests.kit.world import World


def owed(world: World, price: str = "pro-monthly", card: str | None = None) -> str:
    """A subscription whose first invoice is open; returns the subscription."""
    return world.subscriber(price, card, tel=TEL)


def charged(world: World) -> list[float]:
    """Every amount the PG took and keeps, smallest first."""
    return sorted(row["kept"] for row in world.pg.kept())


def told(world: World) -> list[str]:
    """What the host was told, about anything."""
    with world.app.store.read() as tx:
        return list(tx.connection.execute(select(outbox_event.c.topic)).scalars())


def keys(world: World, customer: str) -> list[KeyState]:
    with world.app.store.read() as tx:
        return [key.state for key in tx.customers.keys_of(customer)]


# --- one payment ----------------------------------------------------------------------------------


def test_an_invoice_is_paid_in_the_window(world: World) -> None:
    one = owed(world)

    ended = payer(world, world.invoice(one).id).opens().approves().reports()

    assert (ended.completion, ended.status) == (Completion.PAID, "success")
    assert world.invoice(one).state is InvoiceState.PAID
    assert world.subscription(one).state is SubscriptionState.ACTIVE
    assert charged(world) == [9900]
    assert world.is_proven()


def test_the_row_and_the_amount_come_before_the_browser_hears_of_the_number(world: World) -> None:
    one = owed(world)

    window = payer(world, world.invoice(one).id).opens()

    (attempt,) = world.attempts(one)
    assert (attempt.way, attempt.state, attempt.merchant_uid) == (Way.WINDOW, AttemptState.SENDING, window.number)
    with world.app.store.read() as tx:
        assert tx.checkouts.by_uids([window.number])[window.number].opened_at == world.clock.now()
    assert world.app.gateway.prepared(window.number) == 9900


def test_another_amount_written_into_the_page_does_not_even_open(world: World) -> None:
    window = payer(world, world.invoice(owed(world)).id).opens(amount=100)

    assert window.refused is not None
    assert window.reports().completion is Completion.NOT_OPENED
    assert charged(world) == []


def test_another_amount_that_was_paid_all_the_same_is_parked(world: World) -> None:
    one = owed(world)
    world.pg.fault("wrong_amount", times=1, value="100", path="/v1/window/*")

    buyer = payer(world, world.invoice(one).id)
    ended = buyer.opens().approves().reports()

    assert (ended.completion, ended.status) == (Completion.FORGED, "forgery")
    assert world.app.checkouts.show(buyer.token).stand == "forgery"  # not that a payment is under way: it never will be
    assert world.attempts(one)[0].state is AttemptState.MISMATCH
    assert world.invoice(one).state is InvoiceState.OPEN
    assert "payment.forgery" in told(world)
    assert world.is_proven()


def test_the_pg_is_told_to_stop_over_another_amount(world: World) -> None:
    window = payer(world, world.invoice(owed(world)).id).opens()

    assert world.app.checkouts.confirm(window.number, 100) == OTHER_AMOUNT
    assert world.app.checkouts.confirm("gdzz0000000000000000000000000a01", 9900) == UNKNOWN
    assert world.app.checkouts.confirm(window.number, 9900) is None


def test_a_go_begins_the_windows_hour_anew(world: World) -> None:
    one = owed(world)
    window = payer(world, world.invoice(one).id).opens()
    world.later(minutes=55).tick()
    assert world.app.checkouts.confirm(window.number, 9900) is None

    world.later(minutes=30).tick()
    assert world.attempts(one)[0].state is AttemptState.UNKNOWN
    world.later(hours=2).tick()
    assert world.attempts(one)[0].state is AttemptState.VOID


def test_a_card_kept_by_a_page_that_was_told_to_keep_none_is_parked(world: World) -> None:
    one = owed(world)
    other = owed(world)

    window = payer(world, world.invoice(one).id).opens(customer_uid="somebody", pg="html5_inicis.INIBillTst")
    ended = window.approves().reports()

    # An issue is no money at all: a page that asked for one has paid nothing.
    assert ended.completion is Completion.FORGED
    assert world.invoice(one).state is InvoiceState.OPEN
    assert world.invoice(other).state is InvoiceState.OPEN


def test_a_small_true_payment_does_not_pay_a_large_invoice(world: World) -> None:
    small, large = owed(world, "pro-daily"), owed(world)
    paid = payer(world, world.invoice(small).id).opens().approves()
    window = payer(world, world.invoice(large).id).opens()

    ended = world.app.checkouts.complete(paid.imp_uid, window.number)

    assert ended.status == "forgery"
    assert world.invoice(large).state is InvoiceState.OPEN
    assert world.invoice(small).state is InvoiceState.PAID  # it counts for what it is
    assert told(world).count("payment.forgery") == 1


def test_the_same_forgery_told_a_hundred_times_alarms_once(world: World) -> None:
    small, large = owed(world, "pro-daily"), owed(world)
    paid = payer(world, world.invoice(small).id).opens().approves()
    window = payer(world, world.invoice(large).id).opens()

    for _ in range(5):
        world.app.checkouts.complete(paid.imp_uid, window.number)

    assert told(world).count("payment.forgery") == 1


def test_a_number_nobody_gave_out_costs_the_pg_no_question(world: World) -> None:
    asked = len(world.pg.sandbox.ledger()["arrivals"])

    assert world.app.checkouts.complete("imp_000000000001", "gdzz0000000000000000000000000a01").status == "forgery"
    assert len(world.pg.sandbox.ledger()["arrivals"]) == asked


def test_whoever_asks_for_one_number_again_and_again_is_answered_from_our_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = owed(world)
    window = payer(world, world.invoice(one).id).opens().approves()
    asked: list[str] = []
    get = world.app.gateway.get_payment
    monkeypatch.setattr(world.app.gateway, "get_payment", lambda imp_uid: asked.append(imp_uid) or get(imp_uid))

    answers = {window.reports().status for _ in range(100)}

    assert answers == {"success"}
    assert len(asked) == 20


@pytest.mark.parametrize("name", ["../users/getToken", "imp_1%2e", "imp 1", "imp_1\r\nX: 1", "imp_１", "x" * 33])
def test_an_id_of_another_shape_goes_nowhere(world: World, name: str) -> None:
    window = payer(world, world.invoice(owed(world)).id).opens()
    with pytest.raises(RuleError, match="imp_uid"):
        world.app.checkouts.complete(name, window.number)


# --- who tells first ------------------------------------------------------------------------------


def test_the_notice_before_the_callback_and_after_it_books_once(database_url: str) -> None:
    world = World(database_url, hears=True)
    one = owed(world)
    window = payer(world, world.invoice(one).id).opens().approves()

    world.pg.sandbox.deliver_webhooks()
    world.tick()
    assert world.invoice(one).state is InvoiceState.PAID
    first = window.reports()
    world.pg.sandbox.deliver_webhooks()
    world.tick()

    assert (first.completion, window.reports().completion) == (Completion.PAID, Completion.PAID)
    assert told(world).count("invoice.paid") == 1
    assert world.is_proven()
    world.close()


def test_a_browser_that_never_comes_back_is_not_needed(world: World) -> None:
    one = owed(world)
    payer(world, world.invoice(one).id).opens().approves()

    world.later(minutes=5).tick()

    assert world.invoice(one).state is InvoiceState.PAID
    assert world.is_proven()


def test_a_record_that_cannot_be_seen_yet_is_neither_paid_nor_failed(world: World) -> None:
    one = owed(world)
    world.pg.fault("lookup_lag", times=1, value="30s", path="/v1/window/*")
    window = payer(world, world.invoice(one).id).opens().approves()

    assert window.reports().status == "pending"
    world.later(seconds=40)
    assert window.reports().status == "success"


# --- and everything else that collects ------------------------------------------------------------


def test_while_a_window_may_be_open_nothing_else_collects_its_invoice(world: World) -> None:
    one = world.subscriber(tel=TEL)
    world.pg.fault("decline", card="4242")
    world.at("2024-02-29 10:00").tick()
    world.pg.heals()
    world.at("2024-03-01 10:00")
    window = payer(world, world.invoice(one).id).opens()

    world.tick()
    world.later(minutes=30).tick()
    assert len(world.pg.arrivals()) == 2  # the first month and its declined second; no third
    window.approves().reports()
    world.days(3)

    assert charged(world) == [9900, 9900]
    assert world.pg.double_charged() == []
    assert world.is_proven()


def test_an_abandoned_window_delays_collecting_by_an_hour_or_two_and_no_more(world: World) -> None:
    one = world.subscriber(tel=TEL)
    world.pg.fault("decline", card="4242", times=1)
    world.at("2024-02-29 10:00").tick()
    world.at("2024-03-01 10:00")
    payer(world, world.invoice(one).id).opens()

    for _ in range(3):
        world.tick()
        world.later(hours=1, minutes=1)
    world.tick()

    assert world.invoice(one).state is InvoiceState.PAID
    assert [attempt.state for attempt in world.attempts(one)][-2:] == [AttemptState.VOID, AttemptState.PAID]


def test_a_window_approved_after_it_lapsed_and_was_collected_otherwise_is_stopped_or_given_back(world: World) -> None:
    one = world.subscriber(tel=TEL)
    world.pg.fault("decline", card="4242", times=1)
    world.at("2024-02-29 10:00").tick()
    world.at("2024-03-01 10:00")
    asks, silent = payer(world, world.invoice(one).id).opens(), payer(world, world.invoice(one).id).opens(confirm_url=None)
    for _ in range(3):
        world.later(hours=1, minutes=1).tick()
    assert world.invoice(one).state is InvoiceState.PAID

    stopped = asks.approves()
    assert stopped.reports().completion is Completion.FAILED or stopped.result["success"] is False
    assert charged(world) == [9900, 9900]
    # A shop whose PG does not ask first takes the money, and gives it back by itself.
    assert silent.approves().reports().completion is Completion.PAID
    world.later(minutes=1).tick()
    world.later(minutes=10).tick()
    assert charged(world) == [9900, 9900]
    assert world.is_proven()


def test_a_charge_under_way_opens_no_window(world: World) -> None:
    one = owed(world, card="approves")
    assert world.invoice(one).state is InvoiceState.PAID
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value="1h")
    world.at("2024-02-29 10:00").tick()

    assert payer(world, world.invoice(one).id).tries() == Outcome(Completion.PENDING, world.attempts(one)[-1].merchant_uid)


def test_two_tabs_share_one_number_and_the_pg_takes_its_money_once(world: World) -> None:
    one = owed(world)
    buyer = payer(world, world.invoice(one).id)
    first, second = buyer.opens(), buyer.opens()

    assert first.number == second.number
    first.approves()
    late = buyer.tries()

    assert isinstance(late, Outcome)
    assert late.completion is Completion.PAID
    second.approves()
    world.later(minutes=5).tick()
    world.later(minutes=10).tick()
    assert charged(world) == [9900]
    assert world.is_proven()


def test_a_window_opened_again_after_it_lapsed_keeps_its_number(world: World) -> None:
    one = owed(world)
    buyer = payer(world, world.invoice(one).id)
    first = buyer.opens()
    world.later(hours=2).tick()
    assert world.attempts(one)[0].state is AttemptState.VOID

    second = buyer.opens()

    assert second.number == first.number
    assert second.approves().reports().completion is Completion.PAID
    assert world.is_proven()


def test_a_planned_window_is_never_sent_by_a_scheduler(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = owed(world)
    world.card(world.subscription(one).customer_id)
    monkeypatch.setattr(world.app.gateway, "prepare", _dies)
    with pytest.raises(fault.InjectedFault):
        payer(world, world.invoice(one).id).tries()
    assert world.attempts(one)[0].state is AttemptState.PLANNED

    world.later(minutes=10).tick()

    assert world.attempts(one)[0].state is AttemptState.VOID
    assert world.pg.arrivals() == []


# --- other endings --------------------------------------------------------------------------------


def test_a_decline_says_why_costs_no_dunning_step_and_the_next_try_has_a_number_of_its_own(world: World) -> None:
    one = owed(world)
    buyer = payer(world, world.invoice(one).id)
    before = world.invoice(one)

    first = buyer.opens().approves("balance")
    ended = first.reports()

    assert (ended.completion, ended.status) == (Completion.FAILED, "failed")
    assert ended.message
    after = world.invoice(one)
    assert (after.declines, after.first_failed_at, after.collection) == (before.declines, None, before.collection)
    second = buyer.opens()
    assert second.number != first.number
    assert second.approves().reports().completion is Completion.PAID


def test_a_card_the_issuer_has_stopped_is_told_apart_now_and_on_every_reload(world: World) -> None:
    window = payer(world, world.invoice(owed(world)).id).opens().approves("lost")

    first, again = window.reports(), window.reports()

    assert (first.completion, first.status, again.completion) == (Completion.SUSPENDED, "failed", Completion.SUSPENDED)


def test_a_window_the_buyer_closed_can_be_opened_again(world: World) -> None:
    one = owed(world)
    buyer = payer(world, world.invoice(one).id)

    closed = buyer.opens().closes()

    assert closed.reports().completion is Completion.CLOSED
    assert buyer.opens().approves().reports().completion is Completion.PAID


def test_a_page_that_says_closed_after_paying_is_not_believed(world: World) -> None:
    one = owed(world)
    window = payer(world, world.invoice(one).id).opens().approves()

    ended = world.app.checkouts.complete(window.imp_uid, window.number, told="사용자가 결제를 취소하셨습니다")

    assert ended.completion is Completion.PAID


def test_a_page_that_asks_long_after_its_window_lapsed_decides_nothing(world: World) -> None:
    one = owed(world)
    window = payer(world, world.invoice(one).id).opens()
    world.later(hours=2)

    assert window.reports().status == "pending"
    assert world.attempts(one)[0].state is AttemptState.SENDING  # whoever holds it next lets it lapse


def test_nobody_puts_off_being_charged_for_ever_by_opening_windows(world: World) -> None:
    one = world.subscriber(tel=TEL)
    world.pg.fault("decline", card="4242", times=1)
    world.at("2024-02-29 10:00").tick()
    buyer = payer(world, world.invoice(one).id)
    number = buyer.opens().number

    for hour in range(80):
        world.later(minutes=50).tick()
        if hour % 2:
            world.app.checkouts.confirm(number, 9900)
        else:
            with suppress(RuleError, LinkRefused):
                payer(world, world.invoice(one).id).tries()

    assert world.invoice(one).state is InvoiceState.PAID
    assert world.attempts(one)[-2].wire_count == OPENINGS_MAX


def test_nobody_puts_off_being_charged_for_ever_with_accounts(world: World) -> None:
    one = owed(world)
    for _ in range(ACCOUNTS_MAX):
        buyer = payer(world, world.invoice(one).id, "vbank")
        buyer.opens("vbank").approves().reports()
        world.later(days=9).tick()

    with pytest.raises(RuleError, match="too often"):
        payer(world, world.invoice(one).id).tries()


def test_many_tries_by_hand_leave_numbers_for_what_collects_by_itself(world: World) -> None:
    one = owed(world)
    buyer = payer(world, world.invoice(one).id)
    for _ in range(12):
        buyer.opens().approves("balance").reports()

    with pytest.raises(RuleError, match="too often"):
        buyer.tries()


# --- virtual accounts -----------------------------------------------------------------------------


def test_an_account_is_issued_shown_told_and_its_deposit_settles_the_invoice(world: World) -> None:
    one = owed(world)
    buyer = payer(world, world.invoice(one).id, "vbank")

    window = buyer.opens("vbank").approves()
    ended = window.reports()

    assert (ended.completion, ended.status) == (Completion.ACCOUNT_ISSUED, "vbankIssued")
    assert ended.account is not None
    shown = world.app.checkouts.show(buyer.token)
    assert (shown.stand, shown.account) == ("waiting", ended.account)
    assert told(world).count("account.issued") == 1
    _deposit(world, window.imp_uid)
    world.later(hours=2).tick()
    assert world.invoice(one).state is InvoiceState.PAID
    assert told(world).count("account.issued") == 1
    assert world.is_proven()


def test_an_account_nobody_paid_into_expires_and_collecting_goes_on(world: World) -> None:
    one = world.subscriber(tel=TEL)
    world.pg.fault("decline", card="4242", times=1)
    world.at("2024-02-29 10:00").tick()
    world.at("2024-03-01 10:00")
    payer(world, world.invoice(one).id, "vbank").opens("vbank").approves().reports()

    world.days(5)
    assert len(world.pg.arrivals()) == 2  # nothing was charged while the account waited
    world.days(8)

    assert "account.expired" in told(world)
    assert world.invoice(one).state is InvoiceState.PAID
    assert world.is_proven()


def test_an_account_over_another_amount_is_not_shown_and_its_deposit_is_parked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = owed(world)
    monkeypatch.setattr(world.app.gateway, "prepare", lambda *_: None)  # as if the PG did not compare
    buyer = payer(world, world.invoice(one).id, "vbank")
    window = buyer.opens("vbank", amount=100).approves()

    assert window.reports().status == "forgery"
    assert world.app.checkouts.show(buyer.token).stand == "open"
    _deposit(world, window.imp_uid)
    world.later(hours=2).tick()

    assert world.attempts(one)[0].state is AttemptState.MISMATCH
    assert world.invoice(one).state is InvoiceState.OPEN


def test_a_deposit_of_another_amount_is_parked(world: World) -> None:
    one = owed(world)
    window = payer(world, world.invoice(one).id, "vbank").opens("vbank").approves()
    window.reports()

    _deposit(world, window.imp_uid, amount=5000)
    world.later(hours=2).tick()

    assert world.attempts(one)[0].state is AttemptState.MISMATCH
    assert world.invoice(one).state is InvoiceState.OPEN
    assert world.is_proven()


# --- a card ---------------------------------------------------------------------------------------


def test_a_card_is_registered_in_the_window_and_no_won_is_counted(world: World) -> None:
    customer = world.customer(None, tel=TEL)

    ended = registrant(world, customer).opens().approves().reports()

    assert (ended.completion, ended.charge) == (Completion.REGISTERED, None)
    assert keys(world, customer) == [KeyState.CURRENT]
    assert charged(world) == []
    assert world.app.reconcile().is_clean
    assert world.is_proven()


def test_a_card_that_was_refused_says_why_and_another_can_be_tried(world: World) -> None:
    customer = world.customer(None, tel=TEL)
    buyer = registrant(world, customer)

    first = buyer.opens().approves("wrong_number")
    ended = first.reports()

    assert (ended.completion, ended.status) == (Completion.FAILED, "failed")
    assert ended.message
    second = buyer.opens()
    assert second.number != first.number
    assert second.approves().reports().completion is Completion.REGISTERED


def test_what_waited_for_the_card_is_charged_at_once(world: World) -> None:
    one = owed(world)
    customer = world.subscription(one).customer_id

    ended = registrant(world, customer, invoice=world.invoice(one).id).opens().approves().reports()

    assert (ended.completion, ended.charge) == (Completion.REGISTERED, Completion.PAID)
    assert charged(world) == [9900]
    assert world.is_proven()


def test_a_declined_first_charge_leaves_the_card_registered_and_says_so(world: World) -> None:
    one = owed(world)
    customer = world.subscription(one).customer_id

    ended = registrant(world, customer, invoice=world.invoice(one).id).opens().approves("balance").reports()

    assert (ended.completion, ended.charge) == (Completion.REGISTERED, Completion.FAILED)
    assert keys(world, customer) == [KeyState.CURRENT]


@pytest.mark.parametrize(("card", "came"), [("approves", Completion.PAID), ("balance", Completion.FAILED)])
def test_a_worker_that_charges_the_new_card_first_takes_nothing_from_what_the_page_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, card: str, came: Completion
) -> None:
    one = owed(world)
    window = registrant(world, world.subscription(one).customer_id, invoice=world.invoice(one).id).opens().approves(card)
    worker, charge, settle = world.another_process(), world.app.charging.charge, world.app.settlement.settle

    def beaten_to_it(invoices: Sequence[str]) -> list[Verdict]:
        # The worker's charge is on its way when this one looks, and booked a moment later.
        world.pg.fault("lost_reply", times=1)
        world.pg.fault("lookup_lag", times=1, value=1)
        worker.charging.charge(invoices)
        return charge(invoices)

    def booked_meanwhile(uids: Sequence[str], **given: Any) -> list[Verdict]:
        world.later(seconds=2)
        worker.settle(uids)
        return settle(uids, **given)

    monkeypatch.setattr(world.app.charging, "charge", beaten_to_it)
    monkeypatch.setattr(world.app.settlement, "settle", booked_meanwhile)

    assert (window.reports().charge, len(world.attempts(one))) == (came, 1)
    assert world.is_proven()
    worker.close()


def test_a_card_that_refused_is_not_charged_again_because_its_page_is_loaded_again(world: World) -> None:
    one = owed(world)
    window = registrant(world, world.subscription(one).customer_id, invoice=world.invoice(one).id).opens().approves("balance")

    said = [window.reports().charge for _ in range(5)]

    assert said == [Completion.FAILED] * 5
    assert len(world.attempts(one)) == 1


def test_the_notice_alone_registers_the_card(database_url: str) -> None:
    world = World(database_url, hears=True)
    customer = world.customer(None, tel=TEL)
    registrant(world, customer).opens().approves()

    world.pg.sandbox.deliver_webhooks()
    world.tick()

    assert keys(world, customer) == [KeyState.CURRENT]
    assert world.app.reconcile().is_clean
    world.close()


def test_a_registration_nobody_told_of_is_found_and_its_invoice_charged(world: World) -> None:
    one = owed(world)
    customer = world.subscription(one).customer_id
    registrant(world, customer, invoice=world.invoice(one).id).opens().approves()

    world.later(hours=2).tick()
    world.later(minutes=1).tick()

    assert keys(world, customer) == [KeyState.CURRENT]
    assert charged(world) == [9900]
    assert world.is_proven()


def test_a_window_that_takes_its_time_is_not_swept_away(world: World) -> None:
    customer = world.customer(None, tel=TEL)
    window = registrant(world, customer).opens()

    world.later(minutes=45).tick()

    assert window.approves().reports().completion is Completion.REGISTERED


def test_a_registration_given_up_is_swept_away_and_can_be_begun_again(world: World) -> None:
    customer = world.customer(None, tel=TEL)
    buyer = registrant(world, customer)
    buyer.opens().closes()
    world.later(hours=2).tick()
    assert keys(world, customer) == [KeyState.REMOVED]

    assert buyer.opens().approves().reports().completion is Completion.REGISTERED
    assert keys(world, customer) == [KeyState.REMOVED, KeyState.CURRENT]


def test_somebody_elses_registration_registers_nothing_here(world: World) -> None:
    mine, theirs = world.customer(None, tel=TEL), world.customer(None, tel=TEL)
    other = registrant(world, theirs).opens().approves()
    window = registrant(world, mine).opens()

    ended = world.app.checkouts.complete(other.imp_uid, window.number)

    assert ended.status == "forgery"
    assert keys(world, mine) == [KeyState.PENDING]


def test_a_page_that_registers_under_another_customers_name_is_told_of(world: World) -> None:
    theirs = world.customer(tel=TEL)
    with world.app.store.read() as tx:
        (key,) = tx.customers.keys_of(theirs)
    mine = world.customer(None, tel=TEL)

    ended = registrant(world, mine).opens(customer_uid=key.customer_uid).approves().reports()

    assert ended.status == "forgery"
    assert keys(world, mine) == [KeyState.PENDING]
    assert "payment.forgery" in told(world)


def test_money_paid_under_a_registrations_number_is_found_and_freezes_nothing(world: World) -> None:
    customer = world.customer(None, tel=TEL)
    window = registrant(world, customer).opens(customer_uid=None, amount=1000, pg="html5_inicis.INIpayTest")

    ended = window.approves().reports()

    assert ended.status == "forgery"
    report = world.app.reconcile()
    assert [one.kind for one in report.unexplained] == ["unasked"]
    assert not report.is_frozen


def test_anybody_can_pay_under_a_name_like_ours_and_nothing_is_switched_off(world: World) -> None:
    one = owed(world)
    name = world.invoice(one).uid_stem[:-1] + "za09"
    payer(world, world.invoice(one).id).opens(merchant_uid=name, amount=100, confirm_url=None).approves()

    report = world.app.reconcile()

    assert [finding.kind for finding in report.unexplained] == ["unasked"]
    assert not report.is_frozen


def test_a_pg_that_charges_for_every_card_pays_an_invoice_with_it(database_url: str) -> None:
    charging = Channel("smilepay", "smile1", "channel-key-smile", "smile", bills=True, charges_at_issue=True)
    world = World(
        database_url,
        config=SandboxConfig(channels=(charging, *CHANNELS)),
        channels="sandbox/billing=smilepay.smile1",
    )
    one = owed(world)
    customer = world.subscription(one).customer_id
    with pytest.raises(RuleError, match="takes money when a card is registered"):
        registrant(world, customer)

    ended = registrant(world, customer, invoice=world.invoice(one).id).opens().approves().reports()

    assert ended.completion is Completion.PAID
    assert [attempt.way for attempt in world.attempts(one)] == [Way.ISSUE]
    assert keys(world, customer) == [KeyState.CURRENT]
    assert charged(world) == [9900]
    assert world.app.reconcile().is_clean
    assert world.is_proven()
    world.close()


# --- links and switches ---------------------------------------------------------------------------


def test_a_link_opens_nothing_after_its_time_and_shows_what_was_done(world: World) -> None:
    one = owed(world)
    buyer = payer(world, world.invoice(one).id)
    world.later(days=2)

    with pytest.raises(LinkRefused) as refused:
        buyer.tries()
    assert refused.value.is_expired
    assert world.app.checkouts.show(buyer.token).stand == "expired"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-2] + ("A" if t[-2] != "A" else "B") + t[-1],
        lambda t: t[1:],
        lambda _: "",
        lambda t: t * 3,
        lambda t: "홍" + t,
    ],
)
def test_a_link_that_was_changed_is_not_ours(world: World, change) -> None:  # type: ignore[no-untyped-def]
    buyer = payer(world, world.invoice(owed(world)).id)
    with pytest.raises(LinkRefused):
        world.app.checkouts.show(change(buyer.token))


def test_a_link_is_plain_enough_for_every_web_server(world: World) -> None:
    token = payer(world, world.invoice(owed(world)).id).token
    assert re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]{60,199}", token)


def test_a_frozen_engine_opens_nothing_and_stops_what_is_open(world: World) -> None:
    one = owed(world)
    buyer = payer(world, world.invoice(one).id)
    window = buyer.opens()
    world.app.controls.set_freeze(is_frozen=True, reason="test", actor="test")

    with pytest.raises(Frozen):
        buyer.tries()
    assert window.approves().result["success"] is False
    assert charged(world) == []


def test_an_invoice_voided_while_its_window_is_open_is_stopped_at_the_last_moment(world: World) -> None:
    one = owed(world)
    window = payer(world, world.invoice(one).id).opens()
    world.app.subscriptions.cancel(one, at_period_end=False, actor="test")

    window.approves()

    assert window.result["success"] is False
    assert charged(world) == []


def test_nobody_is_invited_to_pay_what_is_not_owed(world: World) -> None:
    one = world.subscriber(tel=TEL)
    with pytest.raises(RuleError, match="paid"):
        payer(world, world.invoice(one).id)


def _dies(*_: object) -> None:
    raise fault.InjectedFault("prepare")


def _deposit(world: World, imp_uid: str, **fields: object) -> None:
    body = json.dumps({"imp_uid": imp_uid, **fields}).encode()
    answer = world.pg.sandbox.handle("POST", "/_sandbox/vbank/deposit", {"content-type": "application/json"}, body)
    assert answer.status == 200, answer.body
