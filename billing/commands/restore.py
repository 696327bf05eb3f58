"""`billing restore …`: make a restored or copied database the one that charges."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.kinds import MOMENT
from billing.commands.mishaps import CALL_SOMEONE, DONE

if TYPE_CHECKING:
    from billing.commands.words import Words
    from billing.domain.reconciliation import Finding
    from billing.domain.restoring import Restored


@click.group()
def restore() -> None:
    """Make a restored or copied database the one that charges."""


@restore.command()
@click.option("--reason", default="", metavar="TEXT", help="Why this database is the one from now on; kept in the audit trail.")
@click.option(
    "--since",
    type=MOMENT,
    metavar="INSTANT",
    help="From when on the PG is asked. [default: two days before the newest payment known here, at least 37 days]",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb(changes=True)
def adopt(door: Door, reason: str, since: datetime | None, yes: bool) -> int:
    """Take back what the PG remembers and this database does not, then let it charge. Nothing is charged meanwhile.

    Charging is frozen, every charge of ours at the PG since then gets its invoice, attempt and payment back, and the ledger
    is recorded as living here. Only one database of a ledger may do this: stop the other one for good first. What no
    subscription explains is printed and keeps charging frozen. Safe to repeat.

    Exit status 0: adopted, charging is allowed (unless an operator had frozen it). 4: something is left to explain.
    """
    app, actor = door.app, door.actor
    door.confirm("Does no other database of this ledger charge any more?", yes=yes)
    found = app.restore.adopt(reason=reason, since=since, actor=actor)
    door.answer(_document(found), lambda out: _told(out, found))
    return CALL_SOMEONE if found.unexplained else DONE


def _document(found: Restored) -> dict[str, Any]:
    return {
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "payments": found.payments,
        "adopted": [
            {
                "merchant_uid": one.merchant_uid,
                "imp_uid": one.imp_uid,
                "invoice_id": one.invoice_id,
                "outcome": one.outcome,
                "amount": {"amount": one.amount, "currency": one.currency},
            }
            for one in found.adopted
        ],
        "settled": found.settled,
        "orphans": [_orphan(one) for one in found.orphans],
        "unexplained": len(found.unexplained),
        "is_moved": found.is_moved,
        "is_frozen": found.is_frozen,
    }


def _orphan(one: Finding) -> dict[str, Any]:
    return {
        "id": one.id,
        "kind": one.kind.value,
        "imp_uid": one.imp_uid,
        "merchant_uid": one.merchant_uid,
        "amount": {"amount": one.amount, "currency": one.currency},
        "details": dict(one.details),
    }


def _told(out: Words, found: Restored) -> None:
    since, until = out.when(found.since.isoformat()), out.when(found.until.isoformat())
    out.line(f"Compared {found.payments:,} charges of ours at the PG, {since} to {until}.")
    if found.adopted:
        out.line()
        outcomes = Counter(one.outcome for one in found.adopted)
        cells = []
        for outcome, count in sorted(outcomes.items()):
            some = [one for one in found.adopted if one.outcome == outcome]
            money = {"amount": sum(one.amount for one in some), "currency": some[0].currency}
            cells.append((outcome, f"{count:,}", out.money(money)))
        out.table(["!taken back", ">charges", ">amount"], cells)
    else:
        out.line("This database had forgotten none of them.")
    if found.settled:
        out.line(f"{found.settled:,} outcomes were booked besides.")
    if found.is_moved:
        out.line("The ledger is recorded as living here.")
    if found.orphans:
        out.line()
        rows = [(one.id, one.kind.value, one.merchant_uid, out.money(_orphan(one)["amount"])) for one in found.orphans]
        out.table(["!finding", "!what", "order number", ">amount"], rows)
        out.hint("Explain each with `billing finding explain FINDING --reason TEXT`, then `billing freeze off --reason TEXT`.")
    out.line()
    if found.is_frozen:
        out.line("Charging is frozen.", "bold red")
    else:
        out.line("Charging is allowed.", "bold green")
