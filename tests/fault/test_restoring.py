"""A backup is put back: what the PG remembers and the database forgot is taken back, exactly, and nobody pays twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from billing.app import Billing
from billing.domain.evidence import ChargeOrder
from billing.domain.refund import Refund, RefundState
from billing.domain.restoring import Restored
from billing.errors import Frozen, GatewayUnavailable, InvariantBroken, RuleError
from tests.kit.copies import Backup, copy_of
from tests.kit.world import World


def backup_of(world: World) -> Backup:
    """What an operator keeps every night."""
    world.app.engine.dispose()
    return Backup(world.settings.database_url.get_secret_value())


def restart(world: World, **settings: Any) -> Billing:
    """The engine's processes are started again; the world goes on with the new one."""
    world.app.close()
    world.app = world.another_process(**settings)
    return world.app


def put_back(world: World, backup: Backup) -> Billing:
    """The night's backup is put back in place and the processes are started again."""
    world.app.close()
    backup.put_back()
    return restart(world)


def adopt(world: World) -> Restored:
    return world.app.restore.adopt(reason="the disk died", actor="mina")


def adopted(found: Restored) -> list[tuple[str, str]]:
    return sorted((one.merchant_uid, one.outcome) for one in found.adopted)


def books(world: World) -> dict[str, list[Any]]:
    """Every row about money, and what the host was told."""
    names = ("attempt", "invoice", "invoice_line", "payment", "ledger_transfer", "outbox_event", "subscription", "refund")
    with world.app.store.read() as tx:
        return {name: sorted(map(str, tx.connection.execute(text(f"SELECT * FROM billing_{name}")))) for name in names}


@contextmanager
def moved(world: World) -> Iterator[Callable[[], Billing]]:
    """A copy made now, on which the world can go on later, as after a restore on another machine."""
    world.app.engine.dispose()
    with copy_of(world.settings.database_url.get_secret_value()) as url:
        yield lambda: restart(world, database_url=SecretStr(url))
        world.app.close()


def test_yesterdays_backup_is_frozen_at_the_first_tick_and_adopted_to_the_won(world: World) -> None:
    ids = [world.subscriber() for _ in range(5)]
    world.at("2024-02-29 09:00")
    backup = backup_of(world)
    world.pg.fault("decline", times=1)
    world.at("2024-02-29 10:00").tick()
    as_it_was = [world.states(id) for id in ids]
    kept, arrivals = world.pg.kept(), world.pg.arrivals()
    assert sorted(as_it_was) == [["paid", "declined"]] + [["paid", "paid"]] * 4

    put_back(world, backup)
    world.later(minutes=5)
    with pytest.raises(Frozen, match="order numbers that this database does not know"):
        world.tick()
    assert world.pg.arrivals() == arrivals

    found = adopt(world)
    assert adopted(found) == sorted(
        (uid, "paid" if uid in {row["merchant_uid"] for row in kept} else "declined") for uid in arrivals[5:]
    )
    assert (found.orphans, found.unexplained, found.is_frozen, found.is_moved) == ((), (), False, False)
    assert [world.states(id) for id in ids] == as_it_was
    world.tick()
    assert world.pg.arrivals() == arrivals
    assert world.undecided() == 0
    assert world.is_proven()

    world.days(1)
    assert [world.states(id)[-1] for id in ids] == ["paid"] * 5
    assert len(world.pg.kept()) == 10
    assert world.is_proven()


def test_a_backup_on_another_machine_charges_nobody_before_it_is_adopted(world: World, tmp_path: Path) -> None:
    ids = [world.subscriber() for _ in range(3)]
    world.at("2024-02-29 09:00")
    with moved(world) as go_there:
        world.at("2024-02-29 10:00").tick()
        arrivals = world.pg.arrivals()
        go_there()
        restart(
            world,
            **{
                **world.settings.model_dump(include={"database_url"}),
                "database_url": world.app.settings.database_url,
                "instance_secret": SecretStr(""),
                "instance_file": tmp_path / "new" / "instance.key",
            },
        )
        world.later(hours=1)
        for _ in range(2):
            with pytest.raises(InvariantBroken, match=r"does not stand where .* and the instance secret is missing"):
                world.tick()
        found = adopt(world)
        assert adopted(found) == sorted((uid, "paid") for uid in arrivals[3:])
        assert (found.is_moved, found.is_frozen) == (True, False)
        world.tick()
        world.days(1)
        assert world.pg.arrivals() == arrivals
        assert [world.states(id) for id in ids] == [["paid", "paid"]] * 3
        assert world.is_proven()


