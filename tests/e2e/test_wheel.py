"""What `pip install .` brings works without the checkout: migrations, plans of the demo, tables of codes."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_carries_everything_it_needs(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check", "-w", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("gudok-*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert "billing/_migrations/env.py" in names
    assert "billing/gateway/decline_codes.csv" in names
    assert "billing/web/pages/checkout.html" in names
    assert "billing/web/pages/static/checkout.js" in names
    assert "LICENSE" in {Path(name).name for name in names}
    assert not any(name.startswith(("tests/", "bench/")) for name in names)

    # -I and a bare path: the checkout cannot help, whatever this process was started with.
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); from billing.commands import main; main()"
    shop = tmp_path / "shop"
    shop.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "PYTHON"))}
    for words in (["init"], ["verify"], ["demo", "--subscribers", "5", "--months", "1"]):
        ended = subprocess.run(
            [sys.executable, "-I", "-c", script, str(unpacked), *words],
            cwd=shop,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
