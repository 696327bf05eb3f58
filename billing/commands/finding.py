"""`billing finding …`: what reconciliation found and no rule could set right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, page, paged, verb

if TYPE_CHECKING:
    from billing.commands.words import Words

KINDS = {
    "stranger": "our order number, and no row here knows it",
    "scheduled_charge": "another engine charged a card of ours",
    "cancelled_at_pg": "more was given back than the books know",
    "amount_differs": "it stands otherwise at the PG than it was booked",
    "missing_at_pg": "we booked it, the PG does not show it",
    "unbooked": "paid under our number, and it could not be booked",
    "unreadable": "the PG's record breaks its own contract",
    "unasked": "paid in a browser under a name of ours we never gave out",
    "lost_card": "charged on a card this database has forgotten",
}


@click.group()
def finding() -> None:
    """Read what differs between the PG and the books; explain it once you know."""


@finding.command("list")
@click.option("--kind", type=click.Choice(list(KINDS)), metavar="KIND", help=f"One of {', '.join(KINDS)}.")
@click.option("--all", "everything", is_flag=True, help="Explained ones too.")
@paged
@verb()
def list_(door: Door, kind: str | None, everything: bool, limit: int, after: str | None) -> None:
    """List findings that wait for an explanation, the newest first."""
    rows = door.app.views.findings(kind=kind, only_unexplained=not everything, limit=limit, after=after)
    door.answer(page("findings", rows, limit), lambda out: table(out, rows))


@finding.command()
@click.argument("finding")
@click.option("--reason", default="", metavar="TEXT", help="What it turned out to be; kept with the finding.")
@verb(changes=True)
def explain(door: Door, finding: str, reason: str) -> None:
    """Say what a finding turned out to be. It is kept; nothing is booked, sent or thawed by this."""
    app, actor = door.app, door.actor
    one = app.reconciliation.explain(finding, reason=reason, actor=actor)
    rows = app.views.findings_of([one.id])
    door.answer({"finding": rows[0]}, lambda out: table(out, rows))


def table(out: Words, rows: Sequence[dict[str, Any]]) -> None:
    """Findings for people; what the PG and we say of each stands in `--json`."""
    cells = [
        (
            one["id"],
            KINDS[one["kind"]],
            one["imp_uid"],
            one["merchant_uid"],
            out.money(one["amount"]) if one["amount"]["currency"] else None,
            out.when(one["found_at"]),
            f"{one['explained_by']}: {one['explanation']}" if one["explained_at"] else "open",
        )
        for one in rows
    ]
    headings = ["!finding", "what", "!payment", "!order number", ">amount", "!found", "explained"]
    out.table(headings, cells, empty="No finding.")
