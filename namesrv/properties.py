"""Java's .properties text: `key=value` lines with comments, continued lines and escapes (java.util.Properties.load)."""

from __future__ import annotations

import re

ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|u|.|$)", re.DOTALL)
SEPARATOR = re.compile(r"(?:[^\\=:\s]|\\.)*")
LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
BLANKS = " \t\f"


class PropertiesError(Exception):
    """Text that is no properties: an escape \\u without four hexadecimal digits."""


def parse(text: str) -> dict[str, str]:
    """Keys and values; of two with one key the last counts. Raises PropertiesError."""
    found = {}
    for line in _logical_lines(text):
        key = SEPARATOR.match(line)
        assert key is not None  # it matches the empty text
        rest = line[key.end() :].lstrip(BLANKS)
        if rest[:1] in ("=", ":"):
            rest = rest[1:].lstrip(BLANKS)
        found[_unescaped(key.group())] = _unescaped(rest)
    return found


def _logical_lines(text: str) -> list[str]:
    """Lines without those that are blank or comments, with continued ones joined."""
    lines: list[str] = []
    joining = False
    for raw in re.split(r"\r\n|\r|\n", text):
        line = raw.lstrip(BLANKS)
        if not joining and (not line or line[0] in "#!"):
            continue
        continued = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        part = line[:-1] if continued else line
        if joining:
            lines[-1] += part
        else:
            lines.append(part)
        joining = continued
    return lines


def _unescaped(text: str) -> str:
    def meant(escape: re.Match[str]) -> str:
        what = escape.group(1)
        if what == "u":
            raise PropertiesError(f"malformed \\u escape in {text[:80]!r}")
        return chr(int(what[1:], 16)) if len(what) == 5 else LETTERS.get(what, what)

    return ESCAPE.sub(meant, text)


def lines(values: dict[str, object]) -> str:
    """`key=value` lines, sorted, as RocketMQ prints its configuration: nothing is escaped."""
    return "".join(f"{key}={as_text(values[key])}\n" for key in sorted(values))


def file_text(values: dict[str, object]) -> str:
    """The same for a file, from which parse() gives it back; no text may hold a line break."""
    return lines({key: as_text(value).replace("\\", "\\\\") for key, value in values.items()})


def as_text(value: object) -> str:
    """A value as Java prints it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
