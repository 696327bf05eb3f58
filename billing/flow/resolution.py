"""Take up attempts nobody holds: unknown outcomes, expired leases, requests that never left."""

from __future__ import annotations

from billing.domain.attempt import AttemptState
from billing.domain.policy import Policy
from billing.domain.settlement import NeverArrived, Verdict
from billing.flow.charging import Charging
from billing.flow.settlement import Held, Settlement
from billing.ports import Clock
from billing.store.unit import Store, Tx


class Resolution:
    """Looks again at what is undecided, and repeats only what is proven never to have arrived."""

    def __init__(self, store: Store, settlement: Settlement, charging: Charging, policy: Policy, clock: Clock) -> None:
        self._store = store
        self._settlement = settlement
        self._charging = charging
        self._policy = policy
        self._clock = clock

    def resolve(self, limit: int) -> list[Verdict]:
        """Take up to `limit` live attempts whose lease ended or whose next look is due, one step each.

        Outside charge hours outcomes are still looked up, but nothing is sent.
        """
        began = self._clock.monotonic()

        def claim(tx: Tx) -> tuple[list[Held], bool]:
            is_open = self._policy.charges_at(tx.business_now)
            states = [AttemptState.SENDING, AttemptState.UNKNOWN] + ([AttemptState.PLANNED] if is_open else [])
            lease_until = tx.now + self._policy.patience.lease
            awake = tx.attempts.claim_awake(tx.now, lease_until, limit, buckets=self._policy.buckets, states=states)
            return [Held(one) for one in awake], is_open

        held, is_open = self._store.run(claim)
        planned = [one.attempt for one in held if one.attempt.state is AttemptState.PLANNED]
        verdicts = self._settlement.settle_held([one for one in held if one.attempt.state is not AttemptState.PLANNED])
        dead = {one.merchant_uid for one in verdicts if isinstance(one, NeverArrived)} if is_open else set()
        again = [one.attempt for one in held if one.attempt.merchant_uid in dead]
        return [one for one in verdicts if one.merchant_uid not in dead] + self._charging.drive(planned + again, began=began)
