"""Deliveries that nobody acknowledges in time (amqp.md §2, Q11): off by default; who says how long."""

import pika
import pytest

from tests.clients.broker import parameters
from tests.clients.deliveries import Inbox, drain, fill, pump
from tests.clients.test_policies import operator_policy, policy, reload

pytestmark = pytest.mark.ours
TEXT = (
    "PRECONDITION_FAILED - delivery acknowledgement on channel {} timed out. Timeout value used: {} ms. "
    "This timeout value can be configured, see consumers doc guide to learn more"
)
TIMEOUT = "x-consumer-timeout"


@pytest.fixture
def opened(start_broker):
    """opened(*settings, **definitions) gives a broker of the test's own and a connection to it."""
    connections = []

    def start(*settings, **definitions):
        broker = start_broker(*settings, definitions=definitions)
        connections.append(pika.BlockingConnection(parameters(broker)))
        return broker, connections[-1]

    yield start
    for each in connections:
        if each.is_open:
            each.close()


def hold(connection, queue, arguments=None):
    """Consume one message on a channel of its own, and never ack it."""
    channel, inbox = connection.channel(), Inbox()
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, inbox, arguments=arguments)
    inbox.wait(connection, 1)
    return channel


def closed_by(connection, channel):
    """Wait until the channel is closed and return why."""
    reasons = []
    channel.add_on_cancel_callback(lambda frame: None)
    channel._impl.add_on_close_callback(lambda _, reason: reasons.append(reason))
    pump(connection, lambda: reasons, what=lambda: "channel.close")
    return reasons[0].reply_code, reasons[0].reply_text


def test_a_channel_that_keeps_a_delivery_too_long_is_closed_and_the_message_comes_again(opened):
    broker, connection = opened("amqp.consumer_timeout=100")
    other = connection.channel()
    other.queue_declare("q")
    fill(other, "q", [b"1", b"2"])
    channel = hold(connection, "q")
    assert closed_by(connection, channel) == (406, TEXT.format(channel.channel_number, 100))
    assert [(each.body, each.method.redelivered) for each in drain(other, "q")] == [(b"1", True), (b"2", False)]
    assert broker.metric("mq_consumer_timeouts_total") == 1


def test_a_message_that_was_got_counts_as_one_that_was_delivered(opened):
    _, connection = opened("amqp.consumer_timeout=100")
    channel = connection.channel()
    channel.queue_declare("q")
    fill(channel, "q", [b"1"])
    channel.basic_get("q")
    assert closed_by(connection, channel) == (406, TEXT.format(channel.channel_number, 100))


def test_a_consumers_argument_beats_the_queues_which_beats_the_configuration(opened):
    _, connection = opened("amqp.consumer_timeout=100")
    channel = connection.channel()
    channel.queue_declare("slow", arguments={TIMEOUT: 3_600_000})
    channel.queue_declare("quick", arguments={TIMEOUT: 90})
    for queue in ("slow", "quick"):
        fill(channel, queue, [b"1", b"2", b"3"])
    kept = [hold(connection, "slow"), hold(connection, "quick", {TIMEOUT: 0})]
    for queue, arguments, used in (("slow", {TIMEOUT: 80}, 80), ("quick", None, 90), ("slow", {TIMEOUT: 70}, 70)):
        closing = hold(connection, queue, arguments)
        assert closed_by(connection, closing) == (406, TEXT.format(closing.channel_number, used))
    for each in kept:
        each.basic_qos(prefetch_count=2)  # a round trip: it is open
        assert each.is_open


def test_of_argument_policy_and_operator_policy_the_least_counts_at_once(opened):
    rules = {"policies": [policy("p", "", {"consumer-timeout": 3_600_000}, "queues")]}
    broker, connection = opened(**rules)
    channel = connection.channel()
    for queue, timeout in (("a", 60), ("b", 7_200_000)):
        channel.queue_declare(queue, arguments={TIMEOUT: timeout})
        fill(channel, queue, [b"1"])
    first, second = hold(connection, "a"), hold(connection, "b")
    assert closed_by(connection, first) == (406, TEXT.format(first.channel_number, 60))
    reload(broker, **rules, parameters=[operator_policy("o", "", {"consumer-timeout": 50})])
    assert closed_by(connection, second) == (406, TEXT.format(second.channel_number, 50))


@pytest.mark.parametrize(
    ("value", "wrong"),
    [(0, "{value_zero,0}"), (-1, "{value_negative,-1}"), ("1", '"expected integer, got longstr"')],
)
def test_a_timeout_that_cannot_be_is_refused(opened, value, wrong):
    _, connection = opened()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        connection.channel().queue_declare("q", arguments={TIMEOUT: value})
    text = f"PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': {wrong}"
    assert (refused.value.reply_code, refused.value.reply_text) == (406, text)
    if value != 0:  # a consumer's 0 = no timeout
        channel = connection.channel()
        channel.queue_declare("q")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            channel.basic_consume("q", Inbox(), arguments={TIMEOUT: value})
        assert refused.value.reply_text == text


def test_a_stream_has_no_timeout_of_its_own(opened):
    _, connection = opened()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        arguments = {TIMEOUT: 1000, "x-queue-type": "stream"}
        connection.channel().queue_declare("s", durable=True, arguments=arguments)
    text = "invalid arg 'x-consumer-timeout' for queue 's' in vhost '/' of queue type rabbit_stream_queue"
    assert refused.value.reply_text == f"PRECONDITION_FAILED - {text}"
