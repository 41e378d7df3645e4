"""Which bindings a key matches, in plain Python."""

from __future__ import annotations


def matches(kind: str, bound: bytes, key: bytes) -> bool:
    """Whether a binding of an exchange of that kind leads a message with the key on."""
    if kind == "topic":
        return _words_match(bound.split(b"."), key.split(b"."))
    return kind == "fanout" or bound == key


def _words_match(pattern: list[bytes], words: list[bytes]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == b"#":
        return any(_words_match(pattern[1:], words[at:]) for at in range(len(words) + 1))
    return bool(words) and pattern[0] in (b"*", words[0]) and _words_match(pattern[1:], words[1:])
