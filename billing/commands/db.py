"""`billing db …`: the schema of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.mishaps import CALL_SOMEONE

if TYPE_CHECKING:
    from billing.commands.words import Words


@click.group()
def db() -> None:
    """Move the schema of the database, or say where it stands."""


@db.command()
@click.argument("revision", default="head")
@verb()
def upgrade(door: Door, revision: str) -> None:
    """Bring the database to REVISION, the newest when left out. `billing init` does this and more."""
    door.founding_app.schema.upgrade(revision)
    _tell(door)


@db.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb()
def downgrade(door: Door, revision: str, yes: bool) -> None:
    """Take the database back to REVISION (`base` is the very first). Refused while rows about money would be lost."""
    door.confirm(f"Take {door.app.schema.place} back to {revision}?", yes=yes)
    door.app.schema.downgrade(revision)
    _tell(door)


@db.command()
@verb()
def current(door: Door) -> None:
    """Say which version of the schema the database is at."""
    _tell(door)


@db.command()
@verb()
def check(door: Door) -> int:
    """Compare the database with what this program needs, guards included. Exit status 4 when something differs."""
    differences = door.app.schema.differences()
    document = {"database": door.app.schema.place, "is_right": not differences, "differences": differences}

    def words(out: Words) -> None:
        if not differences:
            out.line("The database has every table, index, constraint and trigger it needs.", "green")
            return
        out.table(["what differs"], [(one,) for one in differences])
        out.hint("`billing db upgrade` builds what a migration forgot; a guard somebody dropped is restored by hand.")

    door.answer(document, words)
    return CALL_SOMEONE if differences else 0


def _tell(door: Door) -> None:
    schema = door.app.schema
    here, newest = schema.current(), schema.head()
    document = {"database": schema.place, "current": here, "newest": newest, "is_newest": here == newest}

    def words(out: Words) -> None:
        out.facts({"database": schema.place, "version": here or "none, not migrated yet", "newest": newest})
        if here != newest:
            out.hint("run `billing db upgrade`")

    door.answer(document, words)