def test_a_daily_plan_five_days_later_gets_every_day_back(world: World) -> None:
    mina, jun = world.subscriber("pro-daily"), world.subscriber("pro-daily")
    world.days(2)
    backup = backup_of(world)
    world.pg.fault("decline", times=1)
    world.days(5)
    life = {one: [(i.period_index, i.state, i.total) for i in world.invoices(one)] for one in (mina, jun)}
    states, arrivals = {one: world.states(one) for one in (mina, jun)}, world.pg.arrivals()

    put_back(world, backup)
    found = adopt(world)
    assert len(found.adopted) == len(arrivals) - 6
    world.tick()  # an invoice that was opened and not tried has left no trace at the PG: it is opened again
    assert {one: [(i.period_index, i.state, i.total) for i in world.invoices(one)] for one in (mina, jun)} == life
    assert {one: world.states(one) for one in (mina, jun)} == states
    assert world.pg.arrivals() == arrivals
    world.days(1)
    assert len(world.pg.arrivals()) == len(arrivals) + 2
    assert world.pg.double_charged() == []
    assert world.is_proven()


def test_days_a_worker_skipped_before_anybody_noticed_are_taken_back_too(world: World) -> None:
    mina = world.subscriber("pro-daily")
    world.days(1)
    backup = backup_of(world)
    world.days(3)
    put_back(world, backup)
    world.later(days=1)
    world.app.worker.renew()  # past the comparison that every process begins with
    assert [one.period_index for one in world.invoices(mina)] == [0, 1, 5]
    before = world.subscription(mina)
    assert len(adopt(world).adopted) == 3
    after = world.subscription(mina)
    assert (after.next_index, after.due_at, after.period_index) == (before.next_index, before.due_at, before.period_index)
    assert [(one.period_index, one.state.value) for one in world.invoices(mina)] == [(index, "paid") for index in range(6)]
    world.tick()
    assert len(world.pg.arrivals()) == 6
    world.days(1)
    assert [one.period_index for one in world.invoices(mina)] == list(range(7))
    assert world.is_proven()


def test_refunds_of_the_lost_day_are_taken_over(world: World) -> None:
    mina = world.subscriber()
    first = world.invoice(mina)
    world.at("2024-02-29 09:00")
    backup = backup_of(world)
    world.at("2024-02-29 10:00").tick()
    for invoice, amount in ((first, 1000), (world.invoice(mina), 9900)):
        world.app.refunds.request(invoice.id, amount=amount, reason="asked for", actor="mina")
    kept = [row["kept"] for row in world.pg.kept()]
    assert kept == [8900]
    put_back(world, backup)
    found = adopt(world)
    assert [one.outcome for one in found.adopted] == ["mismatch"]
    assert world.app.verify().differences == ()


@pytest.mark.parametrize("is_compared_first", [True, False], ids=["after the pass took it over", "before anybody compared"])
@pytest.mark.parametrize("amount", [3000, None], ids=["a part", "all"])
def test_a_request_repeated_after_its_refund_was_forgotten_gives_nothing_more_back(
    world: World, amount: int | None, is_compared_first: bool
) -> None:
    """The host knows nothing of our disks: it asks again under the same key, and the PG's history knows the name."""
    invoice = world.invoice(world.subscriber()).id
    backup = backup_of(world)

    def ask() -> Refund:
        terms = {"amount": amount} if amount is not None else {"full": True}
        return world.app.refunds.request(invoice, **terms, reason="반품", actor="host", request_key="ticket-17")

    assert ask().state is RefundState.DONE
    put_back(world, backup)
    if is_compared_first:
        world.app.reconcile()
    for _ in range(2):
        assert (again := ask()).state is RefundState.DONE
        assert again.amount == (amount or 9900)
    with pytest.raises(RuleError, match="another invoice or amount"):
        world.app.refunds.request(invoice, amount=1, reason="반품", actor="host", request_key="ticket-17")
    assert [given for _, given in world.pg.given_back()] == [amount or 9900]
    assert world.is_proven()


def test_a_repeat_of_a_refused_refund_is_not_made_again_where_it_was_forgotten(world: World) -> None:
    invoice = world.invoice(world.subscriber()).id
    world.pg.fault("cancel_refused", times=1)
    refused = world.app.refunds.request(invoice, amount=3000, reason="반품", actor="mina")
    backup = backup_of(world)
    assert world.app.refunds.retry(refused.id, actor="mina").state is RefundState.DONE
    put_back(world, backup)
    assert world.app.refunds.retry(refused.id, actor="jun").origin == "pg"
    assert [given for _, given in world.pg.given_back()] == [3000]
    assert world.is_proven()


