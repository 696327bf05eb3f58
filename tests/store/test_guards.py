"""What the database refuses whoever asks: attacks by direct SQL, past every rule of the engine.

And what it must not refuse: a double charge that really happened has to be written down.
"""

from __future__ import annotations

from collections import deque
from itertools import product
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, delete, select, text, update
from sqlalchemy.exc import IntegrityError

from billing.domain import attempt as attempts
from billing.domain import invoice as invoices
from billing.domain.attempt import AttemptState as S
from billing.domain.invoice import InvoiceState
from billing.domain.refund import ARROWS as REFUND_ARROWS
from billing.store import tables
from billing.store.triggers import PAYMENT_ARROWS
from tests.kit import rows
from tests.store.conftest import refused_by

LEASED = {"token_fp": "f", "wake_at": rows.NOW}


def change(conn: Connection, table: Table, row: rows.Values, **values: Any) -> None:
    """UPDATE one row, found by its primary key."""
    done = conn.execute(update(table).where(*_found(table, row)).values(**values))
    assert done.rowcount == 1


def remove(conn: Connection, table: Table, row: rows.Values) -> None:
    """DELETE one row, found by its primary key."""
    conn.execute(delete(table).where(*_found(table, row)))


def _found(table: Table, row: rows.Values) -> list[Any]:
    return [column == row[column.name] for column in table.primary_key.columns]


def way_to(arrows: dict[Any, Any], start: Any, end: Any) -> list[Any]:
    """The shortest legal walk from `start` to `end`, without `start`."""
    walks = deque([[start]])
    while walks:
        walk = walks.popleft()
        if walk[-1] == end:
            return walk[1:]
        walks.extend([*walk, there] for there in sorted(arrows.get(walk[-1], ())) if there not in walk)
    raise AssertionError(f"nothing leads from {start} to {end}")


def attempt_in(conn: Connection, state: S, **given: Any) -> rows.Values:
    """An attempt that walked to `state` by legal arrows."""
    row = rows.attempt(conn, **{**LEASED, "imp_uid": rows.new_id("imp"), **given})
    for there in way_to(attempts.ARROWS, S.PLANNED, state):
        change(conn, tables.attempt, row, state=there)
    return row


# --- one charge per invoice ---------------------------------------------------------------------


def test_no_second_attempt_while_one_is_live(conn: Connection) -> None:
    for number, state in enumerate(sorted(attempts.LIVE)):
        bill = rows.invoice(conn, period_index=number)
        attempt_in(conn, state, invoice=bill)
        with refused_by(conn, "billing_attempt_one_live|billing_attempt.invoice_id"):
            rows.attempt(conn, invoice=bill, seq=2)


def test_no_second_paid_attempt(conn: Connection) -> None:
    bill = rows.invoice(conn)
    attempt_in(conn, S.PAID, invoice=bill)
    second = rows.attempt(conn, invoice=bill, seq=2, imp_uid=rows.new_id("imp"))

    with refused_by(conn, "billing_attempt_one_paid|billing_attempt.invoice_id"):
        change(conn, tables.attempt, second, state=S.PAID)


def test_a_double_charge_that_happened_is_written_down_as_surplus(conn: Connection) -> None:
    bill = rows.invoice(conn)
    first = attempt_in(conn, S.PAID, invoice=bill)
    rows.payment(conn, attempt=first)
    second = attempt_in(conn, S.DECLINED, invoice=bill, seq=2)

    change(conn, tables.attempt, second, state=S.SURPLUS)
    surplus = rows.payment(conn, attempt=second, role="surplus")
    rows.refund(conn, imp_uid=surplus["imp_uid"], amount=9900)


def test_an_order_number_is_used_once(conn: Connection) -> None:
    used = attempt_in(conn, S.VOID)
    with refused_by(conn, "merchant_uid"):
        rows.attempt(conn, merchant_uid=used["merchant_uid"])


