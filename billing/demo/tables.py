"""The demo on a terminal: what will happen, how it ended, one life, and where to go next. 80 columns are enough."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from shlex import quote

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from billing.demo.folder import DATABASE, INSTANCE, PG, REPORT
from billing.demo.people import OPENS_ON, ends_on
from billing.demo.story import Story, won
from billing.demo.tally import Tally

STATE_WORDS = {
    "scheduled": "agreed, starts on a later day",
    "incomplete": "first payment not completed yet",
    "trialing": "in the trial",
    "active": "paid and running",
    "past_due": "last invoice failed, dunning is under way",
    "paused": "nothing billed until resumed",
    "canceled": "left, or given up after the last retry",
    "ended": "ran to the end of the paid period",
}
_MOODS = {"good": "green", "bad": "red", "odd": "yellow", "plain": ""}
_SIGNS = {"good": "✓", "bad": "✗", "odd": "·", "plain": "•"}


class Page:
    """Prints on standard output; colour and width as the terminal has them."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def intro(self, subscribers: int, months: int, seed: int) -> None:
        """What will happen, and by which rules."""
        self._head("A year of subscription billing" if months == 12 else f"{months} months of subscription billing")
        last = ends_on(months)
        self._prose(
            f"{subscribers} made-up subscribers, {_date(OPENS_ON)} to {_date(last)} on a clock moved by hand, seed {seed}. "
            "The PG is the sandbox of this package and the cards are its test cards: no real money, no network. "
            "All else is the real engine on SQLite."
        )
        for rule in (
            "Every boundary is counted from the anchor: 31 Jan, 29 Feb, 31 Mar; 29 Feb yearly comes back on 28 Feb.",
            "A decline is tried again 1, 3, 5 and 7 days later. A dead card waits those 7 days for another one. "
            "Then the subscription is given up.",
            "Answers are lost on purpose. A charge whose end is not known is looked up at the PG, never just repeated.",
        ):
            self._console.print(Padding(Text(f"• {rule}"), (0, 0, 0, 2)))
        self._console.print()

    def result(self, tally: Tally, story: Story) -> None:
        """Every table, then the life of one subscriber."""
        self._subscribers(tally)
        self._outcomes(tally)
        self._doubts(tally)
        self._months(tally)
        self._money(tally)
        self._story(story)

    def ways_on(self, folder: Path, seconds: float) -> None:
        """Where the files are and what to try next."""
        self._head("And now")
        here = str(folder)
        self._console.print(Text(f"  report      {here}/{REPORT}  (open it in a browser)"), soft_wrap=True)
        self._console.print(Text(f"  took        {seconds:.1f} s"))
        self._console.print()
        self._console.print(Text("  Go on with this database, one day later:", style="dim"))
        for line in (
            f"export BILLING_DATABASE_URL={quote(f'sqlite:///{here}/{DATABASE}')}",
            f"export BILLING_SANDBOX_FILE={quote(f'{here}/{PG}')}",
            f"export BILLING_INSTANCE_FILE={quote(f'{here}/{INSTANCE}')}",
            "billing verify",
            "billing clock advance 1d && billing renew",
            "billing --help",
        ):
            self._console.print(Text(f"    {line}", style="bold"), soft_wrap=True)

    # --- tables ----------------------------------------------------------------------------------

    def _subscribers(self, tally: Tally) -> None:
        everyone = sum(tally.states.values())
        rows = [
            (state.replace("_", " "), f"{count:,}", _share(count, everyone), STATE_WORDS[state])
            for state, count in tally.states.items()
        ]
        self._table("Subscribers at the end", ("State", ">Count", ">Share", "Meaning"), rows, ("total", f"{everyone:,}", "", ""))

    def _outcomes(self, tally: Tally) -> None:
        ends = tally.outcomes
        rows = [
            ("paid at the first try", ends.at_once, "green"),
            *((f"recovered: {way}", count, "green") for way, count in ends.recovered.items()),
            ("given up, subscription canceled", ends.given_up, "red"),
            ("void: canceled before it was paid", ends.void, ""),
            ("open: dunning is under way", ends.open, "yellow"),
        ]
        told = [(Text(what, style=style), f"{count:,}", _share(count, ends.total)) for what, count, style in rows]
        self._table(
            "First payments and renewals",
            ("Invoice", ">Count", ">Share"),
            told,
            (f"numbered 1 to {tally.invoice_numbers:,}", f"{ends.total:,}", ""),
        )

    def _doubts(self, tally: Tally) -> None:
        doubts = tally.doubts
        rows = [
            ("charged, but the answer was lost", doubts.lost_answers),
            ("charged, but answered with a 502 or half a body", doubts.broken_answers),
            ("not charged: request lost, 502, 429 or 401", doubts.not_executed),
            ("… of these not known at once, looked up later", doubts.looked_up_later),
            ("… sent again under the same number, once proven safe", doubts.sent_again),
            ("declined, approved late, found before the retry", doubts.approved_late),
        ]
        end = ("still undecided", _checked(not doubts.undecided, f"{doubts.undecided}"))
        self._table("Doubtful answers", ("What the PG said", ">Count"), [(what, f"{count:,}") for what, count in rows], end)

    def _months(self, tally: Tally) -> None:
        rows = [
            (one.label, str(one.joined), str(one.left), f"{one.at_once:,}", str(one.recovered), str(one.unpaid), won(one.total))
            for one in tally.months
        ]
        columns = ("Month", ">Joined", ">Left", ">At once", ">Recovered", ">Unpaid", ">Collected")
        self._table("Month by month", columns, rows, ("", "", "", "", "", "", won(tally.money.payments)))

    def _money(self, tally: Tally) -> None:
        money, proof = tally.money, tally.proof
        rows: list[Sequence[RenderableType]] = [
            ("collected, by our payments", won(money.payments)),
            ("collected, by our ledger", _checked(money.ledger == money.payments, won(money.ledger))),
            ("collected, by the PG's own ledger", _checked(money.pg == money.payments, won(money.pg))),
            ("refunded", won(money.refunded)),
            ("double charges", _checked(not money.double_charges, f"{money.double_charges}")),
            ("invoice numbers without a gap", _checked(tally.numbers_have_no_gap, f"1–{tally.invoice_numbers:,}")),
            (
                "guards standing in the database",
                _checked(tally.guards_stand, f"{tally.guards}"),
            ),
            ("audit chains unbroken", _checked(tally.chains_hold, f"{tally.chains:,}")),
            ("contradictions found by verify", _checked(proof.holds, f"{len(proof.differences)}")),
        ]
        self._table("The proof", ("", ">"), rows)
        for difference in proof.differences:
            self._console.print(Text(f"  {difference}", style="red"))
        self._console.print(Text(f"  digest {tally.digest}", style="dim"), soft_wrap=True)
        self._prose("The same version, options and seed give the same digest.", style="dim")

    def _story(self, story: Story) -> None:
        self._head(f"The life of {story.name}")
        self._prose(f"{story.terms}. {story.email} is as invented as the name.", style="dim")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for one in story.moments:
            style = _MOODS[one.mood]
            table.add_row(
                Text(f"{one.at:%Y-%m-%d %H:%M}", style="dim"), Text(_SIGNS[one.mood], style=style), Text(one.words, style=style)
            )
        self._console.print(Padding(table, (0, 0, 0, 2)))
        self._prose(f"{story.payments} payments for {story.periods} periods, {won(story.paid)}.", style="bold")

    # --- how it looks ------------------------------------------------------------------------------

    def _head(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold cyan"))
        self._console.print()

    def _prose(self, text: str, style: str = "") -> None:
        self._console.print(Padding(Text(text, style=style), (0, 0, 1, 2)))

    def _table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[RenderableType]],
        last: Sequence[RenderableType] | None = None,
    ) -> None:
        self._head(title)
        table = Table(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
            header_style="dim",
            show_header=any(name.strip(">") for name in columns),
        )
        for name in columns:
            table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left")
        for row in rows:
            table.add_row(*row)
        if last is not None:
            table.add_section()
            table.add_row(*last, style="bold")
        self._console.print(Padding(table, (0, 0, 0, 2)))


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "–"


def _checked(is_right: bool, text: str) -> Text:
    return Text(f"{text} {'✓' if is_right else '✗'}", style="green" if is_right else "bold red")


def _date(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
