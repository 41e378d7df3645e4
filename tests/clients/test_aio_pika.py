"""aio-pika, with its robust connection that comes back after the broker was gone."""

import asyncio
import socket

import aio_pika
import pytest
from aio_pika.exceptions import ChannelClosed, DeliveryError

from tests.clients.raw import WAIT_SECONDS


def url(broker, **options) -> str:
    """The broker as aio-pika wants it."""
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return f"amqp://guest:guest@127.0.0.1:{broker.port}/?{query}"


def run(coroutine):
    """Run with a bound."""
    return asyncio.run(asyncio.wait_for(coroutine, 40))


def test_publish_consume_and_ack(broker, name):
    async def scenario():
        connection = await aio_pika.connect_robust(url(broker))
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=10)
            exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, auto_delete=True)
            queue = await channel.declare_queue(name, exclusive=True)
            await queue.bind(exchange, "a.*")
            for number in range(50):
                message = aio_pika.Message(b"%d" % number, headers={"n": number}, message_id=str(number))
                await exchange.publish(message, "a.b")
            got = []
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        got.append((message.body, message.headers["n"], message.message_id))
                    if len(got) == 50:
                        break
            return got

    assert run(scenario()) == [(b"%d" % number, number, str(number)) for number in range(50)]


def test_many_confirmed_publishes_at_once(broker, name):
    async def scenario():
        async with await aio_pika.connect(url(broker)) as connection:
            channel = await connection.channel(publisher_confirms=True)
            queue = await channel.declare_queue(name, durable=True)
            messages = [aio_pika.Message(b"%d" % n, delivery_mode=aio_pika.DeliveryMode.PERSISTENT) for n in range(200)]
            await asyncio.gather(*(channel.default_exchange.publish(each, name) for each in messages))
            got = [(await queue.get(no_ack=True)).body for _ in range(200)]
            await queue.delete()
            return got

    assert run(scenario()) == [b"%d" % number for number in range(200)]


def test_an_unroutable_publish_raises(broker, name):
    async def scenario():
        async with await aio_pika.connect(url(broker)) as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await channel.default_exchange.publish(aio_pika.Message(b"x"), name)

    with pytest.raises(DeliveryError):
        run(scenario())


def test_a_refused_declare_raises_and_the_connection_goes_on(broker, name):
    async def scenario():
        async with await aio_pika.connect(url(broker)) as connection:
            channel = await connection.channel()
            with pytest.raises(ChannelClosed):
                await channel.declare_queue(name, passive=True)
            other = await connection.channel()
            await other.declare_queue(name, exclusive=True)

    run(scenario())


@pytest.mark.ours
@pytest.mark.timeout(90)
def test_a_robust_consumer_goes_on_after_the_broker_was_restarted(start_broker, name):
    # a fixed port, so that the client finds the broker again
    broker = start_broker(f"listeners.amqp=127.0.0.1:{free_port()}")

    async def scenario():
        connection = await aio_pika.connect_robust(url(broker, reconnect_interval=0.2))
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(name, durable=True)
            arrived: asyncio.Queue = asyncio.Queue()

            async def consume(message):
                await message.ack()
                await arrived.put(message.body)

            await queue.consume(consume)
            for body, how in ((b"before", None), (b"after stop", "stop"), (b"after kill", "kill9")):
                if how:
                    await asyncio.to_thread(getattr(broker, how))
                    await asyncio.to_thread(broker.start)
                async with await aio_pika.connect(url(broker)) as other:
                    publishing = await other.channel()
                    await publishing.default_exchange.publish(aio_pika.Message(body, delivery_mode=2), name)
                got = await asyncio.wait_for(arrived.get(), WAIT_SECONDS)
                while how == "kill9" and got == b"after stop":  # an ack that the kill overtook is a redelivery
                    got = await asyncio.wait_for(arrived.get(), WAIT_SECONDS)
                assert got == body

    run(scenario())


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