def test_an_attempt_number_is_used_once_per_invoice(conn: Connection) -> None:
    bill = rows.invoice(conn)
    attempt_in(conn, S.DECLINED, invoice=bill)
    with refused_by(conn, "billing_attempt_invoice_id_seq_key|billing_attempt.seq"):
        rows.attempt(conn, invoice=bill, seq=1)


def test_one_record_of_the_pg_belongs_to_one_attempt(conn: Connection) -> None:
    paid = attempt_in(conn, S.PAID)
    with refused_by(conn, "imp_uid"):
        rows.attempt(conn, imp_uid=paid["imp_uid"])


def test_a_subscription_is_charged_once_a_day(conn: Connection) -> None:
    day = rows.charge_day(conn)
    with refused_by(conn, "billing_charge_day"):
        rows.charge_day(conn, subscription_id=day["subscription_id"])
    with refused_by(conn, "stays taken"):
        remove(conn, tables.charge_day, day)
    with refused_by(conn, "stays taken"):
        change(conn, tables.charge_day, day, attempt_id="another")


def test_a_period_is_invoiced_once(conn: Connection) -> None:
    bill = rows.invoice(conn)
    same = {name: bill[name] for name in ("subscription_id", "customer_id", "period_index")}
    with refused_by(conn, "period_index"):
        rows.invoice(conn, **same)


def test_an_invoice_is_paid_by_one_payment(conn: Connection) -> None:
    paid = rows.payment(conn)
    with refused_by(conn, "billing_payment_one_per_invoice|billing_payment.invoice_id"):
        rows.payment(conn, attempt={"id": paid["attempt_id"], **paid})


def test_a_customer_has_one_current_card(conn: Connection) -> None:
    card = rows.billing_key(conn)
    with refused_by(conn, "billing_key_one_current|billing_key.customer_id"):
        rows.billing_key(conn, customer_id=card["customer_id"])
    rows.billing_key(conn, customer_id=card["customer_id"], state="retired")


# --- attempts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("here", "there"), list(product(S, S)), ids=lambda state: str(state))
def test_an_attempt_moves_along_its_arrows_only(conn: Connection, here: S, there: S) -> None:
    row = attempt_in(conn, here)
    if there in attempts.ARROWS[here] or there is here:  # written again as it is, nothing moves
        change(conn, tables.attempt, row, state=there)
    else:
        with refused_by(conn, "no such arrow"):
            change(conn, tables.attempt, row, state=there)


@pytest.mark.parametrize("state", [state for state in S if state is not S.PLANNED])
def test_an_attempt_begins_as_planned(conn: Connection, state: S) -> None:
    with refused_by(conn, "begins as planned"):
        rows.attempt(conn, state=state, imp_uid=rows.new_id("imp"), **LEASED)


def test_an_invented_state_is_refused(conn: Connection) -> None:
    row = rows.attempt(conn)
    with refused_by(conn, "no such arrow|state_known"):
        change(conn, tables.attempt, row, state="refunded")


TERMS_OF_AN_ATTEMPT: dict[str, Any] = {
    "id": "x", "invoice_id": "x", "subscription_id": "x", "customer_id": "x", "seq": 2, "merchant_uid": "gd" + "0" * 29,
    "customer_uid": "x", "way": "onetime", "amount": 1, "currency": "USD", "tax_free": 1, "vat": 1, "order_name": "x",
}  # fmt: skip


@pytest.mark.parametrize(("column", "value"), TERMS_OF_AN_ATTEMPT.items(), ids=TERMS_OF_AN_ATTEMPT)
def test_what_an_attempt_asks_for_is_fixed(conn: Connection, column: str, value: object) -> None:
    row = rows.attempt(conn)
    with refused_by(conn, "is fixed when it is planned"):
        change(conn, tables.attempt, row, **{column: value})


def test_the_fence_never_goes_back(conn: Connection) -> None:
    row = rows.attempt(conn)
    change(conn, tables.attempt, row, fence=5)
    with refused_by(conn, "the fence of an attempt never goes back"):
        change(conn, tables.attempt, row, fence=4)


