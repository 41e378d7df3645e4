"""Compiled load driver of RocketMQ's remoting protocol: requests that are made once and written over and over.

What changes from one to the next lies at a fixed place of its frame: the opaque, the offset of a pull, the stamp in a
body. Every answer is checked: one that was not asked for, one that says anything but success, or a record that is not
at the offset after the last one's ends the run. Sessions, topics and the frames to send are native_session.py's.
"""

from __future__ import annotations

import time
from array import array

import cython

from tests.bench.session import LoadError

if cython.compiled:
    from cython.cimports.tests.bench.histogram import Histogram
else:
    from tests.bench.histogram import Histogram

UNREAD_BYTES = 1 << 20  # holds any answer: a pull brings 256 KiB at most, beside one bigger record
WINDOW_MAX = 1 << 16
UNLIMITED = 1 << 60
OFFSET_DIGITS = 18  # of an offset in a pull, zeros before it

RECORD_OFFSET_AT, RECORD_BODY_AT = 20, 88  # of a record whose hosts are IPv4's
BUSY, NOT_FOUND, RETRY_IMMEDIATELY = 2, 19, 20
RESPONSE = 1  # a bit of the flag


@cython.cfunc
@cython.exceptval(check=False)
def rd32(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.uint:
    return cython.cast(cython.uint, b[at]) << 24 | b[at + 1] << 16 | b[at + 2] << 8 | b[at + 3]


@cython.cfunc
@cython.exceptval(check=False)
def rd64(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    return cython.cast(cython.longlong, rd32(b, at)) << 32 | rd32(b, at + 4)


@cython.cfunc
@cython.exceptval(check=False)
def wr32(b: cython.p_uchar, at: cython.Py_ssize_t, value: cython.longlong) -> cython.int:
    i: cython.int
    for i in range(4):
        b[at + i] = value >> (24 - 8 * i) & 0xFF
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def wr64(b: cython.p_uchar, at: cython.Py_ssize_t, value: cython.longlong) -> cython.int:
    wr32(b, at, value >> 32)
    return wr32(b, at + 4, value)


@cython.cfunc
@cython.exceptval(-1, check=True)
def number_behind(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, key: bytes) -> cython.longlong:
    """The number behind `"key":` in a header's JSON, in quotes or not."""
    k: cython.p_uchar = key
    size: cython.Py_ssize_t = len(key)
    i: cython.Py_ssize_t
    value: cython.longlong = 0
    while at + size < end:
        i = 0
        while i < size and b[at + i] == k[i]:
            i += 1
        if i == size:
            at += size
            if b[at] == 0x22:
                at += 1
            while 0x30 <= b[at] <= 0x39:
                value = 10 * value + b[at] - 0x30
                at += 1
            return value
        at += 1
    raise LoadError(f"an answer without {key.decode()}")


@cython.cclass
class Link:
    """One connection: splits what comes into frames and writes what `_out` holds."""

    def __init__(self, sock) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self._unread = bytearray(UNREAD_BYTES)
        self._view = memoryview(self._unread)
        self._end = 0
        self._out = bytearray()
        self._written = 0
        self._now = 0

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def readable(self) -> cython.int:
        """Take in what the socket has: one read, and every answer in it; what the broker asks is passed over."""
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
            stop = at + 4 + rd32(b, at)
            if stop > self._end:
                break
            if b[at + 4] != 0:
                raise LoadError("an answer whose header is not JSON")
            body: cython.Py_ssize_t = at + 8 + (rd32(b, at + 4) & 0xFFFFFF)
            if number_behind(b, at + 8, body, b'"flag":') & RESPONSE:
                self._answer(at + 8, body, stop)
            at = stop
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
        """Write on; what is written leaves the buffer when all of it is."""
        if self._out:
            try:
                self._written += self.sock.send(memoryview(self._out)[self._written :])
            except BlockingIOError:
                pass
            if self._written == len(self._out):
                self._out = bytearray()
                self._written = 0
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _answer(self, at: cython.Py_ssize_t, body: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    def _refused(self, at: cython.Py_ssize_t, body: cython.Py_ssize_t):
        raise LoadError(f"the broker refused: {bytes(self._unread[at:body]).decode(errors='replace')}")


@cython.cclass
class Sender(Link):
    """Sends requests over and over, at most `window` ahead of their answers, whose order is free.

    frames: the requests, in turn; `opaque_at` is where in each the opaque lies, u32. blocked: those that the broker was
    too busy for.
    """

    def __init__(self, sock, frames: list[bytes], opaque_at: int, window: int) -> None:
        super().__init__(sock)
        if not 0 < window < WINDOW_MAX:
            raise ValueError(f"window: {window} is not within 1..{WINDOW_MAX - 1}")
        self._frames = frames
        self._opaque_at = opaque_at
        self._window = window
        self.limit = UNLIMITED
        self.blocked = 0
        self._begun = self._answered = 0
        self._waiting = bytearray(WINDOW_MAX)
        self._due = array("q", bytes(8 * WINDOW_MAX))
        self.confirm_ns = Histogram()

    def stop_at(self, count: int) -> None:
        """Send no more than `count` requests since the start; what the broker was too busy for is sent once more."""
        self.limit = max(count, self.sent())

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def sent(self) -> cython.longlong:
        """Requests begun, but for those that the broker was too busy for."""
        return self._begun - self.blocked

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def confirmed(self) -> cython.longlong:
        """Requests that were answered with success."""
        return self._answered - self.blocked

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def pump(self, now: cython.longlong) -> cython.int:
        while self._begun < self.limit + self.blocked and self._begun - self._answered < self._window:
            if self._waiting[self._begun & 0xFFFF]:
                break
            self._send(now)
        return self._flush()

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _send(self, due: cython.longlong) -> cython.int:
        at: cython.Py_ssize_t = len(self._out) + self._opaque_at
        self._out += self._frames[self._begun % len(self._frames)]
        wr32(self._out, at, self._begun & 0xFFFF)
        self._due[self._begun & 0xFFFF] = due
        self._waiting[self._begun & 0xFFFF] = 1
        self._begun += 1
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _answer(self, at: cython.Py_ssize_t, body: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.int:
        code: cython.longlong = number_behind(self._unread, at, body, b'"code":')
        if code == BUSY:
            self.blocked += 1
        elif code != 0:
            self._refused(at, body)
        opaque: cython.longlong = number_behind(self._unread, at, body, b'"opaque":')
        if opaque >= WINDOW_MAX or not self._waiting[opaque]:
            raise LoadError(f"an answer to {opaque}, which nobody asked")
        self._waiting[opaque] = 0
        self._answered += 1
        self.confirm_ns.record(self._now - self._due[opaque])
        return 0


@cython.final
@cython.cclass
class PacedSender(Sender):
    """Sends at a fixed rate; each body begins with the moment it was due (monotonic, ns, 8 bytes big-endian)."""

    def __init__(self, sock, frames: list[bytes], opaque_at: int, pace: tuple[int, int]) -> None:
        """pace: (nanoseconds between messages, where in each frame the body begins)."""
        super().__init__(sock, frames, opaque_at, WINDOW_MAX - 1)
        self._interval, self._stamp_at = pace
        self.next_due = time.monotonic_ns() + self._interval
        self.late_ns = Histogram()

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def pump(self, now: cython.longlong) -> cython.int:
        at: cython.Py_ssize_t
        while self.next_due <= now and self._begun < self.limit and self._begun - self._answered < self._window:
            at = len(self._out)
            self._send(self.next_due)
            wr64(self._out, at + self._stamp_at, self.next_due)
            self.late_ns.record(now - self.next_due)
            self.next_due += self._interval
        return self._flush()


@cython.final
@cython.cclass
class Puller(Link):
    """Pulls queues from an offset each; `received` records so far, all in order, `empty` answers without one.

    requests: a pull of each queue; opaque_at and offset_at: where in each the opaque (u32) and the offset (18 digits)
    lie. ahead: so many of its queues are asked at once (0: all); the others in turn. follows: what is not there yet is
    asked for again, else that queue is done; `live` are not.
    """

    def __init__(
        self, sock, requests: list[bytes], places: tuple[int, int], offsets: list[int], *, ahead: int = 0,
        follows: bool = False, stamped: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(sock)
        self._requests = requests
        self._opaque_at, self._offset_at = places
        self._offsets = array("q", offsets)
        self._asked = bytearray(len(requests))
        self.received = self.empty = self._next = 0
        self.live = len(requests)
        self.latency_ns = Histogram()
        self._stamped = stamped
        self._follows = follows
        self._stopped = False
        self._ahead = ahead

    def begin(self) -> None:
        """Ask for the first time."""
        for _ in range(self._ahead or len(self._requests)):
            self._ask_next()
        self._flush()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _ask_next(self) -> cython.int:
        """Ask the next queue, in turn, that is neither done nor asked already."""
        _tries: cython.Py_ssize_t
        for _tries in range(len(self._requests)):
            lane: cython.Py_ssize_t = self._next
            self._next = (self._next + 1) % len(self._requests)
            if self._offsets[lane] >= 0 and not self._asked[lane]:
                return self._ask(lane)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _ask(self, lane: cython.Py_ssize_t) -> cython.int:
        at: cython.Py_ssize_t = len(self._out)
        self._asked[lane] = 1
        self._out += self._requests[lane]
        b: cython.p_uchar = self._out
        wr32(b, at + self._opaque_at, lane)
        rest: cython.longlong = self._offsets[lane]
        digit: cython.Py_ssize_t
        for digit in range(OFFSET_DIGITS):
            b[at + self._offset_at + OFFSET_DIGITS - 1 - digit] = 0x30 + rest % 10
            rest //= 10
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _answer(self, at: cython.Py_ssize_t, body: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.int:
        code: cython.longlong = number_behind(self._unread, at, body, b'"code":')
        lane: cython.longlong = number_behind(self._unread, at, body, b'"opaque":')
        if code != 0 and code != NOT_FOUND and code != RETRY_IMMEDIATELY or lane >= len(self._requests):
            self._refused(at, body)
        self._asked[lane] = 0
        if code == 0:
            self._take(lane, body, stop)
        else:
            self.empty += 1
            if not self._follows:
                self._offsets[lane] = -1
                self.live -= 1
        if self._stopped:
            return 0
        return self._ask_next() if self._ahead else self._ask(lane) if self._offsets[lane] >= 0 else 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _take(self, lane: cython.Py_ssize_t, at: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.int:
        """Count the records of a pull and move its queue on."""
        b: cython.p_uchar = self._unread
        while at < stop:
            if stop - at < RECORD_BODY_AT or rd64(b, at + RECORD_OFFSET_AT) != self._offsets[lane]:
                raise LoadError(f"queue {lane}: a record of another offset than {self._offsets[lane]}")
            if self._stamped:
                self.latency_ns.record(self._now - rd64(b, at + RECORD_BODY_AT))
            at += rd32(b, at)
            self._offsets[lane] += 1
            self.received += 1
        return 0
