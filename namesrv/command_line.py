"""The command line of RocketMQ's servers, as commons-cli takes it.

-c FILE, -cFILE, --configFile FILE, --configFile=FILE, and words that are no options.
"""

from __future__ import annotations

from typing import NamedTuple


class Option(NamedTuple):
    """One option; `takes_value` says whether a word follows it."""

    short: str
    long: str
    takes_value: bool
    help: str


class UsageError(Exception):
    """A command line that cannot be understood; the text is commons-cli's."""


def parse(words: list[str], options: tuple[Option, ...]) -> tuple[dict[str, str], list[str]]:
    """Short name -> value ("" for an option without one), and the words that are no options. Raises UsageError."""
    found: dict[str, str] = {}
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            others += rest
            break
        if not word.startswith("-") or word == "-":
            others.append(word)
            continue
        option, value = _recognized(word, options)
        if option.takes_value and value is None:
            value = next(rest, None)
            if value is None or _is_option(value, options):
                raise UsageError(f"Missing argument for option: {option.short}")
        found[option.short] = value or ""
    return found, others


def _is_option(word: str, options: tuple[Option, ...]) -> bool:
    try:
        return word.startswith("-") and bool(_recognized(word, options))
    except UsageError:
        return False


def _recognized(word: str, options: tuple[Option, ...]) -> tuple[Option, str | None]:
    name, equals, value = word.lstrip("-").partition("=")
    for option in options:
        if name in (option.short, option.long) and (option.takes_value or not equals):
            return option, value if equals else None
        if option.takes_value and not word.startswith("--") and name.startswith(option.short):
            return option, word[2:]
    raise UsageError(f"Unrecognized option: {word}")


def usage(name: str, options: tuple[Option, ...]) -> str:
    """What commons-cli's HelpFormatter prints."""
    listed = sorted(options)
    brief = " ".join(f"[-{each.short}{' <arg>' * each.takes_value}]" for each in listed)
    left = [f" -{each.short},--{each.long}{' <arg>' * each.takes_value}" for each in listed]
    width = max(map(len, left)) + 3
    return "\n".join([f"usage: {name} {brief}", *(f"{text:{width}}{each.help}" for text, each in zip(left, listed))])
