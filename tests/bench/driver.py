"""The load: AMQP 0-9-1 publishers and consumers on non-blocking sockets, cheap enough never to be the limit.

Publishing copies nothing: all messages of a publisher are the same bytes, so a block of them is made once and written
from over and over; what may be sent is a number of bytes, what was sent another. Consuming walks over the frames and
makes no object of them. Every confirm and every delivery is checked: a tag confirmed twice, delivered out of turn or a
body of another size ends the run. The handshake, the declarations and the frames to send are session.py's.
"""

from __future__ import annotations

import struct
import time
from array import array

import cython

from tests.bench.session import LoadError

if cython.compiled:
    from cython.cimports.tests.bench.histogram import Histogram
else:
    from tests.bench.histogram import Histogram

UNREAD_BYTES = 512 << 10  # holds any frame that session.py agrees to, and what one read brings beside it
BLOCK_BYTES = 128 << 10  # of messages, written from over and over: it stays in the processor's cache
SENDS_MAX = 16  # blocks that one publisher writes before the others have their turn
WINDOW_MAX = 1 << 16
UNLIMITED = 1 << 60

METHOD, HEADER, BODY, HEARTBEAT, FRAME_END = 1, 2, 3, 8, 0xCE
DELIVER, ACK, NACK, RETURN = 60 << 16 | 60, 60 << 16 | 80, 60 << 16 | 120, 60 << 16 | 50
COMMIT_OK = 90 << 16 | 21
CONNECTION_CLOSE, CHANNEL_CLOSE = 10 << 16 | 50, 20 << 16 | 40
BLOCKED, UNBLOCKED, CONSUME_OK = 10 << 16 | 60, 10 << 16 | 61, 60 << 16 | 21
ACK_OR_NACK = struct.Struct(">BHIHHQBB")
MULTIPLE = 1  # and not to be queued again
STAMP = struct.Struct(">q")


