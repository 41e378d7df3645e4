"""What a subscription asks for: tags, or an SQL expression. Source: RocketMQ's FilterAPI.build, SubscriptionData."""

from __future__ import annotations

from typing import NamedTuple

from core.native import java_hash

ALL = "*"
TAG = "TAG"


class ExpressionError(Exception):
    """An expression that says nothing."""


class Expression(NamedTuple):
    """kind = TAG or what else filters (SQL92). codes = the hashes of the tags that are wanted; None = all messages, as
    far as tags tell."""

    kind: str
    text: str
    codes: frozenset[int] | None


def parse(text: str | None, kind: str | None) -> Expression:
    """The expression in a pull or in a heartbeat. Raises ExpressionError."""
    if kind is not None and kind != TAG:
        if not text:
            raise ExpressionError(f"Expression can't be null! {kind}")
        return Expression(kind, text, None)
    if not text or text == ALL:
        return Expression(TAG, ALL, None)
    tags = text.split("||")
    if not any(tags):
        raise ExpressionError("subString split error")
    return Expression(TAG, text, frozenset(java_hash(tag.strip().encode()) for tag in tags if tag.strip()))
