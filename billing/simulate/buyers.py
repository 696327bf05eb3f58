"""The buyers of one life: people with browsers, who pay by themselves, change their minds, and now and then cheat.

A buyer is an actor who never dies. He talks to the shop's web processes, which do, and to the windows of the PG, which
are the sandbox's own. What he tells the shop about a window is a rumour; what he does in it is told to the usher.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from billing.app import Billing
from billing.checkouts import Invitation
from billing.domain.checkout import Outcome
from billing.errors import BillingError
from billing.flow.opening import Opened
from billing.simulate.house import BUYERS

if TYPE_CHECKING:
    from billing.simulate.life import Life, Process

DAY = 86_400.0
_KST = timezone(timedelta(hours=9))
_BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64)", "origin": "http://127.0.0.1:8000"}
_ASK_SECONDS = 10.0
"""How long the PG waits for the shop's word before an approval. Source: PortOne confirm process V1."""
_PATIENCE = 30.0
"""How long a browser waits for a page of the shop."""
_THINKING = (5.0, 40.0, 600.0, 3300.0, 3700.0, 9000.0, 30 * 3600.0)
_BILLING = "html5_inicis.INIBillTst"
_CARDS = ("approves",) * 8 + ("balance", "lost", "late", "wrong_number")
_RESULT = re.compile(r'data-result="([^"]*)"')


