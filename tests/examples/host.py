"""A host of examples/ as its README starts it: a process in a directory of its own, nothing set by whoever runs the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

CHECKOUT = Path(__file__).parents[2]
SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Host:
    """A host that answers, and where."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """Everything it has said."""
        return (self.home / "host.log").read_text()

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something, while the process lives."""
        deadline = time.monotonic() + SECONDS_MAX
        while not is_so():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def ends_well(self) -> None:
        """Press Ctrl-C: it ends soon, and nothing breaks on the way."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(SECONDS_MAX) in (0, 1, -signal.SIGINT), self.log
        assert "Traceback" not in self.log, self.log

    def answers(self) -> bool:
        """Whether somebody listens there already."""
        try:
            return httpx.get(f"{self.url}/", timeout=5, trust_env=False).status_code < 500
        except httpx.TransportError:
            return False


@contextmanager
def running(home: Path, words: list[str], port: int, env: Mapping[str, str] = {}) -> Iterator[Host]:
    """A command of a README, in a directory of its own.

    Args:
        words: the command; its first word is looked up beside the Python that runs this.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "SHOP_"))}
    plain |= {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", "XDG_STATE_HOME": str(home / "state"), **env}
    command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    with (
        (home / "host.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=home, env=plain, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_hears_ctrl_c
        ) as process,
    ):
        host = Host(f"http://127.0.0.1:{port}", home, process)
        try:
            host.until(host.answers)
            yield host
        finally:
            if process.poll() is None:
                process.kill()


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _hears_ctrl_c() -> None:
    """A shell starts what runs in the background deaf to it, and with the tests everything they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
