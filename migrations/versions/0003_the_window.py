"""The window: links that let a customer register a card or pay an invoice, and the virtual accounts some choose.

Why: what a browser may do must have a row before the browser does it, and an account number the PG gave out must be there
to be shown again. A window nobody paid in may be opened again under its number, so a void attempt of that way moves on.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-21
"""

# ruff: noqa: E501 - long conditions are data here, and are compared with the catalogue as they stand

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from billing.errors import RuleError

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
MADE = ("billing_checkout", "billing_virtual_account")

# Name, table, moment, condition (empty: always), message.
ARROWS = (
    (
        "billing_attempt_arrows",
        "billing_attempt",
        "BEFORE UPDATE OF state",
        "OLD.state <> NEW.state AND NOT (OLD.state = 'declined' AND NEW.state IN ('mismatch', 'paid', 'surplus') OR OLD.state = 'mismatch' AND NEW.state IN ('paid', 'surplus', 'void') OR OLD.state = 'planned' AND NEW.state IN ('declined', 'mismatch', 'paid', 'sending', 'surplus', 'void') OR OLD.state = 'rejected' AND NEW.state IN ('mismatch', 'paid', 'surplus') OR OLD.state = 'sending' AND NEW.state IN ('declined', 'mismatch', 'paid', 'planned', 'rejected', 'surplus', 'unknown') OR OLD.state = 'unknown' AND NEW.state IN ('declined', 'mismatch', 'paid', 'rejected', 'sending', 'surplus', 'void') OR OLD.state = 'void' AND NEW.state IN ('mismatch', 'paid', 'surplus') OR OLD.state = 'void' AND NEW.state = 'sending' AND OLD.way IN ('issue', 'window'))",
        "an attempt has no such arrow between these states",
    ),
)

ARROWS_BEFORE = (
    (
        "billing_attempt_arrows",
        "billing_attempt",
        "BEFORE UPDATE OF state",
        "OLD.state <> NEW.state AND NOT (OLD.state = 'declined' AND NEW.state IN ('mismatch', 'paid', 'surplus') OR OLD.state = 'mismatch' AND NEW.state IN ('paid', 'surplus', 'void') OR OLD.state = 'planned' AND NEW.state IN ('declined', 'mismatch', 'paid', 'sending', 'surplus', 'void') OR OLD.state = 'rejected' AND NEW.state IN ('mismatch', 'paid', 'surplus') OR OLD.state = 'sending' AND NEW.state IN ('declined', 'mismatch', 'paid', 'planned', 'rejected', 'surplus', 'unknown') OR OLD.state = 'unknown' AND NEW.state IN ('declined', 'mismatch', 'paid', 'rejected', 'sending', 'surplus', 'void') OR OLD.state = 'void' AND NEW.state IN ('mismatch', 'paid', 'surplus'))",
        "an attempt has no such arrow between these states",
    ),
)

REFUSALS = (
    (
        "billing_checkout_starts",
        "billing_checkout",
        "BEFORE INSERT",
        "NEW.state <> 'open'",
        "a checkout begins open",
    ),
    (
        "billing_checkout_arrows",
        "billing_checkout",
        "BEFORE UPDATE OF state",
        "OLD.state <> NEW.state AND NOT (OLD.state = 'open' AND NEW.state = 'done')",
        "a checkout has no such arrow between these states",
    ),
    (
        "billing_checkout_fixed",
        "billing_checkout",
        "BEFORE UPDATE OF id, purpose, customer_id, invoice_id, actor, created_at, expires_at",
        "OLD.id <> NEW.id OR OLD.purpose <> NEW.purpose OR OLD.customer_id <> NEW.customer_id OR OLD.invoice_id <> NEW.invoice_id OR (OLD.invoice_id IS NULL) <> (NEW.invoice_id IS NULL) OR OLD.actor <> NEW.actor OR OLD.created_at <> NEW.created_at OR OLD.expires_at <> NEW.expires_at",
        "whom a checkout serves, for what and until when is fixed when it is made",
    ),
    (
        "billing_virtual_account_fixed",
        "billing_virtual_account",
        "BEFORE UPDATE",
        "",
        "a virtual account is written once, as the PG issued it",
    ),
    (
        "billing_virtual_account_kept",
        "billing_virtual_account",
        "BEFORE DELETE",
        "",
        "a virtual account is written once, as the PG issued it",
    ),
    (
        "billing_virtual_account_whole",
        "billing_virtual_account",
        "BEFORE TRUNCATE",
        "",
        "a virtual account is written once, as the PG issued it",
    ),
)


