"""One row that cannot be worked on ends no pass."""

from __future__ import annotations

from typing import Any

import pytest

from billing.flow import settlement
from tests.kit.world import World


def test_an_outcome_that_cannot_be_booked_is_looked_at_again_and_ends_no_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the simulator: alone in its batch it ended every pass, before refunds and cards had their turn."""
    mina = world.subscriber()
    world.at("2024-02-29 10:00").pg.fault("server_error", times=1)
    world.tick()

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("this row")

    with monkeypatch.context() as bug:
        bug.setattr(settlement, "booked", broken)
        counts = world.later(minutes=1).tick()
    assert counts["unknown"] == 1

    world.until_decided()
    assert world.states(mina)[-1] == "paid"
