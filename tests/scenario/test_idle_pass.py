"""What a pass costs that finds nothing to do, and that the glance which saves it hides no work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from billing.errors import Frozen
from tests.kit.world import World


@contextmanager
def transactions(world: World) -> Iterator[list[object]]:
    """Every transaction that begins meanwhile."""
    begun: list[object] = []

    def note(connection: object) -> None:
        begun.append(connection)

    event.listen(world.app.engine, "begin", note)
    yield begun
    event.remove(world.app.engine, "begin", note)


def test_a_pass_with_nothing_to_do_opens_one_transaction(world: World) -> None:
    world.subscriber()
    world.tick()

    with transactions(world) as begun:
        assert not world.app.worker.renew()

    assert len(begun) == 1


def test_a_pass_ends_with_what_it_made_due_itself(world: World) -> None:
    """The subscription is due, its invoice only once the pass has opened it."""
    world.subscriber()
    world.tick()
    world.at("2024-02-29 10:00")

    assert world.app.worker.renew() == {"opened": 1, "paid": 1}


def test_a_frozen_engine_says_so_even_where_nothing_is_due(world: World) -> None:
    world.app.controls.set_freeze(is_frozen=True, reason="a look at the books", actor="kim")

    with pytest.raises(Frozen):
        world.app.worker.renew()