def upgrade() -> None:
    op.create_table(
        "billing_virtual_account",
        sa.Column("imp_uid", sa.String(length=64), nullable=False),
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("invoice_id", sa.String(length=36), nullable=False),
        sa.Column("bank_code", sa.String(length=8), nullable=False),
        sa.Column("bank_name", sa.String(length=40), nullable=False),
        sa.Column("number", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=40), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.Column("issued_at", INSTANT, nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("billing_virtual_account_amount_positive_check")),
        sa.ForeignKeyConstraint(["attempt_id"], ["billing_attempt.id"], name=op.f("billing_virtual_account_attempt_id_fkey")),
        sa.ForeignKeyConstraint(["invoice_id"], ["billing_invoice.id"], name=op.f("billing_virtual_account_invoice_id_fkey")),
        sa.PrimaryKeyConstraint("imp_uid", name=op.f("billing_virtual_account_pkey")),
    )
    op.create_index("billing_virtual_account_attempt_idx", "billing_virtual_account", ["attempt_id"], unique=False)
    op.create_index("billing_virtual_account_invoice_idx", "billing_virtual_account", ["invoice_id"], unique=False)
    op.create_table(
        "billing_checkout",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("purpose", sa.String(length=7), nullable=False),
        sa.Column("customer_id", sa.String(length=36), nullable=False),
        sa.Column("invoice_id", sa.String(length=36), nullable=True),
        sa.Column("pay_methods", sa.String(length=200), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=4), nullable=False),
        sa.Column("merchant_uid", sa.String(length=40), nullable=True),
        sa.Column("customer_uid", sa.String(length=80), nullable=True),
        sa.Column("openings", sa.Integer(), server_default="0", nullable=False),
        sa.Column("opened_at", INSTANT, nullable=True),
        sa.Column("done_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.CheckConstraint("purpose IN ('card', 'invoice')", name=op.f("billing_checkout_purpose_known_check")),
        sa.CheckConstraint("state IN ('done', 'open')", name=op.f("billing_checkout_state_known_check")),
        sa.CheckConstraint("purpose = 'card' OR invoice_id IS NOT NULL", name=op.f("billing_checkout_pays_something_check")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("billing_checkout_lasts_check")),
        sa.ForeignKeyConstraint(["customer_id"], ["billing_customer.id"], name=op.f("billing_checkout_customer_id_fkey")),
        sa.ForeignKeyConstraint(["invoice_id"], ["billing_invoice.id"], name=op.f("billing_checkout_invoice_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_checkout_pkey")),
    )
    op.create_index("billing_checkout_customer_idx", "billing_checkout", ["customer_id"], unique=False)
    op.create_index("billing_checkout_customer_uid_idx", "billing_checkout", ["customer_uid"], unique=False)
    op.create_index("billing_checkout_merchant_uid_idx", "billing_checkout", ["merchant_uid"], unique=False)
    _replace_trigger(ARROWS)
    _refuse_by_trigger(REFUSALS)


def downgrade() -> None:
    """Take the two tables away, unless that would lose what buyers were told."""
    for name in MADE:
        if op.get_bind().exec_driver_sql(f"SELECT EXISTS (SELECT 1 FROM {name})").scalar():  # noqa: S608 - a name from above
            raise RuleError("revision", f"{name} has rows, which this downgrade would lose", "restore a backup instead")
    for name in MADE:
        op.drop_table(name)
    _replace_trigger(ARROWS_BEFORE)


def _replace_trigger(rules: tuple[tuple[str, str, str, str, str], ...]) -> None:
    on = " ON billing_attempt" if op.get_bind().dialect.name == "postgresql" else ""
    op.get_bind().exec_driver_sql(f"DROP TRIGGER {rules[0][0]}{on}")
    _refuse_by_trigger(rules)


def _refuse_by_trigger(rules: tuple[tuple[str, str, str, str, str], ...]) -> None:
    run = op.get_bind().exec_driver_sql
    is_postgres = op.get_bind().dialect.name == "postgresql"
    for name, table, moment, condition, message in rules:
        said = message.replace("'", "''")
        if is_postgres:
            level = "STATEMENT" if moment == "BEFORE TRUNCATE" else "ROW"
            when = f" WHEN ({condition})" if condition else ""
            run(f"CREATE TRIGGER {name} {moment} ON {table} FOR EACH {level}{when} EXECUTE FUNCTION billing_refuse('{said}')")
        elif moment != "BEFORE TRUNCATE":
            when = f" WHEN {condition}" if condition else ""
            run(f"CREATE TRIGGER {name} {moment} ON {table} FOR EACH ROW{when} BEGIN SELECT RAISE(ABORT, '{said}'); END")
