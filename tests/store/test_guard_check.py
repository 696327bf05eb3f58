"""Whatever guard goes missing, is switched off or says something else, the check names it."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Connection, Engine, text

from billing.errors import GuardMissing
from billing.store.guards import CHECK, FUNCTION, INDEX, PRIMARY, TRIGGER, UNIQUE, Guard, assert_guarded, guards, missing_guards
from billing.store.tables import metadata
from billing.store.triggers import triggers
from tests.conftest import DATABASES

EVERY = [(dialect, guard) for dialect in DATABASES for guard in guards(dialect)]


def of_kind(*kinds: str, dialect: str | None = None) -> pytest.MarkDecorator:
    """Run a test for every guard of these kinds, each on its database."""
    wanted = [(on, guard) for on, guard in EVERY if guard.kind in kinds and dialect in (None, on)]
    names = [f"{on}-{guard.kind}-{guard.name}" for on, guard in wanted]
    return pytest.mark.parametrize(("conn", "guard"), wanted, ids=names, indirect=["conn"])


def test_a_migrated_database_has_all_guards(conn: Connection) -> None:
    assert missing_guards(conn) == []
    assert_guarded(conn)


def test_the_guards_against_a_double_charge_are_among_them() -> None:
    for dialect in DATABASES:
        names = {guard.name for guard in guards(dialect)}
        assert names >= {
            "billing_attempt_one_live", "billing_attempt_one_paid", "billing_attempt_one_imp_uid",
            "billing_attempt_merchant_uid_key", "billing_attempt_invoice_id_seq_key", "billing_attempt_arrows",
            "billing_charge_day_pkey", "billing_invoice_subscription_id_purpose_period_index_key",
            "billing_payment_pkey", "billing_payment_not_over_refunded_check", "billing_refund_one_in_flight",
            "billing_ledger_transfer_kind_ref_key", "billing_ledger_transfer_fixed", "billing_ledger_transfer_kept",
        }  # fmt: skip


def test_every_missing_guard_is_named_at_once(conn: Connection) -> None:
    conn.execute(text("DROP INDEX billing_attempt_one_live"))
    conn.execute(text("DROP INDEX billing_refund_one_in_flight"))

    with pytest.raises(
        GuardMissing, match=r"billing_attempt_one_live on billing_attempt is missing; .*billing_refund_one_in_flight"
    ):
        assert_guarded(conn)


@of_kind(CHECK, FUNCTION, INDEX, PRIMARY, TRIGGER, UNIQUE)
def test_a_dropped_guard_is_named(conn: Connection, guard: Guard) -> None:
    drop(conn, guard)
    assert f"{guard} is missing" in missing_guards(conn)


@of_kind(CHECK, FUNCTION, INDEX, PRIMARY, TRIGGER, UNIQUE)
def test_a_guard_that_says_something_else_is_named(conn: Connection, guard: Guard) -> None:
    weaken(conn, guard)
    assert missing_guards(conn) == [f"{guard} is not what it was"]


@of_kind(TRIGGER, dialect="postgresql")
def test_a_disabled_trigger_is_named(conn: Connection, guard: Guard) -> None:
    conn.execute(text(f"ALTER TABLE {guard.table} DISABLE TRIGGER {guard.name}"))
    assert missing_guards(conn) == [f"{guard} is disabled"]


@of_kind(INDEX, PRIMARY, UNIQUE, dialect="postgresql")
@pytest.mark.parametrize("flag", ["indisvalid", "indisready"])
def test_an_index_that_was_never_finished_is_named(conn: Connection, guard: Guard, flag: str) -> None:
    conn.execute(text(f"UPDATE pg_index SET {flag} = false WHERE indexrelid = '{guard.name}'::regclass"))
    assert missing_guards(conn) == [f"{guard} is not valid"]


@of_kind(CHECK, dialect="postgresql")
def test_a_check_old_rows_were_never_held_to_is_named(conn: Connection, guard: Guard) -> None:
    condition = conn.scalar(
        text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name"), {"name": guard.name}
    )
    drop(conn, guard)
    conn.execute(text(f"ALTER TABLE {guard.table} ADD CONSTRAINT {guard.name} {condition} NOT VALID"))
    assert missing_guards(conn) == [f"{guard} is not valid"]


def test_switching_triggers_off_for_a_session_is_noticed(postgresql_engine: Engine) -> None:
    with postgresql_engine.begin() as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        assert missing_guards(conn) == ["all triggers are switched off in this session (session_replication_role)"]


@pytest.mark.parametrize(
    ("pragma", "words"),
    [
        ("ignore_check_constraints = ON", "all CHECKs are switched off in this session (ignore_check_constraints)"),
        ("recursive_triggers = OFF", "rows can be replaced unseen in this session (recursive_triggers)"),
    ],
)
def test_switching_checks_off_for_a_session_is_noticed(sqlite_engine: Engine, pragma: str, words: str) -> None:
    with sqlite_engine.connect() as conn:
        conn.execute(text(f"PRAGMA {pragma}"))
        found = missing_guards(conn)
        conn.invalidate()  # the pragma outlives a transaction; the connection must not go back to the pool
    assert found == [words]


# --- how guards get lost ------------------------------------------------------------------------


def drop(conn: Connection, guard: Guard) -> None:
    """Take the guard away, as a careless migration would."""
    if guard.kind == FUNCTION:
        conn.execute(text(f"DROP FUNCTION {guard.name} CASCADE"))
    elif guard.kind == TRIGGER:
        conn.execute(text(f"DROP TRIGGER {guard.name}" + (f" ON {guard.table}" if is_postgres(conn) else "")))
    elif guard.kind == INDEX:
        conn.execute(text(f"DROP INDEX {guard.name}"))
    elif is_postgres(conn):
        conn.execute(text(f"ALTER TABLE {guard.table} DROP CONSTRAINT {guard.name} CASCADE"))
    else:
        rewrite_table(conn, guard, "")


def weaken(conn: Connection, guard: Guard) -> None:
    """Put something harmless in its place under the same name."""
    if guard.kind == FUNCTION:
        conn.execute(
            text(f"CREATE OR REPLACE FUNCTION {guard.name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
        )
        return
    if guard.kind == TRIGGER:
        drop(conn, guard)
        conn.exec_driver_sql(weakened_trigger(conn.dialect.name, guard))
        return
    if guard.kind == INDEX:
        drop(conn, guard)
        column = re.search(rf"{guard.table}\W(\w+)", guard.definition)
        assert column is not None
        conn.execute(text(f"CREATE UNIQUE INDEX {guard.name} ON {guard.table} ({column[1]}) WHERE {column[1]} = 'nothing'"))
        return
    other = "CHECK (1 = 1)" if guard.kind == CHECK else f"{guard.kind.removesuffix(' constraint')} ({other_columns(guard)})"
    if is_postgres(conn):
        drop(conn, guard)
        conn.execute(text(f"ALTER TABLE {guard.table} ADD CONSTRAINT {guard.name} {other}"))
    else:
        rewrite_table(conn, guard, f"CONSTRAINT {guard.name} {other}")


def weakened_trigger(dialect: str, guard: Guard) -> str:
    """The same trigger, except that it only looks at a row when the moon is blue."""
    sql = next(trigger.sql for trigger in triggers(dialect) if trigger.name == guard.name)
    if "WHEN" in sql:
        return (
            sql.replace(" WHEN (", " WHEN (1 = 0 AND ")
            .replace(" WHEN NEW", " WHEN 1 = 0 AND NEW")
            .replace(" WHEN OLD", " WHEN 1 = 0 AND OLD")
        )
    return re.sub(r"FOR EACH (ROW|STATEMENT)", r"FOR EACH \1 WHEN (1 = 0)", sql)


def other_columns(guard: Guard) -> str:
    """The same key and one column more, which refuses far less."""
    key = re.findall(r"\w+", guard.definition.removeprefix("primary key").removeprefix("unique"))
    spare = [column.name for column in metadata.tables[guard.table].c if column.name not in key and not column.nullable]
    return ", ".join([*key, spare[0]])


def rewrite_table(conn: Connection, guard: Guard, constraint: str) -> None:
    """Replace a constraint in the text of an SQLite table, as a copy of the table by a migration would."""
    sql = conn.scalar(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": guard.table})
    start, end = extent(sql, guard.name)
    changed = sql[:start] + constraint + sql[end:]
    changed = re.sub(r",\s*(,|\)\s*$)", r"\1", changed) if not constraint else changed
    conn.execute(text("PRAGMA writable_schema = ON"))
    conn.execute(text("UPDATE sqlite_master SET sql = :sql WHERE name = :name"), {"sql": changed, "name": guard.table})
    conn.execute(text("PRAGMA writable_schema = OFF"))


def extent(sql: str, name: str) -> tuple[int, int]:
    """Where `CONSTRAINT name …(…)` begins and ends in a CREATE TABLE."""
    start = sql.index(f"CONSTRAINT {name} ")
    depth = 0
    for place in range(sql.index("(", start), len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[place], 0)
        if depth == 0:
            return start, place + 1
    raise AssertionError(f"{name} has no end")


def is_postgres(conn: Connection) -> bool:
    return conn.dialect.name == "postgresql"
