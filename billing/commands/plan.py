"""`billing plan …`: what is on sale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billing.commands.words import Words
    from plans.catalog import Change, Plan

_FILE = click.Path(path_type=Path)


@click.group()
def plan() -> None:
    """Put plans on sale from plan files, list, compare and archive them."""


@plan.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@verb(changes=True)
def apply(door: Door, files: tuple[Path, ...]) -> None:
    """Make the catalogue offer what plan files say; applying them again changes nothing.

    A price that differs gets a new version; those who bought the old one keep it. All files are read before
    anything is written.
    """
    wanted = _read(files)
    actor = door.actor
    for one in wanted:
        door.app.plans.diff(one)
    _tell(door, [change for one in wanted for change in door.app.plans.apply(one, actor=actor)], is_done=True)


@plan.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@verb()
def diff(door: Door, files: tuple[Path, ...]) -> None:
    """Show what `plan apply` would change; nothing is written."""
    _tell(door, [change for one in _read(files) for change in door.app.plans.diff(one)], is_done=False)


@plan.command("list")
@verb()
def list_(door: Door) -> None:
    """List all plans with the prices on sale."""
    plans = door.app.views.plans()

    def words(out: Words) -> None:
        rows = [
            (one["code"] + (" (archived)" if one["is_archived"] else ""), one["name"], price["code"], *_terms(out, price))
            for one in plans
            for price in one["prices"]
        ]
        out.table(["!plan", "name", "!price", ">amount", "every", ">trial"], rows, empty="No plan yet: billing plan apply FILE")

    door.answer({"plans": plans}, words)


@plan.command()
@click.argument("code")
@verb()
def show(door: Door, code: str) -> None:
    """Show one plan with every version of its prices."""
    one = door.app.views.plan(code)

    def words(out: Words) -> None:
        out.facts({"plan": one["code"], "name": one["name"], "on sale": "no, archived" if one["is_archived"] else "yes"})
        out.line()
        rows = [
            (
                price["code"],
                price["version"],
                *_terms(out, price),
                out.money(price["setup_fee"]),
                "on sale" if price["is_current"] else "",
            )
            for price in one["prices"]
        ]
        out.table(["!price", ">version", ">amount", "every", ">trial", ">set-up fee", ""], rows)

    door.answer({"plan": one}, words)


@plan.command()
@click.argument("code")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb(changes=True)
def archive(door: Door, code: str, yes: bool) -> None:
    """Take a plan off sale; subscriptions on it go on. Applying its file puts it back."""
    door.confirm(f"Take plan {code} off sale?", yes=yes)
    door.app.plans.archive(code, actor=door.actor)
    door.answer({"plan": door.app.views.plan(code)}, lambda out: out.line(f"Plan {code} is not sold any more."))


def _read(files: Sequence[Path]) -> list[Plan]:
    """Every plan, or every problem of every file at once."""
    from plans.files import PlanFileError, read_plan_file

    plans, problems = [], []
    for file in files:
        try:
            plans.append(read_plan_file(file))
        except PlanFileError as error:
            problems += error.problems
    if problems:
        raise PlanFileError.of(problems)
    return plans


def _tell(door: Door, changes: Sequence[Change], *, is_done: bool) -> None:
    def described(change: Change) -> dict[str, Any]:
        return {"kind": change.kind.value, "code": change.code, "what": change.describe()}

    different = [one for one in changes if one.kind.value not in ("price_unchanged", "price_kept")]
    document = {"is_applied": is_done, "is_different": bool(different), "changes": [described(one) for one in changes]}

    def words(out: Words) -> None:
        for change in changes:
            out.line(change.describe(), "" if change in different else "dim")
        if not different:
            out.line("Nothing changed." if is_done else "Nothing would change.", "green")

    door.answer(document, words)


def _terms(out: Words, price: dict[str, Any]) -> tuple[str, str, str]:
    trial = f"{price['trial_days']} days" if price["trial_days"] else ""
    return out.money(price["amount"]), price["every"], trial
