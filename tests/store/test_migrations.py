"""Migrations: many may start at once, strangers' tables are left alone, money rows are never dropped."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import Engine, inspect, text

from billing.errors import GuardMissing, RuleError
from billing.store import migrate
from billing.store.guards import missing_guards
from billing.store.tables import metadata
from tests.kit import rows

UPGRADE = "import sys; from billing.store import engine, migrate; migrate.upgrade(engine.create_engine_for(sys.argv[1]))"


def test_a_new_database_gets_every_table_and_every_guard(bare_engine: Engine) -> None:
    assert migrate.current(bare_engine) is None

    migrate.upgrade(bare_engine)

    assert migrate.current(bare_engine) == migrate.head()
    assert set(inspect(bare_engine).get_table_names()) == {*metadata.tables, migrate.VERSION_TABLE}
    with bare_engine.connect() as conn:
        assert missing_guards(conn) == []


def test_upgrading_again_changes_nothing(engine: Engine) -> None:
    with engine.begin() as conn:
        rows.attempt(conn)

    migrate.upgrade(engine)

    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM billing_attempt")) == 1


def test_four_processes_upgrade_at_once_and_all_succeed(bare_engine: Engine, bare_database_url: str) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, bare_database_url], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in started]

    assert ended == [("", 0)] * 4
    assert migrate.current(bare_engine) == migrate.head()


def test_the_model_and_the_migrations_say_the_same(engine: Engine) -> None:
    assert migrate.check(engine) == []


def test_what_differs_from_the_model_is_named(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text("ALTER TABLE billing_customer ADD COLUMN shoe_size INTEGER"))
        conn.execute(text("DROP INDEX billing_attempt_wake_idx"))

    found = migrate.check(engine)

    assert sorted(found) == [
        "add index: billing_attempt.billing_attempt_wake_idx",
        "remove column: billing_customer.shoe_size",
    ]


@pytest.mark.parametrize("bare_database_url", ["postgresql"], indirect=True)
def test_a_column_that_was_altered_by_hand_is_described(bare_engine: Engine) -> None:
    migrate.upgrade(bare_engine)
    with bare_engine.begin() as conn:
        conn.execute(text("ALTER TABLE billing_customer ALTER COLUMN name TYPE text"))
        conn.execute(text("ALTER TABLE billing_key ALTER COLUMN pg_id SET DEFAULT 'nobody'"))

    assert migrate.check(bare_engine) == [
        "modify type: billing_customer.name is TEXT in the database and VARCHAR(100) in the model",
        "modify default: billing_key.pg_id is 'nobody'::character varying in the database and '' in the model",
    ]


def test_a_database_newer_than_the_program_is_left_alone(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'"))

    with pytest.raises(RuleError, match="9999"):
        migrate.upgrade(engine)


def test_tables_of_the_host_are_neither_seen_nor_touched(bare_engine: Engine) -> None:
    with bare_engine.begin() as conn:
        conn.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY)"))
        conn.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        conn.execute(text("INSERT INTO alembic_version VALUES ('the host''s own')"))

    migrate.upgrade(bare_engine)
    assert migrate.check(bare_engine) == []
    migrate.downgrade(bare_engine, "base")

    assert set(inspect(bare_engine).get_table_names()) == {"users", "alembic_version", migrate.VERSION_TABLE}
    with bare_engine.connect() as conn:
        assert conn.scalar(text("SELECT version_num FROM alembic_version")) == "the host's own"


def test_a_database_without_money_can_be_taken_down_and_up_again(engine: Engine) -> None:
    migrate.downgrade(engine, "base")
    assert migrate.current(engine) is None

    migrate.upgrade(engine)

    assert migrate.check(engine) == []


@pytest.mark.parametrize("record", [rows.attempt, rows.payment, rows.refund, rows.ledger_transfer])
def test_a_downgrade_that_would_lose_money_rows_is_refused_and_changes_nothing(engine: Engine, record: rows.Maker) -> None:
    with engine.begin() as conn:
        record(conn)

    with pytest.raises(RuleError, match="has rows, which this downgrade would lose"):
        migrate.downgrade(engine, "base")

    assert migrate.current(engine) == migrate.head()
    assert migrate.check(engine) == []


def test_an_upgrade_that_leaves_a_guard_missing_says_so(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text("DROP INDEX billing_attempt_one_paid"))

    with pytest.raises(GuardMissing, match="unique index billing_attempt_one_paid on billing_attempt is missing"):
        migrate.upgrade(engine)


def test_a_migration_that_fails_half_way_leaves_nothing_behind(bare_engine: Engine) -> None:
    with bare_engine.begin() as conn:
        conn.execute(text("CREATE TABLE billing_refund (mine INTEGER)"))  # the name is taken: one of the last tables fails

    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(bare_engine)

    assert inspect(bare_engine).get_table_names() == ["billing_refund"]
