"""The consuming side of one channel: consume, cancel, get, deliveries, acks and qos (spec 1.8.3)."""

from __future__ import annotations

import cython

from core.errors import AccessRefused, LimitReached, NotAllowed, NotFound, NotSupported, PreconditionFailed
from core.queue.replays import Replay
from core.quorum import QuorumQueue
from core.state.arguments import CONSUMER_TIMEOUT, PRIORITY, STREAM_OFFSET
from core.stream import Stream
from protocols.amqp.errors import AmqpError
from protocols.amqp.methods import (
    BasicCancel,
    BasicCancelOk,
    BasicConsumeOk,
    BasicGetEmpty,
    BasicGetOk,
    BasicQosOk,
    BasicRecoverOk,
    encode,
)

if cython.compiled:
    from cython.cimports.core.consume import Unacked
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.consumer import Consumer, Gate, Source
    from cython.cimports.core.queue.delivery import Queue
    from cython.cimports.protocols.amqp.frames import FrameWriter
else:
    from core.consume import Unacked
    from core.message import Message
    from core.queue.consumer import Consumer, Gate, Source
    from core.queue.delivery import Queue
    from protocols.amqp.frames import FrameWriter

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
PIPELINED = cython.declare(cython.Py_ssize_t, 8)  # deliveries in hand that a consumer acks without waiting


@cython.cclass
class AmqpConsumer(Consumer):
    """One basic.consume."""

    def __init__(self, queue: Source, consuming: Consuming, tag: str, options: tuple):
        Consumer.__init__(self, queue, consuming.gate)
        self.no_ack, self.exclusive, self.arguments = options
        self.priority = self.arguments.get(PRIORITY, 0)
        self.timeout_ms = self.arguments.get(CONSUMER_TIMEOUT, -1)
        self.prefetch = 0 if self.no_ack else consuming.prefetch
        self.output = consuming.output
        self.held = consuming.held
        self._consuming = consuming
        self.channel = consuming.channel
        self.tag = tag
        encoded = tag.encode()
        self._tag_bytes = bytes([len(encoded)]) + encoded
        self._unacked_max = consuming.broker.config.limits.unacked_per_channel

    @cython.ccall
    @cython.exceptval(-1)
    def can_take(self) -> cython.bint:
        """Whether it has credit and its connection takes more in this turn."""
        if self.output.full():
            self.stalled = True
            self.output.stalled.append(self)
            return False
        if self.held.count >= self._unacked_max and not self.no_ack:
            self.close_out()
            return False
        return Consumer.can_take(self)

    @cython.ccall
    def deliver(self, message: Message, offset: cython.longlong, redelivered: cython.bint):
        """basic.deliver. A no_ack delivery takes a tag, and nothing is remembered."""
        tag: cython.longlong = self.held.add(None if self.no_ack else self, offset)
        self.output.deliver(self.channel, self._tag_bytes, tag, redelivered, message)

    def gone(self) -> None:
        """Tell the client if it announced that it understands (consumer_cancel_notify)."""
        self._consuming.queue_gone(self)


@cython.cclass
class Getter(Consumer):
    """One basic.get: takes one message, now or when it was read from the disk. done() lets the channel go on."""

    def __init__(self, queue: Queue, consuming: Consuming, no_ack: bool, done: object):
        Consumer.__init__(self, queue, Gate())
        self.no_ack = no_ack
        self._consuming = consuming
        self._waiting_gate = consuming.gate
        self.output = consuming.output
        self.held = consuming.held
        self.channel = consuming.channel
        self._done = done

    @cython.ccall
    def deliver(self, message: Message, offset: cython.longlong, redelivered: cython.bint):
        """basic.get-ok with the content."""
        tag: cython.longlong = self.held.add(None if self.no_ack else self, offset)
        ok = BasicGetOk(tag, redelivered, message.exchange, message.routing_key, self.queue.ready)
        self.output.method(self.channel, encode(ok))
        self.output.content(self.channel, message)
        self._done()

    def gone(self) -> None:
        """The queue has stopped while this waited for the disk (one that was deleted has nothing)."""
        self._consuming.connection.fail(self.channel, stopped(self.queue, self._consuming.vhost))

    def nothing(self) -> None:
        """basic.get-empty."""
        self.output.method(self.channel, encode(BasicGetEmpty()))
        self._done()

    @cython.ccall
    def release(self):
        """It holds no credit and is in no ring; but the channel holds one message less."""
        self.unacked -= 1
        if self._waiting_gate.closed_out:
            self._waiting_gate.open()


