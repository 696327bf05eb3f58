"""`billing verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.mishaps import CALL_SOMEONE, DONE

if TYPE_CHECKING:
    from billing.commands.words import Words

_AMOUNTS = ("paid_amount", "refunded_amount", "ledger_receivable", "pg_kept")


@click.command()
@click.option("--pg/--no-pg", "asks_pg", default=True, show_default=True, help="Whether the PG is asked too.")
@verb()
def verify(door: Door, asks_pg: bool) -> int:
    """Prove that books, ledger, attempts and the PG say the same.

    Exit status 0: proven. 4: something differs, and every difference is named.
    """
    proof = door.app.verify(asks_pg=asks_pg)
    document = {
        "holds": proof.holds,
        "compared_with_pg": proof.compared_with_pg,
        "totals": dict(proof.totals),
        "differences": list(proof.differences),
    }

    def words(out: Words) -> None:
        totals = {
            name.replace("_", " "): out.money({"amount": value, "currency": "KRW"}) if name in _AMOUNTS else f"{value:,}"
            for name, value in proof.totals.items()
        }
        out.facts({**totals, "PG": proof.compared_with_pg})
        out.line()
        if proof.holds:
            out.line("Everything agrees.", "bold green")
        else:
            out.line(f"{len(proof.differences)} difference(s):", "bold red")
            for difference in proof.differences:
                out.line(f"  {difference}")

    door.answer(document, words)
    return DONE if proof.holds else CALL_SOMEONE
