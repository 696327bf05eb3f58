"""Hands that do not belong to the engine: a clumsy script, an old release, a restored dump, a bug.

Each tries by plain SQL what the database must refuse, and names the guards that refuse it. With them in place nothing
happens; with them switched off it goes through, and the checker must see it. That is how the guards of the database
show what they are for.
"""

from __future__ import annotations

import sqlite3
from random import Random
from typing import NamedTuple

from billing.store.tables import metadata


class Hand(NamedTuple):
    """One forbidden deed.

    `victims` finds the keys of rows it can be done to, `deed` does it to `:victim`; `:new` is a fresh name.
    All of `guards` must be off before it goes through.
    """

    guards: tuple[str, ...]
    name: str
    victims: str
    deed: str

    def tries(self, db: sqlite3.Connection, random: Random) -> str:
        """Do it to somebody: `refused`, `went through`, or `found nobody`."""
        rows = db.execute(self.victims).fetchall()
        if not rows:
            return "found nobody"
        victim = random.choice(rows)[0]
        db.execute("BEGIN IMMEDIATE")
        try:
            touched = db.execute(self.deed, {"victim": victim, "new": f"{random.getrandbits(96):024x}"}).rowcount
        except sqlite3.IntegrityError:
            db.execute("ROLLBACK")
            return "refused"
        db.execute("COMMIT")
        return "went through" if touched else "found nobody"


def _copied(table: str, **changes: str) -> str:
    """An INSERT of a copy of the row `:victim` of `table` with some columns changed."""
    columns = {str(column.name): f'"{column.name}"' for column in metadata.tables[f"billing_{table}"].c}
    names, values = ", ".join(columns.values()), ", ".join({**columns, **changes}.values())
    return f"INSERT INTO billing_{table} ({names}) SELECT {values} FROM billing_{table} WHERE rowid = :victim"


def _changed(table: str, change: str) -> str:
    return f"UPDATE billing_{table} SET {change} WHERE rowid = :victim"


def _deleted(table: str) -> str:
    return f"DELETE FROM billing_{table} WHERE rowid = :victim"


def _rows(table: str, condition: str = "true") -> str:
    return f"SELECT rowid FROM billing_{table} t WHERE {condition} ORDER BY rowid"


_UNUSED = "NOT EXISTS (SELECT 1 FROM billing_payment p WHERE p.attempt_id = t.id)"
_NO_LIVE = (
    "NOT EXISTS (SELECT 1 FROM billing_attempt a WHERE a.invoice_id = t.invoice_id"
    " AND a.state IN ('planned', 'sending', 'unknown', 'mismatch'))"
)
_NO_PAID = "NOT EXISTS (SELECT 1 FROM billing_attempt a WHERE a.invoice_id = t.invoice_id AND a.state = 'paid')"
_REGISTERED = "EXISTS (SELECT 1 FROM billing_key k WHERE k.customer_uid = t.customer_uid AND k.confirmed_at IS NOT NULL)"
_STEM = "substr(merchant_uid, 1, length(merchant_uid) - 3)"
_FRESH_ATTEMPT = {
    "id": ":new", "seq": "15", "merchant_uid": f"{_STEM} || 'a15'", "state": "'planned'", "wake_at": "NULL", "imp_uid": "NULL",
}  # fmt: skip
_FRESH_INVOICE = {
    "id": ":new", "number": "number + 100000", "period_index": "period_index + 1000", "uid_stem": ":new || 'stem'",
    "state": "'void'", "next_attempt_at": "NULL",
}  # fmt: skip
_FRESH_REFUND = {"id": ":new", "request_key": ":new", "state": "'planned'", "cancellation_id": "NULL", "checksum": "NULL"}
_A_REFUND = (
    "INSERT INTO billing_refund (id, imp_uid, invoice_id, request_key, origin, actor, reason, amount, currency, state,"
    " created_at, moved_at, {more}) SELECT :new, imp_uid, invoice_id, :new, {origin}, 'hand', 'none', {amount}, currency,"
    " {state}, booked_at, booked_at, {values} FROM billing_payment WHERE rowid = :victim"
)


