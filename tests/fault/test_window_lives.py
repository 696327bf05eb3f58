"""Windows as simulated buyers found them: what one of them does, or writes into its page, holds up and pays nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from billing.domain.attempt import AttemptState
from billing.domain.checkout import Completion
from billing.domain.customer import KeyState
from billing.domain.invoice import InvoiceState
from billing.errors import RuleError
from tests.kit.buyer import TEL, payer, registrant
from tests.kit.world import World


def declined_renewal(world: World) -> str:
    """A subscription whose second month was declined once and is due again tomorrow, 1 March."""
    one = world.subscriber(tel=TEL)
    world.pg.fault("decline", card="4242", times=1)
    world.at("2024-02-29 10:00").tick()
    world.at("2024-03-01 10:00")
    return one


def next_number(world: World, one: str) -> str:
    return f"{world.invoice(one).uid_stem}a{world.invoice(one).attempts_planned + 1:02d}"


def kept(world: World) -> list[float]:
    return sorted(row["kept"] for row in world.pg.kept())


# --- two windows under one number -----------------------------------------------------------------


def test_a_decline_in_one_tab_leaves_the_other_its_hour(world: World) -> None:
    one = declined_renewal(world)
    buyer = payer(world, world.invoice(one).id)
    first, second = buyer.opens(confirm_url=None), buyer.opens(confirm_url=None)

    ended = second.approves("balance").reports()
    world.tick()
    first.approves()
    for _ in range(3):
        world.later(hours=1).tick()

    assert ended.completion is Completion.FAILED
    assert kept(world) == [9900, 9900]
    assert len(world.pg.arrivals()) == 2  # January and the declined February: no card was charged beside the open tab
    assert world.is_proven()


def test_a_window_that_was_closed_leaves_the_one_opened_after_it_its_hour(world: World) -> None:
    """The PG shows the payment late, and until then only the closed window, as failed."""
    one = declined_renewal(world)
    world.pg.sandbox.config = replace(world.pg.sandbox.config, closed_window_leaves="failed")
    buyer = payer(world, world.invoice(one).id)
    buyer.opens().closes()
    world.pg.sandbox.config = replace(world.pg.sandbox.config, find_lag_seconds=120.0)
    again = buyer.opens()
    again.approves()

    world.later(seconds=20)
    again.reports()
    world.tick()
    for _ in range(3):
        world.later(hours=1).tick()

    assert world.invoice(one).state is InvoiceState.PAID
    assert len(world.pg.arrivals()) == 2


def test_when_every_window_failed_collecting_goes_on_after_an_hour(world: World) -> None:
    one = declined_renewal(world)
    buyer = payer(world, world.invoice(one).id)
    first, second = buyer.opens(), buyer.opens()
    first.approves("balance")
    second.approves("balance").reports()

    for _ in range(3):
        world.later(hours=1).tick()

    assert world.invoice(one).state is InvoiceState.PAID
    assert world.is_proven()


# --- what a buyer writes into the page ------------------------------------------------------------


def registered_under(world: World, number: str) -> Any:
    """A card registered in a window whose page names an order number of ours: a paid record over nothing."""
    customer = world.customer(None, tel=TEL)
    window = registrant(world, customer).opens(merchant_uid=number).approves()
    assert window.result["status"] == "paid"
    return window


def test_a_card_registered_under_an_invoices_number_is_no_payment(world: World) -> None:
    one = declined_renewal(world)
    registered = registered_under(world, next_number(world, one))
    window = payer(world, world.invoice(one).id).opens()  # the PG takes the number for paid, and opens nothing

    assert window.number == registered.number
    assert registered.reports().completion is not Completion.PAID
    assert world.attempts(one)[-1].state in (AttemptState.SENDING, AttemptState.UNKNOWN)
    for _ in range(3):
        world.later(hours=1).tick()

    assert world.invoice(one).state is InvoiceState.PAID  # by the card: the window lapsed, and the record held up nothing
    assert world.app.reconcile().is_frozen is False
    assert world.is_proven()


def test_a_card_registered_under_the_next_number_holds_up_nothing(world: World) -> None:
    one = declined_renewal(world)
    registered_under(world, next_number(world, one)).reports()

    world.tick()

    assert world.invoice(one).state is InvoiceState.PAID


def test_a_window_left_open_under_the_next_number_holds_up_nothing(world: World) -> None:
    one = declined_renewal(world)
    link = payer(world, world.invoice(one).id)
    window = link.opens(merchant_uid=next_number(world, one)[:-2] + "03")
    assert (window.refused, window.number[-3:]) == (None, "a03")
    for _ in range(3):
        world.later(hours=1).tick()

    assert world.invoice(one).state is InvoiceState.PAID
    assert world.attempts(one)[-1].seq == 3


def test_a_charge_in_doubt_is_not_decided_by_a_window_somebody_opened_under_its_number(world: World) -> None:
    one = declined_renewal(world)
    world.pg.fault("lost_request", path="/subscribe/payments/again", times=1)
    world.tick()
    doubtful = world.attempts(one)[-1]
    assert doubtful.state is AttemptState.UNKNOWN
    stranger = world.subscriber("pro-monthly", None, tel=TEL)
    payer(world, world.invoice(stranger).id).opens(merchant_uid=doubtful.merchant_uid).approves("balance")

    world.later(minutes=1).tick()

    assert world.attempts(one)[-1].state is AttemptState.UNKNOWN


def test_declines_left_under_every_number_to_come_use_up_none(world: World) -> None:
    one = declined_renewal(world)
    stem, link = world.invoice(one).uid_stem, payer(world, world.invoice(one).id)
    for number in range(3, 17):
        forged = link.opens(merchant_uid=f"{stem}a{number:02d}", amount=500, confirm_url=None).approves("balance")
        assert forged.result["status"] == "failed"

    for _ in range(4):
        world.tick()
        world.later(hours=1)

    assert world.invoice(one).state is InvoiceState.PAID
    assert kept(world) == [9900, 9900]
    assert world.is_proven()


# --- accounts -------------------------------------------------------------------------------------


def test_an_account_for_something_else_is_not_waited_for(world: World) -> None:
    one = declined_renewal(world)
    link = payer(world, world.invoice(one).id, "vbank")
    account = link.opens("vbank", vbank_due="20341231", currency="USD").approves()

    for _ in range(4):
        world.later(hours=1).tick()

    assert account.result["vbank_num"]
    assert world.invoice(one).state is InvoiceState.PAID


def test_a_page_loaded_again_and_again_uses_up_nobodys_patience(world: World) -> None:
    """Whoever looks at an account on the way does not shorten how long it is watched."""
    one = declined_renewal(world)
    link = payer(world, world.invoice(one).id, "vbank")
    link.opens("vbank").approves().reports()

    for _ in range(96):
        world.app.checkouts.complete(None, world.attempts(one)[-1].merchant_uid)
        world.later(minutes=15)
    assert world.attempts(one)[-1].wake_at is not None
    world.days(12)

    assert world.invoice(one).state is InvoiceState.PAID


def test_an_account_that_says_it_waits_for_years_is_waited_for_a_month(world: World) -> None:
    one = declined_renewal(world)
    payer(world, world.invoice(one).id, "vbank").opens("vbank", vbank_due="20341231").approves().reports()

    world.days(29)
    assert world.invoice(one).state is InvoiceState.OPEN
    world.days(5)

    assert world.attempts(one)[2].state is AttemptState.VOID
    assert "paid" in world.states(one)


# --- a card registered, and called a payment ------------------------------------------------------


def test_a_card_registered_under_the_next_number_for_the_right_amount_pays_nothing(world: World) -> None:
    """The record says paid, the amount is ours, the card is ours: and no won has moved."""
    one = declined_renewal(world)
    number, customer = next_number(world, one), world.subscription(one).customer_id
    with world.app.store.read() as tx:
        (key,) = tx.customers.keys_of(customer)

    window = registrant(world, customer).opens(merchant_uid=number, customer_uid=key.customer_uid, amount=9900)
    ended = window.approves().reports()
    assert kept(world) == [9900]
    world.tick()
    world.later(hours=2).tick()

    assert ended.completion is not Completion.PAID
    assert world.invoice(one).state is InvoiceState.PAID
    assert kept(world) == [9900, 9900]
    assert world.is_proven()


def registered_for(world: World, one: str, number: str) -> None:
    """The customer registers the very card it is charged on, under a charge's own number, and over its very amount."""
    customer = world.subscription(one).customer_id
    with world.app.store.read() as tx:
        (key,) = tx.customers.keys_of(customer)
    forged = {"merchant_uid": number, "customer_uid": key.customer_uid, "amount": 9900, "custom_data": None}
    assert registrant(world, customer).opens(**forged).approves().result["status"] == "paid"


