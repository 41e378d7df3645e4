"""A publisher that speaks AMQP over a simulated network to the real connection: this is where publishes are held.

Its bytes arrive in pieces, and not at all while the broker does not read. Bodies are `name-number`, so that what
entered the queue shows whether anything was dropped or came out of order.
"""

from __future__ import annotations

from random import Random
from typing import Any

from protocols.amqp import methods
from protocols.amqp.connection import AmqpConnection
from tests.simulation.life import HELD_BYTES
from tests.simulation.model import Violation

READ_BYTES = 4096
FRAME_BYTES_MAX = 4096 + 64  # one frame that is held, as the connection counts it
PERSISTENT = b"\x10\x00\x02"  # property flags and list: delivery mode 2
CHANNEL = 1


class WirePublisher:
    """One connection with one channel in confirm mode, publishing to one durable queue by its name.

    sent, confirmed = message numbers; phase: open, closing (its close is on its way), closed
    """

    def __init__(self, life: Any, random: Random, name: str, queue: str):
        self.life = life
        self.name = name
        self.queue = queue
        self._random = random
        self._to_broker = bytearray()
        self._from_broker = bytearray()
        self._arriving = self._paused = False
        self.sent = self.confirmed = 0
        self.told_blocked = False
        self.phase = "open"
        broker = life.broker
        self.connection = AmqpConnection(broker, life.loop.time())
        self.connection.transport = self
        self.connection.reader = self
        self.connection.set_client_properties({"capabilities": {"connection.blocked": True}})
        self.connection.opened(life.vhost, broker.access.snapshot.users["guest"], (2047, 0))
        self._send(methods.ChannelOpen(), methods.ConfirmSelect(nowait=True))

    # -- what the client does

    def publish(self, size: int) -> None:
        """Send one persistent message."""
        self.sent += 1
        body = b"%s-%d-" % (self.name.encode(), self.sent)
        body += bytes(size)
        self._send(methods.BasicPublish(routing_key=self.queue.encode()))
        self._frame(2, b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + PERSISTENT)
        for at in range(0, len(body), 4000):
            self._frame(3, body[at : at + 4000])

    def say_goodbye(self, whole_connection: bool) -> None:
        """Say goodbye, to the channel or to the connection: all that was sent before it counts."""
        self.phase = "closing"
        if whole_connection:
            self._frame(1, methods.encode(methods.ConnectionClose(200, "bye")), 0)
        else:
            self._send(methods.ChannelClose(200, "bye"))

    def lose(self) -> None:
        """The network ends the connection; what did not arrive never will."""
        if self.phase != "closed":
            self.phase = "closed"
            self._to_broker.clear()
            self.connection.lost()

    def _send(self, *calls: Any) -> None:
        for call in calls:
            self._frame(1, methods.encode(call))

    def _frame(self, kind: int, payload: bytes, channel: int = CHANNEL) -> None:
        head = bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big")
        self._to_broker += head + payload + b"\xce"
        self._travel()

    # -- the network

    def _travel(self) -> None:
        if not self._arriving and not self._paused and self._to_broker:
            self._arriving = True
            self.life.loop.call_later(self._random.random() * 0.002, self._arrive)

    def _arrive(self) -> None:
        """The broker reads what came, up to some number of bytes."""
        self._arriving = False
        if self._paused or self.phase == "closed":
            return
        size = min(len(self._to_broker), self._random.randint(1, READ_BYTES))
        if self._random.random() < 0.7:
            size = min(len(self._to_broker), READ_BYTES)
        buffer = bytearray(self._to_broker[:size])
        used = self.connection.receive(buffer, 0, size)
        del self._to_broker[:used]
        if self.connection.held_bytes > HELD_BYTES + FRAME_BYTES_MAX:
            raise Violation(f"{self.name}: {self.connection.held_bytes} bytes are held, the limit is {HELD_BYTES}")
        if used or len(self._to_broker) > size:
            self._travel()

    def pause(self) -> None:
        """The connection wants nothing more for now."""
        self._paused = True

    def resume(self) -> None:
        """The connection takes more."""
        if self._paused:
            self._paused = False
            self._travel()

    # -- what the broker says

    def write(self, data: bytes) -> None:
        """Of a transport: the client reads it at once."""
        self._from_broker += data
        while len(self._from_broker) >= 7:
            size = int.from_bytes(self._from_broker[3:7], "big")
            if len(self._from_broker) < size + 8:
                return
            if self._from_broker[0] == 1:
                self._hear(methods.decode(self._from_broker, 7, 7 + size))
            del self._from_broker[: size + 8]

    def writelines(self, pieces: list[Any]) -> None:
        """Of a transport."""
        self.write(b"".join(bytes(piece) for piece in pieces))

    def close(self) -> None:
        """Of a transport: the broker said all that it had to say."""

    def _hear(self, method: Any) -> None:
        if isinstance(method, methods.BasicAck):
            if method.multiple:
                self.confirmed = max(self.confirmed, method.delivery_tag)
            elif method.delivery_tag == self.confirmed + 1:
                self.confirmed += 1
            else:
                raise Violation(f"{self.name}: confirm {method.delivery_tag} came after {self.confirmed}")
            if self.confirmed > self.sent:
                raise Violation(f"{self.name}: confirm {self.confirmed}, but {self.sent} were sent")
        elif isinstance(method, (methods.ConnectionBlocked, methods.ConnectionUnblocked)):
            self.told_blocked = isinstance(method, methods.ConnectionBlocked)
        elif isinstance(method, (methods.ChannelCloseOk, methods.ConnectionCloseOk)):
            self.phase = "said goodbye"
            self.life.observe()
            entered = self.life.entered.get(self.name, 0)
            if entered != self.sent:
                raise Violation(f"{self.name}: {self.sent} messages sent before its close, {entered} were taken in")
        elif isinstance(method, (methods.ChannelClose, methods.ConnectionClose)):
            raise Violation(f"{self.name}: closed by the broker: {method.reply_text}")
