"""Direct reply-to (amqp.md P3): requests and replies without a queue of the requester's own."""

import pika
import pytest

from tests.clients.deliveries import Inbox, drain, pump

PSEUDO = "amq.rabbitmq.reply-to"
ASK = pika.BasicProperties(reply_to=PSEUDO, correlation_id="1")


@pytest.fixture
def served(connection, name):
    """A queue whose consumer answers each request in capitals; gives its name and the reply_to it saw."""
    channel, tokens = connection.channel(), []
    channel.queue_declare(name, exclusive=True)

    def answer(channel, method, properties, body):
        tokens.append(properties.reply_to)
        replied = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, body.upper(), replied)

    channel.basic_consume(name, answer, auto_ack=True)
    return name, tokens


def test_replies_come_to_the_channel_that_asked(connection, served):
    queue, tokens = served
    channels = [connection.channel() for _ in range(2)]
    inboxes = [Inbox() for _ in channels]
    for channel, inbox in zip(channels, inboxes, strict=True):
        channel.basic_consume(PSEUDO, inbox, auto_ack=True)
    for number in range(5):
        for each, channel in enumerate(channels):
            channel.basic_publish("", queue, b"q%d-%d" % (each, number), ASK)
    for each, inbox in enumerate(inboxes):
        assert inbox.wait(connection, 5) == [b"Q%d-%d" % (each, number) for number in range(5)]
        assert {got.properties.correlation_id for got in inbox.got} == {"1"}
        assert inbox.got[0].method.routing_key in tokens and not inbox.got[0].method.redelivered
    assert len(set(tokens)) == 2 and all(token.startswith(PSEUDO + ".") for token in tokens)


def test_a_server_may_ask_whether_the_requester_still_waits(connection, served):
    queue, tokens = served
    channel, other = connection.channel(), connection.channel()
    channel.basic_consume(PSEUDO, Inbox(), auto_ack=True)
    channel.basic_publish("", queue, b"q", ASK)
    pump(connection, lambda: tokens)
    for probed in (PSEUDO, tokens[0]):
        declared = other.queue_declare(probed, passive=True).method
        assert (declared.queue, declared.message_count, declared.consumer_count) == (probed, 0, 1)
    channel.close()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        other.queue_declare(tokens[0], passive=True)
    assert refusal.value.reply_code == 404
    assert refusal.value.reply_text == f"NOT_FOUND - no queue '{tokens[0]}' in vhost '/'"[:255]


def test_a_late_reply_goes_nowhere(connection, channel, name):
    channel.queue_declare(name, exclusive=True)
    asking = connection.channel()
    inbox = Inbox()
    tag = asking.basic_consume(PSEUDO, inbox, auto_ack=True)
    asking.basic_publish("", name, b"q", ASK)
    asking.basic_qos(0)
    (request,) = drain(channel, name)
    channel.basic_publish("", request.properties.reply_to, b"early")
    inbox.wait(connection, 1)
    asking.basic_cancel(tag)
    channel.basic_publish("", request.properties.reply_to, b"late")
    channel.basic_qos(0)
    asking.basic_consume(PSEUDO, inbox, auto_ack=True)
    asking.basic_publish("", name, b"again", ASK)
    asking.basic_qos(0)
    (second,) = drain(channel, name)
    channel.basic_publish("", second.properties.reply_to, b"anew")
    assert inbox.wait(connection, 2) == [b"early", b"anew"]


def test_a_mandatory_reply_to_who_waits_no_more_is_returned(connection, channel, served):
    queue, tokens = served
    asking = connection.channel()
    inbox = Inbox()
    tag = asking.basic_consume(PSEUDO, inbox, auto_ack=True)
    asking.basic_publish("", queue, b"q", ASK)
    inbox.wait(connection, 1)
    channel.confirm_delivery()
    asking.basic_cancel(tag)
    with pytest.raises(pika.exceptions.UnroutableError) as returned:
        channel.basic_publish("", tokens[0], b"late", mandatory=True)
    (message,) = returned.value.messages
    assert (message.method.reply_code, message.method.reply_text) == (312, "NO_ROUTE")
    assert (message.method.exchange, message.method.routing_key, message.body) == ("", tokens[0], b"late")


@pytest.mark.ours  # RabbitMQ returns it although it was delivered: a token is no queue there
def test_a_mandatory_reply_that_arrives_is_not_returned(connection, channel, served):
    queue, tokens = served
    inbox = Inbox()
    channel.basic_consume(PSEUDO, inbox, auto_ack=True)
    channel.basic_publish("", queue, b"q", ASK)
    pump(connection, lambda: tokens)
    answering = connection.channel()
    answering.confirm_delivery()
    answering.basic_publish("", tokens[0], b"again", mandatory=True)
    assert inbox.wait(connection, 2) == [b"Q", b"again"]


REFUSED = {
    "with acks": (lambda c: c.basic_consume(PSEUDO, print), "reply consumer cannot acknowledge"),
    "twice": (
        lambda c: [c.basic_consume(PSEUDO, print, auto_ack=True) for _ in range(2)],
        "reply consumer already set",
    ),
    "published without a consumer": (
        lambda c: (c.basic_publish("", "q", b"", ASK), c.basic_qos(0)),
        "fast reply consumer does not exist",
    ),
    "published after the cancel": (
        lambda c: (
            c.basic_cancel(c.basic_consume(PSEUDO, print, auto_ack=True)),
            c.basic_publish("", "q", b"", ASK),
            c.basic_qos(0),
        ),
        "fast reply consumer does not exist",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_closes_the_channel(channel, case):
    act, text = REFUSED[case]
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        act(channel)
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, f"PRECONDITION_FAILED - {text}")


def test_there_is_nothing_to_get(channel):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.basic_get(PSEUDO)
    assert (refusal.value.reply_code, refusal.value.reply_text) == (
        404,
        f"NOT_FOUND - no queue '{PSEUDO}' in vhost '/'",
    )
