"""A fake of the PG (i'mport, PortOne REST V1), written from its documents and from nothing of ours.

Client and fake must not be wrong together, so this package knows neither the engine nor its
gateway. Start reading at `server.py`: the road of one request. Where the documents are silent
the sandbox is hostile (`config.py`), and what can go wrong on the wire goes wrong by name
(`faults.py`) or by card number (`cards.py`). What a buyer's browser sees of it is `browser/`.
"""

from typing import TYPE_CHECKING, Any

from billing.sandbox.cards import MAGIC_CARDS, MagicCard
from billing.sandbox.config import Channel, SandboxConfig
from billing.sandbox.faults import FAULTS, Fault, parse_fault
from billing.sandbox.server import Sandbox
from billing.sandbox.webhooks import Notice
from billing.sandbox.wire import Answer, ConnectionLost, ConnectionRefused

if TYPE_CHECKING:
    from billing.sandbox.serving import asgi, serve

__all__ = [
    "FAULTS",
    "MAGIC_CARDS",
    "Answer",
    "Channel",
    "ConnectionLost",
    "ConnectionRefused",
    "Fault",
    "MagicCard",
    "Notice",
    "Sandbox",
    "SandboxConfig",
    "asgi",
    "parse_fault",
    "serve",
]


def __getattr__(name: str) -> Any:
    """Import what serves only when it is wanted: a command line that charges in-process should not wait for asyncio."""
    if name in ("asgi", "serve"):
        from billing.sandbox import serving

        return getattr(serving, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
