"""Notices: early, doubled, late, reordered, forged. They make a look come sooner and change nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import select

from billing import fault
from billing.domain.attempt import merchant_uid, merchant_uid_stem
from billing.domain.evidence import Answered, ChargeOrder, PaymentFact
from billing.domain.notice import Notice
from billing.domain.subscription import SubscriptionState as S
from billing.errors import Frozen, RuleError
from billing.flow.heeding import KNOWN_LOOKS
from billing.flow.refund_settlement import Page
from billing.ports import Findings
from billing.sandbox import SandboxConfig
from billing.store import tables
from billing.web.trial import trial_notice
from tests.kit.world import World, world_on

FORGED = 5_000


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    fault.arm("")


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every call to the PG from here on, tokens left out."""
    calls: list[str] = []
    honest = world.pg.sandbox.handle

    def counting(method: str, target: str, *rest: Any) -> Any:
        if target != "/users/getToken":
            calls.append(f"{method} {target}")
        return honest(method, target, *rest)

    monkeypatch.setattr(world.pg.sandbox, "handle", counting)
    return calls


def tell(world: World, merchant_uid: str, status: str = "paid", *, imp_uid: str = "imp_0000", **more: str) -> None:
    world.app.receive_webhook({"imp_uid": imp_uid, "merchant_uid": merchant_uid, "status": status, **more})


def inbox(world: World) -> list[dict[str, Any]]:
    """The notices, oldest first."""
    return world.app.views.webhooks(limit=1000)[::-1]


def outcomes(world: World) -> list[str]:
    return [one["outcome"] or "pending" for one in inbox(world)]


def books(world: World) -> Any:
    return world.app.verify().totals


def undecided(world: World) -> tuple[str, str]:
    """A subscriber whose charge was approved, and whose worker heard nothing and saw nothing; its order number."""
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=1)
    assert world.tick()["unknown"] == 1
    world.later(seconds=2)
    return mina, world.attempts(mina)[-1].merchant_uid


def stray_number(world: World, number: int = 0) -> str:
    """An order number of our kind that no row knows."""
    identity = world.app.controls.identity()
    return merchant_uid(merchant_uid_stem(identity.uid_prefix, identity.ledger_id, f"lost-{number}", "renewal", 0), 1)


def charge_behind_our_back(world: World, uid: str, custom_data: str = "") -> PaymentFact:
    """A payment the PG holds and no row of ours knows: what a restored backup finds."""
    card = world.attempts(world.subscriber())[0].customer_uid
    order = ChargeOrder("lost", uid, card, 9_900, "KRW", "Pro", custom_data=custom_data)
    gateway = world.app.gateway
    ((_, reply),) = [pair for group in gateway.charge([order], token=gateway.token(), gate=lambda: True) for pair in group]
    assert isinstance(reply, Answered)
    return reply.fact


# --- what an honest notice does ------------------------------------------------------------------------


def test_a_notice_settles_what_its_worker_never_heard_of(world: World) -> None:
    mina, uid = undecided(world)
    tell(world, uid)
    assert world.app.heed() == {"paid": 1, "heeded": 1}
    assert world.states(mina) == ["paid", "paid"]
    assert outcomes(world) == ["paid"]
    assert world.is_proven()


def test_the_pass_of_a_scheduler_heeds(world: World) -> None:
    mina, uid = undecided(world)
    tell(world, uid)
    assert world.tick() == {"paid": 1, "heeded": 1}
    assert world.states(mina) == ["paid", "paid"]


def test_a_notice_that_tells_what_the_books_say_costs_nobody_a_call(world: World, asked: list[str]) -> None:
    mina = world.subscriber()
    (paid,) = world.attempts(mina)
    asked.clear()
    tell(world, paid.merchant_uid, imp_uid=str(paid.imp_uid))
    assert world.app.heed() == {"heeded": 1}
    assert (outcomes(world), asked) == (["booked"], [])


