"""Every table the engine keeps, with named constraints: what the database itself refuses.

Names carry the prefix `billing_` so that the engine can live in the host's own database.
Triggers cannot be said here; they stand in `triggers.py`. `guards.py` compares both with the catalogue.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from billing.domain.attempt import LIVE, AttemptState
from billing.domain.checkout import CheckoutState
from billing.domain.checkout import Purpose as CheckoutPurpose
from billing.domain.customer import KeyState
from billing.domain.invoice import Collection, InvoiceState
from billing.domain.refund import RefundState
from billing.domain.subscription import SubscriptionState

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware instant in UTC. SQLite keeps it as sortable text, and gives UTC back instead of a naive value."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """`timestamptz` on PostgreSQL, 27 characters of text on SQLite."""
        return dialect.type_descriptor(String(27) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive values at the door; the same instant is always the same text."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the store")
        if dialect.name == "sqlite":
            return value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002  (SQLAlchemy's signature)
        """Aware, in UTC."""
        return None if value is None else datetime.fromisoformat(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """None on PostgreSQL: sessions run in UTC, its driver gives aware instants, and a renewal reads sixty of them."""
        return None if dialect.name == "postgresql" else super().result_processor(dialect, coltype)


ID = String(36)
UID = String(40)


def _one_of(column: str, values: Any) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in sorted(values))
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


_LIVE_SQL = ", ".join(f"'{state}'" for state in sorted(LIVE))

identity = Table(
    "billing_identity",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("ledger_id", ID, nullable=False),
    Column("uid_prefix", String(4), nullable=False),
    Column("mode", String(8), nullable=False),
    Column("api_key_fp", String(64), nullable=False),
    # Where this ledger lives: a copy of the rows stands in another place. Empty until `billing init` has seen it.
    Column("database_fp", String(64), nullable=False, server_default=""),
    Column("timeline", Integer, nullable=False, server_default="0"),
    Column("instance_fp", String(64), nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("id = 1", name="single"),
    CheckConstraint("mode IN ('live', 'sandbox', 'test')", name="mode_known"),
)

freeze = Table(
    "billing_freeze",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("is_frozen", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(200), nullable=False),
    # Who may lift it: an operator's own word, or only a clean comparison with the PG.
    Column("cause", String(16), nullable=False, server_default="operator"),
    Column("changed_at", Instant, nullable=False),
    CheckConstraint("id = 1", name="single"),
)

test_clock = Table(
    "billing_test_clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    CheckConstraint("id = 1", name="single"),
)

counter = Table(
    "billing_counter",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

plan = Table(
    "billing_plan",
    metadata,
    Column("id", ID, primary_key=True),
    Column("code", String(40), nullable=False, unique=True),
    Column("name", String(40), nullable=False),
    Column("is_archived", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", Instant, nullable=False),
)

price = Table(
    "billing_price",
    metadata,
    Column("id", ID, primary_key=True),
    Column("plan_id", ID, ForeignKey(plan.c.id), nullable=False),
    Column("code", String(40), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", String(40), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("interval_unit", String(5), nullable=False),
    Column("alignment", String(11), nullable=False),
    Column("trial_days", Integer, nullable=False),
    Column("setup_fee", BigInteger, nullable=False),
    Column("is_tax_free", Boolean, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("code", "version"),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
    CheckConstraint("setup_fee >= 0", name="setup_fee_not_negative"),
    CheckConstraint("version > 0", name="version_positive"),
    Index("billing_price_one_current", "code", unique=True, postgresql_where=text("is_current"), sqlite_where=text("is_current")),
    Index("billing_price_plan_idx", "plan_id"),
)

customer = Table(
    "billing_customer",
    metadata,
    Column("id", ID, primary_key=True),
    Column("external_id", String(200), nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    Column("email", String(254), nullable=False),
    Column("tel", String(40), nullable=False),
    Column("time_zone", String(64), nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("bucket BETWEEN 0 AND 255", name="bucket_range"),
)

billing_key = Table(
    "billing_key",
    metadata,
    Column("id", ID, primary_key=True),
    Column("customer_id", ID, ForeignKey(customer.c.id), nullable=False),
    Column("customer_uid", String(80), nullable=False, unique=True),
    Column("state", String(8), nullable=False),
    Column("pg_provider", String(16), nullable=False, server_default=""),
    Column("pg_id", String(80), nullable=False, server_default=""),
    Column("card_name", String(40), nullable=False, server_default=""),
    Column("card_number", String(40), nullable=False, server_default=""),
    Column("card_type", Integer),
    Column("created_at", Instant, nullable=False),
    Column("confirmed_at", Instant),
    Column("removed_at", Instant),
    _one_of("state", KeyState),
    Index(
        "billing_key_one_current",
        "customer_id",
        unique=True,
        postgresql_where=text("state = 'current'"),
        sqlite_where=text("state = 'current'"),
    ),
    Index("billing_key_customer_idx", "customer_id"),
    Index(
        "billing_key_unsettled_idx",
        "created_at",
        postgresql_where=text("state IN ('pending', 'retired')"),
        sqlite_where=text("state IN ('pending', 'retired')"),
    ),
)

subscription = Table(
    "billing_subscription",
    metadata,
    Column("id", ID, primary_key=True),
    Column("customer_id", ID, ForeignKey(customer.c.id), nullable=False),
    Column("price_id", ID, ForeignKey(price.c.id), nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("time_zone", String(64), nullable=False),
    Column("start_on", Date, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("anchor_on", Date, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("interval_unit", String(5), nullable=False),
    Column("trial_end", Instant),
    Column("next_index", Integer, nullable=False),
    Column("due_at", Instant),
    Column("period_index", Integer),
    Column("period_start", Instant),
    Column("period_end", Instant),
    Column("cancel_at_end", Boolean, nullable=False),
    Column("canceled_at", Instant),
    Column("ended_at", Instant),
    Column("parked_reason", Text),
    Column("version", Integer, nullable=False),
    Column("audit_head", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("request_key", String(120)),
    _one_of("state", SubscriptionState),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("next_index >= 0", name="next_index_not_negative"),
    CheckConstraint("state NOT IN ('canceled', 'ended', 'paused') OR due_at IS NULL", name="nothing_due_when_stopped"),
    Index(
        "billing_subscription_due_idx",
        "due_at",
        "id",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "billing_subscription_one_per_request",
        "request_key",
        unique=True,
        postgresql_where=text("request_key IS NOT NULL"),
        sqlite_where=text("request_key IS NOT NULL"),
    ),
    Index("billing_subscription_customer_idx", "customer_id"),
    Index("billing_subscription_price_idx", "price_id"),
)

invoice = Table(
    "billing_invoice",
    metadata,
    Column("id", ID, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("customer_id", ID, nullable=False),  # the subscription's, which the foreign key below vouches for
    Column("subscription_id", ID, ForeignKey(subscription.c.id), nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("purpose", String(10), nullable=False),
    Column("period_index", Integer, nullable=False),
    Column("period_start", Instant, nullable=False),
    Column("period_end", Instant, nullable=False),
    Column("uid_stem", UID, nullable=False, unique=True),
    Column("state", String(13), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("tax_free", BigInteger, nullable=False),
    Column("vat", BigInteger, nullable=False),
    Column("order_name", String(40), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("moved_at", Instant, nullable=False),
    Column("next_attempt_at", Instant),
    Column("collection", String(10), nullable=False),
    Column("declines", Integer, nullable=False, server_default="0"),
    Column("attempts_planned", Integer, nullable=False, server_default="0"),
    Column("first_failed_at", Instant),
    UniqueConstraint("subscription_id", "purpose", "period_index"),
    _one_of("state", InvoiceState),
    _one_of("collection", Collection),
    CheckConstraint("total >= 0 AND tax_free BETWEEN 0 AND total AND vat BETWEEN 0 AND total", name="amounts"),
    CheckConstraint("state = 'open' OR next_attempt_at IS NULL", name="only_open_ones_are_tried"),
    CheckConstraint("attempts_planned BETWEEN 0 AND 16", name="name_space"),
    Index(
        "billing_invoice_due_idx",
        "next_attempt_at",
        "id",
        postgresql_where=text("next_attempt_at IS NOT NULL"),
        sqlite_where=text("next_attempt_at IS NOT NULL"),
    ),
    Index("billing_invoice_customer_idx", "customer_id"),
)

invoice_line = Table(
    "billing_invoice_line",
    metadata,
    Column("invoice_id", ID, ForeignKey(invoice.c.id), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(12), nullable=False),
    Column("description", String(100), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_amount", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("is_tax_free", Boolean, nullable=False),
    Column("vat", BigInteger, nullable=False),
    Column("price_id", ID, nullable=False),  # prices are never deleted or edited
    Column("period_start", Instant),
    Column("period_end", Instant),
    Column("part_days", Integer, nullable=False),
    Column("natural_days", Integer, nullable=False),
    CheckConstraint("part_days BETWEEN 1 AND natural_days", name="part_of_a_period"),
)

attempt = Table(
    "billing_attempt",
    metadata,
    Column("id", ID, primary_key=True),
    Column("invoice_id", ID, ForeignKey(invoice.c.id), nullable=False),
    # Copies of the invoice's, immutable like it; a foreign key each would be checked on every renewal for nothing.
    Column("subscription_id", ID, nullable=False),
    Column("customer_id", ID, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("merchant_uid", UID, nullable=False, unique=True),
    Column("customer_uid", String(80), nullable=False),
    Column("way", String(12), nullable=False),
    Column("trigger", String(9), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_free", BigInteger, nullable=False),
    Column("vat", BigInteger, nullable=False),
    Column("order_name", String(40), nullable=False),
    Column("buyer_name", String(16), nullable=False),
    Column("buyer_email", String(64), nullable=False),
    Column("buyer_tel", String(16), nullable=False),
    Column("state", String(8), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("wire_count", Integer, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("wake_at", Instant),
    Column("token_fp", String(64)),
    Column("sent_at", Instant),
    Column("first_negative_at", Instant),
    Column("superseded_at", Instant),
    Column("refusal", Text),
    Column("hint_imp_uid", String(64)),
    Column("imp_uid", String(64)),
    Column("fail_code", String(40)),
    Column("fail_reason", Text),
    Column("fail_class", String(20)),
    Column("created_at", Instant, nullable=False),
    Column("moved_at", Instant, nullable=False),
    UniqueConstraint("invoice_id", "seq"),
    _one_of("state", AttemptState),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("length(merchant_uid) BETWEEN 12 AND 40", name="merchant_uid_length"),
    CheckConstraint("seq BETWEEN 1 AND 16", name="seq_range"),
    CheckConstraint("state NOT IN ('paid', 'surplus', 'mismatch') OR imp_uid IS NOT NULL", name="money_has_imp_uid"),
    CheckConstraint("state <> 'sending' OR (token_fp IS NOT NULL AND wake_at IS NOT NULL)", name="armed_means_leased"),
    Index(
        "billing_attempt_one_live",
        "invoice_id",
        unique=True,
        postgresql_where=text(f"state IN ({_LIVE_SQL})"),
        sqlite_where=text(f"state IN ({_LIVE_SQL})"),
    ),
    Index(
        "billing_attempt_one_paid",
        "invoice_id",
        unique=True,
        postgresql_where=text("state = 'paid'"),
        sqlite_where=text("state = 'paid'"),
    ),
    Index(
        "billing_attempt_one_imp_uid",
        "imp_uid",
        unique=True,
        postgresql_where=text("imp_uid IS NOT NULL"),
        sqlite_where=text("imp_uid IS NOT NULL"),
    ),
    Index(
        "billing_attempt_wake_idx",
        "wake_at",
        "id",
        postgresql_where=text("wake_at IS NOT NULL"),
        sqlite_where=text("wake_at IS NOT NULL"),
    ),
)

charge_day = Table(
    "billing_charge_day",
    metadata,
    Column("subscription_id", ID, ForeignKey(subscription.c.id), primary_key=True),
    Column("local_day", Date, primary_key=True),
    Column("attempt_id", ID, nullable=False),
)

payment = Table(
    "billing_payment",
    metadata,
    Column("imp_uid", String(64), primary_key=True),
    Column("attempt_id", ID, ForeignKey(attempt.c.id), nullable=False),
    Column("invoice_id", ID, ForeignKey(invoice.c.id), nullable=False),
    Column("merchant_uid", UID, nullable=False),
    Column("role", String(8), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("refunded", BigInteger, nullable=False, server_default="0"),
    Column("refund_reserved", BigInteger, nullable=False, server_default="0"),
    Column("pg_provider", String(40), nullable=False),
    Column("pg_tid", String(64), nullable=False),
    Column("card_name", String(40), nullable=False),
    Column("receipt_url", Text, nullable=False),
    Column("paid_at", Instant),
    Column("booked_at", Instant, nullable=False),
    CheckConstraint("role IN ('invoice', 'mismatch', 'surplus')", name="role_known"),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("refunded >= 0 AND refund_reserved >= 0 AND refunded + refund_reserved <= amount", name="not_over_refunded"),
    Index(
        "billing_payment_one_per_invoice",
        "invoice_id",
        unique=True,
        postgresql_where=text("role = 'invoice'"),
        sqlite_where=text("role = 'invoice'"),
    ),
    Index("billing_payment_attempt_idx", "attempt_id"),
    Index("billing_payment_booked_idx", "booked_at"),
)

refund = Table(
    "billing_refund",
    metadata,
    Column("id", ID, primary_key=True),
    Column("imp_uid", String(64), ForeignKey(payment.c.imp_uid), nullable=False),
    Column("invoice_id", ID, nullable=False),  # the payment's
    Column("request_key", String(120), nullable=False, unique=True),
    Column("origin", String(8), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_free", BigInteger, nullable=False, server_default="0"),
    Column("vat", BigInteger, nullable=False, server_default="0"),
    Column("checksum", BigInteger),
    Column("state", String(8), nullable=False),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("wire_count", Integer, nullable=False, server_default="0"),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("wake_at", Instant),
    Column("sent_at", Instant),
    Column("refusal", Text),
    Column("cancellation_id", String(64)),
    Column("created_at", Instant, nullable=False),
    Column("moved_at", Instant, nullable=False),
    _one_of("state", RefundState),
    CheckConstraint("origin IN ('operator', 'pg', 'surplus')", name="origin_known"),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("tax_free BETWEEN 0 AND amount AND vat BETWEEN 0 AND amount", name="amounts"),
    CheckConstraint("checksum IS NULL OR checksum >= amount", name="checksum_covers_amount"),
    CheckConstraint("state NOT IN ('sending', 'unknown') OR checksum IS NOT NULL", name="armed_means_checked"),
    Index("billing_refund_payment_idx", "imp_uid"),
    # Several may be planned; at most one of a payment is on the wire, because each moves the balance the next one names.
    Index(
        "billing_refund_one_in_flight",
        "imp_uid",
        unique=True,
        postgresql_where=text("state IN ('sending', 'unknown')"),
        sqlite_where=text("state IN ('sending', 'unknown')"),
    ),
    Index(
        "billing_refund_one_cancellation",
        "cancellation_id",
        unique=True,
        postgresql_where=text("cancellation_id IS NOT NULL"),
        sqlite_where=text("cancellation_id IS NOT NULL"),
    ),
    Index(
        "billing_refund_wake_idx",
        "wake_at",
        "id",
        postgresql_where=text("wake_at IS NOT NULL"),
        sqlite_where=text("wake_at IS NOT NULL"),
    ),
)

virtual_account = Table(
    "billing_virtual_account",
    metadata,
    Column("imp_uid", String(64), primary_key=True),
    Column("attempt_id", ID, ForeignKey(attempt.c.id), nullable=False),
    Column("invoice_id", ID, ForeignKey(invoice.c.id), nullable=False),
    Column("bank_code", String(8), nullable=False),
    Column("bank_name", String(40), nullable=False),
    Column("number", String(32), nullable=False),
    Column("holder", String(40), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("due_at", Instant),
    Column("issued_at", Instant, nullable=False),
    CheckConstraint("amount > 0", name="amount_positive"),
    Index("billing_virtual_account_invoice_idx", "invoice_id"),
    Index("billing_virtual_account_attempt_idx", "attempt_id"),
)

checkout = Table(
    "billing_checkout",
    metadata,
    Column("id", ID, primary_key=True),
    Column("purpose", String(7), nullable=False),
    Column("customer_id", ID, ForeignKey(customer.c.id), nullable=False),
    Column("invoice_id", ID, ForeignKey(invoice.c.id)),
    Column("pay_methods", String(200), nullable=False),
    Column("language", String(2), nullable=False),
    Column("return_url", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("state", String(4), nullable=False),
    Column("merchant_uid", UID),
    Column("customer_uid", String(80)),
    Column("openings", Integer, nullable=False, server_default="0"),
    Column("opened_at", Instant),
    Column("done_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    _one_of("purpose", CheckoutPurpose),
    _one_of("state", CheckoutState),
    CheckConstraint("purpose = 'card' OR invoice_id IS NOT NULL", name="pays_something"),
    CheckConstraint("expires_at > created_at", name="lasts"),
    Index("billing_checkout_customer_idx", "customer_id"),
    Index("billing_checkout_merchant_uid_idx", "merchant_uid"),
    Index("billing_checkout_customer_uid_idx", "customer_uid"),
)

ledger_transfer = Table(
    "billing_ledger_transfer",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("ref", String(64), nullable=False),
    Column("debit", String(40), nullable=False),
    Column("credit", String(40), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("booked_at", Instant, nullable=False),
    UniqueConstraint("kind", "ref"),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("debit <> credit", name="two_accounts"),
)

outbox_event = Table(
    "billing_outbox_event",
    metadata,
    Column("id", ID, primary_key=True),
    Column("key", String(120), nullable=False, unique=True),
    Column("topic", String(40), nullable=False),
    Column("customer_id", ID, nullable=False),
    Column("subscription_id", ID),
    Column("version", Integer, nullable=False),
    Column("payload", Text, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    Index(
        "billing_outbox_event_pending_idx",
        "id",
        postgresql_where=text("delivered_at IS NULL"),
        sqlite_where=text("delivered_at IS NULL"),
    ),
    Index("billing_outbox_event_subscription_idx", "subscription_id"),
)

webhook_inbox = Table(
    "billing_webhook_inbox",
    metadata,
    Column("id", ID, primary_key=True),
    Column("dedupe_key", String(200), nullable=False, unique=True),
    Column("imp_uid", String(64), nullable=False),
    Column("merchant_uid", UID, nullable=False),
    Column("status", String(20), nullable=False),
    Column("source_ip", String(45), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("last_received_at", Instant, nullable=False),
    Column("times_received", Integer, nullable=False, server_default="1"),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("wake_at", Instant),
    Column("settled_at", Instant),
    Column("outcome", String(40)),
    Index(
        "billing_webhook_inbox_wake_idx",
        "wake_at",
        "id",
        postgresql_where=text("wake_at IS NOT NULL"),
        sqlite_where=text("wake_at IS NOT NULL"),
    ),
    Index("billing_webhook_inbox_imp_uid_idx", "imp_uid"),
)

reconciliation = Table(
    "billing_reconciliation",
    metadata,
    Column("id", ID, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant, nullable=False),
    Column("payments", Integer, nullable=False),
    Column("settled", Integer, nullable=False),
    Column("findings", Integer, nullable=False),
    Index("billing_reconciliation_until_idx", "until"),
)

finding = Table(
    "billing_finding",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String(24), nullable=False),
    Column("ref", String(80), nullable=False),
    Column("imp_uid", String(64), nullable=False),
    Column("merchant_uid", String(80), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("details", Text, nullable=False),
    Column("found_at", Instant, nullable=False),
    Column("explained_at", Instant),
    Column("explained_by", String(200)),
    Column("explanation", Text),
    UniqueConstraint("kind", "ref"),
    Index(
        "billing_finding_unexplained_idx",
        "kind",
        "id",
        postgresql_where=text("explained_at IS NULL"),
        sqlite_where=text("explained_at IS NULL"),
    ),
)

audit = Table(
    "billing_audit",
    metadata,
    Column("id", ID, primary_key=True),
    Column("subscription_id", ID),
    Column("actor", String(200), nullable=False),
    Column("action", String(60), nullable=False),
    Column("subject", String(120), nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Index("billing_audit_subscription_idx", "subscription_id"),
)
