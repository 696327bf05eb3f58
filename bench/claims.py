"""How long it takes to claim 500 due rows among ten thousand, a hundred thousand and a million.

The claims are the engine's own statements, `Subscriptions.claim_due` and `Invoices.claim_due`, in a
transaction that is rolled back, repeated on a warm connection; the fastest counts, as noise only ever
adds. The table grows in place, and the 500 due ones stay the same.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event

from bench import world
from billing.app import Billing
from billing.store.unit import Tx

DUE = 500
REPEATS = 21


def run(database: str, sizes: list[int]) -> list[dict[str, Any]]:
    """Grow the tables through `sizes` and time both claims at each."""
    world.found(database, "http://127.0.0.1:9")
    world.populate(database, 1, DUE, due=True, with_invoices=True)
    made = DUE
    found: list[dict[str, Any]] = []
    with Billing(world.settings(database, "http://127.0.0.1:9"), actor="bench") as app:
        for size in sizes:
            began = time.perf_counter()
            world.populate(database, made + 1, size, due=False, with_invoices=True)
            loaded = time.perf_counter() - began
            made = size
            subscriptions = _least_ms(app, lambda tx: tx.subscriptions.claim_due)
            invoices = _least_ms(app, lambda tx: tx.invoices.claim_due)
            found.append({"size": size, "subscriptions": subscriptions, "invoices": invoices, "loaded_s": round(loaded, 1)})
    return found


def _least_ms(app: Billing, claim_of: Callable[[Tx], Callable[..., list[Any]]]) -> dict[str, float]:
    """Milliseconds of the whole claim, and of the statement alone: the rest makes records of 500 rows."""
    whole, statement = [], []
    for _ in range(REPEATS):
        with app.engine.connect() as connection:
            tx = Tx(connection, app.store)
            claim, now = claim_of(tx), tx.business_now
            _SPENT.clear()
            began = time.perf_counter()
            claimed = claim(now, DUE, buckets=app.policy.buckets)
            whole.append(time.perf_counter() - began)
            statement.append(sum(_SPENT))
            connection.rollback()
        if len(claimed) != DUE:
            raise AssertionError(f"{len(claimed)} rows claimed, {DUE} are due")
    return {"claim_ms": round(min(whole) * 1000, 2), "statement_ms": round(min(statement) * 1000, 2)}


_SPENT: list[float] = []


@event.listens_for(Engine, "before_cursor_execute")
def _began(*_: Any) -> None:
    _SPENT.append(-time.perf_counter())


@event.listens_for(Engine, "after_cursor_execute")
def _ended(*_: Any) -> None:
    _SPENT.append(time.perf_counter())


def main() -> None:
    """Run in a process of its own and print one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m bench.claims", description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    given = parser.parse_args()
    print(json.dumps(run(given.database, given.sizes)))


if __name__ == "__main__":
    main()
