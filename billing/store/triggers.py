"""Triggers: what the database refuses row by row, where an index or a CHECK cannot say it.

A rule is a condition over OLD and NEW in the SQL that PostgreSQL and SQLite share, so both refuse
the same. It stands in the trigger's WHEN clause and the function behind it only raises: on
PostgreSQL a legal update never enters plpgsql, and all conditions together cost 1 µs a row. The
arrows of the state machines are written into them from `billing.domain`; looking each arrow up in
a table cost 9 µs a row.

Only refunds need more: the figures a payment shows are sums over its refund rows, kept by trigger
and refused when anyone else writes something different. Hence no statement, however direct, gives
back more than was paid.
"""

# ruff: noqa: S608 - every text here is put together from constants of ours; nothing comes from outside

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Table

from billing.domain import attempt as attempts
from billing.domain import checkout as checkouts
from billing.domain import invoice as invoices
from billing.domain import refund as refunds
from billing.store import tables

State = TypeVar("State", bound=str)

PAYMENT_ARROWS = {"mismatch": {"invoice", "surplus"}}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One trigger: at `moment` on `table`, where `condition` holds (empty: always), refuse with `message`."""

    name: str
    table: str
    moment: str
    condition: str
    message: str


def refusals() -> list[Refusal]:
    """Every rule both databases keep in the same words."""
    return [
        *_attempt_rules(),
        *_invoice_rules(),
        *_payment_rules(),
        *_refund_rules(),
        *_checkout_rules(),
        *_append_only(tables.virtual_account, "a virtual account is written once, as the PG issued it"),
        *_append_only(tables.invoice_line, "an invoice line is written once"),
        *_append_only(tables.ledger_transfer, "a ledger transfer is written once; counter it with another"),
        *_append_only(tables.audit, "an audit entry is written once"),
        *_append_only(tables.charge_day, "a day on which was charged stays taken"),
        _fixed(tables.price, _all_but(tables.price, "is_current"), "the terms of a price never change; make a new version"),
        _kept(tables.price, "a price is archived, never deleted"),
        _fixed(tables.outbox_event, _all_but(tables.outbox_event, "delivered_at"), "an event is told as it was written"),
        _fixed(tables.identity, ("id", "ledger_id", "uid_prefix"), "order numbers are derived from it: it never changes"),
        _kept(tables.identity, "order numbers are derived from it: it is never deleted"),
    ]


def _attempt_rules() -> Iterator[Refusal]:
    table = tables.attempt
    terms = (
        "id", "invoice_id", "subscription_id", "customer_id", "seq", "merchant_uid", "customer_uid",
        "way", "amount", "currency", "tax_free", "vat", "order_name",
    )  # fmt: skip
    yield _starts(table, "state", "planned", "an attempt begins as planned")
    yield _arrows(
        table,
        "state",
        attempts.ARROWS,
        "an attempt has no such arrow between these states",
        among="way", of=attempts.BROWSER_WAYS, more=attempts.REOPENED,
    )  # fmt: skip
    yield _fixed(table, terms, "what an attempt asks for, and of whom, is fixed when it is planned")
    yield _set_once(table, "imp_uid", "the PG's number of an attempt never changes")
    yield _grows(table, "fence", "the fence of an attempt never goes back")
    yield _grows(table, "wire_count", "what was sent cannot be unsent")
    yield from _never_gone(table, "an attempt is never deleted: the PG may know it")


def _invoice_rules() -> Iterator[Refusal]:
    table = tables.invoice
    terms = (
        "id", "number", "customer_id", "subscription_id", "purpose", "period_index", "period_start", "period_end",
        "uid_stem", "currency", "total", "tax_free", "vat", "order_name", "opened_at",
    )  # fmt: skip
    yield _arrows(table, "state", invoices.ARROWS, "an invoice has no such arrow between these states")
    yield _fixed(table, terms, "the terms of an invoice are fixed when it is opened")
    yield from _never_gone(table, "an invoice is voided, never deleted")


def _payment_rules() -> Iterator[Refusal]:
    table = tables.payment
    terms = ("imp_uid", "attempt_id", "invoice_id", "merchant_uid", "amount", "currency")
    unspent = "NEW.refunded <> 0 OR NEW.refund_reserved <> 0"
    yield Refusal(f"{table.name}_starts", table.name, "BEFORE INSERT", unspent, "a payment begins with nothing refunded")
    yield _arrows(table, "role", PAYMENT_ARROWS, "a payment has no such arrow between these roles")
    yield _fixed(table, terms, "a payment is what the PG took; it never changes")
    yield from _never_gone(table, "a payment is never deleted")


def _refund_rules() -> Iterator[Refusal]:
    table = tables.refund
    terms = (
        "id", "imp_uid", "invoice_id", "request_key", "origin", "actor", "amount", "currency", "tax_free", "vat", "created_at",
    )  # fmt: skip
    yield _starts(table, "state", "planned", "a refund begins as planned")
    yield _arrows(table, "state", refunds.ARROWS, "a refund has no such arrow between these states")
    yield _fixed(table, terms, "what a refund gives back never changes")
    yield Refusal(
        f"{table.name}_checksum_stays",
        table.name,
        "BEFORE UPDATE OF checksum",
        "OLD.state <> 'planned' AND (NEW.checksum IS NULL OR NEW.checksum <> OLD.checksum)",
        "a refund that may be on the wire is repeated under its own checksum",
    )
    yield _grows(table, "fence", "the fence of a refund never goes back")
    yield _grows(table, "wire_count", "what was sent cannot be unsent")
    yield _set_once(table, "cancellation_id", "the PG's number of a refund never changes")
    yield from _never_gone(table, "a refund is never deleted")


def _checkout_rules() -> Iterator[Refusal]:
    table = tables.checkout
    terms = ("id", "purpose", "customer_id", "invoice_id", "actor", "created_at", "expires_at")
    yield _starts(table, "state", "open", "a checkout begins open")
    yield _arrows(table, "state", checkouts.CHECKOUT_ARROWS, "a checkout has no such arrow between these states")
    yield _fixed(table, terms, "whom a checkout serves, for what and until when is fixed when it is made")


# --- kinds of rules -----------------------------------------------------------------------------


def _starts(table: Table, column: str, first: str, message: str) -> Refusal:
    return Refusal(f"{table.name}_starts", table.name, "BEFORE INSERT", f"NEW.{column} <> '{first}'", message)


def _arrows(
    table: Table,
    column: str,
    arrows: Mapping[State, Iterable[State]],
    message: str,
    *,
    among: str = "",
    of: Iterable[str] = (),
    more: Mapping[State, Iterable[State]] | None = None,
) -> Refusal:
    """Legal are `arrows`; for rows whose column `among` is one `of` these values, also `more`."""
    legal = [_arrow(column, here, ends) for here, ends in sorted(arrows.items()) if ends]
    legal += [f"{_arrow(column, here, ends)} AND OLD.{among} {_among(of)}" for here, ends in sorted((more or {}).items())]
    condition = f"OLD.{column} <> NEW.{column} AND NOT ({' OR '.join(legal)})"
    return Refusal(f"{table.name}_arrows", table.name, f"BEFORE UPDATE OF {column}", condition, message)


def _arrow(column: str, here: str, ends: Iterable[str]) -> str:
    return f"OLD.{column} = '{here}' AND NEW.{column} {_among(ends)}"


def _among(states: Iterable[str]) -> str:
    """The condition as PostgreSQL keeps it: one value is compared, several are listed."""
    listed = [repr(str(one)) for one in sorted(states)]
    return f"= {listed[0]}" if len(listed) == 1 else f"IN ({', '.join(listed)})"


def _fixed(table: Table, columns: Iterable[str], message: str) -> Refusal:
    changed = [
        f"OLD.{name} <> NEW.{name}" + (f" OR (OLD.{name} IS NULL) <> (NEW.{name} IS NULL)" if table.c[name].nullable else "")
        for name in columns
    ]
    moment = f"BEFORE UPDATE OF {', '.join(columns)}"
    return Refusal(f"{table.name}_fixed", table.name, moment, " OR ".join(changed), message)


def _set_once(table: Table, column: str, message: str) -> Refusal:
    condition = f"OLD.{column} IS NOT NULL AND (NEW.{column} IS NULL OR NEW.{column} <> OLD.{column})"
    return Refusal(f"{table.name}_{column}_stays", table.name, f"BEFORE UPDATE OF {column}", condition, message)


def _grows(table: Table, column: str, message: str) -> Refusal:
    return Refusal(
        f"{table.name}_{column}_grows", table.name, f"BEFORE UPDATE OF {column}", f"NEW.{column} < OLD.{column}", message
    )


def _kept(table: Table, message: str) -> Refusal:
    return Refusal(f"{table.name}_kept", table.name, "BEFORE DELETE", "", message)


def _never_gone(table: Table, message: str) -> Iterator[Refusal]:
    yield _kept(table, message)
    yield Refusal(f"{table.name}_whole", table.name, "BEFORE TRUNCATE", "", message)


def _append_only(table: Table, message: str) -> Iterator[Refusal]:
    yield Refusal(f"{table.name}_fixed", table.name, "BEFORE UPDATE", "", message)
    yield from _never_gone(table, message)


def _all_but(table: Table, free: str) -> tuple[str, ...]:
    return tuple(column.name for column in table.c if column.name != free)


# --- statements ---------------------------------------------------------------------------------

_SUM = "COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state {}), 0)"
_RESERVED = _SUM.format(_among(refunds.RESERVED))
_DONE = _SUM.format(_among({refunds.RefundState.DONE}))
_COUNT = f"UPDATE billing_payment SET refund_reserved = {_RESERVED}, refunded = {_DONE} WHERE imp_uid = NEW.imp_uid;"
_DISAGREES = f"NEW.refund_reserved <> {_RESERVED} OR NEW.refunded <> {_DONE}"
_DISAGREES_MESSAGE = "what was refunded of a payment is the sum of its refunds"

POSTGRES_FUNCTIONS = {
    "billing_refuse": """
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
""",
    # The lock comes first and alone: the statement after it sees what its last holder committed.
    # It leaves the key unlocked, so it never meets the foreign key check of another refund.
    "billing_payment_count_refunds": f"""
