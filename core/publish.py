"""A message enters its queues: one record for all durable ones, one object for all.

The record is appended before any queue shows the message, so that a queue's unit always points at a record that has
its place; what the publisher is told waits for the commit when a durable queue took a persistent message.
"""

from __future__ import annotations

from array import array

import cython

if cython.compiled:
    from cython.cimports.core.log.commit_log import CommitLog
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.delivery import Queue
    from cython.cimports.core.routing.router import Route
    from cython.cimports.core.turn import Turn
else:
    from core.log.commit_log import CommitLog
    from core.message import Message
    from core.queue.delivery import Queue
    from core.routing.router import Route
    from core.turn import Turn

UNROUTABLE, ACCEPTED, AT_COMMIT = 0, 1, 2
PLACE_FIELDS = 3  # queue id, queue offset, tags code


@cython.final
@cython.cclass
class Publisher:
    """messages: taken in since start; unroutable: of them in no queue."""

    def __init__(self, log: CommitLog, turn: Turn):
        self.log = log
        self.turn = turn
        self._places = array("q", bytes(8 * PLACE_FIELDS * 16))
        self.messages = self.unroutable = 0

    @cython.ccall
    @cython.exceptval(-1)
    def publish(self, message: Message, route: Route) -> cython.int:
        """Put `message` into the queues of `route`.

        Returns UNROUTABLE, ACCEPTED (may be confirmed at the end of this turn) or AT_COMMIT (when the batch that is
        filling now is committed).
        """
        self.messages += 1
        queues: tuple = route.queues
        if not queues:
            self.unroutable += 1
            return 0
        message.store_ms = self.turn.clock.ms
        durable: tuple = route.durable
        if durable:
            self._store(message, durable)
        for item in queues:
            queue: Queue = item
            queue.push(message, queue.code_of(message))
        return 2 if durable and message.persistent else 1

    @cython.cfunc
    def _store(self, message: Message, durable: tuple):
        """Append the one record, which names every durable queue and the message's offset in it."""
        count: cython.Py_ssize_t = len(durable)
        if count * 3 > len(self._places):
            self._places = array("q", bytes(8 * PLACE_FIELDS * count))
        at: cython.Py_ssize_t = 0
        for item in durable:
            queue: Queue = item
            self._places[at] = queue.id
            self._places[at + 1] = queue.end()
            self._places[at + 2] = queue.code_of(message)
            at += 3
        self.log.append_store(message, self._places, count)
        self.turn.schedule()
