"""Prove that books, ledger, attempts and the PG's own records say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from billing.domain.evidence import PaymentFact
from billing.ports import Gateway
from billing.store.guards import missing_guards
from billing.store.proofs import Proofs
from billing.store.unit import Store

PgLedger = Callable[[], Mapping[str, Any]]
"""The PG's whole ledger, which only a sandbox shows."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared and what differs; no difference means the books are proven."""

    totals: Mapping[str, int]
    differences: tuple[str, ...]
    compared_with_pg: str

    @property
    def holds(self) -> bool:
        """True when nothing differs."""
        return not self.differences


class Verification:
    """Asks every question that has a wrong answer."""

    def __init__(self, store: Store, gateway: Gateway, *, pg_ledger: PgLedger | None) -> None:
        self._store = store
        self._gateway = gateway
        self._pg_ledger = pg_ledger

    def verify(self, *, asks_pg: bool = True) -> Proof:
        """Compare books, ledger, attempts and (with `asks_pg`) the PG, and name every difference.

        The sandbox shows its whole ledger, so payments we do not know are found too. A real PG is asked for every
        payment we booked, a hundred at a time; what we never booked is reconciliation's business.

        Raises:
            GatewayError: the PG could not be asked.
        """
        with self._store.read() as tx:
            proofs = Proofs(tx.connection)
            differences = [f"guard missing: {name}" for name in missing_guards(tx.connection)]
            differences += proofs.contradictions()
            totals = dict(proofs.totals())
            ours = {imp_uid: (amount, refunded) for imp_uid, _, amount, refunded in proofs.payments()}
            undecided = proofs.undecided_uids()
            in_flight = proofs.refunds_in_flight()
            identity = tx.controls.identity()
        if totals["paid_amount"] - totals["refunded_amount"] < totals["ledger_receivable"]:
            differences.append(
                f"the ledger expects {totals['ledger_receivable']} from the PG, payments say {totals['paid_amount']}"
            )
        compared = "not asked"
        if asks_pg and self._pg_ledger is not None:
            ledger = self._pg_ledger()
            differences += _against_ledger(ours, undecided, in_flight, ledger, identity.uid_prefix if identity else "")
            totals["pg_kept"] = sum(int(row["kept"]) for row in ledger["payments"])
            compared = "the sandbox's ledger"
        elif asks_pg and ours:
            differences += self._against_records(ours, in_flight)
            compared = "the PG's records of every payment we booked"
        return Proof(totals, tuple(differences), compared)

    def _against_records(self, ours: Mapping[str, tuple[int, int]], in_flight: Mapping[str, int]) -> Iterator[str]:
        found: dict[str, PaymentFact] = {}
        for facts in self._gateway.find_payments([], imp_uids=list(ours)).facts.values():
            found.update({fact.imp_uid: fact for fact in facts})
        for imp_uid, (amount, refunded) in ours.items():
            fact = found.get(imp_uid) or self._gateway.get_payment(imp_uid)
            if fact is None:
                yield f"payment {imp_uid} over {amount} is not at the PG"
            elif fact.status not in ("paid", "cancelled") or fact.amount != amount:
                yield f"payment {imp_uid} over {amount} is {fact.status} over {fact.amount} at the PG"
            elif fact.cancel_amount not in (refunded, refunded + in_flight.get(imp_uid, 0)):
                yield f"payment {imp_uid}: {refunded} refunded in our books, {fact.cancel_amount} at the PG"


def _against_ledger(
    ours: Mapping[str, tuple[int, int]],
    undecided: set[str],
    in_flight: Mapping[str, int],
    ledger: Mapping[str, Any],
    prefix: str,
) -> Iterator[str]:
    theirs = {row["imp_uid"]: row for row in ledger["payments"] if row["took_money"]}
    for imp_uid, (amount, refunded) in ours.items():
        row = theirs.pop(imp_uid, None)
        if row is None:
            yield f"payment {imp_uid} over {amount} is not in the PG's ledger"
        elif row["amount"] != amount or row["cancel_amount"] not in (refunded, refunded + in_flight.get(imp_uid, 0)):
            yield f"payment {imp_uid}: {amount} − {refunded} in our books, {row['amount']} − {row['cancel_amount']} at the PG"
    for imp_uid, row in theirs.items():
        if row["merchant_uid"].startswith(prefix) and row["merchant_uid"] not in undecided:
            yield f"the PG holds payment {imp_uid} ({row['merchant_uid']}, {row['amount']}) that we never booked"
    for group in ledger["double_charged"]:
        yield f"charged twice at the PG: {group}"
