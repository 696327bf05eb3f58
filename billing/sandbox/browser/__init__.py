"""What a browser sees of the PG: its script, and the window in which a buyer pays or registers a card.

    iamport.js   `IMP.init`, `IMP.request_pay`: asks for a window, shows it, brings its result to the page
    opening.py   what the script asks for, checked; it leaves a record that is `ready`
    windows.py   the windows, and what each ended with
    deciding.py  what the buyer does in a window, and what comes of it
    pages.py     the pages themselves; window.css and window.js are theirs

No token is asked here: whoever knows the address of a window may use it, and only the browser
that opened it does. Addresses in pages are relative, so that all of it works below a prefix.

Source: PortOne JavaScript SDK V1.
"""

from functools import cache
from importlib.resources import files

from billing.sandbox.browser import deciding, opening, pages
from billing.sandbox.call import Call, Pause
from billing.sandbox.wire import Answer, Refused

_KINDS = {
    "iamport.js": "text/javascript; charset=utf-8",
    "window.js": "text/javascript; charset=utf-8",
    "window.css": "text/css; charset=utf-8",
}


def serve(call: Call, segments: tuple[str, ...]) -> Answer | Pause:
    """Answer what a browser asks for below `/v1/`."""
    match call.request.method, segments:
        case "GET", (name,) if name in _KINDS:
            return Answer(200, {**pages.SHARED, "content-type": _KINDS[name]}, _file(name))
        case "OPTIONS", ("window",):
            return Answer(204, {**pages.SHARED, **pages.PREFLIGHT}, b"")
        case "POST", ("window",):
            return opening.answer(call)
        case "GET", ("window", id):
            return deciding.show(call, id)
        case "POST", ("window", id):
            return deciding.submit(call, id)
    return pages.note(404, "페이지를 찾을 수 없습니다.")


def note(refusal: Refused) -> Answer:
    """Return a refusal as a browser shows it."""
    return pages.note(refusal.status, refusal.message)


@cache
def _file(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()
