"""Put plans on sale. A price version never changes once it is stored; other terms make the next version."""

from __future__ import annotations

from billing.domain.events import AuditEntry
from billing.domain.wording import refuse_card_numbers
from billing.errors import NotFound, RuleError
from billing.store.unit import Store, Tx
from plans.catalog import Change, ChangeKind, Plan, PriceCodeTaken, changes


class Pricing:
    """The catalogue in the database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def diff(self, plan: Plan) -> list[Change]:
        """What applying `plan` would change; nothing is written.

        Raises:
            RuleError: a price code belongs to another plan.
        """
        with self._store.read() as tx:
            return _changes(tx, plan)

    def apply(self, plan: Plan, *, actor: str) -> list[Change]:
        """Make the catalogue offer `plan`; returns what changed. Applying it again changes nothing.

        Raises:
            RuleError: a price code belongs to another plan, or a name holds a card number.
        """
        refuse_card_numbers({"plan.name": plan.name, **{f"{price.code}.name": price.name for price in plan.prices}})

        def work(tx: Tx) -> list[Change]:
            found = _changes(tx, plan)
            now = tx.business_now
            for change in found:
                match change.kind:
                    case ChangeKind.PLAN_CREATED:
                        tx.catalog.insert_plan(tx.new_id(), plan, now)
                    case ChangeKind.PLAN_RENAMED:
                        tx.catalog.rename_plan(plan.code, plan.name)
                    case ChangeKind.PLAN_RESTORED:
                        tx.catalog.archive_plan(plan.code, is_archived=False)
                    case ChangeKind.PLAN_ARCHIVED:
                        tx.catalog.archive_plan(plan.code, is_archived=True)
                    case ChangeKind.PRICE_ADDED | ChangeKind.PRICE_REVISED if change.price is not None:
                        tx.catalog.insert_price(tx.new_id(), change.price, now)
                    case _:
                        continue
                tx.audit.note(AuditEntry(actor, f"plan.{change.kind.value}", change.code, {"what": change.describe()}), tx.now)
            tx.audit.flush()
            return found

        return self._store.run(work)

    def archive(self, code: str, *, actor: str) -> None:
        """Take a plan off sale; subscriptions on it go on.

        Raises:
            NotFound: no such plan.
        """

        def work(tx: Tx) -> None:
            if not tx.catalog.archive_plan(code, is_archived=True):
                raise NotFound("plan", code)
            tx.audit.note(AuditEntry(actor, "plan.plan_archived", code), tx.now)
            tx.audit.flush()

        self._store.run(work)


def _changes(tx: Tx, plan: Plan) -> list[Change]:
    stored = {code: found for code in tx.catalog.plan_codes() if (found := tx.catalog.plan(code)) is not None}
    try:
        return changes(stored, plan)
    except PriceCodeTaken as error:
        raise RuleError("plan.prices.code", str(error), "give the price another code") from None
