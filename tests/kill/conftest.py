"""`--kill-all` kills at every point, several times, and at random moments; without it a few points are enough."""

from __future__ import annotations

import pytest

from billing.fault import POINTS

FEW = [("K01", 1), ("K03", 1), ("K07", 2), ("K09", 1)]
ALL = [(point, passing) for point in POINTS for passing in range(1, 6)]
RANDOM_MOMENTS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option of this folder."""
    parser.addoption("--kill-all", action="store_true", help="every point and random moments")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose where to kill."""
    is_all = metafunc.config.getoption("--kill-all", False)
    if "point" in metafunc.fixturenames:
        metafunc.parametrize(("point", "passing"), ALL if is_all else FEW)
    if "moment" in metafunc.fixturenames:
        metafunc.parametrize("moment", range(RANDOM_MOMENTS if is_all else 1))
    if "migration_kill" in metafunc.fixturenames:
        every = [(point, start) for point in ("M1", "M2", "M3", "M4") for start in ("nothing", "0001")]
        metafunc.parametrize(("migration_kill", "start"), every if is_all else [("M2", "0001")])
