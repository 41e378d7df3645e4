"""A message enters its queues: one record for all durable ones, one object for all.

The record is appended before any queue shows the message, so that a queue's unit always points at a record that has
its place; what the publisher is told waits for the commit when a durable queue took a persistent message.
"""

from __future__ import annotations

from array import array

import cython

from core.state.done import done_body

if cython.compiled:
    from cython.cimports.core.log.commit_log import CommitLog
    from cython.cimports.core.log.record import DONE
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.delivery import Queue
    from cython.cimports.core.routing.router import Route
    from cython.cimports.core.turn import Turn
else:
    from core.log.commit_log import CommitLog
    from core.log.record import DONE
    from core.message import Message
    from core.queue.delivery import Queue
    from core.routing.router import Route
    from core.turn import Turn

UNROUTABLE, ACCEPTED, AT_COMMIT, REFUSED, KNOWN = 0, 1, 2, 3, 4
KEY_BYTES = 1024  # of the log, about, for what a key costs beside its message
PLACE_FIELDS = 3  # queue id, queue offset, tags code


@cython.final
@cython.cclass
class Publisher:
    """messages: taken in from clients since start; unroutable: of them in no queue; duplicates: of them those that an
    exchange or a queue knew already."""

    def __init__(self, log: CommitLog, turn: Turn):
        self.log = log
        self.turn = turn
        self._places = array("q", bytes(8 * PLACE_FIELDS * 16))
        self.messages = self.unroutable = self.duplicates = 0

    @cython.ccall
    @cython.exceptval(-1)
    def publish(self, message: Message, route: Route) -> cython.int:
        """Put `message` into the queues of `route`.

        Returns UNROUTABLE, ACCEPTED (may be confirmed at the end of this turn), AT_COMMIT (when the batch that is
        filling now is committed), KNOWN (unroutable, because an exchange knew its key; may be confirmed AT_COMMIT:
        the message of that key may be on its way to the disk) or REFUSED: one of the queues at least is full and did
        not take it.
        """
        if route.once:
            return self._publish_once(message, route)
        self.messages += 1
        queues: tuple = route.queues
        if not queues:
            self.unroutable += 1
            return 0
        message.store_ms = self.turn.clock.ms
        durable: tuple = route.durable
        full: list = self._full(message, queues)
        if full is not None:
            queues, durable = _others(queues, full), _others(durable, full)
        if durable:
            self._store(message, durable, None, -1)
        self._push(message, queues)
        if full is not None:
            _bury(message, full)
            return 3
        return 2 if durable and message.persistent else 1

    @cython.ccall
    @cython.exceptval(-1)
    def move(
        self, message: Message, route: Route, source: Queue | None, offset: cython.longlong
    ) -> cython.int:
        """Put `message`, a new one made of what lies at `offset` of `source`, into the queues of `route`, and settle
        that offset: a dead letter, or one whose delay is over. Returns as publish() does.

        Both stand in one record, so that a crash can neither lose nor double it (architecture rule 8.1). When no
        durable queue takes the message, or the source is transient, the source is settled as by an ack; a source of
        None never held it. The caller has taken the offset out of what is ready, and calls this outside of publish().
        """
        if route.once:
            return self._move_once(message, route, source, offset)
        queues: tuple = route.queues
        durable: tuple = route.durable
        message.store_ms = self.turn.clock.ms
        full: list = self._full(message, queues)
        if full is not None:
            self._move_past(message, route, full, source, offset)
            return 3
        if durable:
            self._store(message, durable, source, offset)
        self._push(message, queues)
        if source is not None:
            source.settle_moved(offset, source.durable and len(durable) > 0)
        if not queues:
            return 0
        return 2 if durable and message.persistent else 1

    def _move_past(self, message: Message, route: Route, full: list, source: Queue | None, offset: int) -> None:
        """move() when some of the queues are full. Their dead letters, wherever these lead, are joined with what the
        others take; when nobody keeps the message, with a *done* record of the source."""
        queues, durable = _others(route.queues, full), _others(route.durable, full)
        buries = any([queue.buries_refused and queue.dead_letter is not None for queue in full])
        joined = buries and not self.log.together
        if joined:
            self.log.join((1 + len(full)) * (message.body_size + KEY_BYTES))
        if durable:
            self._store(message, durable, source, offset)
        self._push(message, queues)
        _bury(message, full)
        alone: cython.bint = buries and not durable and source is not None and source.durable
        settled = [done_body(source.id, offset)] if alone else []
        if source is not None:
            source.settle_moved(offset, alone or (source.durable and len(durable) > 0))
        if joined:
            self.log.end_joined(settled)
        elif settled:
            self.log.append(DONE, settled[0])

    def move_all(self, going: list[tuple[Message, Route]], source: Queue | None, offset: int) -> None:
        """move() of several messages, each to its own route, that what lies at `offset` of `source` becomes: all of
        them or, when a crash comes between, none."""
        joined = not self.log.together
        if joined:
            self.log.join(sum([message.body_size + KEY_BYTES for message, _ in going]))
        for message, route in going[:-1]:
            self.move(message, route, None, -1)
        message, route = going[-1]
        self.move(message, route, source, offset)
        if joined:
            self.log.end_joined([])

    def _publish_once(self, message: Message, route: Route) -> int:
        """publish() to where the message's key is new; the key goes into the log together with the message."""
        going: Route = self._where_new(message, route)
        known: cython.bint = route.doubled or len(going.queues) < len(route.queues)
        joined: cython.bint = self._join(message, route)
        result: cython.int = 2
        if going.queues or not known:
            result = self.publish(message, going)
        else:
            self.messages += 1
            if not route.queues:
                result = 4
        if known:
            self.duplicates += 1
            self.turn.schedule()
            if result == 1:
                result = 2
        self._remember(route, joined, result == 3)
        return result

    def _move_once(self, message: Message, route: Route, source: Queue | None, offset: int) -> int:
        """move() to where the message's key is new."""
        going: Route = self._where_new(message, route)
        self.duplicates += route.doubled or len(going.queues) < len(route.queues)
        joined: cython.bint = self._join(message, route)
        result: cython.int = self.move(message, going, source, offset)
        self._remember(route, joined, False)
        return result

    def _where_new(self, message: Message, route: Route) -> Route:
        """The route without the queues that hold the message's key."""
        new = [queue for queue in route.queues if queue.keys is None or not queue.keys.knows(message)]
        return route.only(tuple(new))

    def _join(self, message: Message, route: Route) -> bool:
        """Begin to join the message's record and those of its keys, if any are kept and nobody has begun before."""
        if self.log.together or not any([seen.cache.store is not None for seen in route.seen]):
            return False
        self.log.join(message.body_size + len(message.header) + KEY_BYTES)
        return True

    def _remember(self, route: Route, joined: bool, refused: bool) -> None:
        """What goes through deduplicating exchanges is known to them from now on. Not what a full queue refused: it may
        be sent anew, and would be confirmed without being in that queue."""
        for seen in route.seen:
            if not refused:
                seen.cache.remember(seen.key, seen.ttl_ms)
        if joined:
            self.log.end_joined([])

    @cython.cfunc
    def _full(self, message: Message, queues: tuple) -> list:
        """Those of the queues that are full and refuse the message, or None."""
        full: list = None
        for item in queues:
            queue: Queue = cython.cast(Queue, item)  # unchecked here and in _push(): a route has nothing but queues
            if queue.limits is not None and queue.refuses(message):
                if full is None:
                    full = []
                full.append(queue)
        return full

    @cython.cfunc
    def _push(self, message: Message, queues: tuple):
        """Show the message in every queue."""
        for item in queues:
            queue: Queue = cython.cast(Queue, item)
            queue.push(message, _code(queue, message))

    @cython.cfunc
    def _store(self, message: Message, durable: tuple, source: Queue | None, offset: cython.longlong):
        """Append the one record, which names every durable queue and the message's offset in it, and, of a move, what
        it settles: that offset of a durable source."""
        count: cython.Py_ssize_t = len(durable)
        if count * PLACE_FIELDS + 2 > len(self._places):
            self._places = array("q", bytes(8 * (PLACE_FIELDS * count + 2)))
        at: cython.Py_ssize_t = 0
        for item in durable:
            queue: Queue = item
            self._places[at] = queue.id
            self._places[at + 1] = queue.end()
            self._places[at + 2] = _code(queue, message)
            at += 3
        moved: cython.bint = source is not None and source.durable
        if moved:
            self._places[at] = source.id
            self._places[at + 1] = offset
        self.log.append_store(message, self._places, count, moved)
        self.turn.schedule()


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _code(queue: Queue, message: Message) -> cython.longlong:
    """queue.code_of(message), without the call for queues that have nothing to say."""
    if queue.ttl_ms < 0 and queue.levels is None and not queue.codes_all:
        return message.expire_at
    return queue.code_of(message)


def _others(queues: tuple, full: list) -> tuple:
    """The queues that are not full."""
    return tuple([queue for queue in queues if queue not in full])


def _bury(message: Message, full: list) -> None:
    """Full queues do not take the message: some have it go to their dead letter exchange."""
    for queue in full:
        if queue.buries_refused and queue.dead_letter is not None:
            queue.letters.bury_refused(queue, message)
