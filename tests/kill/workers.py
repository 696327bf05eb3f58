"""Worker processes: what runs in them, and how they are started.

A process that imports the engine needs a second to start. These are forked from a server that has imported it and
done nothing else, so that a test can afford hundreds of real processes, each with its own memory and connections.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from socket import socket
from typing import Any

import uvicorn

from billing import PublishedEvent, web
from billing.app import Billing
from billing.errors import Unavailable
from billing.sandbox import Sandbox, SandboxConfig, asgi
from billing.scheduler.process import Process
from billing.settings import Settings

BITE = 2
"""Rows a worker takes at a time: small, so that every point of the road is passed again and again."""

REFUND = 100
"""Won that one request gives back."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.kill.workers"])


def started_pg(listening: socket, config: SandboxConfig) -> BaseProcess:
    """A process that is the PG, in memory of its own."""
    process = _context.Process(target=_is_the_pg, args=(listening, config), daemon=True)
    process.start()
    return process


def started(work: Callable[..., None], environment: Mapping[str, str], events: Path, faults: str = "") -> BaseProcess:
    """A process doing `work` on the engine that `environment` describes."""
    process = _context.Process(target=_run, args=(work, {**environment, "BILLING_FAULTS": faults}, events), daemon=True)
    process.start()
    return process


def is_stopped(process: BaseProcess) -> bool:
    """True while the process is held by SIGSTOP."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def resume(process: BaseProcess) -> None:
    """Let a stopped process go on."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)


# --- what runs in a worker ------------------------------------------------------------------------


def renews(app: Billing, _events: Path) -> None:
    """The scheduler process as it is."""
    Process(app).run()


def delivers(app: Billing, events: Path) -> None:
    """The host hears of everything, a little at a time; an outage is tried again."""
    host = Diary(events)
    while True:
        try:
            pause = 0.0 if app.deliver(host, limit=BITE) else 0.05
        except Unavailable:
            pause = 0.05
        time.sleep(pause)


def renews_and_delivers(app: Billing, events: Path) -> None:
    """Small passes over everything due, and the host hears of each; an outage is tried again."""
    host = Diary(events)
    while True:
        try:
            app.renew(limit=BITE)
            app.deliver(host, limit=BITE)
        except Unavailable:
            time.sleep(0.05)


def answers(listening: socket, app: Billing, _events: Path) -> None:
    """The door the PG knocks at. Whoever comes next goes on listening where this one died."""
    _serve(web.app(app), listening)


def hears(notices: Sequence[Mapping[str, Any]], app: Billing, _events: Path) -> None:
    """Notices arrive, and are looked into until nothing is left to look into."""
    for one in notices:
        app.receive_webhook(one)
    while True:
        app.heed()
        time.sleep(0.01)


def refunds(requests: Mapping[str, str], app: Billing, _events: Path) -> None:
    """Somebody asks for refunds, by invoice and key, and again where no answer came; then a worker does what is left."""
    waiting = list(requests.items())
    while True:
        try:
            while waiting:
                invoice, key = waiting[0]
                app.refunds.request(invoice, amount=REFUND, reason="미사용", request_key=key, actor="sora")
                waiting.pop(0)
            app.renew()
        except Unavailable:
            pass
        time.sleep(0.01)


class Diary:
    """A host that writes down what it is told, one line each; a line once written survives the writer."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __call__(self, event: PublishedEvent) -> None:
        os.write(self._file, (json.dumps([event.key, event.subscription_id, event.version]) + "\n").encode())


def _serve(app: Any, listening: socket) -> None:
    uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on")).run(sockets=[listening])


def _is_the_pg(listening: socket, config: SandboxConfig) -> None:
    _serve(asgi(Sandbox(seed=1, config=config)), listening)


def _run(work: Callable[[Billing, Path], None], environment: Mapping[str, str], events: Path) -> None:
    log = os.open(events.with_name("workers.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    given = {name.removeprefix("BILLING_").lower(): value for name, value in environment.items()}
    with Billing(Settings(_env_file=None, **given), actor="worker") as app:  # type: ignore[arg-type,call-arg]
        work(app, events)
