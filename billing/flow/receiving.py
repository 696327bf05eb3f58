"""Take a notice in: stored first, answered at once, believed never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from billing import fault
from billing.domain.events import AuditEntry
from billing.domain.notice import Notice, fields_of
from billing.domain.policy import Policy
from billing.errors import NotFound, RuleError
from billing.store.inbox import Received
from billing.store.unit import Store, Tx

_ADDRESS_MAX = 45  # an IPv6 address with an embedded IPv4 one


class Receipt(NamedTuple):
    """What was stored. For the host's own eyes: whoever sent the notice is told the same whatever it says."""

    id: str
    notice: Notice
    times_received: int


class Receiving:
    """Writes notices down for a worker to look into."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    def receive(self, body: bytes | Mapping[str, object], *, content_type: str | None = None, source_ip: str = "") -> Receipt:
        """Store one notice; the same one again is only counted. Answer 200 once this returns.

        Args:
            body: as it came, or the fields a web framework made of it.
            source_ip: who sent it; kept for whoever looks into a forgery.

        Raises:
            RuleError: it is not a notice; nothing was stored. Answer 400.
            DatabaseUnavailable: nothing was stored. Answer 503, so that the PG may repeat it.
        """
        notice = Notice.of(body if isinstance(body, Mapping) else fields_of(body, content_type))
        if len(source_ip) > _ADDRESS_MAX or not source_ip.isprintable():
            raise RuleError("source_ip", "is not an address")
        fault.point("W1")

        def work(tx: Tx) -> Received:
            return tx.inbox.put(notice, id=tx.new_id(), source_ip=source_ip, at=tx.now, quiet=self._policy.patience.quiet)

        one = self._store.run(work)
        fault.point("W2")
        return Receipt(one.id, notice, one.times_received)

    def replay(self, ids: Sequence[str], *, actor: str) -> None:
        """Let a worker look into these once more, as if they had just come.

        Raises:
            NotFound: there is no such notice; nothing was changed.
        """
        wanted = list(dict.fromkeys(ids))

        def work(tx: Tx) -> None:
            missing = [id for id in wanted if not tx.inbox.wake([id], tx.now)]
            if missing:
                raise NotFound("webhook", missing[0])
            for id in wanted:
                tx.audit.note(AuditEntry(actor, "webhook.replayed", id), tx.now)
            tx.audit.flush()

        self._store.run(work)
