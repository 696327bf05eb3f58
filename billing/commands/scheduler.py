"""`billing scheduler`: the process that keeps renewing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.kinds import BUCKETS

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.command()
@click.option(
    "--buckets",
    type=BUCKETS,
    metavar="A-B",
    help="Serve only these customers, out of 0-255, so that processes can share the work.",
)
@verb()
def scheduler(door: Door, buckets: range | None) -> int:
    """Run the process that renews, retries and resolves, until it is stopped.

    Any number of them may run on one database. It logs one JSON line per outcome on stderr. On SIGTERM or Ctrl-C what
    is on the wire finishes and is booked, then it ends with 0; a second signal ends it at once.
    """
    from billing.scheduler.process import Process

    process = Process(door.served(buckets or range(256)))
    status = process.run()
    document = {"passes": process.passes, "counts": dict(sorted(process.counts.items()))}

    def words(out: Words) -> None:
        out.facts({"passes": process.passes, **{name.replace("_", " "): count for name, count in process.counts.items()}})

    door.answer(document, words)
    return status
