"""What a buyer does in a window, once, and what comes of it.

A window is claimed before anybody is asked, so a second click or a page sent again finds it
taken: whoever comes late is shown what the first one led to.
"""

import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

from billing.sandbox import charges, payments, vbanks, webhooks
from billing.sandbox.browser import opening, pages, results, windows
from billing.sandbox.browser.windows import Window
from billing.sandbox.call import Call, Pause, Question
from billing.sandbox.cards import KST, MAGIC_CARDS, NO_CARD, Card, digits_of, read_card
from billing.sandbox.codes import BANKS
from billing.sandbox.faults import Subject
from billing.sandbox.wire import Answer, Refused, text, to_json

_UNKNOWN = "존재하지 않거나 이미 종료된 결제창입니다."
_STOPPED = "고객사 요청에 의해 결제를 중단합니다. (상세사유 : {})"
_NO_REASON = "알 수 없음"
_HOLDER = "샌드박스상점"


def show(call: Call, id: str) -> Answer:
    """Show a window as it stands; one that is done brings its result to the merchant, as often as it is asked."""
    window = windows.by_id(call, id)
    if window is None:
        return pages.note(404, _UNKNOWN)
    if window.result is not None:
        return pages.done(window, window.result)
    if window.state == "deciding":
        return pages.busy(window)
    return _form(call, window)


def submit(call: Call, id: str) -> Answer | Pause:
    """Take the buyer's decision, unless it was taken already."""
    window = windows.by_id(call, id)
    if window is None:
        return pages.note(404, _UNKNOWN)
    if window.state != "open":
        return pages.see(window)
    try:
        act = text(call.fields, "act", 20)
        if act == "close":
            return _close(call, window)
        order, refusal = _chosen(call, window, act)
    except Refused as wrong:
        return _form(call, window, problem=wrong.message)
    windows.claim(call, window)
    if refusal is not None:
        return _fail(call, window, order, refusal)
    if order.pay_method == "vbank":
        return _open_account(call, window, order)
    return _confirm(call, window, order)


def _form(call: Call, window: Window, problem: str | None = None) -> Answer:
    order = opening.order_of(call, window.asked, window.imp_uid, window.opened_at)
    return pages.form(window, order, opening.quotas_of(window.asked), problem)


def _chosen(call: Call, window: Window, act: str | None) -> tuple[charges.Order, str | None]:
    """Return the order with what it shall be paid with, and why the issuer will not even look at it, if so.

    Raises:
        Refused: the form was not filled in as it must be.
    """
    if act not in ("approve", "decline"):
        raise Refused(1, "잘못된 요청입니다. 다시 선택해 주세요.")
    months, quota = opening.quotas_of(window.asked), text(call.fields, "quota", 2)
    if quota is not None and quota not in map(str, months):
        raise Refused(1, "선택할 수 없는 할부개월입니다.")
    order = opening.order_of(call, window.asked, window.imp_uid, window.opened_at, int(quota or months[0]))
    if order.pay_method == "vbank" and act == "approve" and text(call.fields, "bank", 3) not in BANKS:
        raise Refused(1, "입금하실 은행을 선택해 주세요.")
    if order.pay_method != "card":
        # A magic behaviour stands for whatever the buyer of another method may meet.
        return replace(order, card=NO_CARD if act == "approve" else replace(NO_CARD, behaviour="balance")), None
    if act == "decline":
        raise Refused(1, "잘못된 요청입니다. 다시 선택해 주세요.")
    card, refusal = _card(call)
    return replace(order, card=card), refusal


def _card(call: Call) -> tuple[Card, str | None]:
    """Read the card: one of the list by its name, or a number that was typed in. A number stays in this call frame."""
    typed = text(call.fields, "number", 32)
    magic = MAGIC_CARDS.get(text(call.fields, "card", 20) or "")
    if typed is None and magic is None:
        raise Refused(1, "카드를 선택하거나 카드번호를 입력해 주세요.")
    number = typed or (magic.number if magic else "")
    expiry = (typed and text(call.fields, "expiry", 7)) or f"{datetime.fromtimestamp(call.now, KST).year + 3}-12"
    if not re.fullmatch(r"[0-9]{15,16}", digits_of(number)):
        raise Refused(1, "카드번호를 다시 확인해 주세요.")
    try:
        return read_card({"card_number": number, "expiry": expiry}, now=call.now, refusal=""), None
    except Refused as refusal:
        return NO_CARD, refusal.message.strip()


