"""Refunds: what was asked for is given back once, whatever happens to the request, the answer or the process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update

from billing import fault
from billing.domain.evidence import PaymentFact, Refusal, RefusalKind
from billing.domain.refund import Refund, RefundState, tag_of
from billing.domain.refund_settlement import Settled
from billing.errors import CredentialsRefused, Frozen, NotFound, RuleError
from billing.flow.refund_settlement import Page
from billing.store import tables
from billing.store.refunds import MAPPER
from tests.kit.world import World, world_on

R = RefundState


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    fault.arm("")


def paid(world: World, price: str = "pro-monthly") -> str:
    """An invoice over ₩9,900 that was paid."""
    return world.invoice(world.subscriber(price)).id


def refunds(world: World) -> list[Refund]:
    """Every refund, oldest first."""
    with world.app.store.read() as tx:
        query = select(*MAPPER.columns).order_by(tables.refund.c.id)
        return [MAPPER.record(row) for row in tx.connection.execute(query)]


def ask(world: World, invoice: str, amount: int | None = 3000, **more: Any) -> Refund:
    """Ask for money back."""
    return world.app.refunds.request(invoice, amount=amount, reason="반품", actor="mina", **more)


def until_given(world: World, hours: int = 6) -> None:
    """Tick every ten minutes until no refund is under way any more."""
    for _ in range(hours * 6):
        if not any(one.state in (R.PLANNED, R.SENDING, R.UNKNOWN) for one in refunds(world)):
            return
        world.later(minutes=10).tick()


def topics(world: World, prefix: str = "refund.") -> list[str]:
    """What the host was told of refunds, in order."""
    one = tables.outbox_event
    with world.app.store.read() as tx:
        query = select(one.c.topic).where(one.c.topic.startswith(prefix)).order_by(one.c.id)
        return list(tx.connection.execute(query).scalars())


def balances(world: World) -> dict[str, int]:
    """What every account of the ledger stands at."""
    rows = "SELECT debit, credit, amount FROM billing_ledger_transfer"
    found: dict[str, int] = {}
    with world.app.store.read() as tx:
        for debit, credit, amount in tx.connection.execute(text(rows)):
            found[debit] = found.get(debit, 0) + amount
            found[credit] = found.get(credit, 0) - amount
    return found


def given_once(world: World, *amounts: int) -> None:
    """The PG gave back exactly these amounts, and the books say the same."""
    assert sorted(amount for _, amount in world.pg.given_back()) == sorted(amounts)
    assert sorted(one.amount for one in refunds(world) if one.state is R.DONE) == sorted(amounts)
    assert not any(one.state in (R.PLANNED, R.SENDING, R.UNKNOWN) for one in refunds(world))
    assert world.is_proven()


# --- the plain road -----------------------------------------------------------------------------


def test_a_part_and_then_the_rest_is_given_back_and_the_books_end_at_nothing(world: World) -> None:
    invoice = paid(world)
    part = ask(world, invoice, 3333, request_key="ticket-1")
    rest = ask(world, invoice, None, full=True)

    assert (part.state, rest.state, rest.amount) == (R.DONE, R.DONE, 6567)
    given_once(world, 3333, 6567)
    assert set(balances(world).values()) == {0}
    assert part.vat + rest.vat == 900
    assert topics(world) == ["refund.done", "refund.done"]


def test_every_request_carries_amount_balance_and_name_and_never_an_amount_of_nothing(world: World) -> None:
    invoice = paid(world)
    bodies = spied(world)
    one, two = ask(world, invoice, 3000), ask(world, invoice, None, full=True)
    assert [(body["amount"], body["checksum"], body["enable_webhook"]) for body in bodies] == [
        (3000, 9900, False),
        (6900, 6900, False),
    ]
    assert [body["reason"] for body in bodies] == [f"{tag_of(one.request_key)} 반품", f"{tag_of(two.request_key)} 반품"]
    assert [(body["tax_free"], body["vat_amount"]) for body in bodies] == [(0, 273), (0, 627)]


def spied(world: World) -> list[dict[str, Any]]:
    """The body of every refund request from now on."""
    bodies: list[dict[str, Any]] = []
    call = world.app.gateway._http.call  # type: ignore[attr-defined]

    def listen(method: str, target: str, **given: Any) -> Any:
        if target == "/payments/cancel":
            bodies.append(json.loads(given["body"]))
        return call(method, target, **given)

    world.app.gateway._http.call = listen  # type: ignore[attr-defined]
    return bodies


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": 9901}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 3000.0}, "amount"),
        ({"amount": 3000, "full": True}, "amount"),
        ({"amount": 1, "reason": " "}, "reason"),
        ({"amount": 1, "reason": "x" * 201}, "reason"),
        ({"amount": 1, "reason": "a\nb"}, "reason"),
        ({"amount": 1, "request_key": ""}, "key"),
        ({"amount": 1, "request_key": "pg:1"}, "key"),
    ],
)
def test_what_is_no_refund_is_refused_before_any_row_or_call(world: World, terms: dict[str, Any], field: str) -> None:
    invoice = paid(world)
    with pytest.raises(RuleError) as refused:
        world.app.refunds.request(invoice, **{"reason": "반품", "actor": "mina"} | terms)
    assert refused.value.field == field
    assert refused.value.cure
    assert (refunds(world), world.pg.cancels()) == ([], [])


def test_an_unpaid_and_an_unknown_invoice_cannot_be_refunded(world: World) -> None:
    unpaid = world.invoice(world.subscriber(card="balance")).id
    with pytest.raises(RuleError, match="no payment settled it"):
        ask(world, unpaid)
    with pytest.raises((NotFound, RuleError)):
        ask(world, "no-such-invoice")
    with pytest.raises(NotFound):
        world.app.refunds.retry("no-such-refund", actor="mina")
    assert world.pg.cancels() == []


def test_more_than_is_left_is_refused_however_it_is_cut(world: World) -> None:
    invoice = paid(world)
    ask(world, invoice, 9000)
    with pytest.raises(RuleError, match="901 is more than the 900 that is left"):
        ask(world, invoice, 901)
    ask(world, invoice, 900)
    with pytest.raises(RuleError, match="nothing of its payment is left"):
        ask(world, invoice, None, full=True)
    given_once(world, 9000, 900)


def test_a_request_repeated_under_its_key_is_the_same_refund(world: World) -> None:
    invoice = paid(world)
    first = ask(world, invoice, 3000, request_key="ticket-17")
    assert ask(world, invoice, 3000, request_key="ticket-17") == first
    with pytest.raises(RuleError, match="named a refund of 3000"):
        ask(world, invoice, 3001, request_key="ticket-17")
    with pytest.raises(RuleError, match="named a refund of 3000"):
        ask(world, paid(world), 3000, request_key="ticket-17")
    whole = ask(world, invoice, None, full=True, request_key="rest")
    assert ask(world, invoice, None, full=True, request_key="rest") == whole
    given_once(world, 3000, 6900)


# --- the wire -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lost_reply", "error_after_approval", "garbage"])
def test_a_refund_whose_answer_was_lost_is_found_and_never_made_twice(world: World, fault: str) -> None:
    invoice = paid(world)
    world.pg.fault(fault, times=1)
    assert ask(world, invoice).state is R.DONE
    assert len(world.pg.cancels()) == 1
    given_once(world, 3000)


@pytest.mark.parametrize("fault", ["lost_request", "server_error"])
def test_a_request_that_never_arrived_is_repeated_as_it_was_once_none_can_be_running(world: World, fault: str) -> None:
    invoice = paid(world)
    world.pg.fault(fault, times=1)
    bodies = spied(world)
    assert ask(world, invoice).state is R.UNKNOWN
    for _ in range(3):
        assert world.later(minutes=3).tick()["refund_repeated"] == 0
    assert len(bodies) == 1, "its request may still be running"
    until_given(world)
    assert bodies == [bodies[0]] * 2
    given_once(world, 3000)


def test_an_answer_lost_with_the_look_up_is_found_by_the_next_look(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("lost_reply", times=1)
    blind(world, times=1)
    assert ask(world, invoice).state is R.UNKNOWN
    until_given(world)
    assert len(world.pg.cancels()) == 1
    given_once(world, 3000)


def blind(world: World, times: int) -> None:
    """The next look-ups of a single payment bring nothing."""
    look = world.app.gateway.get_payment
    left = [times]

    def none(imp_uid: str) -> Any:
        left[0] -= 1
        return look(imp_uid) if left[0] < 0 else None

    world.app.gateway.get_payment = none  # type: ignore[method-assign]


def test_a_repeat_of_what_was_done_is_refused_by_the_balance_it_names(world: World) -> None:
    """The worst PG: the answer is lost, and the history shows nothing for a quarter of an hour."""
    invoice = paid(world)
    world.pg.fault("lost_reply", times=1)
    stale = world.app.gateway.get_payment(world.pg.kept()[0]["imp_uid"])
    honest = world.app.gateway.get_payment
    world.app.gateway.get_payment = lambda _imp_uid: stale  # type: ignore[method-assign]
    assert ask(world, invoice).state is R.UNKNOWN
    for _ in range(6):
        world.later(minutes=5).app.worker.renew()
    assert len(world.pg.cancels()) >= 2, "it was repeated"
    world.app.gateway.get_payment = honest  # type: ignore[method-assign]
    until_given(world)
    assert [amount for _, amount in world.pg.given_back()] == [3000]
    world.app.refunds.adopt([refunds(world)[0].imp_uid])
    given_once(world, 3000)


def test_a_refused_connection_sends_nothing_and_is_tried_again(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("refuse_connection", path="/payments/cancel", times=1)
    assert ask(world, invoice).state is R.PLANNED
    world.later(minutes=1).tick()
    assert len(world.pg.cancels()) == 1
    given_once(world, 3000)


def test_a_token_that_dies_under_a_refund_costs_nothing(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("token_revoked", path="/payments/cancel", times=1)
    assert ask(world, invoice).state is R.DONE
    given_once(world, 3000)


def test_dead_credentials_leave_the_refund_planned(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("auth_dead")
    assert ask(world, invoice).state is R.PLANNED
    with pytest.raises(CredentialsRefused):
        world.later(minutes=1).tick()
    world.pg.heals()
    world.later(minutes=1).tick()
    given_once(world, 3000)


def test_a_slowed_down_channel_is_waited_for(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("rate_limit", times=1, value=120, path="/payments/cancel")
    assert ask(world, invoice).state is R.UNKNOWN
    assert not world.later(seconds=110).tick(), "Retry-After is honoured"
    until_given(world)
    given_once(world, 3000)


def test_no_settlement_balance_is_a_state_with_a_way_out(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("cancel_refused", times=1)
    refused = ask(world, invoice)
    assert (refused.state, refused.refusal) == (R.REFUSED, "[8178] 취소 가능 금액이 부족합니다.")
    assert topics(world) == ["refund.refused"]
    assert world.app.views.attention()["refused_refunds"] == 1
    assert world.is_proven()

    again = world.app.refunds.retry(refused.id, actor="mina")
    assert again.state is R.DONE
    assert world.app.refunds.retry(refused.id, actor="mina") == again, "one repeat, however often it is asked for"
    assert world.app.views.attention()["refused_refunds"] == 0
    given_once(world, 3000)


def test_a_refused_refund_that_the_pg_made_after_all_is_done_and_not_repeated(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("cancel_refused", times=1)
    refused = ask(world, invoice)
    in_console(world, 3000, f"{tag_of(refused.request_key)} 반품")
    assert world.app.refunds.retry(refused.id, actor="mina").state is R.DONE
    given_once(world, 3000)


def in_console(world: World, amount: int, reason: str = "by hand", imp_uid: str = "") -> None:
    """An operator gives back in the PG's console."""
    wanted = imp_uid or world.pg.kept()[-1]["imp_uid"]
    body = json.dumps({"imp_uid": wanted, "amount": amount, "reason": reason}).encode()
    answer = world.pg.sandbox.handle("POST", "/_sandbox/console/cancel", {"content-type": "application/json"}, body)
    assert answer.status == 200, answer.body


