"""A disk that is full: what cannot be written down is not charged, and it goes on where it stopped."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from billing.errors import DatabaseUnavailable
from tests.kit.world import World

UNBOUNDED = 1_073_741_823  # Source: SQLite manual, PRAGMA max_page_count (the compiled-in default)


class Disk:
    """The room a database file has. Source: SQLite manual, SQLITE_FULL is also what exceeding max_page_count gives."""

    def __init__(self, world: World) -> None:
        self._engine = world.app.engine
        self._pages = UNBOUNDED
        event.listen(self._engine, "connect", self._bound)

    def _bound(self, connection: object, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {self._pages}")  # type: ignore[attr-defined]

    def has_room(self, pages: int | None) -> None:
        """Let the file grow by so many pages from now on; None for as many as it likes."""
        with self._engine.connect() as connection:
            size = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        self._pages = UNBOUNDED if pages is None else size + pages
        self._engine.dispose()


@pytest.fixture
def disk(world: World) -> Disk:
    """The disk under a world."""
    return Disk(world)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("room", range(0, 16, 2))
def test_a_full_disk_charges_nobody_it_has_not_written_down(world: World, disk: Disk, room: int) -> None:
    ids = [world.subscriber() for _ in range(8)]
    world.at("2024-02-29 10:00")
    before = len(world.pg.arrivals())

    disk.has_room(room)
    with pytest.raises(DatabaseUnavailable, match="database or disk is full"):
        world.tick()
    written = {one.merchant_uid: one.state.value for id in ids for one in world.attempts(id)}
    assert all(written.get(uid) == "sending" for uid in world.pg.arrivals()[before:])

    disk.has_room(None)
    world.later(minutes=4).tick()
    world.until_decided()
    for id in ids:
        assert world.states(id) == ["paid", "paid"]
    assert len(world.pg.kept()) == 16
    assert world.pg.double_charged() == []
    assert world.is_proven()
