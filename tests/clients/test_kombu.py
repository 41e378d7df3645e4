"""kombu (and py-amqp below it): what Celery, and much else in Python, stands on."""

import socket
import time
import uuid

import amqp
import kombu
import pytest
from kombu.pools import producers
from kombu.transport import native_delayed_delivery as delayed


@pytest.fixture
def kombu_connection(broker):
    """A kombu connection over py-amqp."""
    with kombu.Connection(f"pyamqp://guest:guest@127.0.0.1:{broker.port}//", connect_timeout=10) as connection:
        yield connection


@pytest.fixture
def plain(broker):
    """A py-amqp connection."""
    connection = amqp.Connection(f"127.0.0.1:{broker.port}", "guest", "guest", connect_timeout=10, heartbeat=30)
    connection.connect()
    yield connection
    connection.close()


def drain(connection, got: list, count: int) -> None:
    """Let the connection work until `count` have arrived."""
    while len(got) < count:
        connection.drain_events(timeout=10)


def test_a_producer_declares_publishes_and_a_consumer_gets_it(kombu_connection, name):
    exchange = kombu.Exchange(name, "topic", durable=False, auto_delete=True)
    queue = kombu.Queue(name, exchange, routing_key="a.#", durable=False, exclusive=True)
    got = []

    def take(body, message):
        got.append((body, message.headers.get("h")))
        message.ack()

    with kombu_connection.Consumer(queue, callbacks=[take], accept=["json"], prefetch_count=5):
        with kombu_connection.Producer(serializer="json") as producer:
            for number in range(20):
                producer.publish({"n": number}, "a.b", exchange=exchange, headers={"h": number}, declare=[queue])
        drain(kombu_connection, got, 20)
    assert got == [({"n": number}, number) for number in range(20)]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_simple_queue_puts_and_gets(kombu_connection, name, compression):
    with kombu_connection.SimpleQueue(name) as queue:
        for number in range(5):
            queue.put({"n": number}, compression=compression)
        got = []
        for _ in range(5):
            message = queue.get(timeout=10)
            got.append(message.payload["n"])
            message.ack()
        assert got == list(range(5))
        with pytest.raises(queue.Empty):
            queue.get(block=False)
    kombu_connection.channel().queue_delete(name)


def test_a_confirming_producer_from_a_pool(broker, name):
    options = {"confirm_publish": True}
    with kombu.Connection(f"pyamqp://guest:guest@127.0.0.1:{broker.port}//", transport_options=options) as connection:
        queue = kombu.Queue(name, exclusive=False, durable=True)(connection)
        queue.declare()
        with producers[connection].acquire(block=True) as producer:
            for number in range(10):
                producer.publish(number, name, mandatory=True, delivery_mode="persistent")
        assert [queue.get(no_ack=True).payload for _ in range(10)] == list(range(10))
        assert queue.get(no_ack=True) is None
        queue.delete()


def test_requeue_and_reject(kombu_connection, name):
    queue = kombu.Queue(name, durable=False, auto_delete=False)(kombu_connection)
    queue.declare()
    producer = kombu_connection.Producer()
    producer.publish("1", name)
    first = queue.get()
    first.requeue()
    second = queue.get()
    assert second.delivery_info["redelivered"]
    second.reject()
    assert queue.get() is None
    queue.delete()


def test_a_queue_with_expiry_and_ttl_as_event_receivers_declare_them(kombu_connection, name):
    queue = kombu.Queue(name, durable=False, auto_delete=True, expires=60.0, message_ttl=5.0)
    bound = queue(kombu_connection)
    bound.declare()
    bound.declare()
    bound.delete()


def test_broadcast_reaches_every_receiver(kombu_connection, name):
    got = []
    receivers = [kombu.common.Broadcast(name, unique=True) for _ in range(3)]
    with kombu_connection.Consumer(receivers, callbacks=[lambda body, message: (got.append(body), message.ack())]):
        kombu_connection.Producer().publish("all", exchange=name)
        drain(kombu_connection, got, 3)
    assert got == ["all"] * 3
    kombu.Exchange(name, "fanout")(kombu_connection).delete()


