"""The `Gateway` port on i'mport V1: one method per verb, no policy.

What an answer means for a charge is `replies.py`, for evidence `wire.py`. What to do about it is
decided far above. Here is only how each question is put, how often (once), and on which thread.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from pydantic import SecretStr

from billing import fault
from billing.domain.customer import KeyFact
from billing.domain.evidence import (
    Answered,
    CancelOrder,
    Channel,
    ChargeOrder,
    PaymentFact,
    Refusal,
    Reply,
    Silence,
)
from billing.errors import GatewayUnavailable
from billing.gateway import bodies, wire
from billing.gateway.asking import Asking, is_absence
from billing.gateway.bodies import query, segment
from billing.gateway.card import unquoted
from billing.gateway.declines import DeclineTable
from billing.gateway.fanout import Fanout, NeverBegun
from billing.gateway.http import Http
from billing.gateway.replies import refusal, reply_to
from billing.gateway.sealed import sealed
from billing.gateway.token import TokenKeeper
from billing.ports import CardSecrets, Clock, Findings, PaymentPage, Token

log = logging.getLogger("billing.gateway")

IDS_PER_PAGE = 100
"""Most ids in one bulk look-up. Source: PortOne REST V1, GET /payments."""

_DECLINES = DeclineTable()
"""Read once in a process, however many gateways it opens."""

Read = TypeVar("Read")


class IamportGateway:
    """i'mport V1 behind the `Gateway` port. Safe to use from any number of threads.

    Args:
        http: where the PG is, or an in-process stand-in for it. Closed with the gateway.
        key, secret: `imp_key` and `imp_secret` of the store.
        is_live: live engines do not see test payments; any other mode asks for them too.
        concurrency: how many calls wait on the wire at once, over all callers. With 1 everything
            runs on the caller's thread, in order.
    """

    def __init__(
        self,
        http: Http,
        *,
        key: SecretStr,
        secret: SecretStr,
        clock: Clock,
        is_live: bool,
        concurrency: int = 32,
        declines: DeclineTable | None = None,
    ) -> None:
        self._http = http
        self._tokens = TokenKeeper(http, key=key, secret=secret, clock=clock)
        self._asking = Asking(http, self._tokens)
        self._fanout = Fanout(concurrency)
        self._declines = declines or _DECLINES
        self._is_live = is_live

    def close(self) -> None:
        """Let sends under way finish, drop those not begun, close the connections."""
        self._fanout.close()
        self._http.close()

    def __enter__(self) -> IamportGateway:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"IamportGateway({self._http.host})"

    # --- charging ----------------------------------------------------------------------------

    def token(self) -> Token:
        """The access token to charge with; may wait a few seconds for the last one to die."""
        return self._tokens.get()

    @property
    def skew_seconds(self) -> float | None:
        """How far the PG's clock stands before this machine's, None before the first token."""
        return self._tokens.skew_seconds

    def discard_token(self, fingerprint: str) -> None:
        """Forget the token with this fingerprint."""
        self._tokens.discard(fingerprint)

    def charge(
        self, orders: Sequence[ChargeOrder], *, token: Token, gate: Callable[[], bool], linger: float = 0.25
    ) -> Iterator[list[tuple[ChargeOrder, Reply]]]:
        """POST each order once with exactly `token`; yield the replies as they come, in groups.

        Nothing is sent before the first reply is asked for. If the caller stops listening, sends
        under way still finish unheard and the others never begin: both kinds are left armed, and
        reconciliation looks them up. Nothing is ever repeated: V1 has no idempotency header, and a
        401 met with a fresh token would revive a request its sender may no longer be entitled to.

        Source: PortOne REST V1, POST /subscribe/payments/again.
        """

        def send(order: ChargeOrder) -> Reply:
            body = bodies.again(order)
            if not gate():
                return Silence(False, "the gate was closed")
            fault.point("K04")
            answer = self._http.call("POST", "/subscribe/payments/again", token=token, body=body)
            fault.point("K07")
            reply = reply_to(order, answer, self._declines)
            if not isinstance(reply, Answered):
                log.warning("charge %s: %s", order.merchant_uid, reply)
            return reply

        def failed(order: ChargeOrder, problem: BaseException) -> Reply:
            if isinstance(problem, NeverBegun):
                return Silence(False, "the gateway was closed before the send")
            # Where exactly it broke is not worth guessing: a bug may sit on either side of the send.
            log.error("charge %s broke inside the engine: %s", order.merchant_uid, type(problem).__name__)
            return Silence(True, f"the engine failed around the send ({type(problem).__name__})")

        return self._fanout.as_they_come(send, list(orders), failed=failed, linger=linger)

    def charge_card(
        self, order: ChargeOrder, card: CardSecrets, *, pg: str = "", token: Token, gate: Callable[[], bool]
    ) -> Reply:
        """POST the order once with raw card data; nothing of the card leaves this call in any other way.

        Source: PortOne REST V1, POST /subscribe/payments/onetime (with `customer_uid` the card is kept; key-in needs a
        contract of its own with the PG).
        """
        try:
            return sealed(
                lambda: self._charge_card(order, card, pg, token, gate),
                lambda bug: GatewayUnavailable(f"{self._http.host}: charge {order.merchant_uid}: the engine failed ({bug})"),
            )
        except GatewayUnavailable as problem:
            # Where exactly it broke is not worth guessing: a bug may sit on either side of the send.
            log.error("charge %s broke inside the engine: %s", order.merchant_uid, problem)
            return Silence(True, "the engine failed around the send")

    def _charge_card(self, order: ChargeOrder, card: CardSecrets, pg: str, token: Token, gate: Callable[[], bool]) -> Reply:
        """The one frame that holds card data; it is called under a seal."""
        revealed = card.revealed()
        body = bodies.onetime(order, revealed, pg)
        if not gate():
            return Silence(False, "the gate was closed")
        fault.point("K04")
        answer = self._http.call("POST", "/subscribe/payments/onetime", token=token, body=body)
        fault.point("K07")
        reply = reply_to(order, answer, self._declines)
        if isinstance(reply, Refusal):
            reply = replace(reply, message=unquoted(reply.message, revealed))
        if not isinstance(reply, Answered):
            log.warning("charge %s: %s", order.merchant_uid, reply)
        return reply

    # --- looking up payments -----------------------------------------------------------------

    def find_payments(self, merchant_uids: Sequence[str], *, imp_uids: Sequence[str] = (), canary: str | None = None) -> Findings:
        """All records of these numbers, keyed by the number each record itself carries.

        The canary rides on every page; it is only reported, not returned, unless it was asked for.

        Source: PortOne REST V1, GET /payments (≤ 100 ids; 200 all, 207 some, 404 none found).
        """
        asked = [("merchant_uid[]", uid) for uid in dict.fromkeys(merchant_uids)]
        asked += [("imp_uid[]", uid) for uid in dict.fromkeys(imp_uids) if uid != canary]
        room = IDS_PER_PAGE - 1 if canary else IDS_PER_PAGE
        pages = [asked[start : start + room] for start in range(0, len(asked), room)]
        if canary and not pages:
            pages = [[]]

        def look(ids: list[tuple[str, str]]) -> list[PaymentFact]:
            riding = [*ids, ("imp_uid[]", canary)] if canary else ids
            about = f"look up {len(riding)} payments"
            frame = self._asking.get(f"/payments?{query(riding)}", about)
            return self._read(about, lambda: wire.payments(frame.response, self._declines)) if frame else []

        found = self._fanout.each(look, pages)
        is_canary_seen = all(any(fact.imp_uid == canary for fact in facts) for facts in found)
        wanted = {uid for _, uid in asked} | ({canary} if canary in imp_uids else set())
        grouped: defaultdict[str, dict[str, PaymentFact]] = defaultdict(dict)
        for fact in (fact for facts in found for fact in facts):
            if fact.imp_uid != canary or {fact.imp_uid, fact.merchant_uid} & wanted:
                grouped[fact.merchant_uid].setdefault(fact.imp_uid, fact)
        return Findings({uid: tuple(facts.values()) for uid, facts in grouped.items()}, is_canary_seen if canary else None)

    def find_paid(self, merchant_uids: Sequence[str]) -> Mapping[str, PaymentFact]:
        """The paid record of each number that has one.

        Without the status the PG shows the newest record only, and a later failure hides a payment.
        Source: PortOne REST V1, GET /payments/find/{merchant_uid}/{payment_status} (default sorting -started).
        """

        def look(uid: str) -> PaymentFact | None:
            about = f"find {uid} paid"
            frame = self._asking.get(f"/payments/find/{segment('merchant_uid', uid)}/paid", about)
            found = self._read(about, lambda: wire.seen(frame.response, self._declines)) if frame else None
            if found is None or found.is_money:
                return found
            # A card registered under this number says paid, too, over nothing: money may hide behind it.
            return next((fact for fact in self.find_all(uid) if fact.is_money), None)

        uids = list(dict.fromkeys(merchant_uids))
        return {uid: fact for uid, fact in zip(uids, self._fanout.each(look, uids), strict=True) if fact}

    def find_all(self, merchant_uid: str) -> list[PaymentFact]:
        """Every record of one number, the earliest started first.

        Source: PortOne REST V1, GET /payments/findAll/{merchant_uid} (paged; several records may share a number).
        """
        about, path = f"find all of {merchant_uid}", f"/payments/findAll/{segment('merchant_uid', merchant_uid)}"
        records: list[object] = []
        number = 1
        while number:
            frame = self._asking.get(f"{path}?{query(_paging(number, 100, 'started'))}", about)
            if frame is None:
                break
            found, _, following = self._records(frame, about)
            records += found
            number = following if following > number else 0
        return self._read(about, lambda: wire.payments(records, self._declines))

    def get_payment(self, imp_uid: str) -> PaymentFact | None:
        """One record by the PG's id; test payments too, unless live.

        Source: PortOne REST V1, GET /payments/{imp_uid} (include_sandbox, default false: test
        payments are answered with 404 without it).
        """
        about, path = f"look up {imp_uid}", f"/payments/{segment('imp_uid', imp_uid)}"
        frame = self._asking.get(path if self._is_live else f"{path}?include_sandbox=true", about)
        return self._read(about, lambda: wire.seen(frame.response, self._declines)) if frame else None

    def list_payments(
        self,
        status: str = "all",
        *,
        page: int = 1,
        limit: int = 100,
        since: datetime | None = None,
        until: datetime | None = None,
        sorting: str = "-updated",
    ) -> PaymentPage:
        """A page of the PG's list; empty where the PG has none, records that cannot be read apart.

        Raises:
            GatewayUnavailable: also for a page that is missing although it is not the first: part of a list is none.

        Source: PortOne REST V1, GET /payments/status/{payment_status} (limit ≤ 1000, `from` and `to`
        at most 90 days apart, Unix seconds; 400 for a bad status and for a page out of range, which the
        first page of a list without ends is only where the list is empty).
        """
        pairs = _paging(page, limit, sorting)
        pairs += [(name, str(int(at.timestamp()))) for name, at in (("from", since), ("to", until)) if at]
        about = f"list {status} payments, page {page}"
        is_whole = status == "all" and page == 1 and since is None and until is None
        target = f"/payments/status/{segment('status', status)}?{query(pairs)}"
        frame = self._asking.get(target, about, absent=(400, 404) if is_whole else (404,))
        if frame is None:
            if page > 1:
                raise self._asking.unavailable(about, "the page before it announced it, and it is missing")
            return PaymentPage((), 0, 0)
        records, total, following = self._records(frame, about)
        facts, unread = wire.listed(records, self._declines)
        for one in unread:
            log.warning("%s: record %s cannot be read: %s", about, one.imp_uid or "without id", one.why)
        return PaymentPage(tuple(facts), total, following, tuple(unread))

    # --- billing keys ------------------------------------------------------------------------

    def issue_key(
        self, customer_uid: str, card: CardSecrets, *, pg: str = "", buyer: Mapping[str, str] | None = None
    ) -> KeyFact | Refusal:
        """Register a card; `buyer` may name `name`, `tel`, `email`, `addr`, `postcode`.

        Raises:
            GatewayUnavailable: also when the answer was lost; whether the key exists, `get_key` tells.

        Source: PortOne REST V1, POST /subscribe/customers/{customer_uid} (200 code 0 the key, code -1
        refused by the PG; not a charge).
        """
        about, path = f"register {customer_uid}", f"/subscribe/customers/{segment('customer_uid', customer_uid)}"
        self._tokens.get()  # a missing token is found out before the card is unpacked
        outcome = sealed(
            lambda: self._register(path, about, card, pg, buyer),
            lambda bug: GatewayUnavailable(f"{self._http.host}: {about}: the engine failed ({bug})"),
        )
        if isinstance(outcome, Refusal):
            log.warning("%s refused: code %s, %s", about, outcome.code, outcome.decline_class)
        return outcome

    def _register(self, path: str, about: str, card: CardSecrets, pg: str, buyer: Mapping[str, str] | None) -> KeyFact | Refusal:
        """The one frame that holds card data; it is called under a seal."""
        revealed = card.revealed()
        frame = self._asking.frame(self._asking.order("POST", path, about, body=bodies.card(revealed, pg, buyer)), about)
        if frame.code == 0:
            return wire.key(frame.response)
        refused = refusal(frame, self._declines)
        return Refusal(refused.kind, refused.code, unquoted(refused.message, revealed), refused.decline_class)

    def get_key(self, customer_uid: str) -> KeyFact | None:
        """The key, None where the PG knows none.

        Source: PortOne REST V1, GET /subscribe/customers/{customer_uid} (404; live servers also
        answer 200 with code 1).
        """
        about = f"look up key {customer_uid}"
        frame = self._asking.get(f"/subscribe/customers/{segment('customer_uid', customer_uid)}", about)
        return self._read(about, lambda: wire.key(frame.response)) if frame else None

    def get_keys(self, customer_uids: Sequence[str]) -> Mapping[str, KeyFact]:
        """Several keys at once. Source: PortOne REST V1, GET /subscribe/customers?customer_uid[]= (200, 207, 404)."""
        uids = [("customer_uid[]", uid) for uid in dict.fromkeys(customer_uids)]
        pages = [uids[start : start + IDS_PER_PAGE] for start in range(0, len(uids), IDS_PER_PAGE)]

        def look(page: list[tuple[str, str]]) -> list[KeyFact]:
            about = f"look up {len(page)} keys"
            frame = self._asking.get(f"/subscribe/customers?{query(page)}", about)
            return self._read(about, lambda: wire.keys(frame.response)) if frame else []

        return {fact.customer_uid: fact for facts in self._fanout.each(look, pages) for fact in facts}

    def delete_key(self, customer_uid: str, *, reason: str) -> bool:
        """Delete the key; False where the PG knew none.

        Source: PortOne REST V1, DELETE /subscribe/customers/{customer_uid}?reason= (200 the deleted
        key, 404; NaverPay wants the requester too).
        """
        about, path = f"delete key {customer_uid}", f"/subscribe/customers/{segment('customer_uid', customer_uid)}"
        asked = query([("reason", reason), ("extra[requester]", "admin")])
        answer = self._asking.order("DELETE", f"{path}?{asked}", about)
        frame = self._asking.frame(answer, about)
        if frame.code == 0:
            return True
        if answer.status == 404 or is_absence(frame.message):
            return False
        raise self._asking.unavailable(about, f"HTTP {answer.status}, code {frame.code}: {frame.message[:200]}")

    # --- windows, refunds, channels ----------------------------------------------------------

    def prepare(self, merchant_uid: str, amount: int) -> None:
        """Register the amount a window may be opened with. Source: PortOne REST V1, POST /payments/prepare."""
        about = f"prepare {merchant_uid}"
        answer = self._asking.order("POST", "/payments/prepare", about, body=bodies.prepare(merchant_uid, amount))
        frame = self._asking.frame(answer, about)
        if frame.code != 0:
            raise self._asking.unavailable(about, f"HTTP {answer.status}, code {frame.code}: {frame.message[:200]}")

    def prepared(self, merchant_uid: str) -> int | None:
        """The registered amount. Source: PortOne REST V1, GET /payments/prepare/{merchant_uid} (404 where none)."""
        about = f"look up prepared {merchant_uid}"
        frame = self._asking.get(f"/payments/prepare/{segment('merchant_uid', merchant_uid)}", about)
        return self._read(about, lambda: wire.prepared_amount(frame.response)) if frame else None

    def cancel(self, order: CancelOrder, *, token: Token, gate: Callable[[], bool]) -> Reply:
        """Refund once, with exactly `token`; what a lost answer did is for a look-up to find out.

        Where `gate` says no right before the send, nothing leaves and the reply is `Silence(sent=False)`.

        Source: PortOne REST V1, POST /payments/cancel (200 code 0 the record after the refund, code 1
        refused before the PG, code -1 by the PG).
        """
        body = bodies.cancel(order)
        if not gate():
            return Silence(False, "the gate was closed")
        answer = self._http.call("POST", "/payments/cancel", token=token, body=body)
        fault.point("R3")
        reply = reply_to(order, answer, self._declines)
        if not isinstance(reply, Answered):
            log.warning("refund of %s: %s", order.imp_uid, reply)
        return reply

    def channels(self) -> list[Channel]:
        """The channels configured at the PG. Source: PortOne REST V1, GET /users/pg."""
        frame = self._asking.get("/users/pg", "list channels")
        return self._read("list channels", lambda: wire.channels(frame.response)) if frame else []

    # --- reading -----------------------------------------------------------------------------

    def _records(self, frame: wire.Envelope, about: str) -> tuple[list[object], int, int]:
        return self._read(about, lambda: wire.page(frame.response))

    def _read(self, about: str, reading: Callable[[], Read]) -> Read:
        """What `reading` returns; a record that cannot be read is a PG that could not be asked."""
        try:
            return reading()
        except wire.Unreadable as problem:
            why = str(problem)
        raise self._asking.unavailable(about, why)


def _paging(page: int, limit: int, sorting: str) -> list[tuple[str, str]]:
    return [("page", str(page)), ("limit", str(limit)), ("sorting", sorting)]
