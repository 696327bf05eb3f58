"""The merchant's choices, as the rules and the flow need them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time
from zoneinfo import ZoneInfo

from billing.domain.dunning import Ladder
from billing.domain.patience import Patience
from billing.domain.renewal import CatchUp


@dataclass(frozen=True, slots=True)
class Policy:
    """How this merchant bills.

    Args:
        zone: the merchant's zone, in which `opens` and `closes` (None: midnight) bound automatic charges.
        batch: how many rows one pass of the road takes at most.
        buckets: the customers this worker serves.
        surplus_refund_max: up to which amount, in minor units, money paid twice is given back without asking.
    """

    is_live: bool
    zone: ZoneInfo
    opens: time
    closes: time | None
    ladder: Ladder = field(default_factory=Ladder)
    patience: Patience = field(default_factory=Patience)
    catch_up: CatchUp = CatchUp.LATEST
    batch: int = 256
    buckets: range = range(256)
    surplus_refund_max: int = 1_000_000

    def charges_at(self, business_now: datetime) -> bool:
        """True while automatic charges may start.

        Around midnight issuers and banks close their books: a decline then says nothing about the customer.
        """
        local = business_now.astimezone(self.zone).time()
        return self.opens <= local and (self.closes is None or local < self.closes)
