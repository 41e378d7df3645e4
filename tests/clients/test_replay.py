"""x-stream-offset on queues that are no streams: a copy of what they received, whoever consumed it since."""

import datetime

import pika
import pytest

from tests.clients.deliveries import Inbox, depth, drain, fill, pump

pytestmark = pytest.mark.ours  # RabbitMQ refuses the argument on other queues than streams
KINDS = {
    "classic": {},
    "quorum": {"x-queue-type": "quorum"},
    "priorities": {"x-max-priority": 5},
    "single active": {"x-single-active-consumer": True},
    "limited": {"x-max-length": 5},
    "expiring": {"x-message-ttl": 1},
}


@pytest.fixture
def queue(channel, name):
    channel.queue_declare(name, durable=True)
    return name


def begin(connection, name, offset="first", prefetch=100, **options):
    """A consumer of its own channel; its inbox."""
    channel, inbox = connection.channel(), Inbox(ack=True)
    channel.basic_qos(prefetch_count=prefetch)
    channel.basic_consume(name, inbox, arguments={"x-stream-offset": offset}, **options)
    return inbox


def numbered(first, end):
    return [b"m%d" % at for at in range(first, end)]


def offsets(inbox):
    return [each.properties.headers["x-stream-offset"] for each in inbox.got]


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_a_queue_received_is_there_whatever_became_of_it(connection, channel, name, kind):
    channel.queue_declare(name, durable=True, arguments=KINDS[kind])
    fill(channel, name, numbered(0, 50), delivery_mode=2)
    drain(channel, name)
    pump(connection, lambda: depth(channel, name) == 0)
    inbox = begin(connection, name)
    assert inbox.wait(connection, 50) == numbered(0, 50)
    assert offsets(inbox) == list(range(50))
    assert not any(each.method.redelivered for each in inbox.got)
    fill(channel, name, numbered(50, 53), delivery_mode=2)
    assert inbox.wait(connection, 53) == numbered(0, 53)


@pytest.mark.parametrize(
    ("offset", "first"),
    [
        ("first", 0),
        ("last", 9),
        ("next", 10),
        (3, 3),
        (9, 9),
        (-1, 0),
        ("1h", 0),
        ("1D", 0),
        (datetime.datetime.now(), 0),
    ],
)
@pytest.mark.parametrize("taken", [0, 5, 10])
def test_it_begins_where_it_asks_to(connection, channel, queue, offset, first, taken):
    if isinstance(offset, datetime.datetime):
        offset -= datetime.timedelta(seconds=1000)
    fill(channel, queue, numbered(0, 10))
    for _ in range(taken):
        channel.basic_get(queue, auto_ack=True)
    inbox = begin(connection, queue, offset)
    fill(channel, queue, numbered(10, 12))
    assert inbox.wait(connection, 12 - first) == numbered(first, 12)
    assert depth(channel, queue) == 12 - taken


def test_consumers_get_all_that_they_would_without_it(connection, channel, queue):
    fill(channel, queue, numbered(0, 50))
    replays = [begin(connection, queue, prefetch=7) for _ in range(3)]
    for replay in replays:
        replay.wait(connection, 50)
    assert depth(channel, queue) == 50
    taker = Inbox(ack=True)
    channel.basic_consume(queue, taker, exclusive=True)
    assert taker.wait(connection, 50) == numbered(0, 50)
    assert not any(each.method.redelivered for each in taker.got)
    again = begin(connection, queue)
    fill(channel, queue, numbered(50, 60))
    for inbox in (taker, again, *replays):
        assert inbox.wait(connection, 60) == numbered(0, 60)


@pytest.mark.parametrize("settle", ["ack", "nack", "reject", "close"])
def test_what_it_settles_changes_nothing_in_the_queue(connection, channel, name, settle):
    channel.queue_declare(name, durable=True, arguments={**KINDS["quorum"], "x-delivery-limit": 1})
    fill(channel, name, numbered(0, 10))
    mine, inbox = connection.channel(), Inbox()
    mine.basic_qos(prefetch_count=4)
    mine.basic_consume(name, inbox, arguments={"x-stream-offset": "first"})
    assert inbox.wait(connection, 4) == numbered(0, 4)
    if settle == "close":
        mine.close()
    else:
        if settle == "ack":
            mine.basic_ack(4, multiple=True)
        elif settle == "nack":
            mine.basic_nack(4, multiple=True, requeue=True)
        else:
            for tag in range(1, 5):
                mine.basic_reject(tag, requeue=False)
        assert inbox.wait(connection, 8) == numbered(0, 8)
    got = drain(channel, name)
    assert [each.body for each in got] == numbered(0, 10)
    assert {each.properties.headers["x-delivery-count"] for each in got} == {0}


