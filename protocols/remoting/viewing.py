"""Messages by their place in the log, and by their keys. Source: RocketMQ's QueryMessageProcessor, IndexService.

The index knows UNIQ_KEY and KEYS alike, as RocketMQ's does: clients look which of them it is. Without `lastKey`, which
only RocketMQ's index in RocksDB pages by, a query is answered whole.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from core.log.key_search import OFFSET_MAX, Span
from core.queries import NativeKey, id_of
from protocols.remoting.codes import Request, Response
from protocols.remoting.send_header import number

UNIQUE_MAX, RESULTS_MAX = 32, 64  # RocketMQ's defaultQueryMaxNum, maxMsgsNumBatch
ANSWER_BYTES_MAX = (16 << 20) - 4096  # of records: RocketMQ's clients take no frame above 16 MiB
BY_TAGS = b"T"  # the indexType of TAGS; K = KEYS and U = UNIQ_KEY are one
NOT_FOUND = "can not find message, maybe time range not correct"


def view(connection: Any, frame: Any) -> None:
    """VIEW_MESSAGE_BY_ID."""
    offset = frame.number(b"offset")
    text = id_of(offset) if offset >= 0 else ""
    connection.broker.queries.by_id(text, partial(_answer_view, connection, frame.opaque, offset))


def _answer_view(connection: Any, opaque: int, offset: int, found: Any) -> None:
    record = found[0].message if isinstance(found, list) and found else None
    if isinstance(record, bytes):
        connection.respond(opaque, Response.SUCCESS, body=record)
    else:
        connection.respond(opaque, Response.SYSTEM_ERROR, f"can not find message by the offset, {offset}")


def query(connection: Any, frame: Any) -> None:
    """QUERY_MESSAGE: the newest that were stored between two times and have a key, in the order of the log."""
    unique = frame.is_true(b"_UNIQUE_KEY_QUERY")
    most = min(number(frame, b"maxNum"), RESULTS_MAX)
    span = Span(max(frame.number(b"beginTimestamp"), 0), min(frame.number(b"endTimestamp"), OFFSET_MAX))
    by_tags = not unique and frame.get(b"indexType") == BY_TAGS
    wanted = NativeKey(frame.text(b"topic"), frame.text(b"key"), by_tags)
    done = partial(_answer_query, connection, frame.opaque)
    if span.since_ms > span.until_ms or most <= 0 and not unique:
        done([])
        return
    connection.broker.queries.by_topic_key(wanted, span, UNIQUE_MAX if unique else most, done)


def _answer_query(connection: Any, opaque: int, found: Any) -> None:
    if not isinstance(found, list):
        connection.respond(opaque, Response.SYSTEM_ERROR, f"the log cannot be read: {found}")
        return
    records: list[bytes] = []
    left = ANSWER_BYTES_MAX
    for each in found:  # the newest first
        left -= len(each.message)
        if left < 0 and records:
            break
        records.append(each.message)
    offset, ms = connection.broker.queries.indexed(found)
    fields = [(b"indexLastUpdatePhyoffset", offset), (b"indexLastUpdateTimestamp", ms)]
    if records:
        connection.respond(opaque, Response.SUCCESS, None, fields, records[::-1])
    else:
        connection.respond(opaque, Response.QUERY_NOT_FOUND, NOT_FOUND, fields)


VERBS = {Request.VIEW_MESSAGE_BY_ID: view, Request.QUERY_MESSAGE: query}
