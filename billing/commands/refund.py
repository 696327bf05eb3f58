"""`billing refund …`: money given back, and what the PG said to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import rich_click

from billing.commands.door import Door, page, paged, verb
from billing.commands.mishaps import DONE, NOT_AS_WISHED

if TYPE_CHECKING:
    from billing.commands.words import Words

STATES = ("planned", "sending", "unknown", "done", "refused")


class _Refund(rich_click.RichGroup):
    """A group whose verb may be left out: `billing refund INVOICE …` gives money back."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the verb, `add` where none is named."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["add", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Refund)
def refund() -> None:
    """Give money back: `billing refund INVOICE --amount N --reason TEXT`. Look up refunds; retry one that was refused."""


@refund.command()
@click.argument("invoice")
@click.option("--amount", type=int, metavar="N", help="How much, in minor units (won).")
@click.option("--full", is_flag=True, help="All that is left of the payment.")
@click.option("--reason", default="", metavar="TEXT", help="Why; the PG's history shows it.")
@click.option("--key", metavar="KEY", help="Names the request: repeated under the same key, nothing more is given back.")
@verb(changes=True)
def add(door: Door, invoice: str, amount: int | None, full: bool, reason: str, key: str | None) -> int:
    """Give back a part or all of what an invoice's payment brought. The verb may be left out: `billing refund INVOICE …`.

    Exit status 0: given back. 1: refused by the PG, or not known yet: the worker goes on. 2: refused by a rule.
    """
    app, actor = door.app, door.actor
    (found,) = app.views.invoice_ids([invoice])
    one = app.refunds.request(found, amount=amount, full=full, reason=reason, actor=actor, request_key=key)
    return _tell(door, one.id)


@refund.command("list")
@click.option("--state", type=click.Choice(STATES), metavar="STATE", help=f"One of {', '.join(STATES)}.")
@click.option("--customer", metavar="CUSTOMER", help="Only those of one customer.")
@paged
@verb()
def list_(door: Door, state: str | None, customer: str | None, limit: int, after: str | None) -> None:
    """List refunds, the newest first."""
    rows = door.app.refunds.list(state=state, of=customer, limit=limit, after=after)

    def words(out: Words) -> None:
        cells = [(r["id"], r["state"], out.money(r["amount"]), r["invoice_number"], r["reason"], r["refusal"]) for r in rows]
        out.table(["!refund", "!state", ">amount", ">invoice", "reason", "why not"], cells, empty="No refund.")

    door.answer(page("refunds", rows, limit), words)


@refund.command()
@click.argument("refund")
@verb()
def show(door: Door, refund: str) -> None:
    """Show one refund."""
    _tell(door, refund)


@refund.command()
@click.argument("refund")
@verb(changes=True)
def retry(door: Door, refund: str) -> int:
    """Start a refund that waits for you, look at one unknown, repeat a refused one, after the PG was asked once more.

    What repeats a refused one is a new refund, one at most. Exit status 0: given back. 1: refused again, or not known
    yet. 2: refused by a rule.
    """
    app, actor = door.app, door.actor
    return _tell(door, app.refunds.retry(refund, actor=actor).id)


def _tell(door: Door, wanted: str) -> int:
    one = door.app.views.refund(wanted)
    door.answer({"refund": one}, lambda out: _shown(out, one))
    return DONE if one["state"] == "done" else NOT_AS_WISHED


def _shown(out: Words, one: dict[str, Any]) -> None:
    out.facts(
        {
            "refund": one["id"],
            "state": one["state"],
            "invoice": one["invoice_number"],
            "customer": one["customer"],
            "payment": one["imp_uid"],
            "amount": f"{out.money(one['amount'])}, of which VAT {out.money(one['vat'])}",
            "reason": one["reason"],
            "asked by": f"{one['actor']} ({one['origin']})",
            "why not": one["refusal"],
            "sent": f"{out.when(one['sent_at'])}, {one['wire_count']} time(s)" if one["sent_at"] else None,
            "next step": out.when(one["wake_at"]),
        }
    )
    if one["state"] == "planned":
        out.hint(
            "It waits its turn; `billing renew` or the scheduler sends it."
            if one["wake_at"]
            else "`billing refund retry` starts it."
        )
    elif one["state"] in ("sending", "unknown"):
        out.hint("How it ended is not known yet; `billing renew` or the scheduler asks the PG again. Do not ask for it twice.")
    elif one["state"] == "refused":
        out.hint("Nothing was given back. `billing refund retry` repeats it; or give it back in the PG's console.")
