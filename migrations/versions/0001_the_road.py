"""The road: every table, index, CHECK and trigger of the first release.

Why: a charge must leave a row before it leaves the process, and the database itself must refuse a
second live or paid attempt, an over-refund and an edited ledger row, whatever program writes to it.
Everything is written out here and imports nothing that can change later: a migration must go on
meaning what it meant when it was first run.

Revision ID: 0001
Revises:
Create Date: 2026-11-21
"""

# ruff: noqa: E501 - long conditions are data here, and are compared with the catalogue as they stand

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from billing.errors import RuleError

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")

# In the order in which they can be made; dropped the other way round.
TABLES = (
    "billing_audit",
    "billing_counter",
    "billing_customer",
    "billing_freeze",
    "billing_identity",
    "billing_ledger_transfer",
    "billing_outbox_event",
    "billing_plan",
    "billing_test_clock",
    "billing_webhook_inbox",
    "billing_key",
    "billing_price",
    "billing_subscription",
    "billing_charge_day",
    "billing_invoice",
    "billing_attempt",
    "billing_invoice_line",
    "billing_payment",
    "billing_refund",
)

MONEY = ("billing_attempt", "billing_payment", "billing_refund", "billing_ledger_transfer")

# Name, table, moment, condition (empty: always), message.
REFUSALS = (
    ("billing_attempt_starts", "billing_attempt", "BEFORE INSERT", "NEW.state <> 'planned'", "an attempt begins as planned"),
    (
        "billing_attempt_arrows",
        "billing_attempt",
        "BEFORE UPDATE OF state",
        "OLD.state <> NEW.state AND NOT (OLD.state = 'declined' AND NEW.state IN ('mismatch', 'paid', 'surplus') OR OLD.state = 'mismatch' AND NEW.state IN ('paid', 'surplus', 'void') OR OLD.state = 'planned' AND NEW.state IN ('declined', 'mismatch', 'paid', 'sending', 'surplus', 'void') OR OLD.state = 'rejected' AND NEW.state IN ('mismatch', 'paid', 'surplus') OR OLD.state = 'sending' AND NEW.state IN ('declined', 'mismatch', 'paid', 'planned', 'rejected', 'surplus', 'unknown') OR OLD.state = 'unknown' AND NEW.state IN ('declined', 'mismatch', 'paid', 'rejected', 'sending', 'surplus', 'void') OR OLD.state = 'void' AND NEW.state IN ('mismatch', 'paid', 'surplus'))",
        "an attempt has no such arrow between these states",
    ),
    (
        "billing_attempt_fixed",
        "billing_attempt",
        "BEFORE UPDATE OF id, invoice_id, subscription_id, customer_id, seq, merchant_uid, customer_uid, way, amount, currency, tax_free, vat, order_name",
        "OLD.id <> NEW.id OR OLD.invoice_id <> NEW.invoice_id OR OLD.subscription_id <> NEW.subscription_id OR OLD.customer_id <> NEW.customer_id OR OLD.seq <> NEW.seq OR OLD.merchant_uid <> NEW.merchant_uid OR OLD.customer_uid <> NEW.customer_uid OR OLD.way <> NEW.way OR OLD.amount <> NEW.amount OR OLD.currency <> NEW.currency OR OLD.tax_free <> NEW.tax_free OR OLD.vat <> NEW.vat OR OLD.order_name <> NEW.order_name",
        "what an attempt asks for, and of whom, is fixed when it is planned",
    ),
    (
        "billing_attempt_imp_uid_stays",
        "billing_attempt",
        "BEFORE UPDATE OF imp_uid",
        "OLD.imp_uid IS NOT NULL AND (NEW.imp_uid IS NULL OR NEW.imp_uid <> OLD.imp_uid)",
        "the PG's number of an attempt never changes",
    ),
    (
        "billing_attempt_fence_grows",
        "billing_attempt",
        "BEFORE UPDATE OF fence",
        "NEW.fence < OLD.fence",
        "the fence of an attempt never goes back",
    ),
    (
        "billing_attempt_wire_count_grows",
        "billing_attempt",
        "BEFORE UPDATE OF wire_count",
        "NEW.wire_count < OLD.wire_count",
        "what was sent cannot be unsent",
    ),
    ("billing_attempt_kept", "billing_attempt", "BEFORE DELETE", "", "an attempt is never deleted: the PG may know it"),
    ("billing_attempt_whole", "billing_attempt", "BEFORE TRUNCATE", "", "an attempt is never deleted: the PG may know it"),
    (
        "billing_invoice_arrows",
        "billing_invoice",
        "BEFORE UPDATE OF state",
        "OLD.state <> NEW.state AND NOT (OLD.state = 'open' AND NEW.state IN ('paid', 'uncollectible', 'void') OR OLD.state = 'uncollectible' AND NEW.state IN ('paid', 'void'))",
        "an invoice has no such arrow between these states",
    ),
    (
        "billing_invoice_fixed",
        "billing_invoice",
        "BEFORE UPDATE OF id, number, customer_id, subscription_id, purpose, period_index, period_start, period_end, uid_stem, currency, total, tax_free, vat, order_name, opened_at",
        "OLD.id <> NEW.id OR OLD.number <> NEW.number OR OLD.customer_id <> NEW.customer_id OR OLD.subscription_id <> NEW.subscription_id OR OLD.purpose <> NEW.purpose OR OLD.period_index <> NEW.period_index OR OLD.period_start <> NEW.period_start OR OLD.period_end <> NEW.period_end OR OLD.uid_stem <> NEW.uid_stem OR OLD.currency <> NEW.currency OR OLD.total <> NEW.total OR OLD.tax_free <> NEW.tax_free OR OLD.vat <> NEW.vat OR OLD.order_name <> NEW.order_name OR OLD.opened_at <> NEW.opened_at",
        "the terms of an invoice are fixed when it is opened",
    ),
    ("billing_invoice_kept", "billing_invoice", "BEFORE DELETE", "", "an invoice is voided, never deleted"),
    ("billing_invoice_whole", "billing_invoice", "BEFORE TRUNCATE", "", "an invoice is voided, never deleted"),
    (
        "billing_payment_starts",
        "billing_payment",
        "BEFORE INSERT",
        "NEW.refunded <> 0 OR NEW.refund_reserved <> 0",
        "a payment begins with nothing refunded",
    ),
    (
        "billing_payment_arrows",
        "billing_payment",
        "BEFORE UPDATE OF role",
        "OLD.role <> NEW.role AND NOT (OLD.role = 'mismatch' AND NEW.role IN ('invoice', 'surplus'))",
        "a payment has no such arrow between these roles",
    ),
    (
        "billing_payment_fixed",
        "billing_payment",
        "BEFORE UPDATE OF imp_uid, attempt_id, invoice_id, merchant_uid, amount, currency",
        "OLD.imp_uid <> NEW.imp_uid OR OLD.attempt_id <> NEW.attempt_id OR OLD.invoice_id <> NEW.invoice_id OR OLD.merchant_uid <> NEW.merchant_uid OR OLD.amount <> NEW.amount OR OLD.currency <> NEW.currency",
        "a payment is what the PG took; it never changes",
    ),
    ("billing_payment_kept", "billing_payment", "BEFORE DELETE", "", "a payment is never deleted"),
    ("billing_payment_whole", "billing_payment", "BEFORE TRUNCATE", "", "a payment is never deleted"),
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
    ("billing_invoice_line_fixed", "billing_invoice_line", "BEFORE UPDATE", "", "an invoice line is written once"),
    ("billing_invoice_line_kept", "billing_invoice_line", "BEFORE DELETE", "", "an invoice line is written once"),
    ("billing_invoice_line_whole", "billing_invoice_line", "BEFORE TRUNCATE", "", "an invoice line is written once"),
    (
        "billing_ledger_transfer_fixed",
        "billing_ledger_transfer",
        "BEFORE UPDATE",
        "",
        "a ledger transfer is written once; counter it with another",
    ),
    (
        "billing_ledger_transfer_kept",
        "billing_ledger_transfer",
        "BEFORE DELETE",
        "",
        "a ledger transfer is written once; counter it with another",
    ),
    (
        "billing_ledger_transfer_whole",
        "billing_ledger_transfer",
        "BEFORE TRUNCATE",
        "",
        "a ledger transfer is written once; counter it with another",
    ),
    ("billing_audit_fixed", "billing_audit", "BEFORE UPDATE", "", "an audit entry is written once"),
    ("billing_audit_kept", "billing_audit", "BEFORE DELETE", "", "an audit entry is written once"),
    ("billing_audit_whole", "billing_audit", "BEFORE TRUNCATE", "", "an audit entry is written once"),
    ("billing_charge_day_fixed", "billing_charge_day", "BEFORE UPDATE", "", "a day on which was charged stays taken"),
    ("billing_charge_day_kept", "billing_charge_day", "BEFORE DELETE", "", "a day on which was charged stays taken"),
    ("billing_charge_day_whole", "billing_charge_day", "BEFORE TRUNCATE", "", "a day on which was charged stays taken"),
    (
        "billing_price_fixed",
        "billing_price",
        "BEFORE UPDATE OF id, plan_id, code, version, name, amount, currency, interval_count, interval_unit, alignment, trial_days, setup_fee, is_tax_free, created_at",
        "OLD.id <> NEW.id OR OLD.plan_id <> NEW.plan_id OR OLD.code <> NEW.code OR OLD.version <> NEW.version OR OLD.name <> NEW.name OR OLD.amount <> NEW.amount OR OLD.currency <> NEW.currency OR OLD.interval_count <> NEW.interval_count OR OLD.interval_unit <> NEW.interval_unit OR OLD.alignment <> NEW.alignment OR OLD.trial_days <> NEW.trial_days OR OLD.setup_fee <> NEW.setup_fee OR OLD.is_tax_free <> NEW.is_tax_free OR OLD.created_at <> NEW.created_at",
        "the terms of a price never change; make a new version",
    ),
    ("billing_price_kept", "billing_price", "BEFORE DELETE", "", "a price is archived, never deleted"),
    (
        "billing_outbox_event_fixed",
        "billing_outbox_event",
        "BEFORE UPDATE OF id, key, topic, customer_id, subscription_id, version, payload, occurred_at",
        "OLD.id <> NEW.id OR OLD.key <> NEW.key OR OLD.topic <> NEW.topic OR OLD.customer_id <> NEW.customer_id OR OLD.subscription_id <> NEW.subscription_id OR (OLD.subscription_id IS NULL) <> (NEW.subscription_id IS NULL) OR OLD.version <> NEW.version OR OLD.payload <> NEW.payload OR OLD.occurred_at <> NEW.occurred_at",
        "an event is told as it was written",
    ),
    (
        "billing_identity_fixed",
        "billing_identity",
        "BEFORE UPDATE OF id, ledger_id, uid_prefix",
        "OLD.id <> NEW.id OR OLD.ledger_id <> NEW.ledger_id OR OLD.uid_prefix <> NEW.uid_prefix",
        "order numbers are derived from it: it never changes",
    ),
    ("billing_identity_kept", "billing_identity", "BEFORE DELETE", "", "order numbers are derived from it: it is never deleted"),
)

