"""Several workers on one database: they share the work and never the same charge."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from billing.errors import BillingError
from tests.kit.world import World


def test_eight_workers_renew_every_subscription_once(world: World) -> None:
    ids = [world.subscriber("pro-weekly") for _ in range(40)]
    world.later(days=7)
    workers = [world.another_process() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        counts = [future.result() for future in [pool.submit(worker.renew) for worker in workers]]
    for worker in workers:
        worker.close()
    assert sum(count["paid"] for count in counts) == 40
    assert all(world.states(id) == ["paid", "paid"] for id in ids)
    assert len(world.pg.arrivals()) == 80
    assert world.is_proven()


def test_eight_impatient_admins_and_a_scheduler_charge_an_invoice_once(world: World) -> None:
    mina = world.subscriber("pro-weekly", card="balance")
    invoice = world.invoice(mina)
    world.card(invoice.customer_id)
    workers = [world.another_process() for _ in range(8)]

    def retry(number: int) -> list[str]:
        try:
            return [one.name for one in workers[number].retry([invoice.id])]
        except BillingError as error:  # pragma: no cover - the message is the finding
            pytest.fail(str(error))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(retry, range(8)))
    for worker in workers:
        worker.close()
    world.until_decided()
    assert world.states(mina) == ["declined", "paid"]
    assert len(world.pg.kept()) == 1
    assert world.is_proven()