def test_heartbeat_checks_keep_a_kombu_connection(broker):
    with kombu.Connection(f"pyamqp://guest:guest@127.0.0.1:{broker.port}//", heartbeat=2) as connection:
        connection.connect()
        for _ in range(6):
            connection.heartbeat_check()
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.5)
            connection.heartbeat_check()
        assert connection.connected


def test_py_amqp_round_trip(plain, name):
    channel, got = plain.channel(), []
    channel.queue_declare(name, durable=False, auto_delete=True, exclusive=True)
    channel.basic_qos(0, 50, False)
    channel.basic_consume(name, callback=got.append)
    for number in range(20):
        message = amqp.Message(f"{number}", application_headers={"n": number}, delivery_mode=2)
        channel.basic_publish(message, exchange="", routing_key=name)
    drain(plain, got, 20)
    assert [(each.body, each.headers["n"]) for each in got] == [(f"{number}", number) for number in range(20)]
    channel.basic_ack(got[-1].delivery_tag, multiple=True)
    assert channel.queue_declare(name, passive=True).message_count == 0


def test_py_amqp_publishes_with_confirms(broker, name):
    with amqp.Connection(f"127.0.0.1:{broker.port}", confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare(name, exclusive=True)
        channel.basic_publish(amqp.Message("x"), exchange="", routing_key=name)
        assert channel.basic_get(name, no_ack=True).body == "x"


def test_py_amqp_tells_channel_errors_apart(plain, name):
    channel = plain.channel()
    with pytest.raises(amqp.NotFound):
        channel.queue_declare(name, passive=True)
    again = plain.channel()
    again.queue_declare(name, exclusive=True)
    with pytest.raises(amqp.PreconditionFailed):
        again.queue_declare(name, exclusive=True, arguments={"x-message-ttl": 5})
    with pytest.raises(amqp.AccessRefused):
        plain.channel().queue_declare(f"amq.{uuid.uuid4().hex}")


def test_py_amqp_hears_of_returns(plain, name):
    channel, returned = plain.channel(), []
    channel.events["basic_return"].add(lambda *each: returned.append(each))
    channel.basic_publish(amqp.Message("x"), exchange="", routing_key=name, mandatory=True)
    drain(plain, returned, 1)
    error, exchange, key, _ = returned[0]
    assert (error.reply_text, exchange, key) == ("NO_ROUTE", "", name)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_native_delayed_delivery_waits_in_one_queue_for_each_bit(kombu_connection, name, queue_type):
    """What Celery does with quorum queues: the bits of a routing key say in which of 28 queues a task waits."""
    delayed.declare_native_delayed_delivery_exchanges_and_queues(kombu_connection, queue_type, name)
    channel = kombu_connection.channel()
    tasks = kombu.Exchange(f"{name}-tasks", "topic", durable=True)
    queue = kombu.Queue(name, tasks, "work", durable=True, queue_arguments={"x-queue-type": queue_type})(channel)
    queue.declare()
    delayed.bind_queue_to_native_delayed_delivery_exchange(kombu_connection, queue, name)
    got = []

    def take(body, message):
        got.append((body["after"], time.monotonic()))
        message.ack()

    with kombu_connection.Producer(serializer="json") as producer:
        sent = time.monotonic()
        for seconds in (3, 2, 1):
            key = delayed.calculate_routing_key(seconds, "work")
            producer.publish({"after": seconds}, key, exchange=delayed.level_name(delayed.MAX_LEVEL, name))
    with kombu_connection.Consumer(queue, callbacks=[take], accept=["json"]):
        drain(kombu_connection, got, 3)
    assert [after for after, _ in got] == [1, 2, 3]
    assert all(at - sent >= after for after, at in got)
    for level in range(delayed.MAX_LEVEL + 1):
        channel.queue_delete(delayed.level_name(level, name))
