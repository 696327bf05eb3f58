"""`billing channel …`: through which of the merchant's contracts cards are registered and windows opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from billing.commands.door import Door, verb
from billing.commands.mishaps import DONE, NOT_AS_WISHED

if TYPE_CHECKING:
    from billing.commands.words import Words
    from billing.domain.channel import Assigned


@click.group()
def channel() -> None:
    """Read which channel serves what, and compare them with those the PG has."""


@channel.command("list")
@verb()
def list_(door: Door) -> None:
    """List the channels of every mode and what they are for; asks nobody.

    They come from BILLING_CHANNELS and BILLING_PG; sandbox and test mode default to the public test shops of INICIS.
    """
    settings = door.settings
    channels = [_shape(one) for one in settings.channel_plan]
    document = {"mode": settings.mode.value, "channels": channels}

    def words(out: Words) -> None:
        rows = [
            ("✓" if one["mode"] == settings.mode else "", one["mode"], _purpose(one), one["channel"], _able(one))
            for one in channels
        ]
        out.table(["", "!mode", "!for", "!channel", "what its module can do"], rows)
        if not any(one["mode"] == settings.mode for one in channels):
            out.hint(f"Mode {settings.mode} has none: set BILLING_CHANNELS={settings.mode}/billing=provider.MID, …")

    door.answer(document, words)


@channel.command()
@verb()
def check(door: Door) -> int:
    """Compare this mode's channels with those the PG has; nothing is changed.

    Exit status 0: each is there, in the right mode, and able to do what it is for. 1: one is not. 3: the PG could not be
    asked.
    """
    from billing.domain.standing import compared

    settings, app = door.settings, door.app
    listed = app.gateway.channels()
    found = compared(settings.channel_plan, listed, mode=settings.mode)
    document = {
        "mode": settings.mode.value,
        "is_right": bool(found) and all(one.is_right for one in found),
        "channels": [
            {**_shape(one.assigned), "standing": one.standing.value, "said": one.said, "cure": one.cure} for one in found
        ],
        "at_pg": [
            {
                "channel": f"{one.pg_provider}.{one.pg_id}",
                "name": one.name,
                "type": one.type,
                "is_test": one.sandbox,
                "key": one.key,
            }
            for one in listed
        ],
    }

    def words(out: Words) -> None:
        rows = [
            (
                "✓" if one.is_right else "✗",
                _purpose(_shape(one.assigned)),
                str(one.assigned.channel),
                one.standing.value,
                one.said,
            )
            for one in found
        ]
        out.table(["", "!for", "!channel", "!standing", "it"], rows, empty=f"Mode {settings.mode} has no channel.")
        for one in found:
            if one.cure:
                out.line()
                out.line(f"✗ {one.assigned.place}: {one.assigned.channel} {one.said}", "red")
                out.line(f"  {one.cure}")
        if not found:
            out.hint(f"Set BILLING_CHANNELS={settings.mode}/billing=provider.MID, {settings.mode}/pay=provider.MID")

    door.answer(document, words)
    return DONE if document["is_right"] else NOT_AS_WISHED


def _shape(one: Assigned) -> dict[str, Any]:
    """A configured channel as scripts read it; what its module can do is null behind a channel key.

    `charges_on_issue` is, by way to pay, whether a window that registers takes money: never, above zero, always.
    """
    module = one.channel.module
    return {
        "mode": one.mode,
        "use": one.use.value,
        "pay_method": one.pay_method or None,
        "channel": str(one.channel),
        "registers_by_window": None if module is None else sorted(module.issues),
        "charges_on_issue": None if module is None else {way: charges.value for way, charges in sorted(module.issues.items())},
        "registers_by_key_in": None if module is None else module.keys_in,
        "pays_by": None if module is None or module.windows is None else sorted(module.windows),
    }


def _purpose(one: dict[str, Any]) -> str:
    if one["use"] != "pay":
        return {"billing": "register cards, charge them", "key-in": "take keyed-in cards"}[one["use"]]
    return f"pay once by {one['pay_method']}" if one["pay_method"] else "pay once"


def _able(one: dict[str, Any]) -> str:
    if one["use"] == "pay":
        return "is seen with `billing channel check`" if one["pays_by"] is None else f"takes {', '.join(one['pays_by'])}"
    if one["registers_by_key_in"] is None:
        return "is seen with `billing channel check`"
    ways = ["a window"] * bool(one["registers_by_window"]) + ["key-in"] * one["registers_by_key_in"]
    charging = [f"{way} {charges}" for way, charges in one["charges_on_issue"].items() if charges != "never"]
    warning = f", taking money ({', '.join(charging)})" if charging else ""
    return f"registers cards by {' and '.join(ways)}{warning}"
