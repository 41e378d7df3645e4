"""What comes back: order, redelivered flag, nack, reject, recover (amqp.md K3, K4)."""

import pytest

from tests.clients.deliveries import Inbox, depth, drain, fill


@pytest.fixture
def queue(channel, name):
    """A queue with ten messages."""
    channel.queue_declare(name, exclusive=True)
    fill(channel, name, [b"%d" % each for each in range(10)])
    return name


def take(channel, queue, count) -> list[int]:
    """Get `count` messages without acks; their tags."""
    return [channel.basic_get(queue)[0].delivery_tag for _ in range(count)]


def left(channel, queue) -> str:
    """The queue's content; an asterisk before what was delivered before."""
    return " ".join(("*" if each.method.redelivered else "") + each.body.decode() for each in drain(channel, queue))


def test_ack_of_one_leaves_the_others(connection, queue):
    reading = connection.channel()
    tags = take(reading, queue, 3)
    reading.basic_ack(tags[1])
    reading.close()
    assert left(connection.channel(), queue) == "*0 *2 3 4 5 6 7 8 9"


def test_ack_multiple_settles_everything_up_to_the_tag(connection, queue):
    reading = connection.channel()
    tags = take(reading, queue, 5)
    reading.basic_ack(tags[2], multiple=True)
    reading.close()
    assert left(connection.channel(), queue) == "*3 *4 5 6 7 8 9"


def test_ack_multiple_of_tag_zero_settles_everything(connection, queue):
    reading = connection.channel()
    take(reading, queue, 5)
    reading.basic_ack(0, multiple=True)
    reading.basic_ack(0, multiple=True)  # nothing left: still no error
    reading.close()
    assert left(connection.channel(), queue) == "5 6 7 8 9"


def test_nack_puts_back_to_the_original_place(channel, queue):
    tags = take(channel, queue, 5)
    for tag in (tags[3], tags[1], tags[4]):
        channel.basic_nack(tag)
    assert left(channel, queue) == "*1 *3 *4 5 6 7 8 9"


def test_nack_multiple_puts_back_everything_up_to_the_tag(channel, queue):
    tags = take(channel, queue, 5)
    channel.basic_nack(tags[2], multiple=True)
    assert left(channel, queue) == "*0 *1 *2 5 6 7 8 9"


def test_nack_multiple_of_tag_zero_puts_back_everything(channel, queue):
    take(channel, queue, 5)
    channel.basic_nack(0, multiple=True)
    assert left(channel, queue) == "*0 *1 *2 *3 *4 5 6 7 8 9"


def test_nack_without_requeue_drops(channel, queue):
    tags = take(channel, queue, 5)
    channel.basic_nack(tags[2], multiple=True, requeue=False)
    channel.basic_nack(tags[3], requeue=True)
    assert left(channel, queue) == "*3 5 6 7 8 9"


def test_reject_puts_back_or_drops_one(channel, queue):
    tags = take(channel, queue, 3)
    channel.basic_reject(tags[0], requeue=False)
    channel.basic_reject(tags[1], requeue=True)
    assert left(channel, queue) == "*1 3 4 5 6 7 8 9"


def test_recover_puts_back_everything_unacked_on_the_channel(connection, channel, queue):
    other = connection.channel()
    take(other, queue, 1)
    take(channel, queue, 3)
    channel.basic_recover(requeue=True)
    assert left(channel, queue) == "*1 *2 *3 4 5 6 7 8 9"


def test_after_recover_the_old_tags_are_unknown(connection, channel, queue):
    inbox = Inbox()
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, inbox)
    inbox.wait(connection, 1)
    channel.basic_recover(requeue=True)
    inbox.wait(connection, 2)
    assert inbox.tags == [1, 2]
    assert inbox.bodies == [b"0", b"0"]
    channel.basic_ack(2)
    assert inbox.wait(connection, 3)[2] == b"1"


def test_a_closed_channel_puts_back_in_order(connection, queue):
    reading = connection.channel()
    take(reading, queue, 4)
    reading.close()
    assert left(connection.channel(), queue) == "*0 *1 *2 *3 4 5 6 7 8 9"


def test_a_closed_connection_puts_back_in_order(connect, channel, name):
    channel.queue_declare(name)
    fill(channel, name, [b"%d" % each for each in range(5)])
    reader = connect()
    take(reader.channel(), name, 3)
    reader.close()
    assert left(channel, name) == "*0 *1 *2 3 4"
    channel.queue_delete(name)


def test_what_two_channels_hold_comes_back_to_its_places(connection, queue):
    first, second = connection.channel(), connection.channel()
    for _ in range(3):
        take(first, queue, 1)
        take(second, queue, 1)
    second.close()
    first.close()
    assert left(connection.channel(), queue) == "*0 *1 *2 *3 *4 *5 6 7 8 9"


def test_a_requeued_message_goes_to_a_consumer_that_has_room(connection, channel, queue):
    channel.queue_purge(queue)
    first, second = Inbox(), Inbox()
    one, two = connection.channel(), connection.channel()
    one.basic_qos(prefetch_count=1)
    one.basic_consume(queue, first)
    fill(channel, queue, [b"x"])
    first.wait(connection, 1)
    two.basic_consume(queue, second)
    one.close()
    assert second.wait(connection, 1) == [b"x"]
    assert second.got[0].method.redelivered


def test_publishing_goes_on_behind_what_comes_back(channel, queue):
    tags = take(channel, queue, 10)
    fill(channel, queue, [b"new"])
    channel.basic_nack(tags[9], multiple=True)
    assert left(channel, queue) == " ".join(f"*{each}" for each in range(10)) + " new"
    assert depth(channel, queue) == 0


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_durable_queues_put_back_alike(connection, channel, name, kind):
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
    fill(channel, name, [b"%d" % each for each in range(4)], delivery_mode=2)
    reading = connection.channel()
    inbox = Inbox()
    reading.basic_qos(prefetch_count=2)
    reading.basic_consume(name, inbox)
    inbox.wait(connection, 2)
    reading.basic_ack(inbox.tags[0])
    inbox.wait(connection, 3)
    reading.close()
    again = Inbox(ack=True)
    channel.basic_consume(name, again)
    assert again.wait(connection, 3) == [b"1", b"2", b"3"]
    assert [each.method.redelivered for each in again.got] == [True, True, False]
    channel.queue_delete(name)
