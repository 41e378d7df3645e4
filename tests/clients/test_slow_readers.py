"""A consumer that does not read: what the broker holds for it is bounded by limits.output_bytes (rule 8.10)."""

import socket

import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.deliveries import depth, fill
from tests.clients.raw import RawConnection

BODY_BYTES = 64 << 10
MESSAGES = 768  # 48 MiB
OUTPUT_BYTES = 16 << 20
KERNEL_BYTES = 8 << 20  # what the sockets' own buffers hold of it, at most: tcp_wmem and tcp_rmem


@pytest.mark.ours
def test_what_is_held_for_a_consumer_that_does_not_read_is_bounded(start_broker, open_channel):
    broker = start_broker(f"limits.output_bytes={OUTPUT_BYTES}")
    channel = open_channel(broker)
    channel.queue_declare("q")
    fill(channel, "q", [bytes(BODY_BYTES)] * MESSAGES)
    slow = RawConnection(broker.port)
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.open()
    slow.send_method(spec.Basic.Consume(queue="q", no_ack=True), 1)

    def sent():
        return (MESSAGES - depth(channel, "q")) * BODY_BYTES

    until(lambda: sent() >= OUTPUT_BYTES, what="as much as may be held is on its way")
    for _ in range(50):  # turns, in each of which more would go
        depth(channel, "q")
    assert sent() <= OUTPUT_BYTES + KERNEL_BYTES
    slow.close()
