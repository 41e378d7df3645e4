"""Popped messages whose time is over: each is stored anew in its group's retry topic, from which it is popped again, or
among its dead letters when it came back too often.

That record and the one that says it is done in its queue are joined in the log: a crash leaves both or none. Source:
RocketMQ's PopReviveService; there dead letters are the clients' business.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from core.errors import BrokerError
from core.native import Native, java_hash
from protocols.remoting import names, properties
from protocols.remoting.making import Making
from protocols.remoting.message_ids import offset_id
from protocols.remoting.pop_receipts import offset_of, retry_topic
from protocols.remoting.stored import stored_message

FIRST_POP = b"1ST_POP_TIME"
PROPERTY_ROOM = 512  # that is left for what is added to a message's properties
BLOCKED_MS = 200  # until it is looked again whether publishers are still held back
BROKEN_MS = 10_000  # after a read or a store that failed
RETRIES_MAX = 16  # of a group that is not configured any more


class PopRetries:
    """Stores them; how many is counted where they are kept (core/pop.py)."""

    def __init__(self, broker: Any, making: Making):
        self._broker = broker
        self._making = making

    def take(self, cursor: Any, offsets: list[int]) -> None:
        """The time of these is over."""
        for offset in offsets:
            done = partial(self._read, cursor, offset)
            found = cursor.queue.read(offset, 1, 1, None, done)
            if found is not None:
                done(found)

    def _read(self, cursor: Any, offset: int, found: Any) -> None:
        broker = self._broker
        pops = broker.pops
        if not pops.counts(cursor) or not cursor.is_due(offset, broker.clock.ms):
            return  # it was acked, or is hidden for longer, or its group goes on elsewhere
        if isinstance(found, Exception):
            self._fail(cursor, offset, found)
        elif broker.flow.blocked:
            pops.later(cursor, offset, BLOCKED_MS)
        elif not found[0] or offset_of(found[0][0]) != offset:
            pops.gone += 1
            pops.move(cursor, offset)
        else:
            try:
                self._store(cursor, offset, stored_message(found[0][0]))
            except BrokerError as error:
                self._fail(cursor, offset, error)

    def _fail(self, cursor: Any, offset: int, error: Exception) -> None:
        queue = cursor.queue.topic.decode(), cursor.queue.queue_id
        self._broker.report("a popped message cannot be stored anew", queue=queue, offset=offset, because=str(error))
        self._broker.pops.later(cursor, offset, BROKEN_MS)

    def _store(self, cursor: Any, offset: int, was: Native) -> None:
        """In the log, all or nothing. Raises BrokerError."""
        broker, log = self._broker, self._broker.log
        message = self._anew(cursor, offset, was)
        topic = self._making.ensure(message.topic, 1)
        log.join(was.record_size)
        try:
            broker.topics.append(topic, message)
            broker.pops.move(cursor, offset)
        finally:
            log.end_joined([])
        if message.topic.startswith(names.RETRY_PREFIX):
            broker.pops.retried += 1
        else:
            broker.pops.dead += 1

    def _anew(self, cursor: Any, offset: int, was: Native) -> Native:
        """The message as it is stored again."""
        group, said = cursor.group, properties.as_dict(was.properties)
        config = self._broker.groups.config(group)
        most = RETRIES_MAX if config is None else config.retry_max_times
        name, text = was.topic, was.properties
        if was.reconsume_times >= most:
            name = names.dead_letter_topic(group)
            text = self._with_origin(text, said, was)
        elif not name.startswith(names.RETRY_PREFIX):
            name = retry_topic(group, name, self._making.rules.retry_v2)
        if FIRST_POP not in said and len(text) < properties.TEXT_BYTES_MAX - PROPERTY_ROOM:
            text = properties.closed(text) + properties.entry(FIRST_POP, b"%d" % cursor.popped_at(offset))
        message = Native(name, 0, was.body, text)
        message.flag, message.sys_flag, message.born_ms = was.flag, was.sys_flag, was.born_ms
        message.born_host, message.store_host = was.born_host, self._making.rules.store_host
        message.reconsume_times = was.reconsume_times + 1
        message.tags_code = java_hash(said.get(b"TAGS", b""))
        return message

    def _with_origin(self, text: bytes, said: dict[bytes, bytes], was: Native) -> bytes:
        """A dead letter tells where it came from, as one that a client sent back."""
        if len(text) > properties.TEXT_BYTES_MAX - PROPERTY_ROOM:
            return text
        if b"RETRY_TOPIC" not in said:
            text = properties.put(text, b"RETRY_TOPIC", was.topic)
        if b"ORIGIN_MESSAGE_ID" not in said:
            first = offset_id(was.store_host.hex().upper().encode(), was.offset)
            text = properties.put(text, b"ORIGIN_MESSAGE_ID", first)
        return text
