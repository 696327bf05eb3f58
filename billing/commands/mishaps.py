"""Exceptions → an exit status and one line that names the field and the cure. Nobody ever reads a traceback here."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

import click

from billing.errors import BillingError, InvariantBroken, RuleError, Unavailable
from billing.redaction import one_line, redacted

DONE, NOT_AS_WISHED, REFUSED, UNAVAILABLE, CALL_SOMEONE, BUG, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130


def told(error: BaseException, words: Sequence[str]) -> int:
    """Say what went wrong, on stderr or (with --json) as the one document on stdout; returns the exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else BUG
    status, problems = explained(error, words)
    if "--json" in words:
        first = problems[0]
        document: dict[str, Any] = {"error": first if len(problems) == 1 else {**first, "problems": problems}}
        print(json.dumps(document, ensure_ascii=True, indent=2))  # noqa: T201  (this is the command line)
    else:
        for problem in problems:
            print(f"error: {problem['message']}", file=sys.stderr)  # noqa: T201
    return status


def explained(error: BaseException, words: Sequence[str]) -> tuple[int, list[dict[str, Any]]]:
    """The exit status, and what there is to say: one problem, or every one of a plan file."""
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return INTERRUPTED, [_problem("interrupted", None, "interrupted", "")]
    if isinstance(error, click.ClickException):
        return REFUSED, [_usage(error)]
    several = getattr(error, "problems", None)
    if isinstance(error, ValueError) and several:  # PlanFileError, which lives below and is not imported for its name
        return REFUSED, [_problem("plan_file", one.key, one.problem, one.cure, message=str(one)) for one in several]
    if isinstance(error, RuleError):
        return REFUSED, [_problem(_kind(error), error.field, error.problem, error.cure, message=str(error))]
    if isinstance(error, BillingError):
        status = (
            CALL_SOMEONE if isinstance(error, InvariantBroken) else UNAVAILABLE if isinstance(error, Unavailable) else REFUSED
        )
        problem, _, cure = str(error).partition("; ")
        return status, [_problem(_kind(error), None, problem, cure, message=str(error))]
    return BUG, [_internal(error, words)]


def _usage(error: click.ClickException) -> dict[str, Any]:
    """click's complaint in our shape. It may repeat an argument, so it is redacted like everything else."""
    field = None
    context = getattr(error, "ctx", None)
    if isinstance(error, click.BadParameter) and error.param is not None:
        field = max((*error.param.opts, error.param.human_readable_name), key=lambda name: (name.startswith("--"), len(name)))
        field = field if field.startswith("--") else error.param.human_readable_name
    if isinstance(error, click.MissingParameter):
        problem = "is missing"
    elif isinstance(error, click.BadParameter):
        problem = error.message.rstrip(".").replace("a valid integer range", "a whole number")
    else:
        problem = error.format_message().rstrip(".")
    cure = f"see `{context.command_path} --help`" if context is not None else ""
    if "; " in problem:  # our own parameter kinds bring their cure along
        problem, _, cure = problem.partition("; ")
    return _problem("usage", field, problem, cure)


def _internal(error: BaseException, words: Sequence[str]) -> dict[str, Any]:
    """A bug: one line for the user, the traceback in a file only its owner can read."""
    text = redacted("".join(traceback.format_exception(error)))
    try:
        handle, path = tempfile.mkstemp(prefix="billing-error-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"billing {redacted(' '.join(words[:2]))}\n{text}")
    except OSError:
        path = "could not be written"
    problem = f"internal error: {type(error).__name__} (log: {path})"
    return _problem("internal", None, problem, "report it with that file")


def _problem(kind: str, field: str | None, problem: str, cure: str, *, message: str = "") -> dict[str, Any]:
    text = message or (f"{field}: " if field else "") + problem + (f"; {cure}" if cure else "")
    said = {"field": field, "problem": problem, "cure": cure, "message": text}
    return {"kind": kind, **{name: one_line(redacted(value)) if value else value for name, value in said.items()}}


def _kind(error: BaseException) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()
    return words.removesuffix("_error")
