"""One AMQP 0-9-1 connection: frames in, handshake, channels, heartbeats, both directions of close (spec 2.2.4, 4.2).

What may go wrong is an AmqpError: of channel scope, it closes that channel and the rest goes on; of connection scope,
the connection is told and only close-ok is heard after it.
"""

from __future__ import annotations

import cython

from core.errors import BrokerError, LimitReached
from protocols.amqp import methods
from protocols.amqp.channel import Channel
from protocols.amqp.errors import (
    AmqpError,
    ChannelError,
    FrameError,
    UnexpectedFrame,
    UnknownMethod,
    reply_text,
    translate,
)
from protocols.amqp.frames import HEARTBEAT_FRAME
from protocols.amqp.handshake import PASSWORD, Handshake

if cython.compiled:
    from cython.cimports.core.wire import rd8, rd16, rd32
    from cython.cimports.protocols.amqp.frames import FrameWriter
    from cython.cimports.protocols.amqp.publishing import Publishing
else:
    from core.wire import rd8, rd16, rd32
    from protocols.amqp.frames import FrameWriter
    from protocols.amqp.publishing import Publishing

    NEW, HANDSHAKE, OPEN, CLOSING, ENDED = 0, 1, 2, 3, 4

HEADER_SENT_BACK = b"AMQP\x00\x00\x09\x01"
CLOSE_SECONDS = 5.0  # the peer's time to answer our connection.close
MISSED_HEARTBEATS = 2.5
HELD, OUTPUT = 2, 4  # beside PASSWORD, why input is not read: too much is held, or unsent
CONNECTION_OPEN = 10 << 16 | 40
SHOWN_BYTES = 16  # of a bad frame, in the text that refuses it


