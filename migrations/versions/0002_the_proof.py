"""The proof: refunds that are executed, an inbox that is worked off, findings of reconciliation, where a ledger lives.

Why: a refund must be repeatable under the balance it named, several may wait for one payment, and what reconciliation found
must outlive the process that found it. A database keeps the place it was founded in, so that a copy can be told from it.
The two tables replaced here had no writer before this revision.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-21
"""

# ruff: noqa: E501 - long conditions are data here, and are compared with the catalogue as they stand

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from billing.errors import RuleError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")

MADE = ("billing_finding", "billing_reconciliation", "billing_webhook_inbox", "billing_refund")
REPLACED = ("billing_webhook_inbox", "billing_refund")
PLACES = (
    ("billing_subscription", "request_key"),
    ("billing_freeze", "cause"),
    ("billing_identity", "instance_fp"),
    ("billing_identity", "timeline"),
    ("billing_identity", "database_fp"),
)

# Name, table, moment, condition (empty: always), message.
REFUSALS = (
    ("billing_refund_starts", "billing_refund", "BEFORE INSERT", "NEW.state <> 'planned'", "a refund begins as planned"),
    (
        "billing_refund_arrows",
        "billing_refund",
        "BEFORE UPDATE OF state",
        "OLD.state <> NEW.state AND NOT (OLD.state = 'planned' AND NEW.state IN ('done', 'refused', 'sending') OR OLD.state = 'refused' AND NEW.state = 'done' OR OLD.state = 'sending' AND NEW.state IN ('done', 'planned', 'refused', 'unknown') OR OLD.state = 'unknown' AND NEW.state IN ('done', 'refused', 'sending'))",
        "a refund has no such arrow between these states",
    ),
    (
        "billing_refund_fixed",
        "billing_refund",
        "BEFORE UPDATE OF id, imp_uid, invoice_id, request_key, origin, actor, amount, currency, tax_free, vat, created_at",
        "OLD.id <> NEW.id OR OLD.imp_uid <> NEW.imp_uid OR OLD.invoice_id <> NEW.invoice_id OR OLD.request_key <> NEW.request_key OR OLD.origin <> NEW.origin OR OLD.actor <> NEW.actor OR OLD.amount <> NEW.amount OR OLD.currency <> NEW.currency OR OLD.tax_free <> NEW.tax_free OR OLD.vat <> NEW.vat OR OLD.created_at <> NEW.created_at",
        "what a refund gives back never changes",
    ),
    (
        "billing_refund_checksum_stays",
        "billing_refund",
        "BEFORE UPDATE OF checksum",
        "OLD.state <> 'planned' AND (NEW.checksum IS NULL OR NEW.checksum <> OLD.checksum)",
        "a refund that may be on the wire is repeated under its own checksum",
    ),
    (
        "billing_refund_fence_grows",
        "billing_refund",
        "BEFORE UPDATE OF fence",
        "NEW.fence < OLD.fence",
        "the fence of a refund never goes back",
    ),
    (
        "billing_refund_wire_count_grows",
        "billing_refund",
        "BEFORE UPDATE OF wire_count",
        "NEW.wire_count < OLD.wire_count",
        "what was sent cannot be unsent",
    ),
    (
        "billing_refund_cancellation_id_stays",
        "billing_refund",
        "BEFORE UPDATE OF cancellation_id",
        "OLD.cancellation_id IS NOT NULL AND (NEW.cancellation_id IS NULL OR NEW.cancellation_id <> OLD.cancellation_id)",
        "the PG's number of a refund never changes",
    ),
    ("billing_refund_kept", "billing_refund", "BEFORE DELETE", "", "a refund is never deleted"),
    ("billing_refund_whole", "billing_refund", "BEFORE TRUNCATE", "", "a refund is never deleted"),
)

REFUSALS_BEFORE = (
    ("billing_refund_starts", "billing_refund", "BEFORE INSERT", "NEW.state <> 'planned'", "a refund begins as planned"),
    (
        "billing_refund_arrows",
        "billing_refund",
        "BEFORE UPDATE OF state",
        "OLD.state <> NEW.state AND NOT (OLD.state = 'planned' AND NEW.state IN ('refused', 'sending') OR OLD.state = 'sending' AND NEW.state IN ('done', 'refused', 'unknown') OR OLD.state = 'unknown' AND NEW.state IN ('done', 'refused', 'sending'))",
        "a refund has no such arrow between these states",
    ),
    (
        "billing_refund_fixed",
        "billing_refund",
        "BEFORE UPDATE OF id, imp_uid, amount, checksum, created_at",
        "OLD.id <> NEW.id OR OLD.imp_uid <> NEW.imp_uid OR OLD.amount <> NEW.amount OR OLD.checksum <> NEW.checksum OR OLD.created_at <> NEW.created_at",
        "what a refund gives back never changes",
    ),
    (
        "billing_refund_cancellation_id_stays",
        "billing_refund",
        "BEFORE UPDATE OF cancellation_id",
        "OLD.cancellation_id IS NOT NULL AND (NEW.cancellation_id IS NULL OR NEW.cancellation_id <> OLD.cancellation_id)",
        "the PG's number of a refund never changes",
    ),
    ("billing_refund_kept", "billing_refund", "BEFORE DELETE", "", "a refund is never deleted"),
    ("billing_refund_whole", "billing_refund", "BEFORE TRUNCATE", "", "a refund is never deleted"),
)

