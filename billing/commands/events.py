"""`billing events …`: what the host is told."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, page, paged, verb
from billing.commands.kinds import MOMENT

if TYPE_CHECKING:
    from billing.commands.words import Words
    from billing.domain.events import PublishedEvent


@click.group()
def events() -> None:
    """Read what the host is told, hand it over, and tell it again."""


@events.command("list")
@click.option("--topic", metavar="TOPIC", help="Only one kind, such as invoice.paid.")
@click.option("--customer", metavar="CUSTOMER", help="Only those of one customer.")
@paged
@verb()
def list_(door: Door, topic: str | None, customer: str | None, limit: int, after: str | None) -> None:
    """List events, the newest first."""
    rows = door.app.views.events(topic=topic, of=customer, limit=limit, after=after)

    def words(out: Words) -> None:
        cells = [(out.when(one["occurred_at"]), one["topic"], one["customer"]) for one in rows]
        out.table(["!when", "!event", "customer"], cells, empty="No event.")

    door.answer(page("events", rows, limit), words)


@events.command()
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many. [default: all there are]")
@verb()
def deliver(door: Door, limit: int | None) -> int:
    """Print every undelivered event as one line of JSON, and mark it as delivered.

    At least once: a line is marked after it was written out, and comes again when we, or who reads us, died in between.
    Tell repetitions by their key. The lines of one subscription come in the order of their versions, also when several
    of these run at once. With --json nothing changes: every line is a document.
    """
    door.app.deliver(_print, limit)
    return 0


@events.command()
@click.argument("events", nargs=-1, metavar="[EVENT]...")
@click.option("--since", type=MOMENT, metavar="INSTANT", help="All that happened then or later, on the business clock.")
@verb(changes=True)
def replay(door: Door, events: tuple[str, ...], since: datetime | None) -> None:
    """Let delivered events be delivered again. EVENT is an id; name some, or all --since an instant."""
    count = door.app.events.replay(events, since=since, actor=door.actor)

    def words(out: Words) -> None:
        out.line(f"{count} events will be delivered again.")

    door.answer({"replayed": count}, words)


def _print(event: PublishedEvent) -> None:
    document = {**event._asdict(), "occurred_at": event.occurred_at.isoformat()}
    try:
        print(json.dumps(document), flush=True)  # noqa: T201  (this is the command line)
    except BrokenPipeError:
        # Whoever read us has seen enough: this is not one event refused, it is the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
