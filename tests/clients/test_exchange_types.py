"""The exchange types that RabbitMQ has as plugins: x-consistent-hash, x-random, x-modulus-hash, x-recent-history.

Runs against RabbitMQ too, if it has rabbitmq_consistent_hash_exchange, .._random_exchange, .._sharding and
.._recent_history_exchange enabled."""

import pika
import pytest

from tests.clients.deliveries import drain

KEYS = [f"key.{number}" for number in range(300)]
CHOOSING = ("x-consistent-hash", "x-random", "x-modulus-hash")


@pytest.fixture
def queues(channel):
    """Four queues that nobody else reads."""
    return [channel.queue_declare("", exclusive=True).method.queue for _ in range(4)]


def bodies(channel, queue):
    return [each.body.decode() for each in drain(channel, queue)]


def refused(connection, name, kind, **options):
    """The text with which an exchange is refused."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        connection.channel().exchange_declare(name, kind, **options)
    assert refusal.value.reply_code == 406
    return refusal.value.reply_text


@pytest.mark.parametrize("kind", CHOOSING)
def test_each_message_goes_to_one_queue_and_all_queues_get_some(channel, name, queues, kind):
    channel.confirm_delivery()
    channel.exchange_declare(name, kind, auto_delete=True)
    for queue in queues:
        channel.queue_bind(queue, name, "10")
    for key in KEYS * 2:
        channel.basic_publish(name, key, key.encode(), mandatory=True)
    got = [bodies(channel, queue) for queue in queues]
    assert sorted(key for each in got for key in each) == sorted(KEYS * 2)
    assert all(len(each) > 75 for each in got)
    together = all(each.count(key) in (0, 2) for each in got for key in KEYS)
    assert together is (kind != "x-random")


def test_weights_are_shares(channel, name, queues):
    channel.exchange_declare(name, "x-consistent-hash", auto_delete=True)
    for queue, weight in zip(queues[:2], ("1", "4"), strict=True):
        channel.queue_bind(queue, name, weight)
    for key in KEYS:
        channel.basic_publish(name, key, b"x")
    light, heavy = (len(bodies(channel, queue)) for queue in queues[:2])
    assert light + heavy == 300 and 30 <= light <= 95


@pytest.mark.parametrize(
    ("arguments", "mark"),
    [
        ({"hash-header": "h"}, lambda value: {"headers": {"h": value, "n": 1}}),
        ({"hash-property": "message_id"}, lambda value: {"message_id": value}),
        ({"hash-property": "correlation_id"}, lambda value: {"correlation_id": value}),
        ({"hash-property": "timestamp"}, lambda value: {"timestamp": int(value[4:])}),
    ],
    ids=["header", "message_id", "correlation_id", "timestamp"],
)
def test_what_is_hashed_can_be_named(channel, name, queues, arguments, mark):
    channel.exchange_declare(name, "x-consistent-hash", auto_delete=True, arguments=arguments)
    for queue in queues:
        channel.queue_bind(queue, name, "1")
    for number, key in enumerate(KEYS * 2):
        channel.basic_publish(name, f"any {number}", key.encode(), pika.BasicProperties(**mark(key)))
    got = [bodies(channel, queue) for queue in queues]
    assert all(len(each) > 75 for each in got)
    assert all(each.count(key) in (0, 2) for each in got for key in KEYS)


def test_hashing_arguments_that_cannot_be(connection, name):
    both = {"hash-header": "h", "hash-property": "message_id"}
    text = refused(connection, name, "x-consistent-hash", arguments=both)
    assert text == "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive"
    text = refused(connection, name, "x-consistent-hash", arguments={"hash-property": "app_id"})
    assert text == "PRECONDITION_FAILED - Unsupported property: app_id"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("abc", 'The binding key must be an integer: <<"abc">>'),
        ("", "The binding key must be an integer: <<>>"),
        ("0", "The binding key must be greater than 0"),
        ("-1", "The binding key must be greater than 0"),
    ],
)
def test_a_weight_that_cannot_be(channel, connection, name, queues, key, text):
    channel.exchange_declare(name, "x-consistent-hash", auto_delete=True)
    binding = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        binding.queue_bind(queues[0], name, key)
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, f"PRECONDITION_FAILED - {text}")


def test_a_new_queue_gets_the_last_messages_and_one_that_was_there_no_more(channel, name, queues):
    channel.exchange_declare(name, "x-recent-history", auto_delete=True, arguments={"x-recent-history-length": 3})
    channel.queue_bind(queues[0], name, "")
    for number in range(5):
        no_store = {"x-recent-history-no-store": number == 3}
        channel.basic_publish(name, f"k{number}", b"%d" % number, pika.BasicProperties(headers=no_store))
    channel.queue_bind(queues[1], name, "whatever")
    assert bodies(channel, queues[0]) == ["0", "1", "2", "3", "4"]
    kept = drain(channel, queues[1])
    assert [each.body for each in kept] == [b"1", b"2", b"4"]
    assert [each.method.routing_key for each in kept] == ["k1", "k2", "k4"]
    channel.basic_publish(name, "", b"new")
    assert bodies(channel, queues[0]) == bodies(channel, queues[1]) == ["new"]


@pytest.mark.parametrize(("length", "shown"), [(0, "0"), (-1, "-1"), ("3", '<<"3">>')])
def test_a_history_length_that_cannot_be(connection, name, length, shown):
    text = refused(connection, name, "x-recent-history", arguments={"x-recent-history-length": length})
    assert text == (
        f"PRECONDITION_FAILED - Invalid argument {shown}, 'x-recent-history-length' must be a positive integer"
    )


@pytest.mark.parametrize("kind", [*CHOOSING, "x-recent-history"])
def test_every_type_can_be_internal_and_goes_with_its_last_binding(channel, connection, name, queues, kind):
    channel.exchange_declare(name, kind, internal=True, auto_delete=True)
    publisher = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        publisher.basic_publish(name, "k", b"x")
        publisher.queue_declare(queues[0], passive=True)
    assert refusal.value.reply_text == f"ACCESS_REFUSED - cannot publish to internal exchange '{name}' in vhost '/'"
    channel.exchange_declare(f"{name}.source", "fanout", auto_delete=True)
    channel.exchange_bind(name, f"{name}.source")
    channel.queue_bind(queues[0], name, "1")
    channel.basic_publish(f"{name}.source", "k", b"through")
    assert bodies(channel, queues[0]) == ["through"]
    channel.queue_unbind(queues[0], name, "1")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.exchange_declare(name, kind, passive=True)
    assert refusal.value.reply_code == 404