def _refund(
    *, amount: str = "1", state: str = "'planned'", origin: str = "'operator'", more: str = "vat", values: str = "0"
) -> str:
    return _A_REFUND.format(amount=amount, state=state, origin=origin, more=more, values=values)


def _hand(guards: str, name: str, victims: str, deed: str) -> Hand:
    return Hand(tuple(f"billing_{guard}" for guard in guards.split()), name, victims, deed)


_UNREFUNDED = "refunded = 0 AND refund_reserved = 0"

HANDS: tuple[Hand, ...] = (
    # attempts
    _hand(
        "attempt_one_live",
        "plans a second attempt beside a live one",
        _rows("attempt", "state IN ('planned', 'sending', 'unknown', 'mismatch')"),
        _copied("attempt", **_FRESH_ATTEMPT),
    ),
    _hand(
        "attempt_one_paid",
        "marks a second attempt paid",
        _rows("attempt", f"state IN ('declined', 'void', 'rejected') AND NOT {_NO_PAID}"),
        _changed("attempt", "state = 'paid', imp_uid = :new"),
    ),
    _hand(
        "attempt_one_imp_uid",
        "claims another attempt's payment",
        # Only what some attempt names: a surplus has no attempt of its own, and the index does not miss it.
        _rows("attempt", "imp_uid IS NULL AND EXISTS (SELECT 1 FROM billing_attempt o WHERE o.imp_uid IS NOT NULL)"),
        _changed("attempt", "imp_uid = (SELECT min(imp_uid) FROM billing_attempt)"),
    ),
    _hand(
        "attempt_starts",
        "begins an attempt as paid",
        _rows("attempt", _NO_PAID),
        _copied("attempt", **_FRESH_ATTEMPT | {"state": "'paid'", "imp_uid": ":new"}),
    ),
    _hand(
        "attempt_arrows", "takes a payment back", _rows("attempt", "state = 'paid'"), _changed("attempt", "state = 'declined'")
    ),
    _hand(
        "attempt_arrows",
        "revives a declined attempt",
        _rows("attempt", f"state = 'declined' AND {_NO_LIVE}"),
        _changed("attempt", "state = 'planned'"),
    ),
    _hand("attempt_fixed", "edits an amount", _rows("attempt"), _changed("attempt", "amount = amount + 1")),
    _hand("attempt_fixed", "charges another card", _rows("attempt"), _changed("attempt", "customer_uid = :new")),
    _hand(
        "attempt_imp_uid_stays", "swaps a payment", _rows("attempt", "imp_uid IS NOT NULL"), _changed("attempt", "imp_uid = :new")
    ),
    _hand("attempt_fence_grows", "turns a fence back", _rows("attempt", "fence > 0"), _changed("attempt", "fence = fence - 1")),
    _hand(
        "attempt_wire_count_grows",
        "unsends a request",
        _rows("attempt", "wire_count > 0"),
        _changed("attempt", "wire_count = wire_count - 1"),
    ),
    _hand("attempt_kept", "deletes an attempt", _rows("attempt", _UNUSED), _deleted("attempt")),
    _hand(
        "attempt_merchant_uid_key",
        "gives an order number twice",
        _rows("attempt", _NO_LIVE),
        _copied("attempt", **_FRESH_ATTEMPT | {"merchant_uid": "merchant_uid"}),
    ),
    _hand(
        "attempt_invoice_id_seq_key",
        "counts two attempts as one",
        _rows("attempt", _NO_LIVE),
        _copied("attempt", **_FRESH_ATTEMPT | {"seq": "seq"}),
    ),
    _hand(
        "attempt_pkey",
        "gives an attempt's id twice",
        _rows("attempt", _NO_LIVE),
        _copied("attempt", **_FRESH_ATTEMPT | {"id": "id"}),
    ),
    _hand(
        "attempt_amount_positive_check",
        "asks for nothing",
        _rows("attempt", _NO_LIVE),
        _copied("attempt", **_FRESH_ATTEMPT | {"amount": "0"}),
    ),
    _hand(
        "attempt_merchant_uid_length_check",
        "uses a short order number",
        _rows("attempt", _NO_LIVE),
        _copied("attempt", **_FRESH_ATTEMPT | {"merchant_uid": "'a15'"}),
    ),
    _hand(
        "attempt_seq_range_check",
        "leaves the name space",
        _rows("attempt", _NO_LIVE),
        _copied("attempt", **_FRESH_ATTEMPT | {"seq": "17", "merchant_uid": f"{_STEM} || 'a17'"}),
    ),
    _hand("attempt_state_known_check attempt_arrows", "invents a state", _rows("attempt"), _changed("attempt", "state = 'lost'")),
    _hand(
        "attempt_money_has_imp_uid_check",
        "books money without a payment",
        _rows("attempt", "state IN ('declined', 'void', 'rejected') AND imp_uid IS NULL"),
        _changed("attempt", "state = 'surplus'"),
    ),
    _hand(
        "attempt_armed_means_leased_check",
        "arms without a lease",
        _rows("attempt", "state IN ('planned', 'unknown')"),
        _changed("attempt", "state = 'sending', wake_at = NULL"),
    ),
    # invoices
    _hand(
        "invoice_arrows", "opens a paid invoice again", _rows("invoice", "state = 'paid'"), _changed("invoice", "state = 'open'")
    ),
    _hand("invoice_fixed", "edits a total", _rows("invoice"), _changed("invoice", "total = total + 100")),
    _hand("invoice_line_kept", "deletes a line of an invoice", _rows("invoice_line"), _deleted("invoice_line")),
    _hand(
        "invoice_subscription_id_purpose_period_index_key",
        "bills a period twice",
        _rows("invoice"),
        _copied("invoice", **_FRESH_INVOICE | {"period_index": "period_index"}),
    ),
    _hand(
        "invoice_number_key",
        "numbers two invoices alike",
        _rows("invoice"),
        _copied("invoice", **_FRESH_INVOICE | {"number": "number"}),
    ),
    _hand(
        "invoice_uid_stem_key",
        "shares order numbers between invoices",
        _rows("invoice"),
        _copied("invoice", **_FRESH_INVOICE | {"uid_stem": "uid_stem"}),
    ),
    _hand("invoice_pkey", "gives an invoice's id twice", _rows("invoice"), _copied("invoice", **_FRESH_INVOICE | {"id": "id"})),
    _hand(
        "invoice_amounts_check",
        "bills a negative total",
        _rows("invoice"),
        _copied("invoice", **_FRESH_INVOICE | {"total": "-5"}),
    ),
    _hand(
        "invoice_state_known_check",
        "invents a state of an invoice",
        _rows("invoice"),
        _copied("invoice", **_FRESH_INVOICE | {"state": "'lost'"}),
    ),
    _hand(
        "invoice_collection_known_check", "invents a way to collect", _rows("invoice"), _changed("invoice", "collection = 'pray'")
    ),
    _hand(
        "invoice_name_space_check", "plans a seventeenth attempt", _rows("invoice"), _changed("invoice", "attempts_planned = 17")
    ),
    _hand(
        "invoice_only_open_ones_are_tried_check",
        "tries a settled invoice",
        _rows("invoice", "state IN ('paid', 'void')"),
        _changed("invoice", "next_attempt_at = opened_at"),
    ),
    _hand("invoice_line_fixed", "edits a line", _rows("invoice_line"), _changed("invoice_line", "amount = amount + 1")),
    _hand("invoice_line_pkey", "writes a line twice", _rows("invoice_line"), _copied("invoice_line")),
    _hand(
        "invoice_line_part_of_a_period_check",
        "bills no day",
        _rows("invoice_line"),
        _copied("invoice_line", position="position + 50", amount="0", vat="0", part_days="0"),
    ),
    # payments
    _hand(
        "payment_one_per_invoice",
        "pays an invoice twice",
        _rows("payment", "role = 'invoice'"),
        _copied("payment", imp_uid=":new", refunded="0", refund_reserved="0"),
    ),
    _hand(
        "payment_pkey",
        "books a payment twice",
        _rows("payment", "role = 'invoice'"),
        _copied("payment", role="'surplus'", refunded="0", refund_reserved="0"),
    ),
    _hand(
        "payment_amount_positive_check",
        "books a payment of nothing",
        _rows("payment"),
        _copied("payment", imp_uid=":new", role="'surplus'", amount="0", refunded="0", refund_reserved="0"),
    ),
    _hand(
        "payment_role_known_check",
        "invents a role",
        _rows("payment"),
        _copied("payment", imp_uid=":new", role="'gift'", refunded="0", refund_reserved="0"),
    ),
    _hand(
        "payment_starts",
        "begins a payment as refunded",
        _rows("payment"),
        _copied("payment", imp_uid=":new", role="'surplus'", refunded="1", refund_reserved="0"),
    ),
    _hand(
        "payment_arrows",
        "turns income into surplus",
        _rows("payment", "role = 'invoice'"),
        _changed("payment", "role = 'surplus'"),
    ),
    _hand("payment_fixed", "edits a payment", _rows("payment"), _changed("payment", "amount = amount + 1")),
    _hand(
        "payment_kept",
        "deletes a payment",
        _rows("payment", "NOT EXISTS (SELECT 1 FROM billing_refund r WHERE r.imp_uid = t.imp_uid)"),
        _deleted("payment"),
    ),
    _hand("payment_figures", "writes a refund by hand", _rows("payment", _UNREFUNDED), _changed("payment", "refunded = 1")),
    # refunds
    _hand("payment_not_over_refunded_check", "gives back more than was paid", _rows("payment"), _refund(amount="amount + 1")),
    _hand("refund_amount_positive_check", "gives back nothing", _rows("payment"), _refund(amount="0")),
    _hand("refund_amounts_check", "gives back more tax than money", _rows("payment", _UNREFUNDED), _refund(values="2")),
    _hand(
        "refund_checksum_covers_amount_check",
        "names a balance too small",
        _rows("payment", _UNREFUNDED),
        _refund(more="checksum", values="0"),
    ),
    _hand("refund_origin_known_check", "invents an origin", _rows("payment", _UNREFUNDED), _refund(origin="'heaven'")),
    _hand("refund_starts", "begins a refund as done", _rows("payment", _UNREFUNDED), _refund(state="'done'")),
    _hand(
        "refund_state_known_check refund_starts",
        "begins a refund as lost",
        _rows("payment", _UNREFUNDED),
        _refund(state="'lost'"),
    ),
    _hand("refund_arrows", "takes a refund back", _rows("refund", "state = 'done'"), _changed("refund", "state = 'refused'")),
    _hand("refund_fixed", "edits a refund", _rows("refund"), _changed("refund", "request_key = :new")),
    _hand(
        "refund_fence_grows", "turns a refund's fence back", _rows("refund", "fence > 0"), _changed("refund", "fence = fence - 1")
    ),
    _hand(
        "refund_wire_count_grows",
        "unsends a refund",
        _rows("refund", "wire_count > 0"),
        _changed("refund", "wire_count = wire_count - 1"),
    ),
    _hand(
        "refund_cancellation_id_stays",
        "swaps a cancellation",
        _rows("refund", "cancellation_id IS NOT NULL"),
        _changed("refund", "cancellation_id = :new"),
    ),
    _hand(
        "refund_checksum_stays",
        "asks again under another balance",
        _rows("refund", "state <> 'planned' AND checksum IS NOT NULL"),
        _changed("refund", "checksum = checksum + 1"),
    ),
    _hand(
        "refund_armed_means_checked_check",
        "refunds without a balance",
        _rows(
            "refund",
            "state = 'planned' AND checksum IS NULL AND NOT EXISTS (SELECT 1 FROM billing_refund o"
            " WHERE o.imp_uid = t.imp_uid AND o.state IN ('sending', 'unknown'))",
        ),
        _changed("refund", "state = 'sending'"),
    ),
    _hand("refund_kept", "deletes a refund", _rows("refund"), _deleted("refund")),
    _hand(
        "refund_one_cancellation",
        "explains two refunds by one cancellation",
        _rows("refund", "cancellation_id IS NULL AND (SELECT count(cancellation_id) FROM billing_refund) > 0"),
        _changed("refund", "cancellation_id = (SELECT min(cancellation_id) FROM billing_refund)"),
    ),
    _hand(
        "refund_one_in_flight",
        "sends two refunds of one payment",
        _rows(
            "refund",
            "state = 'planned' AND EXISTS (SELECT 1 FROM billing_refund o WHERE o.imp_uid = t.imp_uid"
            " AND o.state IN ('sending', 'unknown'))",
        ),
        _changed("refund", "state = 'sending', checksum = amount"),
    ),
    _hand(
        "refund_request_key_key",
        "asks for a refund twice",
        _rows("refund"),
        _copied("refund", **_FRESH_REFUND | {"request_key": "request_key", "amount": "1", "vat": "0", "tax_free": "0"}),
    ),
    _hand(
        "refund_pkey",
        "gives a refund's id twice",
        _rows("refund"),
        _copied("refund", **_FRESH_REFUND | {"id": "id", "amount": "1", "vat": "0", "tax_free": "0"}),
    ),
    # the ledger and the trail
    _hand(
        "ledger_transfer_fixed", "edits the ledger", _rows("ledger_transfer"), _changed("ledger_transfer", "amount = amount + 1")
    ),
    _hand("ledger_transfer_kept", "deletes from the ledger", _rows("ledger_transfer"), _deleted("ledger_transfer")),
    _hand(
        "ledger_transfer_amount_positive_check",
        "books nothing",
        _rows("ledger_transfer"),
        _copied("ledger_transfer", id=":new", ref=":new", amount="0"),
    ),
    _hand(
        "ledger_transfer_two_accounts_check",
        "books from an account to itself",
        _rows("ledger_transfer"),
        _copied("ledger_transfer", id=":new", ref=":new", debit="credit"),
    ),
    _hand("ledger_transfer_kind_ref_key", "books twice", _rows("ledger_transfer"), _copied("ledger_transfer", id=":new")),
    _hand(
        "ledger_transfer_pkey", "gives a transfer's id twice", _rows("ledger_transfer"), _copied("ledger_transfer", ref=":new")
    ),
    _hand("audit_fixed", "edits the audit trail", _rows("audit"), _changed("audit", "actor = 'nobody'")),
    _hand("audit_kept", "deletes from the audit trail", _rows("audit"), _deleted("audit")),
    _hand("audit_pkey", "gives an audit entry's id twice", _rows("audit"), _copied("audit")),
    _hand("outbox_event_fixed", "edits an event", _rows("outbox_event"), _changed("outbox_event", "payload = '{}'")),
    _hand("outbox_event_key_key", "tells twice", _rows("outbox_event"), _copied("outbox_event", id=":new")),
    _hand("outbox_event_pkey", "gives an event's id twice", _rows("outbox_event"), _copied("outbox_event", key=":new")),
    _hand("charge_day_fixed", "moves a day", _rows("charge_day"), _changed("charge_day", "local_day = '2020-01-01'")),
    _hand("charge_day_kept", "frees a day", _rows("charge_day"), _deleted("charge_day")),
    _hand("charge_day_pkey", "takes a day twice", _rows("charge_day"), _copied("charge_day", attempt_id=":new")),
    # who pays for what
    _hand("price_fixed", "edits a price", _rows("price"), _changed("price", "amount = amount + 1")),
    _hand(
        "price_kept",
        "deletes a price",
        _rows("price", "NOT EXISTS (SELECT 1 FROM billing_subscription s WHERE s.price_id = t.id)"),
        _deleted("price"),
    ),
    _hand(
        "price_one_current",
        "sells at two prices",
        _rows("price"),
        _copied("price", id=":new", version="version + 50", is_current="1"),
    ),
    _hand("price_code_version_key", "gives a version twice", _rows("price"), _copied("price", id=":new", is_current="0")),
    _hand("price_pkey", "gives a price's id twice", _rows("price"), _copied("price", version="version + 50", is_current="0")),
    _hand(
        "price_amount_not_negative_check",
        "sells below nothing",
        _rows("price"),
        _copied("price", id=":new", version="version + 50", is_current="0", amount="-1"),
    ),
    _hand(
        "price_setup_fee_not_negative_check",
        "pays for setting up",
        _rows("price"),
        _copied("price", id=":new", version="version + 50", is_current="0", setup_fee="-1"),
    ),
    _hand(
        "price_version_positive_check",
        "sells version 0",
        _rows("price"),
        _copied("price", id=":new", version="0", is_current="0"),
    ),
    _hand("plan_code_key", "sells two plans as one", _rows("plan"), _copied("plan", id=":new")),
    _hand("plan_pkey", "gives a plan's id twice", _rows("plan"), _copied("plan", code=":new")),
    _hand("customer_external_id_key", "knows a customer twice", _rows("customer"), _copied("customer", id=":new")),
    _hand("customer_pkey", "gives a customer's id twice", _rows("customer"), _copied("customer", external_id=":new")),
    _hand(
        "customer_bucket_range_check",
        "puts a customer where no worker looks",
        _rows("customer"),
        _changed("customer", "bucket = 999"),
    ),
    _hand(
        "key_one_current",
        "gives a customer two cards",
        _rows("key", "state = 'current'"),
        _copied("key", id=":new", customer_uid=":new"),
    ),
    _hand("key_customer_uid_key", "gives two customers one card", _rows("key"), _copied("key", id=":new", state="'removed'")),
    _hand("key_pkey", "gives a card's id twice", _rows("key"), _copied("key", customer_uid=":new", state="'removed'")),
    _hand(
        "key_state_known_check",
        "invents a state of a card",
        _rows("key"),
        _copied("key", id=":new", customer_uid=":new", state="'lost'"),
    ),
    _hand(
        "subscription_pkey",
        "gives a subscription's id twice",
        _rows("subscription"),
        _copied("subscription", due_at="NULL", request_key="NULL"),
    ),
    _hand(
        "subscription_state_known_check",
        "invents a state of a subscription",
        _rows("subscription", "due_at IS NULL"),
        _changed("subscription", "state = 'asleep'"),
    ),
    _hand(
        "subscription_quantity_positive_check",
        "sells none of it",
        _rows("subscription"),
        _changed("subscription", "quantity = 0"),
    ),
    _hand(
        "subscription_next_index_not_negative_check",
        "bills before the first period",
        _rows("subscription"),
        _changed("subscription", "next_index = -1"),
    ),
    _hand(
        "subscription_nothing_due_when_stopped_check",
        "bills who has stopped",
        _rows("subscription", "state IN ('canceled', 'ended', 'paused')"),
        _changed("subscription", "due_at = created_at"),
    ),
    _hand(
        "subscription_one_per_request",
        "answers one request twice",
        _rows("subscription", "request_key IS NOT NULL"),
        _copied("subscription", id=":new", due_at="NULL", state="'ended'"),
    ),
    # links and accounts
    _hand("checkout_pkey", "gives a link's id twice", _rows("checkout", "state = 'open'"), _copied("checkout")),
    _hand("checkout_fixed", "makes a link last longer", _rows("checkout"), _changed("checkout", "expires_at = '2099-01-01'")),
    _hand(
        "checkout_fixed", "hands a link to another", _rows("checkout"), _changed("checkout", "customer_id = customer_id || '.'")
    ),
    _hand(
        "checkout_lasts_check",
        "makes a link too old",
        _rows("checkout", "state = 'open'"),
        _copied("checkout", id=":new", expires_at="created_at"),
    ),
    _hand(
        "checkout_pays_something_check",
        "makes a link that pays nothing",
        _rows("checkout", "state = 'open'"),
        _copied("checkout", id=":new", purpose="'invoice'", invoice_id="NULL"),
    ),
    _hand(
        "checkout_purpose_known_check",
        "invents a purpose",
        _rows("checkout", "invoice_id IS NOT NULL"),
        _copied("checkout", id=":new", purpose="'gift'"),
    ),
    _hand(
        "checkout_starts",
        "begins a link as used up",
        _rows("checkout", f"NOT {_REGISTERED}"),
        _copied("checkout", id=":new", state="'done'"),
    ),
    _hand(
        "checkout_state_known_check checkout_starts",
        "invents a state of a link",
        _rows("checkout"),
        _copied("checkout", id=":new", state="'lost'"),
    ),
    _hand("checkout_arrows", "uses a link again", _rows("checkout", "state = 'done'"), _changed("checkout", "state = 'open'")),
    _hand("virtual_account_pkey", "issues an account twice", _rows("virtual_account"), _copied("virtual_account")),
    _hand(
        "virtual_account_amount_positive_check",
        "issues an account for nothing",
        _rows("virtual_account"),
        _copied("virtual_account", imp_uid=":new", amount="0"),
    ),
    _hand(
        "virtual_account_fixed",
        "edits an account",
        _rows("virtual_account"),
        _changed("virtual_account", "number = number || '1'"),
    ),
    _hand("virtual_account_kept", "deletes an account", _rows("virtual_account"), _deleted("virtual_account")),
    # who we are, and what switches us off
    _hand("identity_fixed", "takes another name", _rows("identity"), _changed("identity", "uid_prefix = 'zz'")),
    _hand("identity_kept", "deletes the identity", _rows("identity"), _deleted("identity")),
    _hand("identity_single_check", "is two engines", _rows("identity"), _copied("identity", id="2")),
    _hand("identity_pkey", "is one engine twice", _rows("identity"), _copied("identity")),
    _hand("identity_mode_known_check", "invents a mode", _rows("identity"), _changed("identity", "mode = 'toy'")),
    _hand("freeze_single_check", "has two switches", _rows("freeze"), _copied("freeze", id="2")),
    _hand("freeze_pkey", "has one switch twice", _rows("freeze"), _copied("freeze")),
    _hand(
        "test_clock_single_check",
        "has a second clock",
        _rows("identity"),
        "INSERT INTO billing_test_clock (id, at) SELECT 2, created_at FROM billing_identity WHERE rowid = :victim",
    ),
    _hand("counter_pkey", "counts invoices twice", _rows("counter"), _copied("counter")),
    # what others said
    _hand("webhook_inbox_dedupe_key_key", "keeps a notice twice", _rows("webhook_inbox"), _copied("webhook_inbox", id=":new")),
    _hand("webhook_inbox_pkey", "gives a notice's id twice", _rows("webhook_inbox"), _copied("webhook_inbox", dedupe_key=":new")),
    _hand("finding_kind_ref_key", "finds twice", _rows("finding"), _copied("finding", id=":new")),
    _hand("finding_pkey", "gives a finding's id twice", _rows("finding"), _copied("finding", ref=":new")),
    _hand("reconciliation_pkey", "gives a run's id twice", _rows("reconciliation"), _copied("reconciliation")),
)
