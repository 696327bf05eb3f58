"""A database that fails at any statement of a registration, and what PostgreSQL itself has on its disk."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import event, text

from billing.errors import BillingError
from billing.store.engine import create_engine_for, translated
from tests.kit.postgres import fresh_database
from tests.leak.kit.canaries import Canaries, Matcher
from tests.leak.kit.sinks import about, bytes_of, leaks
from tests.leak.kit.stage import FOUNDED_AT, QUOTES, WIRE, Failure, Stage, refuses

C = Canaries()


class Breaks:
    """Lets the nth statement of an engine fail."""

    def __init__(self, stage: Stage, nth: int, make: Callable[[], sqlite3.Error]) -> None:
        self.left, self._make = nth, make
        for name in ("do_execute", "do_executemany"):
            event.listen(stage.app.engine, name, self)

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise self._make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: sqlite3.IntegrityError("UNIQUE constraint failed: billing_key.id"),
        lambda: sqlite3.OperationalError("disk I/O error"),
    ],
    ids=["refuses", "is gone"],
)
def test_a_registration_whose_database_fails_at_any_statement(
    stage: Callable[[], Stage], make: Callable[[], sqlite3.Error]
) -> None:
    for nth in range(1, 200):
        one = stage()
        broken = Breaks(one, nth, make)
        assert one.run(lambda now: now.app.cards.add("plain", now.card(), actor="test")) == [], f"statement {nth}"
        if broken.left > 0:
            assert nth > 10
            return
    raise AssertionError("the registration never ended")


@pytest.mark.parametrize("place", ["postgresql://u:{}@127.0.0.1:1/d", "postgresql://127.0.0.1:1/d?user=u&password={}"])
def test_an_outage_carries_no_password_in_any_frame(place: str) -> None:
    engine = create_engine_for(place.format(C.password))
    with pytest.raises(BillingError) as caught, translated(engine), engine.connect():
        pass
    assert Matcher(C).found(about(caught.value)) == []


def test_a_url_that_cannot_be_used_carries_no_password_in_any_frame() -> None:
    with pytest.raises(BillingError) as caught:
        create_engine_for(f"oracle://u:{C.password}@db/x")
    assert Matcher(C).found(about(caught.value)) == []


FAILURES: list[tuple[str, Failure]] = [
    ("POST /subscribe/customers/", WIRE["reset after"]),
    ("POST /subscribe/customers/", WIRE["Ctrl-C"]),
    ("POST /subscribe/customers/", refuses(lambda heard: heard.quoted())),
    ("GET /subscribe/customers/", refuses(QUOTES["Korean around it"])),
    ("POST /users/getToken", WIRE["HTTP 503 in JSON"]),
]


def test_postgresql_has_nothing_secret_in_rows_indexes_or_write_ahead_log(postgres: str, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    with fresh_database(postgres) as url:
        there = f"{url}&password={C.password}"
        founder = Stage(tmp_path, C, at=FOUNDED_AT, database_url=there)
        founder.found()
        for where, failure in FAILURES:
            founder.nasty.fail(where, failure)
            assert founder.run(_add) == []
            founder.nasty.heal()
        with founder.app.engine.connect() as conn:
            conn.execution_options(isolation_level="AUTOCOMMIT").execute(text("CHECKPOINT"))
        founder.close()
        (home,) = parse_qs(urlsplit(url).query)["host"]
        (pages,) = [path for path in (Path(home) / "data" / "base").iterdir() if path.name == _oid(there)]
        places: dict[str, Any] = {**bytes_of(pages), **bytes_of(Path(home) / "data" / "pg_wal")}
        assert sum(map(len, places.values())) > 1_000_000
        assert leaks(Matcher(C), places) == []
        log = Path(home) / "log"
        assert leaks(Matcher(C), {"server log": log.read_bytes() if log.exists() else b""}) == []


def _add(stage: Stage) -> Any:
    return stage.app.cards.add("plain", stage.card(), actor="test")


def _oid(url: str) -> str:
    engine = create_engine_for(url)
    with engine.connect() as conn:
        oid = str(conn.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()")))
    engine.dispose()
    return oid


# --- what the source must not contain ------------------------------------------------------------

SOURCE = {path.relative_to(path.parents[2]): path.read_text() for path in (Path(__file__).parents[2] / "billing").rglob("*.py")}


def _files_with(pattern: str) -> set[str]:
    return {path.name for path, text in SOURCE.items() if re.search(pattern, text)}


def test_engines_are_built_in_one_place_and_hide_their_parameters() -> None:
    assert _files_with(r"\bcreate_engine\(") == {"engine.py"}
    ours = next(text for path, text in SOURCE.items() if path.name == "engine.py" and path.parent.name == "store")
    assert ours.count("create_engine(") == ours.count("hide_parameters=True")


def test_no_certificate_goes_unchecked_no_input_goes_into_an_error_and_no_child_inherits() -> None:
    assert _files_with(r"verify\s*=\s*False|CERT_NONE|_create_unverified|check_hostname\s*=\s*False") == set()
    assert _files_with(r"\.errors\((?!include_input=False)") == set()
    assert _files_with(r"\bsubprocess\b|os\.(?:system|popen|spawn|exec[lv])") == set()


def test_no_log_line_is_given_settings_or_what_a_secret_reveals() -> None:
    assert _files_with(r"log\.\w+\([^)]*(?:settings[,)]|get_secret_value|revealed|\.credentials)") == set()
