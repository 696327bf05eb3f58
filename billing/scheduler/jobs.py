"""The ticks: when the loop is woken although it would rather wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from zoneinfo import ZoneInfo

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

TICK_SECONDS = 60


def ticking(wake: Callable[[], None], *, zone: ZoneInfo, opens: time) -> BackgroundScheduler:
    """A started scheduler in memory whose jobs only call `wake`.

    `minute` is the pulse: guards are checked again and a pause ends. `opening` comes with the first second of
    the charge hours, when most of a day's renewals become due at once. A tick that comes late is still one
    tick (no grace time to miss, several are one): what is due is found by rows, never by a date of a trigger.
    """
    ticks = BackgroundScheduler(timezone=zone, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1})
    ticks.add_job(wake, IntervalTrigger(seconds=TICK_SECONDS, timezone=zone), id="minute", name="minute")
    opening = CronTrigger(hour=opens.hour, minute=opens.minute, second=opens.second, timezone=zone)
    ticks.add_job(wake, opening, id="opening", name="opening")
    ticks.start()
    return ticks