def _confirm(call: Call, window: Window, order: charges.Order) -> Answer | Pause:
    """Ask the merchant first, where the page gave a `confirm_url`, before anything is charged.

    Source: PortOne confirm process guide V1. Nothing is asked where nothing is approved: a key
    issue without a charge, a virtual account.
    """
    url = text(window.asked, "confirm_url")
    if url is None or not order.takes_money:
        return _approve(call, window, order)
    if not call.config.may_notify(url):
        return _fail(call, window, order, _STOPPED.format("the sandbox asks this machine only (webhook_allow_remote)"))
    content = {"imp_uid": window.imp_uid, "merchant_uid": order.merchant_uid, "amount": order.amount}

    def then(later: Call, said: tuple[int, bytes]) -> Answer | Pause:
        status, body = said
        if status != 200:
            return _fail(later, window, order, _STOPPED.format(_reason_in(body)))
        return _approve(later, window, order)

    return Pause(then, question=Question(url, to_json(content).encode()))


def _reason_in(body: bytes) -> str:
    try:
        said = json.loads(body)
        reason = said["reason"]
        return str(reason)[:200] if isinstance(reason, str) and reason else _NO_REASON
    except (ValueError, KeyError, TypeError, RecursionError):
        return _NO_REASON


def _approve(call: Call, window: Window, order: charges.Order) -> Answer | Pause:
    call.subject = Subject(order.merchant_uid, order.customer_uid, order.card.masked if order.card else None)
    wait = call.approval_seconds()
    if wait:
        return Pause(lambda later, _: _charge(later, window, order), wait)
    return _charge(call, window, order)


def _charge(call: Call, window: Window, order: charges.Order) -> Answer:
    try:
        charges.refuse_used(call, order.merchant_uid)
    except Refused as refusal:
        return _fail(call, window, order, refusal.message)
    return _end(call, window, charges.charge(call, order))


def _open_account(call: Call, window: Window, order: charges.Order) -> Answer:
    """Open a virtual account; the record goes on waiting, now for the deposit.

    Source: PortOne code lists V1: INICIS writes bank codes with two digits.
    """
    if order.card is not None and order.card.behaviour != "approves":
        return _fail(call, window, order, "가상계좌 발급이 거절되었습니다.")
    try:
        due = opening.due_of(call, text(window.asked, "vbank_due"))
    except Refused as passed:
        return _fail(call, window, order, passed.message)
    bank = str(call.fields["bank"])
    code = bank[1:] if order.channel is not None and order.channel.pg_provider == "html5_inicis" else bank
    account = vbanks.account(call, code, _HOLDER, due)
    facts = opening.facts_of(order)
    row = payments.book(call, status="ready", **{**facts, "shown": {**order.shown, **account}})
    webhooks.tell(call, row, early=call.strikes("webhook_early") is not None)
    return _end(call, window, row)


def _fail(call: Call, window: Window, order: charges.Order, reason: str) -> Answer:
    """Book why nothing was paid. Source: PortOne webhook guide V1: ordinary failures are told by no notice."""
    return _end(call, window, payments.book(call, status="failed", fail_reason=reason, **opening.facts_of(order)))


def _close(call: Call, window: Window) -> Answer:
    leaves = call.config.closed_window_leaves
    if leaves == "failed":
        order = opening.order_of(call, window.asked, window.imp_uid, window.opened_at)
        payments.book(call, status="failed", fail_reason=results.CLOSED, **opening.facts_of(order))
    elif leaves == "none":
        call.state.run("DELETE FROM payments WHERE imp_uid = ?", (window.imp_uid,))
    windows.end(call, window, results.closed(window))
    return pages.see(window)


def _end(call: Call, window: Window, row: Any) -> Answer:
    windows.end(call, window, results.ended(call, window, row))
    return pages.see(window)
