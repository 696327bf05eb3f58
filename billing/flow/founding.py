"""Give a database its identity, and set the switches everybody obeys."""

from __future__ import annotations

from datetime import datetime

from billing.domain.attempt import uid_prefix_of
from billing.domain.events import AuditEntry
from billing.domain.reconciliation import ORPHANS
from billing.errors import RuleError
from billing.flow.vouching import ADOPT, Standing, Vouching
from billing.store.identity import OPERATOR, RESTORE, Freeze, Identity
from billing.store.unit import Store, Tx


class Founding:
    """Identity, freeze and test clock."""

    def __init__(self, store: Store, vouching: Vouching) -> None:
        self._store = store
        self._vouching = vouching

    def found(self, *, actor: str) -> Identity:
        """Create the identity if there is none; safe to repeat.

        Raises:
            InvariantBroken: the database belongs to another mode or PG account, or is a copy.
            SettingsError: the instance secret cannot be written or used.
        """
        with self._store.read() as tx:
            is_founded = tx.controls.identity() is not None
        if not is_founded:
            self._vouching.instance.make()

        def work(tx: Tx) -> None:
            if tx.controls.identity() is None:
                ledger_id = tx.new_id()
                one = Identity(ledger_id, uid_prefix_of(ledger_id), self._vouching.mode, self._vouching.fingerprint, tx.now)
                tx.controls.create_identity(one)
                self._vouching.place(tx, one)
                tx.audit.note(AuditEntry(actor, "identity.created", one.ledger_id, {"mode": one.mode}), tx.now)
                tx.audit.flush()

        self._store.run(work)
        return self._vouching.recognised(self.standing()).identity

    def identity(self) -> Identity:
        """This database's identity, compared with the settings and the place it stands in.

        Raises:
            InvariantBroken: it has none yet, belongs to another mode or PG account, or is a copy.
        """
        return self.standing().identity

    def standing(self) -> Standing:
        """The identity, and the place of the database as it is now; compared, nothing is written."""
        return self._vouching.standing()

    def set_freeze(self, *, is_frozen: bool, reason: str, actor: str, cause: str = OPERATOR) -> Freeze:
        """Stop or allow charging everywhere; what is on the wire is still settled.

        Args:
            cause: `operator`, or why the engine did it by itself: `strangers` at the PG, an adoption (`restore`).

        Raises:
            RuleError: no reason was given; or charging is to go on although somebody else's payments are unexplained or
                an adoption was not finished.
        """
        if not reason.strip():
            raise RuleError("reason", "is missing", "say why in a few words: --reason TEXT")

        def work(tx: Tx) -> Freeze:
            if not is_frozen:
                _refuse_to_thaw(tx)
            switch = Freeze(is_frozen, reason, actor, tx.now, cause)
            tx.controls.set_freeze(switch)
            tx.audit.note(AuditEntry(actor, "freeze.on" if is_frozen else "freeze.off", "charging", {"reason": reason}), tx.now)
            tx.audit.flush()
            return switch

        return self._store.run(work)

    def freeze(self) -> Freeze | None:
        """The switch as it was set last."""
        with self._store.read() as tx:
            return tx.controls.freeze()

    def set_clock(self, at: datetime | None, *, actor: str) -> datetime | None:
        """Move the test clock forward to `at`, or take it away with None.

        Raises:
            RuleError: live mode, a naive instant, or one before the clock's own.
        """
        if self._store.is_live:
            raise RuleError("clock", "live mode knows only the real time", "use sandbox or test mode")
        if at is not None and at.tzinfo is None:
            raise RuleError("instant", "has no offset", "write for example 2026-01-31T10:00+09:00")

        def work(tx: Tx) -> datetime | None:
            stands = tx.controls.test_clock()
            if at is not None and stands is not None and at < stands:
                cure = "take it away with `billing clock set real` or use a fresh database"
                raise RuleError("instant", f"lies before the test clock ({stands.isoformat()})", cure)
            tx.controls.set_test_clock(at)
            tx.audit.note(AuditEntry(actor, "clock.set", "test clock", {"at": str(at)}), tx.now)
            tx.audit.flush()
            return at

        return self._store.run(work)

    def clocks(self) -> tuple[datetime, datetime | None]:
        """The business instant, and the test clock's if one is set."""
        with self._store.read() as tx:
            return tx.business_now, tx.controls.test_clock()


def _refuse_to_thaw(tx: Tx) -> None:
    switch = tx.controls.freeze()
    if switch is None or not switch.is_frozen:
        return
    orphans = tx.findings.unexplained(*ORPHANS)
    if orphans:
        named = ", ".join(f"{one.kind} {one.merchant_uid or one.ref} ({one.id})" for one in orphans[:10])
        more = f" and {len(orphans) - 10} more" if len(orphans) > 10 else ""
        cure = "take back what was forgotten with `billing restore adopt`, explain the rest with `billing finding explain`"
        raise RuleError("freeze", f"nobody has explained {named}{more}", cure)
    if switch.cause == RESTORE:
        raise RuleError("freeze", "an adoption was begun and not finished", f"run {ADOPT} again: it goes on where it ended")
