"""What the gateway asks of every protocol, and the output that every protocol gathers.

A peer is one connection without its socket: receive() takes bytes, output gathers until flush() at the end of the
turn, and deadlines are asked for by tick(). Output buffers are lent from a pool while a turn lasts, so that an idle
connection holds none.
"""

from __future__ import annotations

import cython

from core.queue.consumer import Consumer

if cython.compiled:
    from cython.cimports.core.turn import Flushable, Turn
    from cython.cimports.core.wire import put, take
else:
    from core.turn import Flushable, Turn
    from core.wire import put, take

BUFFER_BYTES = 65536
POOLED_BUFFERS_MAX = 64
COPIED_BYTES_MAX = 16384  # a larger piece is written from where it lies
TURN_OUTPUT_BYTES = cython.declare(cython.Py_ssize_t, 262144)  # of deliveries per connection and turn (rule 8.10)

_pool: list = []


@cython.cclass
class Peer(Flushable):
    """One connection of any protocol.

    transport  what the gateway gives: write(bytes), writelines(list), get_write_buffer_size(), close(), abort()
    reader     the gateway's too: pause() and resume() stop and start receive()
    peer_address  (host, port, whether it is this machine); the gateway sets it before the first byte
    tls        None on a plain socket, else what the gateway knows of the other end; set before the first byte too:
               version, cipher, external (client certificates are asked for), login_name (the user of its own, or None)
    congested  the socket takes no more for now: deliveries to this peer wait
    answered   something was written to it since the gateway last read from it
    pipelined  what was read last came from a client that has more to send before it waits for us
    paused_for why receive() is stopped: bits that the protocol gives a meaning; 0 = it is not
    stalled    its consumers that left their queue's ring because its output was full
    wanted     bytes of the unit that receive() left incomplete, if its head told them; 0 = no more than a read or two
    local_address  (host, port) that the client came in by; the gateway sets it with peer_address
    """

    def __init__(self, turn: Turn):
        Flushable.__init__(self)
        self.turn = turn
        self.transport = self.reader = None
        self.peer_address = ("", 0, False)
        self.local_address = ("", 0)
        self.tls = None
        self._out = None
        self._used = 0
        self._pieces = None
        self.gathered = 0
        self.answered = self.pipelined = self.congested = self.finished = False
        self.paused_for = 0
        self.stalled = []
        self.bytes_in = self.bytes_out = 0
        self.wanted = 0

    @cython.ccall
    @cython.exceptval(-1)
    def receive(self, buffer: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Take the bytes [start, end) of `buffer` and return where the first incomplete unit begins."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection is gone, whoever ended it."""
        raise NotImplementedError

    def shut_down(self) -> None:
        """The broker stops: say so in the protocol's words, then finish."""
        raise NotImplementedError

    def pause_input(self, reason: int) -> None:
        """Read nothing more until resume_input() was called for every reason there is."""
        self.paused_for |= reason
        self.reader.pause()

    def resume_input(self, reason: int) -> None:
        """The reason is gone: if it was the last, go on with what was read and with what comes."""
        if self.paused_for & reason:
            self.paused_for &= ~reason
            if not self.paused_for:
                self.reader.resume()

    def tick(self, now: float) -> None:
        """Called about once a second with the monotonic time, for heartbeats and time limits."""

    @cython.cfunc
    @cython.exceptval(-1)
    def reserve(self, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Make room for `size` bytes at the end of the output, count them as written and return where they begin."""
        if self._out is None:
            self._out = _pool.pop() if _pool else bytearray(BUFFER_BYTES)
        if self._used + size > len(self._out):
            self._cut()
            if size > len(self._out):
                self._out = bytearray(size)
        at: cython.Py_ssize_t = self._used
        self._used = at + size
        self.gathered += size
        if not self.dirty:
            self.turn.mark(self)
        return at

    def _cut(self) -> None:
        """What was gathered so far becomes a piece of its own."""
        if self._used:
            if self._pieces is None:
                self._pieces = []
            self._pieces.append(take(self._out, 0, self._used))
            self._used = 0

    @cython.cfunc
    def add_piece(self, piece: object):
        """Put `piece` (bytes-like, which nobody changes) into the output without copying it."""
        self._cut()
        if self._pieces is None:
            self._pieces = []
        self._pieces.append(piece)
        self.gathered += len(piece)
        if not self.dirty:
            self.turn.mark(self)

    @cython.ccall
    def write(self, data: bytes):
        """Put `data` into the output."""
        if len(data) > COPIED_BYTES_MAX:
            self.add_piece(data)
        else:
            at: cython.Py_ssize_t = self.reserve(len(data))
            put(self._out, at, data)

    @cython.cfunc
    @cython.exceptval(-1)
    def full(self) -> cython.bint:
        """Whether deliveries to this peer must wait for the next flush, or for the socket."""
        return self.congested or self.finished or self.gathered >= TURN_OUTPUT_BYTES

    @cython.ccall
    def before_flush(self):
        """A protocol writes what it gathered in other forms (confirms)."""

    @cython.ccall
    def flush(self):
        """Hand the turn's output to the transport, in one call, and let stalled consumers go on."""
        listed: cython.bint = self.dirty
        self.dirty = True  # what is written now leaves with this flush, and needs no turn of its own
        try:
            self.before_flush()
        finally:
            self.dirty = listed
        if self.gathered:
            self.answered = True
            self.bytes_out += self.gathered
            self.gathered = 0
            self._send()
        if self.stalled and not self.congested:
            self.wake_stalled()

    @cython.cfunc
    def _send(self):
        if self.transport is None:
            self._pieces = None
        elif self._pieces is None:
            self.transport.write(take(self._out, 0, self._used))
        else:
            self._cut()
            pieces: list = self._pieces
            self._pieces = None
            self.transport.writelines(pieces)
        self._used = 0
        if self._out is not None and len(self._out) == BUFFER_BYTES and len(_pool) < POOLED_BUFFERS_MAX:
            _pool.append(self._out)
        self._out = None

    def wake_stalled(self) -> None:
        """Consumers that waited for room in the output take their turns again."""
        waiting, self.stalled = self.stalled, []
        for consumer in waiting:
            woken: Consumer = consumer
            woken.queue.wake(woken)

    def pause_writing(self) -> None:
        """The socket's buffer is above its mark."""
        self.congested = True

    def resume_writing(self) -> None:
        """The socket's buffer was drained."""
        self.congested = False
        if not self.finished:
            self.wake_stalled()

    def finish(self) -> None:
        """Write what is gathered and close the socket after it; nothing more is taken in."""
        if not self.finished:
            self.finished = True
            self.flush()
            if self.transport is not None:
                self.transport.close()
