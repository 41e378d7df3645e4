"""The asyncio side of every connection: bytes from the socket to the protocol's peer, and pauses.

All connections read into one buffer, as the loop reads one of them at a time. What a peer could not use yet, the begin
of a frame, is kept per connection and put back in front of the next read; the head room before the read area is for it.

    RECEIVE   | head room 1 MiB + 64 KiB: what was left over | 64 KiB: the socket reads here |
"""

from __future__ import annotations

import asyncio

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


@cython.cclass
class Connection:
    """A BufferedProtocol in all but name (a compiled class cannot inherit it). `on_lost(self)` is called once."""

    def __init__(self, peer: Peer, clock: Clock, on_lost: object):
        self.peer = peer
        self._clock = clock
        self._on_lost = on_lost
        self._transport = None
        self._rest = None
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
        return READ_AREA

    def buffer_updated(self, count: cython.Py_ssize_t) -> None:
        """`count` bytes were read."""
        start: cython.Py_ssize_t = HEAD_BYTES
        if self._rest is not None:
            start -= len(self._rest)
            RECEIVE[start:HEAD_BYTES] = self._rest
            self._rest = None
        self._clock.tick()
        answered: cython.bint = self.peer.answered
        self.peer.answered = self.peer.pipelined = False
        self._take(start, HEAD_BYTES + count)
        self._pace(count, answered)
        if count == READ_BYTES and not self._paused and self._transport is not None:
            self._rests = True  # libuv would go on reading for as long as there is something
            self._transport.pause_reading()
            self.peer.turn.afterwards(self)

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
    def _take(self, start: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """Give the peer RECEIVE[start:end]; an error that nobody foresaw ends this connection only."""
        try:
            used: cython.Py_ssize_t = self.peer.receive(RECEIVE, start, end)
        except Exception as error:
            self._broken(error)
            return
        if used < end and not self.peer.finished:
            self._rest = bytes(RECEIVE[used:end])

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
            start: cython.Py_ssize_t = HEAD_BYTES - len(self._rest)
            RECEIVE[start:HEAD_BYTES] = self._rest
            self._rest = None
            self._take(start, HEAD_BYTES)
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
