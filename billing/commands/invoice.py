"""`billing invoice …`: what is owed, and how it was paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands import invitation
from billing.commands.door import Door, page, paged, verb
from billing.commands.invitation import invites, wished
from billing.commands.verdicts import WAYS

if TYPE_CHECKING:
    from billing.commands.words import Words

STATES = ("open", "paid", "void", "uncollectible")


@click.group()
def invoice() -> None:
    """Look up invoices; invite to pay one, void one, or give it up. INVOICE is an id or a number everywhere."""


@invoice.command("list")
@click.option("--state", type=click.Choice(STATES), metavar="STATE", help=f"One of {', '.join(STATES)}.")
@click.option("--customer", metavar="CUSTOMER", help="Only those of one customer.")
@paged
@verb()
def list_(door: Door, state: str | None, customer: str | None, limit: int, after: str | None) -> None:
    """List invoices, the newest first."""
    rows = door.app.views.invoices(state=state, of=customer, limit=limit, after=after)

    def words(out: Words) -> None:
        cells = [
            (
                i["number"],
                i["state"],
                out.money(i["total"]),
                i["customer"],
                out.days(i["period"], i["time_zone"]),
                out.when(i["next_attempt_at"]),
            )
            for i in rows
        ]
        out.table([">invoice", "!state", ">total", "customer", "period", "next try"], cells, empty="No invoice.")

    door.answer(page("invoices", rows, limit), words)


@invoice.command()
@click.argument("invoice")
@verb()
def show(door: Door, invoice: str) -> None:
    """Show one invoice with its lines, attempts, payments and refunds, its links and virtual accounts."""
    one = door.app.views.invoice(invoice)
    door.answer({"invoice": one}, lambda out: _shown(out, one))


@invoice.command()
@click.argument("invoice")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="METHOD",
    default=("card",),
    show_default=True,
    help="A way to pay, in the PG's words (card, vbank, trans …); give it again for each the buyer may choose.",
)
@invites
@verb(changes=True)
def window(door: Door, invoice: str, methods: tuple[str, ...], **wishes: Any) -> None:
    """Make a link with which an open INVOICE is paid once, in the PG's own window, by whoever has it.

    Nothing is sent: the link is yours to hand over. No card is kept; `card window` registers one.
    """
    app, actor = door.app, door.actor
    (found,) = app.views.invoice_ids([invoice])
    made = app.checkouts.pay(found, methods=methods, actor=actor, **wished(**wishes))
    one = app.views.invoice(found)
    what = f"It pays invoice {one['number']} of {one['customer']}"
    invitation.told(door, made, what, {"customer": one["customer"], "invoice_number": one["number"]})


@invoice.command()
@click.argument("invoice")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the audit trail.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb(changes=True)
def void(door: Door, invoice: str, reason: str, yes: bool) -> None:
    """Void an invoice that should not have been; its subscription goes on with the next period."""
    _close(door, invoice, "void", reason, yes)


@invoice.command("mark-uncollectible")
@click.argument("invoice")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the audit trail.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb(changes=True)
def mark_uncollectible(door: Door, invoice: str, reason: str, yes: bool) -> None:
    """Give an invoice up: it stays owed, but nothing tries to collect it any more."""
    _close(door, invoice, "uncollectible", reason, yes)


def _close(door: Door, wanted: str, state: str, reason: str, yes: bool) -> None:
    from billing.domain.invoice import InvoiceState

    app, actor = door.app, door.actor
    (found,) = app.views.invoice_ids([wanted])
    door.confirm(f"Make invoice {wanted} {state}?", yes=yes)
    app.invoices.close(found, InvoiceState(state), reason=reason, actor=actor)
    one = app.views.invoice(found)
    door.answer({"invoice": one}, lambda out: out.line(f"Invoice {one['number']} is {one['state']}."))


def _shown(out: Words, one: dict[str, Any]) -> None:
    out.facts(
        {
            "invoice": one["number"],
            "id": one["id"],
            "state": one["state"],
            "customer": one["customer"],
            "subscription": one["subscription_id"],
            "period": out.days(one["period"], one["time_zone"]),
            "total": f"{out.money(one['total'])}, of which VAT {out.money(one['vat'])}",
            "opened": out.when(one["opened_at"]),
            "next try": out.when(one["next_attempt_at"]),
        }
    )
    out.line()
    lines = [
        (line["description"] + _part(line), line["quantity"], out.money(line["unit_amount"]), out.money(line["amount"]))
        for line in one["lines"]
    ]
    out.table(["line", ">quantity", ">each", ">amount"], lines)
    out.line()
    tries = [
        (t["merchant_uid"], t["state"], WAYS[t["way"]], t["fail_reason"] or t["refusal"], out.when(t["sent_at"]))
        for t in one["attempts"]
    ]
    out.table(["!attempt", "!state", "by", "why", "!sent"], tries, empty="No attempt yet.")
    if one["accounts"]:
        out.line()
        told = [
            (a["bank_name"], a["number"], a["holder"], out.money(a["amount"]), out.when(a["due_at"])) for a in one["accounts"]
        ]
        out.table(["virtual account", "!number", "holder", ">amount", "!until"], told)
    if one["windows"]:
        out.line()
        links = [
            (w["id"], w["purpose"], ", ".join(w["methods"]), out.when(w["created_at"]), out.when(w["expires_at"]), w["actor"])
            for w in one["windows"]
        ]
        out.table(["!link", "!for", "by", "!made", "!good until", "who made it"], links)
    if one["payments"]:
        out.line()
        paid = [
            (p["imp_uid"], p["role"], out.money(p["amount"]), p["card_name"], out.when(p["paid_at"])) for p in one["payments"]
        ]
        out.table(["!payment", "!for", ">amount", "card", "!paid"], paid)
    if one["refunds"]:
        out.line()
        given = [(r["id"], r["state"], out.money(r["amount"]), r["reason"], r["refusal"]) for r in one["refunds"]]
        out.table(["!refund", "!state", ">amount", "reason", "why not"], given)


def _part(line: dict[str, Any]) -> str:
    """The days a line bills, where they are fewer than its period has."""
    is_part = line["part_days"] != line["natural_days"]
    return f" ({line['part_days']} of {line['natural_days']} days)" if is_part else ""
