"""`billing card …`: the cards of a customer.

Card data comes in by prompt or standard input and goes straight to the PG. It is never an argument:
arguments are in the shell's history and in the process list of everybody on the machine.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.mishaps import DONE, NOT_AS_WISHED
from billing.errors import RuleError

if TYPE_CHECKING:
    from billing.commands.words import Words
    from billing.gateway.card import Card

_STDIN_BYTES_MAX = 4096


@click.group()
def card() -> None:
    """Register, list and remove the cards of a customer."""


@card.command(context_settings={"ignore_unknown_options": True})
@click.argument("customer")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the card as JSON from standard input, as when it is no terminal.")
@click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="")
@verb(changes=True)
def add(door: Door, customer: str, others: tuple[str, ...], from_stdin: bool) -> int:
    """Register a card by key-in and make it the one CUSTOMER is charged on.

    The four fields are prompted for without echo, or read as one JSON object {"number", "expiry", "birth",
    "pwd_2digit"} from standard input. Exit status 1: the PG or the issuer refused the card.
    """
    if others:
        # What stands there may be a card: it is neither repeated nor looked at.
        cure = "leave them out and answer the prompts, or pipe JSON to --stdin"
        raise RuleError("card", "takes no other arguments, and card data is never taken from them", cure)
    app, actor = door.app, door.actor
    owner = app.views.customer(customer)["id"]
    before = {one["id"] for one in app.views.cards(owner)}
    answer = app.cards.add(owner, _piped() if from_stdin or not sys.stdin.isatty() else _prompted(), actor=actor)
    refusal = getattr(answer, "reason", None)
    current = next((one for one in app.views.cards(owner) if one["id"] not in before), None)
    document: dict[str, Any] = {"status": "refused" if refusal else "registered", "reason": refusal, "card": current}

    def words(out: Words) -> None:
        if refusal:
            out.line(f"The card was refused: {refusal}", "red")
        elif current:
            out.line(f"Registered: {current['card_name']} {current['card_number']}", "green")

    door.answer(document, words)
    return NOT_AS_WISHED if refusal else DONE


@card.command("list")
@click.argument("customer")
@verb()
def list_(door: Door, customer: str) -> None:
    """List every card CUSTOMER ever had, the oldest first."""
    cards = door.app.views.cards(customer)

    def words(out: Words) -> None:
        rows = [
            (one["customer_uid"], one["state"], one["card_name"], one["card_number"], out.day(one["created_at"])) for one in cards
        ]
        out.table(["!card", "!state", "issuer", "!number", "!since"], rows, empty="No card: billing card add CUSTOMER")

    door.answer({"cards": cards}, words)


@card.command()
@click.argument("customer")
@click.argument("card")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb(changes=True)
def remove(door: Door, customer: str, card: str, yes: bool) -> None:
    """Delete a card of CUSTOMER at the PG and here. CARD is its customer_uid or id, as `card list` shows it."""
    app, actor = door.app, door.actor
    door.confirm(f"Delete card {card} of {customer} at the PG?", yes=yes)
    gone = app.cards.remove(customer, card, actor=actor)
    shown = next(one for one in app.views.cards(customer) if one["id"] == gone.id)
    door.answer({"card": shown}, lambda out: out.line(f"Removed: {shown['card_name']} {shown['card_number']}"))


def _piped() -> Card:
    from billing.gateway.card import Card

    content = sys.stdin.buffer.read(_STDIN_BYTES_MAX + 1)
    if len(content) > _STDIN_BYTES_MAX:
        del content
        raise RuleError("card", "is larger than any card", 'pass {"number", "expiry", "birth", "pwd_2digit"}')
    return Card.from_json(content)


def _prompted() -> Card:
    from billing.gateway.card import Card

    return Card(
        number=_asked("Card number"),
        expiry=_asked("Expiry (MM/YY)"),
        birth=_asked("Birth date YYMMDD, or business number (empty if none is needed)"),
        pwd_2digit=_asked("First two digits of the card password (empty if none is needed)"),
    )


def _asked(what: str) -> str:
    answer: str = click.prompt(what, default="", show_default=False, hide_input=True, err=True)
    return answer
