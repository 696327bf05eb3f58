"""Refunds: their states, and who may draw which arrow."""

from __future__ import annotations

from enum import StrEnum


class RefundState(StrEnum):
    """Where a refund stands. Its amount is reserved on the payment until it is done or refused."""

    PLANNED = "planned"  # the row exists; nothing can be on the wire
    SENDING = "sending"  # armed under a checksum: one request may be under way
    UNKNOWN = "unknown"  # a request may have been executed; how it ended is not known
    DONE = "done"  # the PG's history shows it
    REFUSED = "refused"  # the PG said no: a manual path, nothing moved


R = RefundState

IN_FLIGHT = frozenset({R.SENDING, R.UNKNOWN})
RESERVED = frozenset({R.PLANNED, R.SENDING, R.UNKNOWN})

ARROWS: dict[RefundState, frozenset[RefundState]] = {
    # Done at once: somebody gave it back in the PG's console, or the PG remembers what a restored backup forgot.
    R.PLANNED: frozenset({R.SENDING, R.DONE, R.REFUSED}),
    # Planned again: no byte of it left us.
    R.SENDING: frozenset({R.PLANNED, R.UNKNOWN, R.DONE, R.REFUSED}),
    R.UNKNOWN: frozenset({R.SENDING, R.DONE, R.REFUSED}),
    # The PG's history always wins over what it answered.
    R.REFUSED: frozenset({R.DONE}),
    R.DONE: frozenset(),
}
