"""Copies of a database, as an operator makes them: a backup put aside, a clone for staging, a backup put back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

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
