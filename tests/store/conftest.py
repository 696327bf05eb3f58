"""A connection whose changes are all taken back: hundreds of attacks share one migrated database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from billing.store.engine import create_engine_for
from tests.conftest import DATABASES
from tests.kit.postgres import fresh_database


@pytest.fixture(scope="module")
def sqlite_engine(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One SQLite database for a module of tests that take everything back."""
    engine = create_engine_for(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path_factory.mktemp('shared') / 'billing.db')}")
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def postgresql_engine(postgres: str, migrated_postgres: str) -> Iterator[Engine]:
    """One PostgreSQL database for a module of tests that take everything back."""
    with fresh_database(postgres, migrated_postgres) as url:
        engine = create_engine_for(url)
        yield engine
        engine.dispose()


@pytest.fixture(params=DATABASES)
def conn(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A transaction on a migrated, empty database that is rolled back when the test ends."""
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    with engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()


@contextmanager
def refused_by(conn: Connection, words: str) -> Iterator[None]:
    """Expect the database to refuse what the block does, saying `words`, and go on after it."""
    savepoint = conn.begin_nested()
    with pytest.raises(IntegrityError, match=words):
        yield
    savepoint.rollback()
