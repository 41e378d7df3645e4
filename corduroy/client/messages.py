"""Messages as programs see them: what is sent, what is received, what a broker says of one that it stored."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from corduroy.client import properties as names
from corduroy.client.errors import InvalidMessage
from corduroy.client.ids import offset_id

TOPIC = re.compile(r"[%|a-zA-Z0-9_-]+")
TOPIC_CHARACTERS_MAX = 127
BODY_BYTES_MAX = 4 << 20  # RocketMQ's maxMessageSize, of clients and brokers alike
RETRY_PREFIX, DEAD_LETTER_PREFIX = "%RETRY%", "%DLQ%"
DELAY_LEVELS = 18  # 1s 5s 10s 30s 1m 2m … 10m 20m 30m 1h 2h


@dataclass(frozen=True, slots=True, order=True)
class MessageQueue:
    """One queue of a topic at one broker. Their order is RocketMQ's: all members of a group must sort alike."""

    topic: str
    broker_name: str
    queue_id: int


@dataclass(slots=True)
class Message:
    """What is to be sent.

    tags           one word that subscriptions choose by
    keys           words to find it by
    properties     the program's own; names that RocketMQ uses are refused
    flag           an integer of the program's own, i32
    delay_level    1 to 18: delivered after 1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h
    delay_ms       or: delivered so much later (timer messages, to the second; three days at most)
    deliver_at_ms  or: delivered at that time, ms since 1970
    sharding_key   what orders it: messages with the same one go to the same queue
    check_after_seconds  of a transaction: how long the broker waits before it asks about it; else its own 6 s
    """

    topic: str
    body: bytes
    tags: str = ""
    keys: tuple[str, ...] | list[str] | str = ()
    properties: dict[str, str] = field(default_factory=dict)
    flag: int = field(default=0, kw_only=True)
    delay_level: int = field(default=0, kw_only=True)
    delay_ms: int | None = field(default=None, kw_only=True)
    deliver_at_ms: int | None = field(default=None, kw_only=True)
    sharding_key: str = field(default="", kw_only=True)
    check_after_seconds: int | None = field(default=None, kw_only=True)

    def check(self) -> None:
        """Raise InvalidMessage for what no broker would take, or would read as something else."""
        check_topic(self.topic)
        if not isinstance(self.body, bytes | bytearray | memoryview):
            raise InvalidMessage(f"body is {type(self.body).__name__}, not bytes")
        if not self.body or len(self.body) > BODY_BYTES_MAX:
            raise InvalidMessage(f"body of {len(self.body)} bytes: it must have 1 to {BODY_BYTES_MAX}")
        if taken := names.RESERVED & self.properties.keys():
            raise InvalidMessage(f"property {min(taken)!r} is RocketMQ's own")
        delays = [self.delay_level or None, self.delay_ms, self.deliver_at_ms]
        if sum(delay is not None for delay in delays) > 1:
            raise InvalidMessage("only one of delay_level, delay_ms and deliver_at_ms may be given")
        if not 0 <= self.delay_level <= DELAY_LEVELS:
            raise InvalidMessage(f"delay_level {self.delay_level} is not within 0..{DELAY_LEVELS}")

    def wire_properties(self) -> dict[str, str]:
        """All its properties, by the names they travel under."""
        keys = self.keys if isinstance(self.keys, str) else names.KEY_SEPARATOR.join(self.keys)
        special = {
            names.KEYS: keys,
            names.TAGS: self.tags,
            names.SHARDING_KEY: self.sharding_key,
            names.DELAY: self.delay_level or "",
            names.TIMER_DELAY_MS: "" if self.delay_ms is None else self.delay_ms,
            names.TIMER_DELIVER_MS: "" if self.deliver_at_ms is None else self.deliver_at_ms,
            names.CHECK_IMMUNITY_SECONDS: "" if self.check_after_seconds is None else self.check_after_seconds,
        }
        return {**self.properties, **{name: str(value) for name, value in special.items() if value != ""}}

    @property
    def is_delayed(self) -> bool:
        """Whether it is delivered later than at once."""
        return bool(self.delay_level) or self.delay_ms is not None or self.deliver_at_ms is not None


def check_topic(topic: str) -> None:
    """Raise InvalidMessage for a name that no topic can have."""
    if not TOPIC.fullmatch(topic) or len(topic) > TOPIC_CHARACTERS_MAX and not topic.startswith("%"):
        raise InvalidMessage(f"topic {topic[:140]!r}: it must be 1 to {TOPIC_CHARACTERS_MAX} of a-z A-Z 0-9 _ - % |")


@dataclass(slots=True)
class ReceivedMessage:
    """A message as a broker stored it. Times are ms since 1970, hosts `address:port`. record_size: bytes that it takes
    there; body_crc: of its body as it is stored there."""

    topic: str
    body: bytes
    properties: dict[str, str]
    queue_id: int
    queue_offset: int
    commit_log_offset: int
    flag: int
    sys_flag: int
    born_ms: int
    born_host: str
    store_ms: int
    store_host: str
    reconsume_times: int
    prepared_transaction_offset: int
    broker_name: str = ""
    record_size: int = 0
    body_crc: int = 0

    @property
    def tags(self) -> str:
        """Its tag; empty if it has none."""
        return self.properties.get(names.TAGS, "")

    @property
    def keys(self) -> list[str]:
        """The words it is found by."""
        return self.properties.get(names.KEYS, "").split()

    @property
    def sharding_key(self) -> str:
        """What orders it."""
        return self.properties.get(names.SHARDING_KEY, "")

    @property
    def message_id(self) -> str:
        """The id its sender gave it; if none, where it lies."""
        return self.properties.get(names.UNIQ_KEY) or self.offset_message_id

    @property
    def offset_message_id(self) -> str:
        """Where it lies: the broker's address and the offset in its log. A delivery after a retry lies elsewhere."""
        return offset_id(self.store_host, self.commit_log_offset)

    @property
    def queue(self) -> MessageQueue:
        """The queue it lies in."""
        return MessageQueue(self.topic, self.broker_name, self.queue_id)


class SendStatus(Enum):
    """How safe a stored message is; all of these mean that it was stored. The values are response codes."""

    SEND_OK = 0
    FLUSH_DISK_TIMEOUT = 10
    SLAVE_NOT_AVAILABLE = 11
    FLUSH_SLAVE_TIMEOUT = 12


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the broker said of a message that it stored; a timer message that may be recalled has a `recall_handle`.

    Of a batch both ids are lists, one for each message, separated by commas.
    """

    status: SendStatus
    message_id: str
    offset_message_id: str
    queue: MessageQueue
    queue_offset: int
    transaction_id: str = ""
    recall_handle: str = ""
    region: str = ""
