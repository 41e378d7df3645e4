"""pika's other connection classes: SelectConnection and AsyncioConnection, and threads around the blocking one."""

import asyncio
import threading

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection

from tests.clients.broker import parameters
from tests.clients.deliveries import Inbox, pump

COUNT = 50


class RoundTrip:
    """Declare, consume, publish with confirms, ack, close: the same callbacks under any of pika's loops."""

    def __init__(self, queue: str):
        self.queue = queue
        self.got: list[bytes] = []
        self.confirmed: set[int] = set()
        self.closed_with: BaseException | None = None
        self.failed: BaseException | None = None
        self.stop = None  # called when the connection is closed
        self._channel = None

    def opened(self, connection):
        """The connection is open."""
        connection.channel(on_open_callback=self._channel_open)

    def failed_to_open(self, _connection, error):
        """It never was."""
        self.failed = error
        self.stop()

    def closed(self, _connection, reason):
        """The end."""
        self.closed_with = reason
        self.stop()

    def _channel_open(self, channel):
        self._channel = channel
        channel.queue_declare(self.queue, exclusive=True, callback=self._declared)

    def _declared(self, _frame):
        self._channel.basic_qos(prefetch_count=5, callback=self._limited)

    def _limited(self, _frame):
        self._channel.basic_consume(self.queue, self._delivered, callback=self._consuming)

    def _consuming(self, _frame):
        self._channel.confirm_delivery(self._confirmed, callback=self._publish)

    def _publish(self, _frame):
        for number in range(COUNT):
            self._channel.basic_publish("", self.queue, b"%d" % number, mandatory=True)

    def _confirmed(self, frame):
        assert isinstance(frame.method, pika.spec.Basic.Ack)
        first = frame.method.delivery_tag if not frame.method.multiple else 1
        self.confirmed.update(range(first, frame.method.delivery_tag + 1))
        self._finish()

    def _delivered(self, channel, method, _properties, body):
        self.got.append(body)
        channel.basic_ack(method.delivery_tag)
        self._finish()

    def _finish(self):
        if len(self.got) == len(self.confirmed) == COUNT and self._channel.is_open:
            self._channel.connection.close()

    def check(self):
        """Everything came, in order, and the end was ours."""
        assert self.failed is None
        assert self.got == [b"%d" % number for number in range(COUNT)]
        assert self.confirmed == set(range(1, COUNT + 1))
        assert isinstance(self.closed_with, pika.exceptions.ConnectionClosedByClient)


def test_select_connection_does_a_round_trip(broker, name):
    trip = RoundTrip(name)
    connection = pika.SelectConnection(
        parameters(broker),
        on_open_callback=trip.opened,
        on_open_error_callback=trip.failed_to_open,
        on_close_callback=trip.closed,
    )
    trip.stop = connection.ioloop.stop
    connection.ioloop.start()
    trip.check()


def test_asyncio_connection_does_a_round_trip(broker, name):
    trip = RoundTrip(name)

    async def run():
        done = asyncio.get_running_loop().create_future()
        trip.stop = lambda: done.done() or done.set_result(None)
        AsyncioConnection(
            parameters(broker),
            on_open_callback=trip.opened,
            on_open_error_callback=trip.failed_to_open,
            on_close_callback=trip.closed,
        )
        await asyncio.wait_for(done, 20)

    asyncio.run(run())
    trip.check()


def test_a_worker_thread_acks_through_the_connections_thread(connection, channel, name):
    channel.queue_declare(name, exclusive=True)
    channel.basic_qos(prefetch_count=2)
    done = []

    def work(tag, body):
        def settle():
            channel.basic_ack(tag)
            done.append(body)

        connection.add_callback_threadsafe(settle)

    def start(_channel, method, _properties, body):
        threading.Thread(target=work, args=(method.delivery_tag, body)).start()

    channel.basic_consume(name, start)
    for number in range(20):
        channel.basic_publish("", name, b"%d" % number)
    pump(connection, lambda: len(done) == 20)
    assert sorted(done, key=int) == [b"%d" % number for number in range(20)]


def test_a_connection_by_url_finds_its_vhost(broker, name):
    url = f"amqp://guest:guest@127.0.0.1:{broker.port}/%2F?heartbeat=30&connection_attempts=2"
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, exclusive=True)
        inbox = Inbox()
        channel.basic_consume(name, inbox, auto_ack=True)
        channel.basic_publish("", name, b"by url")
        assert inbox.wait(connection, 1) == [b"by url"]


def test_a_nacked_or_unroutable_publish_is_an_exception(channel, name):
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", name, b"x", mandatory=True)
    assert channel.is_open


def test_twenty_connections_come_and_go(connect, name):
    for number in range(20):
        connection = connect(client_properties={"connection_name": f"{name}-{number}"})
        channel = connection.channel()
        channel.queue_declare(name, exclusive=True)
        channel.close()
        connection.close()