# --- the console --------------------------------------------------------------------------------


def test_a_cancellation_in_the_console_is_adopted_once(world: World) -> None:
    paid(world)
    in_console(world, 4000)
    imp_uid = world.pg.kept()[-1]["imp_uid"]
    assert not world.app.verify().holds
    (one,) = world.app.refunds.adopt([imp_uid])
    assert (one.state, one.origin, one.amount, one.reason) == (R.DONE, "pg", 4000, "by hand")
    assert world.app.refunds.adopt([imp_uid, imp_uid, "imp_of_nobody"]) == []
    assert topics(world, "payment.cancelled") == ["payment.cancelled_at_pg"]
    given_once(world, 4000)


def test_a_console_that_was_faster_changes_the_balance_and_ours_follows(world: World) -> None:
    invoice = paid(world)
    in_console(world, 4000)
    assert ask(world, invoice, 3000).state is R.DONE
    given_once(world, 4000, 3000)


def test_a_console_that_left_too_little_refuses_ours(world: World) -> None:
    invoice = paid(world)
    in_console(world, 9000)
    refused = ask(world, invoice, 3000)
    assert (refused.state, refused.refusal) == (R.REFUSED, "only 900 of the payment is left at the PG")
    given_once(world, 9000)
    assert world.app.views.attention()["refused_refunds"] == 0, "nothing is left to retry with"


