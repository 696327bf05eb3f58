"""The PG's manners on the wire: how a request is read, how an answer is wrapped, how a connection dies."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

JSON_HEADERS = {"content-type": "application/json; charset=utf-8"}
HTML_HEADERS = {"content-type": "text/html; charset=utf-8"}
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_INDEX = re.compile(r"[0-9]{1,6}")
_DEPTH_MAX = 5

to_json = json.JSONEncoder(ensure_ascii=False).encode
"""Write JSON with Korean as Korean; kept, because building an encoder costs more than using it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes


class ConnectionLost(Exception):
    """The wire broke before an answer came. The request may have been executed: the caller cannot know."""


class ConnectionRefused(Exception):
    """No connection came about: the request was certainly not executed."""


class Refused(Exception):
    """The PG says no: `code` and a Korean `message` in the envelope, most often under HTTP 200."""

    def __init__(self, code: int, message: str, *, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call answers inside the envelope, for the few that need another status than 200."""

    response: Any
    status: int = 200


def envelope(code: int, message: str | None, response: Any, *, status: int = 200) -> Answer:
    """Wrap an answer the way every V1 call does.

    Source: PortOne REST V1, all calls: `{"code": int, "message": string|null, "response": ...}`.
    """
    body = to_json({"code": code, "message": message, "response": response})
    return Answer(status, dict(JSON_HEADERS), body.encode())


def html(status: int, title: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer the page of a proxy in front of the PG, which knows nothing of the envelope."""
    page = f"<html><head><title>{status} {title}</title></head><body><h1>{status} {title}</h1></body></html>"
    return Answer(status, {**HTML_HEADERS, **(headers or {})}, page.encode())


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read once: decoded path, nested query and body, lower-case headers."""

    method: str
    path: str
    segments: tuple[str, ...]
    headers: dict[str, str]
    query: dict[str, Any]
    fields: dict[str, Any]

    @classmethod
    def read(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> "Request":
        """Read a request; ids in the path are percent-decoded one by one, so `%2F` stays part of its id.

        Raises:
            Refused: the body is neither a JSON object nor a form.
        """
        path, _, query = target.partition("?")
        lower = {name.lower(): value for name, value in headers.items()}
        return cls(
            method=method.upper(),
            path=path,
            segments=tuple(unquote(part) for part in path.split("/") if part),
            headers=lower,
            query=nested(parse_qsl(query, keep_blank_values=True)),
            fields=_fields(lower.get("content-type", ""), body),
        )


def _fields(content_type: str, body: bytes) -> dict[str, Any]:
    """Read a body of either accepted encoding; an undeclared one is JSON when it opens with a brace.

    Source: PortOne REST V1: `application/json` and `application/x-www-form-urlencoded` are accepted.
    """
    if not body:
        return {}
    try:
        if "json" in content_type or ("form" not in content_type and body.lstrip()[:1] in (b"{", b"[")):
            fields = json.loads(body)
            if not isinstance(fields, dict):
                raise Refused(1, "요청 본문은 JSON 객체여야 합니다.", status=400)
            if b"\\u" in body:
                to_json(fields).encode()  # half a surrogate pair can be escaped, but neither stored nor answered
            return fields
        return nested(parse_qsl(body.decode(), keep_blank_values=True))
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise Refused(1, "요청 본문을 해석할 수 없습니다.", status=400) from error


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return form pairs as a tree: `schedules[0][amount]=1` and `imp_uid[]=a` become lists and objects.

    Source: PortOne REST V1, form nesting by brackets.
    """
    tree: dict[str, Any] = {}
    for name, value in pairs:
        head, bracket, _ = name.partition("[")
        keys = [head, *_BRACKETS.findall(name)[:_DEPTH_MAX]] if bracket else [name]
        place = tree
        for position, given in enumerate(keys):
            key = given or str(len(place))
            if position == len(keys) - 1:
                place[key] = value
                break
            below = place.get(key)
            if not isinstance(below, dict):
                below = place[key] = {}
            place = below
    return {key: _listed(value) for key, value in tree.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _listed(item) for key, item in value.items()}
    if inner and all(_INDEX.fullmatch(key) for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner


def require(fields: Mapping[str, Any], *names: str) -> None:
    """Refuse a request that lacks one of `names`.

    Source: the message form `["card_number"] 파라메터는 필수입니다.` was observed by public clients.
    """
    missing = [name for name in names if fields.get(name) in (None, "")]
    if missing:
        raise Refused(1, f"{json.dumps(missing)} 파라메터는 필수입니다.")


def text(fields: Mapping[str, Any], name: str, limit: int | None = None) -> str | None:
    """Return a text field, or None when it is absent; refuse one that is longer than `limit` characters.

    The limits are the PG's, the words of the refusal are ours: no document prints them.
    """
    value = fields.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool | dict | list):
        raise Refused(1, f'["{name}"] 파라메터는 문자열이어야 합니다.')
    value = str(value)
    if limit is not None and len(value) > limit:
        raise Refused(1, f'["{name}"] 파라메터는 {limit}자를 초과할 수 없습니다.')
    return value


def number(fields: Mapping[str, Any], name: str) -> int | float | None:
    """Return a numeric field, or None when it is absent. Forms can only carry digits as text, so text is read too."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 10**15:
        raise Refused(1, f'["{name}"] 파라메터는 숫자여야 합니다.')
    return int(value) if value == int(value) else value


def flag(fields: Mapping[str, Any], name: str) -> bool:
    """Return whether a boolean field says yes."""
    return str(fields.get(name, "")).lower() in ("true", "1", "yes")


def listing(fields: Mapping[str, Any], name: str) -> list[str]:
    """Return a repeated field as texts, whether it came as `x[]=`, as a JSON array or once."""
    value = fields.get(name)
    if value is None or value == "":
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
