"""A group that knows its verbs by name and one sentence, and imports one only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
import rich_click


class LazyGroup(rich_click.RichGroup):
    """A group whose table maps a verb to its module, `module` or `module:attribute`, and its sentence.

    Help and shell completion are answered from the table alone. The attribute is the verb's own
    name unless the table says otherwise.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._verbs = verbs

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self._verbs)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """A stand-in that knows its name and sentence, enough for help; the verb itself comes from `resolve_command`."""
        if name not in self._verbs:
            return None
        return rich_click.RichCommand(name=name, help=self._verbs[name][1])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that is called, imported now."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.loaded(name) if name and command else command, rest

    def loaded(self, name: str) -> click.Command:
        """The verb itself."""
        module, _, attribute = self._verbs[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute or name)
        return command
