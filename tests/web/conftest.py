"""Shops on the web: `shop` on SQLite and on PostgreSQL, `quick` on SQLite alone, where the database is not the point."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.world import World, world_on
from tests.web.shop import Shop, shop_on


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    with world_on(database_url, hears=True) as world, shop_on(world) as one:
        yield one


@pytest.fixture
def sqlite_world(migrated_sqlite: Path, tmp_path: Path) -> Iterator[World]:
    with world_on(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'billing.db')}", hears=True) as world:
        yield world


@pytest.fixture
def quick(sqlite_world: World) -> Iterator[Shop]:
    with shop_on(sqlite_world) as one:
        yield one
