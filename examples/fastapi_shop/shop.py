"""A shop of one page that sells one subscription: FastAPI, with the engine's routes below /billing."""

import logging
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from jinja2 import Environment

from billing import Billing, BillingError, NotFound, PublishedEvent, RuleError
from billing.web import router
from plans.files import read_plan_file

SHOP_URL = os.environ.get("SHOP_URL", "http://127.0.0.1:8000")  # as a browser's address bar has it
PRO = Path(__file__).parents[1] / "plans" / "pro.toml"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Shop</title><h1>Pro, 9,900원 a month</h1>
{% if not user %}
<form><label>Your name <input name="user" required maxlength="40"></label> <button>Sign in</button></form>
{% else %}
<p>{{ user }}: <strong>{{ standing }}</strong></p>
{% if "until" not in standing %}
<form method="post" action="/subscribe?user={{ user | urlencode }}"><button>Subscribe</button></form>
{% endif %}
{% endif %}
<h2>What the shop was told</h2><ul>{% for one in news %}<li>{{ one }}</li>{% endfor %}</ul></html>"""

billing = Billing.from_env(public_url=f"{SHOP_URL}/billing")
news: deque[str] = deque(maxlen=20)


def standing(user: str) -> str:
    """How far this customer is, by the books."""
    try:
        newest = next(iter(billing.views.subscriptions(of=user)))
    except (NotFound, StopIteration):
        return "not subscribed"
    if newest["state"] != "active":
        return str(newest["state"]).replace("_", " ")
    until = datetime.fromisoformat(newest["period"]["end"]).astimezone(ZoneInfo(newest["time_zone"]))
    return f"subscribed until {until:%Y-%m-%d}"


def subscribe(user: str, back: str) -> str:
    """Subscribe, and return where the customer goes next: to the checkout, or back where nothing is owed."""
    try:
        had = billing.views.subscriptions(of=user)
    except NotFound:
        # INICIS wants a telephone number; a real shop asked for it at sign-up.
        billing.customers.add(user, name=user, tel="010-0000-0000", actor="shop")
        had = []
    # The key makes a button pressed twice one subscription; after one that is over it names a new one.
    key = f"{user}/{sum(one['state'] in ('canceled', 'ended') for one in had)}"
    started = billing.subscriptions.start(user, "pro-monthly", trial_days=0, request_key=key, actor="shop")
    for invoice in billing.views.subscription(started.subscription_id)["invoices"]:
        if invoice["state"] == "open":
            return billing.checkouts.register_card(user, invoice=invoice["id"], return_url=back, actor="shop").url
    return back


def told(event: PublishedEvent) -> None:
    """Where a real shop grants, revokes and writes mails; an event may come again, always under the same `key`."""
    news.appendleft(f"{event.occurred_at:%H:%M:%S} {event.topic}")


def work(stopping: Event) -> None:
    """What `billing scheduler` and `billing events deliver` do in processes of their own; here one command is a whole shop."""
    while not stopping.wait(1):
        try:
            billing.renew()
            billing.deliver(told)
        except Exception:
            logging.exception("a pass failed; the next one is in a second")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    billing.init()
    billing.plans.apply(read_plan_file(PRO), actor="shop")
    stopping = Event()
    worker = Thread(target=work, args=(stopping,))
    worker.start()
    try:
        yield
    finally:
        stopping.set()
        worker.join()
        billing.close()


app = FastAPI(lifespan=lifespan)
app.include_router(router(billing), prefix="/billing")
template = Environment(autoescape=True).from_string(PAGE)


# The name in the address stands for your own sign-in. These are no coroutines, so FastAPI runs them in threads.
@app.get("/")
def show(user: str = "") -> HTMLResponse:
    return HTMLResponse(template.render(user=user, standing=standing(user), news=list(news)))


@app.post("/subscribe")
def order(user: str) -> RedirectResponse:
    return RedirectResponse(subscribe(user, f"{SHOP_URL}/?user={quote(user)}"), 303)


@app.exception_handler(BillingError)
def refused(_request: Request, error: BillingError) -> PlainTextResponse:
    return PlainTextResponse(str(error), 409 if isinstance(error, RuleError) else 503)
