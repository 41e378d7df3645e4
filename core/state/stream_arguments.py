"""How long a stream keeps its messages, and where a consumer of one may begin, in RabbitMQ's words when it may not.

Texts and values as RabbitMQ 3.10 answers them (deps/rabbit/src/rabbit_stream_queue.erl); where that version ends the
connection with an internal error, the value is refused like any other bad one.
"""

from __future__ import annotations

import re
from typing import Any

from core.errors import PreconditionFailed

MAX_AGE, MAX_BYTES = "x-max-age", "x-max-length-bytes"
OF_A_STREAM = "of queue type rabbit_stream_queue"
UNIT_SECONDS = {"Y": 365 * 86400, "M": 30 * 86400, "D": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"([0-9]{1,9})([YMDhms])")


def span_ms(text: str) -> int:
    """`7D` in ms; -1 when it is none."""
    found = _SPAN.fullmatch(text)
    return -1 if found is None else int(found[1]) * UNIT_SECONDS[found[2]] * 1000


def check_max_age(kind: str, value: Any) -> str | None:
    """What is wrong with an x-max-age, or None."""
    if kind != "longstr":
        return f"{{unacceptable_type,{kind}}}"
    return "invalid_max_age" if isinstance(value, bytes) or span_ms(value) < 0 else None


def beginning(title: str, kind: str, value: Any, now_ms: int) -> tuple[str, int]:
    """An x-stream-offset, whose type is `kind`, as core.stream.Stream.place() takes it. Raises PreconditionFailed."""
    if kind == "longstr":
        if value in ("first", "last", "next"):
            return value, 0
        span = -1 if isinstance(value, bytes) else span_ms(value)
        if span >= 0:
            return "time", now_ms - span
        value = f'<<"{value.decode("utf-8", "replace") if isinstance(value, bytes) else value}">>'
    elif kind == "timestamp":
        return "time", value * 1000
    elif isinstance(value, int) and not isinstance(value, bool):
        return "offset", value
    wrong = f"{{invalid_stream_offset_arg,{{{kind},{value}}}}}"
    raise PreconditionFailed(f"invalid arg 'x-stream-offset' for {title}: {wrong}")
