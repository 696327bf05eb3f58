"""The host's side: the notices that reach him, and the events he takes, both with what happens on the way."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from billing.app import Billing
from billing.sandbox import Notice

if TYPE_CHECKING:
    from billing.simulate.life import Life

_ADDRESS = "52.78.100.19"
"""Where notices come from. Source: PortOne webhook guide V1."""


class Host:
    """A SaaS: its webhook address and its consumer of events, each a process that can die."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._random = Random(f"host|{life.seed}")
        self._losing = self._random.choice((0.0, 0.3, 0.3, 1.0))

    # --- notices -------------------------------------------------------------------------------

    def post(self) -> None:
        """Let the PG's courier go round."""
        self._life.sandbox.deliver_webhooks()

    def hears(self, notice: Notice) -> int:
        """One notice is on its way: lost, doubled, held up and overtaken, or simply delivered."""
        life, random = self._life, self._random
        if random.random() < self._losing:
            life.trace.count("notice lost")
            return 200
        times = 2 if random.random() < 0.15 else 1
        for _ in range(times):
            late = random.random() * random.choices((1.0, 300.0, 90_000.0), (75, 15, 10))[0]
            self._delivers(notice.body, notice.content_type, late)
        life.trace.count("notice doubled", times - 1)
        return 200

    def forges(self) -> None:
        """Somebody writes to the webhook address what never happened, or what happened to somebody else."""
        life, random = self._life, self._random
        numbers = life.house.db.execute("SELECT merchant_uid, imp_uid FROM billing_attempt ORDER BY rowid").fetchall()
        uid, imp_uid = random.choice(numbers) if numbers else ("x", None)
        forged = random.choice(
            (
                f'{{"imp_uid": "imps_{random.getrandbits(64)}", "merchant_uid": "{uid}", "status": "paid"}}',
                f'{{"imp_uid": "{imp_uid or "imps_1"}", "merchant_uid": "somebody-else", "status": "paid"}}',
                f'{{"imp_uid": "{imp_uid or "imps_1"}", "merchant_uid": "{uid}", "status": "cancelled"}}',
                '{"imp_uid": "imps_1/../../users/getToken", "merchant_uid": "x", "status": "paid"}',
                "not a notice",
            )
        )
        life.trace.count("notice forged")
        self._delivers(forged.encode(), "application/json", 0.0)

    def _delivers(self, body: bytes, content_type: str, seconds: float) -> None:
        life = self._life

        def work() -> None:
            life.attempt(
                life.address,
                "a notice",
                lambda app: app.receive_webhook(body, content_type=content_type, source_ip=_ADDRESS).times_received,
            )

        def arrives() -> None:
            if life.address.is_idle and not life.is_down:
                life.address.actor = life.stage.enters(life.address.name, work)
            else:
                life.trace.count("notice lost")

        life.stage.at(life.stage.seconds + seconds, arrives)

    # --- events --------------------------------------------------------------------------------

    def listens(self) -> None:
        """The consumer wakes and takes what there is, now and then."""
        life, random = self._life, self._random
        if life.consumer.is_idle and not life.is_down:
            life.consumer.actor = life.stage.enters(
                life.consumer.name, lambda: life.attempt(life.consumer, "takes events", self._takes)
            )
        life.stage.at(life.stage.seconds + random.random() * random.choice((1.0, 5.0, 12.0)) * 86_400.0, self.listens)

    def _takes(self, app: Billing) -> object:
        return app.deliver(self._told)

    def _told(self, event: Any) -> None:
        """One event; sometimes its consumer is not well."""
        if not self._life.is_calm and self._random.random() < 0.02:
            self._life.trace.count("consumer failed")
            raise ConnectionError("the host's own database is away")
        self._life.checker.told(event.key, event.subscription_id, event.version)

    def catches_up(self) -> None:
        """Take everything that is left."""
        life = self._life
        work = partial(life.attempt, life.consumer, "takes events", self._takes)
        life.consumer.actor = life.stage.enters(life.consumer.name, work)
