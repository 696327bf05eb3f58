"""`GET /checkout/{token}` and `POST /checkout/{token}/open`: the page behind a link, and the way into the PG's window."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from billing.app import Billing
from billing.domain.allowance import Rations
from billing.domain.checkout import Outcome, Purpose
from billing.errors import BillingError
from billing.flow.showing import Shown, Stand
from billing.links import TOKEN_MAX
from billing.settings import Settings
from billing.web.answers import (
    CompleteAnswer,
    CompleteRequest,
    OpenAnswer,
    OpenRequest,
    answer,
    headers_of,
    refusal,
    status_of,
    taken,
)
from billing.web.headers import SAFE
from billing.web.limits import Refused, spend
from billing.web.rendering import Language, language_of, page
from billing.web.visitors import Visitors

COOKIE = "billing_checkout"
OPENINGS_PER_LINK = 20
"""How often one link may open a window in a minute: each time the PG is asked."""

_COOKIE_SECONDS = 2 * 60 * 60
_ROOT = "../"
_PANELS = {404: "invalid", 410: "expired", 422: "invalid"}


class Came(NamedTuple):
    """What a phone's window came back with: which payment to look at, and words that are believed nothing."""

    imp_uid: str = ""
    merchant_uid: str = ""
    error_code: str = ""
    error_msg: str = ""

    @classmethod
    def with_(cls, request: Request) -> Came:
        """What stands in the address, if it has the shape it must have."""
        try:
            given = CompleteRequest.model_validate({name: request.query_params.get(name) or None for name in cls._fields})
        except ValidationError:
            return cls()
        return cls(given.imp_uid or "", given.merchant_uid, given.error_code or "", given.error_msg or "")


class CheckoutPage:
    """The page of one customer's link. It only shows; what happens, happens by `open` and by `payments/complete`."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._openings = Rations(OPENINGS_PER_LINK, 60.0, 4096)

    async def show(self, request: Request, billing: Billing, token: str) -> Response:
        """The page as things stand now; 404 or 410 and a plain page for a link that opens nothing."""
        settings = billing.settings
        try:
            self._visitors.admit(request, billing)
            shown = await self._visitors.look(partial(billing.checkouts.show, token))
            made = self._page(language_of(request, shown.language), settings, token, shown, Came.with_(request))
            if shown.stand is Stand.OPEN:
                bind(made, settings, token)
        except (BillingError, Refused) as error:
            return sorry(request, settings, error, root=_ROOT)
        return made

    async def open(self, request: Request, billing: Billing, token: str) -> JSONResponse:
        """What the window is opened with, now; or how that ended, where it is known already."""
        try:
            self._visitors.admit(request, billing)
            asked = await taken(request, OpenRequest)
            code = billing.settings.merchant  # where it is missing, nothing is opened
            spend(self._openings.of(token[:TOKEN_MAX]), billing.clock.monotonic())
            opened = await self._visitors.ask(partial(billing.checkouts.open, token, asked.pay_method))
            if isinstance(opened, Outcome):
                return answer(OpenAnswer(outcome=CompleteAnswer.of(opened)))
            made = answer(OpenAnswer(merchant_code=code, params=opened.params))
            bind(made, billing.settings, token)
        except (BillingError, Refused) as error:
            return refusal(error)
        return made

    def _page(self, spoken: Language, settings: Settings, token: str, shown: Shown, came: Came) -> Response:
        facts: dict[str, Any] = {
            "shown": shown,
            "panel": shown.stand.value,
            "is_card": shown.purpose is Purpose.CARD,
            "amount": spoken.amount(shown.amount, shown.currency),
            "due": spoken.deadline(shown.account.due_at) if shown.account else "",
            "token": token,
            "came": came,
            "sdk": settings.browser_sdk,
        }
        status = 410 if shown.stand is Stand.EXPIRED else 200
        return page("checkout.html", spoken, settings, root=_ROOT, status=status, **facts)


def bind(made: Response, settings: Settings, token: str) -> None:
    """Let this browser, coming back from a phone's window, find the page it left. Nothing else is read from the cookie."""
    base = settings.public_base
    made.set_cookie(
        COOKIE,
        token,
        max_age=_COOKIE_SECONDS,
        path=f"{urlsplit(base).path}/payments/complete",
        secure=base.startswith("https://"),
        httponly=True,
        samesite="lax",
    )


def sorry(request: Request, settings: Settings, error: BillingError | Refused, *, root: str) -> Response:
    """A plain page that says why there is no other."""
    status = status_of(error)
    panel = _PANELS.get(status, "down")
    try:
        return page(
            "result.html", language_of(request), settings, root=root, status=status, headers=headers_of(error), panel=panel
        )
    except BillingError:
        # Nobody has said where we are mounted: without that there is no page at all.
        return Response(status_code=503, headers=SAFE)
