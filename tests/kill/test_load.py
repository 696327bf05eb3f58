"""A month of load on a bad network, while workers are killed again and again: no double, nothing lost, everything told."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.kill import workers
from tests.kill.shop import CHARGED_ONCE, Shop, shop_on

BAD_NETWORK = (
    *("lost_reply=0.03", "server_error=0.03", "rate_limit=0.02", "error_after_approval=0.02", "decline=0.1"),
    *("webhook_drop=0.5", "webhook_twice=0.1", "webhook_reorder=0.1,value=1"),
)
LIFE_SECONDS = (1.0, 3.0)


def test_a_month_of_load_survives_every_kill(place: tuple[str, Path], floor: dict[str, int], tally: Counter[str]) -> None:
    with shop_on(*place, people=2 * floor["people"], scale=0.002) as shop:
        shop.pg.fault(*BAD_NETWORK)
        _killed_under_load(shop, random.Random(shop.database), floor, tally)
        shop.pg.fault()
        tally[f"decided at tick {shop.ticks()}"] += 1
        shop.is_settled()
        shop.is_proven()
        shop.is_told()
        tally[CHARGED_ONCE] += len(shop.pg.kept()) - shop.people
        tally[f"notices under load on {shop.database}"] += shop.notices()
        tally[f"declines under load on {shop.database}"] += shop.pg.ledger()["totals"]["failed"]


def _killed_under_load(shop: Shop, chance: random.Random, floor: dict[str, int], tally: Counter[str]) -> None:
    """Days go by, and in a crew of five one dies every few tenths of a second."""
    tasks = [workers.renews, workers.renews, workers.renews, workers.delivers, partial(workers.answers, shop.door)]
    crew = [shop.worker(task) for task in tasks]
    kills = 0
    while kills < floor["kills"] or shop.days < floor["days"]:
        shop.next_day()
        # The PG's token dies every day, in the middle of whatever is on its way.
        shop.pg.later()
        day_ends = time.monotonic() + 3
        while time.monotonic() < day_ends and shop.undecided():
            time.sleep(chance.uniform(*LIFE_SECONDS) / len(crew))
            place = chance.randrange(len(crew))
            crew[place].kill()
            crew[place].join()
            crew[place] = shop.worker(tasks[place])
            kills += 1
            tally[f"killed at a random moment on {shop.database}"] += 1
    shop.dismiss(crew)
