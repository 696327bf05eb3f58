"""Two databases, one ledger: a clone for staging, a forgotten replica, a backup started beside the original.

Only the place the ledger was founded in, under the instance secret it was founded with, may charge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from billing.app import Billing
from billing.errors import InvariantBroken, SettingsError
from billing.gateway.card import Card
from billing.sandbox import MAGIC_CARDS
from billing.scheduler.process import Process
from tests.kit.copies import copy_of
from tests.kit.world import World

OTHER_MACHINE = SecretStr("the secret of quite another machine")


@pytest.fixture
def due(world: World) -> World:
    """Three subscribers, whose second month is due now."""
    for _ in range(3):
        world.subscriber()
    world.at("2024-02-29 10:00")
    return world


@pytest.fixture
def clone(due: World) -> Iterator[Callable[[], Billing]]:
    """Makes engines on clones of the due world, with the same settings, PG and clock."""
    with ExitStack() as open_:

        def make(**settings: object) -> Billing:
            due.app.engine.dispose()
            url = open_.enter_context(copy_of(due.settings.database_url.get_secret_value()))
            one = due.another_process(database_url=SecretStr(url), **settings)
            open_.callback(one.close)
            return one

        yield make


def _retry(app: Billing, subscription: str) -> None:
    app.retry([one["id"] for one in app.views.invoices()])


def _start(app: Billing, subscription: str) -> None:
    app.subscriptions.start("user-1", "pro-monthly", actor="test")


def _charge(app: Billing, subscription: str) -> None:
    with app.store.read() as tx:
        ids = tx.invoices.due_ids(tx.business_now, 10, buckets=range(256))
    assert ids
    app.charging.charge(ids)


def _refund(app: Billing, subscription: str) -> None:
    app.refunds.request(app.views.invoices()[-1]["id"], amount=1, reason="a look", actor="test")


def _refund_past_the_check(app: Billing, subscription: str) -> None:
    app._refunding.take_up(1)


DOORS: dict[str, Callable[[Billing, str], object]] = {
    "renew": lambda app, _: app.renew(),
    "retry": _retry,
    "start": _start,
    "scheduler": lambda app, _: Process(app).run(),
    "worker, past the check": lambda app, _: app.worker.renew(),
    "charging, past the check": _charge,
    "refund": _refund,
    "refunding, past the check": _refund_past_the_check,
}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_of_a_clone_leads_to_a_charge(due: World, clone: Callable[[], Billing], door: str) -> None:
    due.pg.fault("refuse_connection", path="/payments/cancel", times=1)
    due.app.refunds.request(due.app.views.invoices()[-1]["id"], amount=1, reason="it waits", actor="test")
    due.later(minutes=1)
    before = due.pg.arrivals()
    copy = clone()
    copy._renewal.open_due(10)  # so that there is something to charge, whichever door is tried
    with pytest.raises(InvariantBroken, match=r"does not stand where it was founded.*`billing restore adopt"):
        DOORS[door](copy, "")
    assert (due.pg.arrivals(), due.pg.cancels()) == (before, [])
    assert len(copy.views.subscriptions()) == 3
    tick = due.tick()
    assert (tick["paid"], tick["refunded"]) == (3, 1)
    assert len(due.pg.arrivals()) == len(before) + 3


def test_a_clone_neither_registers_nor_deletes_a_card(due: World, clone: Callable[[], Billing]) -> None:
    """A new card ends with the old one deleted at the PG, where the original still charges it."""
    copy, customer = clone(), "user-1"
    card = Card(number=MAGIC_CARDS["approves"].number, expiry="2040-12", birth="900101")
    (key,) = copy.views.cards(customer)
    for forbidden in (
        lambda: copy.cards.add(customer, card, actor="test"),
        lambda: copy.cards.remove(customer, key["customer_uid"], actor="test"),
        copy.cards.sweep,
    ):
        with pytest.raises(InvariantBroken, match="nothing is charged from a copy"):
            forbidden()
    assert due.tick()["paid"] == 3


def test_two_clones_both_refuse_and_the_original_goes_on(due: World, clone: Callable[[], Billing]) -> None:
    one, two = clone(), clone()
    for _ in range(3):
        for copy in (one, two):
            with pytest.raises(InvariantBroken):
                copy.renew()
        due.tick()
        due.later(days=1)
    assert len(due.pg.arrivals()) == 6
    assert due.is_proven()


def test_another_secret_stops_everything(due: World) -> None:
    elsewhere = due.another_process(instance_secret=OTHER_MACHINE)
    with pytest.raises(InvariantBroken, match=r"not the one this ledger was founded with.*BILLING_INSTANCE_SECRET"):
        elsewhere.renew()
    elsewhere.close()
    assert len(due.pg.arrivals()) == 3


def test_a_missing_secret_stops_everything_and_is_not_made_anew(due: World, tmp_path: Path) -> None:
    file = tmp_path / "gone" / "instance.key"
    elsewhere = due.another_process(instance_secret=SecretStr(""), instance_file=file)
    with pytest.raises(InvariantBroken, match=r"secret is missing: .*instance.key \(BILLING_INSTANCE_FILE\)"):
        elsewhere.renew()
    with pytest.raises(InvariantBroken):
        elsewhere.init()
    elsewhere.close()
    assert not file.exists()
    assert len(due.pg.arrivals()) == 3


def test_a_secret_that_vanishes_stops_the_process_that_runs(due: World, tmp_path: Path) -> None:
    file = tmp_path / "instance.key"
    with due.app.store.begin() as tx:
        tx.controls.place(instance_fp="")
    running = due.another_process(instance_secret=SecretStr(""), instance_file=file)
    running.check()
    assert file.stat().st_mode & 0o777 == 0o600
    file.rename(tmp_path / "put away")
    with pytest.raises(InvariantBroken, match="secret is missing"):
        running.worker.renew()
    (tmp_path / "put away").rename(file)
    due.later(minutes=1)
    assert running.renew()["paid"] == 3
    file.chmod(0o640)
    with pytest.raises(SettingsError, match=r"BILLING_INSTANCE_FILE: .* is open to other users .*; run chmod 600"):
        running.renew()
    running.close()


def test_the_text_of_the_file_is_the_secret_wherever_it_is_given(due: World, tmp_path: Path) -> None:
    file = tmp_path / "instance.key"
    with due.app.store.begin() as tx:
        tx.controls.place(instance_fp="")
    one = due.another_process(instance_secret=SecretStr(""), instance_file=file)
    one.check()
    other = due.another_process(instance_secret=SecretStr(file.read_text().strip()))
    other.check()
    one.close()
    other.close()


def test_a_database_of_the_revision_before_is_placed_by_its_first_check(due: World, clone: Callable[[], Billing]) -> None:
    with due.app.store.begin() as tx:
        tx.controls.place(database_fp="", timeline=0, instance_fp="")
    assert due.tick()["paid"] == 3
    with due.app.store.read() as tx:
        stored = tx.controls.identity()
    assert stored is not None
    assert len(stored.database_fp) == len(stored.instance_fp) == 64
    with pytest.raises(InvariantBroken):
        clone().renew()


def test_other_settings_derive_the_same_order_numbers(due: World) -> None:
    """A copy that forgot which environment it runs in asks the PG for the same names (F66)."""
    due.tick()
    expected = due.pg.arrivals()[3:]
    other = due.another_process(
        time_zone="America/New_York", charge_hours="00:00-24:00", concurrency=7, dunning_days="2", sandbox_file=Path("other.db")
    )
    with other.store.read() as tx:
        stems = list(tx.connection.execute(text("SELECT uid_stem FROM billing_invoice WHERE period_index = 1")).scalars())
    other.close()
    assert sorted(f"{stem}a01" for stem in stems) == sorted(expected)
    assert len({uid[:2] for uid in expected}) == 1
