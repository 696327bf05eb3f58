"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the installed package; a bare checkout has none."""
    try:
        return version("gudok")
    except PackageNotFoundError:
        return "checkout"
