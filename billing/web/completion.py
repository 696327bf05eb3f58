"""How a window ended: `POST /payments/complete` for a page's callback, `GET /payments/complete/mobile` for a redirect."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from billing.app import Billing
from billing.domain.checkout import Completion, Outcome
from billing.errors import BillingError, Unavailable
from billing.web.answers import CompleteAnswer, CompleteRequest, Malformed, answer, refusal, taken
from billing.web.checkout import COOKIE, Came, sorry
from billing.web.headers import SAFE
from billing.web.limits import Refused
from billing.web.rendering import language_of, page
from billing.web.visitors import Visitors

_ROOT = "../../"
_DECIDED = frozenset((Completion.PAID, Completion.REGISTERED, Completion.ACCOUNT_ISSUED))
_PANELS = {
    Completion.PAID: "success",
    Completion.REGISTERED: "success",
    Completion.ACCOUNT_ISSUED: "issued",
    Completion.PENDING: "later",
    Completion.FAILED: "failed",
    Completion.SUSPENDED: "suspended",
    Completion.FORGED: "forgery",
    Completion.CLOSED: "canceled",
    Completion.NOT_OPENED: "not_opened",
}


class Completions:
    """Hears of a window's end and says how it ended: the ids are looked up at the PG, everything else is only words."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors

    async def complete(self, request: Request, billing: Billing) -> JSONResponse:
        """200 for whatever the PG's record says, 503 where the PG could not be asked: then the page asks again."""
        try:
            self._visitors.admit(request, billing)
            given = await taken(request, CompleteRequest)
            return answer(CompleteAnswer.of(await self._ended(billing, given.imp_uid, given.merchant_uid, given.told)))
        except (BillingError, Refused) as error:
            return refusal(error)

    async def mobile(self, request: Request, billing: Billing) -> Response:
        """Back to the page this browser came from, or a page that names nobody where it came from none.

        What is in the address is not believed, `imp_success` not even read. The only place anybody is sent to is the
        checkout whose signed token this browser brought.
        """
        came = Came.with_(request)
        try:
            self._visitors.admit(request, billing)
            if not came.merchant_uid:
                raise Malformed("merchant_uid", "is missing or not of its shape")
            ended = await self._ended_or_pending(billing, came)
            token = request.cookies.get(COOKIE, "")
            is_ours = await self._visitors.look(partial(billing.checkouts.is_about, token, came.merchant_uid))
        except (BillingError, Refused) as error:
            return sorry(request, billing.settings, error, root=_ROOT)
        if is_ours:
            # A reload of that page looks once more; so it needs what this one was told, unless it is decided.
            told = {} if ended.completion in _DECIDED else {name: value for name, value in came._asdict().items() if value}
            target = f"{_ROOT}checkout/{token}" + (f"?{urlencode(told)}" if told else "")
            return RedirectResponse(target, 303, SAFE)
        return page("result.html", language_of(request), billing.settings, root=_ROOT, panel=_PANELS[ended.completion])

    async def _ended_or_pending(self, billing: Billing, came: Came) -> Outcome:
        try:
            return await self._ended(billing, came.imp_uid or None, came.merchant_uid, came.error_msg or came.error_code)
        except Unavailable:
            return Outcome(Completion.PENDING, came.merchant_uid)

    async def _ended(self, billing: Billing, imp_uid: str | None, merchant_uid: str, told: str) -> Outcome:
        return await self._visitors.ask(partial(billing.checkouts.complete, imp_uid, merchant_uid, told=told))