class Buyers:
    """Everybody who pays by himself."""

    def __init__(self, life: Life, webs: list[Process]) -> None:
        self._life = life
        self._webs = webs
        self._random = random = Random(f"buyers|{life.seed}")
        self._is_over = False
        self._keenness = random.choice((0.0, 0.3, 0.6, 1.2))
        life.checker.usher.asks_first = self._asks_first = random.random() < 0.5
        """The PG's support has turned its question before an approval on, or has not."""

    # --- when ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A few subscribe who have no good card, and everybody may get a link one day."""
        life, random = self._life, self._random
        if not self._keenness:
            return
        app = life.process("host")
        for number in random.sample(range(len(BUYERS)), random.choice((1, 1, 2, 3))):
            price = random.choice(("tenth", "fortnightly", "monthly", "monthly"))
            app.subscriptions.start(f"buyer-{number}", price, actor="host")
            life.tell("host", f"buyer-{number} subscribes to {price}")
        self._later()

    def ends(self) -> None:
        """Nobody comes any more; what was begun is left as it is."""
        self._is_over = True

    def while_they_work(self) -> None:
        """Just now, while charges are on their way, somebody may want to pay by hand."""
        if self._keenness and not self._is_over and self._random.random() < 0.15:
            self._life.stage.at(self._life.stage.seconds + self._random.random() * 100.0, self._somebody)

    def before(self, due: float) -> None:
        """Shortly before something is charged again, its buyer may sit down to pay it."""
        if self._keenness and not self._is_over and self._random.random() < 0.15 * self._keenness:
            self._life.stage.at(due - self._random.random() * 3000.0, partial(self._somebody, due))

    def _later(self) -> None:
        life = self._life
        life.stage.at(life.stage.seconds + self._random.expovariate(self._keenness / (3 * DAY)), self._one_more)

    def _one_more(self) -> None:
        if not self._is_over:
            self._later()
            self._somebody()

    def _somebody(self, due: float | None = None) -> None:
        """A link reaches a buyer: for an invoice that is open, or due then, or, now and then, for a new card."""
        life, random = self._life, self._random
        owed = life.house.db.execute(
            "SELECT id, customer_id FROM billing_invoice WHERE state = 'open'"
            " AND (? IS NULL OR unixepoch(next_attempt_at) <= ?) ORDER BY rowid",
            (due, due),
        ).fetchall()
        if self._is_over or (not owed and random.random() < 0.8):
            return
        if owed and random.random() < 0.85:
            invoice, customer = random.choice(owed)
            if random.random() < 0.2:
                work = partial(self._comes, self._asked_for_a_card(customer, invoice), customer, None)
            else:
                work = partial(self._comes, self._asked_to_pay(invoice), customer, invoice)
        else:
            (customer,) = random.choice(life.house.db.execute("SELECT id FROM billing_customer ORDER BY rowid").fetchall())
            work = partial(self._comes, self._asked_for_a_card(customer, None), customer, None)
        life.stage.enters("buyer", work)

    def _asked_to_pay(self, invoice: str) -> Callable[[Billing], Invitation]:
        due = datetime.fromtimestamp(self._life.stage.seconds, _KST) + timedelta(hours=self._random.choice((3, 26, 50)))
        options = {"vbank_due": f"{due:%Y-%m-%d %H:%M:%S}"} if self._random.random() < 0.8 else {}
        return lambda app: app.checkouts.pay(invoice, methods=("card", "vbank", "trans"), options=options, actor="host")

    def _asked_for_a_card(self, customer: str, invoice: str | None) -> Callable[[Billing], Invitation]:
        return lambda app: app.checkouts.register_card(customer, invoice=invoice, actor="host")

    # --- a buyer -----------------------------------------------------------------------------------

    def _comes(self, invites: Callable[[Billing], Invitation], customer: str, invoice: str | None) -> None:
        """Follow one link: in one tab or two, once or again."""
        life, random = self._life, self._random
        invited = self._asks("makes a link", invites)
        if not isinstance(invited, Invitation):
            return
        life.trace.count("buyers")
        visit = partial(self._visits, invited.token, customer, invoice)
        if random.random() < 0.25:
            life.stage.enters("buyer", visit, at=life.stage.seconds + random.random() * random.choice((10.0, 2000.0)))
        visit()

    def _visits(self, token: str, customer: str, invoice: str | None) -> None:
        """One tab: open the window, and perhaps come back to try once more."""
        random = self._random
        self._waits(random.random() * random.choice((60.0, 60.0, 4000.0, 23 * 3600.0)))
        for _ in range(random.choice((1, 1, 2, 3))):
            if self._is_over:
                return
            method = random.choice(("card", "card", "card", "trans", "vbank")) if invoice else "card"
            opened = self._asks("opens a link", partial(self._opened, token, method, customer, invoice))
            if isinstance(opened, Outcome):
                self._life.checker.usher.answers(opened.merchant_uid, opened.completion.value)
            elif isinstance(opened, Opened):
                self._in_a_window(dict(opened.params))
            self._waits(random.random() * random.choice((3.0, 200.0, 5000.0)))

    def _opened(self, token: str, method: str, customer: str, invoice: str | None, app: Billing) -> Opened | Outcome:
        """What the shop's page is answered; the usher looks over its shoulder."""
        answer = app.checkouts.open(token, method)
        if isinstance(answer, Opened) and invoice is not None:
            self._life.checker.usher.gives(answer.params, invoice)
        elif isinstance(answer, Opened):
            self._life.checker.usher.registers(answer.params, customer)
        return answer

    def _in_a_window(self, params: dict[str, Any]) -> None:
        """Let the SDK open a window, decide in it, and tell the shop, or not."""
        life, random = self._life, self._random
        if not self._asks_first:
            params.pop("confirm_url", None)
        honest = dict(params)
        if random.random() < 0.15:
            self._tampers(params)
        uid = params["merchant_uid"]
        answer = self._sends("/v1/window", json.dumps({"code": "imp00000000", "params": params}), "application/json")
        if "refused" in answer:
            life.trace.count("window refused")
            life.tell("PG", f"opens no window for {uid}: {answer['refused']['error_msg']}")
            self._tells(None, uid, answer["refused"]["error_msg"])
            return
        life.checker.mirror()
        imp_uid = life.checker.usher.opens(uid, is_tampered=params != honest)
        life.trace.count("window opened")
        self._waits(random.random() * random.choices(_THINKING, (40, 20, 12, 8, 8, 8, 4))[0])
        if self._is_over or random.random() < 0.1:
            return
        self._decides(f"/v1/{answer['window']}", params, imp_uid)

    def _decides(self, address: str, params: dict[str, Any], imp_uid: str | None) -> None:
        life, random = self._life, self._random
        act = random.choices(("approve", "decline", "close"), (75, 12, 13))[0]
        form = {"act": act}
        if params["pay_method"] == "card":
            form = {"act": "close"} if act == "close" else {"act": "approve", "card": random.choice(_CARDS)}
            form |= {"card": "balance"} if act == "decline" else {}
        elif params["pay_method"] == "vbank":
            form |= {"bank": "088"}
        page = self._submits(address, form)
        if random.random() < 0.1:
            page = self._submits(address, form)  # twice, as impatient people do
        result = page or {}
        said = f"{result.get('status')} {result.get('error_msg') or ''}"
        life.trace.count(f"window {act}")
        life.tell("buyer", f"{act} in the window of {params['merchant_uid']} by {params['pay_method']}: {said}")
        if result.get("vbank_date") and imp_uid is not None:
            life.checker.usher.issues(imp_uid, params["merchant_uid"], float(result["vbank_date"]))
            life.stage.enters("buyer", partial(self._deposits, imp_uid, params["amount"], float(result["vbank_date"])))
        told = result.get("imp_uid") or imp_uid
        self._tells(told, params["merchant_uid"], str(result.get("error_msg") or ""))

    def _submits(self, address: str, form: dict[str, str]) -> dict[str, Any] | None:
        """Send the form of a window, and read what its page brings home."""
        life = self._life
        life.sandbox.handle("POST", address, _BROWSER | {"content-type": "application/x-www-form-urlencoded"},
                            urlencode(form).encode())  # fmt: skip
        life.after_money()
        page = life.sandbox.handle("GET", address, _BROWSER, b"").body.decode()
        found = _RESULT.search(page)
        return json.loads(html.unescape(found[1])) if found else None

    def _deposits(self, imp_uid: str, amount: int, until: float) -> None:
        """Pay into an account: soon, at the last minute, another amount, or never."""
        life, random = self._life, self._random
        left = until - life.stage.seconds
        when = random.choices((600.0 * random.random(), left * random.random(), left - 30.0, None), (40, 25, 15, 20))[0]
        if when is None:
            return
        self._waits(max(when, 0.0))
        if self._is_over:
            return
        paid = amount if random.random() < 0.85 else random.choice((amount - 100, amount + 1000))
        body = json.dumps({"imp_uid": imp_uid, "amount": paid})
        answer = self._sends("/_sandbox/vbank/deposit", body, "application/json")
        life.trace.count("deposits")
        life.tell("buyer", f"deposits {paid} of {amount} for {imp_uid}: {answer.get('message') or 'taken'}")
        life.after_money()

    def _tampers(self, params: dict[str, Any]) -> None:
        """Change what the window is opened with: the page runs in the buyer's browser, and anybody can."""
        random, db = self._random, self._life.house.db
        numbers = [row[0] for row in db.execute("SELECT merchant_uid FROM billing_attempt ORDER BY rowid")]
        cards = [row[0] for row in db.execute("SELECT customer_uid FROM billing_key ORDER BY rowid")]
        uid = params["merchant_uid"]
        foreign = random.choice([*numbers[-20:], uid])
        changes: tuple[dict[str, Any], ...] = (
            {"amount": 100},
            {"amount": 100, "merchant_uid": f"{uid[:-2]}{random.randrange(1, 17):02d}"},
            {"merchant_uid": f"{uid[:-2]}{int(uid[-2:]) + 1:02d}"},
            {"merchant_uid": foreign},
            {"merchant_uid": "somebody-elses-order", "custom_data": {"ledger": "another"}},
            {"customer_uid": random.choice(cards), "pay_method": "card"},
            {"customer_uid": None},
            {"amount": 5000, "customer_uid": None},
            {"confirm_url": None},
            {"pay_method": "vbank", "vbank_due": "20341231", "customer_uid": None},
            {"pay_method": "vbank", "amount": 100, "merchant_uid": f"{uid[:-2]}{int(uid[-2:]) + 1:02d}", "vbank_due": "20341231"},
        )
        charge = db.execute(
            "SELECT merchant_uid, customer_uid, amount FROM billing_attempt WHERE way = 'key' AND state <> 'paid'"
            " ORDER BY rowid DESC LIMIT 5"
        ).fetchall()
        if charge:
            # The card of a charge is registered under its very number and over its very amount: paid, and no won has moved.
            number, card, amount = random.choice(charge)
            issue = {"merchant_uid": number, "customer_uid": card, "amount": amount, "pay_method": "card", "pg": _BILLING}
            changes = (*changes, issue, issue)
        change = random.choice(changes)
        self._life.trace.count("window tampered with")
        self._life.tell("buyer", f"tampers: {change}")
        params |= change
        for name in [name for name, value in params.items() if value is None]:
            del params[name]

    # --- what a browser says -------------------------------------------------------------------------

    def _tells(self, imp_uid: str | None, uid: str, error: str) -> None:
        """Bring the result home: as it is, twice, late, under another's ids, or not at all."""
        random, db = self._random, self._life.house.db
        times = random.choices((0, 1, 2), (25, 60, 15))[0]
        for _ in range(times):
            self._waits(random.random() * random.choice((1.0, 1.0, 300.0, 8000.0)))
            names = (imp_uid, uid)
            if random.random() < 0.15:
                other = db.execute("SELECT imp_uid, merchant_uid FROM pg_payment ORDER BY rowid").fetchall()
                stolen = random.choice(other) if other else names
                names = random.choice(((stolen[0], uid), (imp_uid, stolen[1]), stolen, (None, uid)))
            told = error if random.random() < 0.7 else "사용자가 결제를 취소하셨습니다"
            answer = self._asks("hears of a window", partial(self._completed, *names, told))
            if isinstance(answer, Outcome):
                self._life.trace.count(f"completion {answer.completion.value}")

    def _completed(self, imp_uid: str | None, uid: str, told: str, app: Billing) -> Outcome:
        answer = app.checkouts.complete(imp_uid, uid, told=told)
        self._life.checker.mirror()
        self._life.checker.usher.answers(uid, answer.completion.value)
        return answer

    # --- the shop's server ---------------------------------------------------------------------------

    def confirms(self, body: bytes) -> tuple[int, bytes]:
        """The PG asks before it approves; raises where the shop does not answer in time."""
        asked = json.loads(body)

        def deed(app: Billing) -> tuple[str | None]:
            why = app.checkouts.confirm(asked["merchant_uid"], asked["amount"])
            self._life.checker.usher.asked(asked["imp_uid"], asked["merchant_uid"], asked["amount"], why)
            return (why,)

        said = self._asks("is asked before an approval", deed, _ASK_SECONDS)
        if said is None:
            raise TimeoutError
        if isinstance(said, BillingError):
            return 503, b""
        (why,) = said
        self._life.trace.count("questions answered stop" if why else "questions answered go")
        return (403, json.dumps({"reason": why}).encode()) if why else (200, b"")

    def _asks(self, what: str, deed: Callable[[Billing], Any], patience: float = _PATIENCE) -> Any:
        """A request to the shop. What it answered, or the error it answered with; None where nothing came."""
        life = self._life
        idle = [web for web in self._webs if web.is_idle]
        if life.is_down or not idle:
            return None
        web, waiter = self._random.choice(idle), life.stage.turn()

        def work() -> None:
            heard: list[Any] = []

            def told(app: Billing) -> str:
                heard.append(deed(app))
                return _in_words(heard[0])

            error = life.attempt(web, what, told)
            life.checker.look()
            life.stage.wake(*waiter, heard[0] if heard else error)

        web.actor = life.stage.enters(web.name, work)
        return life.stage.wait(patience, "at the shop's door")

    # --- a browser -----------------------------------------------------------------------------------

    def _sends(self, target: str, body: str, content_type: str) -> dict[str, Any]:
        answer = self._life.sandbox.handle("POST", target, _BROWSER | {"content-type": content_type}, body.encode())
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def _waits(self, seconds: float) -> None:
        self._life.stage.wait(seconds, "at home")


def _in_words(answer: object) -> str:
    """An answer as the story tells it: without the link, which is as good as a key."""
    if isinstance(answer, Invitation):
        return f"a link for {answer.purpose.value} {answer.checkout_id}"
    if isinstance(answer, Opened):
        return f"a window for {answer.params['merchant_uid']} by {answer.params['pay_method']}"
    if isinstance(answer, Outcome):
        return f"{answer.merchant_uid} is {answer.completion.value}"
    return str(answer)
