"""`billing events …`: what the host is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, page, paged, verb

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.group()
def events() -> None:
    """Read what the host is told."""


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
