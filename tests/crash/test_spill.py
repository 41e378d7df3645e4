"""What transient queues have on the disk ends with the broker, however that ends."""

import pika

from tests.clients.broker import parameters, until
from tests.clients.deliveries import pour


def spilled(broker, queue):
    """Have a transient queue put messages on the disk; return the files."""
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.queue_declare(queue)
    pour(channel, queue, [bytes(1000)] * 2000)
    until(lambda: broker.metric("mq_spill_messages") > 500)
    return list((broker.data / "spill").iterdir())


def test_a_killed_broker_leaves_nothing_to_the_next(broker):
    broker.options.append(f"limits.transient_bytes={64 << 10}")
    broker.start()
    assert spilled(broker, "q")
    broker.kill9()
    folder = broker.data / "spill"
    assert list(folder.iterdir())
    broker.start()
    assert list(folder.iterdir()) == []
    assert spilled(broker, "q")
    broker.stop()
    assert list(folder.iterdir()) == []