@pytest.mark.parametrize("lag", [0, 60])
def test_a_notice_before_the_answer_changes_nothing(database_url: str, lag: int) -> None:
    with world_on(database_url, hears=True, config=SandboxConfig(webhook_url="http://127.0.0.1:9/")) as world:
        ids = [world.subscriber() for _ in range(3)]
        world.at("2024-02-29 10:00")
        world.pg.fault("webhook_early", value=lag)
        if lag:
            world.pg.fault("lost_reply")
        world.tick()
        assert len(inbox(world)) == 3, "each notice came while its charge was under way"
        world.later(minutes=2).tick()
        for id in ids:
            assert world.states(id) == ["paid", "paid"]
        assert world.pg.double_charged() == []
        assert world.is_proven()


def test_a_notice_about_a_charge_in_somebodys_hands_waits_for_the_answer(world: World, asked: list[str]) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    fault.arm("K08=error")
    with pytest.raises(fault.InjectedFault):
        world.tick()
    fault.arm("")
    asked.clear()
    tell(world, world.attempts(mina)[-1].merchant_uid)
    assert not world.app.heed()
    assert asked == []
    world.later(seconds=6)
    assert world.app.heed()["paid"] == 1
    assert world.states(mina) == ["paid", "paid"]


def test_a_notice_earlier_than_the_record_can_be_seen_waits_for_it(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=60)
    world.tick()
    tell(world, world.attempts(mina)[-1].merchant_uid)
    waits = 0
    while outcomes(world) == ["pending"]:
        world.app.heed()
        world.later(seconds=5)
        waits += 1
    assert waits > 2
    assert outcomes(world) == ["paid"]
    assert world.states(mina) == ["paid", "paid"]


def test_a_notice_that_was_given_up_is_looked_into_again_when_it_comes_again(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=3 * 3600)
    world.tick()
    uid = world.attempts(mina)[-1].merchant_uid
    tell(world, uid)
    while outcomes(world) == ["pending"]:
        world.app.heed()
        world.later(minutes=5)
    assert outcomes(world) == ["unknown"]
    world.later(hours=3)
    tell(world, uid)
    assert world.app.heed()["paid"] == 1
    assert outcomes(world) == ["paid"]


def cancelled_in_the_console(world: World, imp_uid: str | None, **more: int) -> None:
    body = json.dumps({"imp_uid": imp_uid, "reason": "고객 요청", **more}).encode()
    answer = world.pg.sandbox.handle("POST", "/_sandbox/console/cancel", {"content-type": "application/json"}, body)
    assert json.loads(answer.body)["code"] == 0


def test_what_the_console_gave_back_is_in_the_books_with_the_notice(database_url: str) -> None:
    with world_on(database_url, hears=True, config=SandboxConfig(webhook_url="http://127.0.0.1:9/")) as world:
        mina = world.subscriber()
        world.pg.fault("webhook_twice")
        cancelled_in_the_console(world, world.attempts(mina)[0].imp_uid, amount=4_000)
        world.pg.sandbox.deliver_webhooks()
        assert world.app.heed()["heeded"] == 2
        assert outcomes(world) == ["booked", "cancelled"]
        assert [(one["amount"]["amount"], one["origin"]) for one in world.app.refunds.list()] == [(4_000, "pg")]
        assert "payment.cancelled_at_pg" in world.topics(mina)
        assert world.is_proven()


def test_a_cancel_the_pg_cannot_be_asked_about_is_kept_for_later(world: World) -> None:
    (paid,) = world.attempts(world.subscriber())
    cancelled_in_the_console(world, paid.imp_uid)
    tell(world, paid.merchant_uid, "cancelled", imp_uid=str(paid.imp_uid), cancellation_id="c1")
    world.pg.fault("refuse_connection", path="/payments")
    world.app.heed()
    assert outcomes(world) == ["pending"]
    world.pg.heals()
    world.later(minutes=1)
    world.app.heed()
    assert outcomes(world) == ["cancelled"]
    assert world.is_proven()


# --- doubled, late, reordered --------------------------------------------------------------------------


def test_fifty_times_is_once(world: World, asked: list[str]) -> None:
    mina, uid = undecided(world)
    for _ in range(50):
        tell(world, uid)
    asked.clear()
    world.app.heed()
    after = books(world)
    asked.clear()
    for _ in range(50):
        tell(world, uid)
        world.app.heed()
    (one,) = inbox(world)
    assert one["times_received"] == 100
    assert asked == []
    assert books(world) == after
    assert world.states(mina) == ["paid", "paid"]


