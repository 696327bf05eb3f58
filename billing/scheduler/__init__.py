"""The process that keeps renewing.

    process.py   the loop: pass after pass until nothing is due, then wait for a tick
    jobs.py      the ticks

A tick only wakes the loop; rows say what is due. So two schedulers are harmless, and a missed tick is nothing.
"""
