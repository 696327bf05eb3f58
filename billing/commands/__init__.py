"""The command line: arguments in, one call on `Billing`, words or JSON and an exit status out.

    root.py      the group, its table of verbs, and the last word on every error
    lazy.py      groups that import a verb only when it is called
    door.py      what every verb shares: --json, --actor, the engine, the answer
    mishaps.py   exceptions → exit status and one line
    words.py     tables, money and times for people

One file per noun for the rest. Nothing of the engine is imported before a verb needs it: `billing --help`
must not wait for a database driver.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; ends the process with the exit status of `root.Root`."""
    from billing.commands.root import root

    root()
