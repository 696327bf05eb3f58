"""The databases tests run on: every test that asks for one runs on SQLite and on PostgreSQL.

Each test gets a database of its own, copied from one that was migrated once. A PostgreSQL server is
started when the first test wants it; `BILLING_TEST_DATABASE_URL` names one to use instead. A server
that does not start fails the tests that want it: they are never skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from billing.store import migrate
from billing.store.engine import create_engine_for
from tests.kit.postgres import fresh_database, name_of, postgres_server

DATABASES = ["sqlite", "postgresql"]


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Instance secrets, also those of child processes, are made here and not in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server on which databases may be made."""
    given = os.environ.get("BILLING_TEST_DATABASE_URL")
    if given:
        yield given.replace("postgresql+psycopg://", "postgresql://")
        return
    with postgres_server(fsync=False) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres: str) -> Iterator[str]:
    """The name of a migrated database nobody is connected to: a template."""
    with fresh_database(postgres) as url:
        _migrate(url)
        yield name_of(url)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "billing.db"
    _migrate(f"sqlite:///{path}")
    return path


def _migrate(url: str) -> None:
    engine = create_engine_for(url)
    migrate.upgrade(engine)
    engine.dispose()


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated, empty database of its own for this test."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_sqlite'), tmp_path / 'billing.db')}"
        return
    template = request.getfixturevalue("migrated_postgres")
    with fresh_database(request.getfixturevalue("postgres"), template) as url:
        yield url


@pytest.fixture(params=DATABASES)
def bare_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own with nothing in it, not even our tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'bare.db'}"
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on `database_url`, closed when the test ends."""
    engine = create_engine_for(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def bare_engine(bare_database_url: str) -> Iterator[Engine]:
    """An engine on `bare_database_url`, closed when the test ends."""
    engine = create_engine_for(bare_database_url)
    yield engine
    engine.dispose()
