"""Weeks with lost answers, declines, dying workers and busy admins: every promise holds after every step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing import fault
from tests.kit.world import world_on
from tests.simulation.walk import Walk


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    fault.arm("")


def test_nothing_is_charged_twice_and_nothing_is_lost(seed: int, migrated_sqlite: Path, tmp_path: Path) -> None:
    file = shutil.copy(migrated_sqlite, tmp_path / "billing.db")
    with world_on(f"sqlite:///{file}") as world:
        Walk(world, seed).run(days=30)
