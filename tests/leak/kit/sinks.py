"""Where something could come to light, and the one question put to all of it."""

from __future__ import annotations

import dataclasses
import io
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text

from billing import logs
from tests.leak.kit.canaries import Matcher

LOUD = ("", "asyncio", "billing", "httptools", "py.warnings", "sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "uvicorn")
_PLAIN = vars(logging.makeLogRecord({})).keys()


def every_row(engine: Engine) -> Iterator[tuple[str, str]]:
    """Every value of every column of every table, as text, with where it stands."""
    with engine.connect() as conn:
        for table in inspect(conn).get_table_names():
            for row in conn.execute(text(f'SELECT * FROM "{table}"')).mappings():
                yield from ((f"{table}.{column}", str(value)) for column, value in row.items())


class Witness:
    """Hears everything that is said while it stands there: streams, log records, warnings, dying threads.

    Records are kept raw, as a host's own handlers would get them.

    Args:
        is_process: our own process log listens too, on the error stream; it redacts what a raw record holds.
    """

    def __init__(self, *, is_process: bool = False) -> None:
        self._is_process = is_process
        self.streams = io.StringIO()
        self.records = io.StringIO()
        self._exit = ExitStack()

    def __enter__(self) -> Witness:
        enter = self._exit.enter_context
        enter(_levels())
        enter(redirect_stdout(self.streams))
        enter(redirect_stderr(self.streams))
        enter(warnings.catch_warnings())
        enter(_excepthook())
        warnings.simplefilter("always")
        if self._is_process:
            logs.for_process(is_verbose=True)
        else:
            threading.excepthook = _shown_death
            warnings.showwarning = lambda message, *_: sys.stderr.write(f"{message}\n")
        for name in LOUD:
            logging.getLogger(name).setLevel(logging.DEBUG)
        raw = _Raw(self.records)
        logging.getLogger().addHandler(raw)
        self._exit.callback(logging.getLogger().removeHandler, raw)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def said(self) -> dict[str, str]:
        """Everything heard, by where."""
        return {"streams": self.streams.getvalue(), "log records": self.records.getvalue()}


class _Raw(logging.Handler):
    """A host's handler that keeps all a record carries, arguments and traceback included."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__(logging.NOTSET)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        extras = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        self._stream.write(f"{record.getMessage()}\n{record.args!r}\n{extras!r}\n")
        if record.exc_info and record.exc_info[1]:
            self._stream.write(about(record.exc_info[1]))


def _shown_death(death: threading.ExceptHookArgs) -> None:
    if death.exc_value is not None:
        sys.stderr.write(about(death.exc_value))


@contextmanager
def _levels() -> Iterator[None]:
    top = logging.getLogger()
    names = {*LOUD, "alembic", "apscheduler", "httpcore", "httpx"}
    before = {name: logging.getLogger(name).level for name in names}
    handlers = list(top.handlers)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        top.handlers[:] = handlers
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _excepthook() -> Iterator[None]:
    before = threading.excepthook
    try:
        yield
    finally:
        threading.excepthook = before


def about(problem: BaseException) -> str:
    """All an error reporter could send: texts, arguments, notes and the locals of every frame but the tests' own.

    Along `__cause__` and `__context__`, also where a `from None` hides them.
    """
    seen: list[str] = []
    todo, done = [problem], set[int]()
    while todo:
        one = todo.pop()
        if id(one) in done:
            continue
        done.add(id(one))
        todo += [other for other in (one.__cause__, one.__context__, *getattr(one, "exceptions", ())) if other is not None]
        seen += [str(one), repr(one), repr(one.args), repr(vars(one)), repr(getattr(one, "__notes__", ()))]
        seen += "".join(traceback.format_exception_only(one))
        for frame, line in traceback.walk_tb(one.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                seen.append(f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}")
                seen += (f"  {name} = {_repr(value)}" for name, value in frame.f_locals.items())
    return "\n".join(seen)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as problem:  # noqa: BLE001 — an object cut off while it was made
        return f"<{type(value).__name__}: {type(problem).__name__}>"


def shape_of(value: Any) -> str:
    """A value as whoever gets it could print it."""
    seen = [repr(value), str(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        seen.append(repr(dataclasses.asdict(value)))
    seen += [repr(vars(value))] if hasattr(value, "__dict__") else []
    return "\n".join(seen)


def bytes_of(home: Path, *, known: bytes = b"") -> dict[str, bytes]:
    """Every file below a directory: the database with its -wal and -shm, error files, whatever was left there.

    Args:
        known: a file's content that was looked through before: pages that are still the same are left out.
    """
    found = {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}
    return {name: _changed(content, known) for name, content in found.items()}


def _changed(content: bytes, known: bytes, page: int = 4096) -> bytes:
    pages = (content[at : at + page] for at in range(0, len(content), page))
    return b"".join(one for at, one in enumerate(pages) if one != known[at * page : (at + 1) * page])


def leaks(matcher: Matcher, places: dict[str, bytes | str]) -> list[str]:
    """`canary in place`, for every canary found anywhere."""
    return [f"{name} in {place}" for place, content in places.items() for name in matcher.found(content)]
