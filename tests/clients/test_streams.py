"""Streams: every consumer reads all of it from where it likes; what is too old or too much goes at the front."""

import datetime

import pika
import pytest

from tests.clients.deliveries import Inbox, depth, fill, pump

STREAM = {"x-queue-type": "stream"}


@pytest.fixture
def stream(channel, name):
    channel.queue_declare(name, durable=True, arguments=STREAM)
    return name


def begin(connection, name, prefetch=100, **arguments):
    """A consumer of its own channel; its inbox."""
    channel, inbox = connection.channel(), Inbox(ack=True)
    channel.basic_qos(prefetch_count=prefetch)
    channel.basic_consume(name, inbox, arguments={key.replace("_", "-"): value for key, value in arguments.items()})
    return inbox


def numbered(first, end):
    return [b"m%d" % at for at in range(first, end)]


@pytest.mark.parametrize(
    ("offset", "first"),
    [("first", 0), ("last", 9), (3, 3), (9, 9), (-1, 0), ("1h", 0), ("1D", 0), (datetime.datetime.now(), 0)],
)
def test_a_consumer_begins_where_it_asks_to(connection, channel, stream, offset, first):
    if isinstance(offset, datetime.datetime):
        offset -= datetime.timedelta(seconds=1000)
    fill(channel, stream, numbered(0, 10))
    inbox = begin(connection, stream, x_stream_offset=offset)
    assert inbox.wait(connection, 10 - first) == numbered(first, 10)
    assert [each.properties.headers["x-stream-offset"] for each in inbox.got] == list(range(first, 10))
    assert not any(each.method.redelivered for each in inbox.got)


@pytest.mark.parametrize("offset", [None, "next", datetime.datetime.now() + datetime.timedelta(hours=1)])
def test_or_with_what_comes_next(connection, channel, stream, offset):
    fill(channel, stream, numbered(0, 10))
    arguments = {} if offset is None else {"x_stream_offset": offset}
    inbox = begin(connection, stream, **arguments)
    fill(channel, stream, numbered(10, 12))
    assert inbox.wait(connection, 2) == numbered(10, 12)


def test_an_offset_to_come_is_waited_for(connection, channel, stream):
    fill(channel, stream, numbered(0, 10))
    inbox = begin(connection, stream, x_stream_offset=11)
    fill(channel, stream, numbered(10, 13))
    assert inbox.wait(connection, 2) == numbered(11, 13)


@pytest.mark.ours  # RabbitMQ counts later
def test_all_consumers_get_all_and_acks_take_nothing_away(connection, channel, stream):
    fill(channel, stream, numbered(0, 50))
    inboxes = [begin(connection, stream, prefetch=7, x_stream_offset="first") for _ in range(3)]
    for inbox in inboxes:
        assert inbox.wait(connection, 50) == numbered(0, 50)
    assert depth(channel, stream) == 50
    assert begin(connection, stream, x_stream_offset="first").wait(connection, 50) == numbered(0, 50)


@pytest.mark.ours  # RabbitMQ ends the connection for a nack or reject
def test_credit_is_given_by_acks_of_any_kind(connection, channel, stream):
    fill(channel, stream, numbered(0, 10))
    mine, inbox = connection.channel(), Inbox()
    mine.basic_qos(prefetch_count=2)
    mine.basic_consume(stream, inbox, arguments={"x-stream-offset": "first"})
    assert inbox.wait(connection, 2) == numbered(0, 2)
    mine.basic_nack(2, multiple=True, requeue=True)
    assert inbox.wait(connection, 4) == numbered(0, 4)
    mine.basic_reject(3, requeue=False)
    assert inbox.wait(connection, 5) == numbered(0, 5)