def test_the_console_sends_it_again_after_four_hundred_days(world: World, asked: list[str]) -> None:
    mina, uid = undecided(world)
    tell(world, uid)
    world.app.heed()
    after = books(world)
    world.later(days=400)
    asked.clear()
    for _ in range(5):
        tell(world, uid)
        world.app.heed()
    assert len(asked) <= 1, "one look in ten minutes"
    assert books(world) == after
    assert world.states(mina) == ["paid", "paid"]


def test_no_order_of_notices_makes_a_difference(world: World) -> None:
    notices = [("ready", {}), ("paid", {}), ("failed", {}), ("cancelled", {"cancellation_id": "c1"})]
    ids = [world.subscriber() for _ in permutations(notices)]
    world.at("2024-02-29 10:00")
    world.pg.fault("lost_reply")
    world.pg.fault("lookup_lag", value=1)
    world.tick()
    world.pg.heals()
    world.later(seconds=2)
    for id, order in zip(ids, permutations(notices), strict=True):
        for status, more in order:
            tell(world, world.attempts(id)[-1].merchant_uid, status, imp_uid=f"imp_{id[-8:]}", **more)
            world.app.heed()
            world.later(minutes=11)
    for id in ids:
        assert world.states(id) == ["paid", "paid"]
        assert world.topics(id).count("invoice.paid") == 2
    assert world.is_proven()


# --- forged --------------------------------------------------------------------------------------------


def test_six_forgeries_and_the_books_say_what_they_said(world: World, asked: list[str]) -> None:
    payer, victim = world.subscriber("pro-daily"), world.subscriber("team-monthly", "balance")
    paid, owed = world.attempts(payer)[0], world.attempts(victim)[0]
    before, states = books(world), (world.states(payer), world.states(victim))
    asked.clear()

    tell(world, "somebody-elses-order", imp_uid="imp_1")  # another shop's
    tell(world, stray_number(world), imp_uid="imp_2")  # our kind of name
    tell(world, owed.merchant_uid, imp_uid=str(paid.imp_uid))  # a small real payment for a big open invoice
    tell(world, owed.merchant_uid, imp_uid="imp_3")  # paid, says somebody
    tell(world, paid.merchant_uid, "cancelled", imp_uid=str(paid.imp_uid), cancellation_id="c1")  # given back, says somebody
    tell(world, stray_number(world, 1), imp_uid=str(paid.imp_uid))  # a real payment under a name of nobody's
    world.app.heed()

    assert outcomes(world) == ["foreign", "pending", "booked", "booked", "cancelled", "forged"]
    assert (world.states(payer), world.states(victim)) == states
    assert books(world) == before
    assert world.subscription(victim).state is not S.ACTIVE
    assert all(call.startswith("GET ") for call in asked)
    assert world.app.controls.freeze() is None
    for _ in range(3):
        world.later(minutes=10)
        world.app.heed()
    assert outcomes(world)[1] == "unknown", "what the PG never shows ends"


def test_five_thousand_forgeries_cost_ten_calls_and_the_one_true_notice_settles_at_once(world: World, asked: list[str]) -> None:
    mina, uid = undecided(world)
    forged = [Notice(f"imp_{number}", stray_number(world, number), "paid") for number in range(FORGED)]
    with world.app.store.begin() as tx:  # one transaction, or the test takes a minute
        for one in forged:
            tx.inbox.put(one, id=tx.new_id(), source_ip="", at=tx.now, quiet=world.app.policy.patience.quiet)
    tell(world, uid)
    asked.clear()

    assert world.app.heed()["paid"] == 1
    assert len(asked) <= 10, asked
    assert uid in asked[0], "the one with a row of ours goes first"
    assert world.states(mina) == ["paid", "paid"]
    world.later(seconds=30)
    world.app.heed()
    assert len(asked) <= 10, asked


def test_forgeries_about_one_real_charge_are_rationed_too(world: World, asked: list[str]) -> None:
    """Whoever knows one order number (it stands on a receipt) cannot make us ask the PG for ever."""
    (owed,) = world.attempts(world.subscriber("pro-monthly", "balance"))
    asked.clear()
    for number in range(200):
        tell(world, owed.merchant_uid, imp_uid=f"imp_{number}")
        world.app.heed()
    assert len(asked) <= 2 * KNOWN_LOOKS
    assert outcomes(world).count("pending") >= 100
    world.later(minutes=10)
    world.app.heed()
    assert set(outcomes(world)) == {"booked"}


