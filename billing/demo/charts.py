"""Charts as inline SVG: columns, bars and one strip. Colours are classes, so the page decides light or dark.

Every chart names itself (`title`, `desc`) for those who do not see it, and is drawn twice, wide and
narrow: a picture scaled down to a phone would have letters nobody can read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart: its name, its class and a value per label."""

    name: str
    css: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Look:
    """How wide a drawing is, and what that leaves room for."""

    css: str
    width: int
    height: int
    label_every: int
    has_totals: bool


LOOKS = (Look("wide", 920, 300, 1, has_totals=True), Look("narrow", 340, 230, 3, has_totals=False))
Words = Callable[[int], str]


def columns(
    title: str, desc: str, labels: Sequence[tuple[str, str]], series: Sequence[Series], words: Words, short: Words
) -> str:
    """Stacked columns. `labels` are (short, full); `words` and `short` write an amount in full and in a few signs."""
    return "".join(_columns(look, title, desc, labels, series, words, short) for look in LOOKS)


def bars(title: str, desc: str, rows: Sequence[tuple[str, str, int]], words: Words) -> str:
    """Horizontal bars, one per (name, class, value), the value written at its end."""
    return "".join(_bars(look, title, desc, rows, words) for look in LOOKS)


def strip(title: str, desc: str, parts: Sequence[tuple[str, str, int]]) -> str:
    """One line split into (name, class, value): parts of a whole."""
    return "".join(_strip(look, title, desc, parts) for look in LOOKS)


def _columns(
    look: Look, title: str, desc: str, labels: Sequence[tuple[str, str]], series: Sequence[Series], words: Words, short: Words
) -> str:
    left, right, top, bottom = 46, 6, 22, 40
    totals = [sum(one.values[at] for one in series) for at in range(len(labels))]
    ticks = _ticks(max([*totals, 1]))
    scale = (look.height - top - bottom) / ticks[-1]
    floor = look.height - bottom
    drawn = []
    for tick in ticks:
        y = floor - tick * scale
        css = "axis" if not tick else "grid"
        drawn.append(f'<line class="{css}" x1="{left}" x2="{look.width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(short(tick))}</text>')
    step = (look.width - left - right) / max(len(labels), 1)
    thick = min(step * 0.66, 46)
    for at, (label, full) in enumerate(labels):
        x, y = left + step * at + (step - thick) / 2, floor
        filled = [one for one in series if one.values[at]]
        for one in filled:
            high = one.values[at] * scale
            # Two units of paper between neighbours; a sliver keeps at least one unit of ink.
            ink = max(high - (2 if one is not filled[-1] else 0), 1.0)
            tip = escape(f"{full}, {one.name}: {words(one.values[at])}")
            y -= high
            drawn.append(
                f'<rect class="{one.css}" x="{x:.1f}" y="{y + high - ink:.1f}" width="{thick:.1f}" height="{ink:.1f}" rx="2">'
                f"<title>{tip}</title></rect>"
            )
        if look.has_totals and totals[at]:
            total = escape(short(totals[at]))
            drawn.append(f'<text class="sum" x="{x + thick / 2:.1f}" y="{y - 6:.1f}" text-anchor="middle">{total}</text>')
        if at % look.label_every == 0:
            drawn.append(
                f'<text class="tick" x="{x + thick / 2:.1f}" y="{floor + 17}" text-anchor="middle">{escape(label)}</text>'
            )
            if at == 0 or full.startswith("Jan") or look.label_every > 1:
                year = escape(full.rsplit(" ", 1)[-1])
                drawn.append(
                    f'<text class="tick faint" x="{x + thick / 2:.1f}" y="{floor + 32}" text-anchor="middle">{year}</text>'
                )
    return _svg(look, look.height, title, desc, drawn)


def _bars(look: Look, title: str, desc: str, rows: Sequence[tuple[str, str, int]], words: Words) -> str:
    is_wide = look.css == "wide"
    pitch, left = (34, 270) if is_wide else (48, 0)
    room = look.width - left - 64
    longest = max([value for _, _, value in rows] + [1])
    drawn = []
    for at, (name, css, value) in enumerate(rows):
        y = at * pitch + 4
        long = max(value / longest * room, 2.0 if value else 0.0)
        bar_y = y if is_wide else y + 20
        if is_wide:
            drawn.append(f'<text class="name" x="{left - 12}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        else:
            drawn.append(f'<text class="name" x="0" y="{y + 13}">{escape(name)}</text>')
        drawn.append(f'<rect class="{css}" x="{left}" y="{bar_y}" width="{long:.1f}" height="{22 if is_wide else 16}" rx="3"/>')
        drawn.append(
            f'<text class="value" x="{left + long + 8:.1f}" y="{bar_y + (16 if is_wide else 13)}">{escape(words(value))}</text>'
        )
    return _svg(look, len(rows) * pitch + 4, title, desc, drawn)


def _strip(look: Look, title: str, desc: str, parts: Sequence[tuple[str, str, int]]) -> str:
    total = sum(value for _, _, value in parts) or 1
    shown = [part for part in parts if part[2]]
    room = look.width - 2 * max(len(shown) - 1, 0)
    drawn, x = [], 0.0
    for name, css, value in shown:
        wide = room * value / total
        tip = escape(f"{name}: {value}")
        drawn.append(
            f'<rect class="{css}" x="{x:.1f}" y="0" width="{max(wide, 1):.1f}" height="34" rx="3"><title>{tip}</title></rect>'
        )
        x += wide + 2
    return _svg(look, 34, title, desc, drawn)


def _svg(look: Look, height: int, title: str, desc: str, drawn: Sequence[str]) -> str:
    name = f"{re.sub('[^a-z]+', '-', title.lower())}-{look.css}"
    return (
        f'<svg class="{look.css}" viewBox="0 0 {look.width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(desc)}</desc>{"".join(drawn)}</svg>'
    )


def _ticks(highest: int) -> list[int]:
    """Round values from 0 to at least `highest`, in three to six steps."""
    size = 1
    while True:
        for step in (size, size * 2, size * 5):
            steps = -(-highest // step)
            if steps <= 5:
                return [step * at for at in range(max(steps, 1) + 1)]
        size *= 10
