"""What this version does not carry out is refused by name, never silently ignored."""

import pika
import pytest

from tests.clients.deliveries import Inbox

pytestmark = pytest.mark.ours
REFUSED = {
    "carbon copies": lambda c, queue: c.basic_publish("", queue, b"x", pika.BasicProperties(headers={"CC": ["k"]})),
    "blind copies": lambda c, queue: c.basic_publish("", queue, b"x", pika.BasicProperties(headers={"BCC": ["k"]})),
    "direct reply-to": lambda c, queue: c.basic_consume("amq.rabbitmq.reply-to", Inbox(), auto_ack=True),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_later_versions_feature_closes_the_channel_and_nothing_happens(connection, name, case):
    keeper = connection.channel()
    keeper.queue_declare(name, exclusive=True)
    channel = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        REFUSED[case](channel, name)
        channel.queue_declare(name, passive=True)
    assert refusal.value.reply_code == 406
    assert refusal.value.reply_text.startswith("PRECONDITION_FAILED - ")
    assert len(refusal.value.reply_text) > len("PRECONDITION_FAILED - ")
    assert keeper.queue_declare(name, passive=True).method.message_count == 0


def test_an_exchange_argument_of_a_later_version_is_refused(connection, name):
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as refusal:
        connection.channel().exchange_declare(name, "x-delayed-message", arguments={"x-delayed-type": "direct"})
    assert refusal.value.reply_code == 503
