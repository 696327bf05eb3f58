"""A migration killed at any moment: the next one ends with every table, every guard and every row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from billing.store import migrate
from billing.store.engine import create_engine_for
from billing.store.guards import missing_guards
from tests.kit import rows

LAUNCHER = Path(__file__).parents[2] / "cli.py"


def init(database_url: str, folder: Path, faults: str = "") -> int:
    """`billing init` in a process of its own; its exit status."""
    environment = {**os.environ, "BILLING_DATABASE_URL": database_url, "BILLING_FAULTS": faults}
    words = [sys.executable, str(LAUNCHER), "init", "--json"]
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, check=False, timeout=120).returncode


def test_a_migration_killed_on_the_way_is_finished_by_the_next(
    bare_database_url: str, tmp_path: Path, migration_kill: str, start: str
) -> None:
    engine = create_engine_for(bare_database_url)
    if start != "nothing":
        migrate.upgrade(engine, start)
        with engine.begin() as connection:
            rows.customer(connection)

    assert init(bare_database_url, tmp_path, f"{migration_kill}=kill") == -signal.SIGKILL
    assert init(bare_database_url, tmp_path) == 0

    assert migrate.current(engine) == migrate.head()
    assert migrate.check(engine) == []
    with engine.connect() as connection:
        assert missing_guards(connection) == []
        assert connection.scalar(text("SELECT count(*) FROM billing_customer")) == (0 if start == "nothing" else 1)
        assert connection.scalar(text("SELECT count(*) FROM billing_identity")) == 1
    engine.dispose()
