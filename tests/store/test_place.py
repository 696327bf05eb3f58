"""A copied database stands in another place; the same database, however it is reached, in the same one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from billing.store.engine import create_engine_for
from billing.store.place import Place, place_of
from tests.kit.copies import copy_of


def here(url: str) -> Place:
    engine = create_engine_for(url)
    with engine.connect() as connection:
        found = place_of(connection)
    engine.dispose()
    return found


def test_a_copy_stands_elsewhere(database_url: str) -> None:
    first = here(database_url)
    assert len(first.fingerprint) == 64
    with copy_of(database_url) as copy:
        assert here(copy).fingerprint != first.fingerprint
    assert here(database_url) == first


def test_writing_vacuuming_and_reopening_change_nothing(database_url: str, engine: Engine) -> None:
    first = here(database_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE TABLE more (n integer)")
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM FULL")
    assert here(database_url) == first


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_written_over_in_place_is_the_same_file(database_url: str, tmp_path: Path) -> None:
    """A backup copied onto the database is not told apart by its place: reconciliation finds that one."""
    file = Path(str(make_url(database_url).database))
    first = here(database_url)
    shutil.copy(shutil.copy(file, tmp_path / "backup"), file)
    assert here(database_url) == first
    os.replace(tmp_path / "backup", file)
    assert here(database_url) != first


def test_memory_is_no_place() -> None:
    assert here("sqlite://").fingerprint == ""


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_server_that_keeps_its_identifier_to_itself_is_known_by_the_oid_alone(database_url: str) -> None:
    full = here(database_url)
    assert full.timeline >= 1
    engine = create_engine_for(database_url)
    with engine.begin() as connection:
        # Roles are the server's and not the database's: what is granted here is undone by the rollback.
        connection.execute(text("CREATE ROLE billing_test_tenant"))
        connection.execute(text("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"))
        connection.execute(text("SET LOCAL ROLE billing_test_tenant"))
        rough = place_of(connection)
        connection.rollback()
    engine.dispose()
    assert rough.fingerprint not in ("", full.fingerprint)
    assert rough.timeline == 0
    assert "oid alone" in rough.basis