def test_acks_in_a_transaction_give_credit_when_it_commits(connection, channel, queue):
    fill(channel, queue, numbered(0, 10))
    mine, inbox = connection.channel(), Inbox()
    mine.tx_select()
    mine.basic_qos(prefetch_count=2)
    mine.basic_consume(queue, inbox, arguments={"x-stream-offset": "first"})
    inbox.wait(connection, 2)
    mine.basic_ack(2, multiple=True)
    mine.tx_rollback()
    mine.basic_ack(2, multiple=True)
    mine.tx_commit()
    assert inbox.wait(connection, 4) == numbered(0, 4)
    assert depth(channel, queue) == 10


def test_messages_are_as_they_were_published_however_large(connection, channel, queue):
    bodies = [b"small", b"x" * 3_000_000, b"", b"y" * 1_100_000]
    fill(channel, queue, bodies, headers={"a": 1}, content_type="text/plain", message_id="m")
    drain(channel, queue)
    inbox = begin(connection, queue)
    assert inbox.wait(connection, 4) == bodies
    for number, each in enumerate(inbox.got):
        assert each.properties.headers == {"a": 1, "x-stream-offset": number}
        assert (each.properties.content_type, each.properties.message_id) == ("text/plain", "m")
        assert (each.method.exchange, each.method.routing_key) == ("", queue)


def test_a_cancelled_one_gets_no_more_and_the_queue_may_go(connection, channel, queue):
    fill(channel, queue, numbered(0, 100))
    mine, inbox = connection.channel(), Inbox()
    mine.basic_qos(prefetch_count=5)
    tag = mine.basic_consume(queue, inbox, arguments={"x-stream-offset": "first"})
    inbox.wait(connection, 5)
    mine.basic_cancel(tag)
    mine.basic_ack(5, multiple=True)
    fill(channel, queue, [b"more"])
    assert inbox.bodies == numbered(0, 5)
    cancelled = []
    mine.add_on_cancel_callback(cancelled.append)
    mine.basic_consume(queue, inbox, arguments={"x-stream-offset": "next"})
    channel.queue_delete(queue, if_unused=True)
    pump(connection, lambda: cancelled)


TITLE = "queue '{name}' in vhost '/'"
OFFSET = "with 'x-stream-offset' for " + TITLE
INVALID = "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for " + TITLE
REFUSALS = {
    "prefetch": ({"prefetch": 0}, 406, f"PRECONDITION_FAILED - consumer prefetch count is not set for '{TITLE}'"),
    "no ack": ({"auto_ack": True}, 540, f"NOT_IMPLEMENTED - automatic acknowledgement not supported {OFFSET}"),
    "exclusive": ({"exclusive": True}, 540, f"NOT_IMPLEMENTED - exclusive consumer not supported {OFFSET}"),
    "priority": (
        {"x-priority": 5},
        406,
        f"PRECONDITION_FAILED - invalid arg 'x-priority' for {TITLE}: it cannot be with 'x-stream-offset'",
    ),
    "unit": ({"x-stream-offset": "5x"}, 406, INVALID + ': {{invalid_stream_offset_arg,{{longstr,<<"5x">>}}}}'),
    "type": ({"x-stream-offset": True}, 406, INVALID + ": {{invalid_stream_offset_arg,{{bool,True}}}}"),
    "transient": ({"durable": False}, 406, f"PRECONDITION_FAILED - {TITLE} is transient: nothing of its past is kept"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_it_cannot_have(connection, channel, name, case):
    options, code, text = REFUSALS[case]
    options = {"prefetch": 10, "durable": True, "x-stream-offset": "first", **options}
    channel.queue_declare(name, durable=options.pop("durable"))
    mine = connection.channel()
    mine.basic_qos(prefetch_count=options.pop("prefetch"))
    arguments = {key: options.pop(key) for key in list(options) if key.startswith("x-")}
    with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)) as caught:
        mine.basic_consume(name, print, arguments=arguments, **options)
    assert (caught.value.reply_code, caught.value.reply_text) == (code, text.format(name=name))
    assert connection.is_open == (code == 406)


def test_there_are_as_many_as_the_limit_allows_and_metrics_tell(start_broker, open_channel):
    broker = start_broker("limits.replays=2")
    channel = open_channel(broker)
    connection = channel.connection
    channel.queue_declare("q", durable=True)
    fill(channel, "q", numbered(0, 20))
    drain(channel, "q")
    first, second = begin(connection, "q"), begin(connection, "q", prefetch=3)
    first.wait(connection, 20)
    second.wait(connection, 20)
    assert broker.metric("mq_replays") == 2 and broker.metric("mq_replays_behind") == 0
    assert broker.metric("mq_replay_messages_total") == 40 and broker.metric("mq_replay_read_bytes_total") > 0
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        begin(connection, "q")
    text = "PRECONDITION_FAILED - number of replays has reached the limit (2)"
    assert (caught.value.reply_code, caught.value.reply_text) == (406, text)
    connection.close()
    again = open_channel(broker).connection
    begin(again, "q").wait(again, 20)
