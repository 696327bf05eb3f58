"""Copies of a database, as an operator makes them: a backup put aside, a clone for staging, a backup put back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from tests.kit.postgres import fresh_database, name_of

_number = count(1)


@contextmanager
def copy_of(url: str) -> Iterator[str]:
    """A copy of the database at `url`, to which nobody may be connected; yields its URL, and drops it in the end."""
    if url.startswith("sqlite"):
        file = Path(str(make_url(url).database))
        yield f"sqlite:///{shutil.copy(file, file.with_name(f'{file.stem}-copy{next(_number)}.db'))}"
        return
    server = urlunsplit(urlsplit(url)._replace(path="/postgres"))
    with fresh_database(server, template=name_of(url)) as copy:
        yield copy


class Backup:
    """The rows of a database as they stood, put back where they were: neither file nor database is another one then.

    On PostgreSQL like a data-only restore with triggers disabled; nobody may be connected when it is made or put back.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        if url.startswith("sqlite"):
            self._file = Path(str(make_url(url).database))
            self._copy = Path(shutil.copy(self._file, self._file.with_name(f"{self._file.stem}-backup{next(_number)}.db")))
            return
        with psycopg.connect(url) as connection:
            names = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'billing_%'").fetchall()
            self._rows = {name: self._read(connection, name) for (name,) in names}

    def put_back(self) -> None:
        """Make it yesterday again."""
        if self._url.startswith("sqlite"):
            for side in ("-wal", "-shm"):
                self._file.with_name(self._file.name + side).unlink(missing_ok=True)
            shutil.copy(self._copy, self._file)
            return
        with psycopg.connect(self._url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(SQL("TRUNCATE {}").format(SQL(", ").join(map(Identifier, self._rows))))
            for name, rows in self._rows.items():
                with connection.cursor().copy(SQL("COPY {} FROM STDIN (FORMAT binary)").format(Identifier(name))) as copy:
                    copy.write(rows)

    def _read(self, connection: psycopg.Connection, name: str) -> bytes:
        with connection.cursor().copy(SQL("COPY {} TO STDOUT (FORMAT binary)").format(Identifier(name))) as copy:
            return b"".join(bytes(part) for part in copy)