def test_strangers_to_us_are_counted_and_never_asked_about(world: World, asked: list[str]) -> None:
    for number in range(300):
        tell(world, f"order-{number}", imp_uid=f"imp_{number}")
    assert world.app.heed() == {"heeded": 300}
    assert set(outcomes(world)) == {"foreign"}
    assert asked == []


@pytest.mark.parametrize("imp_uid", ["imp_1/../../users/getToken", "%2e%2e", "imp_1\r\nX: y", "imp_١", "imp_1?a=b"])
def test_an_id_that_is_no_path_segment_reaches_no_url(world: World, asked: list[str], imp_uid: str) -> None:
    with pytest.raises(RuleError, match="imp_uid"):
        tell(world, stray_number(world), imp_uid=imp_uid)
    world.app.heed()
    assert (inbox(world), asked) == ([], [])


# --- what only a notice tells --------------------------------------------------------------------------


def test_a_payment_under_our_name_that_no_row_knows_stops_all_charging_and_no_settling(world: World) -> None:
    mina, undecided_uid = undecided(world)
    uid = stray_number(world)
    stranger = charge_behind_our_back(world, uid)
    tell(world, uid, imp_uid=stranger.imp_uid)
    world.app.heed()

    switch = world.app.controls.freeze()
    assert switch is not None
    assert (switch.is_frozen, switch.actor, switch.cause) == (True, "engine", "strangers")
    assert uid in switch.reason
    assert outcomes(world) == ["stranger"]
    tell(world, undecided_uid)
    world.later(days=1)
    with pytest.raises(Frozen):
        world.tick()
    assert world.states(mina)[:2] == ["paid", "paid"]


def test_another_ledger_on_the_same_account_is_nobodys_business_here(world: World) -> None:
    uid = stray_number(world)
    theirs = charge_behind_our_back(world, uid, '{"ledger":"another","invoice":"1"}')
    tell(world, uid, imp_uid=theirs.imp_uid)
    world.app.heed()
    assert outcomes(world) == ["foreign"]
    assert world.app.controls.freeze() is None


def test_a_card_registered_elsewhere_under_a_name_of_ours_is_told_to_the_host_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (paid,) = world.attempts(world.subscriber())
    uid = stray_number(world)
    fact = charge_behind_our_back(world, uid)._replace(usage="issue", customer_uid=paid.customer_uid)
    monkeypatch.setattr(world.app.gateway, "find_payments", lambda _uids, **_more: Findings({uid: (fact,)}))
    for status in ("paid", "ready"):
        tell(world, uid, status, imp_uid=fact.imp_uid)
        world.app.heed()
    with world.app.store.read() as tx:
        one = tables.outbox_event
        told = tx.connection.execute(select(one.c.payload).where(one.c.topic == "card.reissued")).scalars().all()
    assert [json.loads(payload)["customer_uid"] for payload in told] == [paid.customer_uid]


# --- what goes wrong on our side -----------------------------------------------------------------------


def test_an_unreachable_pg_ends_no_notice(world: World, asked: list[str]) -> None:
    mina, uid = undecided(world)
    for number in range(600):
        tell(world, stray_number(world, number), imp_uid=f"imp_{number}")
    tell(world, uid)
    world.pg.fault("refuse_connection", path="/payments")
    asked.clear()
    assert not world.app.heed()
    assert len(asked) == 1, "asked once, not once a batch"
    for _ in range(8):
        world.later(minutes=3)
        world.app.heed()
    assert set(outcomes(world)) == {"pending"}
    world.pg.heals()
    world.later(minutes=10)
    assert world.app.heed()["paid"] == 1
    assert world.states(mina) == ["paid", "paid"]


@pytest.mark.parametrize("point", ["W1", "W2", "W3", "W4"])
def test_dying_at_any_point_loses_nothing_and_books_nothing_twice(world: World, point: str) -> None:
    mina, uid = undecided(world)

    def heard() -> None:
        tell(world, uid)
        world.app.heed()

    fault.arm(f"{point}=error")
    with pytest.raises(fault.InjectedFault):
        heard()
    fault.arm("")
    if point in ("W1", "W2"):
        tell(world, uid)  # never answered, so the PG may repeat it; resolution looks anyway
    world.later(minutes=4)
    world.app.heed()
    assert world.states(mina) == ["paid", "paid"]
    assert outcomes(world) == ["paid"]
    assert world.is_proven()


