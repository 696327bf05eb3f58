"""`billing checkout …`: who was invited into a window, to do what, and what came of it. A link itself is kept nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, page, paged, verb

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.group()
def checkout() -> None:
    """Read who was invited to register a card or to pay, and what came of it."""


@checkout.command("list")
@click.option("--customer", metavar="CUSTOMER", help="Only those of one customer.")
@paged
@verb()
def list_(door: Door, customer: str | None, limit: int, after: str | None) -> None:
    """List the links that were made, the newest first; `card window` and `invoice window` make them."""
    rows = door.app.views.checkouts(of=customer, limit=limit, after=after)

    def words(out: Words) -> None:
        cells = [
            (
                one["id"],
                one["customer"],
                one["purpose"],
                one["invoice_number"],
                ", ".join(one["methods"]),
                out.when(one["created_at"]),
                out.when(one["expires_at"]),
                one["actor"],
                _came_to(one),
            )
            for one in rows
        ]
        columns = ["!link", "customer", "!for", ">invoice", "by", "!made", "!good until", "who made it", "came to"]
        out.table(columns, cells, empty="No link.")

    door.answer(page("checkouts", rows, limit), words)


def _came_to(one: dict[str, Any]) -> str:
    if one["purpose"] == "card":
        return "registered" if one["state"] == "done" else ""
    return "" if one["invoice_state"] == "open" else f"invoice {one['invoice_state']}"
