"""How charges ended, for people and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from billing.app import Billing
    from billing.commands.words import Words
    from billing.domain.settlement import Verdict

WISHED = frozenset({"opened", "paid", "account_issued", "booked", "heeded", "refunded", "refund_settled"})
"""Counts of a pass that say all is as wished; any other makes the exit status 1."""

WAYS = {
    "key": "card on file",
    "window": "window",
    "issue": "window that keeps the card",
    "onetime": "typed-in card",
    "onetime_key": "typed-in card that is kept",
}
"""How the money of an attempt is asked for, in words."""


def documents(app: Billing, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The verdicts, each with how its invoice stands now."""
    invoices = app.views.briefs([one.invoice_id for one in verdicts])
    return [
        {
            "verdict": one.name,
            "invoice_id": one.invoice_id,
            "invoice_number": invoices[one.invoice_id]["number"],
            "invoice_state": invoices[one.invoice_id]["state"],
            "merchant_uid": one.merchant_uid or None,
            "why": why(one),
        }
        for one in verdicts
    ]


def why(verdict: Verdict) -> str | None:
    """What is behind a verdict, in the words of whoever said it; None where the name says all."""
    fact = getattr(verdict, "fact", None)
    if differs := getattr(verdict, "differs", None):
        return f"the PG's record differs in {', '.join(differs)}"
    if reason := getattr(verdict, "reason", None) or getattr(verdict, "why", None):
        return str(reason)
    if fact is not None and getattr(fact, "fail_reason", None):
        return str(fact.fail_reason)
    if verdict.name == "lapsed":
        return "nobody paid in the window" if fact is None else "nobody paid into the account"
    if account := getattr(fact, "account", None):
        return f"it waits for a deposit into {account.bank_name} {account.number}"
    state = getattr(verdict, "state", None)
    return f"it is {state} already" if state is not None else None


def shown(out: Words, found: Sequence[dict[str, Any]]) -> None:
    """A table of verdicts."""
    rows = [(one["invoice_number"], one["verdict"], one["why"], one["merchant_uid"]) for one in found]
    out.table([">invoice", "!outcome", "why", "!merchant_uid"], rows, empty="Nothing was charged.")


def exit_status(found: Sequence[dict[str, Any]]) -> int:
    """0 when every invoice is paid now, 1 when one is not."""
    return 0 if all(one["invoice_state"] == "paid" for one in found) else 1
