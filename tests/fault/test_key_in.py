"""A card that is typed in once: charged at most once, kept only if that was asked for, and never sent by anybody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from billing import fault
from billing.domain.attempt import NUMBERS_PER_INVOICE, Way
from billing.domain.invoice import InvoiceState
from billing.domain.settlement import Verdict
from billing.domain.subscription import SubscriptionState as S
from billing.errors import BillingError, CredentialsRefused, Frozen, RuleError
from billing.flow.opening import Opened
from billing.gateway.card import Card
from billing.key_in import KeyIn
from billing.sandbox import MAGIC_CARDS
from tests.kit.world import World

TEL = {"buyer_tel": "010-1234-5678"}


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    fault.arm("")
    fault.visit(None)


def card(name: str = "approves") -> Card:
    return Card(number=MAGIC_CARDS[name].number, expiry="2040-12", birth="900101")


def owing(world: World) -> str:
    """A subscriber whose renewal of 29 February was declined; the ladder tries her card again on the next day."""
    mina = world.subscriber()
    world.pg.fault("decline", times=1)
    world.at("2024-02-29 10:00").tick()
    assert world.states(mina) == ["paid", "declined"]
    return mina


def types_in(world: World, subscription: str, name: str = "approves", *, keeps: bool = False) -> Verdict:
    """Somebody types a card in for the newest invoice."""
    return KeyIn(world.app).charge(world.invoice(subscription).id, card(name), keeps=keeps, actor="sora")


def dies_at(world: World, subscription: str, point: str, *, keeps: bool = False) -> None:
    """The process that holds the card dies at this point."""
    fault.arm(f"{point}=error")
    with pytest.raises(fault.InjectedFault):
        types_in(world, subscription, keeps=keeps)
    fault.arm("")


def meanwhile(point: str, act: Callable[[], object]) -> None:
    """Let this happen when the road passes `point` the next time."""

    def once(name: str) -> None:
        if name == point:
            fault.visit(None)
            act()

    fault.visit(once)


def cards(world: World, subscription: str) -> list[tuple[str, str]]:
    """Name and state of every card she ever had."""
    found = world.app.views.cards(world.subscription(subscription).customer_id)
    return [(one["customer_uid"], one["state"]) for one in found]


# --- how it ends ---------------------------------------------------------------------------------


def test_a_card_that_is_typed_in_pays_the_invoice_and_is_not_kept(world: World) -> None:
    mina = owing(world)
    before = cards(world, mina)
    assert types_in(world, mina).name == "paid"

    assert world.states(mina) == ["paid", "declined", "paid"]
    assert world.subscription(mina).state is S.ACTIVE
    assert (world.attempts(mina)[-1].way, world.attempts(mina)[-1].customer_uid) == (Way.ONETIME, "")
    assert cards(world, mina) == before
    world.days(3)
    assert len(world.pg.kept()) == 2
    assert world.is_proven()


def test_a_card_that_is_kept_is_what_she_is_charged_on_from_then_on(world: World) -> None:
    mina = owing(world)
    ((before, _),) = cards(world, mina)
    assert types_in(world, mina, keeps=True).name == "paid"

    kept = world.attempts(mina)[-1].customer_uid
    assert cards(world, mina) == [(before, "removed"), (kept, "current")]
    world.at("2024-03-31 10:00").tick()
    assert [one.customer_uid for one in world.attempts(mina)] == [before, before, kept, kept]
    assert world.states(mina) == ["paid", "declined", "paid", "paid"]
    assert world.is_proven()


@pytest.mark.parametrize("keeps", [False, True])
def test_a_card_that_is_declined_costs_her_no_step_of_the_ladder(world: World, *, keeps: bool) -> None:
    mina = owing(world)
    before, had = world.invoice(mina), cards(world, mina)
    assert types_in(world, mina, "balance", keeps=keeps).name == "declined"

    after = world.invoice(mina)
    assert (after.declines, after.next_attempt_at, after.collection) == (
        before.declines,
        before.next_attempt_at,
        before.collection,
    )
    assert world.subscription(mina).state is S.PAST_DUE
    world.days(1)
    assert world.states(mina) == ["paid", "declined", "declined", "paid"], "the ladder goes on with the card on file"
    assert [one for one in cards(world, mina) if one[1] != "removed"] == had
    assert world.is_proven()


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("lost", ["lost_reply", "error_after_approval", "garbage"])
def test_a_charge_whose_answer_was_lost_is_found_and_never_made_twice(world: World, lost: str, *, keeps: bool) -> None:
    mina = owing(world)
    world.pg.fault(lost, times=1)
    world.pg.fault("lookup_lag", times=1, value=300)
    assert types_in(world, mina, keeps=keeps).name == "unknown"
    with pytest.raises(RuleError, match="is unknown; wait until it is decided"):
        types_in(world, mina)
    assert [one.name for one in world.app.retry([world.invoice(mina).id])] == ["unknown"]

    world.until_decided()
    assert world.states(mina) == ["paid", "declined", "paid"]
    assert len(world.pg.arrivals()) == 3
    world.later(minutes=20).tick()
    assert cards(world, mina)[-1] == (world.attempts(mina)[-1].customer_uid if keeps else cards(world, mina)[0][0], "current")
    assert world.is_proven()


@pytest.mark.parametrize("keeps", [False, True])
def test_a_charge_that_never_arrived_is_given_up_once_that_is_proven_and_nobody_sends_it_again(
    world: World, *, keeps: bool
) -> None:
    """The card is used up: what is proven dead cannot be repeated, not even on a card that was to be kept."""
    mina = owing(world)
    world.pg.fault("lost_request", times=1)
    assert types_in(world, mina, keeps=keeps).name == "unknown"
    uid, arrivals = world.attempts(mina)[-1].merchant_uid, len(world.pg.arrivals())

    world.until_decided(hours=30)
    assert world.states(mina) == ["paid", "declined", "void"]
    assert len(world.pg.arrivals()) == arrivals

    assert [one.name for one in world.app.retry([world.invoice(mina).id])] == ["paid"]
    assert uid not in world.pg.arrivals()[arrivals:]
    assert len(world.pg.kept()) == 2
    world.days(1)
    assert [state for _, state in cards(world, mina)] == ["current", "removed"][: 1 + keeps]
    assert world.is_proven()


def test_what_waits_for_a_typed_card_goes_on_by_itself_when_that_came_to_nothing(world: World) -> None:
    mina = owing(world)
    world.pg.fault("lost_request", times=1)
    types_in(world, mina)
    world.until_decided(hours=30)
    world.days(1)
    assert world.states(mina) == ["paid", "declined", "void", "paid"]
    assert world.is_proven()


@pytest.mark.parametrize(
    ("name", "field"), [("wrong_amount", "amount"), ("wrong_customer", "customer_uid"), ("live_record", "sandbox")]
)
@pytest.mark.parametrize("keeps", [False, True])
def test_a_payment_that_is_not_what_was_asked_for_is_parked_and_grants_nothing(
    world: World, name: str, field: str, *, keeps: bool
) -> None:
    mina = owing(world)
    world.pg.fault(name, times=1)
    verdict = types_in(world, mina, keeps=keeps)
    assert (verdict.name, field in getattr(verdict, "differs", ())) == ("mismatch", True)
    world.days(10)
    assert world.states(mina) == ["paid", "declined", "mismatch"]
    assert world.invoice(mina).state is InvoiceState.OPEN
    assert world.is_proven()


# --- what was not sent ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["token_revoked", "refuse_connection"])
def test_a_charge_refused_at_the_door_uses_up_the_card_and_nothing_else(world: World, name: str) -> None:
    mina = owing(world)
    world.pg.fault(name, path="/subscribe/payments/onetime", times=1)
    assert types_in(world, mina).name == "unsent"
    uid, arrivals = world.attempts(mina)[-1].merchant_uid, len(world.pg.arrivals())
    is_dead = world.attempts(mina)[-1].token_fp != world.app.gateway.token().fingerprint
    assert is_dead is (name == "token_revoked"), "the token that was refused is not asked to charge again"

    assert types_in(world, mina).name == "paid"
    assert world.pg.arrivals()[arrivals:] == [uid], "the number it did not use"
    assert world.states(mina) == ["paid", "declined", "paid"]
    assert world.is_proven()


@pytest.mark.parametrize("name", ["token_revoked", "refuse_connection"])
def test_what_was_refused_at_the_door_is_sent_by_no_pass_and_no_retry(world: World, name: str) -> None:
    mina = owing(world)
    world.pg.fault(name, path="/subscribe/payments/onetime", times=1)
    types_in(world, mina, keeps=True)
    arrivals = len(world.pg.arrivals())
    world.later(minutes=4)
    assert [one.name for one in world.app.retry([world.invoice(mina).id])] == ["not_tried"]
    assert world.states(mina)[-1] == "void"
    assert len(world.pg.arrivals()) == arrivals
    assert [one.name for one in world.app.retry([world.invoice(mina).id])] == ["paid"]
    assert world.is_proven()


def test_an_outage_of_the_pg_costs_no_number_however_often_the_card_is_typed(world: World) -> None:
    mina = owing(world)
    world.pg.fault("auth_dead")
    for _ in range(8):
        with pytest.raises(CredentialsRefused):
            types_in(world, mina)
    world.pg.heals()
    world.later(minutes=1)
    assert types_in(world, mina).name == "paid"
    assert len(world.attempts(mina)) == 3
    assert world.is_proven()


def test_wrong_cards_leave_a_number_to_what_collects_by_itself(world: World) -> None:
    """A refusal without a record uses a number up, and five of those in a row would blind the probe."""
    mina = owing(world)
    for _ in range(16):
        try:
            types_in(world, mina, "wrong_number")
        except RuleError as error:
            assert (error.field, "too often" in error.problem) == ("invoice", True)  # noqa: PT017
            break
        world.later(minutes=4).tick()
    else:
        pytest.fail("nobody stopped it")
    world.days(1)
    assert world.states(mina)[-1] == "paid"
    assert world.is_proven()


def test_declined_cards_leave_numbers_to_what_collects_by_itself(world: World) -> None:
    mina = owing(world)
    while len(world.attempts(mina)) < 1 + NUMBERS_PER_INVOICE - 4:
        assert types_in(world, mina, "balance").name == "declined"
    with pytest.raises(RuleError, match="too often"):
        types_in(world, mina, "balance")
    world.days(1)
    assert world.states(mina)[-1] == "paid"
    assert world.is_proven()


def test_a_process_that_dies_again_and_again_never_blinds_the_probe(world: World) -> None:
    """Found by reading: a number that was voided in the same breath still counted as one with a record."""
    mina = owing(world)
    for number in range(16):
        fault.arm("K01=error")
        with pytest.raises((fault.InjectedFault, RuleError)):
            types_in(world, mina, keeps=number % 2 == 0)
        fault.arm("")
    numbers = [one.seq for one in world.attempts(mina) if one.invoice_id == world.invoice(mina).id]
    assert len(numbers) <= 6
    world.later(minutes=4).tick()
    world.days(1)
    assert world.states(mina)[-1] == "paid"
    assert world.is_proven()


# --- who dies, and who else is there --------------------------------------------------------------


@pytest.mark.parametrize("point", ["K01", "K02"])
@pytest.mark.parametrize("keeps", [False, True])
def test_a_card_whose_process_died_before_it_armed_is_sent_by_nobody(world: World, point: str, *, keeps: bool) -> None:
    mina = owing(world)
    arrivals = len(world.pg.arrivals())
    dies_at(world, mina, point, keeps=keeps)
    assert world.states(mina)[-1] == "planned"

    world.later(minutes=4).tick()
    assert world.states(mina) == ["paid", "declined", "void"]
    assert len(world.pg.arrivals()) == arrivals
    world.days(1)
    assert world.states(mina)[-1] == "paid"
    assert world.is_proven()


@pytest.mark.parametrize("keeps", [False, True])
def test_a_card_whose_process_died_armed_is_watched_and_sent_by_nobody(world: World, *, keeps: bool) -> None:
    mina = owing(world)
    arrivals = len(world.pg.arrivals())
    dies_at(world, mina, "K03", keeps=keeps)
    with pytest.raises(RuleError, match="is sending"):
        types_in(world, mina)
    world.later(minutes=4).tick()
    assert world.states(mina)[-1] == "unknown"
    world.until_decided(hours=30)
    assert world.states(mina) == ["paid", "declined", "void"]
    assert len(world.pg.arrivals()) == arrivals
    world.days(1)
    assert world.states(mina)[-1] == "paid"
    assert world.is_proven()


@pytest.mark.parametrize("point", ["K07", "K08", "K09", "K10"])
def test_a_charge_whose_process_died_after_the_send_is_found(world: World, point: str) -> None:
    mina = owing(world)
    if point == "K07":
        fault.arm("K07=error")
        types_in(world, mina, keeps=True)  # inside the call the engine answers for itself: whether it was sent is not known
        fault.arm("")
    else:
        dies_at(world, mina, point, keeps=True)
    world.later(minutes=4).tick()
    world.until_decided()
    world.later(minutes=20).tick()
    assert world.states(mina) == ["paid", "declined", "paid"]
    assert len(world.pg.arrivals()) == 3
    assert cards(world, mina)[-1] == (world.attempts(mina)[-1].customer_uid, "current")
    assert world.is_proven()


def test_a_pass_that_takes_it_up_before_it_is_armed_keeps_it_from_being_sent(world: World) -> None:
    mina = owing(world)
    arrivals, other = len(world.pg.arrivals()), world.another_process()
    meanwhile("K02", lambda: (world.later(minutes=4), other.renew()))
    assert types_in(world, mina).name == "not_tried"
    other.close()
    assert world.states(mina)[-1] == "void"
    assert len(world.pg.arrivals()) == arrivals
    assert world.is_proven()


@pytest.mark.parametrize("point", ["K02", "K03", "K04", "K07", "K08"])
def test_a_pass_beside_it_touches_nothing_while_its_lease_lasts(world: World, point: str) -> None:
    mina = owing(world)
    other, seen = world.another_process(), list[Counter[str]]()
    meanwhile(point, lambda: seen.append(other.renew()))
    assert types_in(world, mina, keeps=True).name == "paid"
    other.close()
    assert seen == [Counter()]
    assert world.states(mina) == ["paid", "declined", "paid"]
    assert len(world.pg.arrivals()) == 3


def test_a_send_that_is_slower_than_its_lease_is_still_the_only_one(world: World) -> None:
    mina = owing(world)
    other = world.another_process()
    meanwhile("K04", lambda: (world.later(minutes=4), other.renew(), world.later(minutes=6), other.renew()))
    assert types_in(world, mina, keeps=True).name == "paid"
    other.close()
    assert world.states(mina) == ["paid", "declined", "paid"]
    assert len(world.pg.arrivals()) == 3
    assert world.is_proven()


def test_two_who_type_at_the_same_time_charge_once(world: World) -> None:
    mina = owing(world)
    second: list[Verdict] = []
    meanwhile("K02", lambda: second.append(types_in(world, mina)))
    assert types_in(world, mina).name == "not_tried"
    assert [one.name for one in second] == ["paid"]
    assert len(world.pg.kept()) == 2
    assert world.is_proven()


def test_a_retry_that_won_leaves_nothing_to_type_in_for(world: World) -> None:
    mina = owing(world)
    assert [one.name for one in world.app.retry([world.invoice(mina).id])] == ["paid"]
    with pytest.raises(RuleError, match="is paid"):
        types_in(world, mina)


def test_it_waits_for_a_charge_of_the_key_that_is_under_way(world: World) -> None:
    mina = owing(world)
    world.pg.fault("lost_request", path="/subscribe/payments/again", times=1)
    world.app.retry([world.invoice(mina).id])
    with pytest.raises(RuleError, match="is unknown; wait until it is decided"):
        types_in(world, mina)


def test_it_waits_for_a_charge_of_the_key_that_is_only_planned(world: World) -> None:
    mina = owing(world)
    fault.arm("K01=error")
    with pytest.raises(fault.InjectedFault):
        world.app.retry([world.invoice(mina).id])
    fault.arm("")
    with pytest.raises(RuleError, match="is planned; wait until it is decided"):
        types_in(world, mina)
    world.later(minutes=4).tick()
    assert world.states(mina) == ["paid", "declined", "paid"]


def test_it_waits_for_a_window_that_may_be_open(world: World) -> None:
    mina = owing(world)
    link = world.app.checkouts.pay(world.invoice(mina).id, options=TEL, actor="test")
    assert isinstance(world.app.checkouts.open(link.token, "card"), Opened)
    with pytest.raises(RuleError, match="is sending; wait until it is decided"):
        types_in(world, mina)

    world.until_decided(hours=3)
    assert types_in(world, mina).name == "paid"
    assert world.is_proven()


def test_a_frozen_engine_takes_no_card(world: World) -> None:
    mina = owing(world)
    world.app.controls.set_freeze(is_frozen=True, reason="drill", actor="admin")
    with pytest.raises(Frozen):
        types_in(world, mina)
    assert world.states(mina) == ["paid", "declined"]


def test_an_engine_that_freezes_before_it_is_armed_sends_nothing(world: World) -> None:
    mina = owing(world)
    arrivals = len(world.pg.arrivals())
    meanwhile("K02", lambda: world.app.controls.set_freeze(is_frozen=True, reason="drill", actor="admin"))
    with pytest.raises(Frozen):
        types_in(world, mina)
    assert len(world.pg.arrivals()) == arrivals


def test_an_invoice_that_is_closed_before_it_is_armed_is_not_charged(world: World) -> None:
    mina = owing(world)
    arrivals = len(world.pg.arrivals())
    meanwhile("K02", lambda: world.app.subscriptions.cancel(mina, at_period_end=False, actor="mina"))
    assert types_in(world, mina).name == "not_tried"
    assert len(world.pg.arrivals()) == arrivals


@pytest.mark.parametrize("channel", ["ksnet.2999199999", "tosspayments.tvivarepublica"])
def test_a_pg_that_keeps_no_card_with_a_charge_is_not_asked_to(world: World, channel: str) -> None:
    mina = owing(world)
    elsewhere = world.another_process(pg=channel)
    with pytest.raises(RuleError, match=r"keeps: \w+ keeps no card that comes with a charge; register the card by itself"):
        KeyIn(elsewhere).charge(world.invoice(mina).id, card(), keeps=True)
    elsewhere.close()
    assert world.states(mina) == ["paid", "declined"]


@pytest.mark.parametrize("ending", ["paid", "declined", "refused by a rule", "nobody asked"])
def test_the_card_is_empty_afterwards_however_it_ends(world: World, ending: str) -> None:
    mina = owing(world)
    typed = card("balance" if ending == "declined" else "approves")
    if ending == "nobody asked":
        world.pg.fault("auth_dead")
    wanted = "nope" if ending == "refused by a rule" else world.invoice(mina).id
    with suppress(BillingError):
        KeyIn(world.app).charge(wanted, typed, actor="sora")
    with pytest.raises(RuleError, match="was used already"):
        typed.revealed()
