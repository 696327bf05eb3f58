"""`billing init`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, verb

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.command()
@verb(changes=True)
def init(door: Door) -> None:
    """Make the database ready: migrate it, give it its identity, check its guards. Safe to repeat."""
    app = door.founding_app
    identity = app.init(actor=door.actor)
    document = {
        "database": app.schema.place,
        "mode": identity.mode,
        "ledger_id": identity.ledger_id,
        "uid_prefix": identity.uid_prefix,
        "created_at": identity.created_at.isoformat(),
        "schema": app.schema.current(),
    }

    def words(out: Words) -> None:
        out.line("The database is ready.", "bold green")
        out.facts({"database": document["database"], "mode": document["mode"], "ledger": document["ledger_id"]})
        out.line()
        out.line("Next:", "bold")
        out.line("  billing plan apply FILE                  put a plan on sale (examples/plans)")
        out.line("  billing customer add EXTERNAL_ID         add someone who pays")
        out.line("  billing card add CUSTOMER                register a card")
        out.line("  billing subscription add CUSTOMER PRICE  start charging")
        out.line("  billing scheduler                        keep renewing; or `billing renew` once")
        if identity.mode == "sandbox":
            out.hint("This is the sandbox: no money moves. The card 4242-4242-4242-4242 (any future expiry) approves.")

    door.answer(document, words)