POSTGRES_FIGURES = (
    "CREATE TRIGGER billing_refund_counted AFTER INSERT OR UPDATE OF state ON billing_refund FOR EACH ROW EXECUTE FUNCTION billing_payment_count_refunds()",
)

SQLITE_FIGURES = (
    "CREATE TRIGGER billing_refund_counted_new AFTER INSERT ON billing_refund FOR EACH ROW BEGIN UPDATE billing_payment SET refund_reserved = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state IN ('planned', 'sending', 'unknown')), 0), refunded = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state = 'done'), 0) WHERE imp_uid = NEW.imp_uid; END",
    "CREATE TRIGGER billing_refund_counted_moved AFTER UPDATE OF state ON billing_refund FOR EACH ROW BEGIN UPDATE billing_payment SET refund_reserved = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state IN ('planned', 'sending', 'unknown')), 0), refunded = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state = 'done'), 0) WHERE imp_uid = NEW.imp_uid; END",
)


def upgrade() -> None:
    _refuse_with_rows(REPLACED, "upgrade")
    for name in REPLACED:
        op.drop_table(name)
    op.add_column("billing_identity", sa.Column("database_fp", sa.String(64), nullable=False, server_default=""))
    op.add_column("billing_identity", sa.Column("timeline", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("billing_identity", sa.Column("instance_fp", sa.String(64), nullable=False, server_default=""))
    op.add_column("billing_freeze", sa.Column("cause", sa.String(16), nullable=False, server_default="operator"))
    op.add_column("billing_subscription", sa.Column("request_key", sa.String(120), nullable=True))
    op.create_index(
        "billing_subscription_one_per_request",
        "billing_subscription",
        ["request_key"],
        unique=True,
        postgresql_where=sa.text("request_key IS NOT NULL"),
        sqlite_where=sa.text("request_key IS NOT NULL"),
    )
    op.create_table(
        "billing_finding",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("ref", sa.String(length=80), nullable=False),
        sa.Column("imp_uid", sa.String(length=64), nullable=False),
        sa.Column("merchant_uid", sa.String(length=80), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("found_at", INSTANT, nullable=False),
        sa.Column("explained_at", INSTANT, nullable=True),
        sa.Column("explained_by", sa.String(length=200), nullable=True),
        sa.Column("explanation", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_finding_pkey")),
        sa.UniqueConstraint("kind", "ref", name=op.f("billing_finding_kind_ref_key")),
    )
    op.create_index(
        "billing_finding_unexplained_idx",
        "billing_finding",
        ["kind", "id"],
        unique=False,
        postgresql_where=sa.text("explained_at IS NULL"),
        sqlite_where=sa.text("explained_at IS NULL"),
    )
    op.create_table(
        "billing_reconciliation",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("until", INSTANT, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=False),
        sa.Column("payments", sa.Integer(), nullable=False),
        sa.Column("settled", sa.Integer(), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_reconciliation_pkey")),
    )
    op.create_index("billing_reconciliation_until_idx", "billing_reconciliation", ["until"], unique=False)
    op.create_table(
        "billing_webhook_inbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.Column("imp_uid", sa.String(length=64), nullable=False),
        sa.Column("merchant_uid", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("source_ip", sa.String(length=45), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("last_received_at", INSTANT, nullable=False),
        sa.Column("times_received", sa.Integer(), server_default="1", nullable=False),
        sa.Column("looks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wake_at", INSTANT, nullable=True),
        sa.Column("settled_at", INSTANT, nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_webhook_inbox_pkey")),
        sa.UniqueConstraint("dedupe_key", name=op.f("billing_webhook_inbox_dedupe_key_key")),
    )
    op.create_index("billing_webhook_inbox_imp_uid_idx", "billing_webhook_inbox", ["imp_uid"], unique=False)
    op.create_index(
        "billing_webhook_inbox_wake_idx",
        "billing_webhook_inbox",
        ["wake_at", "id"],
        unique=False,
        postgresql_where=sa.text("wake_at IS NOT NULL"),
        sqlite_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_table(
        "billing_refund",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("imp_uid", sa.String(length=64), nullable=False),
        sa.Column("invoice_id", sa.String(length=36), nullable=False),
        sa.Column("request_key", sa.String(length=120), nullable=False),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("tax_free", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("vat", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("wire_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("looks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wake_at", INSTANT, nullable=True),
        sa.Column("sent_at", INSTANT, nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("cancellation_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("moved_at", INSTANT, nullable=False),
        sa.CheckConstraint("origin IN ('operator', 'pg', 'surplus')", name=op.f("billing_refund_origin_known_check")),
        sa.CheckConstraint(
            "state IN ('done', 'planned', 'refused', 'sending', 'unknown')", name=op.f("billing_refund_state_known_check")
        ),
        sa.CheckConstraint(
            "state NOT IN ('sending', 'unknown') OR checksum IS NOT NULL", name=op.f("billing_refund_armed_means_checked_check")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("billing_refund_amount_positive_check")),
        sa.CheckConstraint("checksum IS NULL OR checksum >= amount", name=op.f("billing_refund_checksum_covers_amount_check")),
        sa.CheckConstraint(
            "tax_free BETWEEN 0 AND amount AND vat BETWEEN 0 AND amount", name=op.f("billing_refund_amounts_check")
        ),
        sa.ForeignKeyConstraint(["imp_uid"], ["billing_payment.imp_uid"], name=op.f("billing_refund_imp_uid_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_refund_pkey")),
        sa.UniqueConstraint("request_key", name=op.f("billing_refund_request_key_key")),
    )
    op.create_index(
        "billing_refund_one_cancellation",
        "billing_refund",
        ["cancellation_id"],
        unique=True,
        postgresql_where=sa.text("cancellation_id IS NOT NULL"),
        sqlite_where=sa.text("cancellation_id IS NOT NULL"),
    )
    op.create_index(
        "billing_refund_one_in_flight",
        "billing_refund",
        ["imp_uid"],
        unique=True,
        postgresql_where=sa.text("state IN ('sending', 'unknown')"),
        sqlite_where=sa.text("state IN ('sending', 'unknown')"),
    )
    op.create_index("billing_refund_payment_idx", "billing_refund", ["imp_uid"], unique=False)
    op.create_index(
        "billing_refund_wake_idx",
        "billing_refund",
        ["wake_at", "id"],
        unique=False,
        postgresql_where=sa.text("wake_at IS NOT NULL"),
        sqlite_where=sa.text("wake_at IS NOT NULL"),
    )
    _refuse_by_trigger(REFUSALS)


def downgrade() -> None:
    """Put the tables of 0001 back, unless that would lose what happened to somebody's money."""
    _refuse_with_rows(("billing_refund", "billing_webhook_inbox", "billing_finding"), "downgrade")
    for name in reversed(MADE):
        op.drop_table(name)
    op.create_table(
        "billing_webhook_inbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.Column("imp_uid", sa.String(length=64), nullable=False),
        sa.Column("merchant_uid", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("source_ip", sa.String(length=45), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("times_received", sa.Integer(), server_default="1", nullable=False),
        sa.Column("settled_at", INSTANT, nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_webhook_inbox_pkey")),
        sa.UniqueConstraint("dedupe_key", name=op.f("billing_webhook_inbox_dedupe_key_key")),
    )
    op.create_index(
        "billing_webhook_inbox_pending_idx",
        "billing_webhook_inbox",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL"),
        sqlite_where=sa.text("settled_at IS NULL"),
    )
    op.create_table(
        "billing_refund",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("imp_uid", sa.String(length=64), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("cancellation_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("moved_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "state IN ('done', 'planned', 'refused', 'sending', 'unknown')", name=op.f("billing_refund_state_known_check")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("billing_refund_amount_positive_check")),
        sa.CheckConstraint("checksum >= amount", name=op.f("billing_refund_checksum_covers_amount_check")),
        sa.ForeignKeyConstraint(["imp_uid"], ["billing_payment.imp_uid"], name=op.f("billing_refund_imp_uid_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_refund_pkey")),
    )
    op.create_index(
        "billing_refund_one_cancellation",
        "billing_refund",
        ["cancellation_id"],
        unique=True,
        postgresql_where=sa.text("cancellation_id IS NOT NULL"),
        sqlite_where=sa.text("cancellation_id IS NOT NULL"),
    )
    op.create_index(
        "billing_refund_one_live",
        "billing_refund",
        ["imp_uid"],
        unique=True,
        postgresql_where=sa.text("state IN ('planned', 'sending', 'unknown')"),
        sqlite_where=sa.text("state IN ('planned', 'sending', 'unknown')"),
    )
    op.create_index("billing_refund_payment_idx", "billing_refund", ["imp_uid"], unique=False)
    _refuse_by_trigger(REFUSALS_BEFORE)
    # Last: SQLite reads every trigger again when a column goes, and some of them name the tables above.
    op.drop_index("billing_subscription_one_per_request", "billing_subscription")
    for table, column in PLACES:
        op.drop_column(table, column)


def _refuse_with_rows(names: tuple[str, ...], way: str) -> None:
    for name in names:
        if op.get_bind().exec_driver_sql(f"SELECT EXISTS (SELECT 1 FROM {name})").scalar():  # noqa: S608 - a name from above
            raise RuleError("revision", f"{name} has rows, which this {way} would lose", "restore a backup instead")


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
    for sql in POSTGRES_FIGURES if is_postgres else SQLITE_FIGURES:
        run(sql)
