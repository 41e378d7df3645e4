"""Clients at the core's own API: what a protocol's channel would do, and the model told of every step."""

from __future__ import annotations

from collections import deque
from typing import Any

from core.consume import Unacked
from core.log.waiter import Waiter
from core.message import Message
from core.publish import ACCEPTED, AT_COMMIT, REFUSED, UNROUTABLE
from core.queue.consumer import Consumer, Gate
from tests.simulation.bounded import check_answer, trimmed
from tests.simulation.model import ModelQueue, Violation

PLACES_MAX = 256  # queues that a store record names
LINK_PLACES = 4096  # that a link names
DONE, BACK, REJECTED = 0, 1, 2  # what becomes of a delivery, as core.consume has it


def records_of(durable: int) -> int:
    """How many records a message has that entered so many durable queues: one, and links for those it cannot name."""
    return min(durable, 1) + -(-max(0, durable - PLACES_MAX) // LINK_PLACES)


def body_of(message: Any) -> bytes:
    """The body in one piece."""
    return b"".join(message.fragments())


class Confirms(Waiter):
    """What a client was not yet told of: (number, offset behind its record), in order."""

    def __init__(self, client: CoreClient):
        Waiter.__init__(self)
        self.client = client
        self.number = 0
        self.waiting: deque[tuple[int, int]] = deque()

    def mark(self) -> int:
        """See Waiter."""
        return self.number

    def committed(self, mark: int) -> None:
        """See Waiter. These are confirmed now."""
        log, model = self.client.life.broker.log, self.client.model
        while self.waiting and self.waiting[0][0] <= mark:
            _, end = self.waiting.popleft()
            if end > log.committed:
                raise Violation(f"a message up to {end} was confirmed, the log is committed up to {log.committed}")
            model.promise(end)
            model.confirmed += 1


class SimConsumer(Consumer):
    """A subscription of a client. took = how many messages it was given."""

    def __init__(self, client: CoreClient, queue: Any, known: ModelQueue, no_ack: bool, prefetch: int):
        Consumer.__init__(self, queue, client.gate)
        self.no_ack = no_ack
        self.prefetch = prefetch
        self.client = client
        self.known = known
        self.took = 0

    def can_take(self) -> bool:
        """See Consumer. A client holds a bounded number at most."""
        if self.client.unacked.count >= self.client.unacked_max and not self.no_ack:
            self.stalled = True
            self.gate.closed_out.append(self)
            return False
        return Consumer.can_take(self)

    def deliver(self, message: Any, offset: int, redelivered: bool) -> None:
        """See Consumer."""
        self.took += 1
        self.client.got(self, message, offset, redelivered)

    def gone(self) -> None:
        """See Consumer."""
        self.client.consumers.remove(self)


class SimGetter(Consumer):
    """One basic.get. answered = it was."""

    def __init__(self, client: CoreClient, queue: Any, known: ModelQueue, no_ack: bool):
        Consumer.__init__(self, queue, Gate())
        self.no_ack = no_ack
        self.client = client
        self.known = known
        self.answered = False

    def deliver(self, message: Any, offset: int, redelivered: bool) -> None:
        """See Consumer."""
        self._answer()
        self.client.got(self, message, offset, redelivered)

    def nothing(self) -> None:
        """See Consumer: nothing may have been ready."""
        self._answer()
        ready = self.known.ready() if self.client.model.lives(self.known) else []
        for offset in ready:
            self.client.model.expired(self.known, offset, self.client.life.clock.ms)

    def release(self) -> None:
        """See Consumer."""
        self.unacked -= 1

    def _answer(self) -> None:
        assert not self.answered, "a get was answered twice"
        self.answered = True
        self.client.getters.remove(self)


class CoreClient:
    """A channel of a connection of its own: publishes with confirms, consumes, gets, settles. It lives as long as the
    broker. leaving = its connection ends, and its exclusive queues go."""

    def __init__(self, life: Any, model: Any, unacked_max: int):
        self.life = life
        self.model = model
        self.unacked_max = unacked_max
        self.gate = Gate()
        self.unacked = Unacked(life.clock)
        self.confirms = Confirms(self)
        self.consumers: list[SimConsumer] = []
        self.getters: list[SimGetter] = []
        self.held: dict[int, tuple[ModelQueue, int]] = {}  # delivery tag -> what
        self.leaving = False

    def publish(
        self, address: tuple[bytes, bytes], body: bytes, persistent: bool, ttl_ms: int = -1, priority: int = 0
    ) -> None:
        """Publish to (exchange, key), and expect it in the queues that the model names."""
        broker = self.life.broker
        message, route = self.addressed(address, body, persistent, ttl_ms, priority)
        records = broker.log.records
        result = broker.publisher.publish(message, route)
        known = self.model.now.queues[route.queues[0].name] if len(route.queues) == 1 else None
        answer = (AT_COMMIT if persistent and route.durable else ACCEPTED) if route.queues else UNROUTABLE
        if known is not None and any(known.limits):
            told = result, broker.log.records - records
            check_answer(self.life, known, body, told, answer == AT_COMMIT)
            if result == REFUSED:
                return
        elif result != answer:
            raise Violation(f"{address}, {persistent=}: answer {result}, not {answer}")
        self.entered(message, route, body)
        trimmed(self.life, self.model)
        wanted = records_of(len(route.durable))
        if broker.log.records - records != wanted:
            raise Violation(f"{address}: {broker.log.records - records} records, {wanted} expected")
        if result == AT_COMMIT:
            self.confirms.number += 1
            self.confirms.waiting.append((self.confirms.number, broker.log.appended))
            broker.log.wait(self.confirms)

    def delay(self, address: tuple[bytes, bytes], body: bytes, persistent: bool, delay_ms: int) -> None:
        """Publish what is to wait: it is in the broker's hidden queue, and nowhere else."""
        broker, model, (exchange, key) = self.life.broker, self.model, address
        self.life.observe()
        message = Message((b"/", exchange, key), b"", body, len(body), persistent)
        start = broker.log.appended
        route = broker.delays.hold(message, delay_ms, self.life.vhost)
        if broker.log.appended > start:
            model.changed(start, broker.log.appended, "hide", self.life.vhost.delayed.id)
        if broker.publisher.publish(message, route) != (AT_COMMIT if persistent else ACCEPTED):
            raise Violation("a delayed message is not confirmed as one in a durable queue is")
        record = message.offset, message.offset + message.record_size
        model.changed(*record, "delay", model.now.hidden.end, body, broker.clock.ms + delay_ms, address)
        if persistent:
            self.confirms.number += 1
            self.confirms.waiting.append((self.confirms.number, broker.log.appended))
            broker.log.wait(self.confirms)

    def addressed(
        self, address: tuple[bytes, bytes], body: bytes, persistent: bool, ttl_ms: int = -1, priority: int = 0
    ) -> tuple[Any, Any]:
        """A message and its route, which is that of the model."""
        broker, (exchange, key) = self.life.broker, address
        router = self.life.vhost.router
        parts: Any = body if len(body) < 600 else (body[:500], body[500:])
        header = b"\x08\x00" + bytes([priority]) if priority else b""
        message = Message((b"/", exchange, key), header, parts, len(body), persistent)
        message.expire_at = broker.clock.ms + ttl_ms if ttl_ms >= 0 else 0
        route = router.route(router.exchanges[exchange.decode()], key, None)
        found = sorted(queue.name for queue in route.queues)
        expected = sorted(self.model.now.route(exchange.decode(), key))
        if found != expected:
            raise Violation(f"{address} routes to {found}, not to {expected}")
        return message, route

    def entered(self, message: Any, route: Any, body: bytes) -> None:
        """The message is in its queues: tell the model."""
        log = self.life.broker.log
        for place, queue in enumerate(route.queues):
            record = message.offset, message.record_size
            if place >= PLACES_MAX:  # in the link that follows
                record = message.offset, log.appended - message.offset
            self._stored(queue, message, body, record)

    def _stored(self, queue: Any, message: Any, body: bytes, record: tuple[int, int]) -> None:
        known = self.model.now.queues[queue.name]
        due = [message.expire_at] if message.expire_at and not known.stream_bytes else []
        if queue.ttl_ms >= 0:
            due.append(message.store_ms + queue.ttl_ms)
        priority = message.header[2] if message.header else 0
        offset = self.model.stored(queue.name, body, record, min(due, default=0), priority)
        if queue.end() <= offset:
            raise Violation(f"{queue.name}: a message entered at {offset}, and the next offset is {queue.end()}")

    def consume(self, known: ModelQueue, no_ack: bool, prefetch: int) -> None:
        """Subscribe."""
        broker = self.life.broker
        queue = broker.topology.queue(self.life.vhost, known.name, self)
        consumer = SimConsumer(self, queue, known, no_ack, prefetch)
        self.consumers.append(consumer)
        known.consumers += 1
        queue.add_consumer(consumer)
        broker.topology.consumer_added(self.life.vhost, queue)
        known.used_ms = self.life.clock.ms

    def cancel(self, consumer: SimConsumer) -> None:
        """End a subscription; what it holds stays ackable."""
        self.consumers.remove(consumer)
        self._leave(consumer)

    def _leave(self, consumer: SimConsumer) -> None:
        """An auto-delete queue goes with its last consumer, and no other."""
        queue, known, log = consumer.queue, consumer.known, self.life.broker.log
        queue.remove_consumer(consumer)
        known.consumers -= 1
        self.life.observe()
        start = log.appended
        goes = not queue.deleted and known.auto_delete and not known.consumers
        stays = not queue.deleted and not goes
        self.life.broker.topology.consumer_gone(self.life.vhost, queue)
        known.used_ms = self.life.clock.ms
        if stays == queue.deleted:
            raise Violation(f"{known.name}: deleted {queue.deleted} after a consumer, {known.consumers} are left")
        if goes:
            self.model.changed(start, log.appended, "delete_queue", known.name)

    def get(self, known: ModelQueue, no_ack: bool) -> None:
        """Ask for one message."""
        topology = self.life.broker.topology
        queue = topology.queue(self.life.vhost, known.name, self)
        topology.queue_used(self.life.vhost, queue)
        known.used_ms = self.life.clock.ms
        getter = SimGetter(self, queue, known, no_ack)
        self.getters.append(getter)
        queue.park(getter)

    def got(self, consumer: Any, message: Any, offset: int, redelivered: bool) -> None:
        """A delivery, of whatever kind."""
        self.life.observe()
        known, body = consumer.known, body_of(message)
        unit = self.model.delivered(known, offset, self.life.clock.ms)
        if unit.body != body:
            raise Violation(f"{known.name}: offset {offset} is {body[:24]!r}, stored was {unit.body[:24]!r}")
        if unit.delivered and not redelivered:
            raise Violation(f"{known.name}: offset {offset} came again, not marked as redelivered")
        if redelivered and unit.fresh and not unit.delivered:
            raise Violation(f"{known.name}: offset {offset} is marked as redelivered, and was never delivered")
        if known.limit is not None and consumer.queue.counts.of(offset) != unit.count:
            counted = consumer.queue.counts.of(offset)
            raise Violation(f"{known.name}: offset {offset} came back {unit.count} times, {counted} are counted")
        unit.delivered = True
        if consumer.no_ack:
            self.unacked.add(None, offset)
            self.model.settled(known, [offset])
        else:
            known.unacked.add(offset)
            self.held[self.unacked.add(consumer, offset)] = known, offset

    def settle(self, tag: int, multiple: bool, fate: int) -> None:
        """Ack, nack or reject: fate is DONE, BACK or REJECTED."""
        tags = self.up_to(tag, multiple)
        how = {DONE: self.unacked.acknowledge, BACK: self.unacked.give_back, REJECTED: self.unacked.reject}[fate]
        count = how(tag, multiple)
        if count != len(tags):
            raise Violation(f"{count} deliveries settled, {len(tags)} expected")
        self.forget(tags, fate, True)
        trimmed(self.life, self.model)  # what came back may have been too much

    def up_to(self, tag: int, multiple: bool) -> list[int]:
        """The tags that a settlement names."""
        return [each for each in self.held if (each <= tag if multiple else each == tag)]

    def forget(self, tags: list[int], fate: int, asked: bool) -> None:
        """The deliveries are settled, because the client asked or because it goes: tell the model."""
        for tag in tags:
            known, offset = self.held.pop(tag)
            if fate == DONE:
                self.model.settled(known, [offset])
            elif fate == REJECTED:
                self.model.given_up(known, offset)
            else:
                self.model.returned(known, offset, asked, self.life.clock.ms)

    def close(self) -> None:
        """The channel ends: what it holds goes back, its consumers go, and it waits for no answer."""
        for getter in self.getters:
            getter.cancelled = True
        self.getters = []
        consumers, self.consumers = self.consumers, []
        for consumer in consumers:
            consumer.cancelled = True
        self.unacked.return_all()
        self.forget(list(self.held), BACK, False)
        trimmed(self.life, self.model)
        for consumer in consumers:
            self._leave(consumer)

    def disconnect(self) -> None:
        """The connection ends: its exclusive queues go. Another connection takes its place."""
        self.close()
        self.leaving = True
        self.life.broker.topology.connection_gone(self)
        self.leaving = False
        left = [known.name for known in self.model.now.queues.values() if known.owner is self]
        if left:
            raise Violation(f"{left}: still there, though the connection that they are exclusive to is gone")
