"""What lives by the facts: queues, exchanges and topics, made with all that the broker has for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from core.queue.delivery import Queue
from core.queue.levels import Levels
from core.queue.topic_queue import Topic, TopicLog, TopicQueue
from core.queue.traffic import Traffic
from core.quorum import QuorumQueue
from core.routing.exchange import comparable_fields
from core.routing.once import KEY_HEADER, Entry, key_in
from core.state.arguments import MAX_PRIORITY, SINGLE_ACTIVE
from core.state.delayed import DELAYED, HALVES, TIMERS, DelayedQueue, HalfQueue
from core.state.records import KeySeen, QueueFact, encode
from core.state.replay import LoggedQueue
from core.state.type_arguments import QUORUM, STREAM
from core.stream import Stream

HIDDEN = {DELAYED: DelayedQueue, TIMERS: DelayedQueue, HALVES: HalfQueue}  # queue type -> class
KINDS = {STREAM: Stream, QUORUM: QuorumQueue, **HIDDEN}


class Maker:
    """queue(), exchange() and topic() for the Applier, whose apply() is to be set; broker: the Broker."""

    def __init__(self, broker: Any, topic_log: TopicLog, read_chunk: Callable[[int, int], bytes | None]):
        """read_chunk(queue id, number) blocks."""
        self._broker = broker
        self._topic_log = topic_log
        self._read_chunk = read_chunk
        self.apply: Callable[[Any, int], None] = lambda record, offset: None

    def topic(self, config: Any, slots: dict[int, Any]) -> Topic:
        """A native topic, with what replay found of its queues."""
        facts, traffic = self._broker.model.facts, Traffic()

        def make(name: bytes, number: int, slot: Any = None) -> TopicQueue:
            local_id, index = (facts.new_local_id(), None) if slot is None else (slot.id, slot.index)
            return TopicQueue(self._topic_log, name, number, local_id, index, traffic=traffic)

        topic = Topic(config, make, traffic)
        for number, slot in slots.items():
            topic.queues.made[number] = make(config.name, number, slot)
        return topic

    def queue(self, fact: QueueFact, arguments: dict[str, Any], slot: Any) -> Any:
        """A queue, with what replay found of it, or None."""
        broker = self._broker
        identity = fact.id, fact.vhost.encode(), fact.name
        hidden = fact.queue_type in HIDDEN
        kind = KINDS.get(fact.queue_type, LoggedQueue if fact.durable else Queue)
        queue: Any = kind(identity, fact.durable, broker.turn, broker.tail)
        queue.cold = broker.cold
        if not fact.durable:
            queue.held.room = broker.spill.room
        if not hidden:  # what waits there neither expires nor becomes a dead letter, and no policy is for it
            queue.wake_at = broker.schedule.wake_at
            queue.letters = broker.dead_letters
            queue.key_of = self._key_of
            queue.configure(broker.policies.settings(fact, arguments))
            queue.ring.single = arguments.get(SINGLE_ACTIVE, False)
            if arguments.get(MAX_PRIORITY, 0) > 0:
                queue.levels = Levels(int(arguments[MAX_PRIORITY]), self._priority_of)
        if slot is not None:
            if slot.unordered:
                slot.put_in_order(self._read_chunk)
            queue.adopt(slot)
            if queue.levels is not None:
                queue.levels.restore(queue, self._read_chunk)
            if not hidden and fact.queue_type != STREAM:
                queue.restore_overtaking(slot, self._read_chunk)
        return queue

    def exchange(self, vhost: str, exchange: Any) -> None:
        """An exchange was made: give it what policies ask for, and what its deduplication works with."""
        self._broker.policies.configure_exchange(vhost, exchange)
        cache = exchange.cache
        if cache is not None:
            cache.clock = self._broker.clock
            if exchange.durable:
                cache.keep = partial(self._keep_key, vhost, exchange.name)

    def _keep_key(self, vhost: str, exchange: str, entry: Entry) -> None:
        record = KeySeen(
            vhost=vhost,
            exchange=exchange,
            place=entry.place,
            number=entry.number,
            key=entry.key,
            expires=entry.expires,
        )
        self.apply(record, self._broker.append_state(encode(record)))

    def _key_of(self, header: bytes) -> bytes | None:
        """The deduplication key in a header block, or None."""
        fields = self._broker.content(header).headers()
        return key_in(comparable_fields({KEY_HEADER: fields[KEY_HEADER]})) if KEY_HEADER in fields else None

    def _priority_of(self, header: bytes) -> int:
        """The priority that a message asks for; 0 = none."""
        return self._broker.content(header).property_of("priority") or 0
