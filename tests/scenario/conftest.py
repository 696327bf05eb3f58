"""Stories run on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.world import World, world_on


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Seoul, the morning of 31 January 2024."""
    with world_on(database_url) as one:
        yield one
