"""Subscriptions by the hundred thousand, in the engine's own schema, as SQL makes them.

The database is founded by `Billing.init()` like any other. Then the rows of customers, current billing keys
and active subscriptions come from `generate_series`, equal in every column to what the engine would have
written, with triggers and foreign keys resting meanwhile (the only privilege a benchmark takes).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg

from bench.fakepg import KEY, SECRET
from billing.app import Billing
from billing.settings import Mode, Settings
from billing.store.audit import CHAIN_START
from plans.files import parse_plan

AMOUNT = 9900
ZONE = "Asia/Seoul"
PLAN = """
[plan]
code = "pro"
name = "Pro"

[[plan.prices]]
code = "pro-monthly"
amount = 9900
currency = "KRW"
every = "1 month"
"""


def settings(database: str, gateway: str, *, concurrency: int = 32) -> Settings:
    """Settings of a measured engine: test mode against the fake, open around the clock."""
    return Settings.from_env(
        _env_file=None,
        mode=Mode.TEST,
        database_url=database,
        gateway_url=gateway,
        imp_key=KEY,
        imp_secret=SECRET,
        instance_secret="the secret of the machine that is measured",
        charge_hours="00:00-24:00",
        time_zone=ZONE,
        concurrency=concurrency,
    )


def found(database: str, gateway: str) -> None:
    """Migrate, create the identity, put the plan on sale."""
    with Billing(settings(database, gateway), actor="bench") as app:
        app.init()
        app.plans.apply(parse_plan(PLAN, "bench"), actor="bench")


# Ids are shaped like ours (UUIDv7: sorted by age), and derived from a running number so that they are distinct.
# One expression without FROM, so that PostgreSQL writes it into the query instead of calling it ten million times.
_FUNCTIONS = """
CREATE FUNCTION pg_temp.bench_id(kind int, n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT '019a' || substr(lpad(to_hex(n), 8, '0'), 1, 4) || '-' || substr(lpad(to_hex(n), 8, '0'), 5, 4) || '-7'
        || to_hex(256 + kind) || '-8' || substr(md5(kind || '|' || n), 1, 3) || '-' || substr(md5(kind || '|' || n), 4, 12)
$$;
CREATE FUNCTION pg_temp.bench_bucket(id text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT get_byte(sha256(convert_to(id, 'UTF8')), 0)
$$
"""

_CUSTOMERS = """
INSERT INTO billing_customer (id, external_id, name, email, tel, time_zone, bucket, created_at)
SELECT id, 'user-' || n, '고객 ' || n, 'user-' || n || '@example.com', '010-0000-0000', %(zone)s,
    pg_temp.bench_bucket(id), %(made)s
FROM (SELECT n, pg_temp.bench_id(1, n) AS id FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n) AS people
"""

_KEYS = """
INSERT INTO billing_key
    (id, customer_id, customer_uid, state, pg_provider, pg_id, card_name, card_number, card_type, created_at, confirmed_at)
SELECT pg_temp.bench_id(2, n), pg_temp.bench_id(1, n), 'gdc' || substr(md5('key' || n), 1, 24) || '01', 'current',
    'html5_inicis', 'INIBillTst', '신한카드', '429420*********4', 0, %(made)s, %(made)s
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""

# The second period has begun today at midnight (`wait` 0) or will within a month. A month before a
# local day is counted as the engine counts, clamped in short months.
_SUBSCRIPTIONS = """
INSERT INTO billing_subscription
    (id, customer_id, price_id, bucket, quantity, state, time_zone, start_on, first_on, anchor_on, interval_count, interval_unit,
     next_index, due_at, period_index, period_start, period_end, cancel_at_end, version, audit_head, created_at)
SELECT pg_temp.bench_id(3, n), customer_id, (SELECT id FROM billing_price WHERE is_current), pg_temp.bench_bucket(customer_id), 1,
    'active', %(zone)s, anchor, anchor, anchor, 1, 'month', 1, next_on::timestamp AT TIME ZONE %(zone)s, 0,
    anchor::timestamp AT TIME ZONE %(zone)s, next_on::timestamp AT TIME ZONE %(zone)s, false, 1, %(head)s, %(made)s
FROM (SELECT n, customer_id, anchor, (anchor + interval '1 month')::date AS next_on FROM
    (SELECT n, pg_temp.bench_id(1, n) AS customer_id,
        ((now() AT TIME ZONE %(zone)s)::date - interval '1 month')::date
        + (CASE WHEN %(due)s THEN 0 ELSE 4 + n %% 24 END)::int AS anchor
     FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n) AS ages) AS ages
"""

# One invoice each: due now, waiting for a later retry (one in fifty), or over. Those over are void,
# because a paid one would need its payment; to the index of due ones they are the same.
_INVOICES = """
INSERT INTO billing_invoice
    (id, number, customer_id, subscription_id, bucket, purpose, period_index, period_start, period_end, uid_stem, state, currency,
     total, tax_free, vat, order_name, opened_at, moved_at, next_attempt_at, collection)
SELECT pg_temp.bench_id(4, n), n, customer_id, subscription_id, bucket, 'period', 0, period_start, period_end,
    'gd' || substr(md5('stem' || n), 1, 26), CASE WHEN retry_at IS NULL THEN 'void' ELSE 'open' END, 'KRW', 9900, 0, 900, 'Pro',
    period_start, period_start, retry_at, 'charge'
FROM (SELECT n, s.id AS subscription_id, s.customer_id, s.bucket, s.period_start, s.period_end,
        CASE WHEN %(due)s THEN now() - interval '1 hour'
            WHEN n %% 50 = 0 THEN now() + (1 + n %% 100) * interval '1 hour' END AS retry_at
     FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n JOIN billing_subscription s ON s.id = pg_temp.bench_id(3, n)
    ) AS lives
"""


def populate(database: str, first: int, last: int, *, due: bool, with_invoices: bool = False) -> None:
    """Make subscribers number `first` to `last`, all due now or all due later, and refresh the planner's statistics.

    With invoices they have one each but no billing key, which no claim reads.
    """
    statements = (_CUSTOMERS, _SUBSCRIPTIONS, _INVOICES if with_invoices else _KEYS)
    middle = (first + last) // 2
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda part: _insert(database, statements, *part, due), [(first, middle), (middle + 1, last)]))
    with psycopg.connect(database, autocommit=True) as connection:
        # A shop that has subscribers has numbered invoices before.
        connection.execute(
            "INSERT INTO billing_counter VALUES ('invoice', %(last)s) ON CONFLICT (name) DO UPDATE SET value = %(last)s",
            {"last": last},
        )
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _insert(database: str, statements: Sequence[str], first: int, last: int, due: bool) -> None:
    given = {"first": first, "last": last, "due": due, "zone": ZONE, "head": CHAIN_START, "made": "2026-01-02T03:04:05Z"}
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for function in _FUNCTIONS.split(";\n"):
            connection.execute(function)
        for statement in statements:
            connection.execute(statement, given)


@dataclass(frozen=True, slots=True)
class Books:
    """What the engine's books say after a run."""

    paid_subscriptions: int
    payments: int
    amount: int
    undecided: int
    still_due: int


def books(database: str) -> Books:
    """Count, by plain SQL past the engine, who paid."""
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT (SELECT count(DISTINCT subscription_id) FROM billing_invoice WHERE state = 'paid'),"
            " (SELECT count(*) FROM billing_payment WHERE role = 'invoice'),"
            " (SELECT coalesce(sum(amount), 0) FROM billing_payment),"
            " (SELECT count(*) FROM billing_attempt WHERE state <> 'paid'),"
            " (SELECT count(*) FROM billing_subscription WHERE due_at <= now())"
            " + (SELECT count(*) FROM billing_invoice WHERE next_attempt_at <= now())"
        ).fetchone()
    assert row is not None
    return Books(*(int(value) for value in row))
