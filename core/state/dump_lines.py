"""The lines of a dump: everything durable, as JSON, one thing on a line. docs/dump.md describes them for others.

    dump | vhost* exchange* queue* binding* keys* topic* group* offsets* … ids | message* native* in any order | end

The form has a version of its own and follows neither the log's records nor state/: a dump moves data between versions
of the broker. What is bytes is base64. A field that is at its default is left out. A line or field that a reader does
not know is refused, never skipped; only the head may have more of them, so that its version can be told.
"""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 3


class Line(msgspec.Struct, tag_field="line", omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """What every line has."""


class Head(Line, tag="dump", forbid_unknown_fields=False):
    """The first line. made: when, ISO 8601; by: the program and its version."""

    version: int
    made: str = ""
    by: str = ""


class VhostLine(Line, tag="vhost"):
    """A virtual host; its predeclared exchanges come with it."""

    name: str


class ExchangeLine(Line, tag="exchange"):
    """A durable exchange. arguments: an AMQP field table."""

    vhost: str
    name: str
    kind: str
    auto_delete: bool = False
    internal: bool = False
    arguments: bytes = b""


class QueueLine(Line, tag="queue"):
    """A durable queue. Below `first` everything is done, `next` is the offset of the next message. The type `delayed`
    is the hidden queue that delayed messages of a virtual host wait in."""

    id: int
    vhost: str
    name: str
    first: int
    next: int
    queue_type: str = "classic"
    exclusive: bool = False
    auto_delete: bool = False
    arguments: bytes = b""


class BindingLine(Line, tag="binding"):
    """From the exchange `source` to a queue or an exchange. A key that is not UTF-8 is in key_bytes."""

    vhost: str
    source: str
    kind: str
    destination: str
    key: str = ""
    key_bytes: bytes = b""
    arguments: bytes = b""


class Key(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A deduplication key: its place, its number, when it is forgotten (ms since the epoch, 0 = when others push it
    out), its hash of 16 bytes."""

    place: int
    number: int
    expires: int
    key: bytes


class KeysLine(Line, tag="keys"):
    """Keys that a deduplicating exchange has seen."""

    vhost: str
    exchange: str
    keys: list[Key]


class TopicLine(Line, tag="topic"):
    """A native topic. perm: 4 = may be read, 2 = written, 1 = inherited. next: the offset of the next message in queue
    0, 1 …; 0 where it ends."""

    name: str
    read_queues: int
    write_queues: int
    perm: int
    filter_type: str = "SINGLE_TAG"
    sys_flag: int = 0
    order: bool = False
    attributes: dict[str, str] = {}
    next: list[int] = []


class GroupLine(Line, tag="group"):
    """A consumer group's configuration, by the names of RocketMQ's. more: what else its JSON says."""

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


class OffsetsLine(Line, tag="offsets"):
    """How far a group has come in a topic: [queue, the offset that it consumes next] each."""

    group: str
    topic: str
    offsets: list[tuple[int, int]]


class RequestModeLine(Line, tag="request_mode"):
    """How a group's members get a topic's messages: see RequestMode."""

    group: str
    topic: str
    mode: str
    share: int = 0


class DoneAheadLine(Line, tag="done_ahead"):
    """What a group that pops has done of a queue beyond its offset: [first, behind the last, …]."""

    group: str
    topic: str
    queue: int
    ranges: list[int]


class IdsLine(Line, tag="ids"):
    """Every queue id below `next` was given out."""

    next: int


class Place(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A message in a queue. code: in its lowest 54 bits when it expires there, in a delayed queue when it is due, in a
    stream when it came (ms since the epoch, 0 = never); above them its priority. returns: how often it came back;
    until: it waits for that time before it is tried again, 0 = it does not."""

    queue: int
    offset: int
    code: int = 0
    returns: int = 0
    until: int = 0


class MessageLine(Line, tag="message"):
    """A message, once, and its places in queues. header: its AMQP content properties (flags and list)."""

    vhost: str
    places: list[Place]
    store_ms: int
    exchange: str = ""
    key: str = ""
    key_bytes: bytes = b""
    persistent: bool = False
    expire_at: int = 0
    header: bytes = b""
    body: bytes = b""


class NativeLine(Line, tag="native"):
    """A native message, at an offset of a topic's queue. Hosts are ADDRESS:PORT; sys_flag without the bits that say how
    long those are; properties: name 0x01 value 0x02 …; those that are not UTF-8 are in properties_bytes. places: in
    queues of the broker's own, where timed and half messages wait."""

    topic: str
    queue: int
    offset: int
    store_ms: int
    born_ms: int = 0
    born_host: str = "0.0.0.0:0"
    store_host: str = "0.0.0.0:0"
    flag: int = 0
    sys_flag: int = 0
    reconsume_times: int = 0
    prepared_offset: int = 0
    properties: str = ""
    properties_bytes: bytes = b""
    body: bytes = b""
    places: list[Place] = []


class End(Line, tag="end"):
    """The last line: how many lines lie between it and the head, and the CRC-32 of them, line ends included."""

    lines: int
    crc: int


Declared = (
    VhostLine | ExchangeLine | QueueLine | BindingLine | KeysLine | TopicLine | GroupLine | OffsetsLine
    | RequestModeLine | DoneAheadLine | IdsLine
)  # fmt: skip
AnyLine = Declared | MessageLine | NativeLine | End

encode = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(Head).decode
_decode_line: Any = msgspec.json.Decoder(AnyLine).decode


class DumpRefused(Exception):
    """The file is no dump, is not whole, or is not for this version: one sentence."""


def read_head(text: bytes) -> Head:
    """The first line. Raises DumpRefused."""
    try:
        head = _decode_head(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise DumpRefused("it is no dump of mqgateway: its first line is no dump's head") from None
    if head.version > VERSION:
        raise DumpRefused(
            f"it was written in dump format {head.version}, this version reads up to {VERSION}: "
            f"restore it with the version that wrote it ({head.by}), or a newer one"
        )
    return head


def read_line(text: bytes, number: int) -> Any:
    """A line that is not the first. Raises DumpRefused."""
    try:
        return _decode_line(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DumpRefused(f"its line {number} cannot be read: {error}") from None


def group_fields(group: Any) -> dict[str, Any]:
    """A group's configuration, of a line or a fact."""
    return {name: getattr(group, name) for name in GroupLine.__struct_fields__}


def topic_fields(topic: Any) -> dict[str, Any]:
    """A topic's configuration, of a line or a fact, but for its name."""
    return {name: getattr(topic, name) for name in TopicLine.__struct_fields__ if name not in ("name", "next")}


def key_fields(key: bytes) -> dict[str, Any]:
    """A routing key as its fields of a line."""
    try:
        return {"key": key.decode()}
    except UnicodeDecodeError:
        return {"key_bytes": key}


def key_of(line: BindingLine | MessageLine) -> bytes:
    """The routing key of a line."""
    return line.key_bytes or line.key.encode()
