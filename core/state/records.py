"""State records: each states a fact with its outcome, never a request to be decided again.

A body is msgpack: a map with `type`, `v` and the fields below. A field that a newer version adds has a default, so
older bodies stay readable for ever; a body whose `v` is above VERSION was written by a newer broker and is refused.
Names are text; a routing key is bytes, since AMQP lets it be any; `arguments` is the encoded argument table, as it came
from the protocol that declared the thing.

What goes along with a deletion follows from the record: every binding from or to what is deleted. Exchanges that go
because nothing is bound to them any more are named in it, so that one record states the whole outcome.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from core.errors import StoreRefused

VERSION = 1
QUEUE, EXCHANGE = "queue", "exchange"  # kinds of binding destinations


class Record(msgspec.Struct, tag_field="type", omit_defaults=True, kw_only=True):
    """The version of a record's fields."""

    v: int = VERSION


class VhostFact(Record, tag="vhost_added"):
    """A virtual host, with its predeclared exchanges, which have no facts of their own."""

    name: str


class VhostRemoved(Record, tag="vhost_removed"):
    """A virtual host is gone with everything in it."""

    name: str


class ExchangeFact(Record, tag="exchange_declared"):
    """An exchange. `durable` is false only in memory: such a fact is in no record."""

    vhost: str
    name: str
    kind: str
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: bytes = b""


class ExchangesDeleted(Record, tag="exchanges_deleted"):
    """Exchanges are gone: one that was deleted, and those that were unused after it."""

    vhost: str
    names: list[str]


class QueueFact(Record, tag="queue_declared"):
    """A queue. Below `first_offset` all is done; every offset below `next_offset` was given to some message."""

    id: int
    vhost: str
    name: str
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    queue_type: str = "classic"
    arguments: bytes = b""
    first_offset: int = 0
    next_offset: int = 0


class QueuesDeleted(Record, tag="queues_deleted"):
    """Queues (id, name) are gone, with their messages, and the exchanges that were unused after it."""

    vhost: str
    queues: list[tuple[int, str]]
    exchanges: list[str] = []


class BindingFact(Record, tag="binding_added"):
    """From the exchange `source` to a queue or exchange; `kind` says which."""

    vhost: str
    source: str
    kind: str
    destination: str
    key: bytes = b""
    arguments: bytes = b""
    durable: bool = True


class BindingRemoved(Record, tag="binding_removed"):
    """That binding is gone, and the exchanges that were unused after it."""

    vhost: str
    source: str
    kind: str
    destination: str
    key: bytes = b""
    arguments: bytes = b""
    exchanges: list[str] = []


class KeySeen(Record, tag="key_seen"):
    """A key in the deduplication cache of an exchange: see kept_keys.py. It takes its place over."""

    vhost: str
    exchange: str
    place: int
    number: int
    key: bytes
    expires: int = 0


class KeyPage(Record, tag="keys"):
    """256 places of such a cache, with what is in them."""

    vhost: str
    exchange: str
    number: int
    entries: bytearray


