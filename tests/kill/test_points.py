"""A worker killed, or asleep, at a point of the road: others finish, nothing is charged twice, nothing is lost."""

from __future__ import annotations

import signal
import time
from collections import Counter
from functools import partial

from tests.kill import workers
from tests.kill.shop import Shop

PATIENCE_SECONDS = 30


def test_whoever_dies_at_a_point_is_followed_by_those_who_finish(
    shop: Shop, point: str, floor: dict[str, int], tally: Counter[str]
) -> None:
    for passing in range(1, floor["passings"] + 1):
        shop.next_day()
        worker = shop.worker(faults=f"{point}=kill@{passing}")
        worker.join(PATIENCE_SECONDS)
        assert worker.exitcode == -signal.SIGKILL, f"{point} was passed less than {passing} times"
        tally[f"killed at {point} on {shop.database}"] += 1
        tally[f"decided at tick {shop.ticks()}"] += 1
        shop.is_paid_once_a_day(tally)
    shop.is_proven()
    shop.is_told()


def test_whoever_dies_over_a_notice_is_followed_by_those_who_finish(
    shop: Shop, notice_point: str, floor: dict[str, int], tally: Counter[str]
) -> None:
    """Money moved and nobody booked it, because who charged died; then comes the notice, and who takes that dies too."""
    for _ in range(floor["passings"]):
        shop.next_day()
        shop.worker(faults="K07=kill").join(PATIENCE_SECONDS)
        notices = shop.unheard_of()
        assert notices
        hearer = shop.worker(partial(workers.hears, notices), f"{notice_point}=kill")
        hearer.join(PATIENCE_SECONDS)
        assert hearer.exitcode == -signal.SIGKILL, f"{notice_point} was never passed"
        tally[f"killed at {notice_point} on {shop.database}"] += 1
        tally[f"decided at tick {shop.ticks()}"] += 1
        shop.is_paid_once_a_day(tally)
    shop.is_proven()
    shop.is_told()


def test_a_refund_whose_worker_dies_gives_back_once(
    shop: Shop, refund_point: str, floor: dict[str, int], tally: Counter[str]
) -> None:
    """Whoever asked asks again, under the same keys: the answer never came."""
    given_back = shop.given_back()
    for passing in range(1, floor["passings"] + 1):
        shop.next_day()
        tally[f"decided at tick {shop.ticks()}"] += 1
        requests = {invoice: f"{refund_point}-{passing}-{invoice}" for invoice in shop.refundable()[: floor["passings"]]}
        worker = shop.worker(partial(workers.refunds, requests), f"{refund_point}=kill@{passing}")
        worker.join(PATIENCE_SECONDS)
        assert worker.exitcode == -signal.SIGKILL, f"{refund_point} was passed less than {passing} times"
        tally[f"killed at {refund_point} on {shop.database}"] += 1
        tally[f"decided at tick {shop.ticks()}"] += 1
        for invoice, key in requests.items():
            shop.app.refunds.request(invoice, amount=workers.REFUND, reason="미사용", request_key=key, actor="sora")
        tally[f"decided at tick {shop.ticks()}"] += 1
        given_back += [workers.REFUND] * len(requests)
        assert shop.given_back() == given_back
    shop.is_paid_once_a_day(tally)
    shop.is_proven()
    shop.is_told()


def test_who_slept_for_three_leases_does_no_harm_when_it_wakes(
    shop: Shop, stopped_at: str, is_rotated: bool, tally: Counter[str]
) -> None:
    """Others take over meanwhile. Where the token lives on, the sleeper's request may still be accepted: nobody repeats it."""
    shop.next_day()
    sleeper = shop.worker(faults=f"{stopped_at}=stop")
    shop.wait_for(lambda: workers.is_stopped(sleeper), PATIENCE_SECONDS)
    time.sleep(3 * shop.patience.lease.total_seconds())
    if is_rotated:
        tally[f"decided at tick {shop.ticks()}"] += 1
    else:
        for _ in range(4):
            shop.app.renew()
            time.sleep(shop.patience.negative_gap.total_seconds())
    workers.resume(sleeper)
    shop.works_until_quiet(3)
    tally[f"decided at tick {shop.ticks()}"] += 1
    shop.dismiss([sleeper])
    tally[f"asleep for three leases at {stopped_at} on {shop.database}"] += 1
    shop.is_paid_once_a_day(tally)
    shop.is_proven()
    shop.is_told()
