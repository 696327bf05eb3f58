"""A merchant at a terminal: each test has a directory, and with it a database and a sandbox, of its own."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from billing.commands.root import root
from billing.store.engine import create_engine_for
from billing.store.identity import Controls
from billing.store.place import place_of

PLAN = """
[plan]
code = "pro"
name = "Pro"

[[plan.prices]]
code = "pro-monthly"
amount = 9900
currency = "KRW"
every = "1 month"
"""
GOOD_CARD, POOR_CARD, WRONG_CARD = "4242-4242-4242-4242", "4000-0000-0000-0054", "4000-0000-0000-0014"


def card_json(number: str = GOOD_CARD) -> str:
    return json.dumps({"number": number, "expiry": "2039-12", "birth": "900101", "pwd_2digit": "12"})


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; anything beside it fails here."""
        return json.loads(self.out)


@contextmanager
def _own_logging() -> Iterator[None]:
    """A command sets up the log of its process; here it is not alone in one."""
    top = logging.getLogger()
    before = top.level, list(top.handlers), threading.excepthook
    try:
        yield
    finally:
        logging.captureWarnings(False)
        level, top.handlers[:], threading.excepthook = before
        top.setLevel(level)


class Shell:
    """Types commands in one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env: dict[str, str] = {}

    def __call__(self, *words: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Said:
        here = Path.cwd()
        os.chdir(self.home)
        try:
            with _own_logging():
                result = CliRunner().invoke(root, list(words), input=stdin, env={**self.env, **(env or {})})
        finally:
            os.chdir(here)
        return Said(result.exit_code, result.stdout, result.stderr)

    def does(self, *words: str, stdin: str = "") -> Any:
        """The document of a command that must succeed."""
        said = self(*words, "--json", stdin=stdin)
        assert said.status == 0, said
        return said.document

    def files(self) -> dict[str, bytes]:
        """Every file here, by name."""
        return {path.name: path.read_bytes() for path in sorted(self.home.iterdir()) if path.is_file()}


@pytest.fixture
def clean_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting, and no terminal, of whoever runs the tests."""
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in _settings():
        monkeypatch.delenv(name)


@pytest.fixture
def shell(tmp_path: Path, clean_env: None) -> Shell:
    """A shell in an empty directory with a plan file."""
    (tmp_path / "pro.toml").write_text(PLAN)
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def shop_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that is ready to sell, to be copied: at 10:00 on 1 December 2026, with one customer and her card."""
    home = tmp_path_factory.mktemp("shop")
    (home / "pro.toml").write_text(PLAN)
    with pytest.MonkeyPatch.context() as patch:
        for name in _settings():
            patch.delenv(name)
        does = Shell(home).does
        does("init")
        does("plan", "apply", "pro.toml")
        does("clock", "set", "2026-12-01T10:00+09:00")
        does("customer", "add", "mina", "--name", "Mina")
        does("card", "add", "mina", stdin=card_json())
    return home


@pytest.fixture
def shop(shop_home: Path, tmp_path: Path, clean_env: None) -> Shell:
    """A shell in a shop of its own."""
    return moved_to(tmp_path / "shop", shop_home)


def moved_to(there: Path, shop_home: Path) -> Shell:
    """A copy of a shop that is told where it stands, or it would take itself for a stray one."""
    home = Path(shutil.copytree(shop_home, there))
    engine = create_engine_for(f"sqlite:///{home / 'billing.db'}")
    with engine.begin() as connection:
        Controls(connection).place(database_fp=place_of(connection).fingerprint)
    engine.dispose()
    return Shell(home)


def _settings() -> list[str]:
    return [name for name in os.environ if name.startswith("BILLING_") and "TEST" not in name]
