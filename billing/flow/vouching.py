"""Vouch that this is the database, the PG account and the machine the ledger was founded on.

A copy of the rows is a second engine for the same customers. It derives the same order numbers, so most of what it
would do is found by the probe; but two that ask in the same instant can only be told apart here.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from billing.domain.events import AuditEntry
from billing.errors import InvariantBroken
from billing.instance import Instance
from billing.store.identity import Identity
from billing.store.place import Place, place_of
from billing.store.unit import Store, Tx

ADOPT = "`billing restore adopt --reason TEXT`"


def key_fingerprint(imp_key: str) -> str:
    """What tells two PG accounts apart without keeping the key."""
    return sha256(f"gudok|{imp_key}".encode()).hexdigest()[:16]


class Standing(NamedTuple):
    """Who a database says it is, and where it really stands."""

    identity: Identity
    place: Place

    @property
    def is_on_new_timeline(self) -> bool:
        """True after a replica was promoted or a point in time restored: the last seconds may be lost."""
        return bool(self.place.timeline) and self.place.timeline != self.identity.timeline


class Vouching:
    """Compares a ledger's identity with where and under what settings it runs."""

    def __init__(self, store: Store, instance: Instance, *, mode: str, imp_key: str) -> None:
        self._store = store
        self.instance = instance
        self.mode = mode
        self.fingerprint = key_fingerprint(imp_key)

    def standing(self) -> Standing:
        """This database's identity and place, compared; nothing is written.

        Raises:
            InvariantBroken: it has no identity yet, belongs to another mode or PG account, or is a copy.
            SettingsError: the file of the instance secret cannot be used.
        """
        with self._store.read() as tx:
            return self.seen(tx)

    def recognised(self, found: Standing) -> Standing:
        """What `seen` found, and what an earlier version left blank is written down: from then on a copy is told apart."""
        if not self._is_blank(found):
            return found
        self.instance.make()

        def work(tx: Tx) -> None:
            here = self.seen(tx)
            if self._is_blank(here):
                self.place(tx, here.identity)
                tx.audit.note(
                    AuditEntry("engine", "identity.placed", here.identity.ledger_id, {"basis": here.place.basis}), tx.now
                )
                tx.audit.flush()

        self._store.run(work)
        return self.standing()

    def vouched(self, tx: Tx) -> Identity:
        """The identity, or what `standing` raises, in the transaction that arms: nothing is ever sent by a copy.

        Raises:
            InvariantBroken: also on a new timeline nobody compared with the PG yet; the next pass does.
        """
        found = self.seen(tx)
        if found.is_on_new_timeline:
            raise InvariantBroken(
                "the database server began a new timeline; run `billing renew`: it asks the PG what was lost first"
            )
        return found.identity

    def place(self, tx: Tx, identity: Identity) -> Identity:
        """Write down that the ledger lives here, under this instance's secret; returns the identity as it is now."""
        here = place_of(tx.connection)
        mark = self.instance.mark(identity.ledger_id)
        if mark is None:
            raise InvariantBroken(f"there is no instance secret in {self.instance.place}; run `billing init`")
        return tx.controls.place(database_fp=here.fingerprint, timeline=here.timeline, instance_fp=mark)

    def refuse_another(self, identity: Identity) -> None:
        """Raise `InvariantBroken` for another mode or account: charging would look up the wrong books."""
        if identity.mode != self.mode:
            raise InvariantBroken(
                f"this database was made for mode {identity.mode}, not {self.mode}; check BILLING_MODE and BILLING_DATABASE_URL"
            )
        if identity.api_key_fp != self.fingerprint:
            raise InvariantBroken("this database belongs to another PG account; check BILLING_IMP_KEY and BILLING_DATABASE_URL")

    def seen(self, tx: Tx) -> Standing:
        """What `standing` returns, or raises, in the caller's transaction."""
        one = tx.controls.identity()
        if one is None:
            raise InvariantBroken("this database has no identity yet; run `billing init`")
        self.refuse_another(one)
        found = Standing(one, place_of(tx.connection))
        differs = list(self._differing(found))
        if differs:
            raise InvariantBroken(
                f"nothing is charged from a copy: {' and '.join(differs)}; use the original, or if it never charges again"
                f" run {ADOPT}"
            )
        return found

    def _differing(self, found: Standing) -> Iterator[str]:
        one, place = found
        if one.database_fp and one.database_fp != place.fingerprint:
            yield f"this database does not stand where it was founded (compared: {place.basis})"
        if one.instance_fp:
            mark = self.instance.mark(one.ledger_id)
            if mark is None:
                yield f"the instance secret is missing: {self.instance.place}"
            elif mark != one.instance_fp:
                yield f"the instance secret is not the one this ledger was founded with: {self.instance.place}"

    def _is_blank(self, found: Standing) -> bool:
        return not found.identity.instance_fp or bool(found.place.fingerprint and not found.identity.database_fp)
