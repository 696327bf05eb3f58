"""Questions whose every answer is a contradiction in the books: what `verify` asks."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, and_, case, func, or_, select

from billing.domain.events import AuditEntry, chained
from billing.store.audit import CHAIN_START, stamp
from billing.store.tables import attempt, audit, counter, invoice, invoice_line, ledger_transfer, payment, refund, subscription


class Proofs:
    """The proofs of one reading transaction; each yields one line per contradiction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def contradictions(self) -> Iterator[str]:
        """Every contradiction inside our own database."""
        yield from self._paid_invoices()
        yield from self._payments()
        yield from self._ledger()
        yield from self._refunds()
        yield from self._lines()
        yield from self._numbers()
        yield from self._chains()

    def payments(self) -> Iterator[tuple[str, str, int, int]]:
        """(imp_uid, merchant_uid, amount, refunded) of every payment booked."""
        query = select(payment.c.imp_uid, payment.c.merchant_uid, payment.c.amount, payment.c.refunded)
        for row in self._connection.execute(query.execution_options(yield_per=5000)):
            yield row.imp_uid, row.merchant_uid, row.amount, row.refunded

    def undecided_uids(self) -> set[str]:
        """Order numbers whose end is not known yet: the PG may rightly know more about them than we do."""
        query = select(attempt.c.merchant_uid).where(attempt.c.state.in_(["sending", "unknown"]))
        return set(self._connection.execute(query).scalars())

    def refunds_in_flight(self) -> dict[str, int]:
        """Per payment the amount of a refund whose end is not known yet: the PG may rightly have given it back."""
        query = select(refund.c.imp_uid, refund.c.amount).where(refund.c.state.in_(["sending", "unknown"]))
        return {row.imp_uid: row.amount for row in self._connection.execute(query)}

    def totals(self) -> dict[str, int]:
        """What the books add up to: counts, and amounts in minor units."""
        one = self._connection
        paid = select(func.count(), func.coalesce(func.sum(payment.c.amount), 0), func.coalesce(func.sum(payment.c.refunded), 0))
        count, amount, refunded = one.execute(paid).one()
        receivable = select(func.coalesce(func.sum(ledger_transfer.c.amount), 0)).where(
            ledger_transfer.c.debit == "pg:receivable"
        )
        given_back = select(func.coalesce(func.sum(ledger_transfer.c.amount), 0)).where(
            ledger_transfer.c.credit == "pg:receivable"
        )
        attempts = select(func.count()).where(attempt.c.state == "paid")
        invoices = select(func.count()).where(invoice.c.state == "paid")
        refunds = select(func.count()).where(refund.c.state == "done")
        return {
            "payments": count,
            # A sum of bigints is a numeric on PostgreSQL.
            "paid_amount": int(amount),
            "refunded_amount": int(refunded),
            "ledger_receivable": int(one.execute(receivable).scalar_one() - one.execute(given_back).scalar_one()),
            "paid_attempts": one.execute(attempts).scalar_one(),
            "paid_invoices": one.execute(invoices).scalar_one(),
            "refunds": one.execute(refunds).scalar_one(),
        }

    def _paid_invoices(self) -> Iterator[str]:
        settling = and_(payment.c.invoice_id == invoice.c.id, payment.c.role == "invoice")
        query = (
            select(invoice.c.number, invoice.c.state, invoice.c.total, payment.c.amount)
            .outerjoin(payment, settling)
            .where(
                or_(
                    and_(invoice.c.state == "paid", invoice.c.total > 0, payment.c.imp_uid.is_(None)),
                    and_(payment.c.imp_uid.is_not(None), invoice.c.state != "paid"),
                    payment.c.amount != invoice.c.total,
                )
            )
        )
        for row in self._connection.execute(query):
            yield f"invoice {row.number} is {row.state} over {row.total}, its settling payment is {row.amount or 'missing'}"

    def _payments(self) -> Iterator[str]:
        query = (
            select(attempt.c.merchant_uid, attempt.c.state, payment.c.imp_uid, payment.c.role)
            .outerjoin(payment, and_(payment.c.attempt_id == attempt.c.id, payment.c.imp_uid == attempt.c.imp_uid))
            .where(
                or_(
                    and_(attempt.c.state.in_(["paid", "surplus", "mismatch"]), payment.c.imp_uid.is_(None)),
                    and_(attempt.c.state == "paid", payment.c.role != "invoice"),
                )
            )
        )
        for row in self._connection.execute(query):
            yield f"attempt {row.merchant_uid} is {row.state}, its payment is {row.role or 'missing'}"
        stray = (
            select(payment.c.imp_uid, payment.c.role)
            .join(attempt, attempt.c.id == payment.c.attempt_id)
            .where(payment.c.role == "invoice", attempt.c.state != "paid")
        )
        for lone in self._connection.execute(stray):
            yield f"payment {lone.imp_uid} settles an invoice, but its attempt is not paid"

    def _ledger(self) -> Iterator[str]:
        booked = and_(ledger_transfer.c.kind == "charge", ledger_transfer.c.ref == payment.c.imp_uid)
        query = (
            select(payment.c.imp_uid, payment.c.amount, ledger_transfer.c.amount.label("booked"))
            .outerjoin(ledger_transfer, booked)
            .where(
                or_(
                    and_(payment.c.role != "mismatch", ledger_transfer.c.id.is_(None)),
                    ledger_transfer.c.amount != payment.c.amount,
                )
            )
        )
        for row in self._connection.execute(query):
            yield f"payment {row.imp_uid} over {row.amount} is booked as {row.booked or 'nothing'}"
        known = select(payment.c.imp_uid).where(payment.c.imp_uid == ledger_transfer.c.ref).exists()
        unknown = select(ledger_transfer.c.ref).where(ledger_transfer.c.kind == "charge", ~known)
        for row in self._connection.execute(unknown):
            yield f"the ledger books a charge {row.ref} that is no payment of ours"
        sold = (
            select(ledger_transfer.c.ref, func.sum(ledger_transfer.c.amount).label("amount"))
            .where(ledger_transfer.c.kind.in_(["sale", "vat"]))
            .group_by(ledger_transfer.c.ref)
            .subquery()
        )
        short = (
            select(invoice.c.number, invoice.c.total, sold.c.amount)
            .outerjoin(sold, sold.c.ref == invoice.c.id)
            .where(
                or_(
                    and_(invoice.c.state == "paid", func.coalesce(sold.c.amount, 0) != invoice.c.total),
                    and_(invoice.c.state != "paid", sold.c.amount.is_not(None)),
                )
            )
        )
        for row in self._connection.execute(short):
            yield f"invoice {row.number} over {row.total} is booked as sales and VAT of {row.amount or 0}"

    def _refunds(self) -> Iterator[str]:
        """Refunds against payments and ledger; of a payment that is no balance of ours the ledger knows no refund either."""
        shown = (
            select(refund.c.imp_uid, func.sum(refund.c.amount).label("amount"))
            .where(refund.c.state == "done")
            .group_by(refund.c.imp_uid)
            .subquery()
        )
        query = (
            select(payment.c.imp_uid, payment.c.refunded, shown.c.amount)
            .outerjoin(shown, shown.c.imp_uid == payment.c.imp_uid)
            .where(payment.c.refunded != func.coalesce(shown.c.amount, 0))
        )
        for row in self._connection.execute(query):
            yield f"payment {row.imp_uid} shows {row.refunded} refunded, its refunds add up to {row.amount or 0}"
        charge, given = ledger_transfer.alias(), ledger_transfer.alias()
        query = (
            select(refund.c.id, refund.c.amount, given.c.amount.label("booked"))
            .join(charge, and_(charge.c.kind == "charge", charge.c.ref == refund.c.imp_uid))
            .outerjoin(given, and_(given.c.kind == "refund", given.c.ref == refund.c.id))
            .where(refund.c.state == "done", func.coalesce(given.c.amount, 0) != refund.c.amount)
        )
        for row in self._connection.execute(query):
            yield f"refund {row.id} over {row.amount} is booked as {row.booked or 'nothing'}"
        done = select(refund.c.id).where(refund.c.id == ledger_transfer.c.ref, refund.c.state == "done").exists()
        countered = ["refund", "refund_sale", "refund_vat"]
        for row in self._connection.execute(select(ledger_transfer.c.ref).where(ledger_transfer.c.kind.in_(countered), ~done)):
            yield f"the ledger books a refund {row.ref} that is not done"
        yield from self._countered_sales()

    def _countered_sales(self) -> Iterator[str]:
        """What was refunded of a sale counters it to the unit, VAT included."""
        parts = {
            kind: func.sum(case((ledger_transfer.c.kind == kind, ledger_transfer.c.amount), else_=0)).label(kind)
            for kind in ("refund_sale", "refund_vat")
        }
        booked = select(ledger_transfer.c.ref, *parts.values()).group_by(ledger_transfer.c.ref).subquery()
        sums = [func.sum(func.coalesce(booked.c[kind], 0)).label(kind) for kind in parts]
        query = (
            select(invoice.c.number, payment.c.amount, payment.c.refunded, invoice.c.vat, *sums)
            .join(payment, and_(payment.c.invoice_id == invoice.c.id, payment.c.role == "invoice"))
            .join(refund, and_(refund.c.imp_uid == payment.c.imp_uid, refund.c.state == "done"))
            .outerjoin(booked, booked.c.ref == refund.c.id)
            .group_by(invoice.c.number, payment.c.amount, payment.c.refunded, invoice.c.vat)
        )
        for row in self._connection.execute(query):
            is_whole = row.refunded == row.amount
            if row.refund_sale + row.refund_vat != row.refunded or (is_whole and row.refund_vat != row.vat):
                countered = f"{row.refund_sale} of the sale and {row.refund_vat} of VAT countered"
                yield f"invoice {row.number}: {row.refunded} refunded, {countered}"

    def _lines(self) -> Iterator[str]:
        query = (
            select(invoice.c.number, invoice.c.total, func.sum(invoice_line.c.amount).label("lines"))
            .outerjoin(invoice_line, invoice_line.c.invoice_id == invoice.c.id)
            .group_by(invoice.c.id, invoice.c.number, invoice.c.total, invoice.c.vat)
            .having(
                or_(
                    func.coalesce(func.sum(invoice_line.c.amount), 0) != invoice.c.total,
                    func.coalesce(func.sum(invoice_line.c.vat), 0) != invoice.c.vat,
                )
            )
        )
        for row in self._connection.execute(query):
            yield f"invoice {row.number} over {row.total} has lines of {row.lines}"

    def _numbers(self) -> Iterator[str]:
        count, highest = self._connection.execute(select(func.count(), func.max(invoice.c.number))).one()
        last = self._connection.execute(select(counter.c.value).where(counter.c.name == "invoice")).scalar()
        if count != (highest or 0) or (last or 0) != (highest or 0):
            yield f"{count} invoices, but the highest number is {highest} and the counter stands at {last}"

    def _chains(self) -> Iterator[str]:
        """Recompute every subscription's audit chain; a changed, missing or added row breaks it."""
        heads = {row.id: row.audit_head for row in self._connection.execute(select(subscription.c.id, subscription.c.audit_head))}
        query = (
            select(audit)
            .where(audit.c.subscription_id.is_not(None))
            .order_by(audit.c.subscription_id)
            .execution_options(yield_per=5000)
        )
        rows: dict[str, str] = {}
        current, seen = None, 0
        for row in self._connection.execute(query):
            if row.subscription_id != current:
                if current is not None:
                    yield from _broken(current, rows, heads.pop(current, ""), seen)
                current, rows, seen = row.subscription_id, {}, 0
            digest = chained(row.previous, AuditEntry(row.actor, row.action, row.subject), row.details, stamp(row.at))
            if digest != row.digest:
                yield f"audit row {row.id} of subscription {row.subscription_id} was changed"
            rows[row.previous] = row.digest
            seen += 1
        if current is not None:
            yield from _broken(current, rows, heads.pop(current, ""), seen)
        for one, head in heads.items():
            if head != CHAIN_START:
                yield f"the audit trail of subscription {one} is missing"


def _broken(subscription_id: str, rows: dict[str, str], head: str, seen: int) -> Iterator[str]:
    at, steps = CHAIN_START, 0
    while at in rows and steps <= seen:
        at, steps = rows[at], steps + 1
    if at != head or steps != seen:
        yield f"the audit trail of subscription {subscription_id} has {seen} rows of which {steps} form a chain"
