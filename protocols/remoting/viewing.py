"""A message by its place in the log. Source: RocketMQ's QueryMessageProcessor.viewMessageById."""

from __future__ import annotations

from functools import partial
from typing import Any

from core.queries import id_of
from protocols.remoting.codes import Request, Response


def view(connection: Any, frame: Any) -> None:
    """VIEW_MESSAGE_BY_ID."""
    offset = frame.number(b"offset")
    text = id_of(offset) if offset >= 0 else ""
    connection.broker.queries.by_id(text, partial(_answer, connection, frame.opaque, offset))


def _answer(connection: Any, opaque: int, offset: int, found: Any) -> None:
    record = found[0].message if isinstance(found, list) and found else None
    if isinstance(record, bytes):
        connection.respond(opaque, Response.SUCCESS, body=record)
    else:
        connection.respond(opaque, Response.SYSTEM_ERROR, f"can not find message by the offset, {offset}")


VERBS = {Request.VIEW_MESSAGE_BY_ID: view}
