"""The way in: the engine's routes below /billing, everything else to Django."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event, Thread

from django.core.asgi import get_asgi_application
from fastapi import FastAPI
from shop import PRO, billing, work

from billing.web import router
from plans.files import read_plan_file


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


# Notices of the PG and calls of its window go past Django, and so past its CSRF middleware, which would refuse them.
application = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
application.include_router(router(billing), prefix="/billing")
application.mount("/", get_asgi_application())