POSTGRES_FUNCTIONS = {
    "billing_refuse": """
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
""",
    "billing_payment_count_refunds": """
BEGIN
    PERFORM 1 FROM billing_payment WHERE imp_uid = NEW.imp_uid FOR NO KEY UPDATE;
    UPDATE billing_payment SET refund_reserved = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state IN ('planned', 'sending', 'unknown')), 0), refunded = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state = 'done'), 0) WHERE imp_uid = NEW.imp_uid;
    RETURN NULL;
END
""",
    "billing_payment_compare_refunds": """
BEGIN
    IF NEW.refund_reserved <> COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state IN ('planned', 'sending', 'unknown')), 0) OR NEW.refunded <> COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state = 'done'), 0) THEN
        RAISE EXCEPTION USING MESSAGE = 'what was refunded of a payment is the sum of its refunds', ERRCODE = 'restrict_violation',
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
""",
}

POSTGRES_FIGURES = (
    "CREATE TRIGGER billing_payment_figures BEFORE UPDATE OF refunded, refund_reserved ON billing_payment FOR EACH ROW WHEN (OLD.refunded <> NEW.refunded OR OLD.refund_reserved <> NEW.refund_reserved) EXECUTE FUNCTION billing_payment_compare_refunds()",
    "CREATE TRIGGER billing_refund_counted AFTER INSERT OR UPDATE OF state ON billing_refund FOR EACH ROW EXECUTE FUNCTION billing_payment_count_refunds()",
)

