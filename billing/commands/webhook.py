"""`billing webhook …`: the inbox of the PG's notices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, page, paged, verb
from billing.commands.mishaps import DONE, NOT_AS_WISHED

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.group()
def webhook() -> None:
    """Read which notices the PG sent, and look into some once more."""


@webhook.command("list")
@click.option("--pending", is_flag=True, help="Only those that still wait for a look.")
@click.option("--outcome", metavar="NAME", help="Only those that ended so: paid, booked, cancelled, forged, foreign, unknown …")
@paged
@verb()
def list_(door: Door, pending: bool, outcome: str | None, limit: int, after: str | None) -> None:
    """List notices, the newest first. A notice is a rumour; what came of looking stands in the last column."""
    rows = door.app.views.webhooks(outcome=outcome, only_pending=pending, limit=limit, after=after)
    door.answer(page("webhooks", rows, limit), lambda out: _shown(out, rows))


@webhook.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@verb(changes=True)
def replay(door: Door, ids: Sequence[str]) -> int:
    """Look into notices once more, now. Never does harm: only what the PG's own records say is booked.

    Exit status 0: looked into. 1: one still waits, because the PG cannot be asked or shows nothing yet.
    """
    app = door.app
    app.webhooks.replay(ids, actor=door.actor)
    app.heed()
    rows = app.views.webhooks_of(ids)
    door.answer({"webhooks": rows}, lambda out: _shown(out, rows))
    return NOT_AS_WISHED if any(one["wake_at"] for one in rows) else DONE


def _shown(out: Words, rows: Sequence[dict[str, Any]]) -> None:
    cells = [
        (
            one["id"],
            out.when(one["last_received_at"]),
            one["times_received"],
            one["merchant_uid"],
            one["status"],
            f"waits until {out.when(one['wake_at'])}" if one["wake_at"] else one["outcome"],
        )
        for one in rows
    ]
    out.table(["!notice", "!last came", ">times", "!about", "!says", "what came of it"], cells, empty="No notice.")
