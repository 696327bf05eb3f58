"""Settings → Billing: the only file that names the concrete classes."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from billing import fault
from billing.checkouts import Checkouts
from billing.clock import SystemClock
from billing.domain.customer import Customer, bucket_of, checked_customer
from billing.domain.dunning import Ladder
from billing.domain.events import AuditEntry, Event
from billing.domain.patience import Patience
from billing.domain.policy import Policy
from billing.domain.reconciliation import Report
from billing.domain.refund import Refund
from billing.domain.settlement import Verdict
from billing.errors import InvariantBroken, RuleError, SettingsError
from billing.flow.adjudication import Adjudication
from billing.flow.charging import Charging
from billing.flow.closing import Closing
from billing.flow.completing import Completing
from billing.flow.confirming import Confirming
from billing.flow.delivery import Consumer, Delivery
from billing.flow.founding import Founding
from billing.flow.heeding import Heeding
from billing.flow.inviting import Inviting
from billing.flow.opening import Opening
from billing.flow.pricing import Pricing
from billing.flow.receiving import Receipt, Receiving
from billing.flow.reconciliation import Reconciliation
from billing.flow.refund_settlement import RefundSettlement
from billing.flow.refunding import Refunding
from billing.flow.registration import Registration
from billing.flow.renewal import Renewal
from billing.flow.resolution import Resolution
from billing.flow.restoring import Restoring
from billing.flow.settlement import Settlement
from billing.flow.showing import Showing
from billing.flow.stopping import Stopping
from billing.flow.subscribing import Started, Subscribing
from billing.flow.verification import PgLedger, Proof, Verification
from billing.flow.vouching import Vouching
from billing.flow.windows import Windows
from billing.flow.worker import Worker
from billing.gateway.http import Handler, HandlerAnswer, Http
from billing.gateway.iamport import IamportGateway
from billing.gateway.sandboxed import sandbox_ledger
from billing.ids import new_uuid
from billing.instance import Instance
from billing.links import Links
from billing.ports import Clock, Gateway, NewId
from billing.settings import Mode, Settings
from billing.store import migrate
from billing.store.engine import create_engine_for
from billing.store.guards import assert_guarded
from billing.store.identity import STRANGERS, Freeze, Identity
from billing.store.schema import Schema
from billing.store.unit import Store, Tx
from billing.store.views import Views

if TYPE_CHECKING:
    from billing.sandbox import Sandbox

PROFITABLE_LANES = 8
"""More lanes in one process only fight for the interpreter; more processes do not."""

BATCH = 256
"""Rows one pass of the road takes: statements per renewal fall as it grows, and so does what a crash leaves armed."""


class Billing:
    """A subscription billing engine on one database and one PG account.

    Use it as a context manager. Verbs that move money take `actor`, who is written to the audit
    trail; it defaults to the operating system's user.

    Args:
        engine: a database that is open already, and stays open when this is closed.
        wire: answers the gateway's calls instead of a network or `sandbox`; the simulator's own network.

    Raises:
        SettingsError: the settings do not fit together.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        gateway: Gateway | None = None,
        new_id: NewId = new_uuid,
        sandbox: Sandbox | None = None,
        engine: Engine | None = None,
        wire: Handler | None = None,
        buckets: range = range(256),
        lanes: int | None = None,
        actor: str | None = None,
    ) -> None:
        fault.arm(settings.faults)
        self.settings = settings
        self.clock = clock or SystemClock()
        self.new_id = new_id
        self.actor = actor or _os_user()
        self.policy = Policy(
            is_live=settings.is_live,
            zone=settings.zone,
            opens=settings.hours[0],
            closes=settings.hours[1],
            ladder=Ladder(days=settings.ladder_days, final=settings.dunning_end),
            patience=Patience(settings.time_scale, settings.lease_seconds),
            catch_up=settings.catch_up,
            batch=max(BATCH, settings.concurrency),
            buckets=buckets,
            surplus_refund_max=settings.surplus_refund_max,
        )
        is_sqlite = engine.dialect.name == "sqlite" if engine else settings.database_url.get_secret_value().startswith("sqlite")
        is_shared = not is_sqlite
        self._lanes = lanes or (max(1, min(PROFITABLE_LANES, settings.concurrency // 32)) if is_shared else 1)
        self._owns_engine = engine is None
        self.engine = (
            engine
            if engine is not None
            else create_engine_for(settings.database_url.get_secret_value(), pool_size=self._lanes + 2)
        )
        self.store = Store(
            self.engine,
            self.clock,
            new_id,
            uses_database_clock=is_shared and clock is None,
            is_live=settings.is_live,
        )
        self._sandbox = sandbox
        self._owns_sandbox = sandbox is None
        self.gateway = gateway or self._connected(wire)
        returns = RefundSettlement(self.store, self.gateway, self.policy)
        self.settlement = Settlement(self.store, self.gateway, returns, self.policy)
        self.vouching = Vouching(
            self.store,
            Instance(settings.instance_secret, settings.instance_file),
            mode=settings.mode.value,
            imp_key=settings.credentials[0].get_secret_value(),
        )
        self.charging = Charging(self.store, self.gateway, self.settlement, self.policy, self.clock, self.vouching)
        self._renewal = Renewal(self.store, self.policy)
        self._resolution = Resolution(self.store, self.settlement, self.charging, self.policy, self.clock)
        self.plans = Pricing(self.store)
        self.cards = Registration(
            self.store, self.gateway, self.policy, self.vouching, pg=settings.key_in_channel, new_customer_uid=self._customer_uid
        )
        self.views = Views(self.store)
        self._refunding = Refunding(self.store, self.gateway, returns, self.policy, self.clock, self.vouching)
        self.refunds = Refunds(self._refunding, self.views, check=self.check)
        self.reconciliation = Reconciliation(self.store, self.gateway, self.settlement, self.policy, adopt=self.refunds.adopt)
        self.restore = Restoring(self.store, self._renewal, self.settlement, self.reconciliation, self.vouching, self.policy)
        self.controls = Founding(self.store, self.vouching)
        self.webhooks = Receiving(self.store, self.policy)
        self._completing = Completing(
            self.store,
            self.gateway,
            self.settlement,
            self.cards,
            self.charging,
            self.reconciliation,
            self.policy,
            self.clock,
        )
        self._heeding = Heeding(
            self.store,
            self.gateway,
            self.settlement,
            self.policy,
            self.clock,
            adopt=self.refunds.adopt,
            alarm=self.reconciliation.alarm,
            register=self._completing.hear,
        )
        windows = Windows(
            billing_channel=lambda: settings.billing_channel,
            pay_channel=settings.pay_channel,
            base=lambda: settings.public_base,
            notices_to=self._notices_to,
            # A PG that was told to ask first and cannot reach this machine would stop every payment.
            asks_before=settings.mode is Mode.SANDBOX or settings.public_url.startswith("https://"),
        )
        opening = Opening(
            self.store, self.gateway, self.settlement, self._completing, self.cards, self.vouching, windows, self.policy
        )
        self.checkouts = Checkouts(
            Inviting(self.store, self.vouching, windows),
            Showing(self.store),
            opening,
            self._completing,
            Confirming(self.store, self.vouching, self.policy),
            links=self._links,
            check=self.check,
        )
        self.worker = Worker(
            self.store,
            self._renewal,
            self.charging,
            self._resolution,
            self._refunding,
            self.cards,
            self._heeding,
            self.policy,
            lanes=self._lanes,
        )
        self.customers = Customers(self.store, settings.time_zone)
        self._subscribing = Subscribing(
            self.store, self._renewal, self.charging, self.policy, compare=self.reconciliation.keep_up
        )
        self.subscriptions = Subscriptions(self._subscribing, Stopping(self.store), check=self.check)
        self.invoices = Closing(self.store)
        self.events = Delivery(self.store)
        self.attempts = Adjudication(self.store, self.settlement, self.policy)
        self.schema = Schema(self.engine)

    @classmethod
    def from_env(cls, **given: object) -> Billing:
        """The engine as `BILLING_*` describes it; see `Settings.from_env`."""
        return cls(Settings.from_env(**given))

    def __enter__(self) -> Billing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Finish what is on the wire and close every connection."""
        close = getattr(self.gateway, "close", None)
        if close is not None:
            close()
        if self._owns_sandbox and self._sandbox is not None:
            self._sandbox.close()
        if self._owns_engine:
            self.engine.dispose()

    def init(self, *, actor: str | None = None) -> Identity:
        """Migrate the database, create its identity, check its guards; safe to repeat."""
        migrate.upgrade(self.engine)
        identity = self.controls.found(actor=actor or self.actor)
        self.check()
        return identity

    def check(self) -> None:
        """Refuse to go on where charging would not be safe.

        Raises:
            GuardMissing: the database lacks something that refuses double charges.
            InvariantBroken: no identity, one of another mode or account, or a copy.
            SettingsError: the instance secret cannot be used.
        """
        with self.store.read() as tx:
            found = self.vouching.seen(tx)
            assert_guarded(tx.connection)
        if self.vouching.recognised(found).is_on_new_timeline:
            self.restore.follow()

    def renew(self, limit: int | None = None) -> Counter[str]:
        """One pass over everything due now: renewals, retries, unknown outcomes, refunds. Counts per verdict.

        Before the first charge of this process, and then every quarter of an hour, the PG's list is compared first.
        """
        self.check()
        self.reconciliation.keep_up()
        return self.worker.renew(limit)

    def retry(self, invoices: Sequence[str], *, actor: str | None = None) -> list[Verdict]:
        """Charge open invoices now, by id; the same road as a renewal. Who asked for it is written first."""
        self.check()
        self.reconciliation.keep_up()

        def note(tx: Tx) -> None:
            for one in invoices:
                tx.audit.note(AuditEntry(actor or self.actor, "invoice.retried", one), tx.now)
            tx.audit.flush()

        self.store.run(note)
        return self.charging.charge(invoices)

    def settle(self, merchant_uids: Sequence[str]) -> list[Verdict]:
        """Look payments up and book what is new, whoever heard of them."""
        return self.settlement.settle(merchant_uids)

    def deliver(self, consumer: Consumer, limit: int | None = None) -> int:
        """Hand undelivered events to `consumer`, at least once, in order per subscription; see `Delivery.deliver`."""
        return self.events.deliver(consumer, limit)

    def receive_webhook(
        self, body: bytes | Mapping[str, object], *, content_type: str | None = None, source_ip: str = ""
    ) -> Receipt:
        """Store a notice of the PG for the next pass to look into, from a view of the host's own; see `Receiving.receive`.

        Hosts that run ASGI mount `billing.web.router` instead: it also checks who is asking, and how often.
        """
        return self.webhooks.receive(body, content_type=content_type, source_ip=source_ip)

    def heed(self) -> Counter[str]:
        """Look into every notice that is due; part of every `renew`. See `Heeding.heed`."""
        return self._heeding.heed(self.policy.batch)

    def reconcile(self, since: datetime | None = None, until: datetime | None = None, *, actor: str | None = None) -> Report:
        """Compare the PG's own list with the books now; see `Reconciliation.reconcile`."""
        return self.reconciliation.reconcile(since, until, actor=actor or self.actor)

    def thaw(self, *, reason: str, actor: str | None = None) -> Freeze:
        """Allow charging again; a freeze for strangers only after another look at the PG's list.

        Raises:
            RuleError: no reason; findings nobody has explained; an adoption that was not finished.
            GatewayError: the PG could not be asked.
        """
        switch = self.controls.freeze()
        if switch is not None and switch.is_frozen and switch.cause == STRANGERS:
            self.reconciliation.reconcile()
        return self.controls.set_freeze(is_frozen=False, reason=reason, actor=actor or self.actor)

    def verify(self, *, asks_pg: bool = True) -> Proof:
        """Prove the books; see `Verification.verify`."""
        return Verification(self.store, self.gateway, pg_ledger=self._pg_ledger()).verify(asks_pg=asks_pg)

    @property
    def own_sandbox(self) -> Sandbox | None:
        """The fake PG inside this process, where it is the one that is asked; never outside of sandbox mode."""
        is_asked = self.settings.mode is Mode.SANDBOX and not self.settings.gateway
        return self._sandbox if is_asked else None

    def now(self) -> datetime:
        """The business instant: the test clock where one is set."""
        return self.controls.clocks()[0]

    def _notices_to(self) -> str:
        """Where the PG tells of a window's payment; nothing where that address carries a secret, which buyers would read."""
        has_secret = bool(self.settings.webhook_secret.get_secret_value())
        return "" if has_secret else f"{self.settings.public_base}/webhooks/iamport"

    def _links(self) -> Links:
        with self.store.read() as tx:
            identity = tx.controls.identity()
        key = self.vouching.instance.key_for("checkout", identity.ledger_id) if identity else None
        if key is None:
            raise InvariantBroken("there is no instance secret or no identity yet; run `billing init`")
        return Links(key, self.settings.public_base)

    def _customer_uid(self, customer_id: str, number: int) -> str:
        """A name for a card that no other card, customer or database ever has, of letters and digits only."""
        digest = sha256(f"card|{self.new_id()}|{customer_id}".encode()).hexdigest()[:24]
        return f"gdc{digest}{number:02d}"

    def _connected(self, wire: Handler | None) -> Gateway:
        key, secret = self.settings.credentials
        url = self.settings.gateway
        if not url and wire is None:
            if self._sandbox is None:
                self._sandbox = _own_sandbox(self.settings)
            wire = _handler(self._sandbox)
        return IamportGateway(
            Http(url or "http://sandbox.in-process", handler=wire),
            key=key,
            secret=secret,
            clock=self.clock,
            is_live=self.settings.is_live,
            # In process there is nothing to wait for, and one thread keeps every run in the same order.
            concurrency=1 if wire else self.settings.concurrency,
        )

    def _pg_ledger(self) -> PgLedger | None:
        """The sandbox's own truth, where the PG is one."""
        if self.settings.mode is not Mode.SANDBOX:
            return None
        if self._sandbox is not None:
            return self._sandbox.ledger
        return lambda: sandbox_ledger(self.settings.gateway)


class Customers:
    """Those who pay."""

    def __init__(self, store: Store, time_zone: str) -> None:
        self._store = store
        self._time_zone = time_zone

    def add(
        self, external_id: str, *, name: str = "", email: str = "", tel: str = "", time_zone: str | None = None, actor: str
    ) -> Customer:
        """Add a customer under the host's own id.

        Args:
            external_id: the host's id, 1 to 200 characters, unique.
            name: shown to the issuer, at most 100 characters; the PG takes 16.
            time_zone: IANA name; where its billing dates live. The merchant's when left out.

        Raises:
            RuleError: a field is too long, unknown or taken.
        """
        zone = time_zone or self._time_zone
        checked_customer(external_id, name, email, tel, zone)

        def work(tx: Tx) -> Customer:
            if tx.customers.is_known(external_id):
                raise RuleError("external_id", f"{external_id!r} is taken", "show it with `billing customer show`")
            id = tx.new_id()
            one = Customer(id, external_id, name, email, tel, zone, bucket_of(id), tx.business_now)
            tx.customers.insert(one)
            tx.outbox.publish(
                [Event("customer.added", f"customer.added:{id}", id, payload={"external_id": external_id})], one.created_at
            )
            tx.audit.note(AuditEntry(actor, "customer.added", id, {"external_id": external_id}), tx.now)
            tx.audit.flush()
            return one

        return self._store.run(work)


class Subscriptions:
    """Who pays for what: `start`, `cancel`, `uncancel`, `pause`, `resume`."""

    def __init__(self, subscribing: Subscribing, stopping: Stopping, *, check: Callable[[], None]) -> None:
        self._subscribing = subscribing
        self._check = check
        self.cancel = stopping.cancel
        self.uncancel = stopping.uncancel
        self.pause = stopping.pause
        self.resume = stopping.resume

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
        """Subscribe a customer; see `Subscribing.start`. Refused as a whole where charging would not be safe."""
        self._check()
        return self._subscribing.start(
            customer,
            price,
            quantity=quantity,
            start_on=start_on,
            trial_days=trial_days,
            request_key=request_key,
            actor=actor,
        )


class Refunds:
    """What is given back: `request`, `retry`, `adopt`, and `list` to read."""

    def __init__(self, refunding: Refunding, views: Views, *, check: Callable[[], None]) -> None:
        self._refunding = refunding
        self._check = check
        self.adopt = refunding.adopt
        self.list = views.refunds

    def request(
        self,
        invoice_id: str,
        *,
        amount: int | None = None,
        full: bool = False,
        reason: str,
        actor: str,
        request_key: str | None = None,
    ) -> Refund:
        """Give money back; see `Refunding.request`. Refused as a whole where sending money would not be safe."""
        self._check()
        return self._refunding.request(invoice_id, amount=amount, full=full, reason=reason, actor=actor, request_key=request_key)

    def retry(self, refund_id: str, *, actor: str) -> Refund:
        """Take up a refund by hand; see `Refunding.retry`."""
        self._check()
        return self._refunding.retry(refund_id, actor=actor)


def _own_sandbox(settings: Settings) -> Sandbox:
    """The fake PG of this working directory: its state survives, so that separate commands see the same PG."""
    from billing.sandbox import Sandbox, parse_fault

    key, secret = settings.credentials
    sandbox = Sandbox(str(settings.sandbox_file), imp_key=key.get_secret_value(), imp_secret=secret.get_secret_value())
    try:
        faults = [parse_fault(text) for text in filter(None, (part.strip() for part in settings.sandbox_faults.split(";")))]
    except ValueError as error:
        sandbox.close()
        raise SettingsError("BILLING_SANDBOX_FAULTS", str(error), "see `billing sandbox --help`; separate several by ;") from None
    # The file remembers the faults of the command before: without this they would pile up, and outlive the setting.
    sandbox.clear_faults()
    for one in faults:
        sandbox.add_fault(one)
    return sandbox


def _handler(sandbox: Sandbox) -> Handler:
    """The sandbox as a wire: its cuts become what a network would report."""
    from billing.sandbox import ConnectionLost, ConnectionRefused

    def handle(method: str, target: str, headers: Mapping[str, str], body: bytes) -> HandlerAnswer:
        try:
            return sandbox.handle(method, target, headers, body)
        except ConnectionRefused:
            raise ConnectionRefusedError from None
        except ConnectionLost:
            raise ConnectionResetError from None

    return handle


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
