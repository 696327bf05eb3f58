"""`billing subscription …`: who pays for what."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands import verdicts
from billing.commands.door import Door, page, paged, verb
from billing.commands.kinds import DAY

if TYPE_CHECKING:
    from billing.commands.words import Words

STATES = ("scheduled", "incomplete", "trialing", "active", "past_due", "paused", "canceled", "ended")


@click.group()
def subscription() -> None:
    """Start, look up, pause and cancel subscriptions."""


@subscription.command()
@click.argument("customer")
@click.argument("price")
@click.option("--quantity", type=int, default=1, show_default=True, help="How many units of the price.")
@click.option("--start", type=DAY, metavar="DATE", help="First day, in the customer's zone. [default: today]")
@click.option("--trial-days", type=int, metavar="N", help="Instead of the price's own; 0 for none.")
@click.option("--key", metavar="KEY", help="Names the request: repeated under the same key, it is the same subscription.")
@verb(changes=True)
def add(door: Door, customer: str, price: str, quantity: int, start: date | None, trial_days: int | None, key: str | None) -> int:
    """Subscribe CUSTOMER to the price on sale under the code PRICE.

    Starting today or earlier and without a trial, the first payment is charged now. Exit status 1: it did not
    succeed; the subscription stays incomplete for three days, in which `billing retry` can complete it.
    """
    app = door.app
    started = app.subscriptions.start(
        customer, price, quantity=quantity, start_on=start, trial_days=trial_days, request_key=key, actor=door.actor
    )
    one = app.views.subscription(started.subscription_id)
    found = verdicts.documents(app, started.verdicts)

    def words(out: Words) -> None:
        _facts(out, one)
        if found:
            out.line()
            verdicts.shown(out, found)

    door.answer({"subscription": one, "verdicts": found}, words)
    return verdicts.exit_status(found)


@subscription.command("list")
@click.option("--state", type=click.Choice(STATES), metavar="STATE", help=f"One of {', '.join(STATES)}.")
@click.option("--customer", metavar="CUSTOMER", help="Only those of one customer.")
@paged
@verb()
def list_(door: Door, state: str | None, customer: str | None, limit: int, after: str | None) -> None:
    """List subscriptions, the newest first."""
    rows = door.app.views.subscriptions(state=state, of=customer, limit=limit, after=after)

    def words(out: Words) -> None:
        cells = [
            (one["id"], _state(one), one["customer"], one["price"], out.day(one["due_at"], one["time_zone"])) for one in rows
        ]
        out.table(["!subscription", "!state", "customer", "price", "!next due"], cells, empty="No subscription.")

    door.answer(page("subscriptions", rows, limit), words)


@subscription.command()
@click.argument("subscription")
@verb()
def show(door: Door, subscription: str) -> None:
    """Show one subscription with its newest invoices. SUBSCRIPTION is an id."""
    one = door.app.views.subscription(subscription)

    def words(out: Words) -> None:
        _facts(out, one)
        out.line()
        zone = one["time_zone"]
        rows = [
            (i["number"], i["state"], out.money(i["total"]), out.days(i["period"], zone), out.when(i["next_attempt_at"]))
            for i in one["invoices"]
        ]
        out.table([">invoice", "!state", ">total", "period", "!next try"], rows, empty="No invoice yet.")

    door.answer({"subscription": one}, words)


@subscription.command()
@click.argument("subscription")
@click.option("--at-period-end/--now", default=True, show_default=True, help="When the paid period or trial ends, or at once.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb(changes=True)
def cancel(door: Door, subscription: str, at_period_end: bool, yes: bool) -> None:
    """Stop a subscription at the end of what is paid, or now.

    Now: what is still owed is void. A charge that is on its way cannot be called back; if it succeeds, the host is told.
    """
    app, actor = door.app, door.actor
    app.views.subscription(subscription)
    if not at_period_end:
        door.confirm(f"Cancel subscription {subscription} now, and void what it owes?", yes=yes)
    stopped = app.subscriptions.cancel(subscription, at_period_end=at_period_end, actor=actor)
    one = app.views.subscription(subscription)

    def words(out: Words) -> None:
        _facts(out, one)
        if stopped.charge_in_flight:
            out.line("A charge was on its way; how it ends is not known yet.", "yellow")

    door.answer({"subscription": one, "charge_in_flight": stopped.charge_in_flight}, words)


@subscription.command()
@click.argument("subscription")
@verb(changes=True)
def uncancel(door: Door, subscription: str) -> None:
    """Take back a cancellation that has not happened yet."""
    door.app.subscriptions.uncancel(subscription, actor=door.actor)
    _tell(door, subscription)


@subscription.command()
@click.argument("subscription")
@verb(changes=True)
def pause(door: Door, subscription: str) -> None:
    """Bill nothing until it is resumed; the paid period runs on."""
    door.app.subscriptions.pause(subscription, actor=door.actor)
    _tell(door, subscription)


@subscription.command()
@click.argument("subscription")
@verb(changes=True)
def resume(door: Door, subscription: str) -> None:
    """Go on billing a paused or parked subscription."""
    door.app.subscriptions.resume(subscription, actor=door.actor)
    _tell(door, subscription)


def _tell(door: Door, wanted: str) -> None:
    one = door.app.views.subscription(wanted)
    door.answer({"subscription": one}, lambda out: _facts(out, one))


def _state(one: dict[str, Any]) -> str:
    return "parked" if one["parked_reason"] else "ends soon" if one["cancel_at_end"] else str(one["state"])


def _facts(out: Words, one: dict[str, Any]) -> None:
    zone = one["time_zone"]
    units = f" × {one['quantity']}" if one["quantity"] > 1 else ""
    cost = f"{out.money(one['amount'])} every {one['every'].removeprefix('1 ')}"
    out.facts(
        {
            "subscription": one["id"],
            "customer": one["customer"],
            "price": f"{one['price']} v{one['price_version']}{units}, {cost}",
            "state": one["state"],
            "trial until": out.day(one["trial_end"], zone) if one["state"] == "trialing" else None,
            "paid period": out.days(one["period"], zone),
            "next due": out.day(one["due_at"], zone),
            "cancels": "when the period ends" if one["cancel_at_end"] else None,
            "ended": out.when(one["ended_at"]),
            "parked": one["parked_reason"],
        }
    )
