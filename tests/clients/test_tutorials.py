"""What RabbitMQ's seven public tutorials do, with pika's stock calls: hello to publisher confirms."""

import threading
import uuid

import pika
import pytest

from tests.clients.broker import parameters
from tests.clients.deliveries import Inbox, pump


@pytest.fixture
def open_connection(broker):
    """A connection as the tutorials open one: host and port, nothing else."""
    opened = []

    def connect():
        opened.append(pika.BlockingConnection(pika.ConnectionParameters(host="127.0.0.1", port=broker.port)))
        return opened[-1]

    yield connect
    for each in opened:
        if each.is_open:
            each.close()


@pytest.fixture
def server_thread(broker):
    """server_thread(setup) runs `setup(channel)` and then consumes, in a thread, until the test ends."""
    running = []

    def start(setup):
        ready = threading.Event()
        connection = pika.BlockingConnection(parameters(broker))

        def serve():
            channel = connection.channel()
            setup(channel)
            connection.add_callback_threadsafe(ready.set)
            channel.start_consuming()

        thread = threading.Thread(target=serve)
        thread.start()
        running.append((connection, thread))
        assert ready.wait(10)

    yield start
    for connection, thread in running:
        connection.add_callback_threadsafe(connection.close)
        thread.join(10)
        assert not thread.is_alive()


def subscriber(connection, exchange, kind, *keys) -> Inbox:
    """A server-named exclusive queue bound by these keys, consumed without acks."""
    channel, inbox = connection.channel(), Inbox()
    channel.exchange_declare(exchange=exchange, exchange_type=kind)
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for key in keys:
        channel.queue_bind(exchange=exchange, queue=queue, routing_key=key)
    channel.basic_consume(queue=queue, on_message_callback=inbox, auto_ack=True)
    return inbox


def test_one_hello_world(open_connection, name):
    sender = open_connection()
    channel = sender.channel()
    channel.queue_declare(queue=name)
    channel.basic_publish(exchange="", routing_key=name, body="Hello World!")
    sender.close()
    receiver = open_connection()
    channel, inbox = receiver.channel(), Inbox()
    channel.queue_declare(queue=name)
    channel.basic_consume(queue=name, on_message_callback=inbox, auto_ack=True)
    assert inbox.wait(receiver, 1) == [b"Hello World!"]
    channel.queue_delete(name)


@pytest.mark.parametrize("arguments", [None, {"x-queue-type": "quorum"}], ids=["durable", "quorum"])
def test_two_work_queues_give_the_idle_worker_the_next_task(open_connection, name, arguments):
    workers, inboxes = [open_connection(), open_connection()], [Inbox(), Inbox()]
    channels = []
    for worker, inbox in zip(workers, inboxes, strict=True):
        channel = worker.channel()
        channel.queue_declare(queue=name, durable=True, arguments=arguments)
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue=name, on_message_callback=inbox)
        channels.append(channel)
    sender = open_connection().channel()
    for number in range(6):
        properties = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        sender.basic_publish(exchange="", routing_key=name, body=f"task {number}", properties=properties)
    for worker, inbox in zip(workers, inboxes, strict=True):
        inbox.wait(worker, 1)
    for count in range(2, 6):  # the first worker is busy for ever, the other takes the rest
        channels[1].basic_ack(delivery_tag=inboxes[1].tags[-1])
        inboxes[1].wait(workers[1], count)
    assert len(inboxes[0].got) == 1
    channels[1].basic_ack(delivery_tag=inboxes[1].tags[-1])
    workers[0].close()  # the first dies: its task goes to the other
    inboxes[1].wait(workers[1], 6)
    assert sorted(inboxes[1].bodies) == [b"task %d" % number for number in range(6)]
    channels[1].queue_delete(name)


def test_three_publish_subscribe_reaches_who_listens_now(open_connection, name):
    channel = open_connection().channel()
    channel.exchange_declare(exchange=name, exchange_type="fanout")
    channel.basic_publish(exchange=name, routing_key="", body="nobody listens yet")
    listeners = [open_connection() for _ in range(2)]
    inboxes = [subscriber(each, name, "fanout", "") for each in listeners]
    channel.basic_publish(exchange=name, routing_key="", body="info: Hello World!")
    for listener, inbox in zip(listeners, inboxes, strict=True):
        assert inbox.wait(listener, 1) == [b"info: Hello World!"]
    channel.exchange_delete(name)


def test_four_routing_by_severity(open_connection, name):
    connection = open_connection()
    errors = subscriber(connection, name, "direct", "error")
    everything = subscriber(connection, name, "direct", "info", "warning", "error")
    channel = connection.channel()
    for severity in ("info", "error", "debug", "warning"):
        channel.basic_publish(exchange=name, routing_key=severity, body=severity)
    assert everything.wait(connection, 3) == [b"info", b"error", b"warning"]
    assert errors.wait(connection, 1) == [b"error"]
    channel.exchange_delete(name)


def test_five_topics(open_connection, name):
    connection = open_connection()
    patterns = [["#"], ["kern.*"], ["*.critical"], ["kern.*", "*.critical"]]
    inboxes = [subscriber(connection, name, "topic", *each) for each in patterns]
    channel = connection.channel()
    for key in ("kern.critical", "kern.info", "cron.critical", "cron.info", "kern.a.critical"):
        channel.basic_publish(exchange=name, routing_key=key, body=key)
    expected = [
        ["kern.critical", "kern.info", "cron.critical", "cron.info", "kern.a.critical"],
        ["kern.critical", "kern.info"],
        ["kern.critical", "cron.critical"],
        ["kern.critical", "kern.info", "cron.critical"],
    ]
    for inbox, keys in zip(inboxes, expected, strict=True):
        assert inbox.wait(connection, len(keys)) == [key.encode() for key in keys]
    channel.exchange_delete(name)


def test_six_remote_procedure_call(open_connection, server_thread, name):
    def fibonacci(number):
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    def on_request(channel, method, properties, body):
        channel.basic_publish(
            exchange="",
            routing_key=properties.reply_to,
            properties=pika.BasicProperties(correlation_id=properties.correlation_id),
            body=str(fibonacci(int(body))),
        )
        channel.basic_ack(delivery_tag=method.delivery_tag)

    def serve(channel):
        channel.queue_declare(queue=name)
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue=name, on_message_callback=on_request)

    server_thread(serve)
    connection = open_connection()
    channel, answers = connection.channel(), {}
    callback_queue = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.basic_consume(
        queue=callback_queue,
        on_message_callback=lambda _c, _m, properties, body: answers.update({properties.correlation_id: int(body)}),
        auto_ack=True,
    )
    calls = {}
    for number in (5, 10, 12):
        calls[str(uuid.uuid4())] = number
    for correlation, number in calls.items():
        properties = pika.BasicProperties(reply_to=callback_queue, correlation_id=correlation)
        channel.basic_publish(exchange="", routing_key=name, properties=properties, body=str(number))
    pump(connection, lambda: len(answers) == len(calls))
    assert answers == {correlation: fibonacci(number) for correlation, number in calls.items()}
    channel.queue_delete(name)


def test_seven_publisher_confirms(open_connection, name):
    channel = open_connection().channel()
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.confirm_delivery()
    for number in range(200):
        channel.basic_publish(exchange="", routing_key=queue, body=str(number))
    assert channel.queue_declare(queue, passive=True).method.message_count == 200
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(exchange="", routing_key=name, body="nowhere", mandatory=True)
