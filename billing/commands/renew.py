"""`billing renew`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing import collector
from billing.commands.door import Door, verb
from billing.commands.mishaps import DONE, NOT_AS_WISHED
from billing.commands.verdicts import WISHED

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.command()
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="At most so many subscriptions, invoices and unknown outcomes each."
)
@verb()
def renew(door: Door, limit: int | None) -> int:
    """Do everything that is due now: renewals, retries, unknown outcomes. Prints how many ended in which way.

    Exit status 0: all as wished, or nothing due. 1: something was declined, or is not known yet.
    """
    app = door.app
    collector.calm()
    counts = dict(sorted(app.renew(limit).items()))
    may_charge = app.policy.charges_at(app.now())
    document = {"counts": counts, "is_within_charge_hours": may_charge, "business_now": app.now().isoformat()}

    def words(out: Words) -> None:
        out.table(
            ["!what", ">how many"], [(name.replace("_", " "), count) for name, count in counts.items()], empty="Nothing was due."
        )
        if not may_charge:
            hours = f"{door.settings.charge_hours} {door.settings.time_zone}"
            out.hint(f"It is {out.when(app.now().isoformat())}, outside the charge hours {hours}: nothing is sent now.")

    door.answer(document, words)
    return DONE if counts.keys() <= WISHED else NOT_AS_WISHED
