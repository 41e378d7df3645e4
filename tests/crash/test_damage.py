"""A record that is damaged while the broker runs: the queue it belongs to says so; everything else goes on."""

import pika
import pytest

from tests.clients.broker import Broker, parameters
from tests.clients.deliveries import drain, fill
from tests.crash.segments import records


@pytest.fixture
def damaged(tmp_path):
    """A connection to a broker with a queue whose third message of five is unreadable, and a sound one; what is in
    the first has to come from the disk."""
    broker = Broker(tmp_path, "log.tail_bytes=100000").start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for name in ("damaged", "sound"):
            channel.queue_declare(name, durable=True)
            fill(channel, name, [b"%d-" % at + b"x" * 40_000 for at in range(5)], delivery_mode=2)
    large = [record for record in records(broker.data) if record.size > 40_000]
    third = large[2]
    third.damage(third.size // 2)
    connection = pika.BlockingConnection(parameters(broker))
    yield connection
    connection.close()
    broker.stop()


def refused(connection, work):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        work(connection.channel())
    return caught.value.reply_code, caught.value.reply_text


TEXT = "NOT_FOUND - queue 'damaged' in vhost '/' is stopped: a message in it cannot be read"


def test_who_asks_for_what_cannot_be_read_is_told_and_others_are_served(damaged):
    channel = damaged.channel()
    assert [channel.basic_get("damaged", auto_ack=True)[2][:2] for _ in range(2)] == [b"0-", b"1-"]
    assert refused(damaged, lambda channel: channel.basic_get("damaged")) == (404, TEXT)
    assert refused(damaged, lambda channel: channel.basic_get("damaged")) == (404, TEXT)
    assert refused(damaged, lambda channel: channel.basic_consume("damaged", print)) == (404, TEXT)
    assert [each.body[:2] for each in drain(damaged.channel(), "sound")] == [b"%d-" % at for at in range(5)]


def test_a_consumer_is_cancelled_with_a_word(damaged):
    channel = damaged.channel()
    got = [body for _, _, body in channel.consume("damaged", auto_ack=True)]  # ends when the broker cancels
    assert [body[:2] for body in got] == [b"0-", b"1-"] and channel.is_open


@pytest.mark.parametrize("way", ["purge", "delete"])
def test_the_queue_serves_again_once_that_message_is_gone(damaged, way):
    assert len(list(damaged.channel().consume("damaged"))) == 2
    channel = damaged.channel()
    if way == "purge":
        channel.queue_purge("damaged")
    else:
        channel.queue_delete("damaged")
        channel.queue_declare("damaged", durable=True)
    fill(channel, "damaged", [b"new"])
    assert drain(channel, "damaged")[-1].body == b"new"