def test_a_notice_that_never_comes_is_not_missed(world: World) -> None:
    mina, _ = undecided(world)
    world.later(seconds=5).tick()
    assert world.states(mina) == ["paid", "paid"]


def test_two_workers_share_the_inbox(world: World, asked: list[str]) -> None:
    _, uid = undecided(world)
    tell(world, uid)
    other = world.another_process()
    try:
        with world.app.store.begin() as tx:
            assert tx.inbox.claim(tx.now, tx.now + world.app.policy.patience.lease, 10, only_known=True)
        asked.clear()
        assert not other.heed()
        assert asked == []
        world.later(minutes=4)
        assert other.heed()["paid"] == 1
    finally:
        other.close()


def test_a_notice_is_looked_into_once_more_when_somebody_asks(world: World, asked: list[str]) -> None:
    mina, uid = undecided(world)
    tell(world, uid)
    world.app.heed()
    (one,) = inbox(world)
    asked.clear()
    world.app.webhooks.replay([one["id"]], actor="mina")
    assert world.app.heed() == {"heeded": 1}
    assert outcomes(world) == ["booked"]
    assert len(asked) == 1
    with pytest.raises(RuleError, match="there is no webhook"):
        world.app.webhooks.replay([one["id"], "nobody"], actor="mina")
    assert world.states(mina) == ["paid", "paid"]


# --- one that cannot be booked keeps nobody back ---------------------------------------------------------


def test_a_refund_that_cannot_be_booked_keeps_no_other_from_being_taken_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    imp_uids = sorted(world.attempts(world.subscriber())[0].imp_uid or "" for _ in range(3))
    for imp_uid in imp_uids:
        cancelled_in_the_console(world, imp_uid, amount=1000)
    refuse_to_book(monkeypatch, imp_uids[0])

    report = world.app.reconcile()
    assert sorted(one.imp_uid for one in report.adopted) == imp_uids[1:]
    assert [(one.kind, one.imp_uid) for one in report.unexplained] == [("cancelled_at_pg", imp_uids[0])]


def test_a_notice_of_a_cancellation_that_cannot_be_booked_ends_no_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [world.subscriber() for _ in range(2)]
    for id in ids:
        attempt = world.attempts(id)[0]
        cancelled_in_the_console(world, attempt.imp_uid, amount=1000)
        tell(world, attempt.merchant_uid, "cancelled", imp_uid=attempt.imp_uid or "")
    refuse_to_book(monkeypatch, str(world.attempts(ids[0])[0].imp_uid))

    assert world.at("2024-02-29 10:00").app.worker.renew()["paid"] == 2, "the pass went on"
    assert [one["amount"]["amount"] for one in world.app.refunds.list()] == [1000]


def refuse_to_book(monkeypatch: pytest.MonkeyPatch, imp_uid: str) -> None:
    """Let the books take no cancellation of this payment, as a row does that breaks a CHECK."""
    honest = Page.account

    def picky(page: Page, fact: PaymentFact) -> Any:
        if fact.imp_uid == imp_uid:
            raise ArithmeticError("more was given back than came")
        return honest(page, fact)

    monkeypatch.setattr(Page, "account", picky)


def test_one_notice_is_found_by_its_dedupe_key_and_a_trial_is_nobodys_payment(world: World) -> None:
    one = trial_notice(world.app.new_id())
    assert world.app.views.webhook_as(one.dedupe_key) is None
    tell(world, "order-1")
    tell(world, one.merchant_uid, imp_uid=one.imp_uid)
    found = world.app.views.webhook_as(one.dedupe_key)
    assert found is not None
    assert (found["imp_uid"], found["merchant_uid"], found["outcome"]) == (one.imp_uid, one.merchant_uid, None)
    world.app.heed()
    assert outcomes(world) == ["foreign", "foreign"]
    assert not world.app.views.findings(), "trying the way of a notice alarms nobody"