def test_headers_of_the_publisher_stay(connection, channel, stream):
    fill(channel, stream, [b"x"], headers={"a": 1, "b": "two"}, content_type="text/plain", correlation_id="c")
    inbox = begin(connection, stream, x_stream_offset="first")
    inbox.wait(connection, 1)
    properties = inbox.got[0].properties
    assert properties.headers == {"a": 1, "b": "two", "x-stream-offset": 0}
    assert (properties.content_type, properties.correlation_id) == ("text/plain", "c")


def test_expiration_means_nothing_to_a_stream(connection, channel, stream):
    fill(channel, stream, [b"x"], expiration="0")
    assert begin(connection, stream, x_stream_offset="first").wait(connection, 1) == [b"x"]


@pytest.mark.ours
@pytest.mark.parametrize("durability", [1, 2])
def test_it_is_there_after_a_restart_and_goes_on(start_broker, durability):
    own_broker = start_broker()

    def connect():
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", own_broker.port))

    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare("s", durable=True, arguments=STREAM)
        fill(channel, "s", numbered(0, 600), delivery_mode=2)
        begin(connection, "s", x_stream_offset="first").wait(connection, 600)
    own_broker.stop() if durability == 1 else own_broker.kill9()
    own_broker.start()
    with connect() as connection:
        channel = connection.channel()
        fill(channel, "s", numbered(600, 610), delivery_mode=2)
        assert begin(connection, "s", x_stream_offset=590).wait(connection, 20) == numbered(590, 610)
        assert begin(connection, "s", x_stream_offset="1h").wait(connection, 610) == numbered(0, 610)


@pytest.mark.ours  # RabbitMQ drops whole segments
class TestKept:
    def test_by_size(self, connection, channel, name):
        channel.queue_declare(name, durable=True, arguments={**STREAM, "x-max-length-bytes": 20_000})
        fill(channel, name, [b"%03d" % at + b"x" * 1000 for at in range(100)])
        kept = depth(channel, name)
        assert 10 <= kept <= 20
        inbox = begin(connection, name, x_stream_offset="first")
        assert [body[:3] for body in inbox.wait(connection, kept)] == [b"%03d" % at for at in range(100 - kept, 100)]
        assert inbox.got[0].properties.headers["x-stream-offset"] == 100 - kept

    def test_by_age(self, connection, channel, name):
        channel.queue_declare(name, durable=True, arguments={**STREAM, "x-max-age": "1s"})
        fill(channel, name, numbered(0, 10))
        pump(connection, lambda: depth(channel, name) == 0)
        fill(channel, name, numbered(10, 11))
        assert begin(connection, name, x_stream_offset="first").wait(connection, 1) == numbered(10, 11)

    def test_a_slow_consumer_goes_on_with_what_is_still_there(self, connection, channel, name):
        channel.queue_declare(name, durable=True, arguments={**STREAM, "x-max-length-bytes": 20_000})
        mine, inbox = connection.channel(), Inbox()
        mine.basic_qos(prefetch_count=1)
        mine.basic_consume(name, inbox, arguments={"x-stream-offset": "first"})
        fill(channel, name, [b"%03d" % at + b"x" * 1000 for at in range(100)])
        inbox.wait(connection, 1)
        mine.basic_ack(1)
        assert inbox.wait(connection, 2)[1][:3] > b"070"


TITLE = "queue '{name}' in vhost '/'"
CONSUME = "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for " + TITLE
NO_MORE = " of queue type rabbit_stream_queue"
NO_ACK = "NOT_IMPLEMENTED - automatic acknowledgement not supported by stream queues " + TITLE
REFUSALS = {
    "prefetch": ({"prefetch": 0}, 406, f"PRECONDITION_FAILED - consumer prefetch count is not set for '{TITLE}'"),
    "no ack": ({"no_ack": True}, 540, NO_ACK),
    "priority": ({"x_priority": 5}, 406, f"PRECONDITION_FAILED - invalid arg 'x-priority' for {TITLE}{NO_MORE}"),
    "unit": ({"x_stream_offset": "5x"}, 406, CONSUME + ': {{invalid_stream_offset_arg,{{longstr,<<"5x">>}}}}'),
    "word": ({"x_stream_offset": "abc"}, 406, CONSUME + ': {{invalid_stream_offset_arg,{{longstr,<<"abc">>}}}}'),
    "type": ({"x_stream_offset": True}, 406, CONSUME + ": {{invalid_stream_offset_arg,{{bool,True}}}}"),
}


