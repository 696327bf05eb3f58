"""What a load balancer asks: is the process alive, and would a notice be stored?"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from billing.app import Billing
from billing.errors import DatabaseUnavailable, Unavailable


def alive() -> JSONResponse:
    """200 while the process runs."""
    return JSONResponse({"status": "ok"})


async def ready(billing: Billing) -> JSONResponse:
    """200 where a notice would be stored, else 503; why not is in the log, and nobody else's business.

    Whether charging is safe is another question: notices are taken in while it is frozen, too.
    """
    try:
        await run_in_threadpool(refuse_unready, billing)
    except Unavailable:
        return JSONResponse({"status": "unavailable"}, 503)
    return JSONResponse({"status": "ready"})


def refuse_unready(billing: Billing) -> None:
    """Raise `DatabaseUnavailable` where the database cannot be reached, is not migrated, or is nobody's yet."""
    with billing.store.read() as tx:
        if tx.controls.identity() is None:
            raise DatabaseUnavailable("this database has no identity yet; run `billing init`")
