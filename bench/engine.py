"""One measured pass of our engine, in a process of its own: everything due, renewed by `Billing.renew()`.

The pass is the one of production: claims, invoices, probe, intent, charge, look-up, books, ledger, outbox,
audit. Only `batch` and `lanes` are set from outside, to show what they do.
"""

from __future__ import annotations

import argparse
import json
import logging

from bench.gauges import Gauges
from bench.world import settings
from billing import collector
from billing.app import Billing
from billing.gateway.http import Http


def run(database: str, gateway: str, count: int, *, concurrency: int, batch: int | None, lanes: int | None) -> dict[str, object]:
    """Renew everything due and say what it took."""
    gauges = Gauges(count)
    gauges.watch_sql()
    _watch_charges(gauges)
    gauges.watch_http(Http, "call")
    with Billing(settings(database, gateway, concurrency=concurrency), lanes=lanes, actor="bench") as app:
        if batch is not None:
            # Frozen on purpose: a running engine's batch never changes. Nothing runs yet here.
            object.__setattr__(app.policy, "batch", batch)
        app.check()
        collector.calm()  # as `billing renew` and `billing scheduler` do
        gauges.start()
        verdicts = app.renew()
        measured = gauges.stop()
        shape = {"concurrency": concurrency, "batch": app.policy.batch, "lanes": app.worker._lanes}
    return measured | shape | {"verdicts": dict(verdicts)}


def _watch_charges(gauges: Gauges) -> None:
    inner = Http.call

    def call(self: Http, method: str, target: str, **given: object) -> object:
        if method == "POST" and target.endswith("/again"):
            gauges.charged()
        return inner(self, method, target, **given)  # type: ignore[arg-type]

    Http.call = call  # type: ignore[assignment, method-assign]


def main() -> None:
    """Run in a process of its own and print one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lanes", type=int)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    measured = run(
        given.database, given.gateway, given.count, concurrency=given.concurrency, batch=given.batch, lanes=given.lanes
    )
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