BEGIN
    PERFORM 1 FROM billing_payment WHERE imp_uid = NEW.imp_uid FOR NO KEY UPDATE;
    {_COUNT}
    RETURN NULL;
END
""",
    "billing_payment_compare_refunds": f"""
BEGIN
    IF {_DISAGREES} THEN
        RAISE EXCEPTION USING MESSAGE = '{_DISAGREES_MESSAGE}', ERRCODE = 'restrict_violation',
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
""",
}


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger of one database, as it is created there."""

    name: str
    table: str
    sql: str


def triggers(dialect: str) -> list[Trigger]:
    """All triggers of `postgresql` or `sqlite`."""
    if dialect == "postgresql":
        return [_postgres_trigger(rule) for rule in refusals()] + [Trigger(*each) for each in _POSTGRES_FIGURES]
    rules = [_sqlite_trigger(rule) for rule in refusals() if rule.moment != "BEFORE TRUNCATE"]  # SQLite has no TRUNCATE
    return rules + [Trigger(*each) for each in _SQLITE_FIGURES]


def statements(dialect: str) -> list[str]:
    """What creates every trigger of `postgresql` or `sqlite` on freshly made tables."""
    functions = [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body${body}$body$"
        for name, body in POSTGRES_FUNCTIONS.items()
        if dialect == "postgresql"
    ]
    return functions + [trigger.sql for trigger in triggers(dialect)]