def test_a_console_cancel_while_ours_is_unknown_settles_both(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("lost_reply", times=1)
    blind(world, times=1)
    ask(world, invoice, 3000)
    in_console(world, 2000)
    until_given(world)
    given_once(world, 3000, 2000)


def test_a_console_cancel_after_a_lost_request_lets_the_repeat_fail_and_the_next_succeed(world: World) -> None:
    """What may be on the wire is repeated under its own balance; only its refusal frees it for another."""
    invoice = paid(world)
    bodies = spied(world)
    world.pg.fault("lost_request", times=1)
    ask(world, invoice, 3000)
    in_console(world, 2000)
    world.app.refunds.adopt([refunds(world)[0].imp_uid])
    until_given(world)
    assert [body["checksum"] for body in bodies] == [9900, 9900, 7900]
    given_once(world, 3000, 2000)


def test_a_pg_that_drops_our_reason_is_not_asked_twice(world: World) -> None:
    """The history shows the amount without our name: it may be ours, so a human looks."""
    invoice = paid(world)
    world.pg.fault("lost_request", times=1)
    ask(world, invoice, 3000)
    in_console(world, 3000, "")
    until_given(world)
    ours = refunds(world)[0]
    assert ours.state is R.REFUSED
    assert "without naming this refund" in str(ours.refusal)
    given_once(world, 3000)


def test_a_payment_given_back_before_we_knew_of_it_is_booked_with_its_refund(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=60)
    world.at("2024-02-29 10:00").tick()
    assert world.states(mina)[-1] == "unknown"
    in_console(world, 9900, imp_uid=world.pg.kept()[-1]["imp_uid"])
    world.later(minutes=5)
    world.until_decided()
    assert world.states(mina)[-1] == "mismatch"
    given_once(world, 9900)


def test_a_card_number_in_the_words_of_the_pg_or_a_console_is_not_kept(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("cancel_refused", times=1, value="카드 4242-4242-4242-4242 한도")
    assert ask(world, invoice).refusal == "카드 [hidden] 한도"
    in_console(world, 1000, "card 4242 4242 4242 4242")
    world.app.refunds.adopt([refunds(world)[0].imp_uid])
    assert refunds(world)[-1].reason == "card [hidden]"


# --- freeze -------------------------------------------------------------------------------------


def test_a_frozen_engine_gives_nothing_back_and_still_settles(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("lost_reply", times=1)
    blind(world, times=1)
    ask(world, invoice, 3000)
    other = paid(world)
    world.pg.fault("refuse_connection", path="/payments/cancel", times=1)
    ask(world, other, 1000)
    world.app.controls.set_freeze(is_frozen=True, reason="drill", actor="admin")
    with pytest.raises(Frozen):
        ask(world, other, 500)
    world.later(minutes=5)
    with pytest.raises(Frozen):
        world.tick()
    assert [one.state for one in refunds(world)] == [R.DONE, R.PLANNED]
    world.app.controls.set_freeze(is_frozen=False, reason="over", actor="admin")
    world.tick()
    given_once(world, 3000, 1000)


# --- surplus ------------------------------------------------------------------------------------


def surplus(world: World) -> str:
    """A subscription whose February was paid twice: declined, approved late, and paid by the next number."""
    mina = world.subscriber()
    world.pg.fault("late_approval", times=1, value="26h")
    world.at("2024-02-29 10:00").tick()
    world.days(1)
    assert world.states(mina) == ["paid", "declined", "paid"]
    world.later(hours=3)
    world.app.settle([one.merchant_uid for one in world.attempts(mina)])
    assert world.states(mina) == ["paid", "surplus", "paid"]
    return mina


def test_money_paid_twice_is_given_back_by_the_worker(world: World) -> None:
    surplus(world)
    (planned,) = refunds(world)
    assert (planned.state, planned.origin, planned.actor, planned.amount) == (R.PLANNED, "surplus", "engine", 9900)
    assert world.tick()["refunded"] == 1
    given_once(world, 9900)
    assert balances(world)["suspense:surplus"] == 0


def test_above_the_limit_a_human_starts_it(database_url: str) -> None:
    with world_on(database_url, surplus_refund_max=9899) as world:
        surplus(world)
        world.days(2)
        (waiting,) = refunds(world)
        assert (waiting.state, waiting.wake_at) == (R.PLANNED, None)
        assert world.app.views.attention()["waiting_refunds"] == 1
        assert world.app.refunds.retry(waiting.id, actor="mina").state is R.DONE
        given_once(world, 9900)


def test_parked_money_ruled_surplus_is_given_back(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("wrong_amount", times=1, value=9800)
    world.at("2024-02-29 10:00").tick()
    attempt = world.attempts(mina)[-1]
    from billing.flow.adjudication import Ruling

    world.app.attempts.resolve(attempt.id, Ruling.SURPLUS, reason="wrong amount", actor="mina")
    world.tick()
    given_once(world, 9800)
    assert balances(world)["suspense:mismatch"] == balances(world)["suspense:surplus"] == 0


# --- dying --------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["R1", "R2", "R3", "R4", "R5", "R6"])
def test_the_next_worker_finishes_the_refund_of_a_dead_one(world: World, point: str) -> None:
    invoice = paid(world)
    fault.arm(f"{point}=error")
    with pytest.raises(fault.InjectedFault):
        ask(world, invoice, 3000, request_key="ticket")
    fault.arm("")
    assert world.app.refunds.request(invoice, amount=3000, reason="반품", actor="mina", request_key="ticket").state
    world.later(minutes=4).tick()
    until_given(world)
    given_once(world, 3000)


@pytest.mark.parametrize("point", ["R2", "R3", "R4", "R5"])
def test_nobody_touches_a_refund_while_its_holder_may_still_be_alive(world: World, point: str) -> None:
    invoice = paid(world)
    fault.arm(f"{point}=error")
    with pytest.raises(fault.InjectedFault):
        ask(world, invoice)
    fault.arm("")
    # The worker alone: the PG's own list would show what was given back.
    assert not world.later(seconds=170).app.worker.renew()
    assert refunds(world)[0].state is R.SENDING


def test_a_worker_that_slept_through_its_lease_sends_and_writes_nothing(world: World) -> None:
    """SIGSTOP after the claim, for longer than the lease: the fence of the next taker is higher."""
    planned(world, paid(world))
    held = claimed(world)
    world.later(minutes=4).tick()
    given_once(world, 3000)
    world.app._refunding._sent(held, world.clock.monotonic())
    assert len(world.pg.cancels()) == 1
    given_once(world, 3000)


def planned(world: World, invoice: str, amount: int = 3000) -> Refund:
    """A refund whose requester died once it was planned."""
    fault.arm("R1=error")
    with pytest.raises(fault.InjectedFault):
        ask(world, invoice, amount)
    fault.arm("")
    return refunds(world)[-1]


def claimed(world: World) -> Refund:
    """Take the next refund, as a worker does before it sends."""
    held, _ = world.app.store.run(lambda tx: world.app._refunding._claimed(tx, None))
    assert held is not None
    return held


def test_a_worker_whose_refund_was_taken_by_another_does_not_send_it(world: World) -> None:
    planned(world, paid(world))
    stale = claimed(world)
    world.later(minutes=4)
    claimed(world)
    world.app._refunding._sent(stale, world.clock.monotonic())
    assert world.pg.cancels() == []


def test_who_no_longer_holds_a_refund_books_nothing_from_a_refusal(world: World) -> None:
    planned(world, paid(world))
    held = claimed(world)
    armed = world.app.store.run(lambda tx: world.app._refunding._armed(tx, held))
    assert armed is not None
    world.later(minutes=4)
    taken = claimed(world)
    verdict = world.app._refunding._settlement.settle(armed, Refusal(RefusalKind.UNCLEAR, -1, "no"))
    assert isinstance(verdict, Settled)
    assert refunds(world) == [taken]


def test_refunds_of_one_payment_go_out_in_the_order_they_were_asked_for(world: World) -> None:
    invoice = paid(world)
    for amount in (100, 200, 300):
        planned(world, invoice, amount)
    world.tick()
    assert [amount for _, amount in world.pg.given_back()] == [100, 200, 300]


def test_while_one_is_unknown_nobody_takes_the_next(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("lost_request", times=1)
    ask(world, invoice, 100)
    waiting = ask(world, invoice, 200)
    world.later(minutes=5).tick()
    assert refunds(world)[1] == waiting
    assert (waiting.state, waiting.fence) == (R.PLANNED, 0)


def test_one_that_was_taken_before_another_went_out_waits_for_it(world: World) -> None:
    """Started by hand in the moment between another's claim and its send: the balance it would name is about to change."""
    invoice = paid(world)
    first, second = planned(world, invoice, 100), planned(world, invoice, 200)
    wakes(world, first, None)
    ahead = claimed(world)
    assert ahead.id == second.id
    wakes(world, first, world.clock.now())
    late = claimed(world)
    world.pg.fault("lost_reply", times=1)
    blind(world, times=1)
    world.app._refunding._sent(ahead, world.clock.monotonic())
    world.app._refunding._sent(late, world.clock.monotonic())
    assert [one.state for one in refunds(world)] == [R.PLANNED, R.UNKNOWN]
    until_given(world)
    given_once(world, 100, 200)


def wakes(world: World, one: Refund, at: datetime | None) -> None:
    """Say when a refund may be taken up."""
    with world.app.store.begin() as tx:
        tx.connection.execute(update(tables.refund).where(tables.refund.c.id == one.id).values(wake_at=at))


def test_a_request_that_comes_to_the_wire_too_late_goes_back_unsent(world: World) -> None:
    invoice = paid(world)
    token = world.app.gateway.token

    def slow() -> Any:
        world.clock.sleep(61)
        return token()

    world.app.gateway.token = slow  # type: ignore[method-assign]
    assert ask(world, invoice).state is R.PLANNED
    assert world.pg.cancels() == []
    world.app.gateway.token = token  # type: ignore[method-assign]
    world.later(minutes=1).tick()
    given_once(world, 3000)


# --- many at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault_name", [None, "lost_reply", "lost_request"])
def test_sixteen_requests_for_one_payment_give_each_back_once(world: World, fault_name: str | None) -> None:
    invoice = paid(world)
    if fault_name:
        world.pg.fault(fault_name, rate=0.5, path="/payments/cancel")
    in_threads(world, [(invoice, 100 + number, f"ticket-{number}") for number in range(16)])
    world.pg.heals()
    until_given(world, hours=24)
    given_once(world, *[100 + number for number in range(16)])


@pytest.mark.parametrize("fault_name", ["lost_reply", "lost_request"])
def test_sixteen_requests_for_sixteen_payments_give_each_back_once(world: World, fault_name: str) -> None:
    invoices = [paid(world) for _ in range(16)]
    world.pg.fault(fault_name, rate=0.5, path="/payments/cancel")
    in_threads(world, [(invoice, 3000, f"ticket-{number}") for number, invoice in enumerate(invoices)])
    world.pg.heals()
    until_given(world, hours=24)
    given_once(world, *[3000] * 16)


def test_sixteen_repeats_of_one_request_give_back_once(world: World) -> None:
    invoice = paid(world)
    world.pg.fault("lost_reply", path="/payments/cancel", times=1)
    in_threads(world, [(invoice, 3000, "ticket")] * 16)
    until_given(world)
    given_once(world, 3000)


def test_sixteen_operators_cannot_give_back_more_than_was_paid(world: World) -> None:
    invoice = paid(world)
    refusals = in_threads(world, [(invoice, 3000, f"ticket-{number}") for number in range(16)])
    until_given(world)
    assert len(refusals) == 13
    given_once(world, 3000, 3000, 3000)


def in_threads(world: World, requests: list[tuple[str, int, str]]) -> list[RuleError]:
    """Ask for all of it at the same moment, each in a process of its own; returns who was refused by a rule."""
    processes = [world.another_process() for _ in requests]
    start = threading.Barrier(len(requests))
    refused: list[RuleError] = []

    def run(number: int) -> None:
        invoice, amount, key = requests[number]
        start.wait()
        try:
            processes[number].refunds.request(invoice, amount=amount, reason="반품", actor="mina", request_key=key)
        except RuleError as error:
            refused.append(error)

    with ThreadPoolExecutor(len(requests)) as pool:
        list(pool.map(run, range(len(requests))))
    for one in processes:
        one.close()
    return refused


def test_a_refund_that_cannot_be_booked_keeps_no_other_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, whole = (paid(world) for _ in range(2))
    honest = Page.account

    def picky(page: Page, fact: PaymentFact) -> Any:
        if page.invoice.id == broken:
            raise ArithmeticError("no share of nothing")
        return honest(page, fact)

    monkeypatch.setattr(Page, "account", picky)
    assert ask(world, broken).state is R.SENDING, "the row says that it may have been made, and nobody meets a traceback"
    assert ask(world, whole).state is R.DONE
    world.later(minutes=5)
    assert world.app.worker.renew()["refund_unknown"] == 1
    monkeypatch.undo()
    until_given(world)
    given_once(world, 3000, 3000)


def test_a_freeze_of_hours_is_not_mistaken_for_a_month_of_looks(world: World) -> None:
    """While frozen nothing is repeated; one look that fails after it must not be the last one ever."""
    invoice = paid(world)
    world.pg.fault("lost_request", times=1)
    ask(world, invoice)
    world.app.controls.set_freeze(is_frozen=True, reason="a look at the books", actor="mina")
    for _ in range(100):
        world.later(minutes=4)
        with pytest.raises(Frozen):
            world.tick()
    world.app.thaw(reason="all is well", actor="mina")
    blind(world, times=1)
    world.later(minutes=4).tick()
    until_given(world)
    given_once(world, 3000)


def test_while_frozen_a_charge_that_waits_keeps_no_refund_from_being_looked_up(world: World) -> None:
    invoice = paid(world)
    world.at("2024-02-29 10:00")
    world.pg.fault("refuse_connection", path="/subscribe/*", times=1)
    assert world.tick()["unsent"] == 1
    world.pg.fault("lost_reply", times=1)
    blind(world, times=1)
    assert ask(world, invoice).state is R.UNKNOWN
    world.app.controls.set_freeze(is_frozen=True, reason="a look at the books", actor="mina")
    world.later(minutes=5)
    with pytest.raises(Frozen):
        world.tick()
    assert [one.state for one in refunds(world)] == [R.DONE]