def test_nor_under_the_number_of_a_charge_in_doubt(world: World) -> None:
    one = declined_renewal(world)
    world.pg.fault("lost_request", path="/subscribe/payments/again", times=1)
    world.tick()

    registered_for(world, one, world.attempts(one)[-1].merchant_uid)
    world.later(minutes=3).tick()

    assert world.attempts(one)[-1].state is AttemptState.UNKNOWN
    assert kept(world) == [9900]


def test_nor_under_the_number_of_a_charge_that_was_declined(database_url: str) -> None:
    world = World(database_url, hears=True)
    one = declined_renewal(world)

    registered_for(world, one, world.attempts(one)[-1].merchant_uid)
    world.pg.sandbox.deliver_webhooks()
    world.app.heed()
    world.app.reconcile()

    assert world.attempts(one)[-1].state is AttemptState.DECLINED
    assert world.invoice(one).state is InvoiceState.OPEN
    assert world.app.reconcile().is_clean
    world.close()


def test_nor_in_the_window_that_was_opened_for_it(world: World) -> None:
    one = declined_renewal(world)
    customer = world.subscription(one).customer_id
    with world.app.store.read() as tx:
        (key,) = tx.customers.keys_of(customer)

    window = payer(world, world.invoice(one).id).opens(customer_uid=key.customer_uid, pg="html5_inicis.INIBillTst")
    ended = window.approves().reports()

    assert ended.completion is not Completion.PAID
    assert world.invoice(one).state is InvoiceState.OPEN