class TopicConfig(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A native topic as its operators see it. perm: 4 = may be read, 2 = written, 1 = inherited; the rest as RocketMQ
    has it."""

    name: bytes
    read_queues: int = 8
    write_queues: int = 8
    perm: int = 6
    filter_type: str = "SINGLE_TAG"
    sys_flag: int = 0
    order: bool = False
    attributes: dict[str, str] = {}


class TopicsVersion(Record, tag="topics_version"):
    """What name servers are told, so that they know whether topics have changed: how often they have, and when last."""

    counter: int = 0
    ms: int = 0


class TopicFact(Record, tag="topic"):
    """A native topic. ends: in queue i every offset below ends[i] was given to some message; 0 where it ends. What of
    them is still there the log says. counter, ms: the topics' version by then."""

    config: TopicConfig
    ends: list[int] = []
    counter: int = 0
    ms: int = 0


class TopicDeleted(Record, tag="topic_deleted"):
    """A topic is gone, with all of its messages before this record: those behind it are of another one."""

    name: bytes
    counter: int = 0
    ms: int = 0


class IdsFact(Record, tag="ids"):
    """Every queue id below `next_id` was given out, or may have been."""

    next_id: int


class GroupFact(Record, tag="group"):
    """A consumer group's configuration, by the names of RocketMQ's SubscriptionGroupConfig. `more`: what else its JSON
    said (groupRetryPolicy, subscriptionDataSet), as JSON."""

    name: str
    consume_enable: bool = True
    consume_from_min_enable: bool = True
    consume_broadcast_enable: bool = True
    consume_message_orderly: bool = False
    retry_queue_nums: int = 1
    retry_max_times: int = 16
    broker_id: int = 0
    which_broker_when_consume_slowly: int = 1
    notify_consumer_ids_changed_enable: bool = True
    group_sys_flag: int = 0
    consume_timeout_minute: int = 15
    attributes: dict[str, str] = {}
    more: bytes = b""


class GroupDeleted(Record, tag="group_deleted"):
    """A group's configuration is gone. How far it has come stays."""

    name: str


class GroupsFact(Record, tag="groups"):
    """How often groups were made, changed or deleted, and when last: ms."""

    counter: int = 0
    ms: int = 0


class OffsetsFact(Record, tag="offsets"):
    """How far a group has come in a topic's queues: queue id -> the offset that it consumes next."""

    group: str
    topic: str
    offsets: dict[int, int]


class OffsetsMoved(Record, tag="offsets_moved"):
    """(group, topic, queue id -> offset): those queues' offsets; what the facts say of others stays."""

    offsets: list[tuple[str, str, dict[int, int]]]


class OffsetsDeleted(Record, tag="offsets_deleted"):
    """(group, topic): these groups have come nowhere in these topics, and have nothing done beyond that."""

    offsets: list[tuple[str, str]]


class DoneAhead(Record, tag="done_ahead"):
    """What a group has done of a queue beyond the offset that it consumes next: it popped messages, and acked some.
    ranges: see core/queue/ranges.py."""

    group: str
    topic: str
    queue_id: int
    ranges: list[int]


class QueueDone(NamedTuple):
    """In that queue the group consumes `floor` next, and has done the ranges beyond it as well. anew: what was done
    beyond it before counts no more."""

    group: str
    topic: str
    queue_id: int
    floor: int
    ranges: list[int]
    anew: bool = False


class OffsetsDone(Record, tag="offsets_done"):
    """What groups that pop have done of some queues."""

    rows: list[QueueDone]


class RequestMode(Record, tag="request_mode"):
    """How a group's members get a topic's messages: mode = PULL or POP; share = how many of the members next to one
    pop its queues as well, 0 or less = all."""

    group: str
    topic: str
    mode: str
    share: int = 0


Fact = (
    VhostFact | ExchangeFact | QueueFact | BindingFact | KeyPage | IdsFact | GroupFact | GroupsFact | OffsetsFact
    | TopicFact | TopicsVersion | DoneAhead | RequestMode
)  # fmt: skip
Deletion = (
    VhostRemoved | ExchangesDeleted | QueuesDeleted | BindingRemoved | GroupDeleted | OffsetsDeleted | TopicDeleted
)  # fmt: skip
Change = Fact | Deletion | KeySeen | OffsetsMoved | OffsetsDone

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Change)


def encode(record: Change) -> bytes:
    """The body of its state record."""
    return _encoder.encode(record)


def decode(body: bytes, offset: int) -> Any:
    """The record in a body found at that log offset. Raises StoreRefused for one that this version does not know."""
    try:
        record = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise StoreRefused(f"state record at log offset {offset} is not readable by this version: {error}") from None
    if record.v > VERSION:
        raise StoreRefused(
            f"state record at log offset {offset} has version {record.v}, this broker reads up to {VERSION}: "
            f"start the newer version that wrote it"
        )
    return record
