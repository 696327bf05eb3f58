"""A merchant at a terminal, as the command line tests know her; and a shop to break, set back before every path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import clean_env, shell, shop, shop_home
from tests.leak.kit.canaries import Canaries
from tests.leak.kit.stage import FOUNDED_AT, Stage

__all__ = ["clean_env", "shell", "shop", "shop_home"]


@pytest.fixture(scope="session")
def leak_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, bytes]]:
    """A founded shop, and its files as they were: a copied file would be another database, so bytes are put back."""
    home = tmp_path_factory.mktemp("leak")
    for name in ("books", "pg"):
        (home / name).mkdir()
    stage = Stage(home, Canaries(), at=FOUNDED_AT)
    stage.found()
    stage.close()
    return home, {path: path.read_bytes() for path in home.rglob("*.db")}


@pytest.fixture
def stage(leak_home: tuple[Path, dict[Path, bytes]]) -> Iterator[Callable[[], Stage]]:
    """Sets the stage, as often as it is asked."""
    home, files = leak_home
    made: list[Stage] = []

    def set_up() -> Stage:
        for one in made:
            one.close()
        made.clear()
        for path, content in files.items():
            for beside in path.parent.iterdir():
                if beside != path:
                    beside.unlink()
            with path.open("r+b") as file:
                file.truncate(0)
                file.write(content)
        made.append(Stage(home, Canaries(), known=files[home / "books" / "billing.db"]))
        return made[0]

    yield set_up
    for one in made:
        one.close()
