"""The switch that stops all charging, thrown while a batch is on its way."""

from __future__ import annotations

from typing import Any

import pytest

from billing.errors import Frozen
from tests.kit.world import World


def test_the_rest_of_a_batch_stops_within_a_second_and_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [world.subscriber() for _ in range(4)]
    operator = world.another_process()
    inner = world.pg.sandbox.handle
    charges = 0

    def handle(method: str, target: str, *rest: Any) -> Any:
        nonlocal charges
        if target.endswith("/again"):
            charges += 1
            if charges == 2:
                operator.controls.set_freeze(is_frozen=True, reason="look at this first", actor="mina")
                world.later(seconds=2)
        return inner(method, target, *rest)

    monkeypatch.setattr(world.pg.sandbox, "handle", handle)
    with pytest.raises(Frozen):
        world.at("2024-02-29 10:00").tick()
    assert charges == 2
    assert sorted(world.states(id)[-1] for id in ids) == ["paid", "paid", "planned", "planned"]

    operator.controls.set_freeze(is_frozen=False, reason="looked at", actor="mina")
    world.later(minutes=1).tick()
    assert [world.states(id) for id in ids] == [["paid", "paid"]] * 4
    assert world.is_proven()
    operator.close()
