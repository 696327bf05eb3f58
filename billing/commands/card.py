"""`billing card …`: the cards of a customer.

Card data comes in by prompt or standard input and goes straight to the PG. It is never an argument:
arguments are in the shell's history and in the process list of everybody on the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands import invitation, verdicts
from billing.commands.door import Door, verb
from billing.commands.invitation import invites, wished
from billing.commands.mishaps import DONE, NOT_AS_WISHED
from billing.errors import RuleError

if TYPE_CHECKING:
    from billing.commands.words import Words
    from billing.domain.settlement import Verdict
    from billing.gateway.card import Card

_STDIN_BYTES_MAX = 4096


@click.group()
def card() -> None:
    """Register, list and remove the cards of a customer; charge one that is typed in."""


def _keyed_in(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a verb take a card, by prompt or standard input; everything else on its line is refused unseen."""
    wrapped = click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="")(function)
    help = "Read the card as JSON from standard input, as when it is no terminal."
    return click.option("--stdin", "from_stdin", is_flag=True, help=help)(wrapped)


def _refuse_arguments(others: tuple[str, ...]) -> None:
    if others:
        # What stands there may be a card: it is neither repeated nor looked at.
        cure = "leave them out and answer the prompts, or pipe JSON to --stdin"
        raise RuleError("card", "takes no other arguments, and card data is never taken from them", cure)


@card.command(context_settings={"ignore_unknown_options": True})
@click.argument("customer")
@_keyed_in
@verb(changes=True)
def add(door: Door, customer: str, others: tuple[str, ...], from_stdin: bool) -> int:
    """Register a card by key-in and make it the one CUSTOMER is charged on.

    The four fields are prompted for without echo, or read as one JSON object {"number", "expiry", "birth",
    "pwd_2digit"} from standard input. Exit status 1: the PG or the issuer refused the card.
    """
    _refuse_arguments(others)
    app, actor = door.app, door.actor
    owner = app.views.customer(customer)["id"]
    before = {one["id"] for one in app.views.cards(owner)}
    answer = app.cards.add(owner, _typed(from_stdin), actor=actor)
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


@card.command()
@click.argument("customer")
@click.option("--charge", "invoice", metavar="INVOICE", help="Charge this open invoice on the card as soon as it is registered.")
@invites
@verb(changes=True)
def window(door: Door, customer: str, invoice: str | None, **wishes: Any) -> None:
    """Make a link with which CUSTOMER registers a card in the PG's own window; card data never comes near here.

    Nothing is sent: the link is yours to hand over. The card becomes the one CUSTOMER is charged on.
    """
    app, actor = door.app, door.actor
    owner = app.views.customer(customer)
    name = owner["external_id"]
    owed = app.views.invoice(invoice) if invoice is not None else None
    if owed is not None and owed["customer_id"] != owner["id"]:
        raise RuleError("--charge", f"is no invoice of {name}", f"choose one of `billing invoice list --customer {name}`")
    made = app.checkouts.register_card(owner["id"], invoice=owed["id"] if owed else None, actor=actor, **wished(**wishes))
    what = f"It registers a card of {name}" + (f" and pays invoice {owed['number']}" if owed else "")
    invitation.told(door, made, what, {"customer": name, "invoice_number": owed["number"] if owed else None})


@card.command(context_settings={"ignore_unknown_options": True})
@click.argument("invoice")
@click.option("--keep", "keeps", is_flag=True, help="Once it is paid, charge the customer on this card from then on.")
@_keyed_in
@verb(changes=True)
def charge(door: Door, invoice: str, others: tuple[str, ...], from_stdin: bool, keeps: bool) -> int:
    """Charge an open INVOICE to a card that is typed in, once; the card on file stays unless --keep is given.

    The card comes in as for `card add`. It is sent once and never again: what becomes of a charge whose answer was lost
    is looked up, by this command and then by every pass. Exit status 0: paid. 1: not paid, or not known yet.
    """
    from billing.key_in import KeyIn

    _refuse_arguments(others)
    app, actor = door.app, door.actor
    (owed,) = app.views.invoice_ids([invoice])
    verdict = KeyIn(app).charge(owed, _typed(from_stdin), keeps=keeps, actor=actor)
    (found,) = verdicts.documents(app, [verdict])
    attempt = app.views.attempt(verdict.merchant_uid) if verdict.merchant_uid else None
    is_paid = found["invoice_state"] == "paid" and verdict.name in ("paid", "booked")
    kept = _kept(door, attempt) if keeps and attempt and is_paid else None

    def words(out: Words) -> None:
        text, style = _outcome(verdict, found)
        out.line(text, style)
        if verdict.name in ("unknown", "mismatch"):
            out.hint(f"See billing attempt show {verdict.merchant_uid}")
        if kept:
            out.line(f"Kept: {kept['card_name']} {kept['card_number']}", "green")
        elif keeps and is_paid:
            out.hint("The PG does not show the kept card yet; every pass asks for it again.")

    door.answer({**found, "card": kept}, words)
    return DONE if is_paid else NOT_AS_WISHED


def _kept(door: Door, attempt: dict[str, Any]) -> dict[str, Any] | None:
    """The card a charge kept, where it is the current one already."""
    found = door.app.views.cards(attempt["customer_id"])
    return next((one for one in found if (one["customer_uid"], one["state"]) == (attempt["customer_uid"], "current")), None)


def _outcome(verdict: Verdict, found: dict[str, Any]) -> tuple[str, str]:
    """How it ended, and what happens next."""
    number, why = found["invoice_number"], found["why"]
    match verdict.name:
        case "paid" | "booked" if found["invoice_state"] == "paid":
            return f"Paid: invoice {number}.", "green"
        case "declined" | "rejected":
            return f"The card was refused: {why}. Nothing was charged; invoice {number} is collected as before.", "red"
        case "unknown":
            text = "The card is not sent again; every pass looks the charge up, and until then nothing else collects invoice"
            return f"Not known yet: {why}. {text} {number}.", "yellow"
        case "unsent" | "not_tried":
            text = f"Nothing was sent: {why}. The card is forgotten here; type it again where invoice {number} is still owed."
            return text, "yellow"
        case "mismatch":
            return f"Money moved, but {why}. Nothing is granted until somebody decides.", "red"
        case "surplus":
            return f"Invoice {number} needed no money any more; what was charged is to be given back: billing refund list", "red"
    return f"{verdict.name}: {why}", "yellow"


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


def _typed(from_stdin: bool) -> Card:
    return _piped() if from_stdin or not sys.stdin.isatty() else _prompted()


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
