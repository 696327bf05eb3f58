"""HTTP: the routes a PG and a load balancer ask for, to be mounted in a host's own app or served by `billing serve`.

    asgi.py      the router and the app; whose engine they speak to
    webhook.py   POST /webhooks/iamport: a notice is stored, and answered before anybody looks into it
    health.py    GET /health, GET /ready
    client.py    who is really asking, behind proxies of the host's own
    server.py    uvicorn, as `billing serve` runs it
    limits.py    how much may be sent, how slowly, and how often

Nothing here reads or changes money: a request ends in one row, or in nothing.
"""

from billing.web.asgi import app, router

__all__ = ["app", "router"]
