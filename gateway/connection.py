"""The asyncio side of every connection: bytes from the socket to the protocol's peer, and pauses.

All connections read into one buffer, as the loop reads one of them at a time. What a peer could not use yet, the begin
of a frame, is kept per connection and put back in front of the next read; the head room before the read area is for it.

    RECEIVE   | head room 1 MiB + 64 KiB: what was left over | 64 KiB: the socket reads here |

A unit larger than OWN_BYTES, of a peer that says so (Peer.wanted), is read into a buffer of its own that grows with
what comes, and is given to the peer when it is whole: it is copied twice at most, however many reads it takes.
"""

from __future__ import annotations

import asyncio
import logging

import cython

if cython.compiled:
    from cython.cimports.core.clock import Clock
    from cython.cimports.protocols.peer import Peer
else:
    from core.clock import Clock
    from protocols.peer import Peer

HEAD_BYTES = cython.declare(cython.Py_ssize_t, (1 << 20) + (1 << 16))  # a frame of amqp.frame_max_bytes' maximum
READ_BYTES = cython.declare(cython.Py_ssize_t, 65536)  # per connection and turn (rule 8.10)
STREAM_BYTES = cython.declare(cython.Py_ssize_t, 16384)  # a read of so much is worth its turn
STREAM_GAP_SECONDS = cython.declare(cython.double, 0.0008)
STREAK = cython.declare(cython.int, 1)  # reads in a row that nobody waited for an answer to
RECEIVE = cython.declare(bytearray, bytearray((1 << 20) + (1 << 16) + 65536))
READ_AREA = memoryview(RECEIVE)[(1 << 20) + (1 << 16) :]
OWN_BYTES = cython.declare(cython.Py_ssize_t, 262144)
OWN_BYTES_ALL = 256 << 20


log = logging.getLogger("gateway")


@cython.cclass
class Room:
    """How much the buffers of unfinished units may take in all connections that share it, and how much they do."""

    def __init__(self, limit: cython.Py_ssize_t = OWN_BYTES_ALL):
        self.limit = limit
        self.used = 0


ROOM = Room()


