"""What only a sandbox at the other end can be asked: its whole ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from billing.errors import GatewayUnavailable
from billing.gateway.http import Http, Lost


def sandbox_ledger(base_url: str) -> Mapping[str, Any]:
    """Everything the sandbox at `base_url` recorded.

    Raises:
        GatewayUnavailable: nothing answers there, or what answers is no sandbox of ours.
    """
    with Http(base_url) as http:
        answer = http.call("GET", "/_sandbox/ledger")
    if isinstance(answer, Lost):
        raise GatewayUnavailable(f"sandbox {base_url}: {answer.why}")
    if answer.status != 200:
        raise GatewayUnavailable(f"sandbox {base_url}: /_sandbox/ledger answers {answer.status}; is it `billing sandbox`?")
    ledger: Mapping[str, Any] = json.loads(answer.body)
    return ledger
