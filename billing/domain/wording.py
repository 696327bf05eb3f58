"""What people type about other things: never a card number, because it would be kept for ever."""

from __future__ import annotations

from collections.abc import Mapping

from billing.errors import RuleError
from billing.redaction import holds_card_number


def refuse_card_numbers(fields: Mapping[str, object]) -> None:
    """Refuse texts that are about to be kept and hold what passes for a card number.

    Books, audit trail and outbox are never edited, so a number that got in could not be taken out again.

    Args:
        fields: name → what was typed there, in the words of the caller; anything but text is let pass.

    Raises:
        RuleError: names the field, never its value.
    """
    for name, value in fields.items():
        if isinstance(value, str) and holds_card_number(value):
            raise RuleError(name, "holds what looks like a card number", "leave it out: a card is named by its last four digits")