def test_what_was_sent_stays_counted(conn: Connection) -> None:
    row = rows.attempt(conn)
    change(conn, tables.attempt, row, wire_count=1)
    with refused_by(conn, "cannot be unsent"):
        change(conn, tables.attempt, row, wire_count=0)


@pytest.mark.parametrize("value", ["imp-another", None])
def test_the_pgs_number_is_written_once(conn: Connection, value: str | None) -> None:
    row = rows.attempt(conn)
    change(conn, tables.attempt, row, imp_uid="imp-the-first")
    with refused_by(conn, "the PG's number of an attempt never changes"):
        change(conn, tables.attempt, row, imp_uid=value)


@pytest.mark.parametrize("state", [S.PAID, S.MISMATCH, S.SURPLUS])
def test_money_without_a_number_of_the_pg_is_refused(conn: Connection, state: S) -> None:
    row = rows.attempt(conn)
    with refused_by(conn, "money_has_imp_uid"):
        change(conn, tables.attempt, row, state=state)


@pytest.mark.parametrize("lease", [{"token_fp": None}, {"wake_at": None}])
def test_nothing_is_armed_without_token_and_lease(conn: Connection, lease: dict[str, None]) -> None:
    row = rows.attempt(conn)
    with refused_by(conn, "armed_means_leased"):
        change(conn, tables.attempt, row, **{**LEASED, **lease, "state": S.SENDING})


@pytest.mark.parametrize(
    ("column", "value", "check"),
    [
        ("amount", 0, "amount_positive"),
        ("amount", -9900, "amount_positive"),
        ("seq", 0, "seq_range"),
        ("seq", 17, "seq_range"),
        ("merchant_uid", "short", "merchant_uid_length"),
    ],
)
def test_an_attempt_that_makes_no_sense_is_refused(conn: Connection, column: str, value: object, check: str) -> None:
    with refused_by(conn, check):
        rows.attempt(conn, **{column: value})


# --- refunds ------------------------------------------------------------------------------------


def figures(conn: Connection, imp_uid: str) -> tuple[int, int]:
    """What a payment shows: reserved, refunded."""
    shown = tables.payment.c
    reserved, refunded = conn.execute(select(shown.refund_reserved, shown.refunded).where(shown.imp_uid == imp_uid)).one()
    return reserved, refunded


def refund_in(conn: Connection, state: str, **given: Any) -> rows.Values:
    """A refund that walked to `state` by legal arrows."""
    row = rows.refund(conn, **given)
    for there in way_to(REFUND_ARROWS, "planned", state):
        change(conn, tables.refund, row, state=there)
    return row


@pytest.mark.parametrize(
    ("state", "shown"),
    [("planned", (1000, 0)), ("sending", (1000, 0)), ("unknown", (1000, 0)), ("done", (0, 1000)), ("refused", (0, 0))],
)
def test_a_payment_shows_the_sum_of_its_refunds(conn: Connection, state: str, shown: tuple[int, int]) -> None:
    row = refund_in(conn, state)
    assert figures(conn, row["imp_uid"]) == shown


def test_several_refunds_add_up_to_the_whole_payment_and_no_further(conn: Connection) -> None:
    imp_uid = rows.payment(conn)["imp_uid"]
    for amount in (5000, 4000, 900):
        refund_in(conn, "done", imp_uid=imp_uid, amount=amount)
    assert figures(conn, imp_uid) == (0, 9900)

    with refused_by(conn, "not_over_refunded"):
        rows.refund(conn, imp_uid=imp_uid, amount=1)


def test_over_refund_by_one_refund_too_large(conn: Connection) -> None:
    with refused_by(conn, "not_over_refunded"):
        rows.refund(conn, amount=9901, checksum=9901)


