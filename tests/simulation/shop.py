"""A small merchant with a bit of everything in his books, to doctor: what the checker must notice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from billing.app import Billing
from billing.clock import ManualClock
from billing.flow.opening import Opened
from billing.ids import SeededIds
from billing.sandbox import Sandbox
from billing.simulate.checker import Checker
from billing.simulate.house import SECRET, START, House


@dataclass
class Shop:
    """The merchant, and the checker's eyes on him."""

    house: House
    sandbox: Sandbox
    clock: ManualClock

    @property
    def db(self) -> sqlite3.Connection:
        """The books."""
        return self.house.db

    def checker(self) -> Checker:
        """A checker that has looked once and found nothing wrong."""
        one = Checker(
            self.db,
            changes=self.sandbox.changed_since,
            prefix=self.house.prefix,
            secret=SECRET,
            now=lambda: self.clock.now().timestamp(),
        )
        one.look(closely=True)
        assert one.broken == []
        return one


def charged_by_another_engine(house: House, sandbox: Sandbox, customer_uid: str) -> None:
    """A charge on a card of ours that none of us asked for."""
    key, secret = (one.get_secret_value() for one in house.settings.credentials)
    headers = {"content-type": "application/json"}
    token = sandbox.handle("POST", "/users/getToken", headers, json.dumps({"imp_key": key, "imp_secret": secret}).encode())
    headers["authorization"] = json.loads(token.body)["response"]["access_token"]
    order = {"customer_uid": customer_uid, "merchant_uid": "another-engine-1", "amount": 700, "name": "other"}
    sandbox.handle("POST", "/subscribe/payments/again", headers, json.dumps(order).encode())


def at_the_window(app: Billing, sandbox: Sandbox) -> None:
    """Three links: one registered a card, one issued an account to pay into, one was never followed."""
    app.subscriptions.start("buyer-4", "weekly", actor="host")
    (owed,) = (one["id"] for one in app.views.invoices(state="open", of="buyer-4"))
    for link, method, form in (
        (app.checkouts.register_card("buyer-5", actor="host"), "card", "act=approve&card=approves"),
        (app.checkouts.pay(owed, methods=("vbank",), actor="host"), "vbank", "act=approve&bank=088"),
    ):
        opened = app.checkouts.open(link.token, method)
        assert isinstance(opened, Opened)
        asked = json.dumps({"code": "imp00000000", "params": {**opened.params, "confirm_url": None}}).encode()
        window = json.loads(sandbox.handle("POST", "/v1/window", {"content-type": "application/json"}, asked).body)["window"]
        sandbox.handle("POST", f"/v1/{window}", {"content-type": "application/x-www-form-urlencoded"}, form.encode())
        app.checkouts.complete(None, str(opened.params["merchant_uid"]))
    app.checkouts.register_card("buyer-6", actor="host")


@contextmanager
def shop() -> Iterator[Shop]:
    """A month of him: paid and declined charges, one under way, one parked, refunds, a freeze that was lifted, a notice."""
    house, clock = House(), ManualClock(START + timedelta(hours=2))
    with Sandbox(image=house.pg_image, seed=1, now=lambda: clock.now().timestamp(), sleep=clock.sleep) as sandbox:
        app = Billing(
            house.settings, clock=clock, engine=house.engine, sandbox=sandbox, new_id=SeededIds(1, clock), actor="host", lanes=1
        )
        for number in (0, 1, 2, 3, 4, 5):
            app.subscriptions.start(f"user-{number:02d}", "weekly", request_key=f"weekly-{number}", actor="host")
        clock.sleep(timedelta(days=7).total_seconds())
        sandbox.add_fault("decline", times=1)
        sandbox.add_fault("wrong_amount", times=1)
        app.renew()
        clock.sleep(timedelta(days=1).total_seconds())
        app.renew()
        paid = [
            row[0] for row in house.db.execute("SELECT invoice_id FROM billing_payment WHERE role = 'invoice' ORDER BY rowid")
        ]
        app.refunds.request(paid[0], amount=1000, reason="kind", actor="host")
        app.refunds.request(paid[1], amount=500, reason="kinder", actor="host")
        clock.sleep(timedelta(days=6).total_seconds())
        sandbox.add_fault("server_error", times=1)
        app.renew()
        one = house.db.execute("SELECT customer_uid FROM billing_key WHERE state = 'current' ORDER BY rowid").fetchone()[0]
        charged_by_another_engine(house, sandbox, one)
        app.reconcile(actor="host")
        sandbox.add_fault("server_error", times=1, path="/payments/cancel")
        for _ in range(2):
            app.refunds.request(paid[2], amount=100, reason="in doubt, and one behind it", actor="host")
        app.receive_webhook({"imp_uid": "imp_1", "merchant_uid": "somebody", "status": "paid"}, source_ip="127.0.0.1")
        app.subscriptions.cancel(
            house.db.execute("SELECT max(id) FROM billing_subscription").fetchone()[0], at_period_end=False, actor="host"
        )
        at_the_window(app, sandbox)
        app.controls.set_freeze(is_frozen=True, reason="a look", actor="host")
        house.db.execute(  # planned by somebody who died before he sent it
            "INSERT INTO billing_refund (id, imp_uid, invoice_id, request_key, origin, actor, reason, amount, currency, state,"
            " created_at, moved_at) SELECT 'r', imp_uid, invoice_id, 'r', 'operator', 'host', 'r', 100, currency, 'planned',"
            " booked_at, booked_at FROM billing_payment WHERE invoice_id = ?",
            (paid[3],),
        )
        app.controls.set_freeze(is_frozen=False, reason="a look", actor="host")
        yield Shop(house, sandbox, clock)
    house.close()
