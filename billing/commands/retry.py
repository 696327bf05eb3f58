"""`billing retry`."""

from __future__ import annotations

import rich_click as click

from billing.commands import verdicts
from billing.commands.door import Door, verb


@click.command()
@click.argument("invoices", metavar="INVOICE...", nargs=-1, required=True)
@verb(changes=True)
def retry(door: Door, invoices: tuple[str, ...]) -> int:
    """Charge open invoices now, by id or number. Exit status: 0 all paid, 1 some not paid, 2 refused by a rule."""
    app = door.app
    found = verdicts.documents(app, app.retry(app.views.invoice_ids(invoices), actor=door.actor))
    door.answer({"verdicts": found}, lambda out: verdicts.shown(out, found))
    return verdicts.exit_status(found)
