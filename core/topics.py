"""Native topics: what is declared of them, and their messages.

A topic is a fact in the log: its config, and how far its queues have come. Its messages name it themselves. A topic
that is deleted takes its messages with it, and one made anew of the same name begins at offset 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from core.errors import AccessRefused, LimitReached, NotFound, PreconditionFailed
from core.log.record import OWN_TOPICS
from core.native import Native
from core.queue.topic_queue import Topic, TopicLog
from core.queue.topic_trim import Trimmer
from core.state.model import TOPICS_VERSION_KEY, Model
from core.state.records import TopicConfig, TopicDeleted, TopicFact, TopicsVersion, encode

NAME_BYTES_MAX = 255  # RocketMQ's own limit of 127 is for those that clients may name; retry topics may be longer
QUEUES_MAX = 1 << 16  # of one topic


class Ports(NamedTuple):
    """What topics work with.

    append(body)        puts a state record into the log and returns its offset
    apply(record, offset)   what that record says
    forget(queue id)    the checkpointer's rows of that queue go
    clock, soon         the time, and the next turn of the loop
    """

    append: Callable[[bytes], int]
    apply: Callable[[Any, int], None]
    forget: Callable[[int], None]
    clock: Any
    soon: Callable[[Callable[[], None]], Any]


class Topics:
    """find(), put(), delete(), all(); append() a message. changed: callbacks(name), after each put() and delete()."""

    def __init__(self, model: Model, shared: TopicLog, ports: Ports):
        self._model = model
        self._shared = shared
        self._ports = ports
        self.changed: list[Callable[[bytes], None]] = []
        self.trimmer = Trimmer(model.topics, shared, ports.soon)

    @property
    def messages(self) -> int:
        """How many were appended since start."""
        count: int = self._shared.appended
        return count

    @property
    def stored_bytes(self) -> int:
        """The size of their records."""
        size: int = self._shared.appended_bytes
        return size

    @property
    def version(self) -> TopicsVersion:
        """Of all of them: it grows with every change."""
        return self._model.facts.get(TOPICS_VERSION_KEY) or TopicsVersion()

    @property
    def by_name(self) -> dict[bytes, Topic]:
        """All of them, for who looks often: it changes with them."""
        return self._model.topics

    def find(self, name: bytes) -> Topic | None:
        """The topic of that name."""
        return self._model.topics.get(name)

    def all(self) -> list[Topic]:
        """Every topic, in the order in which they came."""
        return list(self._model.topics.values())

    def put(self, config: TopicConfig) -> Topic:
        """Create or update a topic. Raises AccessRefused, PreconditionFailed, LimitReached."""
        name = config.name
        if name.startswith(OWN_TOPICS):
            raise AccessRefused(f"topic names that begin with {OWN_TOPICS.decode()} are the broker's own")
        if not 0 < len(name) <= NAME_BYTES_MAX:
            raise PreconditionFailed(f"a topic's name has 1 to {NAME_BYTES_MAX} bytes, not {len(name)}")
        if min(config.read_queues, config.write_queues) < 0:
            raise PreconditionFailed("a topic has no negative number of queues")
        if max(config.read_queues, config.write_queues) > QUEUES_MAX:
            raise LimitReached(f"a topic has at most {QUEUES_MAX} queues")
        known = self.find(name)
        ends = [] if known is None else known.queues.ends()
        self._change(TopicFact(config=config, ends=ends, **self._next_version()))
        self._tell(name)
        return self._model.topics[name]

    def delete(self, name: bytes) -> None:
        """A topic goes with its messages. Raises NotFound."""
        topic = self.find(name)
        if topic is None:
            raise NotFound(f"no topic '{name.decode('utf-8', 'replace')}'")
        self._change(TopicDeleted(name=name, **self._next_version()))
        for queue in topic.queues.made.values():
            queue.deleted, queue.ahead = True, None
            self._ports.forget(queue.id)
            queue.wake()
        self.trimmer.look()
        self._tell(name)

    def append(self, topic: Topic, message: Native, places: Any = None) -> int:
        """Store a message as the next of its queue, which readers are shown when it is committed, and return its offset
        there: who answers its sender waits for the commit (log.wait()). places: see TopicQueue.append(). Raises
        LimitReached, IndexError."""
        queue = topic.queue(message.queue_id)
        offset: int = queue.append(message) if places is None else queue.append(message, places)
        return offset

    def _change(self, record: TopicFact | TopicDeleted) -> None:
        self._ports.apply(record, self._ports.append(encode(record)))

    def _next_version(self) -> dict[str, int]:
        return {"counter": self.version.counter + 1, "ms": self._ports.clock.ms}

    def _tell(self, name: bytes) -> None:
        for callback in self.changed:
            callback(name)
