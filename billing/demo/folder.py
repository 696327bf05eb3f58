"""Where the demo leaves its files, and what it refuses to overwrite."""

from __future__ import annotations

from pathlib import Path

from billing.errors import RuleError

DATABASE, PG, REPORT, INSTANCE = "demo.db", "pg.db", "report.html", "instance.key"
_MARK = ".billing-demo"
_MARK_TEXT = (
    "Made by `billing demo`, which replaces demo.db, pg.db, report.html and instance.key beside this file when it is run again.\n"
)
_SIDE_FILES = ("-wal", "-shm", "-journal")


def prepare(folder: Path) -> Path:
    """Make `folder` ready: created if missing, and rid of what an earlier demo left in it.

    Raises:
        RuleError: it is no folder, cannot be written, or holds a file of ours that no demo made.
    """
    if "?" in str(folder):
        raise RuleError("--out", "has a question mark, which a database URL cannot carry", "choose another folder")
    if folder.exists() and not folder.is_dir():
        raise RuleError("--out", f"{folder} is a file, not a folder", "choose another folder")
    ours = [folder / name for name in (DATABASE, PG, REPORT, INSTANCE)]
    mark = folder / _MARK
    if not mark.is_file():
        strangers = [path.name for path in ours if path.exists() or path.is_symlink()]
        if strangers:
            raise RuleError(
                "--out", f"{folder} has a {strangers[0]} that no demo made", "choose another folder; nothing was touched"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(_MARK_TEXT, encoding="utf-8")
        for path in ours:
            for old in (path, *(path.with_name(path.name + side) for side in _SIDE_FILES)):
                old.unlink(missing_ok=True)
    except OSError as error:
        raise RuleError(
            "--out", f"{folder} cannot be used: {(error.strerror or str(error)).lower()}", "choose another folder"
        ) from None
    return folder