@cython.cfunc
@cython.exceptval(check=False)
def rd32(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.uint:
    return cython.cast(cython.uint, b[at]) << 24 | b[at + 1] << 16 | b[at + 2] << 8 | b[at + 3]


@cython.cfunc
@cython.exceptval(check=False)
def rd64(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.ulonglong:
    return cython.cast(cython.ulonglong, rd32(b, at)) << 32 | rd32(b, at + 4)


@cython.cclass
class Endpoint:
    """One connection with channel 1 open: splits what comes into frames and writes what `_out` holds."""

    def __init__(self, sock, unread: bytes) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.blocked = 0
        self._unread = bytearray(UNREAD_BYTES)
        self._unread[: len(unread)] = unread
        self._view = memoryview(self._unread)
        self._end = len(unread)
        self._out = bytearray()
        self._now = 0

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def readable(self) -> cython.int:
        """Take in what the socket has: one read, and every whole frame in it."""
        try:
            size: cython.Py_ssize_t = self.sock.recv_into(self._view[self._end :])
        except BlockingIOError:
            return 0
        if size == 0:
            raise LoadError("the broker closed the connection")
        self._now = time.monotonic_ns()
        self._end += size
        b: cython.p_uchar = self._unread
        at: cython.Py_ssize_t = 0
        stop: cython.Py_ssize_t
        while self._end - at >= 8:
            stop = at + 7 + rd32(b, at + 3)
            if stop >= self._end:
                break
            if b[stop] != 0xCE:
                raise LoadError(f"a frame ends with {b[stop]:#04x}")
            self._frame(b[at], at + 7, stop)
            at = stop + 1
        if at < self._end:
            self._view[: self._end - at] = self._view[at : self._end]
        self._end -= at
        if self._end == UNREAD_BYTES:
            raise LoadError("a frame is larger than agreed")
        return self._flush()

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def pump(self, now: cython.longlong) -> cython.int:
        """Write what may be written now."""
        return self._flush()

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def writing(self) -> cython.bint:
        """True when the socket did not take all there was to write."""
        return len(self._out) > 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _flush(self) -> cython.int:
        if self._out:
            try:
                del self._out[: self.sock.send(self._out)]
            except BlockingIOError:
                pass
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _frame(self, kind: cython.int, at: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.int:
        b: cython.p_uchar = self._unread
        if kind == 1:
            return self._method(rd32(b, at), at + 4)
        if kind == 8:
            return 0
        raise LoadError(f"a frame of type {kind} was not expected")

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _method(self, name: cython.uint, at: cython.Py_ssize_t) -> cython.int:
        return self._refused(name, at)

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _refused(self, name: cython.uint, at: cython.Py_ssize_t) -> cython.int:
        """Pass over what every connection may be told; end the run with the broker's words at anything else."""
        if name == BLOCKED:
            self.blocked += 1
            return 0
        if name == UNBLOCKED or name == CONSUME_OK:
            return 0
        if name == CONNECTION_CLOSE or name == CHANNEL_CLOSE or name == RETURN:
            code = self._unread[at] << 8 | self._unread[at + 1]
            text = bytes(self._unread[at + 3 : at + 3 + self._unread[at + 2]]).decode(errors="replace")
            raise LoadError(f"the broker refused: {code} {text}")
        raise LoadError(f"method {name >> 16}.{name & 0xFFFF} was not expected")


@cython.cclass
class Publisher(Endpoint):
    """Sends messages over and over, at most `window` ahead of their confirms (0: no confirms, as fast as it goes).

    messages: for each the frames of one publish, or of one transaction with its tx.commit, whose commit-ok confirms it;
    all of one length. sent() and confirmed() count since the start; `limit` is where it stops.
    """

    def __init__(self, sock, unread: bytes, messages: list[bytes], window: int) -> None:
        super().__init__(sock, unread)
        if not 0 <= window < WINDOW_MAX:
            raise ValueError(f"window: {window} is not within 0..{WINDOW_MAX - 1}")
        message = messages[0]
        if len({len(each) for each in messages}) > 1:
            raise ValueError("messages: not all are of the same length")
        self._message = message
        cycle = b"".join(messages)
        self._cycle_bytes = len(cycle)
        self._block = bytearray(cycle * max(2, BLOCK_BYTES // len(cycle)))
        self._block_view = memoryview(self._block)
        self._window = window
        self.limit = UNLIMITED // len(message)
        self._sent_bytes = 0
        self._begun = 0
        self._floor = 0
        self._early_count = 0
        self._early = bytearray(WINDOW_MAX)
        self._due = array("q", bytes(8 * WINDOW_MAX))
        self.confirm_ns = Histogram()

    def stop_at(self, count: int) -> None:
        """Send no more than `count` messages since the start; what was begun is finished."""
        self.limit = max(count, self._begun if self._window else self.sent() + 1)

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def sent(self) -> cython.longlong:
        """Messages whose last byte the kernel has taken."""
        return self._sent_bytes // len(self._message)

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def confirmed(self) -> cython.longlong:
        """Messages that the broker has confirmed, in whatever order."""
        return self._floor + self._early_count

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def pump(self, now: cython.longlong) -> cython.int:
        size: cython.Py_ssize_t = len(self._message)
        upto: cython.longlong = self.limit
        if self._window:
            upto = min(upto, self.confirmed() + self._window)
            self._begin(upto, now)
        sends: cython.int = SENDS_MAX
        at: cython.Py_ssize_t
        stop: cython.Py_ssize_t
        while self._sent_bytes < upto * size and sends:
            at = self._sent_bytes % self._cycle_bytes
            stop = min(len(self._block), at + upto * size - self._sent_bytes)
            try:
                self._sent_bytes += self.sock.send(self._block_view[at:stop])
            except BlockingIOError:
                break
            sends -= 1
        return self._flush()

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def writing(self) -> cython.bint:
        upto: cython.longlong = self._begun if self._window else self.limit
        return self._sent_bytes < upto * len(self._message)

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _begin(self, upto: cython.longlong, due: cython.longlong) -> cython.int:
        """Note when the messages up to `upto` were due, for the time their confirms take."""
        while self._begun < upto:
            self._begun += 1
            self._due[self._begun & 0xFFFF] = due
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _method(self, name: cython.uint, at: cython.Py_ssize_t) -> cython.int:
        b: cython.p_uchar = self._unread
        if name == NACK:
            raise LoadError(f"the broker did not store message {rd64(b, at)}")
        if name == COMMIT_OK:
            return self._settle(self._floor + 1, False)
        if name != ACK:
            return self._refused(name, at)
        return self._settle(rd64(b, at), b[at + 8] & 1)

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _settle(self, tag: cython.longlong, multiple: cython.bint) -> cython.int:
        """Count a confirm: `_floor` is where all are confirmed up to, `_early` marks those above it."""
        if not self._floor < tag <= self._begun or self._early[tag & 0xFFFF] and not multiple:
            raise LoadError(f"a confirm of {tag}, with {self._floor} confirmed of {self._begun}")
        if not multiple and tag != self._floor + 1:
            self._early[tag & 0xFFFF] = 1
            self._early_count += 1
            self.confirm_ns.record(self._now - self._due[tag & 0xFFFF])
            return 0
        while self._floor < tag:
            if self._early_count and self._early[(self._floor + 1) & 0xFFFF]:
                self._pass_early()
                continue
            self._floor += 1
            self.confirm_ns.record(self._now - self._due[self._floor & 0xFFFF])
        while self._early_count and self._early[(self._floor + 1) & 0xFFFF]:
            self._pass_early()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _pass_early(self) -> cython.int:
        """Move the floor over one that was confirmed early, and is counted."""
        self._floor += 1
        self._early[self._floor & 0xFFFF] = 0
        self._early_count -= 1
        return 0


@cython.final
@cython.cclass
class PacedPublisher(Publisher):
    """Sends at a fixed rate; each body begins with the moment it was due (monotonic, ns, 8 bytes big-endian)."""

    def __init__(self, sock, unread: bytes, message: bytes, window: int, pace: tuple[int, int, int]) -> None:
        """pace: (nanoseconds between messages, where in `message` the body begins, nanoseconds from when it is sent
        to when it is due at the consumer)."""
        super().__init__(sock, unread, [message], window)
        self._interval, self._stamp_at, self._delay = pace
        self.next_due = time.monotonic_ns() + self._interval
        self.late_ns = Histogram()

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def pump(self, now: cython.longlong) -> cython.int:
        upto: cython.longlong = min(self.limit, self.confirmed() + self._window)
        before: cython.Py_ssize_t = len(self._out)
        while self.next_due <= now and self._begun < upto:
            self._out += self._message
            at: cython.Py_ssize_t = len(self._out) - len(self._message) + self._stamp_at
            STAMP.pack_into(self._out, at, self.next_due + self._delay)
            self._begin(self._begun + 1, self.next_due)
            self.late_ns.record(now - self.next_due)
            self.next_due += self._interval
        self._sent_bytes += len(self._out) - before
        return self._flush()

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def writing(self) -> cython.bint:
        return len(self._out) > 0


@cython.final
@cython.cclass
class Consumer(Endpoint):
    """Counts deliveries; acknowledges every `ack_every` of them with one multiple ack (0: the broker expects none).

    rejects: with a nack instead, so that they go to the dead letter exchange.
    """

    def __init__(
        self, sock, unread: bytes, body_bytes: int, ack_every: int, *, stamped: bool = False, rejects: bool = False
    ) -> None:
        super().__init__(sock, unread)
        self._answer = 120 if rejects else 80
        self.received = 0
        self.latency_ns = Histogram()
        self._tag = 0
        self._body_bytes = body_bytes
        self._body_left = 0
        self._ack_every = ack_every
        self._unacked = 0
        self._stamped = stamped
        self._first_body = False

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _frame(self, kind: cython.int, at: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.int:
        b: cython.p_uchar = self._unread
        if kind == 1:
            return self._method(rd32(b, at), at + 4)
        if kind == 2:
            self._body_left = rd64(b, at + 4)
            if self._body_left != self._body_bytes:
                raise LoadError(f"a body of {self._body_left} bytes came, not of {self._body_bytes}")
            self._first_body = True
        elif kind == 3:
            if self._stamped and self._first_body:
                self.latency_ns.record(self._now - cython.cast(cython.longlong, rd64(b, at)))
            self._first_body = False
            self._body_left -= stop - at
            if self._body_left < 0:
                raise LoadError(f"delivery {self._tag} brought more than its header said")
        elif kind != 8:
            raise LoadError(f"a frame of type {kind} was not expected")
        if self._body_left == 0 and kind != 8:
            self._received()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _method(self, name: cython.uint, at: cython.Py_ssize_t) -> cython.int:
        if name != DELIVER:
            return self._refused(name, at)
        b: cython.p_uchar = self._unread
        tag: cython.ulonglong = rd64(b, at + 1 + b[at])
        if tag != self._tag + 1:
            raise LoadError(f"delivery {tag} came after {self._tag}")
        self._tag = tag
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _received(self) -> cython.int:
        self.received += 1
        self._unacked += 1
        if self._ack_every and self._unacked >= self._ack_every:
            self._out += ACK_OR_NACK.pack(METHOD, 1, 13, 60, self._answer, self._tag, MULTIPLE, FRAME_END)
            self._unacked = 0
        return 0
