"""Batches: one statement whatever their size, every value as it was given, losers of a race left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Column, Connection, Date, Integer, MetaData, String, Table, Text, event, select
from sqlalchemy.exc import IntegrityError

from billing.domain.attempt import AttemptState
from billing.store import bulk, tables
from billing.store.tables import Instant
from tests.kit import rows

SEOUL = timezone(timedelta(hours=9))
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=SEOUL)

thing = Table(
    "billing_test_thing",
    MetaData(),
    Column("id", String(36), primary_key=True),
    Column("day", Date, unique=True),
    Column("words", Text),
    Column("at", Instant),
    Column("number", Integer),
    Column("amount", BigInteger),
    Column("is_so", Boolean),
)


@pytest.fixture
def things(conn: Connection) -> Connection:
    """A connection on which the table of all column types exists, until the test ends."""
    thing.create(conn)
    return conn


def one(number: int, /, **given: Any) -> dict[str, Any]:
    own = {"id": f"thing-{number}", "day": date(2026, 1, 1) + timedelta(days=number), "words": "", "at": NOON}
    return {**own, "number": number, "amount": 2**40 + number, "is_so": number % 2 == 0} | given


def stored(conn: Connection) -> list[dict[str, Any]]:
    return [dict(row) for row in conn.execute(select(thing).order_by(thing.c.id)).mappings()]


@contextmanager
def statements(conn: Connection) -> Iterator[list[str]]:
    """The statements sent inside the block."""
    sent: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(conn, "before_cursor_execute", note)
    yield sent
    event.remove(conn, "before_cursor_execute", note)


def test_every_value_comes_back_as_it_was_given(things: Connection) -> None:
    given = [one(0), one(1, day=None, words=None, at=None, number=None, amount=None, is_so=None)]

    bulk.insert_rows(things, thing, given)

    assert stored(things) == given


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=5))
def test_no_text_is_special(conn: Connection, texts: list[str | None]) -> None:
    savepoint = conn.begin_nested()
    thing.create(conn)

    bulk.insert_rows(conn, thing, [one(number, words=words) for number, words in enumerate(texts)])
    assert [row["words"] for row in stored(conn)] == texts

    bulk.update_rows(conn, thing, ["id"], [{"id": f"thing-{n}", "words": f"{words}!"} for n, words in enumerate(texts)])
    assert [row["words"] for row in stored(conn)] == [f"{words}!" for words in texts]
    savepoint.rollback()


@pytest.mark.parametrize(
    "words", ["NULL", "null", "", '"', "\\", "{}", "a,b", "'; DROP TABLE billing_attempt; --", "%s", "구독\n"]
)
def test_no_awkward_text_is_special(things: Connection, words: str) -> None:
    bulk.insert_rows(things, thing, [one(0, words=words)])
    assert stored(things)[0]["words"] == words


def test_an_instant_comes_back_in_utc(things: Connection) -> None:
    bulk.insert_rows(things, thing, [one(0, at=NOON)])
    (row,) = stored(things)
    assert row["at"] == NOON
    assert row["at"].tzinfo is UTC


def test_a_naive_instant_is_refused(things: Connection) -> None:
    with pytest.raises(ValueError, match="naive"):
        bulk.insert_rows(things, thing, [one(0, at=NOON.replace(tzinfo=None))])


def test_a_state_is_stored_as_its_word(things: Connection) -> None:
    bulk.insert_rows(things, thing, [one(0, words=AttemptState.SENDING)])
    assert stored(things)[0]["words"] == "sending"


def test_without_rows_nothing_is_sent(things: Connection) -> None:
    with statements(things) as sent:
        bulk.insert_rows(things, thing, [])
        assert bulk.insert_new_rows(things, thing, [], ["id"]) == set()
        assert bulk.update_rows(things, thing, ["id"], []) == 0
    assert sent == []


@pytest.mark.parametrize("conn", ["postgresql"], indirect=True)
def test_a_batch_of_any_size_is_one_statement_of_the_same_text(things: Connection) -> None:
    def work(batch: Sequence[dict[str, Any]]) -> None:
        bulk.insert_rows(things, thing, batch[::2])
        bulk.insert_new_rows(things, thing, batch, ["id"])
        bulk.update_rows(things, thing, ["id"], [{"id": row["id"], "words": "new"} for row in batch])

    with statements(things) as small:
        work([one(1), one(2)])
    with statements(things) as large:
        work([one(number) for number in range(100, 1100)])

    assert len(small) == 3
    assert small == large


# --- inserting what is new ----------------------------------------------------------------------


def test_only_what_went_in_is_answered(things: Connection) -> None:
    bulk.insert_rows(things, thing, [one(1)])

    assert bulk.insert_new_rows(things, thing, [one(1, words="late"), one(2)], ["id"]) == {("thing-2",)}

    assert [row["words"] for row in stored(things)] == ["", ""]


def test_the_key_is_answered_in_the_types_it_was_given_in(conn: Connection) -> None:
    subscription_id = rows.subscription(conn)["id"]
    day = {"subscription_id": subscription_id, "local_day": date(2026, 11, 21), "attempt_id": "a"}

    first = bulk.insert_new_rows(conn, tables.charge_day, [day], ["subscription_id", "local_day"])
    again = bulk.insert_new_rows(conn, tables.charge_day, [day], ["subscription_id", "local_day"])

    assert first == {(subscription_id, date(2026, 11, 21))}
    assert again == set()


def test_the_same_key_twice_in_one_batch_goes_in_once(things: Connection) -> None:
    assert bulk.insert_new_rows(things, thing, [one(1, words="first"), one(1, words="second")], ["id"]) == {("thing-1",)}
    assert [row["words"] for row in stored(things)] == ["first"]


def test_any_other_unique_index_still_refuses(things: Connection) -> None:
    bulk.insert_rows(things, thing, [one(1)])
    with pytest.raises(IntegrityError):
        bulk.insert_new_rows(things, thing, [one(2, day=one(1)["day"])], ["id"])


# --- updating -----------------------------------------------------------------------------------


def test_each_row_gets_its_own_values_and_keeps_the_rest(things: Connection) -> None:
    bulk.insert_rows(things, thing, [one(1), one(2), one(3)])

    changed: list[dict[str, Any]] = [
        {"id": "thing-1", "words": "a", "at": None},
        {"id": "thing-2", "words": "b", "at": NOON + timedelta(days=1)},
    ]
    assert bulk.update_rows(things, thing, ["id"], changed) == 2

    assert stored(things) == [one(1, words="a", at=None), one(2, words="b", at=NOON + timedelta(days=1)), one(3)]


def test_a_writer_with_an_old_fence_changes_nothing(things: Connection) -> None:
    bulk.insert_rows(things, thing, [one(1, number=5), one(2, number=6)])

    late = [{"id": f"thing-{n}", "number": 6, "number_was": 5, "words": "mine"} for n in (1, 2)]
    assert bulk.update_rows(things, thing, ["id"], late, equals={"number": "number_was"}) == 1

    assert [(row["number"], row["words"]) for row in stored(things)] == [(6, "mine"), (6, "")]


def test_a_column_can_be_compared_and_left_as_it_is(things: Connection) -> None:
    bulk.insert_rows(things, thing, [one(1, number=5), one(2, number=6)])

    asked = [{"id": f"thing-{n}", "number": 5, "words": "mine"} for n in (1, 2)]
    assert bulk.update_rows(things, thing, ["id"], asked, equals={"number": "number"}) == 1

    assert [(row["number"], row["words"]) for row in stored(things)] == [(5, "mine"), (6, "")]


def test_a_key_of_two_columns_finds_its_row(things: Connection) -> None:
    bulk.insert_rows(things, thing, [one(1), one(2)])
    wanted = [{"id": "thing-1", "number": 1, "words": "yes"}, {"id": "thing-2", "number": 1, "words": "no"}]
    assert bulk.update_rows(things, thing, ["id", "number"], wanted) == 1
    assert [row["words"] for row in stored(things)] == ["yes", ""]


def test_the_triggers_see_every_row_of_a_batch(conn: Connection) -> None:
    live = [rows.attempt(conn)["id"] for _ in range(3)]
    with pytest.raises(IntegrityError, match="no such arrow"):
        bulk.update_rows(conn, tables.attempt, ["id"], [{"id": it, "state": "unknown"} for it in live])
