"""A queue's past after kill -9: what was confirmed and consumed before is read again, with and without state/."""

import pika
import pytest

from tests.clients.broker import parameters
from tests.clients.deliveries import Inbox, drain, fill
from tests.crash.test_restart import delete_state


@pytest.mark.parametrize("state", ["kept", "deleted"])
def test_what_was_consumed_is_there_after_a_kill(broker, state):
    broker.start()
    bodies = [b"%d" % number for number in range(2000)]
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    fill(channel, "q", bodies[:1500], delivery_mode=2)
    assert len(drain(channel, "q")) == 1500
    fill(channel, "q", bodies[1500:], delivery_mode=2)
    replay(connection, 100)
    broker.kill9()
    if state == "deleted":
        delete_state(broker)
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        assert replay(connection, 2000).wait(connection, 2000) == bodies
        assert replay(connection, 700, 1300).wait(connection, 700) == bodies[1300:]


def replay(connection, count, offset="first"):
    channel, inbox = connection.channel(), Inbox(ack=True)
    channel.basic_qos(prefetch_count=100)
    channel.basic_consume("q", inbox, arguments={"x-stream-offset": offset})
    inbox.wait(connection, count)
    return inbox
