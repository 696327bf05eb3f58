"""HTTP: what a PG, a buyer's browser and a load balancer ask for, mounted in a host's own app or served by `billing serve`.

    asgi.py          the router and the app; whose engine they speak to
    webhook.py       POST /webhooks/iamport: a notice is stored, and answered before anybody looks into it
    checkout.py      GET /checkout/{token}, POST …/open: the page behind a link, and the way into the PG's window
    completion.py    POST /payments/complete, GET …/mobile: how a window ended
    confirmation.py  POST /payments/confirm: the PG asks before it approves
    practice.py      /sandbox/…: the sandbox's window, where the sandbox is in this process
    health.py        GET /health, GET /ready

    rendering.py     templates, words and files of pages/     headers.py   what a browser may do with a page
    answers.py       JSON in, JSON out                        visitors.py  how many may ask, and how many wait for the PG
    client.py        who is really asking, behind proxies     limits.py    how much may be sent, how slowly, how often
    server.py        uvicorn, as `billing serve` runs it

Nothing here decides about money: ids go in, and what the engine found out about them at the PG comes out.
"""

from billing.web.asgi import app, router

__all__ = ["app", "router"]
