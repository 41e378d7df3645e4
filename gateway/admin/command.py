"""What every command of mqadmin has: options as commons-cli takes them, and tables as Java's printf writes them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple

from corduroy.client import Admin
from namesrv.command_line import Option, UsageError, parse

COMMON = (
    Option("h", "help", False, "Print help"),
    Option("n", "namesrvAddr", True, "Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'"),
)
Given = dict[str, str]  # short name of an option -> its value, "" without one
Run = Callable[[Admin, Given], Awaitable[None]]


class Failed(Exception):
    """The command cannot be carried out; the text is for the user."""


class Command(NamedTuple):
    """One command. required: short names of options, `b|c` = exactly one of the two."""

    name: str
    about: str
    options: tuple[Option, ...]
    required: tuple[str, ...]
    run: Run

    @property
    def all_options(self) -> tuple[Option, ...]:
        """With those that each has."""
        return (*self.options, *COMMON)

    def given(self, words: list[str]) -> Given:
        """The options on the command line. Raises UsageError, in commons-cli's words."""
        found, _ = parse(words, self.all_options)
        if "h" in found:
            return found
        missing = [names for names in self.required if not any(name in found for name in names.split("|"))]
        if missing:
            plural = "s" if len(missing) > 1 else ""
            listed = [f"[{self._named(names)}]" if "|" in names else names for names in missing]
            raise UsageError(f"Missing required option{plural}: {', '.join(listed)}")
        for names in self.required:
            both = [name for name in names.split("|") if name in found]
            if len(both) > 1:
                raise UsageError(
                    f"The option '{both[1]}' was specified but an option from this group has already been selected: "
                    f"'{both[0]}'"
                )
        return {name: value.strip() for name, value in found.items()}

    def _named(self, names: str) -> str:
        about = {option.short: f"-{option.short} {option.help}" for option in self.options}
        return ", ".join(about[name] for name in names.split("|"))


def table(*formats: str) -> Callable[..., None]:
    """A function that prints a row: each value by its format, two blanks between; `<32` cuts nothing, `<32!` what is
    longer than 32."""

    def row(*values: Any) -> None:
        cells = []
        for form, value in zip(formats, values, strict=True):
            width = form.rstrip("!")
            text = format(str(value) if width[:1] in "<>" else value, width)
            cells.append(text[: int(width[1:])] if form.endswith("!") else text)
        print("  ".join(cells))

    return row


def whole(given: Given, name: str, default: int) -> int:
    """The number of an option. Raises Failed."""
    try:
        return int(given.get(name, default))
    except ValueError:
        raise Failed(f"-{name}: {given[name]!r} is no number") from None


def truth(given: Given, name: str, default: bool = False) -> bool:
    """The boolean of an option, as Java's Boolean.parseBoolean reads it."""
    return given[name].lower() == "true" if name in given else default


def java_text(value: Any) -> str:
    """A value as Java prints it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def time_text(ms: int, with_ms: bool = False) -> str:
    """Local time, as RocketMQ's tools print it."""
    moment = datetime.fromtimestamp(ms / 1000)
    return f"{moment:%Y-%m-%d %H:%M:%S}" + (f",{ms % 1000:03d}" if with_ms else "")


def pretty(value: Any, depth: int = 0) -> str:
    """JSON as fastjson's PrettyFormat writes it: tabs, and keys that are numbers without quotes."""
    inner, outer = "\n" + "\t" * (depth + 1), "\n" + "\t" * depth
    if isinstance(value, dict) and value:
        names = [json.dumps(key, ensure_ascii=False) for key in value]
        items = [f"{name}:{pretty(item, depth + 1)}" for name, item in zip(names, value.values(), strict=True)]
        return "{" + inner + f",{inner}".join(items) + outer + "}"
    if isinstance(value, list) and value:
        return "[" + inner + f",{inner}".join(pretty(item, depth + 1) for item in value) + outer + "]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
