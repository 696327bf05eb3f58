"""`billing attempt …`: every try to charge, and the ones only a human can decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, page, paged, verb
from billing.commands.verdicts import WAYS

if TYPE_CHECKING:
    from billing.commands.words import Words

STATES = ("planned", "sending", "unknown", "paid", "declined", "rejected", "mismatch", "surplus", "void")
RULINGS = ("paid", "surplus", "void")


@click.group()
def attempt() -> None:
    """Look up charge attempts; decide one that only a human can."""


@attempt.command("list")
@click.option("--state", type=click.Choice(STATES), metavar="STATE", help=f"One of {', '.join(STATES)}.")
@click.option("--customer", metavar="CUSTOMER", help="Only those of one customer.")
@paged
@verb()
def list_(door: Door, state: str | None, customer: str | None, limit: int, after: str | None) -> None:
    """List charge attempts, the newest first."""
    rows = door.app.views.attempts(state=state, of=customer, limit=limit, after=after)

    def words(out: Words) -> None:
        cells = [
            (
                a["merchant_uid"],
                a["state"],
                out.money(a["amount"]),
                a["invoice_number"],
                WAYS[a["way"]],
                a["fail_reason"] or a["refusal"],
            )
            for a in rows
        ]
        out.table(["!attempt", "!state", ">amount", ">invoice", "by", "why"], cells, empty="No attempt.")

    door.answer(page("attempts", rows, limit), words)


@attempt.command()
@click.argument("attempt")
@verb()
def show(door: Door, attempt: str) -> None:
    """Show one attempt with its payments. ATTEMPT is an id or merchant_uid."""
    _tell(door, attempt)


@attempt.command()
@click.argument("attempt")
@click.option(
    "--as",
    "ruling",
    required=True,
    type=click.Choice(RULINGS),
    help="What it was: paid after all, money to give back, or nothing.",
)
@click.option("--reason", default="", metavar="TEXT", help="What you saw at the PG; kept in the audit trail.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb(changes=True)
def resolve(door: Door, attempt: str, ruling: str, reason: str, yes: bool) -> None:
    """Decide an attempt by hand, after the PG was asked once more.

    Parked money (mismatch) can be ruled paid or surplus; an outcome that stays unknown can be ruled void once you saw
    in the PG's console that nothing was paid: the invoice is then tried again under the next number.
    """
    from billing.flow.adjudication import Ruling

    app, actor = door.app, door.actor
    one = app.views.attempt(attempt)
    door.confirm(f"Rule attempt {one['merchant_uid']} {ruling}?", yes=yes)
    app.attempts.resolve(one["id"], Ruling(ruling), reason=reason, actor=actor)
    _tell(door, one["id"])


def _tell(door: Door, wanted: str) -> None:
    one = door.app.views.attempt(wanted)

    def words(out: Words) -> None:
        out.facts(
            {
                "attempt": one["merchant_uid"],
                "id": one["id"],
                "state": one["state"],
                "invoice": one["invoice_number"],
                "customer": one["customer"],
                "amount": out.money(one["amount"]),
                "by": WAYS[one["way"]],
                "payment": one["imp_uid"],
                "why": one["fail_reason"] or one["refusal"],
                "sent": f"{out.when(one['sent_at'])}, {one['wire_count']} time(s)" if one["sent_at"] else "never",
                "next look": out.when(one["wake_at"]),
            }
        )
        if one["payments"]:
            out.line()
            paid = [(p["imp_uid"], p["role"], out.money(p["amount"]), out.when(p["paid_at"])) for p in one["payments"]]
            out.table(["!payment", "!for", ">amount", "!paid"], paid)

    door.answer({"attempt": one}, words)