def test_a_deposit_of_another_amount_under_a_number_that_was_declined_is_parked_and_ends_no_pass(world: World) -> None:
    one, other = declined_renewal(world), world.subscriber()
    link = payer(world, world.invoice(one).id, "card", "vbank")
    account, card = link.opens("vbank"), link.opens()
    account.approves()
    assert card.approves("balance").reports().completion is Completion.FAILED  # of two records the PG shows the newest
    body = json.dumps({"imp_uid": account.imp_uid, "amount": 5000}).encode()
    world.pg.sandbox.handle("POST", "/_sandbox/vbank/deposit", {"content-type": "application/json"}, body)

    link.tries()  # plans a number, and its probe finds the deposit
    world.at("2024-03-02 10:00").tick()
    world.at("2024-03-31 10:00").tick()

    assert AttemptState.MISMATCH in [attempt.state for attempt in world.attempts(one)]
    assert world.invoices(other)[-1].state is InvoiceState.PAID
    assert len(world.pg.arrivals()) == 3  # January, the declined February, and the other: nothing was charged beside it
    assert world.is_proven()


def test_beside_a_window_that_may_be_open_such_a_deposit_waits_to_be_parked(world: World) -> None:
    one = declined_renewal(world)
    link = payer(world, world.invoice(one).id, "card", "vbank")
    account, card = link.opens("vbank"), link.opens()
    account.approves()
    card.approves("balance").reports()
    link.opens()
    body = json.dumps({"imp_uid": account.imp_uid, "amount": 5000}).encode()
    world.pg.sandbox.handle("POST", "/_sandbox/vbank/deposit", {"content-type": "application/json"}, body)

    assert account.reports().completion is not Completion.PAID
    for _ in range(4):
        world.later(hours=1).tick()
    world.app.reconcile()

    assert AttemptState.MISMATCH in [attempt.state for attempt in world.attempts(one)]
    assert kept(world) == [5000, 9900]
    assert world.is_proven()


