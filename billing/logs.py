"""Where log lines go: plain ones for a command, JSON for a process. Nothing secret passes either.

The library itself only speaks to `logging.getLogger("billing.…")`; whoever runs it decides what is shown.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

from billing.redaction import HIDDEN, SECRET_KEYS, one_line, redacted

_NOISY = ("alembic", "apscheduler", "httpcore", "httpx")


class _Plain(logging.Formatter):
    """`warning: …` on one line, redacted."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(redacted(f"{record.levelname.lower()}: {super().format(record)}"))


def for_command_line(*, is_verbose: bool) -> None:
    """Errors only, on stderr, because a command says its outcome itself; with `is_verbose` every step."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain("%(message)s"))
    _install(handler, logging.INFO if is_verbose else logging.ERROR)


def for_process(*, is_verbose: bool = False) -> None:
    """One JSON object per line on stderr, redacted, with the fields a caller passed as `extra`."""
    import structlog

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    _install(handler, logging.DEBUG if is_verbose else logging.INFO)


def _install(handler: logging.Handler, level: int) -> None:
    top = logging.getLogger()
    for old in [one for one in top.handlers if getattr(one, "is_ours", False)]:
        top.removeHandler(old)
    handler.is_ours = True  # type: ignore[attr-defined]
    top.addHandler(handler)
    top.setLevel(level)
    # Python itself would print both with whatever text they carry.
    logging.captureWarnings(True)
    threading.excepthook = _thread_died
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _thread_died(death: threading.ExceptHookArgs) -> None:
    if death.exc_type is not SystemExit:
        name = death.thread.name if death.thread else "unknown"
        logging.getLogger("billing.threads").error("thread %s died", name, exc_info=death.exc_value)


def _redact(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: _shown(name, value) for name, value in fields.items()}


def _shown(name: str, value: Any) -> Any:
    if name.lower() in SECRET_KEYS:
        return HIDDEN
    if isinstance(value, dict):
        return {str(key): _shown(str(key), one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(name, one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    # JSON escapes newlines by itself; a terminal that shows the log is spared the other controls.
    return redacted(str(value))
