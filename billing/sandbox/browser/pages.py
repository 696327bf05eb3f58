"""The pages of the window. Whatever a merchant wrote is shown as text; nothing in a page is a script but window.js."""

from html import escape
from http import HTTPStatus

from billing.sandbox.browser import results
from billing.sandbox.browser.windows import Window
from billing.sandbox.cards import MAGIC_CARDS, MagicCard, reason
from billing.sandbox.charges import INSTALMENT_MIN, Order
from billing.sandbox.codes import BANKS
from billing.sandbox.wire import HTML_HEADERS, Answer, to_json

SHARED = {
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}
"""Of everything a merchant's page asks for: it stands at another origin."""

PREFLIGHT = {
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "content-type",
    "access-control-max-age": "600",
}

_METHODS = {
    "card": "신용카드",
    "trans": "실시간 계좌이체",
    "vbank": "가상계좌",
    "phone": "휴대폰 소액결제",
    "samsung": "삼성페이",
    "samsungpay": "삼성페이",
    "applepay": "애플페이",
    "kakaopay": "카카오페이",
    "naverpay": "네이버페이",
    "payco": "페이코",
    "tosspay": "토스페이",
}
_BY_HAND = {
    "approves": "정상 승인",
    "deaf": "정상 승인 (빌링 응답 유실)",
    "recovers": "정상 승인 (빌링 2·4회차 거절)",
    "expires": "유효기간까지 승인",
    "late": "승인 지연 (실패로 보였다가 승인)",
}
"""What to call the cards that do not just decline."""


def form(window: Window, order: Order, quotas: tuple[int, ...], problem: str | None) -> Answer:
    """Return the page on which a buyer decides, with what was wrong about the last try."""
    asked = window.asked
    title = "자동결제 카드 등록" if window.is_issue else f"{_METHODS.get(order.pay_method, order.pay_method)} 결제"
    facts = [("상점", asked["code"]), ("상품명", order.shown["name"] or "-"), ("주문번호", order.merchant_uid)]
    note = f'<p class="problem" role="alert" data-testid="problem">{escape(problem)}</p>' if problem else ""
    content = f"""
<section class="order">
<h1 data-testid="title">{escape(title)}</h1>
<dl>{"".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts)}</dl>
{_amount(window, order)}
</section>
{note}
<form method="post" id="decision" autocomplete="off">
{_choice(order, quotas)}
<div class="buttons">{_buttons(window, order)}</div>
</form>"""
    return _page(window, title, content, closes=True, status=422 if problem else 200)


def done(window: Window, result: dict[str, object]) -> Answer:
    """Return the page that brings a result to the merchant: window.js does, or the buyer by the link."""
    words = "완료되었습니다." if result["success"] else str(result["error_msg"])
    if window.redirects_to is None:
        way = f'data-result="{escape(to_json(result))}" data-origin="{escape(window.origin or "")}"'
        link = "<p>이 창을 닫고 상점으로 돌아가 주세요.</p>"
    else:
        target = escape(results.address(window.redirects_to, result))
        way = f'data-redirect="{target}"'
        link = f'<p><a class="primary" href="{target}" data-testid="return">상점으로 돌아가기</a></p>'
    content = f'<section class="end" id="result" data-testid="result" {way}><h1>{escape(words)}</h1>{link}</section>'
    return _page(window, "결제 결과", content)


def busy(window: Window) -> Answer:
    """Return the page that waits for the first decision to come to an end."""
    content = '<section class="end" data-testid="busy"><h1>결제를 처리하고 있습니다.</h1><p>잠시만 기다려 주세요.</p></section>'
    return _page(window, "결제 처리 중", content, head='<meta http-equiv="refresh" content="1">')


def see(window: Window) -> Answer:
    """Send the browser to the window as it stands, so that going back or reloading sends nothing again."""
    return Answer(303, {**SHARED, "location": window.id}, b"")


def note(status: int, words: str) -> Answer:
    """Return a page that only says what is wrong."""
    content = f'<section class="end" data-testid="note"><h1>{escape(words)}</h1><p>상점에서 다시 시도해 주세요.</p></section>'
    return _page(None, HTTPStatus(status).phrase, content, status=status)


