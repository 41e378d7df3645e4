"""What comes before and after the load: AMQP 0-9-1's handshake, declarations and the frames of a publish, blocking.

| type | channel | size | payload | 0xCE |     a method's payload: class u16 | method u16 | arguments
"""

from __future__ import annotations

import socket
import struct

CONNECT_SECONDS = 20.0
FRAME_BYTES_MAX = 128 << 10  # what we agree to at most
VHOST = "/"
METHOD, HEADER, BODY, FRAME_END = 1, 2, 3, b"\xce"
DURABLE_BIT, NO_ACK_BIT, NOWAIT_BIT, DECLARE_NOWAIT_BIT = 2, 2, 8, 16
PERSISTENT, TRANSIENT = 2, 1


class LoadError(Exception):
    """The broker refused, or did what the load did not expect: the run counts for nothing. The text says what."""


def short(text: str) -> bytes:
    """A short string: its length in one byte, then its bytes."""
    data = text.encode()
    return bytes([len(data)]) + data


def long(data: bytes) -> bytes:
    """A long string or a table: its length in four bytes, then its bytes."""
    return struct.pack(">I", len(data)) + data


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """One frame on the wire."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + FRAME_END


def arguments_table(arguments: dict[str, int | str]) -> bytes:
    """A table of 64-bit integers and strings."""
    table = b""
    for name, value in arguments.items():
        table += short(name)
        table += b"S" + long(value.encode()) if isinstance(value, str) else b"l" + struct.pack(">q", value)
    return long(table)


def publish_frames(
    exchange: str,
    key: str,
    body: bytes,
    *,
    persistent: bool,
    priority: int | None = None,
    expiration: str = "",
    delay_ms: int = 0,
) -> tuple[bytes, int]:
    """All frames of one basic.publish on channel 1, and where in them the body begins. delay_ms: its x-delay."""
    method = struct.pack(">HHH", 60, 40, 0) + short(exchange) + short(key) + b"\0"
    flags, properties = 0x1000, bytes([PERSISTENT if persistent else TRANSIENT])
    if delay_ms:
        flags, properties = flags | 0x2000, arguments_table({"x-delay": delay_ms}) + properties
    if priority is not None:
        flags, properties = flags | 0x0800, properties + bytes([priority])
    if expiration:
        flags, properties = flags | 0x0100, properties + short(expiration)
    header = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
    head = frame(METHOD, 1, method) + frame(HEADER, 1, header)
    size = FRAME_BYTES_MAX - 8
    bodies = [frame(BODY, 1, body[at : at + size]) for at in range(0, len(body), size)]
    return head + b"".join(bodies), len(head) + 7


class Session:
    """One connection, logged in with PLAIN, with channel 1 open. A context: leaving it closes the socket."""

    def __init__(self, address: tuple[str, int], user: str = "guest", password: str = "guest") -> None:
        self.sock = socket.create_connection(address, CONNECT_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""
        try:
            self._open(user, password)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def _open(self, user: str, password: str) -> None:
        self.sock.sendall(b"AMQP\0\0\x09\x01")
        self._await((10, 10))
        able = (b"publisher_confirms", b"basic.nack", b"consumer_cancel_notify", b"connection.blocked")
        capabilities = b"".join(short(name.decode()) + b"t\x01" for name in able)
        properties = short("product") + b"S" + long(b"bench") + short("capabilities") + b"F" + long(capabilities)
        login = short("PLAIN") + long(f"\0{user}\0{password}".encode()) + short("en_US")
        self._send(0, (10, 11), long(properties) + login)
        channels, frame_bytes, _ = struct.unpack(">HIH", self._await((10, 30)))
        frame_bytes = min(frame_bytes or FRAME_BYTES_MAX, FRAME_BYTES_MAX)
        if frame_bytes < FRAME_BYTES_MAX:
            raise LoadError(f"the broker allows frames of {frame_bytes} bytes only")
        self._send(0, (10, 31), struct.pack(">HIH", channels, frame_bytes, 0))  # no heartbeats
        self._send(0, (10, 40), short(VHOST) + b"\0\0")
        self._await((10, 41))
        self.call((20, 10), b"\0")

    def call(self, method: tuple[int, int], arguments: bytes) -> bytes:
        """Send a method on channel 1 and return the arguments of its -ok, which has the next number."""
        self._send(1, method, arguments)
        return self._await((method[0], method[1] + 1))

    def declare_queue(self, name: str, *, durable: bool, arguments: dict[str, int | str] | None = None) -> None:
        """Declare a queue that lives until it is deleted."""
        bits = DURABLE_BIT if durable else 0
        self.call((50, 10), b"\0\0" + short(name) + bytes([bits]) + arguments_table(arguments or {}))

    def declare_queues(self, names: list[str]) -> None:
        """Declare durable queues in one go."""
        more = bytes([DURABLE_BIT | DECLARE_NOWAIT_BIT]) + arguments_table({})
        for name in names:
            self._send(1, (50, 10), b"\0\0" + short(name) + more)
        self.declare_queue(names[-1], durable=True)

    def declare_fanout(self, name: str, queues: list[str]) -> None:
        """Declare a transient fan-out exchange that is bound to all these queues."""
        self.call((40, 10), b"\0\0" + short(name) + short("fanout") + b"\0" + long(b""))
        for queue in queues:
            self.call((50, 20), b"\0\0" + short(queue) + short(name) + short("") + b"\0" + long(b""))

    def delete_queue(self, name: str) -> None:
        """Delete a queue with what is in it."""
        self.call((50, 40), b"\0\0" + short(name) + b"\0")

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange with its bindings."""
        self.call((40, 20), b"\0\0" + short(name) + b"\0")

    def confirm(self) -> None:
        """From here on the broker confirms what is published."""
        self.call((85, 10), b"\0")

    def select_transactions(self) -> None:
        """From here on what is published waits for tx.commit."""
        self.call((90, 10), b"")

    def consume(self, *queues: str, prefetch: int) -> None:
        """Start consumers with manual acks and that prefetch each, or (prefetch 0) without acks. Not waited for."""
        if prefetch:
            self.call((60, 10), struct.pack(">IHB", 0, prefetch, 0))
        bits = bytes([NOWAIT_BIT | (0 if prefetch else NO_ACK_BIT)])
        for at, queue in enumerate(queues):
            self._send(1, (60, 20), b"\0\0" + short(queue) + short(f"bench-{at}") + bits + long(b""))

    def _send(self, channel: int, method: tuple[int, int], arguments: bytes) -> None:
        self.sock.sendall(frame(METHOD, channel, struct.pack(">HH", *method) + arguments))

    def _await(self, method: tuple[int, int]) -> bytes:
        while True:
            kind, payload = self._next_frame()
            if kind != METHOD:
                continue  # a heartbeat, or a content that nobody counts any more
            name = struct.unpack_from(">HH", payload)
            if name == method:
                return payload[4:]
            if name in ((10, 50), (20, 40)):
                code, size = struct.unpack_from(">HB", payload, 4)
                raise LoadError(f"{code} {payload[7 : 7 + size].decode(errors='replace')}")

    def _next_frame(self) -> tuple[int, bytes]:
        while True:
            if len(self.unread) >= 8:
                kind, _, size = struct.unpack_from(">BHI", self.unread)
                if len(self.unread) >= size + 8:
                    payload, self.unread = self.unread[7 : 7 + size], self.unread[8 + size :]
                    return kind, payload
            data = self.sock.recv(1 << 16)
            if not data:
                raise LoadError("the broker closed the connection without a word")
            self.unread += data
