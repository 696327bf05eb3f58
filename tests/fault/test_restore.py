"""Yesterday's backup is put back: the PG remembers what the database forgot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.domain.invoice import InvoiceState
from billing.errors import Frozen
from tests.kit.buyer import TEL, payer
from tests.kit.world import World, world_on


@pytest.fixture
def world(migrated_sqlite: Path, tmp_path: Path) -> Iterator[World]:
    """A merchant whose database is one file that can be copied."""
    file = shutil.copy(migrated_sqlite, tmp_path / "billing.db")
    with world_on(f"sqlite:///{file}") as one:
        yield one


class Backup:
    """A copy of the database as it stood."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._file = Path(str(world.app.engine.url.database))
        self._copy = self._file.with_suffix(".backup")
        world.app.engine.dispose()
        shutil.copy(self._file, self._copy)

    def restore(self) -> None:
        """Put it back, as an operator would with the engine stopped."""
        self._world.app.engine.dispose()
        for name in (f"{self._file}-wal", f"{self._file}-shm"):
            Path(name).unlink(missing_ok=True)
        shutil.copy(self._copy, self._file)


def thawed(world: World) -> World:
    """The first look at the PG's list stops all charging; here an operator explains it away without looking any further."""
    with pytest.raises(Frozen):
        world.later(minutes=5).tick()
    for one in world.app.reconcile().unexplained:
        world.app.reconciliation.explain(one.id, reason="drill", actor="admin")
    world.app.thaw(reason="drill", actor="admin")
    return world


def test_what_was_charged_since_is_adopted_and_not_charged_again(world: World) -> None:
    ids = [world.subscriber() for _ in range(5)]
    world.at("2024-02-29 09:00")
    backup = Backup(world)
    world.at("2024-02-29 10:00").tick()
    assert len(world.pg.kept()) == 10

    backup.restore()
    assert [world.states(id) for id in ids] == [["paid"]] * 5
    thawed(world).tick()

    assert [world.states(id) for id in ids] == [["paid", "paid"]] * 5
    assert len(world.pg.kept()) == 10
    assert world.is_proven()


def test_lost_numbers_are_found_even_when_the_first_one_failed(world: World) -> None:
    mina = world.subscriber()
    world.at("2024-02-29 09:00")
    backup = Backup(world)
    world.pg.fault("decline", times=2)
    world.at("2024-02-29 10:00").tick()
    world.days(3)
    assert world.states(mina) == ["paid", "declined", "declined", "paid"]

    backup.restore()
    thawed(world).tick()
    world.days(1)

    assert world.states(mina) == ["paid", "declined", "declined", "paid"]
    assert len(world.pg.kept()) == 2
    assert world.is_proven()


def test_a_backup_from_between_the_arming_and_the_answer_finds_the_answer(world: World) -> None:
    mina = world.subscriber()
    world.pg.fault("lost_reply", times=1)
    world.pg.fault("lookup_lag", times=1, value=120)
    world.at("2024-02-29 10:00").tick()
    assert world.states(mina)[-1] == "unknown"
    backup = Backup(world)
    world.until_decided()
    backup.restore()
    world.until_decided()
    assert world.states(mina) == ["paid", "paid"]
    assert len(world.pg.kept()) == 2


def test_what_was_paid_in_a_window_since_is_found_before_anything_is_charged(world: World) -> None:
    one = world.subscriber(tel=TEL)
    world.pg.fault("decline", card="4242", times=1)
    world.at("2024-02-29 10:00").tick()
    backup = Backup(world)
    world.at("2024-03-01 09:30")
    payer(world, world.invoice(one).id).opens().approves().reports()
    assert len(world.pg.kept()) == 2

    backup.restore()
    report = world.later(minutes=20).app.reconcile()
    # Anybody with a card could have made such a record, so it stops nobody; the probe knows better.
    assert [found.kind for found in report.new] == ["unasked"]
    assert not report.is_frozen
    world.at("2024-03-01 10:00").tick()

    assert world.invoice(one).state is InvoiceState.PAID
    assert len(world.pg.kept()) == 2
    assert world.app.reconcile().is_clean
    assert world.is_proven()


def test_a_window_left_open_in_a_forgotten_life_keeps_nothing_from_being_collected(world: World) -> None:
    one = world.subscriber(tel=TEL)
    world.pg.fault("decline", card="4242", times=1)
    world.at("2024-02-29 10:00").tick()
    backup = Backup(world)
    world.at("2024-03-01 09:30")
    payer(world, world.invoice(one).id).opens()

    backup.restore()
    world.at("2024-03-01 10:00").tick()

    assert world.invoice(one).state is InvoiceState.PAID
    assert len(world.pg.kept()) == 2
