"""Where Alembic enters: on the connection `billing.store.migrate` hands over, or on BILLING_DATABASE_URL.

The second is for developers who call `alembic` itself (`revision --autogenerate`). Both use the same
options, so both see our `billing_` tables alone and keep our own version table.
"""

from __future__ import annotations

import os

from alembic import context

from billing.store.engine import create_engine_for
from billing.store.migrate import options

connection = context.config.attributes.get("connection")
if connection is not None:
    context.configure(connection=connection, **options())
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine_for(os.environ.get("BILLING_DATABASE_URL", "sqlite:///billing.db"))
    with engine.connect() as own:
        context.configure(connection=own, **options())
        with context.begin_transaction():
            context.run_migrations()
