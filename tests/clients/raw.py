"""AMQP 0-9-1 frame by frame over a bare socket, for what no well-behaved client sends.

pika's generated codec writes and reads the methods, so that it is independent of the broker's own.
"""

import socket
import struct
import time
from typing import NamedTuple

from pika import frame, spec

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = b"\xce"
WAIT_SECONDS = 10
CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class Ended(AssertionError):
    """The broker ended the connection where the test expected more."""


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    channel: int
    payload: bytes


def encode_frame(kind: int, channel: int, payload: bytes, end: bytes = FRAME_END) -> bytes:
    """One frame's bytes; `end` can be wrong on purpose."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def encode_method(method, channel: int = 0) -> bytes:
    """A method frame's bytes."""
    return frame.Method(channel, method).marshal()


def content_header(size: int, properties: bytes = b"\x00\x00") -> bytes:
    """Payload of a basic content header; `properties` = flags and values, already encoded."""
    return struct.pack(">HHQ", spec.Basic.INDEX, 0, size) + properties


def encode_content(channel: int, body: bytes, properties: bytes = b"\x00\x00", frame_max: int = 131072) -> bytes:
    """Header and body frames of one message."""
    room = frame_max - 8
    frames = [encode_frame(HEADER, channel, content_header(len(body), properties))]
    frames += [encode_frame(BODY, channel, body[at : at + room]) for at in range(0, len(body), room)]
    return b"".join(frames)


def decode_method(payload: bytes):
    """The method of a method frame's payload."""
    return spec.methods[struct.unpack_from(">I", payload)[0]]().decode(payload, 4)


class RawConnection:
    """A socket that speaks frames. Reads fail after WAIT_SECONDS; an orderly end and a reset both read as None."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = bytearray()
        self.start: spec.Connection.Start | None = None
        self.tune: spec.Connection.Tune | None = None

    def close(self) -> None:
        """Drop the socket without a word."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are. A peer that has gone already is for the next read to tell."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_method(self, method, channel: int = 0) -> None:
        """One method frame."""
        self.send(encode_method(method, channel))

    def call(self, method, answer, channel: int = 1):
        """Send a method and return its answer."""
        self.send_method(method, channel)
        return self.expect(answer, channel)

    def _fill(self, size: int, deadline: float) -> bool:
        while len(self._unread) < size:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionResetError:
                return False
            if not data:
                return False
            self._unread += data
        return True

    def read_bytes(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer when the peer ends before."""
        self._fill(size, time.monotonic() + WAIT_SECONDS)
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data

    def read_frame(self, seconds: float = WAIT_SECONDS) -> Frame | None:
        """The next frame, or None when the peer ended the connection. TimeoutError after `seconds`."""
        deadline = time.monotonic() + seconds
        if not self._fill(7, deadline):
            return None
        kind, channel, size = struct.unpack_from(">BHI", self._unread)
        if not self._fill(size + 8, deadline):
            return None
        payload = bytes(self._unread[7 : 7 + size])
        assert self._unread[7 + size] == 0xCE, "the broker's frame ends wrongly"
        del self._unread[: size + 8]
        return Frame(kind, channel, payload)

    def read_method(self, channel: int | None = None):
        """The next frame that is no heartbeat, decoded; it must be a method, on `channel` when given."""
        while (got := self.read_frame()) is not None and got.kind == HEARTBEAT:
            pass
        if got is None:
            raise Ended
        assert got.kind == METHOD, got
        if channel is not None:
            assert got.channel == channel, got
        return decode_method(got.payload)

    def expect(self, kind, channel: int = 1):
        """The next method, which must be of this class."""
        method = self.read_method(channel)
        assert isinstance(method, kind), method
        return method

    def read_content(self, channel: int = 1) -> tuple[bytes, bytes]:
        """The content that follows a deliver, return or get-ok: (property flags and values, body)."""
        if (head := self.read_frame()) is None:
            raise Ended
        assert (head.kind, head.channel) == (HEADER, channel), head
        size = struct.unpack_from(">Q", head.payload, 4)[0]
        body = bytearray()
        while len(body) < size:
            if (part := self.read_frame()) is None:
                raise Ended
            assert (part.kind, part.channel) == (BODY, channel), part
            body += part.payload
        assert len(body) == size
        return head.payload[12:], bytes(body)

    def start_ok(self, user="guest", password="guest", mechanism="PLAIN", capabilities=None) -> spec.Connection.StartOk:
        """The login."""
        response = f"\0{user}\0{password}"
        properties = {"product": "raw", "capabilities": CAPABILITIES if capabilities is None else capabilities}
        return spec.Connection.StartOk(
            client_properties=properties, mechanism=mechanism, response=response, locale="en_US"
        )

    def login(self, **login) -> "RawConnection":
        """Protocol header and login, up to the broker's tune."""
        self.send(PROTOCOL_HEADER)
        self.start = self.expect(spec.Connection.Start, 0)
        self.send_method(self.start_ok(**login))
        self.tune = self.expect(spec.Connection.Tune, 0)
        return self

    def open(self, vhost="/", frame_max=131072, heartbeat=0, channel_max=2047, **login) -> "RawConnection":
        """The whole handshake, and channel 1."""
        self.login(**login)
        self.send_method(spec.Connection.TuneOk(channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat))
        self.send_method(spec.Connection.Open(virtual_host=vhost))
        self.expect(spec.Connection.OpenOk, 0)
        self.open_channel(1)
        return self

    def open_channel(self, number: int) -> None:
        """channel.open and its answer."""
        self.call(spec.Channel.Open(), spec.Channel.OpenOk, number)

    def closed_with(self, seconds: float = WAIT_SECONDS) -> tuple[int, str] | None:
        """Read on to connection.close, answer it and wait for the end: (code, text); None = ended without a close."""
        deadline = time.monotonic() + seconds
        reason = None
        while (got := self.read_frame(max(0.001, deadline - time.monotonic()))) is not None:
            method = decode_method(got.payload) if got.kind == METHOD else None
            if isinstance(method, spec.Connection.Close):
                reason = method.reply_code, method.reply_text
                self.send_method(spec.Connection.CloseOk())
        return reason

    def serves(self, channel: int = 1) -> bool:
        """A round trip on the channel works."""
        self.call(spec.Basic.Qos(prefetch_count=0), spec.Basic.QosOk, channel)
        return True