@pytest.mark.ours  # for two of these RabbitMQ has an internal error
@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_consumer_of_a_stream_cannot_have(connection, stream, case):
    options, code, text = REFUSALS[case]
    options = dict(options)
    no_ack, prefetch = options.pop("no_ack", False), options.pop("prefetch", 10)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=prefetch)
    arguments = {key.replace("_", "-"): value for key, value in options.items()}
    with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)) as caught:
        channel.basic_consume(stream, print, auto_ack=no_ack, arguments=arguments)
    assert (caught.value.reply_code, caught.value.reply_text) == (code, text.format(name=stream))
    assert connection.is_open == (code == 406)


@pytest.mark.parametrize("word", ["basic.get", "queue.purge"])
def test_what_a_stream_does_not_do(connect, stream, word):
    channel = connect().channel()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        channel.basic_get(stream) if word == "basic.get" else channel.queue_purge(stream)
    text = f"NOT_IMPLEMENTED - {word} not supported by stream queues queue '{stream}' in vhost '/'"
    assert (caught.value.reply_code, caught.value.reply_text) == (540, text)


PROPERTY = "PRECONDITION_FAILED - invalid property '{}' for queue '{}' in vhost '/'"


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"durable": False}, "non-durable"),
        ({"exclusive": True}, "exclusive-owner"),
        ({"auto_delete": True}, "auto-delete"),
    ],
)
def test_what_a_stream_cannot_be(connection, name, options, wrong):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        connection.channel().queue_declare(name, **{"durable": True, **options}, arguments=STREAM)
    assert caught.value.reply_text == PROPERTY.format(wrong, name)


ARGUMENTS = [
    ("x-message-ttl", 1000, NO_MORE),
    ("x-expires", 100_000, NO_MORE),
    ("x-max-length", 5, NO_MORE),
    ("x-overflow", "drop-head", NO_MORE),
    ("x-dead-letter-exchange", "", NO_MORE),
    ("x-max-priority", 5, NO_MORE),
    ("x-single-active-consumer", True, NO_MORE),
    ("x-delivery-limit", 3, NO_MORE),
    ("x-queue-mode", "lazy", NO_MORE),
    ("x-max-age", "1x", ": invalid_max_age"),
    ("x-max-age", "1", ": invalid_max_age"),
    pytest.param("x-max-age", "", ": invalid_max_age", marks=pytest.mark.ours),  # RabbitMQ has an internal error
    ("x-max-age", 7, ": {unacceptable_type,signedint}"),
    ("x-max-length-bytes", -1, ": {value_negative,-1}"),
    ("x-stream-max-segment-size-bytes", "a", ': "expected integer, got longstr"'),
]


@pytest.mark.parametrize(("argument", "value", "wrong"), ARGUMENTS)
def test_arguments_that_are_not_for_streams(connection, name, argument, value, wrong):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        connection.channel().queue_declare(name, durable=True, arguments={**STREAM, argument: value})
    text = f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{name}' in vhost '/'{wrong}"
    assert (caught.value.reply_code, caught.value.reply_text) == (406, text)


@pytest.mark.parametrize("age", ["1h", "7D", "5Y", "30s", "2m", "3M"])
def test_arguments_that_are(channel, name, age):
    sizes = {"x-stream-max-segment-size-bytes": 1 << 20, "x-max-length-bytes": 1 << 30}
    arguments = {**STREAM, **sizes, "x-max-age": age, "x-initial-cluster-size": 1, "x-queue-leader-locator": "balanced"}
    for _ in range(2):
        channel.queue_declare(name, durable=True, arguments=arguments)
    channel.queue_delete(name)
