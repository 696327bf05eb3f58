"""What the answer to a charge or a refund proves. The table of the wire, as code.

    could not connect, TLS refused                    Silence(sent=False)
    broke, timed out, cut off after that              Silence(sent=True)
    401                                               Unauthorized: refused at the door
    429                                               RateLimited
    200, code 0, a readable record of this payment    Answered: the record's status decides
    200, code 0, anything else                        Silence(sent=True)
    200, code ≠ 0                                     Refusal
    another 4xx with the PG's own envelope, code ≠ 0  Refusal, read like one with 200
    anything else (3xx, 5xx, HTML, half a JSON)       Silence(sent=True)

`sent=True` means "may have been executed": it costs a look-up and some patience. Calling one
unsent that was sent costs a customer twice, so every doubt falls on that side.

Source: PortOne REST V1, POST /subscribe/payments/again and /payments/cancel (200 and 401 only; business errors come
as HTTP 200 with code ≠ 0 and response null). A 4xx in the PG's envelope is documented for other
calls of the same API as "bad parameter" or "not found"; here it still has to name its reason in
words we know before it counts as final. A 4xx without the envelope comes from something between
us and the PG, and proves nothing.
"""

from __future__ import annotations

import re
import unicodedata

from billing.domain.evidence import (
    Answered,
    CancelOrder,
    ChargeOrder,
    PaymentFact,
    RateLimited,
    Refusal,
    RefusalKind,
    Reply,
    Silence,
    Unauthorized,
)
from billing.gateway import wire
from billing.gateway.declines import DeclineTable
from billing.gateway.http import Answer, Lost

# Compared without spaces and without case, by substring: spelling and spacing of the texts drift.
# Source: answers of the live API as public client test suites assert them; F1002 is the window's.
_DUPLICATE = (
    "동일한merchant_uid",
    "이미주문이",
    "이미결제가이루어진",
    "f1002",
    # The PG below saw this order number before: the earlier send got at least that far.
    "주문번호중복",
    "중복된주문번호",
    "duplicated_order_id",
    "already_processed_payment",
)
_FINAL = (
    "등록되지않은구매자",  # unknown customer_uid
    "등록된고객정보가없",
    "로등록된정보를찾을수없",
    "파라메터는필수",  # a required field is missing
    "파라미터는필수",
    "비인증결제모듈사용정보를찾을수없",  # no contract for charging keys
)
_MESSAGE_MAX = 300


def reply_to(order: ChargeOrder | CancelOrder, answer: Answer | Lost, declines: DeclineTable) -> Reply:
    """Return what `answer` proves about `order`. Never raises."""
    if isinstance(answer, Lost):
        return Silence(answer.is_sent, answer.why)
    status = answer.status
    if status == 401:
        return Unauthorized()
    if status == 429:
        return RateLimited(_retry_after(answer))
    if status != 200 and not (400 <= status < 500 and status != 408):
        return Silence(True, f"HTTP {status}")
    try:
        frame = wire.envelope(answer.body)
        if frame.code != 0:
            return refusal(frame, declines)
        if status != 200:
            return Silence(True, f"HTTP {status} with code 0")
        fact = wire.payment(frame.response, declines)
    except wire.Unreadable as problem:
        return Silence(True, f"HTTP {status}: {problem}")
    if not _is_about(order, fact):
        # A PG that cuts long numbers, or a proxy that mixed two answers up: it is not about this order.
        return Silence(True, "answered for another order number")
    return Answered(fact)


def _is_about(order: ChargeOrder | CancelOrder, fact: PaymentFact) -> bool:
    return fact.imp_uid == order.imp_uid if isinstance(order, CancelOrder) else fact.merchant_uid == order.merchant_uid


def refusal(frame: wire.Envelope, declines: DeclineTable) -> Refusal:
    """An envelope with code ≠ 0, sorted by what it says."""
    message = frame.message[:_MESSAGE_MAX]
    plain = re.sub(r"\s+", "", unicodedata.normalize("NFKC", message)).casefold()
    if any(text in plain for text in _DUPLICATE):
        kind = RefusalKind.DUPLICATE
    elif frame.code > 0 and any(text in plain for text in _FINAL):
        # A negative code comes from the PG below, whose texts may quote anything.
        # Source: PortOne clients' notes on cancel (1 refused before the PG, -1 by the PG).
        kind = RefusalKind.FINAL
    else:
        kind = RefusalKind.UNCLEAR
    return Refusal(kind, frame.code, message, declines.refusal(message))


def _retry_after(answer: Answer) -> float | None:
    """Seconds of a Retry-After; its date form would need a clock that agrees with the PG's."""
    text = answer.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
