"""The report: one HTML file that needs nothing else, for light and dark, desk and phone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from html import escape
from pathlib import Path

from billing.demo.charts import Series, bars, columns, strip
from billing.demo.story import Story, won
from billing.demo.tables import STATE_WORDS
from billing.demo.tally import Tally

_STYLE = Path(__file__).with_name("report.css")
_STATE_INK = {
    "active": "ink-a",
    "trialing": "ink-b",
    "scheduled": "ink-d",
    "incomplete": "ink-c",
    "past_due": "ink-c",
    "paused": "ink-d",
    "canceled": "ink-bad",
    "ended": "ink-mute",
}
_PRICE_INK = ("ink-a", "ink-b", "ink-c", "ink-d")


def written(tally: Tally, story: Story) -> str:
    """Return the whole page. Whatever comes from the books is escaped: a name may hold markup."""
    parts = (
        _head(tally),
        _proof(tally),
        _tiles(tally),
        _revenue(tally),
        _outcomes(tally),
        _ladder(tally),
        _states(tally),
        _doubts(tally),
        _story(story),
        _foot(tally),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_title(tally)} – billing demo</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _title(tally: Tally) -> str:
    return (
        "A year of subscription billing" if tally.months_asked == 12 else f"{tally.months_asked} months of subscription billing"
    )


def _head(tally: Tally) -> str:
    people = sum(tally.states.values())
    return (
        f'<header><p class="eyebrow">billing demo · simulated</p><h1>{_title(tally)}</h1>'
        f'<p class="lead">{people:,} made-up subscribers from {_day(tally.first_day)} to {_day(tally.last_day)}, '
        f"on a clock moved by hand (seed {tally.seed}). The engine is the real one; the PG is the sandbox that comes with it, "
        "the cards are its test cards. No real money, no real person, no network.</p></header>"
    )


def _proof(tally: Tally) -> str:
    money = tally.money
    sums = (("our payments", money.payments), ("our ledger", money.ledger), ("the PG’s own ledger", money.pg))
    equal = '<span class="equals" aria-hidden="true">{}</span>'.format("=" if money.agree else "≠")
    told = equal.join(f'<div class="sum"><b>{won(amount)}</b><span>{name}</span></div>' for name, amount in sums)
    facts = (
        (money.double_charges == 0, f"{money.double_charges} double charges"),
        (True, f"{won(money.refunded)} refunded"),
        (not tally.doubts.undecided, f"{tally.doubts.undecided} outcomes undecided"),
        (tally.numbers_have_no_gap, f"invoices 1–{tally.invoice_numbers:,} without a gap"),
        (tally.guards_stand, f"{tally.guards} database guards standing"),
        (tally.chains_hold, f"{tally.chains:,} audit chains unbroken"),
    )
    chips = "".join(
        f'<li class="{_good(is_right)}"><i>{"✓" if is_right else "✗"}</i>{escape(text)}</li>' for is_right, text in facts
    )
    verdict = "Every won is accounted for" if tally.holds else "The books contradict each other"
    wrong = "".join(f"<li>{escape(one)}</li>" for one in tally.proof.differences)
    return (
        f'<section class="proof {_good(tally.holds)}" aria-labelledby="proof"><h2 id="proof">{verdict}</h2>'
        f'<div class="sums">{told}</div><ul class="chips">{chips}</ul>{f"<ul>{wrong}</ul>" if wrong else ""}</section>'
    )


def _tiles(tally: Tally) -> str:
    ends = tally.outcomes
    failed = ends.total - ends.at_once - ends.void
    running = sum(tally.states.get(state, 0) for state in ("active", "trialing"))
    tiles = (
        (_percent(ends.at_once, ends.total), f"paid at the first try, of {ends.total:,} invoices"),
        (_percent(ends.recovered_total, failed), f"of {failed:,} failed ones recovered"),
        (
            f"{tally.doubts.lost_answers + tally.doubts.broken_answers:,}",
            f"answers lost on the way, {tally.money.double_charges} double charges",
        ),
        (f"{running:,}", f"of {sum(tally.states.values()):,} subscribers running at the end"),
    )
    return (
        '<section class="tiles">'
        + "".join(f"<div><b>{escape(big)}</b><span>{escape(small)}</span></div>" for big, small in tiles)
        + "</section>"
    )


def _revenue(tally: Tally) -> str:
    labels = [_month(one.label) for one in tally.months]
    series = [
        Series(name, _PRICE_INK[at % len(_PRICE_INK)], [one.collected.get(code, 0) for one in tally.months])
        for at, (code, name) in enumerate(tally.prices.items())
    ]
    shown = [one for one in series if any(one.values)]
    chart = columns(
        "Money collected per month", _spoken(labels, [one.total for one in tally.months], won), labels, shown, won, _short
    )
    note = "January 2028 has one day here, the 31st."
    if tally.months_asked >= 12:
        note += " Those who pay yearly since 29 February 2028 pay again on 28 February 2029."
    rows = [(full, *(won(one.values[at]) for one in shown), won(tally.months[at].total)) for at, (_, full) in enumerate(labels)]
    rows.append(("Total", *(won(sum(one.values)) for one in shown), won(sum(one.total for one in tally.months))))
    table = _table(("Month", *(one.name for one in shown), "Total"), rows, "Money collected per month and price")
    return _figure(
        "Money collected",
        "Per month, by price, VAT included.",
        _legend((one.name, one.css) for one in shown) + chart,
        table,
        note,
    )


def _outcomes(tally: Tally) -> str:
    labels = [_month(one.label) for one in tally.months]
    series = [
        Series("paid at the first try", "ink-a", [one.at_once for one in tally.months]),
        Series("recovered", "ink-b", [one.recovered for one in tally.months]),
        Series("not collected", "ink-bad", [one.unpaid for one in tally.months]),
    ]
    desc = _spoken(labels, [one.at_once + one.recovered + one.unpaid for one in tally.months], lambda value: f"{value} invoices")
    chart = columns("How invoices ended, by the month they were opened", desc, labels, series, _plain, _plain)
    rows = [(full, *(_plain(one.values[at]) for one in series)) for at, (_, full) in enumerate(labels)]
    table = _table(("Month", *(one.name.capitalize() for one in series)), rows, "How invoices ended, by month")
    note = "“Not collected” are invoices given up, void, or still open on the last day."
    return _figure(
        "How invoices ended",
        "By the month they were opened.",
        _legend((one.name, one.css) for one in series) + chart,
        table,
        note,
    )


def _ladder(tally: Tally) -> str:
    ends = tally.outcomes
    rows = [(way, "ink-b", value) for way, value in ends.recovered.items()]
    rows += [("given up", "ink-bad", ends.given_up), ("still open", "ink-c", ends.open)]
    desc = "; ".join(f"{name}: {value}" for name, _, value in rows)
    chart = bars("What became of charges that failed at first", desc, rows, _plain)
    table = _table(
        ("What became of it", "Invoices"), [(name, _plain(value)) for name, _, value in rows], "What became of failed charges"
    )
    return _figure(
        "After a failed charge",
        "Tried again 1, 3, 5 and 7 days after the first decline. A card that will not get better waits for another one instead.",
        chart,
        table,
        "“Approved late”: the issuer said no and meant yes. The look-up before each retry finds it; nobody is asked twice.",
    )


def _states(tally: Tally) -> str:
    parts = [(state.replace("_", " "), _STATE_INK[state], value) for state, value in tally.states.items()]
    chart = strip("Subscribers by state on the last day", "; ".join(f"{name}: {value}" for name, _, value in parts), parts)
    rows = [(state.replace("_", " "), _plain(value), STATE_WORDS[state]) for state, value in tally.states.items()]
    table = _table(("State", "Subscribers", "Meaning"), rows, "Subscribers by state")
    sold = ", ".join(f"{tally.prices[code]} {value:,}" for code, value in tally.sold.items())
    legend = _legend((f"{name} {value:,}", css) for name, css, value in parts)
    return _figure("Subscribers on the last day", f"Sold: {sold}.", chart + legend, table)


def _doubts(tally: Tally) -> str:
    doubts = tally.doubts
    rows = (
        (doubts.lost_answers, "charged, but the answer was lost", "looked up at the PG, booked once"),
        (doubts.broken_answers, "charged, but answered with a 502 or half a body", "looked up at the PG, booked once"),
        (
            doubts.not_executed,
            "not charged: request lost, 502, 429 or 401",
            "sent again under the same order number, once that was safe",
        ),
        (doubts.looked_up_later, "not known at once", "“unknown” until a later look decided it"),
        (doubts.approved_late, "declined, then approved after all", "found before the next try, booked once"),
    )
    items = "".join(
        f"<li><b>{value:,}</b><div><strong>{escape(what)}</strong><span>{escape(then)}</span></div></li>"
        for value, what, then in rows
    )
    return (
        '<section class="card"><h2>When the answer does not come</h2><p class="sub">The sandbox loses answers on purpose. '
        f"A charge whose end is not known is looked up, never just repeated. Undecided at the end: {doubts.undecided}.</p>"
        f'<ul class="doubts">{items}</ul></section>'
    )


def _story(story: Story) -> str:
    lines, last = [], ""
    for one in story.moments:
        day = f"{one.at.day} {one.at:%b %Y}"
        shown = f'<time datetime="{one.at.isoformat()}">{day}</time>' if day != last else "<time></time>"
        lines.append(f'<li class="{one.mood}">{shown}<p>{escape(one.words)}</p></li>')
        last = day
    return (
        f'<section class="card"><h2>The life of {escape(story.name)}</h2><p class="sub">{escape(story.terms)}. '
        f"{story.payments} payments for {story.periods} periods, {won(story.paid)}. Told from the events in the database.</p>"
        f'<ol class="story">{"".join(lines)}</ol></section>'
    )


def _foot(tally: Tally) -> str:
    return (
        "<footer><p>Every number was read back from the books after the last day; <code>billing verify</code> on the demo’s "
        "database repeats the proof. The same version, options and seed give the same digest:</p>"
        f"<p><code>{escape(tally.digest)}</code></p></footer>"
    )


# --- small parts ------------------------------------------------------------------------------------


def _figure(title: str, sub: str, chart: str, table: str, note: str = "") -> str:
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    return (
        f'<section class="card"><h2>{escape(title)}</h2><p class="sub">{escape(sub)}</p><figure>{chart}</figure>{told}'
        f"<details><summary>The numbers</summary>{table}</details></section>"
    )


def _legend(parts: Iterable[tuple[str, str]]) -> str:
    return '<ul class="legend">' + "".join(f'<li><i class="{css}"></i>{escape(name)}</li>' for name, css in parts) + "</ul>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    told = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{told}</table></div>'


def _spoken(labels: Sequence[tuple[str, str]], values: Sequence[int], words: object) -> str:
    return "; ".join(f"{full}: {words(value)}" for (_, full), value in zip(labels, values, strict=True))  # type: ignore[operator]


def _month(label: str) -> tuple[str, str]:
    first = date.fromisoformat(f"{label}-01")
    return f"{first:%b}", f"{first:%b %Y}"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _plain(value: int) -> str:
    return f"{value:,}"


def _short(amount: int) -> str:
    if amount >= 1_000_000:
        return f"₩{amount / 1_000_000:.1f}M".replace(".0M", "M")
    return f"₩{round(amount / 1000):,}k" if amount >= 1000 else f"₩{amount}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _good(is_right: bool) -> str:
    return "good" if is_right else "bad"
