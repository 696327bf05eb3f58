"""The loop a SaaS writes first: one subscription after the other, or 32 at once, each with its own commit.

Idiomatic and not crippled: SQLAlchemy ORM with a pool as large as the number of threads, one shared
`httpx.Client` with keep-alive, one token for the run, and after each charge the payment is looked up and
its amount compared, as the PG's guide asks. It does far less than the engine: no intent before the wire,
no invoice, no ledger, no audit trail, no guard against a second charge after a crash.

Its tables are its own and as small as such a loop's are.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import httpx
from sqlalchemy import ForeignKey, String, create_engine, func, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, sessionmaker

from bench.fakepg import KEY, SECRET
from bench.gauges import Gauges

AMOUNT = 9900


class Base(DeclarativeBase):
    """Tables of the loop."""


class Customer(Base):
    """Who pays, and with which billing key."""

    __tablename__ = "naive_customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(254))
    customer_uid: Mapped[str] = mapped_column(String(80), unique=True)


class Subscription(Base):
    """What is due when."""

    __tablename__ = "naive_subscription"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey(Customer.id), index=True)
    plan_name: Mapped[str] = mapped_column(String(40))
    amount: Mapped[int]
    status: Mapped[str] = mapped_column(String(10))
    next_billing_on: Mapped[date] = mapped_column(index=True)
    customer: Mapped[Customer] = relationship()


class Payment(Base):
    """What was paid."""

    __tablename__ = "naive_payment"
    id: Mapped[int] = mapped_column(primary_key=True)
    subscription_id: Mapped[int] = mapped_column(ForeignKey(Subscription.id), index=True)
    merchant_uid: Mapped[str] = mapped_column(String(40), unique=True)
    imp_uid: Mapped[str] = mapped_column(String(64), unique=True)
    amount: Mapped[int]
    status: Mapped[str] = mapped_column(String(10))
    paid_at: Mapped[datetime]


class PaymentFailed(Exception):
    """The PG did not take the money."""


class Loop:
    """Charges due subscriptions."""

    def __init__(self, sessions: sessionmaker[Session], pg: httpx.Client, today: date) -> None:
        self._sessions = sessions
        self._pg = pg
        self._today = today

    def due(self) -> list[int]:
        """Everything due today, by id."""
        query = select(Subscription.id).where(Subscription.next_billing_on <= self._today, Subscription.status == "active")
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Subscription.id)))

    def renew(self, subscription_id: int) -> None:
        """Charge one subscription, check what the PG booked, and move the next date."""
        with self._sessions() as session:
            one = session.get_one(Subscription, subscription_id, options=[joinedload(Subscription.customer)])
            order = {
                "customer_uid": one.customer.customer_uid,
                "merchant_uid": f"order_{one.id}_{one.next_billing_on:%Y%m%d}",
                "amount": one.amount,
                "name": one.plan_name,
                "buyer_name": one.customer.name,
                "buyer_email": one.customer.email,
            }
            charged = self._asked("POST", "/subscribe/payments/again", order)
            paid = self._asked("GET", f"/payments/{charged['imp_uid']}")
            if paid["status"] != "paid" or paid["amount"] != one.amount:
                raise PaymentFailed(paid["merchant_uid"])
            session.add(
                Payment(
                    subscription_id=one.id,
                    merchant_uid=paid["merchant_uid"],
                    imp_uid=paid["imp_uid"],
                    amount=paid["amount"],
                    status=paid["status"],
                    paid_at=datetime.fromtimestamp(paid["paid_at"], UTC).replace(tzinfo=None),
                )
            )
            one.next_billing_on += timedelta(days=30)
            session.commit()

    def _asked(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        answer = self._pg.request(method, path, json=body)
        answer.raise_for_status()
        frame = answer.json()
        if frame["code"] != 0:
            raise PaymentFailed(frame["message"])
        return frame["response"]  # type: ignore[no-any-return]


def found(url: str, count: int) -> None:
    """Make the tables and `count` subscriptions due today."""
    engine = create_engine(_driver(url))
    Base.metadata.create_all(engine)
    people = [
        {"id": n, "name": f"고객 {n}", "email": f"customer-{n}@example.com", "customer_uid": f"naive_{n:08d}"}
        for n in range(1, count + 1)
    ]
    subscriptions = [
        {"id": n, "customer_id": n, "plan_name": "Pro", "amount": AMOUNT, "status": "active", "next_billing_on": date.today()}
        for n in range(1, count + 1)
    ]
    with engine.begin() as connection:
        connection.execute(insert(Customer), people)
        connection.execute(insert(Subscription), subscriptions)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def booked(url: str) -> dict[str, int]:
    """What the loop's books say: payments, subscriptions paid, and how many are still due."""
    engine = create_engine(_driver(url))
    with Session(engine) as session:
        count = session.scalar(select(func.count()).select_from(Payment))
        paid = session.scalar(select(func.count(Payment.subscription_id.distinct())))
        due = session.scalar(select(func.count()).where(Subscription.next_billing_on <= date.today()).select_from(Subscription))
        amount = session.scalar(select(func.coalesce(func.sum(Payment.amount), 0)))
    engine.dispose()
    return {"payments": count or 0, "subscriptions": paid or 0, "due": due or 0, "amount": int(amount or 0)}


def run(url: str, gateway: str, count: int, threads: int) -> dict[str, object]:
    """Renew everything due and say what it took."""
    gauges = Gauges(count)
    gauges.watch_sql()
    gauges.watch_http(httpx.Client, "request")
    engine = create_engine(_driver(url), pool_size=threads, max_overflow=0)
    limits = httpx.Limits(max_connections=threads, max_keepalive_connections=threads)
    with httpx.Client(base_url=gateway, limits=limits, timeout=75.0) as pg:
        keys = pg.post("/users/getToken", json={"imp_key": KEY, "imp_secret": SECRET}).json()
        pg.headers["Authorization"] = f"Bearer {keys['response']['access_token']}"
        loop = Loop(sessionmaker(engine), pg, date.today())

        def renew(subscription_id: int) -> None:
            loop.renew(subscription_id)
            gauges.charged()

        gauges.start()
        if threads == 1:
            for one in loop.due():
                renew(one)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(renew, loop.due()):
                    pass
        measured = gauges.stop()
    engine.dispose()
    return measured


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def main() -> None:
    """Run in a process of its own and print one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m bench.naive", description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(run(given.database, given.gateway, given.count, given.threads)))


if __name__ == "__main__":
    main()