@cython.cclass
class AmqpConnection(FrameWriter):
    """A connection of one user to one virtual host.

    login  the part that speaks until connection.open; None afterwards
    """

    def __init__(self, broker: object, now: float):
        FrameWriter.__init__(self, broker.turn, broker.flow)
        self.broker = broker
        self.vhost = self.user = None
        self.channels = {}
        self.client_properties = {}
        self.login = Handshake(self, broker)
        self.name = self.close_reason = ""
        self.channel_max = broker.config.amqp.channel_max
        self.heartbeat = 0
        self._held_max = broker.config.limits.held_bytes
        self._at, self._state = 0, NEW
        self._last = None
        self._heard = self._sent = self._told_blocked = self._closing_first = False
        self._deadline = now + broker.config.limits.handshake_seconds
        self._last_heard = self._last_sent = now
        self._cut_off_at = 0.0

    @cython.ccall
    @cython.exceptval(-1)
    def receive(self, buffer: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Take the frames in buffer[start:end]; return where the first incomplete one begins."""
        self._heard = True
        at: cython.Py_ssize_t = start
        if self._state == NEW:
            if end - at < 8:
                if not HEADER_SENT_BACK.startswith(bytes(buffer[at : min(end, at + 4)])):
                    self._wrong_protocol()
                    return end
                return at
            if buffer[at : at + 8] != HEADER_SENT_BACK:
                self._wrong_protocol()
                return end
            self._state = HANDSHAKE
            self.login.start()
            at += 8
        self._at = at
        while True:
            try:
                self._frames(buffer, end)
                return end if self.finished else self._at
            except (AmqpError, BrokerError) as error:
                self.fail(rd16(buffer, self._at + 1), error)
                if self._state == CLOSING and isinstance(error, FrameError):
                    return end  # the framing is lost: nothing after it can be read
            self._at += rd32(buffer, self._at + 3) + 8

    @cython.cfunc
    def _frames(self, buffer: bytearray, end: cython.Py_ssize_t):
        """The whole frames up to `end`, from _at on, which follows."""
        at: cython.Py_ssize_t = self._at
        while end - at >= 7 and not self.finished and not self.paused_for:
            kind: cython.int = rd8(buffer, at)
            size: cython.Py_ssize_t = rd32(buffer, at + 3)
            if size > self.frame_bytes - 8:
                raise FrameError(f"type {kind}, all octets = <<>>: {{frame_too_large,{size},{self.frame_bytes - 8}}}")
            if end - at < size + 8:
                break
            if rd8(buffer, at + 7 + size) != 0xCE:
                shown = bytes(buffer[at + 7 : at + 7 + min(size, SHOWN_BYTES)])
                raise FrameError(f"type {kind}, first {len(shown)} octets = {shown!r}: invalid_frame_end_marker")
            self._frame(kind, rd16(buffer, at + 1), buffer, at + 7, at + 7 + size)
            at += size + 8
            self._at = at

    def _wrong_protocol(self) -> None:
        self.write(HEADER_SENT_BACK)
        self.finish()

    @cython.cfunc
    def _frame(self, kind: cython.int, number: cython.int, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """One whole frame."""
        if number != 0 and self._state == OPEN and 1 <= kind <= 3:
            self._on_channel(kind, number, b, at, end)
        elif kind == 8:
            if number != 0:
                raise UnexpectedFrame("heartbeat on another channel than 0")
        elif kind > 3 or kind < 1:
            shown = bytes(b[at : min(end, at + SHOWN_BYTES)])
            raise FrameError(f'type {kind}, all octets = <<"{shown.decode("latin-1")}">>: unknown_frame')
        elif number == 0 and kind == 1:
            self._on_zero(methods.decode(b, at, end))
        elif self._state != CLOSING:
            if number == 0:
                raise UnexpectedFrame("expected method frame, got non method frame instead")
            raise ChannelError("channel used before the connection is open")

    @cython.cfunc
    def _on_channel(
        self, kind: cython.int, number: cython.int, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t
    ):
        channel: Channel = self._last
        if channel is None or channel.number != number:
            channel = self.channels.get(number)
            if channel is None:
                self._open_channel(kind, number, b, at, end)
                return
            self._last = channel
        channel.frame(kind, b, at, end)

    def _open_channel(self, kind: int, number: int, b: bytearray, at: int, end: int) -> None:
        """The first frame on a channel must open it."""
        if kind == 1 and end - at >= 4 and rd32(b, at) == 20 << 16 | 41:
            return  # close-ok of a channel that both ends closed
        if kind != 1 or end - at < 4 or rd32(b, at) != 20 << 16 | 10:
            raise ChannelError("expected 'channel.open'")
        methods.decode(b, at, end)
        if self.channel_max and number > self.channel_max:
            text = f"number of channels opened ({len(self.channels)}) has reached the negotiated channel_max"
            raise AmqpError(530, f"{text} ({self.channel_max})", 20, 10)
        if len(self.channels) >= self.broker.config.limits.channels_per_connection:
            limit = self.broker.config.limits.channels_per_connection
            raise LimitReached(f"number of channels opened on this connection has reached the limit ({limit})")
        user = self.user.name
        self.broker.connections.check_channels(user, self.broker.access.user_limits(user).max_channels)
        self.channels[number] = Channel(number, self, self.broker)
        self.method(number, methods.encode(methods.ChannelOpenOk()))

    def _on_zero(self, method) -> None:
        """A method of the connection class."""
        if self._state == CLOSING:
            if isinstance(method, methods.ConnectionCloseOk):
                self.finish()
            elif isinstance(method, methods.ConnectionClose):
                self.method(0, methods.encode(methods.ConnectionCloseOk()))
        elif isinstance(method, methods.ConnectionClose):
            self._closing_first = True
            self._finish_close()
        elif self._state == HANDSHAKE:
            self.login.take(method)
        elif isinstance(method, methods.ConnectionUpdateSecret):
            self.method(0, methods.encode(methods.ConnectionUpdateSecretOk()))
        elif not isinstance(method, methods.ConnectionCloseOk):
            raise UnknownMethod(f"{method.name} is not a method of a client on an open connection", *method.ids)

    def _finish_close(self) -> None:
        """connection.close: held publishes go in first; then everything of this connection goes, then close-ok."""
        self._guarded_force()
        if any(channel.waiting for channel in self.channels.values()) or self._state == CLOSING:
            return
        self.end(self._say_goodbye)

    def _say_goodbye(self) -> None:
        if not self.finished:
            self.method(0, methods.encode(methods.ConnectionCloseOk()))
            self.finish()

    def _guarded_force(self, *, lost: bool = False) -> None:
        for channel in list(self.channels.values()):
            try:
                channel.force(lost=lost)
            except (AmqpError, BrokerError) as error:
                self.fail(channel.number, error)

    def opened(self, vhost: object, user: object, agreed: tuple) -> None:
        """The handshake is through; `agreed` = (channel_max, heartbeat s)."""
        self.vhost, self.user = vhost, user
        self.channel_max, self.heartbeat = agreed
        self.login = None
        self._deadline = 0.0
        self._state = OPEN
        client = str(self.client_properties.get("connection_name", ""))
        self.name = client or "{}:{}".format(*self.peer_address[:2])
        self.broker.connections.add(self)
        self.flow.listen(self)

    def finish_after(self, seconds: float) -> None:
        """Close the socket a little later, unless it closes by itself."""
        self._deadline = self.broker.clock.monotonic() + seconds

    def understands(self, capability: str) -> bool:
        """Whether the client announced a capability in connection.start-ok."""
        capabilities = self.client_properties.get("capabilities")
        return isinstance(capabilities, dict) and capabilities.get(capability) is True

    def set_client_properties(self, properties: dict) -> None:
        """What the client told of itself."""
        self.client_properties = properties

    def fail(self, number: int, error: Exception) -> None:
        """Answer an error: channel.close or connection.close, and what follows from it."""
        channel = self.channels.get(number)
        if not isinstance(error, AmqpError):
            ids = channel.ids if channel is not None else CONNECTION_OPEN if self._state == HANDSHAKE else 0
            error = translate(error, 0 if channel is None else number, ids >> 16, ids & 0xFFFF)
        if self._state == CLOSING or self.finished:
            return
        if error.scope == "channel" and channel is not None:
            channel.end()
            close = methods.ChannelClose(error.code, error.reply_text, error.class_id, error.method_id)
            self.method(number, methods.encode(close))
            return
        self.close_reason = error.reply_text
        self.close(error.code, error.reply_text, (error.class_id, error.method_id))

    def close(self, code: int, text: str, ids: tuple = (0, 0)) -> None:
        """Close from our side: end everything, tell the client, wait a little for its close-ok."""
        if self.finished or self._state == CLOSING:
            return
        if self._state == NEW:
            self.finish()
            return
        self.end()
        self.method(0, methods.encode(methods.ConnectionClose(code, text, *ids)))
        self._state = CLOSING
        self._deadline = self.broker.clock.monotonic() + CLOSE_SECONDS
        self.resume_input(PASSWORD | HELD)

    def shut_down(self) -> None:
        """connection.close 320, as RabbitMQ says it at a stop."""
        self.close(320, reply_text(320, "broker forced connection closure with reason 'shutdown'"))

    def channel_ended(self, channel: Channel) -> None:
        """A channel's close handshake is through: its number is free."""
        if self.channels.get(channel.number) is channel:
            del self.channels[channel.number]
        self._last = None

    def resume_channel(self, channel: Channel) -> None:
        """What the channel waited for has happened: let it go on, and close if that was waited for."""
        try:
            channel.resume()
        except (AmqpError, BrokerError) as error:
            self.fail(channel.number, error)
        if self._closing_first:
            self._finish_close()

    @cython.ccall
    def holds(self, size: cython.Py_ssize_t):
        """Frames of `size` bytes more (or less) wait in memory: above the bound the socket is not read."""
        self.held_bytes += size
        if self.held_bytes > self._held_max:
            self.pause_input(HELD)
        elif self.paused_for and self.held_bytes <= self._held_max // 2:
            self.resume_input(HELD)
        if size > 0 and self.flow.blocked:
            self._tell_blocked()

    def _tell_blocked(self) -> None:
        if not self._told_blocked and self.understands("connection.blocked"):
            self._told_blocked = True
            self.method(0, methods.encode(methods.ConnectionBlocked(self.flow.reason)))

    def flow_changed(self) -> None:
        """An alarm began or ended: those who publish are told, and held publishes go in when it is over."""
        if self.flow.blocked:
            if any(channel.publishing.active for channel in self.channels.values()):
                self._tell_blocked()
            return
        if self._told_blocked:
            self._told_blocked = False
            self.method(0, methods.encode(methods.ConnectionUnblocked()))
        for channel in list(self.channels.values()):
            self.resume_channel(channel)

    @cython.ccall
    def before_flush(self):
        """Write the confirms that this turn brought."""
        self._sent = True
        if self.congested and self.transport is not None:
            self._bound_output()
        if self.confirming:
            waiting: list = self.confirming
            self.confirming = []
            for item in waiting:
                publishing: Publishing = item
                publishing.write_confirms()

    def _bound_output(self) -> None:
        """Who asks and asks and reads no answer is not heard any more; deliveries alone never fill so much."""
        if self.transport.get_write_buffer_size() > 2 * self.broker.config.limits.output_bytes:
            self.pause_input(OUTPUT)

    def resume_writing(self) -> None:
        """The socket's buffer was drained."""
        FrameWriter.resume_writing(self)
        self.resume_input(OUTPUT)

    def tick(self, now: float) -> None:
        """Heartbeats and time limits; called twice a second."""
        self._close_overdue()
        if self._heard or self.paused_for:  # what is not read cannot be missed
            self._heard, self._last_heard = False, now
        if self._sent:
            self._sent, self._last_sent = False, now
        if self.finished:
            self._cut_off(now)
        elif self._deadline and now >= self._deadline:
            self.close_reason = self.close_reason or "handshake timeout"
            self.finish()
        elif self.heartbeat and self._state == OPEN:
            if now - self._last_heard > self.heartbeat * MISSED_HEARTBEATS:
                self.close_reason = f"missed heartbeats from client, timeout: {self.heartbeat}s"
                self.end()
                self.finish()
            elif now - self._last_sent >= self.heartbeat / 2:
                self.write(HEARTBEAT_FRAME)

    def _close_overdue(self) -> None:
        """Close the channels that hold a delivery for too long. What waits for the disk is no fault of the client."""
        for number, channel in self.channels.items():
            if not (channel.closing or channel.waiting):
                error = channel.consuming.overdue()
                if error is not None:
                    self.fail(number, error)

    def _cut_off(self, now: float) -> None:
        """A peer that does not take what is left for it gets no more time than this."""
        if not self._cut_off_at:
            self._cut_off_at = now + CLOSE_SECONDS
        elif now >= self._cut_off_at and self.transport is not None:
            self.transport.abort()

    def end(self, done: object = None) -> None:
        """End every channel and what belongs to this connection: consumers, unacknowledged, exclusive queues.

        done() is called when all of it is gone: a client that reconnects then meets no queue of its past.
        """
        self.flow.forget(self)
        for channel in list(self.channels.values()):
            if not channel.closing:
                channel.end()
        self.channels = {}
        self._last = None
        self.confirming = []
        if self._state == OPEN:
            self._state = ENDED
            self.broker.connections.discard(self)
            self.broker.topology.connection_gone(self, done)
        elif done is not None:
            done()

    def lost(self) -> None:
        """The socket is gone. What was held goes in as if it had been read before."""
        if self._state == OPEN:
            self._guarded_force(lost=True)
            if self._state == OPEN:
                self.end()
        self._state = ENDED
        self.finished = True
        self.transport = None
