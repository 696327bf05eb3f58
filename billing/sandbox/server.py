"""The sandbox itself: one request in, one answer out, everything it changed in one transaction."""

import threading
import time
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, Self

from billing.sandbox import browser, controls, faults, outgoing, payments, refunds, schedules, tokens
from billing.sandbox import ledger as books
from billing.sandbox.call import Approval, Call, Pause
from billing.sandbox.cards import digits_of, masked
from billing.sandbox.config import SandboxConfig
from billing.sandbox.faults import Fault, Faults, Subject, seconds
from billing.sandbox.routes import GET_TOKEN, MONEY_HANDLERS, Handler, handler_for
from billing.sandbox.state import State
from billing.sandbox.webhooks import Courier, CourierThread, Deliver, Notice, notice_of
from billing.sandbox.wire import (
    JSON_HEADERS,
    Answer,
    ConnectionLost,
    ConnectionRefused,
    Refused,
    Reply,
    Request,
    envelope,
    html,
)

_CONTROLS = "_sandbox"
_BROWSER = "v1"

Ask = Callable[[str, bytes], tuple[int, bytes]]
"""Asks the merchant before an approval: takes URL and JSON, returns status and body, raises OSError if unreachable."""

_Cut = ConnectionLost | ConnectionRefused


class Sandbox:
    """A complete fake of the PG's REST half, in this process or behind `asgi`.

    Args:
        path: a SQLite file that survives and that other processes may share; None keeps all in memory.
        image: what another sandbox's `image()` gave: this one begins where that one stood, under its own seed.
        seed: makes identifiers and the fate of calls follow from the order of calls alone; a file remembers its first.
        now: the clock, in Unix seconds.
        sleep: how a slow approval waits; a simulator passes its own.
        deliver: takes notices instead of HTTP.
        ask: puts the question of a `confirm_url` instead of HTTP.

    Thread-safe. Processes that share a file wait for each other's transactions.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        image: bytes | None = None,
        seed: int | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        imp_key: str = "imp_sandbox_key",
        imp_secret: str = "imp_sandbox_secret",  # noqa: S107 - opens nothing but this sandbox
        config: SandboxConfig | None = None,
        deliver: Deliver | None = None,
        ask: Ask = outgoing.ask,
    ) -> None:
        self.config = config or SandboxConfig()
        self._state = State(path, seed, image)
        self._now = now
        self._sleep = sleep
        self._credentials = (imp_key, imp_secret)
        self._lock = threading.RLock()
        self._ask = ask
        self._courier = Courier(self._state, self._lock, self.config, deliver)
        self._carriers: list[CourierThread] = []

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request; `target` is path and query as they travel.

        Raises:
            ConnectionLost: a fault cut the wire; the request may have been executed.
            ConnectionRefused: a fault kept the connection from coming about.
        """
        try:
            request = Request.read(method, target, headers, body)
        except Refused as refusal:
            return browser.note(refusal) if target.startswith(f"/{_BROWSER}/") else _refusal(refusal)
        with self._lock, self._state.transaction():
            call = self._call(request)
            ended = self._first(call)
        while isinstance(ended, Pause):
            said = self._wait(ended)
            with self._lock, self._state.transaction():
                call = self._call(request)
                self._due(call)
                ended = ended.then(call, said)
        if call.notifies_early:
            self._courier.deliver(self.time(), only_early=True)
        if isinstance(ended, Exception):
            raise ended
        return ended

    def time(self) -> float:
        """Return the sandbox's clock: the given one plus whatever it was shifted by."""
        with self._lock:
            return self._now() + self._state.shift

    def tick(self) -> None:
        """Let everything happen that is due by the clock: scheduled charges and late approvals."""
        with self._lock, self._state.transaction():
            self._due(self._call(Request.read("GET", "/", {}, b"")))

    def ledger(self) -> dict[str, Any]:
        """Return the PG's own truth, as `GET /_sandbox/ledger` does."""
        self.tick()
        with self._lock, self._state.transaction():
            return books.ledger(self._state, self.time())

    def changed_since(self, instant: float) -> dict[str, list[dict[str, Any]]]:
        """Return the `payments` and `refunds` of the ledger that are new or other than at `instant`, in sandbox time."""
        with self._lock, self._state.transaction():
            return books.changed_since(self._state, instant)

    def image(self) -> bytes:
        """Return all it remembers; see `image` of the constructor."""
        with self._lock:
            return self._state.image()

    def add_fault(
        self,
        fault: Fault | str,
        *,
        times: int | None = None,
        rate: float = 1.0,
        card: str | None = None,
        customer_uid: str | None = None,
        merchant_uid: str | None = None,
        path: str | None = None,
        value: str | float | None = None,
    ) -> Fault:
        """Switch on a fault, given whole or by name and whom it concerns; return it.

        Raises:
            ValueError: no such fault, or one that cannot be.
        """
        if isinstance(fault, str):
            fault = Fault(fault, times, rate, card, customer_uid, merchant_uid, path, value)
        with self._lock, self._state.transaction():
            faults.add(self._state, fault)
        return fault

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are switched on, each with how often it could strike and did."""
        with self._lock, self._state.transaction():
            return faults.listed(self._state)

    def clear_faults(self) -> None:
        """Switch all faults off."""
        with self._lock, self._state.transaction():
            faults.clear(self._state)

    @property
    def webhooks(self) -> list[Notice]:
        """Every notice made so far, sent or not, oldest first."""
        with self._lock, self._state.transaction():
            return [notice_of(row) for row in self._state.all("SELECT * FROM notices ORDER BY id")]

    def deliver_webhooks(self) -> int:
        """Send the notices that are due, each once, in order; return how many were tried."""
        self.tick()
        return self._courier.deliver(self.time())

    def carry_webhooks(self) -> CourierThread:
        """Send notices when they are due, in a thread that runs until it is stopped, or until this is closed."""
        carrier = CourierThread(self.deliver_webhooks)
        self._carriers.append(carrier)
        carrier.start()
        return carrier

    def close(self) -> None:
        """Close the state."""
        for carrier in self._carriers:
            carrier.stop()
        with self._lock:
            self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, request: Request) -> Call:
        return Call(
            request=request,
            ids=(),
            state=self._state,
            config=self.config,
            credentials=self._credentials,
            faults=Faults.load(self._state),
            now=self.time(),
            path=request.path,
        )

    def _wait(self, pause: Pause) -> tuple[int, bytes]:
        """Let time pass, put the question there is, and return what the merchant said to it."""
        if pause.seconds:
            self._sleep(pause.seconds)
        if pause.question is None:
            return 0, b""
        try:
            return self._ask(pause.question.url, pause.question.body)
        except OSError:
            return 0, b""

    def _due(self, call: Call) -> None:
        payments.turn_late_ones(call)
        schedules.run_due(call)
        call.path, call.subject = call.request.path, Subject()

    def _first(self, call: Call) -> Answer | _Cut | Pause:
        """Serve a call up to its end, or up to where it has to wait."""
        request = call.request
        self._due(call)
        if request.segments[:1] == (_CONTROLS,):
            return controls.serve(call, request.segments[1:])
        if request.segments[:1] == (_BROWSER,):
            return browser.serve(call, request.segments[1:])
        handler, call.ids, is_known = handler_for(request.method, request.segments)
        if handler is None:
            status, words = (405, "허용되지 않는 HTTP METHOD입니다.") if is_known else (404, "존재하지 않는 API입니다.")
            return envelope(call.config.not_found_code, words, None, status=status)
        call.subject = _subject(call)
        broken = self._at_the_door(call, handler)
        if broken is not None:
            return broken
        try:
            if request.segments != GET_TOKEN:
                if call.strikes("token_revoked"):
                    tokens.revoke(call)
                tokens.admit(call)
            result = handler(call)
        except Refused as refusal:
            outcome = "unauthorized" if refusal.status == 401 else "refused"
            return self._leave(call, handler, _refusal(refusal), outcome)
        if isinstance(result, Approval):
            wait = call.approval_seconds()
            if wait:
                return self._approves_later(call, handler, result, wait)
            result = result.finish(call)
        return self._succeed(call, handler, result)

    def _approves_later(self, call: Call, handler: Handler, approval: Approval, wait: float) -> Pause:
        """Let a slow approval wait; the token was good at the door, and no one asks again."""
        ids, arrival = call.ids, self._arrive(call, "running", finished_at=None)

        def then(later: Call, _: tuple[int, bytes]) -> Answer | _Cut:
            later.ids = ids
            later.subject = _subject(later)
            return self._succeed(later, handler, approval.finish(later), arrival=arrival)

        return Pause(then, wait)

    def _at_the_door(self, call: Call, handler: Handler) -> Answer | _Cut | None:
        """Return how the call ends before anything is executed, if it does."""
        if call.strikes("refuse_connection"):
            return ConnectionRefused("the sandbox refuses connections")
        if call.strikes("lost_request"):
            return ConnectionLost("the request was lost before it was executed")
        limited = call.strikes("rate_limit")
        if limited or self._is_too_fast(call, handler):
            retry_after = str(ceil(seconds(limited["value"] if limited else None, 1)))
            return self._leave(call, handler, _too_many(call, retry_after), "limited")
        if call.strikes("server_error"):
            return self._leave(call, handler, html(502, "Bad Gateway"), "not executed")
        if call.strikes("auth_dead"):
            return self._leave(call, handler, _refusal(tokens.unauthorized(call)), "unauthorized")
        return None

    def _is_too_fast(self, call: Call, handler: Handler) -> bool:
        limit = call.config.charges_per_second_max
        if limit is None or handler not in MONEY_HANDLERS:
            return False
        row = call.state.one("SELECT count(*) AS n FROM arrivals WHERE arrived_at > ?", (call.now - 1,))
        return bool(row["n"] >= limit)

    def _succeed(self, call: Call, handler: Handler, result: Any, *, arrival: int | None = None) -> Answer | _Cut:
        """Wrap what a handler returned, unless a fault garbles or loses it on the way back."""
        reply = result if isinstance(result, Reply) else Reply(result)
        answer = envelope(0, None, reply.response, status=reply.status)
        outcome, imp_uid = "done", None
        if handler in MONEY_HANDLERS:
            outcome, imp_uid = reply.response["status"], reply.response["imp_uid"]
        return self._leave(call, handler, answer, outcome, imp_uid=imp_uid, arrival=arrival)

    def _leave(
        self,
        call: Call,
        handler: Handler,
        answer: Answer,
        outcome: str,
        *,
        imp_uid: str | None = None,
        arrival: int | None = None,
    ) -> Answer | _Cut:
        """Let an answer go out as well as the faults allow, and note the arrival of a money call."""
        ended: Answer | _Cut = answer
        was_executed = outcome not in ("unauthorized", "limited", "not executed")
        if was_executed:
            if call.strikes("lost_reply") or call.loses_reply:
                ended = ConnectionLost("the answer was lost")
            elif call.strikes("error_after_approval"):
                ended = html(502, "Bad Gateway")
            elif call.strikes("garbage"):
                ended = Answer(200, dict(JSON_HEADERS), answer.body[: len(answer.body) // 2])
        if handler in MONEY_HANDLERS:
            said = "lost" if isinstance(ended, Exception) else str(ended.status)
            if arrival is None:
                self._arrive(call, outcome, finished_at=call.now, answer=said, imp_uid=imp_uid)
            else:
                call.state.run(
                    "UPDATE arrivals SET finished_at = ?, outcome = ?, answer = ?, imp_uid = ? WHERE seq = ?",
                    (call.now, outcome, said, imp_uid, arrival),
                )
        return ended

    def _arrive(
        self,
        call: Call,
        outcome: str,
        *,
        finished_at: float | None,
        answer: str | None = None,
        imp_uid: str | None = None,
    ) -> int:
        merchant_uid = _named(call, "merchant_uid") or (call.ids[0] if call.ids else None)
        if merchant_uid is None and call.request.path == faults.CANCEL:
            payment = refunds.asked_for(call)
            merchant_uid = None if payment is None else payment["merchant_uid"]
        return call.state.insert(
            "arrivals",
            path=call.request.path,
            merchant_uid=merchant_uid,
            customer_uid=_named(call, "customer_uid"),
            token=tokens.fingerprint(call),
            arrived_at=call.now,
            finished_at=finished_at,
            outcome=outcome,
            answer=answer,
            imp_uid=imp_uid or _named(call, "imp_uid"),
        )


def _refusal(refusal: Refused) -> Answer:
    return envelope(refusal.code, refusal.message, None, status=refusal.status)


def _too_many(call: Call, retry_after: str) -> Answer:
    """Answer 429. Neither limit nor shape is documented; the default is a proxy's page."""
    headers = {"retry-after": retry_after}
    if call.config.rate_limit_body == "html":
        return html(429, "Too Many Requests", headers)
    answer = envelope(-1, "Too Many Requests", None, status=429)
    return Answer(429, {**answer.headers, **headers}, answer.body)


def _named(call: Call, name: str) -> str | None:
    value = call.fields.get(name)
    return None if value is None else str(value)[:80]


def _subject(call: Call) -> Subject:
    """Return whom a call concerns, as far as its request tells; only asked for when faults are on."""
    if not call.faults.rows:
        return Subject()
    customer_uid = _named(call, "customer_uid")
    if customer_uid is None and call.request.segments[:2] == ("subscribe", "customers") and call.ids:
        customer_uid = call.ids[0]
    merchant_uid, card = _named(call, "merchant_uid"), None
    if call.request.path == faults.CANCEL:
        payment = refunds.asked_for(call)
        if payment is not None:
            return Subject(payment["merchant_uid"], payment["customer_uid"], payment["card_number"])
    if call.fields.get("card_number"):
        card = masked(digits_of(str(call.fields["card_number"])))
    elif customer_uid is not None:
        key = call.state.one("SELECT card_number FROM billing_keys WHERE customer_uid = ? AND is_current", (customer_uid,))
        card = None if key is None else key["card_number"]
    if merchant_uid is None and call.request.path.startswith(f"{faults.SCHEDULED}/") and call.ids:
        merchant_uid = call.ids[0]
    return Subject(merchant_uid, customer_uid, card)