def _amount(window: Window, order: Order) -> str:
    """Show the amount; registering a card takes none. Source: INICIS: a phone does not show it then."""
    amount = f"{order.amount:,}{'원' if order.currency == 'KRW' else ' ' + escape(order.currency)}"
    if order.takes_money:
        return f'<p class="amount"><span>결제금액</span><strong data-testid="amount">{amount}</strong></p>'
    shown = f" (표시 금액 {amount})" if order.amount and not window.redirects_to else ""
    return f'<p class="amount free"><span data-testid="amount">지금 결제되는 금액은 없습니다.{shown}</span></p>'


def _choice(order: Order, quotas: tuple[int, ...]) -> str:
    if order.pay_method == "vbank":
        banks = "".join(f'<option value="{code}">{escape(name)}</option>' for code, name in BANKS.items())
        return f'<label class="field">입금은행<select name="bank" data-testid="bank">{banks}</select></label>'
    if order.pay_method != "card":
        return '<p class="hint">테스트 결제창입니다. 승인 또는 거절을 선택해 주세요.</p>'
    cards = "".join(_card(name, card) for name, card in MAGIC_CARDS.items())
    return f"""<fieldset class="cards"><legend>테스트 카드 선택</legend>{cards}</fieldset>
<details class="typed"><summary data-testid="type-card">카드번호 직접 입력</summary>
<label class="field">카드번호<input name="number" inputmode="numeric" maxlength="24" placeholder="0000-0000-0000-0000"
 data-testid="card-number"></label>
<label class="field">유효기간<input name="expiry" maxlength="7" placeholder="YYYY-MM" data-testid="card-expiry"></label>
</details>
{_instalments(order, quotas)}"""


def _card(name: str, card: MagicCard) -> str:
    words = _BY_HAND.get(name) or reason(card.code or "")
    checked = " checked" if name == "approves" else ""
    return (
        f'<label class="card{"" if name == "approves" else " odd"}"><input type="radio" name="card" value="{name}"{checked}'
        f' data-testid="card-{name}"><span class="number">{card.number}</span><span class="what">{escape(words)}</span></label>'
    )


def _instalments(order: Order, quotas: tuple[int, ...]) -> str:
    """Let the buyer choose instalments where there are some. Source: PortOne REST V1: from 50,000 won."""
    if len(quotas) < 2 or order.amount < INSTALMENT_MIN or not order.takes_money:
        return ""
    options = "".join(f'<option value="{months}">{f"{months}개월" if months else "일시불"}</option>' for months in quotas)
    return f'<label class="field">할부<select name="quota" data-testid="quota">{options}</select></label>'


def _buttons(window: Window, order: Order) -> str:
    words = "카드 등록" if window.is_issue else "가상계좌 발급" if order.pay_method == "vbank" else "결제하기"
    approve = f'<button class="primary" id="approve" name="act" value="approve" data-testid="approve">{words}</button>'
    if order.pay_method == "card":
        return approve
    return f'<button id="decline" name="act" value="decline" data-testid="decline">거절하기</button>{approve}'


def _page(window: Window | None, title: str, content: str, *, head: str = "", closes: bool = False, status: int = 200) -> Answer:
    """Wrap a page. Only the page that opened the window may frame it, and only our own files do anything in it."""
    close = (
        '<button id="close" form="decision" name="act" value="close" formnovalidate aria-label="닫기" data-testid="close">'
        "&times;</button>"
        if closes
        else ""
    )
    page = f"""<!doctype html>
<html lang="ko">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">{head}
<title>{escape(title)}</title><link rel="stylesheet" href="../window.css"><script src="../window.js" defer></script></head>
<body>
<main class="window" data-testid="window">
<header><span class="brand">SANDBOX<b>PAY</b></span><span class="badge">테스트 · 실제로 결제되지 않습니다</span>{close}</header>
{content}
</main>
</body>
</html>
"""
    framed = "'none'" if window is None or window.redirects_to else (window.origin or "'self'")
    policy = (
        f"default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {framed}"
    )
    headers = {
        **HTML_HEADERS,
        "content-security-policy": policy,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return Answer(status, headers, page.encode())