def test_over_refund_by_two_refunds_at_once(conn: Connection) -> None:
    first = refund_in(conn, "sending")
    second = rows.refund(conn, imp_uid=first["imp_uid"])
    with refused_by(conn, "billing_refund_one_in_flight|billing_refund.imp_uid"):
        change(conn, tables.refund, second, state="sending")


def test_a_refund_that_may_be_on_the_wire_keeps_its_checksum(conn: Connection) -> None:
    row = rows.refund(conn)
    change(conn, tables.refund, row, checksum=8900)
    change(conn, tables.refund, row, state="sending")
    with refused_by(conn, "repeated under its own checksum"):
        change(conn, tables.refund, row, checksum=7900)


def test_a_refund_is_never_armed_without_a_checksum(conn: Connection) -> None:
    row = rows.refund(conn, checksum=None)
    with refused_by(conn, "armed_means_checked"):
        change(conn, tables.refund, row, state="sending")


def test_one_request_makes_one_refund(conn: Connection) -> None:
    first = rows.refund(conn)
    with refused_by(conn, "request_key"):
        rows.refund(conn, imp_uid=first["imp_uid"], request_key=first["request_key"])


@pytest.mark.parametrize("values", [{"refunded": 0}, {"refunded": 4999}, {"refunded": 5001}, {"refund_reserved": 1}])
def test_over_refund_by_rewriting_the_figures(conn: Connection, values: dict[str, int]) -> None:
    row = refund_in(conn, "done", amount=5000)
    with refused_by(conn, "is the sum of its refunds"):
        change(conn, tables.payment, {"imp_uid": row["imp_uid"]}, **values)


def test_over_refund_by_freeing_a_reservation_by_hand(conn: Connection) -> None:
    row = refund_in(conn, "unknown", amount=9900)
    with refused_by(conn, "is the sum of its refunds"):
        change(conn, tables.payment, {"imp_uid": row["imp_uid"]}, refund_reserved=0)


def test_over_refund_by_raising_what_was_paid(conn: Connection) -> None:
    row = rows.payment(conn)
    with refused_by(conn, "is what the PG took"):
        change(conn, tables.payment, row, amount=20_000)


@pytest.mark.parametrize("state", ["sending", "unknown", "done", "refused"])
def test_over_refund_by_a_refund_that_skips_its_beginning(conn: Connection, state: str) -> None:
    with refused_by(conn, "begins as planned"):
        rows.refund(conn, state=state)


@pytest.mark.parametrize("values", [{"amount": 1}, {"imp_uid": "another"}, {"id": "another"}, {"origin": "pg"}])
def test_over_refund_by_rewriting_a_refund(conn: Connection, values: dict[str, Any]) -> None:
    row = refund_in(conn, "done")
    with refused_by(conn, "what a refund gives back never changes"):
        change(conn, tables.refund, row, **values)


def test_over_refund_by_deleting_a_refund(conn: Connection) -> None:
    row = refund_in(conn, "done")
    with refused_by(conn, "never deleted"):
        remove(conn, tables.refund, row)


def test_a_payment_begins_with_nothing_refunded(conn: Connection) -> None:
    with refused_by(conn, "begins with nothing refunded"):
        rows.payment(conn, refunded=1)


def test_a_cancellation_of_the_pg_confirms_one_refund(conn: Connection) -> None:
    first = rows.refund(conn, cancellation_id="c1")
    with refused_by(conn, "cancellation_id"):
        rows.refund(conn, cancellation_id="c1")
    with refused_by(conn, "the PG's number of a refund never changes"):
        change(conn, tables.refund, first, cancellation_id=None)


REFUND_STATES = ("planned", "sending", "unknown", "done", "refused")


@pytest.mark.parametrize(("here", "there"), list(product(REFUND_STATES, REFUND_STATES)))
def test_a_refund_moves_along_its_arrows_only(conn: Connection, here: str, there: str) -> None:
    row = refund_in(conn, here)
    if there in REFUND_ARROWS.get(here, ()) or there == here:
        change(conn, tables.refund, row, state=there)
    else:
        with refused_by(conn, "no such arrow"):
            change(conn, tables.refund, row, state=there)


