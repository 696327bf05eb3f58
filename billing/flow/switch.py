"""The switch that stops everything which sends money: asked again in the transaction that arms."""

from __future__ import annotations

from billing.errors import Frozen
from billing.store.unit import Tx


def refuse_when_frozen(tx: Tx) -> None:
    """Raise `Frozen` while charging and refunding are switched off."""
    switch = tx.controls.freeze()
    if switch is not None and switch.is_frozen:
        raise Frozen(f"charging is frozen since {switch.changed_at.isoformat()} by {switch.actor}: {switch.reason}")
