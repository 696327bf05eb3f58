"""Hand events to the host: at least once, those of one subscription in the order of its versions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from billing import fault
from billing.domain.events import AuditEntry, PublishedEvent
from billing.errors import RuleError
from billing.store.turns import Turns
from billing.store.unit import Store, Tx

log = logging.getLogger("billing.delivery")

Consumer = Callable[[PublishedEvent], object]

_PAGE = 256


class Delivery:
    """Reads the outbox, hands over, marks. What dies in between is handed over again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def deliver(self, consumer: Consumer, limit: int | None = None) -> int:
        """Hand every undelivered event to `consumer` and mark it once that returned; returns how many.

        What the consumer can rely on, and what it must do:

        - Every event comes, and may come again, always with the same `key`: remember keys, or do what is harmless twice.
        - The events of one subscription come in the order of their versions. One that comes again may come after newer
          ones: where you mirror a state, ignore a version lower than the one you applied last. Events of one change share
          their version.
        - Events without a subscription (a customer was added, a card registered) come in no promised order.

        Any number of processes may deliver at once. No transaction is open while the consumer works: it may call the
        engine. An `Exception` it raises stops the events of that subscription alone; they are handed over again by
        the next call. Anything else it raises ends the pass.

        Raises:
            DatabaseUnavailable: what was handed over and not marked comes again.
        """
        told = 0
        after = ""
        # Streams that are another's turn, or whose consumer raised: not again in this pass.
        closed: set[str] = set()
        with self._store.turns() as turns:
            while limit is None or told < limit:
                with self._store.read() as tx:
                    page = tx.outbox.pending(after, _PAGE)
                if not page:
                    break
                after = page[-1][0]
                for stream in dict.fromkeys(stream for _, stream in page):
                    room = _PAGE if limit is None else min(_PAGE, limit - told)
                    if room and stream not in closed:
                        count, goes_on = self._in_turn(turns, stream, consumer, room)
                        told += count
                        closed |= set() if goes_on else {stream}
        return told

    def replay(self, ids: Sequence[str] = (), *, since: datetime | None = None, actor: str) -> int:
        """Make delivered events undelivered again, by id or from an instant on; returns how many will come again.

        Raises:
            RuleError: neither ids nor an instant, or both.
            NotFound: names an id that does not exist.
        """
        if bool(ids) == (since is not None):
            raise RuleError("--since", "either ids or an instant", "name events by id, or write --since INSTANT")

        def work(tx: Tx) -> int:
            count = tx.outbox.unmark_since(since) if since is not None else tx.outbox.unmark(ids)
            details = {"since": since.isoformat()} if since is not None else {"ids": list(ids)}
            tx.audit.note(AuditEntry(actor, "events.replayed", "outbox", {"count": count, **details}), tx.now)
            tx.audit.flush()
            return count

        return self._store.run(work)

    def _in_turn(self, turns: Turns, stream: str, consumer: Consumer, limit: int) -> tuple[int, bool]:
        if not turns.take(stream):
            return 0, False
        count, goes_on = self._hand_over(stream, consumer, limit)
        turns.give(stream)
        return count, goes_on

    def _hand_over(self, stream: str, consumer: Consumer, limit: int) -> tuple[int, bool]:
        """Read in our turn, not before it: whoever had it last has just marked what we saw pending."""
        fault.point("K11")
        with self._store.read() as tx:
            events = tx.outbox.pending_of(stream, limit)
        handed: list[str] = []
        for event in events:
            try:
                consumer(event)
            except Exception:
                log.exception("event %s was not taken; it comes again", event.key)
                break
            handed.append(event.id)
        if handed:
            fault.point("K12")
            self._store.run(lambda tx: tx.outbox.mark(handed, tx.business_now))
            fault.point("K13")
        return len(handed), len(handed) == len(events)
