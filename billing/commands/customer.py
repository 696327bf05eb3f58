"""`billing customer …`: those who pay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, page, paged, verb
from billing.errors import RuleError

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.group()
def customer() -> None:
    """Add and look up those who pay."""


@customer.command()
@click.argument("external_id", required=False)
@click.option(
    "--external-id", "named", metavar="ID", help="The id your own system knows the customer by; the same as EXTERNAL_ID."
)
@click.option("--name", default="", help="Shown to the card issuer.")
@click.option("--email", default="")
@click.option("--tel", default="")
@click.option("--time-zone", metavar="ZONE", help="Where its billing dates live, such as Asia/Seoul. [default: yours]")
@verb(changes=True)
def add(door: Door, external_id: str | None, named: str | None, name: str, email: str, tel: str, time_zone: str | None) -> None:
    """Add a customer under the id your own system knows it by."""
    wanted = named if external_id is None else external_id
    if wanted is None:
        raise RuleError("--external-id", "is missing", "write for example billing customer add mina")
    if None not in (external_id, named) and external_id != named:
        raise RuleError("--external-id", "is given twice, differently", "give it once")
    door.app.customers.add(wanted, name=name, email=email, tel=tel, time_zone=time_zone, actor=door.actor)
    one = door.app.views.customer(wanted)

    def words(out: Words) -> None:
        out.line(f"Customer {one['external_id']} is added.", "green")
        out.hint(f"next: billing card add {one['external_id']}")

    door.answer({"customer": one}, words)


@customer.command("list")
@paged
@verb()
def list_(door: Door, limit: int, after: str | None) -> None:
    """List customers, the newest first."""
    rows = door.app.views.customers(limit=limit, after=after)

    def words(out: Words) -> None:
        cells = [(one["external_id"], one["name"], one["email"], one["card"], out.day(one["created_at"])) for one in rows]
        out.table(
            ["customer", "name", "email", "card", "!since"], cells, empty="No customer yet: billing customer add EXTERNAL_ID"
        )

    door.answer(page("customers", rows, limit), words)


@customer.command()
@click.argument("customer")
@verb()
def show(door: Door, customer: str) -> None:
    """Show one customer with its cards and subscriptions. CUSTOMER is an id or external id."""
    one = door.app.views.customer(customer)

    def words(out: Words) -> None:
        out.facts(
            {
                "customer": one["external_id"],
                "id": one["id"],
                "name": one["name"] or None,
                "email": one["email"] or None,
                "tel": one["tel"] or None,
                "time zone": one["time_zone"],
                "since": out.when(one["created_at"]),
            }
        )
        out.line()
        cards = [(card["customer_uid"], card["state"], card["card_name"], card["card_number"]) for card in one["cards"]]
        out.table(["!card", "!state", "issuer", "!number"], cards, empty="No card: billing card add CUSTOMER")
        out.line()
        zone = one["time_zone"]
        subscriptions = [
            (s["id"], s["state"], s["price"], out.day(s["period"] and s["period"]["end"], zone)) for s in one["subscriptions"]
        ]
        out.table(["!subscription", "!state", "price", "!paid until"], subscriptions, empty="No subscription.")

    door.answer({"customer": one}, words)
