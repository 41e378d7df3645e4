"""The same client without asyncio: every method waits. One thread of its own runs the loop of all clients of a process.

`with Producer("group") as producer: producer.send(Message("topic", b"body"))`. Methods take what those of the same
name in corduroy.client do, and raise the same.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack

from corduroy.client import admin as _admin
from corduroy.client import pop_consumer as _pop
from corduroy.client import producer as _producer
from corduroy.client import pull_consumer as _pull
from corduroy.client import push_consumer as _push
from corduroy.client import transactions as _transactions
from corduroy.client.listening import Listener
from corduroy.client.messages import Message, SendResult
from corduroy.client.remoting import NAME_SERVERS, ClientOptions
from corduroy.client.subscriptions import ALL, TAG

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")


class Loop:
    """An event loop in a thread, started when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        """Run it there."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="corduroy-client", daemon=True).start()
                atexit.register(self._loop.call_soon_threadsafe, self._loop.stop)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run it there and wait. An interrupt ends the work, too."""
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


LOOP = Loop()


def waits(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    """The same method, waiting for its result."""

    def wait(self: Any, /, *arguments: P.args, **named: P.kwargs) -> R:
        return LOOP.run(method(self._client, *arguments, **named))

    wait.__doc__ = method.__doc__
    wait.__name__ = method.__name__
    return wait


class _Client(Generic[C]):
    """What all of them have."""

    _client: C

    def start(self) -> Self:
        """Begin."""
        LOOP.run(self._client.start())  # type: ignore[attr-defined]
        return self

    def stop(self) -> None:
        """End; see the asyncio client's stop()."""
        LOOP.run(self._client.stop())  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


async def _made(make: Callable[[], C]) -> C:
    """Clients are made on the loop that they live on."""
    return make()


class Producer(_Client[_producer.Producer]):
    """corduroy.client.Producer, waiting."""

    def __init__(
        self,
        group: str = "DEFAULT_PRODUCER",
        name_servers: str = NAME_SERVERS,
        **options: Unpack[_producer.ProducerOptions],
    ):
        self._client = LOOP.run(_made(lambda: _producer.Producer(group, name_servers, **options)))

    queues = waits(_producer.Producer.queues)
    send = waits(_producer.Producer.send)
    send_batch = waits(_producer.Producer.send_batch)
    send_one_way = waits(_producer.Producer.send_one_way)
    recall = waits(_producer.Producer.recall)
    request = waits(_producer.Producer.request)
    reply = waits(_producer.Producer.reply)

    def send_async(self, message: Message, **how: Any) -> Future[SendResult]:
        """send() without waiting: its result, or what it raises, comes in the future; callbacks run in the client's
        thread and must not wait."""
        return LOOP.submit(self._client.send(message, **how))


class TransactionProducer(Producer):
    """corduroy.client.TransactionProducer, waiting. `check` and what is executed run in threads."""

    def __init__(
        self,
        group: str,
        check: _transactions.Check,
        name_servers: str = NAME_SERVERS,
        **options: Unpack[_producer.ProducerOptions],
    ):
        make = _transactions.TransactionProducer
        self._client = LOOP.run(_made(lambda: make(group, check, name_servers, **options)))

    send_transaction = waits(_transactions.TransactionProducer.send_transaction)


class PullConsumer(_Client[_pull.PullConsumer]):
    """corduroy.client.PullConsumer, waiting."""

    def __init__(self, group: str, name_servers: str = NAME_SERVERS, **options: Unpack[ClientOptions]):
        self._client = LOOP.run(_made(lambda: _pull.PullConsumer(group, name_servers, **options)))

    queues = waits(_pull.PullConsumer.queues)
    pull = waits(_pull.PullConsumer.pull)
    min_offset = waits(_pull.PullConsumer.min_offset)
    max_offset = waits(_pull.PullConsumer.max_offset)
    offset_at = waits(_pull.PullConsumer.offset_at)
    committed = waits(_pull.PullConsumer.committed)
    commit = waits(_pull.PullConsumer.commit)


class PopConsumer(_Client[_pop.PopConsumer]):
    """corduroy.client.PopConsumer, waiting."""

    def __init__(
        self, group: str, name_servers: str = NAME_SERVERS, from_max: bool = False, **options: Unpack[ClientOptions]
    ):
        self._client = LOOP.run(_made(lambda: _pop.PopConsumer(group, name_servers, from_max, **options)))

    pop = waits(_pop.PopConsumer.pop)
    ack = waits(_pop.PopConsumer.ack)
    change_invisible = waits(_pop.PopConsumer.change_invisible)


class PushConsumer(_Client[_push.PushConsumer]):
    """corduroy.client.PushConsumer; its listener is a plain function and runs in threads."""

    def __init__(
        self,
        group: str,
        listener: Listener,
        name_servers: str = NAME_SERVERS,
        **options: Unpack[_push.PushConsumerOptions],
    ):
        self._client = LOOP.run(_made(lambda: _push.PushConsumer(group, listener, name_servers, **options)))

    def subscribe(self, topic: str, expression: str = ALL, kind: str = TAG) -> None:
        """Read a topic. Before start()."""
        self._client.subscribe(topic, expression, kind)


class Admin(_Client[_admin.Admin]):
    """corduroy.client.Admin, waiting."""

    def __init__(self, name_servers: str = NAME_SERVERS, **options: Unpack[ClientOptions]):
        self._client = LOOP.run(_made(lambda: _admin.Admin(name_servers, **options)))

    clusters = waits(_admin.Admin.clusters)
    masters = waits(_admin.Admin.masters)
    broker_config = waits(_admin.Admin.broker_config)
    update_broker_config = waits(_admin.Admin.update_broker_config)
    runtime_info = waits(_admin.Admin.runtime_info)
    broker_stats = waits(_admin.Admin.broker_stats)
    wipe_write_perm = waits(_admin.Admin.wipe_write_perm)
    add_write_perm = waits(_admin.Admin.add_write_perm)
    topics = waits(_admin.Admin.topics)
    route = waits(_admin.Admin.route)
    create_topic = waits(_admin.Admin.create_topic)
    delete_topic = waits(_admin.Admin.delete_topic)
    topic_config = waits(_admin.Admin.topic_config)
    topic_stats = waits(_admin.Admin.topic_stats)
    groups_of = waits(_admin.Admin.groups_of)
    groups = waits(_admin.Admin.groups)
    create_group = waits(_admin.Admin.create_group)
    delete_group = waits(_admin.Admin.delete_group)
    group_config = waits(_admin.Admin.group_config)
    topics_of = waits(_admin.Admin.topics_of)
    consumer_connections = waits(_admin.Admin.consumer_connections)
    producer_connections = waits(_admin.Admin.producer_connections)
    running_info = waits(_admin.Admin.running_info)
    consume_stats = waits(_admin.Admin.consume_stats)
    reset_offset = waits(_admin.Admin.reset_offset)
    reset_queue_offset = waits(_admin.Admin.reset_queue_offset)
    message = waits(_admin.Admin.message)
    messages_by_key = waits(_admin.Admin.messages_by_key)
    put_kv = waits(_admin.Admin.put_kv)
    get_kv = waits(_admin.Admin.get_kv)
    delete_kv = waits(_admin.Admin.delete_kv)
