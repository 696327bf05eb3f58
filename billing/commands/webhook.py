"""`billing webhook …`: the inbox of the PG's notices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, page, paged, verb
from billing.commands.mishaps import DONE, NOT_AS_WISHED, UNAVAILABLE

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.group()
def webhook() -> None:
    """Read which notices the PG sent, look into some once more, and try the way they take."""


@webhook.command("list")
@click.option("--pending", is_flag=True, help="Only those that still wait for a look.")
@click.option("--outcome", metavar="NAME", help="Only those that ended so: paid, booked, cancelled, forged, foreign, unknown …")
@paged
@verb()
def list_(door: Door, pending: bool, outcome: str | None, limit: int, after: str | None) -> None:
    """List notices, the newest first. A notice is a rumour; what came of looking stands in the last column."""
    rows = door.app.views.webhooks(outcome=outcome, only_pending=pending, limit=limit, after=after)
    door.answer(page("webhooks", rows, limit), lambda out: _shown(out, rows))


@webhook.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@verb(changes=True)
def replay(door: Door, ids: Sequence[str]) -> int:
    """Look into notices once more, now. Never does harm: only what the PG's own records say is booked.

    Exit status 0: looked into. 1: one still waits, because the PG cannot be asked or shows nothing yet.
    """
    app = door.app
    app.webhooks.replay(ids, actor=door.actor)
    app.heed()
    rows = app.views.webhooks_of(ids)
    door.answer({"webhooks": rows}, lambda out: _shown(out, rows))
    return NOT_AS_WISHED if any(one["wake_at"] for one in rows) else DONE


@webhook.command()
@click.option("--url", metavar="URL", help="Send it there. [default: BILLING_PUBLIC_URL and /webhooks/iamport]")
@click.option("--form", "as_form", is_flag=True, help="Encode it as a form, as the PG's console may be set to; else as JSON.")
@click.option(
    "--timeout",
    type=click.IntRange(1, 60),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for an answer.",
)
@verb()
def test(door: Door, url: str | None, as_form: bool, timeout: int) -> int:
    """Send a notice to our own address, the way the PG does, and say what arrived.

    It names a payment that does not exist, like the test button of the PG's console; the secret follows the address by
    itself and is shown nowhere. Exit status 0: it stands in the inbox. 1: it was refused, or went elsewhere. 3: no
    answer came.
    """
    from billing.web import trial

    app = door.app
    link, notice = trial.target(app.settings, url), trial.trial_notice(app.new_id())
    answer = trial.sent(link, notice, app.clock, as_form=as_form, patience=timeout)
    row = app.views.webhook_as(notice.dedupe_key)
    judged = trial.judged(answer, app.settings, is_stored=row is not None)
    warning = trial.warning(app.settings)
    document = {
        "url": trial.shown(link),
        "encoding": "form" if as_form else "json",
        "has_arrived": judged.has_arrived,
        "status": answer.status,
        "took_ms": round(answer.seconds * 1000),
        "said": judged.said,
        "cure": judged.cure,
        "warning": warning,
        "dedupe_key": notice.dedupe_key,
        "inbox": row,
    }

    def words(out: Words) -> None:
        out.line(f"{document['url']}: {judged.said}.", "bold green" if judged.has_arrived else "bold red")
        if judged.cure:
            out.line(f"  {judged.cure}")
        stands = None if row is None else row["outcome"] or "waits for a look: the next pass, or `billing webhook replay ID`"
        out.facts(
            {
                "sent as": document["encoding"],
                "answer": answer.status and f"{answer.status} after {document['took_ms']} ms",
                "notice": notice.dedupe_key,
                "in the inbox": row and row["id"],
                "what came of it": stands,
            }
        )
        if warning:
            out.hint(warning)

    door.answer(document, words)
    if judged.has_arrived:
        return DONE
    return UNAVAILABLE if answer.status is None else NOT_AS_WISHED


def _shown(out: Words, rows: Sequence[dict[str, Any]]) -> None:
    cells = [
        (
            one["id"],
            out.when(one["last_received_at"]),
            one["times_received"],
            one["merchant_uid"],
            one["status"],
            f"waits until {out.when(one['wake_at'])}" if one["wake_at"] else one["outcome"],
        )
        for one in rows
    ]
    out.table(["!notice", "!last came", ">times", "!about", "!says", "what came of it"], cells, empty="No notice.")