@cython.cclass
class Connection:
    """A BufferedProtocol in all but name (a compiled class cannot inherit it). `on_lost(self)` is called once.

    room  what its unfinished unit shares with others'
    """

    def __init__(self, peer: Peer, clock: Clock, on_lost: object):
        self.peer = peer
        self._clock = clock
        self._on_lost = on_lost
        self._transport = None
        self.room = ROOM
        self._rest = self._own = None
        self._filled = self._wanted = 0
        self._paused = False
        self._read_at = 0.0
        self._streak = 0
        self._rests = False

    def connection_made(self, transport) -> None:
        """The socket is ready: the peer may write, and stop reading."""
        self._transport = transport
        self.peer.transport = transport
        self.peer.reader = self

    def get_buffer(self, hint: int) -> memoryview:
        """Where the next read goes."""
        if self._own is None:
            return READ_AREA
        if self._filled == len(self._own):
            self._grow()
        return memoryview(self._own)[self._filled : min(self._filled + READ_BYTES, len(self._own))]

    def buffer_updated(self, count: cython.Py_ssize_t) -> None:
        """`count` bytes were read."""
        self.peer.bytes_in += count
        if self._own is not None:
            self._read_own(count)
            return
        start: cython.Py_ssize_t = HEAD_BYTES
        if self._rest is not None:
            start -= len(self._rest)
            RECEIVE[start:HEAD_BYTES] = self._rest
            self._rest = None
        self._clock.tick()
        answered: cython.bint = self.peer.answered
        self.peer.answered = self.peer.pipelined = False
        self._take(RECEIVE, start, HEAD_BYTES + count)
        self._pace(count, answered)
        self._rest_after(count)

    @cython.cfunc
    def _rest_after(self, count: cython.Py_ssize_t):
        """libuv would go on reading for as long as there is something: who had its share lets others have a turn."""
        if count == READ_BYTES and not self._paused and self._transport is not None:
            self._rests = True
            self._transport.pause_reading()
            self.peer.turn.afterwards(self)

    def _read_own(self, count: int) -> None:
        """A piece of the unit that has a buffer of its own."""
        self._filled += count
        self._clock.tick()
        if self._filled == self._wanted:
            own, self._own = self._own, None
            self.room.used -= len(own)
            self.peer.answered = self.peer.pipelined = False
            self._take(own, 0, self._wanted)
        self._rest_after(count)

    def _begin_own(self, buffer: bytearray, start: int, end: int) -> None:
        """The unit that begins at `start` is to be gathered."""
        self._wanted, self._filled = self.peer.wanted, end - start
        self._own = bytearray(min(self._wanted, max(OWN_BYTES, 2 * self._filled)))
        self._own[: self._filled] = buffer[start:end]
        self._take_room(len(self._own))

    def _grow(self) -> None:
        """A new buffer of twice the size: who reads from the socket may hold the old one still."""
        bigger = bytearray(min(self._wanted, 2 * len(self._own)))
        bigger[: self._filled] = self._own
        self._take_room(len(bigger) - len(self._own))
        self._own = bigger

    def _take_room(self, size: int) -> None:
        self.room.used += size
        if self.room.used > self.room.limit:
            text = "connection closed: unfinished requests of all connections take too much memory"
            log.warning(text, extra={"peer": "{}:{}".format(*self.peer.peer_address[:2]), "limit": self.room.limit})
            self.abort()

    @cython.cfunc
    def _pace(self, count: cython.Py_ssize_t, answered: cython.bint):
        """Tell a stream of small pieces, which does not wait for answers, from a client that does: only for the first
        it is worth to let some more arrive. Without it a publisher whose library writes message by message costs a
        turn of the loop, with its system calls, for each."""
        now: cython.double = self._clock.seconds
        waits: cython.bint = answered and not self.peer.pipelined
        if waits or count >= STREAM_BYTES or now - self._read_at > STREAM_GAP_SECONDS:
            self._streak = 0
        elif self._streak < STREAK:
            self._streak += 1
        else:
            self.peer.turn.linger = True
        self._read_at = now

    @cython.cfunc
    def _take(self, buffer: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """Give the peer buffer[start:end]; an error that nobody foresaw ends this connection only."""
        try:
            used: cython.Py_ssize_t = self.peer.receive(buffer, start, end)
        except Exception as error:
            self._broken(error)
            return
        if used < end and not self.peer.finished:
            if self.peer.wanted > OWN_BYTES and not self.peer.paused_for:
                self._begin_own(buffer, used, end)
            else:
                self._rest = bytes(buffer[used:end])

    def _broken(self, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "unexpected error on a connection", "exception": error})
        self._rest = None
        self.abort()

    def abort(self) -> None:
        """Cut the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """The peer wants nothing more for now."""
        if not self._paused and self._transport is not None:
            self._paused = True
            if not self._rests:
                self._transport.pause_reading()

    def turn_over(self) -> None:
        """Others had their turn: read on, unless the peer has asked for a pause meanwhile."""
        if self._rests:
            self._rests = False
            if not self._paused and self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def resume(self) -> None:
        """The peer takes more: first what was read already, in a turn of its own, then the socket."""
        if self._paused:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._paused or self._transport is None:
            return
        if self._rest is not None:
            rest = bytearray(self._rest)  # which may be a unit of any size
            self._rest = None
            self._take(rest, 0, len(rest))
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._rests = False
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """The peer's end of the socket is closed; so is ours."""
        return False

    def connection_lost(self, error) -> None:
        """The socket is gone."""
        if self._transport is None:
            return
        self._transport = None
        if self._own is not None:
            self.room.used -= len(self._own)
            self._own = None
        try:
            self.peer.lost()
        finally:
            self._on_lost(self)

    def pause_writing(self) -> None:
        """The socket's buffer is above its mark."""
        self.peer.pause_writing()

    def resume_writing(self) -> None:
        """The socket's buffer was drained."""
        self.peer.resume_writing()
