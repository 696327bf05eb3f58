"""Where each key of a TOML document is written, and how to speak of it.

tomllib gives values without places, and "amount must not be negative" is of little help
in a file of twenty prices. This scanner reads a document that tomllib has accepted, so
it may lean on the grammar being right and only has to know where things begin and end.
"""

import re
import tomllib
from typing import Final

Path = tuple[str | int, ...]  # ("plan", "prices", 0, "amount")

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_GAP: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_SCALAR: Final = re.compile(
    r'''"""(?:[^\\]|\\.)*?""""{0,2}'''  # up to two quotes may stand right before the closing three
    r"""|\'\'\'.*?\'\'\''{0,2}"""
    r'''|"(?:[^"\\]|\\.)*"'''
    r"""|'[^']*'"""
    r"|[^,\]}#\r\n]+",  # numbers, dates, booleans
    re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """Return the 1-based line on which each key, table header and array item is written.

    A table that is only implied ("a" in `[a.b]`) has the line that implies it first.

    Args:
        text: a document that `tomllib.loads` accepts; anything else gives no useful answer.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of the key, or of the nearest table around it; None where there is neither."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def spelled(path: Path) -> str:
    """Return the key as a person would write it: plan.prices[0].amount."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            words += ("." if words else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else repr(part))
    return words


def shown(value: object) -> str:
    """Return a value as the file has it, cut to 60 characters; a table or array is only named as such."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "an array"
    if isinstance(value, bool):
        words = str(value).lower()
    elif isinstance(value, int) and value.bit_length() > 200:
        words = hex(value)  # Python refuses to write out a decimal number of thousands of digits
    else:
        words = f'"{value}"' if isinstance(value, str) else str(value)
    return words if len(words) <= 60 else f"{words[:59]}…"


class _Scanner:
    def __init__(self, text: str) -> None:
        # An ending newline stands for the end of the text, so no look ahead falls off it.
        self.text = text + "\n"
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._counted_to = 0
        self._line = 1
        self._last_item: dict[Path, int] = {}  # arrays of tables: the index of the newest [[header]]

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Path:
        line = self._line_here()
        of_array = self.text.startswith("[[", self.at)
        self.at += 2 if of_array else 1
        path: Path = ()
        keys = self._dotted_key()
        for key in keys[:-1]:
            path = self._note((*path, key), line)
            if path in self._last_item:  # [a.b] below [[a]] belongs to the newest a
                path = (*path, self._last_item[path])
        path = self._note((*path, keys[-1]), line)
        if of_array:
            self._last_item[path] = self._last_item.get(path, -1) + 1
            path = self._note((*path, self._last_item[path]), line)
        self.at += 2 if of_array else 1
        return path

    def _pair(self, table: Path) -> None:
        line = self._line_here()
        path = table
        for key in self._dotted_key():
            path = self._note((*path, key), line)
        self.at += 1  # the equals sign
        self._skip(_GAP)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self.text[self.at]
        if opening not in "[{":
            self._skip(_SCALAR)
            return
        closing = "]" if opening == "[" else "}"
        self.at += 1
        self._skip(_BLANK)
        index = 0
        while self.text[self.at] != closing:
            if opening == "[":
                self._value(self._note((*path, index), self._line_here()))
            else:
                self._pair(path)
            index += 1
            self._skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
                self._skip(_BLANK)
        self.at += 1

    def _dotted_key(self) -> list[str]:
        keys = []
        while True:
            self._skip(_GAP)
            start = self.at
            self._skip(_KEY)
            keys.append(_plain(self.text[start : self.at]))
            self._skip(_GAP)
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _note(self, path: Path, line: int) -> Path:
        self.lines.setdefault(path, line)
        return path

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"no TOML at line {self._line_here()}")
        self.at = match.end()

    def _line_here(self) -> int:
        # Only forward, so the whole document is counted once.
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line


def _plain(key: str) -> str:
    # tomllib itself undoes quotes and escapes, so the two can never read a key differently.
    return str(tomllib.loads(f"key = {key}")["key"]) if key[0] in "\"'" else key