def test_numbers_after_a_lost_decline_are_found(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 09:00")
    backup = backup_of(world)
    world.pg.fault("decline", times=2)
    world.at("2024-02-29 10:00").tick()
    world.days(3)
    assert world.states(mina) == ["paid", "declined", "declined", "paid"]
    put_back(world, backup)
    found = adopt(world)
    assert [one.outcome for one in found.adopted] == ["declined", "declined", "paid"]
    assert world.states(mina) == ["paid", "declined", "declined", "paid"]
    world.tick()
    assert len(world.pg.arrivals()) == 4
    assert world.is_proven()


def test_an_attempt_cut_off_in_the_backup_gives_way_to_the_numbers_that_followed(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("decline", times=1)
    world.pg.fault("lookup_lag", times=1, value=120)
    world.at("2024-02-29 10:00").tick()
    assert world.states(mina)[-1] == "unknown"
    backup = backup_of(world)
    world.until_decided()
    world.days(2)
    life = world.states(mina)
    assert life == ["paid", "declined", "paid"]
    put_back(world, backup)
    adopt(world)
    assert world.states(mina) == life
    assert world.is_proven()


def test_a_subscription_of_the_lost_day_is_an_orphan_and_holds_everything_until_it_is_explained(world: World) -> None:
    world.subscriber()
    world.at("2024-02-10 10:00")
    backup = backup_of(world)
    world.subscriber("pro-weekly")
    (_, orphan) = world.pg.kept()
    put_back(world, backup)

    found = adopt(world)
    assert found.adopted == ()
    assert [(one.kind, one.imp_uid, one.amount) for one in found.orphans] == [("stranger", orphan["imp_uid"], 2900)]
    assert "ledger" in str(found.orphans[0].details["custom_data"])
    assert found.is_frozen
    with pytest.raises(Frozen):
        world.tick()
    with pytest.raises(RuleError, match=rf"freeze: .*{orphan['merchant_uid']}.*billing finding explain"):
        world.app.thaw(reason="looks fine", actor="mina")
    assert adopt(world).orphans == found.orphans

    world.app.reconciliation.explain(found.orphans[0].id, reason="jun joined that day; refunded by hand", actor="mina")
    world.app.thaw(reason="all explained", actor="mina")
    world.at("2024-02-29 10:00").tick()
    assert len(world.pg.kept()) == 3


def test_a_card_of_the_lost_day_is_named_and_its_payment_waits_for_a_human(world: World) -> None:
    mina = world.subscriber()
    customer = world.subscription(mina).customer_id
    world.at("2024-02-29 09:00")
    backup = backup_of(world)
    card = world.card(customer)
    world.at("2024-02-29 10:00").tick()
    put_back(world, backup)

    found = adopt(world)
    assert [one.outcome for one in found.adopted] == ["mismatch"]
    assert [(one.kind, one.ref, one.details["customer_id"]) for one in found.orphans] == [
        ("lost_card", card.customer_uid, customer)
    ]
    assert found.is_frozen
    world.app.reconciliation.explain(found.orphans[0].id, reason="mina was asked for her card again", actor="mina")
    world.app.thaw(reason="all explained", actor="mina")
    world.tick()
    assert len(world.pg.arrivals()) == 2


@pytest.mark.parametrize("cut", range(1, 15))
def test_an_adoption_that_dies_is_simply_repeated(world: World, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    ids = [world.subscriber("pro-daily"), world.subscriber()]
    world.at("2024-02-28 10:00")
    backup = backup_of(world)
    world.tick()
    world.days(2)
    life, arrivals = [world.states(id) for id in ids], world.pg.arrivals()
    put_back(world, backup)

    store, done = world.app.store, 0
    inner = store.run

    def dying(work: Any) -> Any:
        nonlocal done
        done += 1
        if done == cut:
            raise KeyboardInterrupt
        return inner(work)

    with monkeypatch.context() as patch:
        patch.setattr(store, "run", dying)
        with pytest.raises(KeyboardInterrupt):
            adopt(world)
    if cut > 1:
        with pytest.raises(Frozen):
            restart(world).renew()
        with pytest.raises(RuleError, match="billing restore adopt"):
            world.app.thaw(reason="go on", actor="mina")
    assert not adopt(world).is_frozen
    assert [world.states(id) for id in ids] == life
    world.tick()
    assert world.pg.arrivals() == arrivals
    assert world.is_proven()


def test_a_pg_that_cannot_be_asked_leaves_it_frozen(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 09:00")
    backup = backup_of(world)
    world.at("2024-02-29 10:00").tick()
    put_back(world, backup)
    world.pg.fault("refuse_connection", path="/payments/status/*")
    with pytest.raises(GatewayUnavailable):
        adopt(world)
    with pytest.raises((Frozen, GatewayUnavailable)):
        world.tick()
    world.pg.heals()
    assert not adopt(world).is_frozen
    assert world.states(mina) == ["paid", "paid"]


def test_a_healthy_database_loses_and_gains_nothing(world: World) -> None:
    for card in ("approves", "balance"):
        world.subscriber("pro-daily", card)
    world.days(3)
    before = books(world)
    found = adopt(world)
    assert (found.adopted, found.settled, found.unexplained, found.is_moved, found.is_frozen) == ((), 0, (), False, False)
    assert found.payments == len(world.pg.arrivals())
    assert books(world) == before


def test_an_operators_freeze_outlives_the_adoption(world: World) -> None:
    world.subscriber()
    world.app.controls.set_freeze(is_frozen=True, reason="I am restoring", actor="mina")
    assert adopt(world).is_frozen
    with pytest.raises(Frozen, match="I am restoring"):
        world.at("2024-02-29 10:00").tick()
    world.app.thaw(reason="done", actor="mina")
    assert world.tick()["paid"] == 1


def test_a_freeze_for_strangers_is_lifted_only_after_another_look(world: World) -> None:
    world.subscriber()
    world.at("2024-02-10 10:00")
    backup = backup_of(world)
    world.subscriber("pro-weekly")
    put_back(world, backup)
    with pytest.raises(Frozen):
        world.tick()
    (first,) = world.app.reconcile().unexplained
    world.app.reconciliation.explain(first.id, reason="known", actor="mina")
    stray = stray_charge(world)
    with pytest.raises(RuleError, match=stray):
        world.app.thaw(reason="all explained", actor="mina")
    (second,) = world.app.reconcile().unexplained
    world.app.reconciliation.explain(second.id, reason="known too", actor="mina")
    world.app.thaw(reason="all explained", actor="mina")
    switch = world.app.controls.freeze()
    assert switch is not None
    assert not switch.is_frozen


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_adoption_without_a_reason_changes_nothing(world: World, reason: str) -> None:
    with pytest.raises(RuleError, match="reason"):
        world.app.restore.adopt(reason=reason, actor="mina")
    assert world.app.controls.freeze() is None


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_new_timeline_is_compared_before_the_next_charge_and_then_recorded(world: World) -> None:
    """A replica was promoted and has everything (F37): one look at the PG's list, and charging goes on by itself."""
    world.subscriber()
    world.at("2024-02-29 10:00")
    on_old_timeline(world)
    with pytest.raises(InvariantBroken, match="began a new timeline"):
        world.app.worker.renew()
    assert len(world.pg.arrivals()) == 1
    world.later(minutes=1)
    assert world.tick()["paid"] == 1
    world.app.worker.renew()
    assert "identity.timeline" in audited(world)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_replica_that_lacks_the_last_seconds_charges_nothing_before_it_is_adopted(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 10:00")
    backup = backup_of(world)
    world.tick()
    put_back(world, backup)
    on_old_timeline(world)
    arrivals = world.pg.arrivals()
    for _ in range(2):
        with pytest.raises(InvariantBroken):
            world.tick()
    assert "identity.timeline" not in audited(world)
    assert adopt(world).is_moved
    world.tick()
    assert world.pg.arrivals() == arrivals
    assert world.states(mina) == ["paid", "paid"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_pg_that_cannot_be_asked_keeps_a_new_timeline_waiting(world: World) -> None:
    world.subscriber()
    world.at("2024-02-29 10:00")
    on_old_timeline(world)
    world.pg.fault("refuse_connection", path="/payments/status/*")
    with pytest.raises(GatewayUnavailable):
        world.tick()
    assert len(world.pg.arrivals()) == 1


def test_a_subscription_asked_for_again_after_a_restore_is_not_charged_before_the_list_is_compared(world: World) -> None:
    """The new one has a new order number: no probe finds what the forgotten one has paid."""
    mina = world.customer()
    backup = backup_of(world)
    world.app.subscriptions.start(mina, "pro-monthly", request_key="order-17", actor="host")
    arrivals = world.pg.arrivals()
    assert len(arrivals) == 1
    put_back(world, backup)

    again = world.app.subscriptions.start(mina, "pro-monthly", request_key="order-17", actor="host")

    assert [one.name for one in again.verdicts] == ["not_tried"]
    assert world.pg.arrivals() == arrivals
    freeze = world.app.controls.freeze()
    assert freeze is not None
    assert freeze.is_frozen


def stray_charge(world: World) -> str:
    """Somebody charges under a number of ours that nothing here can derive; returns it."""
    identity = world.app.controls.identity()
    with world.app.store.read() as tx:
        card = tx.customers.keys_of(tx.customers.find("user-1").id)[0].customer_uid
    order = ChargeOrder("", f"{identity.uid_prefix}{'0' * 26}a01", card, 100, "KRW", "stray")
    gateway = world.app.gateway
    list(gateway.charge([order], token=gateway.token(), gate=lambda: True))
    return order.merchant_uid


def on_old_timeline(world: World) -> None:
    """Let the database remember a timeline its server has left."""
    with world.app.store.begin() as tx:
        tx.controls.place(timeline=4711)


def audited(world: World) -> list[str]:
    with world.app.store.read() as tx:
        return list(tx.connection.execute(text("SELECT action FROM billing_audit")).scalars())
