"""Subscription billing on i'mport (PortOne V1) billing keys.

    from billing import Billing

    with Billing.from_env() as app:
        app.renew()

The names below are what a SaaS imports; everything else may move. They load on first use, so that
asking the command line for help loads neither the database nor the wire.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from billing.app import Billing
    from billing.clock import ManualClock, SystemClock
    from billing.domain.events import Event, PublishedEvent
    from billing.domain.refund import Refund
    from billing.domain.settlement import Verdict
    from billing.errors import BillingError, GatewayError, InvariantBroken, NotFound, RuleError, Unavailable
    from billing.gateway.card import Card
    from billing.settings import Settings

_HOMES = {
    "Billing": "billing.app",
    "BillingError": "billing.errors",
    "Card": "billing.gateway.card",
    "Event": "billing.domain.events",
    "GatewayError": "billing.errors",
    "InvariantBroken": "billing.errors",
    "ManualClock": "billing.clock",
    "NotFound": "billing.errors",
    "PublishedEvent": "billing.domain.events",
    "Refund": "billing.domain.refund",
    "RuleError": "billing.errors",
    "Settings": "billing.settings",
    "SystemClock": "billing.clock",
    "Unavailable": "billing.errors",
    "Verdict": "billing.domain.settlement",
}

__all__ = [
    "Billing",
    "BillingError",
    "Card",
    "Event",
    "GatewayError",
    "InvariantBroken",
    "ManualClock",
    "NotFound",
    "PublishedEvent",
    "Refund",
    "RuleError",
    "Settings",
    "SystemClock",
    "Unavailable",
    "Verdict",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
