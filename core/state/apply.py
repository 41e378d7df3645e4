"""Record -> memory: the only code that changes what is declared, live and at recovery.

Live, the record was just appended and routers and queues change at once. During replay only the facts change, in any
order; finish_replay() then drops what has no fact to stand on and builds the routers and queues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.routing.exchange import Exchange
from core.routing.router import Router
from core.state.delayed import DELAYED, OF_NO_VHOST
from core.state.kept_keys import kept_keys, put_key
from core.state.model import TOPICS_VERSION_KEY, Model, VirtualHost, fact_key, topic_key
from core.state.records import (
    EXCHANGE,
    QUEUE,
    BindingFact,
    BindingRemoved,
    DoneAhead,
    ExchangeFact,
    ExchangesDeleted,
    GroupDeleted,
    GroupFact,
    GroupsFact,
    IdsFact,
    KeyPage,
    KeySeen,
    OffsetsDeleted,
    OffsetsDone,
    OffsetsFact,
    OffsetsMoved,
    QueueFact,
    QueuesDeleted,
    RequestMode,
    TopicDeleted,
    TopicFact,
    TopicsVersion,
    VhostFact,
    VhostRemoved,
    decode,
)
from core.state.replay import Replay

PREDECLARED = (  # in every virtual host, beside the default exchange
    ("amq.direct", "direct", False),
    ("amq.fanout", "fanout", False),
    ("amq.topic", "topic", False),
    ("amq.headers", "headers", False),
    ("amq.match", "headers", False),
    ("amq.rabbitmq.trace", "topic", True),
)
PREDECLARED_NAMES = frozenset(name for name, _, _ in PREDECLARED) | {""}


class Applier:
    """make_queue(fact, arguments, slot) makes a Queue, with what replay found of it or None; decode_arguments(block)
    gives the dict of an argument table; configure(vhost name, exchange) gives an exchange what policies ask for;
    make_topic(config, slots) makes a Topic, slots = queue id -> what replay found."""

    def __init__(
        self,
        model: Model,
        make_queue: Callable[..., Any],
        decode_arguments: Callable[[bytes], dict[str, Any]],
        configure: Callable[[str, Any], None],
        make_topic: Callable[[Any, dict[int, Any]], Any],
    ):
        self.model = model
        self.replay: Replay | None = None  # while replaying
        self._make_queue = make_queue
        self._configure = configure
        self._make_topic = make_topic
        self._decode_arguments = decode_arguments

    def state(self, body: bytes, offset: int) -> None:
        """Apply the body of a state record."""
        self.apply(decode(body, offset), offset)

    def apply(self, record: Any, offset: int) -> None:
        """Apply a record; offset -1 = of transient things only, in no log."""
        APPLY[type(record)](self, record, offset)

    def begin_replay(self, replay: Replay) -> None:
        """From now on only facts and slots change."""
        self.replay = replay

    def finish_replay(self) -> None:
        """Build every virtual host, exchange, queue and binding that stands."""
        self.drop_baseless()
        facts = self.model.facts
        for fact in facts.of(VhostFact):
            self._build_vhost(fact)
        for fact in facts.of(ExchangeFact):
            self._build_exchange(fact)
        for fact in facts.of(QueueFact):
            self._build_queue(fact)
        for fact in facts.of(TopicFact):
            self._build_topic(fact)
        self.replay = None
        for fact in facts.of(BindingFact):
            self._build_binding(fact)

    def drop_baseless(self) -> None:
        """What refers to something that is gone goes, too: all was replayed."""
        facts, replay = self.model.facts, self.replay
        assert replay is not None
        for fact in (*facts.of(ExchangeFact), *facts.of(QueueFact), *facts.of(BindingFact), *facts.of(KeyPage)):
            if not self._stands(fact):
                facts.remove(fact_key(fact))
        for slot in [slot for slot in replay.slots.values() if facts.get(slot.fact_key()) is None]:
            replay.drop(slot.id)

    def _stands(self, fact: Any) -> bool:
        """Whether what a fact refers to is there."""
        facts = self.model.facts
        if isinstance(fact, QueueFact) and fact.queue_type in OF_NO_VHOST:
            return True
        if facts.get(("vhost", fact.vhost)) is None:
            return False
        if isinstance(fact, KeyPage):
            return facts.find(fact.vhost, EXCHANGE, fact.exchange) is not None
        if not isinstance(fact, BindingFact):
            return True
        ends = [(EXCHANGE, fact.source), (fact.kind, fact.destination)]
        return all(facts.find(fact.vhost, kind, name) or name in PREDECLARED_NAMES for kind, name in ends)

    # -- virtual hosts

    def _vhost_added(self, fact: VhostFact, offset: int) -> None:
        self.model.facts.put(fact, offset)
        if self.replay is None:
            self._build_vhost(fact)

    def _build_vhost(self, fact: VhostFact) -> None:
        if fact.name in self.model.vhosts:
            return
        router = Router()
        for name, kind, internal in PREDECLARED:
            exchange = Exchange(name, kind, durable=True, internal=internal)
            self._configure(fact.name, exchange)
            router.add_exchange(exchange)
        self.model.vhosts[fact.name] = VirtualHost(fact.name, router)

    def _vhost_removed(self, record: VhostRemoved, offset: int) -> None:
        facts = self.model.facts
        for fact in facts.members(record.name):
            if isinstance(fact, QueueFact):
                self._drop_queue(fact)
        facts.remove(("vhost", record.name))
        vhost = self.model.vhosts.pop(record.name, None)
        if vhost is not None:
            vhost.removed = True

    # -- exchanges

    def _exchange_declared(self, fact: ExchangeFact, offset: int) -> None:
        self.model.facts.put(fact, offset)
        if self.replay is None:
            self._build_exchange(fact)

    def _build_exchange(self, fact: ExchangeFact) -> None:
        router = self.model.vhosts[fact.vhost].router
        if fact.name not in router.exchanges:
            exchange = Exchange(
                fact.name,
                fact.kind,
                durable=fact.durable,
                auto_delete=fact.auto_delete,
                internal=fact.internal,
                arguments=self._decode_arguments(fact.arguments),
            )
            self._configure(fact.vhost, exchange)
            if exchange.cache is not None:
                exchange.cache.restore(kept_keys(self.model.facts, fact.vhost, fact.name))
            router.add_exchange(exchange)

    def _exchanges_deleted(self, record: ExchangesDeleted, offset: int) -> None:
        self._drop_exchanges(record.vhost, record.names)

    def _drop_exchanges(self, vhost_name: str, names: list[str]) -> None:
        vhost = self.model.vhosts.get(vhost_name)
        for name in names:
            fact = self.model.facts.remove(("exchange", vhost_name, name))
            if fact is None:
                self.model.facts.remove_bindings(vhost_name, EXCHANGE, name)
            elif vhost is not None:
                vhost.router.remove_exchange(vhost.router.exchanges[name])

    # -- queues

    def _queue_declared(self, fact: QueueFact, offset: int) -> None:
        self.model.facts.put(fact, offset)
        if self.replay is None:
            self._build_queue(fact)
        elif (slot := self.replay.slot(fact.id)) is not None:
            slot.begin_at(fact.first_offset)
            slot.index.reach(fact.next_offset)

    def _build_queue(self, fact: QueueFact) -> None:
        vhost: Any = self.model.vhosts.get(fact.vhost)  # None: it is hidden, and of none
        hidden = fact.queue_type == DELAYED
        there = fact.id in self.model.queues if vhost is None else fact.name in vhost.queues
        if there or (hidden and vhost.delayed is not None):
            return
        slot = self.replay.slot(fact.id) if self.replay is not None else None
        queue = self._make_queue(fact, self._decode_arguments(fact.arguments), slot)
        if fact.durable:
            self.model.queues[fact.id] = queue
        if vhost is None:
            self.model.waiting[fact.queue_type] = queue
        elif hidden:
            vhost.delayed = queue
        else:
            vhost.queues[fact.name] = queue
            vhost.router.add_queue(queue, fact.name)

    def _queues_deleted(self, record: QueuesDeleted, offset: int) -> None:
        facts = self.model.facts
        for queue_id, name in record.queues:
            facts.next_id = max(facts.next_id, queue_id + 1)
            fact = facts.get(("queue", queue_id))
            if fact is not None:
                self._drop_queue(fact)
            elif self.replay is not None:  # stated only in a segment that is gone
                self.replay.drop(queue_id)
                facts.remove_bindings(record.vhost, QUEUE, name)
        self._drop_exchanges(record.vhost, record.exchanges)

    def _drop_queue(self, fact: QueueFact) -> None:
        self.model.facts.remove(("queue", fact.id))
        if self.replay is not None:
            self.replay.drop(fact.id)
            return
        vhost = self.model.vhosts[fact.vhost]
        self.model.queues.pop(fact.id, None)
        if fact.queue_type == DELAYED:
            vhost.delayed.deleted = True  # with its virtual host
            return
        queue = vhost.queues.pop(fact.name)
        queue.deleted = True
        vhost.router.remove_queue(queue)

    # -- bindings

    def _binding_added(self, fact: BindingFact, offset: int) -> None:
        self.model.facts.put(fact, offset)
        if self.replay is None:
            self._build_binding(fact)

    def _build_binding(self, fact: BindingFact) -> None:
        vhost = self.model.vhosts[fact.vhost]
        vhost.router.bind(*self._living(vhost, fact), self._decode_arguments(fact.arguments))

    def _binding_removed(self, record: BindingRemoved, offset: int) -> None:
        key = ("binding", record.vhost, record.source, record.kind, record.destination, record.key, record.arguments)
        fact = self.model.facts.remove(key)
        if fact is not None and self.replay is None:
            vhost = self.model.vhosts[record.vhost]
            vhost.router.unbind(*self._living(vhost, fact), self._decode_arguments(fact.arguments))
        self._drop_exchanges(record.vhost, record.exchanges)

    @staticmethod
    def _living(vhost: VirtualHost, fact: BindingFact) -> tuple[Any, Any, str]:
        """Source, destination and key as the router knows them."""
        source = vhost.router.exchanges[fact.source]
        ends = vhost.queues if fact.kind == QUEUE else vhost.router.exchanges
        return source, ends[fact.destination], fact.key.decode("utf-8", "surrogateescape")

    # -- keys that deduplicating exchanges have seen

    def _key_seen(self, record: KeySeen, offset: int) -> None:
        put_key(self.model.facts, record, offset)

    # -- groups

    def _group_deleted(self, record: GroupDeleted, offset: int) -> None:
        self.model.facts.remove(("group", record.name))

    def _offsets_moved(self, record: OffsetsMoved, offset: int) -> None:
        for group, topic, offsets in record.offsets:
            self.model.facts.move_offsets(group, topic, offsets, offset)

    def _offsets_done(self, record: OffsetsDone, offset: int) -> None:
        for row in record.rows:
            self.model.facts.queue_done(row, offset)

    def _offsets_deleted(self, record: OffsetsDeleted, offset: int) -> None:
        for group, topic in record.offsets:
            self.model.facts.remove_offsets(group, topic)

    # -- native topics

    def _topic_stated(self, fact: TopicFact, offset: int) -> None:
        self.model.facts.put(fact, offset)
        self._topics_changed(fact, offset)
        if self.replay is None:
            self._build_topic(fact)
        else:
            self.replay.topic_ends(fact.config.name, fact.ends)

    def _build_topic(self, fact: TopicFact) -> None:
        topic = self.model.topics.get(fact.config.name)
        if topic is not None:
            topic.configure(fact.config)
            return
        slots = self.replay.topic_slots(fact.config.name) if self.replay is not None else {}
        self.model.topics[fact.config.name] = self._make_topic(fact.config, slots)

    def _topic_deleted(self, record: TopicDeleted, offset: int) -> None:
        self.model.facts.remove(topic_key(record.name))
        self._topics_changed(record, offset)
        self.model.topics.pop(record.name, None)
        if self.replay is not None:
            self.replay.drop_topic(record.name)

    def _topics_changed(self, record: TopicFact | TopicDeleted, offset: int) -> None:
        known = self.model.facts.get(TOPICS_VERSION_KEY)
        if known is None or record.counter > known.counter:
            self.model.facts.put(TopicsVersion(counter=record.counter, ms=record.ms), offset)

    # -- what nothing is built of: the fact is all there is

    def _fact(self, fact: Any, offset: int) -> None:
        self.model.facts.put(fact, offset)


APPLY: dict[type, Callable[[Applier, Any, int], None]] = {
    VhostFact: Applier._vhost_added,
    VhostRemoved: Applier._vhost_removed,
    ExchangeFact: Applier._exchange_declared,
    ExchangesDeleted: Applier._exchanges_deleted,
    QueueFact: Applier._queue_declared,
    QueuesDeleted: Applier._queues_deleted,
    BindingFact: Applier._binding_added,
    BindingRemoved: Applier._binding_removed,
    KeySeen: Applier._key_seen,
    KeyPage: Applier._fact,
    IdsFact: Applier._fact,
    GroupFact: Applier._fact,
    GroupDeleted: Applier._group_deleted,
    GroupsFact: Applier._fact,
    OffsetsFact: Applier._fact,
    OffsetsMoved: Applier._offsets_moved,
    OffsetsDone: Applier._offsets_done,
    OffsetsDeleted: Applier._offsets_deleted,
    TopicFact: Applier._topic_stated,
    TopicDeleted: Applier._topic_deleted,
    TopicsVersion: Applier._fact,
    DoneAhead: Applier._fact,
    RequestMode: Applier._fact,
}