def test_two_processes_refund_one_payment_and_one_is_refused(engine: Engine) -> None:
    with engine.begin() as conn:
        imp_uid = rows.payment(conn)["imp_uid"]
    together, ended = Barrier(2), []

    def give_back() -> None:
        together.wait()
        try:
            with engine.begin() as conn:
                refund_in(conn, "done", imp_uid=imp_uid, amount=6000)
        except IntegrityError:
            ended.append("refused")
        else:
            ended.append("done")

    both = [Thread(target=give_back) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()

    assert sorted(ended) == ["done", "refused"]
    with engine.connect() as conn:
        assert figures(conn, imp_uid) == (0, 6000)


# --- payments and invoices ----------------------------------------------------------------------


@pytest.mark.parametrize(("here", "there"), list(product(("invoice", "mismatch", "surplus"), repeat=2)))
def test_only_a_mismatch_finds_another_role(conn: Connection, here: str, there: str) -> None:
    row = rows.payment(conn, role=here)
    if there in PAYMENT_ARROWS.get(here, ()) or there == here:
        change(conn, tables.payment, row, role=there)
    else:
        with refused_by(conn, "no such arrow"):
            change(conn, tables.payment, row, role=there)


@pytest.mark.parametrize("column", ["imp_uid", "attempt_id", "invoice_id", "merchant_uid", "currency"])
def test_a_payment_stays_what_the_pg_took(conn: Connection, column: str) -> None:
    row = rows.payment(conn)
    with refused_by(conn, "is what the PG took"):
        change(conn, tables.payment, row, **{column: "x"})


@pytest.mark.parametrize(("here", "there"), list(product(InvoiceState, InvoiceState)), ids=lambda state: str(state))
def test_an_invoice_moves_along_its_arrows_only(conn: Connection, here: InvoiceState, there: InvoiceState) -> None:
    row = rows.invoice(conn)
    for step in way_to(invoices.ARROWS, InvoiceState.OPEN, here):
        change(conn, tables.invoice, row, state=step)
    if there in invoices.ARROWS[here] or there is here:
        change(conn, tables.invoice, row, state=there)
    else:
        with refused_by(conn, "no such arrow"):
            change(conn, tables.invoice, row, state=there)


TERMS_OF_AN_INVOICE: dict[str, Any] = {
    "id": "x", "number": 0, "customer_id": "x", "subscription_id": "x", "purpose": "x", "period_index": 9,
    "uid_stem": "x", "currency": "USD", "total": 1, "tax_free": 1, "vat": 1, "order_name": "x",
}  # fmt: skip


@pytest.mark.parametrize(("column", "value"), TERMS_OF_AN_INVOICE.items(), ids=TERMS_OF_AN_INVOICE)
def test_the_terms_of_an_invoice_are_fixed(conn: Connection, column: str, value: object) -> None:
    row = rows.invoice(conn)
    with refused_by(conn, "are fixed when it is opened"):
        change(conn, tables.invoice, row, **{column: value})


# --- what is written once -----------------------------------------------------------------------

WRITTEN_ONCE: list[tuple[Table, rows.Maker, dict[str, Any]]] = [
    (tables.ledger_transfer, rows.ledger_transfer, {"amount": 1}),
    (tables.audit, rows.audit, {"digest": "forged"}),
    (tables.invoice_line, rows.invoice_line, {"amount": 1}),
]
NEVER_DELETED: list[tuple[Table, rows.Maker]] = [
    *((table, maker) for table, maker, _ in WRITTEN_ONCE),
    (tables.attempt, rows.attempt),
    (tables.invoice, rows.invoice),
    (tables.payment, rows.payment),
    (tables.refund, rows.refund),
    (tables.charge_day, rows.charge_day),
]


@pytest.mark.parametrize(("table", "maker", "values"), WRITTEN_ONCE)
def test_an_append_only_row_is_not_edited(conn: Connection, table: Table, maker: rows.Maker, values: dict[str, Any]) -> None:
    row = maker(conn)
    with refused_by(conn, "written once"):
        change(conn, table, row, **values)


@pytest.mark.parametrize(("table", "maker"), [*NEVER_DELETED, (tables.price, rows.price), (tables.identity, rows.identity)])
def test_a_row_about_money_is_not_deleted(conn: Connection, table: Table, maker: rows.Maker) -> None:
    row = maker(conn)
    with refused_by(conn, "never deleted|written once|stays taken"):
        remove(conn, table, row)


@pytest.mark.parametrize("conn", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("table", "maker"), NEVER_DELETED)
def test_a_table_about_money_is_not_emptied(conn: Connection, table: Table, maker: rows.Maker) -> None:
    maker(conn)
    conn.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    with refused_by(conn, "never deleted|written once|stays taken"):
        conn.execute(text(f"TRUNCATE {table.name} CASCADE"))


@pytest.mark.parametrize("conn", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("table", "maker"), NEVER_DELETED)
def test_a_row_about_money_is_not_replaced(conn: Connection, table: Table, maker: rows.Maker) -> None:
    row = maker(conn)
    columns = ", ".join(row)
    found = " AND ".join(f"{column.name} = :{column.name}" for column in table.primary_key.columns)
    key = {column.name: column.type.bind_processor(conn.dialect) for column in table.primary_key.columns}
    values = {name: bind(row[name]) if bind else row[name] for name, bind in key.items()}
    with refused_by(conn, "never deleted|written once|stays taken"):
        conn.execute(
            text(f"INSERT OR REPLACE INTO {table.name} ({columns}) SELECT {columns} FROM {table.name} WHERE {found}"), values
        )


def test_a_ledger_transfer_is_booked_once(conn: Connection) -> None:
    row = rows.ledger_transfer(conn)
    with refused_by(conn, "billing_ledger_transfer"):
        rows.ledger_transfer(conn, ref=row["ref"])


@pytest.mark.parametrize("values", [{"amount": 0}, {"amount": -1}, {"credit": "pg:receivable"}])
def test_a_transfer_that_moves_nothing_is_refused(conn: Connection, values: dict[str, Any]) -> None:
    with refused_by(conn, "amount_positive|two_accounts"):
        rows.ledger_transfer(conn, **values)


# --- what was agreed ----------------------------------------------------------------------------


@pytest.mark.parametrize("column", [column.name for column in tables.price.c if column.name != "is_current"])
def test_the_terms_of_a_price_never_change(conn: Connection, column: str) -> None:
    row = rows.price(conn)
    kinds = {int: 7, bool: True, str: "x"}
    value = rows.NOW.replace(year=2030) if column == "created_at" else kinds[type(row[column])]
    with refused_by(conn, "the terms of a price never change"):
        change(conn, tables.price, row, **{column: value})


def test_a_price_makes_room_for_its_next_version(conn: Connection) -> None:
    row = rows.price(conn)
    with refused_by(conn, "billing_price_one_current|billing_price.code"):
        rows.price(conn, code=row["code"], version=2)
    change(conn, tables.price, row, is_current=False)
    rows.price(conn, code=row["code"], version=2)


def test_an_event_can_be_delivered_but_not_retold(conn: Connection) -> None:
    row = rows.outbox_event(conn)
    change(conn, tables.outbox_event, row, delivered_at=rows.NOW)
    with refused_by(conn, "told as it was written"):
        change(conn, tables.outbox_event, row, payload='{"state": "paid"}')
    with refused_by(conn, "told as it was written"):
        change(conn, tables.outbox_event, row, subscription_id="x")


@pytest.mark.parametrize("column", ["ledger_id", "uid_prefix"])
def test_what_order_numbers_are_derived_from_never_changes(conn: Connection, column: str) -> None:
    row = rows.identity(conn)
    with refused_by(conn, "it never changes"):
        change(conn, tables.identity, row, **{column: "x"})
