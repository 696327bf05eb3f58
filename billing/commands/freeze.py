"""`billing freeze …`: the switch that stops all charging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, verb

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.group()
def freeze() -> None:
    """Stop all charging, allow it again, or say how it stands. What is on the wire is still settled."""


@freeze.command()
@click.option("--reason", default="", metavar="TEXT", help="Why; everybody who asks is told.")
@verb(changes=True)
def on(door: Door, reason: str) -> None:
    """Stop all charging, in every process on this database."""
    door.app.controls.set_freeze(is_frozen=True, reason=reason, actor=door.actor)
    _tell(door)


@freeze.command()
@click.option("--reason", default="", metavar="TEXT", help="Why it may go on.")
@verb(changes=True)
def off(door: Door, reason: str) -> None:
    """Allow charging again.

    Refused while the PG holds payments with our order numbers that nobody has explained, or while an adoption is not
    finished. Where the engine froze charging by itself, the PG is asked once more first.
    """
    door.app.thaw(reason=reason, actor=door.actor)
    _tell(door)


@freeze.command()
@verb()
def status(door: Door) -> None:
    """Say whether charging is stopped, since when, by whom and why."""
    _tell(door)


def _tell(door: Door) -> None:
    switch = door.app.controls.freeze()
    document: dict[str, Any] = {
        "is_frozen": switch is not None and switch.is_frozen,
        "reason": None,
        "actor": None,
        "cause": None,
        "since": None,
    }
    if switch is not None:
        document |= {
            "reason": switch.reason,
            "actor": switch.actor,
            "cause": switch.cause,
            "since": switch.changed_at.isoformat(),
        }

    def words(out: Words) -> None:
        if document["is_frozen"]:
            out.line("Charging is frozen.", "bold red")
        else:
            out.line("Charging is allowed.", "green")
        out.facts({"since": out.when(document["since"]), "by": document["actor"], "reason": document["reason"]})

    door.answer(document, words)