def test_a_worker_that_slept_after_its_look_lets_no_window_lapse(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = declined_renewal(world)
    window = payer(world, world.invoice(one).id).opens(confirm_url=None)
    world.later(minutes=10)
    look = world.app.settlement._learn

    def slow(*given: Any, **more: Any) -> Any:
        seen = look(*given, **more)
        world.later(minutes=70)
        window.approves()
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(world.app.settlement, "_learn", slow)
        world.app._resolution.resolve(10)
    assert world.attempts(one)[-1].state is AttemptState.UNKNOWN

    world.later(minutes=5).tick()
    assert world.invoice(one).state is InvoiceState.PAID
    assert kept(world) == [9900, 9900]


# --- cards nobody can take ------------------------------------------------------------------------


def test_a_card_registered_on_a_test_channel_counts_for_nothing_and_delays_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page names the channel: a buyer of a live shop can choose its test channel, where any card is good."""
    customer, other = world.customer(None, tel=TEL), world.subscriber()
    registrant(world, customer).opens().approves()
    monkeypatch.setattr(world.app.cards, "_policy", replace(world.app.policy, is_live=True))

    world.at("2024-02-29 10:00").tick()

    assert len(world.invoices(other)) == 2
    assert kept(world) == [9900, 9900]
    with world.app.store.read() as tx:
        assert [key.state for key in tx.customers.keys_of(customer)] == [KeyState.REMOVED]


def test_a_card_that_cannot_be_settled_delays_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    customer, other = world.customer(None, tel=TEL), world.subscriber()
    registrant(world, customer).opens().approves()
    monkeypatch.setattr(world.app.cards, "_current", _breaks)

    world.at("2024-02-29 10:00").tick()

    assert len(world.invoices(other)) == 2
    assert kept(world) == [9900, 9900]


def _breaks(*_: object) -> None:
    raise RuleError("card", "has a name longer than any column")


# --- records nobody can read ----------------------------------------------------------------------


@pytest.mark.parametrize("forged", [{"amount": 100.5}, {"currency": "XYZ"}], ids=["half-a-won", "no-currency"])
@pytest.mark.parametrize("act", ["approves", "balance"])
def test_a_record_that_cannot_be_read_delays_nobody_else(world: World, forged: dict[str, Any], act: str) -> None:
    one, other = declined_renewal(world), world.subscriber()
    link = payer(world, world.invoice(one).id)
    link.opens(merchant_uid=next_number(world, one), confirm_url=None, **forged).approves(act)
    link.opens(merchant_uid=next_number(world, other), confirm_url=None, **forged).approves(act)

    world.at("2024-04-01 10:00").tick()
    world.later(minutes=10).tick()

    assert world.invoices(other)[-1].state is InvoiceState.PAID
    assert (
        len(
            [
                row
                for row in world.pg.kept()
                if row["merchant_uid"] == world.attempts(other)[-1].merchant_uid and row["kept"] == 9900
            ]
        )
        == 1
    )


def test_an_outcome_in_doubt_is_decided_beside_a_record_that_cannot_be_read(world: World) -> None:
    one, other = declined_renewal(world), world.subscriber()
    window = payer(world, world.invoice(one).id).opens(currency="XYZ", confirm_url=None).approves()
    world.pg.fault("lost_reply", path="/subscribe/payments/again")
    world.at("2024-04-01 10:00").tick()
    world.pg.heals()

    for _ in range(4):
        world.later(minutes=10).tick()

    assert window.result["status"] == "paid"
    assert world.invoices(other)[-1].state is InvoiceState.PAID
    assert [finding.kind for finding in world.app.reconcile().unexplained] == ["unreadable"]
