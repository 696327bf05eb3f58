"""The shop of README.md, copied as a newcomer copies it: saved in an empty directory, started, and subscribed to."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.examples.customer import Customer
from tests.examples.host import CHECKOUT, free_port, running

LINES_MAX = 19


def section() -> tuple[str, list[str]]:
    """The file to save, and the command that starts it."""
    text = (CHECKOUT / "README.md").read_text()
    found = re.search(r"^### Embed it in an empty FastAPI app\n(.*?)^##", text, re.S | re.M)
    if found is None:
        pytest.fail("README.md has no section 'Embed it in an empty FastAPI app'")
    file = re.search(r"```python\n(.*?)```", found[1], re.S)
    started = re.search(r"^\.venv/bin/(uvicorn .*)$", found[1], re.M)
    assert file
    assert started
    return file[1], started[1].split()


def test_it_is_short() -> None:
    file, _ = section()
    assert len([line for line in file.splitlines() if line.strip() and not line.strip().startswith("#")]) <= LINES_MAX


def test_it_works_as_it_stands_there(tmp_path: Path) -> None:
    file, words = section()
    port = free_port()
    (tmp_path / "shop.py").write_text(file.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    with (
        running(tmp_path, [*words, "--port", str(port)], port) as host,
        httpx.Client(base_url=host.url, trust_env=False, timeout=10) as http,
    ):
        mina = Customer(http, "mina")
        mina.pays(mina.window(http.get("/shop/mina").headers["location"]))
        host.until(lambda: http.get("/shop/mina").json()["state"] == "active")
        host.ends_well()
