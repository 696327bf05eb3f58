"""Who this database is, and the switches everybody obeys: freeze and test clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from billing.store.mapping import Mapper
from billing.store.tables import freeze, identity, test_clock


@dataclass(frozen=True, slots=True)
class Identity:
    """What names this ledger at the PG. `ledger_id` and `uid_prefix` go into every order number and never change.

    The last three say where it lives, so that a copy can be told from it: a hash of the database's place, the
    server's timeline, and a mark made with the instance secret. Empty until they were first seen.
    """

    ledger_id: str
    uid_prefix: str
    mode: str
    api_key_fp: str
    created_at: datetime
    database_fp: str = ""
    timeline: int = 0
    instance_fp: str = ""


OPERATOR, STRANGERS, RESTORE = "operator", "strangers", "restore"
"""Causes of a freeze: somebody's own word, payments at the PG nobody explains, an adoption under way."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """The charging switch: who set it, when and why; `cause` says what it takes to lift it."""

    is_frozen: bool
    reason: str
    actor: str
    changed_at: datetime
    cause: str = OPERATOR


_IDENTITY, _FREEZE = Mapper(Identity, identity), Mapper(Freeze, freeze)
_WHO, _SWITCH, _STANDS_AT = select(*_IDENTITY.columns), select(*_FREEZE.columns), select(test_clock.c.at)


class Controls:
    """Identity, freeze and test clock of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def identity(self) -> Identity | None:
        """This database's identity, None before `billing init`."""
        row = self._connection.execute(_WHO).first()
        return _IDENTITY.record(row) if row else None

    def create_identity(self, one: Identity) -> None:
        """Write the identity; a second one is refused by the database."""
        self._connection.execute(insert(identity).values(id=1, **_IDENTITY.row(one)))

    def place(self, **here: object) -> Identity:
        """Write where the ledger lives (`database_fp`, `timeline`, `instance_fp`), and return it."""
        row = self._connection.execute(update(identity).values(**here).returning(*_IDENTITY.columns)).one()
        return _IDENTITY.record(row)

    def freeze(self) -> Freeze | None:
        """The switch as it was set last, None when it never was."""
        row = self._connection.execute(_SWITCH).first()
        return _FREEZE.record(row) if row else None

    def set_freeze(self, one: Freeze) -> None:
        """Set the switch."""
        if not self._connection.execute(update(freeze).values(**_FREEZE.row(one))).rowcount:
            self._connection.execute(insert(freeze).values(id=1, **_FREEZE.row(one)))

    def test_clock(self) -> datetime | None:
        """The instant the test clock stands at, None when time is real."""
        return self._connection.execute(_STANDS_AT).scalar()

    def set_test_clock(self, at: datetime | None) -> None:
        """Set the test clock, or take it away with None."""
        self._connection.execute(delete(test_clock))
        if at is not None:
            self._connection.execute(insert(test_clock).values(id=1, at=at))