SQLITE_FIGURES = (
    "CREATE TRIGGER billing_payment_figures BEFORE UPDATE OF refunded, refund_reserved ON billing_payment FOR EACH ROW WHEN NEW.refund_reserved <> COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state IN ('planned', 'sending', 'unknown')), 0) OR NEW.refunded <> COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state = 'done'), 0) BEGIN SELECT RAISE(ABORT, 'what was refunded of a payment is the sum of its refunds'); END",
    "CREATE TRIGGER billing_refund_counted_new AFTER INSERT ON billing_refund FOR EACH ROW BEGIN UPDATE billing_payment SET refund_reserved = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state IN ('planned', 'sending', 'unknown')), 0), refunded = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state = 'done'), 0) WHERE imp_uid = NEW.imp_uid; END",
    "CREATE TRIGGER billing_refund_counted_moved AFTER UPDATE OF state ON billing_refund FOR EACH ROW BEGIN UPDATE billing_payment SET refund_reserved = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state IN ('planned', 'sending', 'unknown')), 0), refunded = COALESCE((SELECT SUM(amount) FROM billing_refund WHERE imp_uid = NEW.imp_uid AND state = 'done'), 0) WHERE imp_uid = NEW.imp_uid; END",
)


def upgrade() -> None:
    op.create_table(
        "billing_audit",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("subscription_id", sa.String(length=36), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_audit_pkey")),
    )
    op.create_index("billing_audit_subscription_idx", "billing_audit", ["subscription_id"], unique=False)
    op.create_table(
        "billing_counter",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("billing_counter_pkey")),
    )
    op.create_table(
        "billing_customer",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("tel", sa.String(length=40), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("bucket BETWEEN 0 AND 255", name=op.f("billing_customer_bucket_range_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_customer_pkey")),
        sa.UniqueConstraint("external_id", name=op.f("billing_customer_external_id_key")),
    )
    op.create_table(
        "billing_freeze",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("is_frozen", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("billing_freeze_single_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_freeze_pkey")),
    )
    op.create_table(
        "billing_identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ledger_id", sa.String(length=36), nullable=False),
        sa.Column("uid_prefix", sa.String(length=4), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("api_key_fp", sa.String(length=64), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("mode IN ('live', 'sandbox', 'test')", name=op.f("billing_identity_mode_known_check")),
        sa.CheckConstraint("id = 1", name=op.f("billing_identity_single_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_identity_pkey")),
    )
    op.create_table(
        "billing_ledger_transfer",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("debit", sa.String(length=40), nullable=False),
        sa.Column("credit", sa.String(length=40), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("booked_at", INSTANT, nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("billing_ledger_transfer_amount_positive_check")),
        sa.CheckConstraint("debit <> credit", name=op.f("billing_ledger_transfer_two_accounts_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_ledger_transfer_pkey")),
        sa.UniqueConstraint("kind", "ref", name=op.f("billing_ledger_transfer_kind_ref_key")),
    )
    op.create_table(
        "billing_outbox_event",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("topic", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=36), nullable=False),
        sa.Column("subscription_id", sa.String(length=36), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("delivered_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_outbox_event_pkey")),
        sa.UniqueConstraint("key", name=op.f("billing_outbox_event_key_key")),
    )
    op.create_index(
        "billing_outbox_event_pending_idx",
        "billing_outbox_event",
        ["id"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL"),
        sqlite_where=sa.text("delivered_at IS NULL"),
    )
    op.create_index("billing_outbox_event_subscription_idx", "billing_outbox_event", ["subscription_id"], unique=False)
    op.create_table(
        "billing_plan",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("is_archived", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_plan_pkey")),
        sa.UniqueConstraint("code", name=op.f("billing_plan_code_key")),
    )
    op.create_table(
        "billing_test_clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("billing_test_clock_single_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_test_clock_pkey")),
    )
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
        "billing_key",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("customer_id", sa.String(length=36), nullable=False),
        sa.Column("customer_uid", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("pg_provider", sa.String(length=16), server_default="", nullable=False),
        sa.Column("pg_id", sa.String(length=80), server_default="", nullable=False),
        sa.Column("card_name", sa.String(length=40), server_default="", nullable=False),
        sa.Column("card_number", sa.String(length=40), server_default="", nullable=False),
        sa.Column("card_type", sa.Integer(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("confirmed_at", INSTANT, nullable=True),
        sa.Column("removed_at", INSTANT, nullable=True),
        sa.CheckConstraint("state IN ('current', 'pending', 'removed', 'retired')", name=op.f("billing_key_state_known_check")),
        sa.ForeignKeyConstraint(["customer_id"], ["billing_customer.id"], name=op.f("billing_key_customer_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_key_pkey")),
        sa.UniqueConstraint("customer_uid", name=op.f("billing_key_customer_uid_key")),
    )
    op.create_index("billing_key_customer_idx", "billing_key", ["customer_id"], unique=False)
    op.create_index(
        "billing_key_one_current",
        "billing_key",
        ["customer_id"],
        unique=True,
        postgresql_where=sa.text("state = 'current'"),
        sqlite_where=sa.text("state = 'current'"),
    )
    op.create_index(
        "billing_key_unsettled_idx",
        "billing_key",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'retired')"),
        sqlite_where=sa.text("state IN ('pending', 'retired')"),
    )
    op.create_table(
        "billing_price",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("plan_id", sa.String(length=36), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("interval_unit", sa.String(length=5), nullable=False),
        sa.Column("alignment", sa.String(length=11), nullable=False),
        sa.Column("trial_days", sa.Integer(), nullable=False),
        sa.Column("setup_fee", sa.BigInteger(), nullable=False),
        sa.Column("is_tax_free", sa.Boolean(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("amount >= 0", name=op.f("billing_price_amount_not_negative_check")),
        sa.CheckConstraint("setup_fee >= 0", name=op.f("billing_price_setup_fee_not_negative_check")),
        sa.CheckConstraint("version > 0", name=op.f("billing_price_version_positive_check")),
        sa.ForeignKeyConstraint(["plan_id"], ["billing_plan.id"], name=op.f("billing_price_plan_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_price_pkey")),
        sa.UniqueConstraint("code", "version", name=op.f("billing_price_code_version_key")),
    )
    op.create_index(
        "billing_price_one_current",
        "billing_price",
        ["code"],
        unique=True,
        postgresql_where=sa.text("is_current"),
        sqlite_where=sa.text("is_current"),
    )
    op.create_index("billing_price_plan_idx", "billing_price", ["plan_id"], unique=False)
    op.create_table(
        "billing_subscription",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("customer_id", sa.String(length=36), nullable=False),
        sa.Column("price_id", sa.String(length=36), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("start_on", sa.Date(), nullable=False),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("anchor_on", sa.Date(), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("interval_unit", sa.String(length=5), nullable=False),
        sa.Column("trial_end", INSTANT, nullable=True),
        sa.Column("next_index", sa.Integer(), nullable=False),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.Column("period_index", sa.Integer(), nullable=True),
        sa.Column("period_start", INSTANT, nullable=True),
        sa.Column("period_end", INSTANT, nullable=True),
        sa.Column("cancel_at_end", sa.Boolean(), nullable=False),
        sa.Column("canceled_at", INSTANT, nullable=True),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.Column("parked_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("audit_head", sa.String(length=64), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "state IN ('active', 'canceled', 'ended', 'incomplete', 'past_due', 'paused', 'scheduled', 'trialing')",
            name=op.f("billing_subscription_state_known_check"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('canceled', 'ended', 'paused') OR due_at IS NULL",
            name=op.f("billing_subscription_nothing_due_when_stopped_check"),
        ),
        sa.CheckConstraint("next_index >= 0", name=op.f("billing_subscription_next_index_not_negative_check")),
        sa.CheckConstraint("quantity > 0", name=op.f("billing_subscription_quantity_positive_check")),
        sa.ForeignKeyConstraint(["customer_id"], ["billing_customer.id"], name=op.f("billing_subscription_customer_id_fkey")),
        sa.ForeignKeyConstraint(["price_id"], ["billing_price.id"], name=op.f("billing_subscription_price_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_subscription_pkey")),
    )
    op.create_index("billing_subscription_customer_idx", "billing_subscription", ["customer_id"], unique=False)
    op.create_index(
        "billing_subscription_due_idx",
        "billing_subscription",
        ["due_at", "id"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("billing_subscription_price_idx", "billing_subscription", ["price_id"], unique=False)
    op.create_table(
        "billing_charge_day",
        sa.Column("subscription_id", sa.String(length=36), nullable=False),
        sa.Column("local_day", sa.Date(), nullable=False),
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["billing_subscription.id"], name=op.f("billing_charge_day_subscription_id_fkey")
        ),
        sa.PrimaryKeyConstraint("subscription_id", "local_day", name=op.f("billing_charge_day_pkey")),
    )
    op.create_table(
        "billing_invoice",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.String(length=36), nullable=False),
        sa.Column("subscription_id", sa.String(length=36), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=10), nullable=False),
        sa.Column("period_index", sa.Integer(), nullable=False),
        sa.Column("period_start", INSTANT, nullable=False),
        sa.Column("period_end", INSTANT, nullable=False),
        sa.Column("uid_stem", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=13), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("tax_free", sa.BigInteger(), nullable=False),
        sa.Column("vat", sa.BigInteger(), nullable=False),
        sa.Column("order_name", sa.String(length=40), nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("moved_at", INSTANT, nullable=False),
        sa.Column("next_attempt_at", INSTANT, nullable=True),
        sa.Column("collection", sa.String(length=10), nullable=False),
        sa.Column("declines", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts_planned", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_failed_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "collection IN ('await_card', 'charge', 'manual')", name=op.f("billing_invoice_collection_known_check")
        ),
        sa.CheckConstraint(
            "state = 'open' OR next_attempt_at IS NULL", name=op.f("billing_invoice_only_open_ones_are_tried_check")
        ),
        sa.CheckConstraint("state IN ('open', 'paid', 'uncollectible', 'void')", name=op.f("billing_invoice_state_known_check")),
        sa.CheckConstraint("attempts_planned BETWEEN 0 AND 16", name=op.f("billing_invoice_name_space_check")),
        sa.CheckConstraint(
            "total >= 0 AND tax_free BETWEEN 0 AND total AND vat BETWEEN 0 AND total", name=op.f("billing_invoice_amounts_check")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["billing_subscription.id"], name=op.f("billing_invoice_subscription_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_invoice_pkey")),
        sa.UniqueConstraint("number", name=op.f("billing_invoice_number_key")),
        sa.UniqueConstraint(
            "subscription_id", "purpose", "period_index", name=op.f("billing_invoice_subscription_id_purpose_period_index_key")
        ),
        sa.UniqueConstraint("uid_stem", name=op.f("billing_invoice_uid_stem_key")),
    )
    op.create_index("billing_invoice_customer_idx", "billing_invoice", ["customer_id"], unique=False)
    op.create_index(
        "billing_invoice_due_idx",
        "billing_invoice",
        ["next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
        sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_table(
        "billing_attempt",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("invoice_id", sa.String(length=36), nullable=False),
        sa.Column("subscription_id", sa.String(length=36), nullable=False),
        sa.Column("customer_id", sa.String(length=36), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("merchant_uid", sa.String(length=40), nullable=False),
        sa.Column("customer_uid", sa.String(length=80), nullable=False),
        sa.Column("way", sa.String(length=12), nullable=False),
        sa.Column("trigger", sa.String(length=9), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("tax_free", sa.BigInteger(), nullable=False),
        sa.Column("vat", sa.BigInteger(), nullable=False),
        sa.Column("order_name", sa.String(length=40), nullable=False),
        sa.Column("buyer_name", sa.String(length=16), nullable=False),
        sa.Column("buyer_email", sa.String(length=64), nullable=False),
        sa.Column("buyer_tel", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("wire_count", sa.Integer(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("wake_at", INSTANT, nullable=True),
        sa.Column("token_fp", sa.String(length=64), nullable=True),
        sa.Column("sent_at", INSTANT, nullable=True),
        sa.Column("first_negative_at", INSTANT, nullable=True),
        sa.Column("superseded_at", INSTANT, nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("hint_imp_uid", sa.String(length=64), nullable=True),
        sa.Column("imp_uid", sa.String(length=64), nullable=True),
        sa.Column("fail_code", sa.String(length=40), nullable=True),
        sa.Column("fail_reason", sa.Text(), nullable=True),
        sa.Column("fail_class", sa.String(length=20), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("moved_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "state <> 'sending' OR (token_fp IS NOT NULL AND wake_at IS NOT NULL)",
            name=op.f("billing_attempt_armed_means_leased_check"),
        ),
        sa.CheckConstraint(
            "state IN ('declined', 'mismatch', 'paid', 'planned', 'rejected', 'sending', 'surplus', 'unknown', 'void')",
            name=op.f("billing_attempt_state_known_check"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('paid', 'surplus', 'mismatch') OR imp_uid IS NOT NULL",
            name=op.f("billing_attempt_money_has_imp_uid_check"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("billing_attempt_amount_positive_check")),
        sa.CheckConstraint("length(merchant_uid) BETWEEN 12 AND 40", name=op.f("billing_attempt_merchant_uid_length_check")),
        sa.CheckConstraint("seq BETWEEN 1 AND 16", name=op.f("billing_attempt_seq_range_check")),
        sa.ForeignKeyConstraint(["invoice_id"], ["billing_invoice.id"], name=op.f("billing_attempt_invoice_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("billing_attempt_pkey")),
        sa.UniqueConstraint("invoice_id", "seq", name=op.f("billing_attempt_invoice_id_seq_key")),
        sa.UniqueConstraint("merchant_uid", name=op.f("billing_attempt_merchant_uid_key")),
    )
    op.create_index(
        "billing_attempt_one_imp_uid",
        "billing_attempt",
        ["imp_uid"],
        unique=True,
        postgresql_where=sa.text("imp_uid IS NOT NULL"),
        sqlite_where=sa.text("imp_uid IS NOT NULL"),
    )
    op.create_index(
        "billing_attempt_one_live",
        "billing_attempt",
        ["invoice_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('mismatch', 'planned', 'sending', 'unknown')"),
        sqlite_where=sa.text("state IN ('mismatch', 'planned', 'sending', 'unknown')"),
    )
    op.create_index(
        "billing_attempt_one_paid",
        "billing_attempt",
        ["invoice_id"],
        unique=True,
        postgresql_where=sa.text("state = 'paid'"),
        sqlite_where=sa.text("state = 'paid'"),
    )
    op.create_index(
        "billing_attempt_wake_idx",
        "billing_attempt",
        ["wake_at", "id"],
        unique=False,
        postgresql_where=sa.text("wake_at IS NOT NULL"),
        sqlite_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_table(
        "billing_invoice_line",
        sa.Column("invoice_id", sa.String(length=36), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("description", sa.String(length=100), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_amount", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("is_tax_free", sa.Boolean(), nullable=False),
        sa.Column("vat", sa.BigInteger(), nullable=False),
        sa.Column("price_id", sa.String(length=36), nullable=False),
        sa.Column("period_start", INSTANT, nullable=True),
        sa.Column("period_end", INSTANT, nullable=True),
        sa.Column("part_days", sa.Integer(), nullable=False),
        sa.Column("natural_days", sa.Integer(), nullable=False),
        sa.CheckConstraint("part_days BETWEEN 1 AND natural_days", name=op.f("billing_invoice_line_part_of_a_period_check")),
        sa.ForeignKeyConstraint(["invoice_id"], ["billing_invoice.id"], name=op.f("billing_invoice_line_invoice_id_fkey")),
        sa.PrimaryKeyConstraint("invoice_id", "position", name=op.f("billing_invoice_line_pkey")),
    )
    op.create_table(
        "billing_payment",
        sa.Column("imp_uid", sa.String(length=64), nullable=False),
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("invoice_id", sa.String(length=36), nullable=False),
        sa.Column("merchant_uid", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("refunded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refund_reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pg_provider", sa.String(length=40), nullable=False),
        sa.Column("pg_tid", sa.String(length=64), nullable=False),
        sa.Column("card_name", sa.String(length=40), nullable=False),
        sa.Column("receipt_url", sa.Text(), nullable=False),
        sa.Column("paid_at", INSTANT, nullable=True),
        sa.Column("booked_at", INSTANT, nullable=False),
        sa.CheckConstraint("role IN ('invoice', 'mismatch', 'surplus')", name=op.f("billing_payment_role_known_check")),
        sa.CheckConstraint("amount > 0", name=op.f("billing_payment_amount_positive_check")),
        sa.CheckConstraint(
            "refunded >= 0 AND refund_reserved >= 0 AND refunded + refund_reserved <= amount",
            name=op.f("billing_payment_not_over_refunded_check"),
        ),
        sa.ForeignKeyConstraint(["attempt_id"], ["billing_attempt.id"], name=op.f("billing_payment_attempt_id_fkey")),
        sa.ForeignKeyConstraint(["invoice_id"], ["billing_invoice.id"], name=op.f("billing_payment_invoice_id_fkey")),
        sa.PrimaryKeyConstraint("imp_uid", name=op.f("billing_payment_pkey")),
    )
    op.create_index("billing_payment_attempt_idx", "billing_payment", ["attempt_id"], unique=False)
    op.create_index("billing_payment_booked_idx", "billing_payment", ["booked_at"], unique=False)
    op.create_index(
        "billing_payment_one_per_invoice",
        "billing_payment",
        ["invoice_id"],
        unique=True,
        postgresql_where=sa.text("role = 'invoice'"),
        sqlite_where=sa.text("role = 'invoice'"),
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

    run = op.get_bind().exec_driver_sql
    if op.get_bind().dialect.name == "postgresql":
        for name, body in POSTGRES_FUNCTIONS.items():
            run(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body${body}$body$")
        for name, table, moment, condition, message in REFUSALS:
            level = "STATEMENT" if moment == "BEFORE TRUNCATE" else "ROW"
            when = f" WHEN ({condition})" if condition else ""
            said = message.replace("'", "''")
            run(f"CREATE TRIGGER {name} {moment} ON {table} FOR EACH {level}{when} EXECUTE FUNCTION billing_refuse('{said}')")
        for sql in POSTGRES_FIGURES:
            run(sql)
    else:
        for name, table, moment, condition, message in REFUSALS:
            if moment != "BEFORE TRUNCATE":
                when = f" WHEN {condition}" if condition else ""
                said = message.replace("'", "''")
                run(f"CREATE TRIGGER {name} {moment} ON {table} FOR EACH ROW{when} BEGIN SELECT RAISE(ABORT, '{said}'); END")
        for sql in SQLITE_FIGURES:
            run(sql)


def downgrade() -> None:
    """Drop everything, unless that would lose what happened to somebody's money."""
    connection = op.get_bind()
    for name in MONEY:
        if connection.exec_driver_sql(f"SELECT EXISTS (SELECT 1 FROM {name})").scalar():  # noqa: S608 - a name from above
            raise RuleError("revision", f"{name} has rows, which this downgrade would lose", "restore a backup instead")
    for name in reversed(TABLES):
        op.drop_table(name)
    if connection.dialect.name == "postgresql":
        for name in POSTGRES_FUNCTIONS:
            connection.exec_driver_sql(f"DROP FUNCTION {name}()")
