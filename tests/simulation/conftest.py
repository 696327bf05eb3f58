"""`--seeds N` says how many walks; `--seed S` walks one of them again."""

from __future__ import annotations

import pytest

SEEDS = 8
"""Walks of an ordinary test run; `make sim SEEDS=1000` takes more."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options of this folder."""
    parser.addoption("--seeds", type=int, default=SEEDS, help="how many seeded walks")
    parser.addoption("--seed", type=int, default=None, help="walk this seed only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a seed, so that walks run side by side and a failure names its seed."""
    if "seed" in metafunc.fixturenames:
        one = metafunc.config.getoption("--seed", None)
        seeds = range(metafunc.config.getoption("--seeds", SEEDS)) if one is None else [one]
        metafunc.parametrize("seed", seeds)