def _postgres_trigger(rule: Refusal) -> Trigger:
    level = "STATEMENT" if rule.moment == "BEFORE TRUNCATE" else "ROW"
    when = f" WHEN ({rule.condition})" if rule.condition else ""
    head = f"CREATE TRIGGER {rule.name} {rule.moment} ON {rule.table} FOR EACH {level}{when}"
    return Trigger(rule.name, rule.table, f"{head} EXECUTE FUNCTION billing_refuse({_quoted(rule.message)})")


def _sqlite_trigger(rule: Refusal) -> Trigger:
    when = f" WHEN {rule.condition}" if rule.condition else ""
    head = f"CREATE TRIGGER {rule.name} {rule.moment} ON {rule.table} FOR EACH ROW{when}"
    return Trigger(rule.name, rule.table, f"{head} BEGIN SELECT RAISE(ABORT, {_quoted(rule.message)}); END")


def _quoted(message: str) -> str:
    return "'" + message.replace("'", "''") + "'"


_FIGURES_CHANGE = "OLD.refunded <> NEW.refunded OR OLD.refund_reserved <> NEW.refund_reserved"

_POSTGRES_FIGURES = (
    (
        "billing_payment_figures",
        "billing_payment",
        "CREATE TRIGGER billing_payment_figures BEFORE UPDATE OF refunded, refund_reserved ON billing_payment"
        f" FOR EACH ROW WHEN ({_FIGURES_CHANGE}) EXECUTE FUNCTION billing_payment_compare_refunds()",
    ),
    (
        "billing_refund_counted",
        "billing_refund",
        "CREATE TRIGGER billing_refund_counted AFTER INSERT OR UPDATE OF state ON billing_refund"
        " FOR EACH ROW EXECUTE FUNCTION billing_payment_count_refunds()",
    ),
)

_SQLITE_COUNT = f"BEGIN {_COUNT} END"

_SQLITE_FIGURES = (
    (
        "billing_payment_figures",
        "billing_payment",
        "CREATE TRIGGER billing_payment_figures BEFORE UPDATE OF refunded, refund_reserved ON billing_payment"
        f" FOR EACH ROW WHEN {_DISAGREES} BEGIN SELECT RAISE(ABORT, '{_DISAGREES_MESSAGE}'); END",
    ),
    (
        "billing_refund_counted_new",
        "billing_refund",
        f"CREATE TRIGGER billing_refund_counted_new AFTER INSERT ON billing_refund FOR EACH ROW {_SQLITE_COUNT}",
    ),
    (
        "billing_refund_counted_moved",
        "billing_refund",
        f"CREATE TRIGGER billing_refund_counted_moved AFTER UPDATE OF state ON billing_refund FOR EACH ROW {_SQLITE_COUNT}",
    ),
)
