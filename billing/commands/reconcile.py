"""`billing reconcile`."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.kinds import DAY_OR_MOMENT
from billing.commands.mishaps import CALL_SOMEONE, DONE, NOT_AS_WISHED

if TYPE_CHECKING:
    from billing.commands.words import Words
    from billing.domain.reconciliation import Report


@click.command()
@click.option(
    "--from", "since", type=DAY_OR_MOMENT, metavar="WHEN", help="Instant or date to begin with. [default: the last run's end]"
)
@click.option("--to", "until", type=DAY_OR_MOMENT, metavar="WHEN", help="Instant or date to end before. [default: now]")
@verb(changes=True)
def reconcile(door: Door, since: date | datetime | None, until: date | datetime | None) -> int:
    """Compare the PG's own list of payments with the books. Every process does this by itself every quarter of an hour.

    What the books did not know is settled, refunds made in the PG's console are taken over, and what no rule explains is
    kept as a finding. An order number of ours without a row here switches charging off.

    Exit status 0: nothing differs. 1: something was set right, and all is explained. 4: findings wait for an explanation:
    `billing finding list`.
    """
    app, actor = door.app, door.actor
    report = app.reconcile(_instant(door, since), _instant(door, until), actor=actor)
    new = app.views.findings_of([one.id for one in report.new])
    waiting = app.views.findings_of([one.id for one in report.unexplained])
    door.answer(_document(report, new, waiting), lambda out: _shown(out, report, waiting))
    if waiting:
        return CALL_SOMEONE
    return DONE if report.is_clean else NOT_AS_WISHED


def _instant(door: Door, given: date | datetime | None) -> datetime | None:
    """A date is its first moment on the merchant's clock."""
    if given is None or isinstance(given, datetime):
        return given
    from plans.calendar import midnight

    return midnight(given, door.settings.zone)


def _document(report: Report, new: list[dict[str, Any]], waiting: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "is_clean": report.is_clean,
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "pages": report.pages,
        "payments": report.payments,
        "settled": [
            {"verdict": one.name, "merchant_uid": one.merchant_uid, "invoice_id": one.invoice_id} for one in report.settled
        ],
        "adopted": [
            {"refund_id": one.id, "imp_uid": one.imp_uid, "amount": {"amount": one.amount, "currency": one.currency}}
            for one in report.adopted
        ],
        "new": new,
        "unexplained": waiting,
        "is_frozen": report.is_frozen,
    }


def _shown(out: Words, report: Report, waiting: list[dict[str, Any]]) -> None:
    from billing.commands.finding import table

    span = f"{out.when(report.since.isoformat())} → {out.when(report.until.isoformat())}"
    out.facts({"compared": span, "payments at the PG": f"{report.payments:,}", "calls": report.pages})
    for verdict in report.settled:
        out.line(f"settled {verdict.merchant_uid}: {verdict.name}")
    for refund in report.adopted:
        money = out.money({"amount": refund.amount, "currency": refund.currency})
        out.line(f"taken over {refund.id}: {money} of {refund.imp_uid} was given back")
    out.line()
    if waiting:
        out.line(f"{len(waiting)} finding(s) wait for an explanation:", "bold red")
        table(out, waiting)
        out.hint("`billing finding explain ID --reason TEXT` once you know what it was.")
    else:
        out.line("Everything is explained.", "bold green")
    if report.is_frozen:
        out.line("Charging is frozen; see `billing freeze status`.", "bold red")
