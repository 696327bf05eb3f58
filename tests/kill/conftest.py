"""`--kill-all` kills at every point, several times, and at random moments; without it a few deaths are enough.

What a run did is counted in each test's properties and printed in the end; docs/safety.md quotes it.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DATABASES
from tests.kill.shop import Shop, shop_on
from tests.kit.postgres import fresh_database

_BEGAN = pytest.StashKey[float]()

POINTS = [f"K{number:02d}" for number in range(14)]
NOTICE_POINTS = ["W1", "W2", "W3", "W4"]
REFUND_POINTS = [f"R{number}" for number in range(1, 7)]
FEW_POINTS = ["K03", "K09"]
STOPS = ["K02", "K03", "K04", "K05", "K07"]

FULL = {
    "passings": 5,
    "people": 12,
    "days": 31,
    "kills": 200,
    "cuts": 200,
    "restarts": 30,
    "ended sessions": 200,
    "forgotten": 20,
}
SHORT = {"passings": 1, "people": 5, "days": 2, "kills": 5, "cuts": 6}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option of this folder."""
    parser.addoption("--kill-all", action="store_true", help="every point and random moments")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of tests that only the full run has time for."""
    config.stash[_BEGAN] = time.monotonic()
    config.addinivalue_line("markers", "long: runs with --kill-all alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long ones to the full run."""
    if not config.getoption("--kill-all", False):
        long = [one for one in items if one.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [one for one in items if one not in long]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose where to kill."""
    is_all = metafunc.config.getoption("--kill-all", False)
    if "point" in metafunc.fixturenames:
        metafunc.parametrize("point", POINTS if is_all else FEW_POINTS)
    if "notice_point" in metafunc.fixturenames:
        metafunc.parametrize("notice_point", NOTICE_POINTS if is_all else NOTICE_POINTS[-1:])
    if "refund_point" in metafunc.fixturenames:
        metafunc.parametrize("refund_point", REFUND_POINTS if is_all else ["R3"])
    if "stopped_at" in metafunc.fixturenames:
        cases = [(point, is_rotated) for point in STOPS for is_rotated in (True, False)]
        metafunc.parametrize(("stopped_at", "is_rotated"), cases if is_all else [("K04", True)])
    if "migration_kill" in metafunc.fixturenames:
        every = [(point, start) for point in ("M1", "M2", "M3", "M4") for start in ("nothing", "0001")]
        metafunc.parametrize(("migration_kill", "start"), every if is_all else [("M2", "0001")])


@pytest.fixture(scope="session")
def floor(request: pytest.FixtureRequest) -> dict[str, int]:
    """How often each thing must have happened before a test is done."""
    return FULL if request.config.getoption("--kill-all", False) else SHORT


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """What this test did, for the summary."""
    seen: Counter[str] = Counter()
    yield seen
    record_property("tally", dict(seen))


@pytest.fixture(scope="module", params=DATABASES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A database that all tests of a file share, and a folder."""
    folder = tmp_path_factory.mktemp("shop")
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_sqlite'), folder / 'billing.db')}", folder
        return
    with fresh_database(request.getfixturevalue("postgres"), request.getfixturevalue("migrated_postgres")) as url:
        yield url, folder


@pytest.fixture(scope="module")
def shop(place: tuple[str, Path], floor: dict[str, int]) -> Iterator[Shop]:
    """One shop for all tests of a file: it is whole again after each, or the test has failed."""
    with shop_on(*place, people=floor["people"]) as one:
        yield one


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was done to the engine, and what came of it."""
    total: Counter[str] = Counter()
    for report in (one for reports in terminalreporter.stats.values() for one in reports):
        if getattr(report, "when", "") == "teardown":
            for name, value in report.user_properties:
                if name == "tally":
                    total += Counter(value)
    if not total:
        return
    terminalreporter.section("deaths")
    for name, count in sorted(total.items()):
        terminalreporter.write_line(f"{count:>6}  {name}")
    failed = len(terminalreporter.getreports("failed") + terminalreporter.getreports("error"))
    found = f"{failed} tests FAILED" if failed else "0 charged twice, 0 lost"
    terminalreporter.write_line(f"{found}, in {time.monotonic() - terminalreporter.config.stash[_BEGAN]:.0f} s")
