"""Laws of refunds: however a payment is given back, what was sold and its VAT come back to the last unit."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.domain.evidence import Cancellation, PaymentFact, PaymentStatus
from billing.domain.ledger import refund_transfers
from billing.domain.refund import RESERVED, Origin, Refund, RefundState, Taxes, tag_of, taxes_inside
from billing.domain.refund_settlement import accounted

laws = settings(deadline=None, max_examples=200)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
R = RefundState


def refund(number: int, amount: int, taxes: Taxes, state: RefundState = R.DONE) -> Refund:
    return Refund(
        f"r{number:03}", "imp_1", "i-1", f"k{number}", Origin.OPERATOR, "mina", "반품", amount, "KRW", *taxes, state, NOW, NOW
    )


@st.composite
def payments(draw: st.DrawFn) -> tuple[int, Taxes]:
    paid = draw(st.integers(1, 10**9))
    tax_free = draw(st.integers(0, paid))
    return paid, Taxes(tax_free, draw(st.integers(0, paid - tax_free)))


@laws
@given(payments(), st.data())
def test_the_parts_of_a_refunded_payment_take_back_exactly_its_taxes(payment: tuple[int, Taxes], data: st.DataObject) -> None:
    """In whatever order refunds end: refused ones give their share back to those that follow."""
    paid, whole = payment
    refunds: list[Refund] = []
    while (left := paid - sum(one.amount for one in refunds if one.state is not R.REFUSED)) > 0:
        amount = left if len(refunds) > 8 else data.draw(st.integers(1, left))
        taxes = taxes_inside(amount, paid=paid, whole=whole, refunds=refunds, currency="KRW")
        assert 0 <= taxes.tax_free <= amount
        assert 0 <= taxes.vat <= amount
        state = R.DONE if len(refunds) > 8 else data.draw(st.sampled_from([R.DONE, R.REFUSED, R.PLANNED]))
        refunds.append(refund(len(refunds), amount, taxes, state))
    kept = [one for one in refunds if one.state is not R.REFUSED]
    assert sum(one.amount for one in kept) == paid
    assert Taxes(sum(one.tax_free for one in kept), sum(one.vat for one in kept)) == whole

    rows = [row for one in kept for row in refund_transfers(one, "invoice")]
    moved = {kind: sum(row.amount for row in rows if row.kind == kind) for kind in ("refund", "refund_sale", "refund_vat")}
    assert moved == {"refund": paid, "refund_sale": paid - whole.vat, "refund_vat": whole.vat}


@laws
@given(st.data())
def test_what_is_booked_of_a_record_never_exceeds_the_payment_and_is_booked_once(data: st.DataObject) -> None:
    """Any mix of our refunds and a console's: after one look every row fits, and a second look changes nothing."""
    paid = 10_000
    states = st.sampled_from([R.PLANNED, R.UNKNOWN, R.DONE, R.REFUSED])
    refunds: list[Refund] = []
    for number, amount in enumerate(data.draw(st.lists(st.integers(1, 3000), max_size=5))):
        state = data.draw(states)
        in_flight = any(one.state is R.UNKNOWN for one in refunds)
        state = R.PLANNED if state is R.UNKNOWN and in_flight else state
        if sum(one.amount for one in refunds if one.state is not R.REFUSED) + amount <= paid:
            refunds.append(refund(number, amount, Taxes(0, 0), state))
    shown = [one for one in refunds if one.state is R.DONE or data.draw(st.booleans())]
    entries = [Cancellation(one.amount, tag_of(one.request_key), f"c-{one.id}") for one in shown]
    for number, amount in enumerate(data.draw(st.lists(st.integers(1, 3000), max_size=4))):
        entries.append(Cancellation(amount, "by hand", data.draw(st.sampled_from([None, f"c-{number}"]))))
    while sum(one.amount for one in entries) > paid:
        entries.pop()
    known = [one._replace(cancellation_id=f"c-{one.id}") if one.state is R.DONE else one for one in refunds]
    entries = data.draw(st.permutations(entries))
    fact = PaymentFact("imp_1", "gd1", PaymentStatus.CANCELLED, paid, sum(e.amount for e in entries), "KRW", True)
    fact = fact._replace(cancel_history=tuple(entries))

    account = accounted(known, fact)
    after = [
        one._replace(state=R.DONE, cancellation_id=account.done[one.id].cancellation_id)
        if one.id in account.done
        else one._replace(state=R.REFUSED if one.id in account.crowded else one.state)
        for one in known
    ]
    after += [
        refund(100 + number, entry.amount, Taxes(0, 0))._replace(request_key=key, cancellation_id=entry.cancellation_id)
        for number, (key, entry) in enumerate(account.strangers.items())
    ]
    assert sum(one.amount for one in after if one.state in {R.DONE, *RESERVED}) <= paid
    again = accounted(after, fact)
    assert (again.done, again.strangers, again.crowded) == ({}, {}, {})
