"""`billing doctor`: what is wrong with a configuration, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, verb

if TYPE_CHECKING:
    from billing.commands.checkup import Finding
    from billing.commands.words import Words


@click.command()
@verb()
def doctor(door: Door) -> int:
    """Say what is wrong with this configuration, and what to do about it; nothing is changed.

    Exit status 0: all is well. 1: it works, but something deserves attention. 2: a setting is wrong. 3: the database
    or the PG cannot be used now. 4: charging is frozen or would not be safe.
    """
    from billing.commands.checkup import examined

    findings = examined(door)
    status = max(one.status for one in findings)
    document = {
        "is_well": status == 0,
        "findings": [{"check": one.check, "verdict": one.verdict, "found": one.found, "cure": one.cure} for one in findings],
    }
    door.answer(document, lambda out: _shown(out, findings, status))
    return status


def _shown(out: Words, findings: list[Finding], status: int) -> None:
    out.table(["", "check", "found"], [(one.mark, one.check, one.found) for one in findings])
    cures = [one for one in findings if one.cure]
    for one in cures:
        out.line()
        out.line(f"{one.mark} {one.check}", one.style)
        out.line(f"  {one.cure}")
    out.line()
    if status == 0:
        out.line("All is well.", "bold green")
