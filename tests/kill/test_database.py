"""PostgreSQL fails under the workers: restarted, sessions ended, COMMITs of which nobody learns how they ended."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.kill import workers
from tests.kill.shop import Shop, shop_on
from tests.kit.postgres import Server, restartable_server
from tests.kit.proxy import Cut, commit_cutter

CREW = 2
CUT_SHARE = 0.2

on_postgresql = pytest.mark.parametrize("place", ["postgresql"], indirect=True)


@on_postgresql
def test_a_commit_whose_answer_is_lost_is_booked_exactly_once(shop: Shop, floor: dict[str, int], tally: Counter[str]) -> None:
    chance = random.Random(7)
    kinds = cycle([Cut.UNHEARD, Cut.UNANSWERED, Cut.UNHEARD, Cut.LOST])
    is_calm = False

    def fate() -> Cut:
        return Cut.NONE if is_calm or chance.random() > CUT_SHARE else next(kinds)

    given_back: list[int] = []
    with commit_cutter(shop.environment["BILLING_DATABASE_URL"], fate) as cutter:
        crew = [shop.worker(through=cutter.url) for _ in range(CREW)]
        while cutter.cuts.total() < floor["cuts"]:
            requests = {invoice: f"{shop.days}-{invoice}" for invoice in shop.refundable()[:2]}
            is_calm = False
            shop.next_day()
            asking = shop.worker(partial(workers.refunds, requests), through=cutter.url)
            shop.works_until_quiet(3)
            shop.wait_for(partial(shop.are_planned, requests.values()), 30)
            is_calm = True
            tally[f"decided at tick {shop.ticks()}"] += 1
            shop.dismiss([asking])
            given_back += [workers.REFUND] * len(requests)
            shop.is_paid_once_a_day(tally)
            assert shop.given_back() == given_back
        shop.dismiss(crew)
    tally.update(cutter.cuts)
    shop.is_proven()
    shop.is_told()


@pytest.mark.long
@on_postgresql
def test_sessions_ended_under_load_cost_nothing(shop: Shop, floor: dict[str, int], tally: Counter[str]) -> None:
    end_one = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'worker' ORDER BY random() LIMIT 1"
    )
    through = shop.environment["BILLING_DATABASE_URL"] + "&application_name=worker"
    crew = [shop.worker(through=through) for _ in range(CREW)]
    while tally["sessions ended"] < floor["ended sessions"]:
        shop.next_day()
        day_ends = time.monotonic() + 3
        while shop.undecided() and time.monotonic() < day_ends:
            with shop.app.store.begin() as tx:
                tally["sessions ended"] += tx.connection.execute(end_one).scalar() is True
            time.sleep(0.03)
        tally[f"decided at tick {shop.ticks()}"] += 1
        shop.is_paid_once_a_day(tally)
    shop.dismiss(crew)
    shop.is_proven()
    shop.is_told()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of our own, which keeps what it has committed when it crashes."""
    with restartable_server() as one:
        yield one


@pytest.mark.long
def test_a_server_restarted_under_load_loses_nothing(
    server: Server, tmp_path: Path, floor: dict[str, int], tally: Counter[str]
) -> None:
    modes = cycle(["immediate", "fast"])
    with shop_on(server.url, tmp_path) as shop:
        crew = [shop.worker(workers.renews), shop.worker()]
        for _ in range(floor["restarts"]):
            shop.next_day()
            time.sleep(random.Random(shop.days).uniform(0.05, 0.4))
            mode = next(modes)
            server.restart(mode)
            shop.app.engine.dispose()
            tally[f"restarts of PostgreSQL, {mode}"] += 1
            shop.works_until_quiet(3)
            tally[f"decided at tick {shop.ticks()}"] += 1
            shop.is_paid_once_a_day(tally)
        shop.dismiss(crew)
        shop.is_proven()
        shop.is_told()


@pytest.mark.long
def test_a_server_that_forgets_its_last_commits_charges_nobody_again(
    tmp_path: Path, floor: dict[str, int], tally: Counter[str]
) -> None:
    """What a promoted replica does, too. The PG remembers: its records are taken over before anything is charged."""
    forgetful = {"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "0"}
    with restartable_server(settings=forgetful) as server, shop_on(server.url, tmp_path) as shop:
        crew = [shop.worker(workers.renews), shop.worker()]
        while tally["payments the database forgot"] < floor["forgotten"]:
            shop.next_day()
            time.sleep(random.Random(shop.days).uniform(0.2, 0.9))
            before = len(shop.pg.kept())
            server.restart("immediate")
            shop.app.engine.dispose()
            tally["payments the database forgot"] += max(0, before - shop.booked())
            shop.set_clock()
            shop.works_until_quiet(3)
            tally[f"decided at tick {shop.ticks()}"] += 1
            shop.is_paid_once_a_day(tally)
        shop.dismiss(crew)
        shop.is_proven()