@cython.final
@cython.cclass
class Consuming:
    """A channel's consumers and what they hold unacknowledged.

    prefetch  basic.qos for consumers to come (global_ false); the gate's limit is the one all share (global_ true)
    replies      the queue behind this channel's reply-to token, or None
    publishing   the channel's other side, which puts that token into requests
    transaction  holds what is settled on a channel in tx mode; else None
    """

    def __init__(self, output: FrameWriter, channel: int, broker: object, session: tuple):
        self.output = output
        self.channel = channel
        self.broker = broker
        self.vhost, self.user, self.connection = session
        self.held = Unacked(broker.clock)
        self.gate = Gate()
        self.consumers = {}
        self.prefetch = 0
        self.transaction = self.replies = self.publishing = None
        self._cancel_notify = self.connection.understands("consumer_cancel_notify")

    @cython.ccall
    def settle(self, method: cython.int, tag: cython.longlong, bits: cython.int):
        """basic.ack, basic.reject and basic.nack; `bits` as the method's last octet."""
        held: Unacked = self.held
        settled: cython.int
        if self.transaction is not None:
            settled = self._settle_later(method, tag, bits)
        elif method == 80:
            settled = held.acknowledge(tag, bits & 1)
        elif method == 120:
            if bits & 2:
                settled = held.give_back(tag, bits & 1)
            else:
                settled = held.reject(tag, bits & 1)
        elif bits & 1:
            settled = held.give_back(tag, False)
        else:
            settled = held.reject(tag, False)
        self.output.pipelined = held.count >= PIPELINED
        if settled == -2:
            raise PreconditionFailed(f"unknown delivery tag {tag % (1 << 64)}")  # the wire's tags are unsigned

    def _settle_later(self, method: int, tag: int, bits: int) -> int:
        """settle() in a transaction: -2 = no such tag; the rest is for the commit."""
        taken = self.held.take(tag, method != 90 and bool(bits & 1))
        if taken is None:
            return -2
        requeue = bits & 2 if method == 120 else bits & 1
        self.transaction.settle(taken, 0 if method == 80 else 1 if requeue else 2)
        return len(taken)

    def qos(self, method) -> None:
        """basic.qos: a limit per consumer started after it, or (global_) one that all of the channel share at once."""
        if method.prefetch_size:
            raise AmqpError(540, f"prefetch_size!=0 ({method.prefetch_size})", *method.ids)
        if method.global_:
            self.gate.limit = method.prefetch_count
            self.gate.open()
        else:
            self.prefetch = method.prefetch_count
        self.output.method(self.channel, encode(BasicQosOk()))

    def consume(self, method, name: str) -> None:
        """basic.consume on the queue `name`."""
        tag = method.consumer_tag or self.broker.random_name("amq.ctag-")
        if tag in self.consumers:
            raise NotAllowed(f"attempt to reuse consumer tag '{tag}'")
        if name == DIRECT_REPLY_TO:
            self._consume_replies(method, tag)
            return
        queue = self._readable(name)
        self.broker.topology.check_consumer(self.vhost, queue, method.arguments)
        if STREAM_OFFSET in method.arguments and not isinstance(queue, Stream):
            self._consume_past(method, queue, tag)
            return
        if method.exclusive and (queue.consumers or queue.ring.single):
            raise in_exclusive_use(queue, self.vhost)
        if any(consumer.exclusive for consumer in queue.consumers):
            raise in_exclusive_use(queue, self.vhost)
        self._check_count()
        options = (method.no_ack, method.exclusive, method.arguments)
        consumer = self._new_consumer(queue, tag, options)
        if not method.nowait:
            self.output.method(self.channel, encode(BasicConsumeOk(tag)))
        self.consumers[tag] = consumer
        queue.add_consumer(consumer)
        self.broker.topology.consumer_added(self.vhost, queue)

    def _check_count(self) -> None:
        limit = self.broker.config.limits.consumers_per_channel
        if len(self.consumers) >= limit:
            raise LimitReached(f"number of consumers on this channel has reached the limit ({limit})")

    def _consume_past(self, method, queue: Queue, tag: str) -> None:
        """basic.consume with x-stream-offset on a queue that is no stream: a copy of what it received. It is no
        consumer of the queue, and takes nothing from those that are."""
        from protocols.amqp import streaming  # it builds on this module

        self._check_count()
        title = f"queue '{queue.name}' in vhost '{self.vhost.name}'"
        streaming.check_replay(title, method, self.prefetch)
        place = streaming.place_of(title, method.arguments, self.broker.clock.ms)
        replay = self.broker.past.of_queue(queue, *place)
        consumer = streaming.StreamConsumer(replay, self, tag, (False, False, method.arguments))
        if not method.nowait:
            self.output.method(self.channel, encode(BasicConsumeOk(tag)))
        self.consumers[tag] = consumer
        replay.begin(consumer)
        self.broker.topology.queue_used(self.vhost, queue)

    def _consume_replies(self, method, tag: str) -> None:
        """basic.consume on the pseudo-queue of direct reply-to."""
        if not method.no_ack:
            raise PreconditionFailed("reply consumer cannot acknowledge")
        if self.replies is not None:
            raise PreconditionFailed("reply consumer already set")
        self.replies = self.broker.replies.open(self.vhost, DIRECT_REPLY_TO + ".")
        self.publishing.replies_go_to(self.replies.name.encode())
        consumer = AmqpConsumer(self.replies, self, tag, (True, False, {}))
        if not method.nowait:
            self.output.method(self.channel, encode(BasicConsumeOk(tag)))
        self.consumers[tag] = consumer
        self.replies.add_consumer(consumer)

    def _new_consumer(self, queue: Queue, tag: str, options: tuple) -> AmqpConsumer:
        from protocols.amqp import counting, streaming  # they build on this module

        if isinstance(queue, QuorumQueue):
            return counting.CountedConsumer(queue, self, tag, options)
        if not isinstance(queue, Stream):
            return AmqpConsumer(queue, self, tag, options)
        no_ack, _, arguments = options
        title = f"queue '{queue.name}' in vhost '{self.vhost.name}'"
        streaming.check_consume(title, no_ack, self.prefetch)
        place = streaming.place_of(title, arguments, self.broker.clock.ms)
        consumer = streaming.StreamConsumer(queue, self, tag, options)
        queue.place(consumer, *place)
        return consumer

    def cancel(self, method) -> None:
        """basic.cancel: what it holds stays ackable; an unknown tag is answered just the same."""
        consumer = self.consumers.pop(method.consumer_tag, None)
        if consumer is not None:
            self._remove(consumer)
        if not method.nowait:
            self.output.method(self.channel, encode(BasicCancelOk(method.consumer_tag)))

    def _remove(self, consumer: AmqpConsumer) -> None:
        queue = consumer.queue
        if isinstance(queue, Replay):
            queue.close()
            self._leave_output(consumer)
            return
        queue.remove_consumer(consumer)
        self._leave_output(consumer)
        if queue is self.replies:
            self.replies = None
            self.publishing.replies_go_to(None)
            self.broker.replies.close(self.vhost, queue)
            self.broker.metrics.absorb(queue)
        elif not queue.deleted:
            self.broker.topology.consumer_gone(self.vhost, queue)

    def _leave_output(self, consumer: AmqpConsumer) -> None:
        """A socket may take nothing for long: those that wait for it and are gone must not pile up."""
        if consumer.stalled and consumer in self.output.stalled:
            self.output.stalled.remove(consumer)

    def get(self, method, name: str, done) -> Getter | None:
        """basic.get. done() is called when it was answered; a Getter is returned while it waits for the disk."""
        queue = self._readable(name)
        if isinstance(queue, Stream):
            raise NotSupported(f"basic.get not supported by stream queues queue '{name}' in vhost '{self.vhost.name}'")
        if any(consumer.exclusive for consumer in queue.consumers):
            raise in_exclusive_use(queue, self.vhost)
        self.broker.topology.queue_used(self.vhost, queue)
        getter = self._new_getter(queue, method.no_ack, done)
        queue.park(getter)
        return getter

    def _new_getter(self, queue: Queue, no_ack: bool, done) -> Getter:
        if not isinstance(queue, QuorumQueue):
            return Getter(queue, self, no_ack, done)
        from protocols.amqp import counting  # it builds on this module

        return counting.CountedGetter(queue, self, no_ack, done)

    def _readable(self, name: str) -> Queue:
        self.broker.access.check(self.user.name, self.vhost.name, "queue", name, "read")
        queue = self.broker.topology.queue(self.vhost, name, self.connection)
        if queue.stopped:
            raise stopped(queue, self.vhost)
        return queue

    def recover(self, method) -> None:
        """basic.recover: requeue everything unacknowledged."""
        if not method.requeue:
            raise AmqpError(540, "requeue=false", *method.ids)
        self.held.return_all()
        if method.synchronous:
            self.output.method(self.channel, encode(BasicRecoverOk()))

    def overdue(self) -> AmqpError | None:
        """The error of a channel whose oldest delivery was not acknowledged in time (RabbitMQ's consumer_timeout)."""
        oldest = self.held.oldest()
        if oldest is None:
            return None
        consumer, delivered_ms = oldest
        timeout_ms = consumer.timeout_ms
        if timeout_ms < 0:
            timeout_ms = consumer.queue.settings.consumer_timeout_ms
        if timeout_ms < 0:
            timeout_ms = self.broker.config.amqp.consumer_timeout
        if timeout_ms == 0 or self.broker.clock.tick() - delivered_ms <= timeout_ms:
            return None
        self.broker.metrics.consumer_timeouts += 1
        return AmqpError(
            406,
            f"delivery acknowledgement on channel {self.channel} timed out. Timeout value used: {timeout_ms} ms. "
            "This timeout value can be configured, see consumers doc guide to learn more",
        )

    def queue_gone(self, consumer: AmqpConsumer) -> None:
        """A consumer's queue was deleted under it."""
        self.consumers.pop(consumer.tag, None)
        self._leave_output(consumer)
        if self._cancel_notify and not self.output.finished:
            self.output.method(self.channel, encode(BasicCancel(consumer.tag, True)))

    def close(self) -> None:
        """The channel ends: its consumers go, and what it holds goes back in order."""
        if self.transaction is not None:
            self.transaction.roll_back()
        consumers, self.consumers = self.consumers, {}
        for consumer in consumers.values():
            consumer.cancelled = True
        self.held.return_all()
        for consumer in consumers.values():
            self._remove(consumer)


def in_exclusive_use(queue: Queue, vhost) -> AccessRefused:
    """The error of one consumer too many."""
    return AccessRefused(f"queue '{queue.name}' in vhost '{vhost.name}' in exclusive use")


def stopped(queue: Queue, vhost) -> NotFound:
    """The error of a queue that cannot deliver (RabbitMQ has 404 as well for a queue that is down)."""
    return NotFound(f"queue '{queue.name}' in vhost '{vhost.name}' is stopped: a message in it cannot be read")
