"""Python's garbage collector in a process that renews."""

from __future__ import annotations

import gc

_YOUNG = 50_000


def calm() -> None:
    """Let the collector run rarely, and never over what is loaded for good.

    A batch keeps some hundred thousand plain records alive for a second and then drops them, without cycles.
    By default the collector looks through them after every 700 new ones and through everything now and
    then: measured, a fifth of a worker's time. For processes of our own only: a host that embeds the engine
    decides for itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)
