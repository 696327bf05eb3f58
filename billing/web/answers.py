"""The JSON that pages and the PG exchange with us: read within limits, answered without internals."""

from __future__ import annotations

import logging
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from billing.domain.checkout import Completion, Outcome
from billing.domain.notice import BODY_BYTES_MAX, fields_of, media_type
from billing.errors import BillingError, NotFound, RuleError, SettingsError
from billing.links import LinkRefused
from billing.web.headers import SAFE
from billing.web.limits import Refused, read_body

log = logging.getLogger("billing.web")

Given = TypeVar("Given", bound=BaseModel)
Text = Annotated[str, Field(max_length=1000)]
ImpUid = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
MerchantUid = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class OpenRequest(BaseModel):
    """How the buyer wants to pay; everything else is in our own rows."""

    model_config = ConfigDict(extra="forbid")

    pay_method: Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")]


class CompleteRequest(BaseModel):
    """What the window told the page. The ids are looked up; the error chooses between words, no more."""

    model_config = ConfigDict(extra="forbid")

    merchant_uid: MerchantUid
    imp_uid: ImpUid | None = None
    error_code: Text | None = None
    error_msg: Text | None = None

    @property
    def told(self) -> str:
        """What is said to have gone wrong; empty where nothing is."""
        return self.error_msg or self.error_code or ""


class ConfirmRequest(BaseModel):
    """What the PG is about to approve. More fields than these would not stop a payment.

    Source: PortOne confirm process V1.
    """

    model_config = ConfigDict(extra="ignore")

    imp_uid: ImpUid
    merchant_uid: MerchantUid
    amount: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class AccountAnswer(BaseModel):
    """Where to pay, and until when."""

    bank_code: str
    bank_name: str
    number: str
    holder: str
    due_at: str | None


class CompleteAnswer(BaseModel):
    """How a window ended.

    `status` is one of the five answers of the PG's guide; `completion` says it more finely, `message` is the PG's own
    text where it refused. `charge` is there once a card is registered and something was to be charged on it at once.
    """

    status: str
    completion: Completion
    merchant_uid: str
    message: str = ""
    account: AccountAnswer | None = None
    charge: Completion | None = None

    @classmethod
    def of(cls, outcome: Outcome) -> CompleteAnswer:
        """The outcome as JSON."""
        account = outcome.account
        shown = (
            None
            if account is None
            else AccountAnswer(
                bank_code=account.bank_code,
                bank_name=account.bank_name,
                number=account.number,
                holder=account.holder,
                due_at=account.due_at.isoformat() if account.due_at else None,
            )
        )
        return cls(
            status=outcome.status,
            completion=outcome.completion,
            merchant_uid=outcome.merchant_uid,
            message=outcome.message,
            account=shown,
            charge=outcome.charge,
        )


class OpenAnswer(BaseModel):
    """What `IMP.init` and `IMP.request_pay` are called with; or `outcome`, where it is known already how that ends."""

    merchant_code: str | None = None
    params: dict[str, Any] | None = None
    outcome: CompleteAnswer | None = None


class ConfirmAnswer(BaseModel):
    """Go on."""


class Stop(BaseModel):
    """Why not; shown to the buyer by the PG."""

    reason: str


class Problem(BaseModel):
    """What is wrong with which field, and what to do instead."""

    field: str
    problem: str
    cure: str = ""


class Refusal(BaseModel):
    """The request was not done."""

    error: Problem


class Malformed(RuleError):
    """A body that is readable and not of the shape that was asked for."""


def body_of(model: type[BaseModel], *, forms: bool = False) -> dict[str, Any]:
    """The `requestBody` of a route that reads its body itself, for the OpenAPI schema."""
    schema = model.model_json_schema()
    content = {"application/json": {"schema": schema}}
    if forms:  # whose values are texts, each under a name of its own
        more = {"type": "string"} if schema.get("additionalProperties", True) else False
        content["application/x-www-form-urlencoded"] = {"schema": {**schema, "additionalProperties": more}}
    return {"requestBody": {"required": True, "content": content}}


async def taken(request: Request, model: type[Given], *, forms: bool = False) -> Given:
    """The body, read within its limits and parsed.

    Args:
        forms: take a form, too. A page of another origin can send one without asking, so only routes that give nothing
            to whoever calls may.

    Raises:
        Refused: too long, too slow, or of a type it must not have.
        Malformed: a field is missing, unknown or not of its shape; its value is never repeated.
    """
    content_type = request.headers.get("content-type")
    try:
        kind = media_type(content_type)
    except RuleError:
        kind = ""
    if kind != "json" and not (forms and kind == "form"):
        raise Refused(415, "must be application/json in utf-8")
    body = await read_body(request, most=BODY_BYTES_MAX)
    try:
        fields = fields_of(body, content_type)
    except RuleError as error:
        raise Refused(400, error.problem) from None
    try:
        return model.model_validate(fields, strict=kind == "json")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        known = first["loc"] and str(first["loc"][0]) in model.model_fields
        raise Malformed(
            str(first["loc"][0]) if known else "body", _WRONG.get(first["type"], "is not of the right shape")
        ) from None


_WRONG = {"missing": "is missing", "extra_forbidden": "holds a field nobody asked for"}


def status_of(error: BillingError | Refused) -> int:
    """Which HTTP status says this."""
    match error:
        case Refused(status=status):
            return status
        case LinkRefused(is_expired=True):
            return 410
        case LinkRefused() | NotFound():
            return 404
        case Malformed():
            return 422
        case RuleError() if not isinstance(error, SettingsError):
            return 409
    return 503


def headers_of(error: BillingError | Refused) -> dict[str, str]:
    """When to come again, where that helps; the log says why, where only we can do something about it."""
    if isinstance(error, Refused):
        return error.headers
    if status_of(error) < 500:
        return {}
    log.warning("a checkout could not be served: %s", error)
    return {"retry-after": "5"}


def refusal(error: BillingError | Refused) -> JSONResponse:
    """The answer to a request that was not done."""
    status = status_of(error)
    problem = Problem(field="service", problem="is not available", cure="try again later")
    if isinstance(error, Refused):
        problem = Problem(field="request", problem=error.problem)
    elif isinstance(error, RuleError) and status < 500:
        problem = Problem(field=error.field, problem=error.problem, cure=error.cure)
    return JSONResponse(Refusal(error=problem).model_dump(), status, {**SAFE, **headers_of(error)})


def answer(model: BaseModel) -> JSONResponse:
    """A model as the answer, without what it does not say."""
    return JSONResponse(model.model_dump(mode="json", exclude_none=True), headers=SAFE)
