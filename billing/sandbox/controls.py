"""What a test can do to the sandbox and no merchant can do to a PG: everything under `/_sandbox/`, without a token."""

from collections.abc import Callable
from typing import Any

from billing.sandbox import faults, refunds, vbanks
from billing.sandbox.call import Call
from billing.sandbox.faults import Fault, parse_fault
from billing.sandbox.ledger import ledger
from billing.sandbox.wire import JSON_HEADERS, Answer, Refused, envelope, number, to_json


def serve(call: Call, segments: tuple[str, ...]) -> Answer:
    """Answer a control call: plain JSON for the sandbox's own, the PG's envelope for what an operator or buyer does."""
    act = _ACTS.get((call.request.method, "/".join(segments)))
    if act is None:
        return _plain({"error": f"no control {call.request.method} /_sandbox/{'/'.join(segments)}"}, status=404)
    try:
        return act(call)
    except ValueError as error:
        return _plain({"error": str(error)}, status=400)
    except Refused as refusal:
        return envelope(refusal.code, refusal.message, None, status=refusal.status)


def _plain(content: Any, *, status: int = 200) -> Answer:
    return Answer(status, dict(JSON_HEADERS), to_json(content).encode())


def _health(call: Call) -> Answer:
    return _plain({"status": "ok", "now": call.now})


def _ledger(call: Call) -> Answer:
    return _plain(ledger(call.state, call.now))


def _clock(call: Call) -> Answer:
    return _plain({"now": call.now, "shift": call.state.shift})


def _shift_clock(call: Call) -> Answer:
    """Move the sandbox clock by `{"seconds": n}`; what has become due happens with the next request."""
    by = number(call.fields, "seconds")
    if by is None:
        raise ValueError('POST /_sandbox/clock wants {"seconds": number}')
    call.state.shift = call.state.shift + by
    return _plain({"now": call.now + by, "shift": call.state.shift})


def _list_faults(call: Call) -> Answer:
    return _plain(faults.listed(call.state))


def _add_faults(call: Call) -> Answer:
    """Add one fault, `{"faults": [...]}`, or `{"fault": "NAME=HOW_OFTEN,..."}` as on a command line."""
    given = call.fields.get("faults", [call.fields])
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise ValueError('"faults" must be a list of objects')
    added = [parse_fault(str(item["fault"])) if set(item) == {"fault"} else Fault.of(item) for item in given]
    for fault in added:
        faults.add(call.state, fault)
    return _list_faults(call)


def _clear_faults(call: Call) -> Answer:
    faults.clear(call.state)
    return _list_faults(call)


def _cancel_in_console(call: Call) -> Answer:
    return envelope(0, None, refunds.cancel_in_console(call))


def _deposit(call: Call) -> Answer:
    return envelope(0, None, vbanks.deposit(call))


_ACTS: dict[tuple[str, str], Callable[[Call], Answer]] = {
    ("GET", "health"): _health,
    ("GET", "ledger"): _ledger,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _shift_clock,
    ("GET", "faults"): _list_faults,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "console/cancel"): _cancel_in_console,
    ("POST", "vbank/deposit"): _deposit,
}
