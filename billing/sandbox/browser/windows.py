"""The windows that were opened: for which record, by whose page, and what each ended with."""

import json
import re
from dataclasses import dataclass
from typing import Any

from billing.sandbox.call import Call
from billing.sandbox.state import Serial
from billing.sandbox.wire import to_json

_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Window:
    """One window.

    Attributes:
        state: `open`, `deciding` while the card network or the merchant is asked, `done`.
        origin: of the page that opened it, as its browser says; None if it does not.
        asked: the parameters of `request_pay` the window goes by.
        result: what the page is told in the end.
    """

    id: str
    imp_uid: str
    state: str
    origin: str | None
    asked: dict[str, Any]
    result: dict[str, Any] | None
    opened_at: float

    @property
    def is_issue(self) -> bool:
        """Whether it registers a card: a `customer_uid` makes it so."""
        return bool(self.asked.get("customer_uid"))

    @property
    def redirects_to(self) -> str | None:
        """Where the buyer's browser goes in the end; None where the page waits behind the window."""
        return str(self.asked["m_redirect_url"]) if self.asked["channel"] == "mobile" else None


def opened(call: Call, serial: Serial, *, origin: str, asked: dict[str, Any]) -> Window:
    """Keep a new window under a name nobody guesses, and return it."""
    call.state.insert(
        "windows",
        id=serial.window,
        imp_uid=serial.window_imp_uid,
        origin=origin if _ORIGIN.fullmatch(origin) else None,
        asked=to_json(asked),
        opened_at=call.now,
    )
    found = by_id(call, serial.window)
    assert found is not None
    return found


def by_id(call: Call, id: str) -> Window | None:
    """Return one window."""
    row = call.state.one("SELECT * FROM windows WHERE id = ?", (id,))
    if row is None:
        return None
    result = None if row["result"] is None else json.loads(row["result"])
    return Window(**{**dict(row), "asked": json.loads(row["asked"]), "result": result})


def claim(call: Call, window: Window) -> None:
    """Take an open window for one decision: from here on it takes no other."""
    call.state.run("UPDATE windows SET state = 'deciding' WHERE id = ?", (window.id,))


def end(call: Call, window: Window, result: dict[str, Any]) -> None:
    """Keep what a window ended with: it is shown as often as the browser asks, and nothing else happens any more."""
    call.state.run("UPDATE windows SET state = 'done', result = ? WHERE id = ?", (to_json(result), window.id))
