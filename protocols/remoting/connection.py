"""One native connection to the broker: frames in, verbs carried out, answers and requests of our own out.

Requests of one connection are carried out in their order; answers leave in whatever order they are ready. Bytes that
are no frame end the connection, as in RocketMQ: nobody knows where the next one would begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import cython

from core.errors import BrokerError
from protocols.remoting.codes import Response
from protocols.remoting.errors import Refused, not_supported, remark_bytes, translate
from protocols.remoting.fastjson import BodyError
from protocols.remoting.fields import FieldError, FrameError

if cython.compiled:
    from cython.cimports.core.wire import put_range, rd32
    from cython.cimports.protocols.peer import Peer
    from cython.cimports.protocols.remoting.frame import Frame
    from cython.cimports.protocols.remoting.frame_writer import FrameWriter
else:
    from core.wire import put_range, rd32
    from protocols.peer import Peer
    from protocols.remoting.frame import Frame
    from protocols.remoting.frame_writer import FrameWriter


NOBODY = cython.declare(cython.longlong, 1 << 32)  # the opaque of a one-way request: who answers it writes nothing
JSON = cython.declare(cython.int, 0)  # the kind of our headers, whatever kind the request has, as RocketMQ's broker
RESPONSE = cython.declare(cython.int, 1)
ONEWAY = cython.declare(cython.int, 2)
PIPELINED = cython.declare(cython.int, 8)  # sends under way of a client that does not wait for each before the next
COPIED_BYTES_MAX = cython.declare(cython.Py_ssize_t, 16384)  # a larger body is put together by itself, and copied once
OUTPUT = 1  # why input is not read: too much is unsent
IDLE_SECONDS = 120.0  # RocketMQ's serverChannelMaxIdleTimeSeconds: neither read nor written
CLOSE_SECONDS = 5.0  # to take what is left for it
ASKED_MAX = 1024  # requests of ours that one client has not answered
LOCAL_USER = "guest"  # who comes without credentials; only from this machine unless access.loopback_users says so


@cython.cclass
class RemotingConnection(Peer):
    """A connection of a producer, a consumer or a tool.

    writer  the head of a frame in the making, shared by all connections
    unanswered  sends that wait for their commit
    born_host   the other end's address as records have it, once a send has asked for it; empty before
    """

    def __init__(self, remoting: object, now: float):
        Peer.__init__(self, remoting.broker.turn)
        self.broker = remoting.broker
        self.remoting = remoting
        self.writer = remoting.writer
        self._frame = remoting.frame
        self._verbs = remoting.verbs
        self._asked = {}
        self.unanswered = 0
        self.born_host = b""
        self._known = self._refused = False
        self._seen_bytes = 0
        self._used_at = now
        self._cut_off_at = 0.0
        self._deadline = now + self.broker.config.limits.handshake_seconds

    @property
    def clients(self) -> Any:
        """The members of the broker's groups."""
        return self.remoting.clients

    @cython.ccall
    @cython.exceptval(-1)
    def receive(self, buffer: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Take the frames in buffer[start:end]; return where the first incomplete one begins."""
        at: cython.Py_ssize_t = start
        size: cython.Py_ssize_t
        frame: Frame = self._frame
        self.wanted = 0
        self.pipelined = self.unanswered >= PIPELINED
        if not self._known:
            self._meet()
        while not self.paused_for and not self.finished:
            try:
                size = frame.take(buffer, at, end)
            except FrameError as error:
                self._break(str(error))
                return end
            if not size:
                if end - at >= 4:
                    self.wanted = 4 + rd32(buffer, at)
                break
            at += size
            self._deadline = 0.0
            self._dispatch()
        return end if self.finished else at

    def _meet(self) -> None:
        """The first bytes: is this peer one that may come without credentials?"""
        self._known = True
        access = self.broker.access
        self._refused = access is not None and not access.may_connect(LOCAL_USER, self.peer_address[2])

    def _break(self, why: str) -> None:
        self.broker.report("native connection closed", peer="{}:{}".format(*self.peer_address[:2]), because=why)
        self.finish()

    @cython.cfunc
    def _dispatch(self):
        """Carry out the frame that was taken."""
        frame: Frame = self._frame
        if frame.flag & RESPONSE:
            self._take_answer(frame)
            return
        opaque: cython.longlong = frame.opaque
        if frame.flag & ONEWAY:
            opaque = frame.opaque = NOBODY
        try:
            verb = self._verbs.get(frame.code)
            if self._refused:
                raise Refused(Response.NO_PERMISSION, f"{LOCAL_USER} may only connect from the broker's own machine")
            if verb is None:
                raise not_supported(frame.code)
            verb(self, frame)
        except Refused as error:
            self.respond(opaque, error.code, error.remark)
        except (FieldError, BodyError, UnicodeDecodeError, OverflowError) as error:  # last: too big a number
            self.respond(opaque, Response.SYSTEM_ERROR, str(error))
        except BrokerError as error:
            refused = translate(error)
            self.respond(opaque, refused.code, refused.remark)

    @cython.ccall
    def respond(
        self, opaque: cython.longlong, code: cython.int, remark: object = None, fields: object = (), body: object = b""
    ):
        """Answer the request with that opaque. `fields`: pairs of a name and bytes or an int; `body`: bytes, or a list
        of bytes-like pieces that are written one behind the other."""
        if opaque == NOBODY or self.finished:
            return
        self.begin(opaque, code, remark)
        _put_fields(self.writer, fields)
        self.end(body)

    @cython.ccall
    def begin(self, opaque: cython.longlong, code: cython.int, remark: object = None):
        """As respond(), for a verb that is called often: begin(), writer.field() or .number() each, end()."""
        self.writer.begin(JSON, code, opaque, RESPONSE, None if remark is None else remark_bytes(remark))

    @cython.ccall
    def end(self, body: object = b""):
        """Write the frame whose head begin() began."""
        size: cython.Py_ssize_t = 0
        if isinstance(body, list):
            for piece in body:
                size += len(piece)
        else:
            size = len(body)
        self.write(self.writer.end(size))
        if size:
            self._append_body(body, size)

    @cython.cfunc
    def write_from(self, made: bytearray, size: cython.Py_ssize_t):
        """Write a frame: the first `size` bytes of `made`."""
        at: cython.Py_ssize_t = self.reserve(size)
        put_range(self._out, at, made, 0, size)

    @cython.cfunc
    def _append_body(self, body: object, size: cython.Py_ssize_t):
        if isinstance(body, list) and size > COPIED_BYTES_MAX:
            self.add_piece(b"".join(body))
        elif isinstance(body, list):
            for piece in body:
                self.write(piece if isinstance(piece, bytes) else bytes(piece))
        else:
            self.write(body if isinstance(body, bytes) else bytes(body))

    def one_way(self, code: int, fields: Iterable[tuple[bytes, bytes | int]] = (), body: Any = b"") -> None:
        """Ask the client for something and wait for no answer."""
        if not self.finished:
            self.writer.begin(JSON, code, self.remoting.next_opaque(), ONEWAY)
            _put_fields(self.writer, fields)
            self.end(body)

    def send_request(
        self,
        code: int,
        done: Callable[[Any], None],
        seconds: float,
        fields: Iterable[tuple[bytes, bytes | int]] = (),
        body: Any = b"",
    ) -> None:
        """Ask the client. done(the answer's frame, valid during that call only), or done(None) when the client is gone
        or did not answer in time, or owes too many answers already."""
        if self.finished or len(self._asked) >= ASKED_MAX:
            done(None)
            return
        opaque = self.remoting.next_opaque()
        self._asked[opaque] = (done, self.remoting.now() + seconds)
        self.writer.begin(JSON, code, opaque, 0)
        _put_fields(self.writer, fields)
        self.end(body)

    def _take_answer(self, frame: Frame) -> None:
        asked = self._asked.pop(frame.opaque, None)
        if asked is not None:  # else too late
            asked[0](frame)

    @cython.ccall
    def before_flush(self):
        """Who asks and asks and reads no answer is not heard any more."""
        if self.congested and self.transport is not None:
            if self.transport.get_write_buffer_size() > 2 * self.broker.config.limits.output_bytes:
                self.pause_input(OUTPUT)

    def resume_writing(self) -> None:
        """The socket's buffer was drained."""
        Peer.resume_writing(self)
        self.resume_input(OUTPUT)

    def tick(self, now: float) -> None:
        """Time limits; called twice a second."""
        if self._seen_bytes != self.bytes_in + self.bytes_out:
            self._seen_bytes = self.bytes_in + self.bytes_out
            self._used_at = now
        if self.finished:
            self._cut_off(now)
        elif self._deadline and now >= self._deadline:
            self._break("no request within limits.handshake_seconds")
        elif now - self._used_at > IDLE_SECONDS:
            self._break(f"nothing was read or written for {IDLE_SECONDS:.0f} s")
            self._abort()  # it takes nothing: what is left for it would lie here
        elif self.clients.expire(self):
            self._break("no heartbeat of its clients for 120 s")
        if self._asked:
            self._forget_overdue()

    def _forget_overdue(self) -> None:
        now = self.remoting.now()
        for opaque in [opaque for opaque, (_, until) in self._asked.items() if now >= until]:
            self._asked.pop(opaque)[0](None)

    def _cut_off(self, now: float) -> None:
        """A peer that does not take what is left for it gets no more time than this."""
        if not self._cut_off_at:
            self._cut_off_at = now + CLOSE_SECONDS
        elif now >= self._cut_off_at:
            self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def shut_down(self) -> None:
        """The broker stops. RocketMQ's clients come back by themselves, to whatever the name server then names."""
        self.finish()

    def lost(self) -> None:
        """The socket is gone, and what was asked of the client with it."""
        self.finished = True
        self.transport = None
        self.clients.lost(self)
        asked, self._asked = self._asked, {}
        for done, _ in asked.values():
            done(None)


def _put_fields(writer: FrameWriter, fields: Iterable[tuple[bytes, bytes | int]]) -> None:
    for name, value in fields:
        if isinstance(value, int):
            writer.number(name, value)
        else:
            writer.field(name, value)
