"""Engines: nothing leaks into messages, no update is lost, an outage is one clear line."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from billing.errors import DatabaseUnavailable, SettingsError
from billing.store.engine import READ_ONLY, create_engine_for, translated
from billing.store.tables import counter, test_clock
from tests.kit import rows

SECRET = "hunter2-is-my-password"


def in_threads(work: Callable[[], None], times: int) -> None:
    threads = [Thread(target=work) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def unavailable(engine: Engine) -> str:
    """What is said when the database cannot be used."""
    with pytest.raises(DatabaseUnavailable) as error, translated(engine), engine.connect() as conn:
        conn.execute(text("SELECT * FROM billing_attempt"))
    return str(error.value)


# --- what is said -------------------------------------------------------------------------------


def test_values_never_reach_an_error_message(engine: Engine) -> None:
    with pytest.raises(DBAPIError) as error, engine.begin() as conn:
        conn.execute(text("INSERT INTO billing_customer (id, no_such_column) VALUES (:id, :x)"), {"id": SECRET, "x": 1})
    assert SECRET not in str(error.value)


def test_a_server_that_is_not_there_is_one_line_without_the_password() -> None:
    said = unavailable(create_engine_for(f"postgresql://billing:{SECRET}@127.0.0.1:1/shop"))
    assert said.startswith("PostgreSQL database shop at 127.0.0.1:1: ")
    assert "refused" in said
    assert "\n" not in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "url", [f"postgresql://u:{SECRET}@127.0.0.1:1/d", f"postgresql://127.0.0.1:1/d?user=u&password={SECRET}"]
)
def test_the_password_is_not_shown_by_the_engine_either(url: str) -> None:
    with pytest.raises(DatabaseUnavailable) as error, translated(engine := create_engine_for(url)), engine.connect():
        pass
    assert SECRET not in f"{error.value} {error.value.__cause__}"


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "no-such-directory" / "billing.db"
    assert unavailable(create_engine_for(f"sqlite:///{path}")) == f"SQLite database {path}: unable to open database file"


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "billing.db").write_bytes(b"a diary, and a long one " * 100)
    assert unavailable(create_engine_for(f"sqlite:///{tmp_path}/billing.db")).endswith(": file is not a database")


def test_a_database_that_is_not_migrated_says_how_to(bare_engine: Engine) -> None:
    assert unavailable(bare_engine).endswith(": it is not migrated; run `billing init`")


def test_a_connection_cut_by_the_server_is_an_outage_and_the_next_one_works(postgresql_engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailable), translated(postgresql_engine), postgresql_engine.begin() as conn:
        conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with postgresql_engine.begin() as conn:
        assert conn.scalar(text("SELECT 1")) == 1


def test_a_refusal_is_an_answer_and_passes_through(engine: Engine) -> None:
    with pytest.raises(IntegrityError), translated(engine), engine.begin() as conn:
        conn.execute(insert(counter), [{"name": "invoice", "value": 1}, {"name": "invoice", "value": 2}])


@pytest.mark.parametrize(
    "url", ["", "billing.db", "mysql://host/db", "postgresql+psycopg2://h/d", "postgresql://h:port/d", "sqlite"]
)
def test_a_url_that_cannot_be_used_names_the_setting(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^BILLING_DATABASE_URL: .*; write sqlite:///billing.db or postgresql://"):
        create_engine_for(url)


def test_a_bad_url_does_not_show_its_password() -> None:
    with pytest.raises(SettingsError) as error:
        create_engine_for(f"oracle://u:{SECRET}@h/d")
    assert SECRET not in str(error.value)


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"pip install gudok\[postgres\]"):
        create_engine_for("postgresql://localhost/shop")


def test_the_url_of_a_hosting_provider_is_understood() -> None:
    assert create_engine_for("postgres://u@h/d").url.drivername == "postgresql+psycopg"


# --- what is promised ---------------------------------------------------------------------------


def add_one(conn: Connection, *, lock: str = "") -> None:
    value = conn.scalar(text(f"SELECT value FROM billing_counter WHERE name = 'invoice' {lock}"))
    conn.execute(text("UPDATE billing_counter SET value = :value WHERE name = 'invoice'"), {"value": (value or 0) + 1})


def test_two_connections_that_read_then_write_lose_no_update(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(insert(counter), {"name": "invoice", "value": 0})
    together = Barrier(4)
    # SQLite holds its write lock from the start; PostgreSQL is asked for the row's.
    lock = "FOR UPDATE" if engine.dialect.name == "postgresql" else ""

    def work() -> None:
        together.wait()
        for _ in range(10):
            with engine.begin() as conn:
                add_one(conn, lock=lock)

    in_threads(work, 4)

    with engine.connect() as conn:
        assert conn.scalar(text("SELECT value FROM billing_counter")) == 40


def test_a_transaction_holds_the_write_lock_from_its_first_moment(sqlite_engine: Engine) -> None:
    stranger = sqlite3.connect(str(sqlite_engine.url.database), timeout=0.05, isolation_level=None)
    with sqlite_engine.connect() as conn, conn.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        stranger.execute("BEGIN IMMEDIATE")
    stranger.execute("BEGIN IMMEDIATE")
    stranger.close()


def test_a_reader_waits_for_nobody(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as writer, writer.begin():
        writer.execute(insert(counter), {"name": "invoice", "value": 1})
        with sqlite_engine.connect().execution_options(**{READ_ONLY: True}) as reader:
            assert reader.scalar(text("SELECT count(*) FROM billing_counter")) == 0
        writer.rollback()


def test_a_database_in_memory_is_shared_by_threads() -> None:
    engine = create_engine_for("sqlite://")
    with engine.begin() as conn:
        counter.create(conn)
        conn.execute(insert(counter), {"name": "invoice", "value": 0})

    def work() -> None:
        for _ in range(20):
            with engine.begin() as conn:
                add_one(conn)

    in_threads(work, 4)

    with engine.connect() as conn:
        assert conn.scalar(text("SELECT value FROM billing_counter")) == 80
    engine.dispose()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("foreign_keys", 1), ("recursive_triggers", 1), ("journal_mode", "wal"), ("synchronous", 2), ("busy_timeout", 20_000)],
)
def test_every_sqlite_connection_is_set_up(sqlite_engine: Engine, pragma: str, value: object) -> None:
    with sqlite_engine.connect() as conn:
        assert conn.scalar(text(f"PRAGMA {pragma}")) == value


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("transaction_isolation", "read committed"),
        ("application_name", "billing"),
        ("lock_timeout", "20s"),
        ("idle_in_transaction_session_timeout", "1min"),
    ],
)
def test_every_postgresql_connection_is_set_up(postgresql_engine: Engine, setting: str, value: str) -> None:
    with postgresql_engine.connect() as conn:
        assert conn.scalar(text(f"SHOW {setting}")) == value


def test_the_url_has_the_last_word(postgresql_engine: Engine) -> None:
    url = postgresql_engine.url.update_query_dict({"application_name": "shop", "options": "-c lock_timeout=3s"})
    own = create_engine_for(url.render_as_string(hide_password=False))
    with own.connect() as conn:
        assert conn.scalar(text("SHOW application_name")) == "shop"
        assert conn.scalar(text("SHOW lock_timeout")) == "3s"
    own.dispose()


def test_a_naive_instant_stops_at_the_door(conn: Connection) -> None:
    with pytest.raises(Exception, match="a naive datetime reached the store"):
        conn.execute(insert(test_clock), {"id": 1, "at": datetime(2026, 11, 21)})  # noqa: DTZ001 - the point of the test


def test_a_foreign_key_is_held(conn: Connection) -> None:
    with pytest.raises(IntegrityError):
        rows.billing_key(conn, customer_id="nobody")
