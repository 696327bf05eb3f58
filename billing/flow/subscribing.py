"""Start a subscription: now or later, with or without a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.exc import IntegrityError

from billing.domain.booking import Pen
from billing.domain.policy import Policy
from billing.domain.settlement import NotTried, Verdict, Wait
from billing.domain.subscription import Subscription, SubscriptionState
from billing.domain.wording import refuse_card_numbers
from billing.errors import DatabaseUnavailable, Frozen, GatewayError, RuleError
from billing.flow.charging import Charging
from billing.flow.journal import post_pen
from billing.flow.renewal import Renewal
from billing.store.audit import CHAIN_START
from billing.store.catalog import StoredPrice
from billing.store.unit import Store, Tx
from plans.calendar import anchored, local_day, midnight

QUANTITY_MAX = 1_000_000
KEY_MAX = 120
TOTAL_MAX = 1_000_000_000_000
_INCOMPLETE_DAYS = 3


@dataclass(frozen=True, slots=True)
class Started:
    """A new subscription and, when a first payment was due at once, how that went."""

    subscription_id: str
    verdicts: tuple[Verdict, ...]


class Subscribing:
    """Starts subscriptions."""

    def __init__(
        self, store: Store, renewal: Renewal, charging: Charging, policy: Policy, *, compare: Callable[[], object]
    ) -> None:
        self._store = store
        self._renewal = renewal
        self._charging = charging
        self._policy = policy
        self._compare = compare

    def start(
        self,
        customer: str,
        price: str,
        *,
        quantity: int = 1,
        start_on: date | None = None,
        trial_days: int | None = None,
        request_key: str | None = None,
        actor: str,
    ) -> Started:
        """Subscribe a customer to the price on sale under this code.

        Without a trial and starting today or earlier, the first payment is due now: the subscription is
        incomplete until it has succeeded, and is canceled when nobody completes it within three days.

        Once the subscription is written nothing is raised any more, and its id is returned whatever its first payment does.

        Args:
            quantity: how many units of the price, 1 to a million.
            start_on: local day of the customer's zone; today when left out.
            trial_days: overrides the price's own, 0 for none.
            request_key: names the request, 1 to 120 characters. Given again with the same terms it is the same
                subscription, and what was declined is not tried again; give one wherever a request may be repeated.

        Raises:
            NotFound: no such customer or price.
            RuleError: a quantity or date out of range, an archived plan, a key that named something else.
            DatabaseUnavailable: it may be written or not. Ask again under the same key.
        """
        if not 1 <= quantity <= QUANTITY_MAX:
            raise RuleError("quantity", f"must be between 1 and {QUANTITY_MAX:,}", "write for example --quantity 3")
        if trial_days is not None and not 0 <= trial_days <= 730:
            raise RuleError("trial_days", "must be between 0 and 730", "write 0 for no trial")
        if request_key is not None and (not 0 < len(request_key) <= KEY_MAX or not request_key.isprintable()):
            raise RuleError(
                "key", f"must have 1 to {KEY_MAX} printable characters", "name the request, for example --key order-17"
            )
        refuse_card_numbers({"key": request_key})
        begin = self._begun(customer, price, quantity, start_on, trial_days, request_key, actor)
        try:
            subscription_id, invoice_ids = self._store.run(begin)
        except IntegrityError:
            # The same key came in twice at once: the loser reads the winner, and the rule decides.
            subscription_id, invoice_ids = self._store.run(begin)
        # The subscription exists by now. Raising would hide its id, and whoever repeats the call would own two.
        verdicts: list[Verdict]
        try:
            verdicts = self._charged(invoice_ids) if invoice_ids else []
        except (Frozen, GatewayError) as error:
            verdicts = [NotTried("", one, str(error)) for one in invoice_ids]
        except DatabaseUnavailable as error:
            verdicts = [Wait("", one, str(error)) for one in invoice_ids]
        return Started(subscription_id, tuple(verdicts))

    def _charged(self, invoice_ids: Sequence[str]) -> list[Verdict]:
        """Collect the first payment, once the PG's list shows that this database has forgotten nothing.

        In a restored backup a subscription asked for again is a new one under a new order number: no probe would find what
        the forgotten one has paid, the list does.
        """
        self._compare()
        return self._charging.charge(invoice_ids)

    def _begun(
        self,
        customer: str,
        price: str,
        quantity: int,
        start_on: date | None,
        trial_days: int | None,
        request_key: str | None,
        actor: str,
    ) -> Callable[[Tx], tuple[str, list[str]]]:
        def begin(tx: Tx) -> tuple[str, list[str]]:
            owner = tx.customers.find(customer)
            known = tx.subscriptions.by_key(request_key) if request_key is not None else None
            if known is not None:
                return self._asked_again(tx, known, owner.id, price, quantity)
            stored = tx.catalog.current_price(price)
            if stored.is_archived:
                raise RuleError("price", f"plan {stored.price.plan_code!r} is archived", "apply its plan file to sell it again")
            if stored.price.amount.amount * quantity + stored.price.setup_fee.amount > TOTAL_MAX:
                raise RuleError("quantity", f"makes an invoice of more than {TOTAL_MAX:,}", "split it over subscriptions")
            zone = ZoneInfo(owner.time_zone)
            today = local_day(tx.business_now, zone)
            first_day = start_on or today
            if not date(2000, 1, 1) <= first_day <= today + timedelta(days=3660):
                raise RuleError("start", f"{first_day} is out of range", "choose a day from 2000 to ten years ahead")
            days = stored.price.trial_days if trial_days is None else trial_days
            one = _subscription(tx, owner.id, owner.bucket, stored, quantity, zone, first_day, days)
            tx.subscriptions.insert(one, request_key)
            pen = Pen(one)
            pen.tell("subscription.created", state=one.state.value, price=stored.price.code, version=stored.price.version)
            pen.note("subscription.created", one.id, actor, price=stored.price.code, quantity=quantity, start_on=str(first_day))
            post_pen(tx, pen, business_now=tx.business_now)
            if one.state is not SubscriptionState.INCOMPLETE:
                return one.id, []
            invoices = self._renewal.step(tx, [pen.subscription])
            if not any(invoice.total for invoice in invoices):
                return one.id, []
            waiting = tx.subscriptions.lock(one.id)._replace(due_at=tx.business_now + timedelta(days=_INCOMPLETE_DAYS))
            tx.subscriptions.update([waiting])
            return one.id, [invoice.id for invoice in invoices]

        return begin

    def _asked_again(self, tx: Tx, known: Subscription, customer_id: str, price: str, quantity: int) -> tuple[str, list[str]]:
        """The subscription there is, and its first invoice where nobody knows yet whether that can be collected."""
        code = tx.catalog.by_ids([known.price_id])[known.price_id].price.code
        if (known.customer_id, code, known.quantity) != (customer_id, price, quantity):
            raise RuleError("key", f"named a subscription to {known.quantity} × {code}", "give every request a key of its own")
        invoices = tx.invoices.lock_open_of_subscription(known.id) if known.state is SubscriptionState.INCOMPLETE else []
        return known.id, [one.id for one in invoices if one.first_failed_at is None]


def _subscription(
    tx: Tx, customer_id: str, bucket: int, stored: StoredPrice, quantity: int, zone: ZoneInfo, start_on: date, trial_days: int
) -> Subscription:
    price = stored.price
    first_on = start_on + timedelta(days=trial_days)
    begins, trial_end = midnight(start_on, zone), midnight(first_on, zone) if trial_days else None
    if begins > tx.business_now:
        state, due_at = SubscriptionState.SCHEDULED, begins
    elif trial_end is not None and trial_end > tx.business_now:
        state, due_at = SubscriptionState.TRIALING, trial_end
    else:
        state, due_at = SubscriptionState.INCOMPLETE, tx.business_now
    return Subscription(
        id=tx.new_id(),
        customer_id=customer_id,
        price_id=stored.id,
        bucket=bucket,
        quantity=quantity,
        state=state,
        time_zone=zone.key,
        start_on=start_on,
        first_on=first_on,
        anchor_on=anchored(first_on, price.interval, price.alignment),
        interval=price.interval,
        next_index=0,
        due_at=due_at,
        cancel_at_end=False,
        version=0,
        audit_head=CHAIN_START,
        created_at=tx.business_now,
        trial_end=trial_end,
    )
