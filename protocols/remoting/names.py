"""Names of topics and groups: which may be, and which are the broker's own. Source: TopicValidator, MixAll."""

from __future__ import annotations

import re

TOPIC_MAX, GROUP_MAX, RETRY_TOPIC_MAX = 127, 120, 255
RETRY_PREFIX, DLQ_PREFIX, SYSTEM_PREFIX = b"%RETRY%", b"%DLQ%", b"rmq_sys_"
DEFAULT_TOPIC = b"TBW102"  # topics made by a send are made like it
SCHEDULE_TOPIC = b"SCHEDULE_TOPIC_XXXX"
TIMER_TOPIC = b"rmq_sys_wheel_timer"
HALF_TOPIC, OP_TOPIC = b"RMQ_SYS_TRANS_HALF_TOPIC", b"RMQ_SYS_TRANS_OP_HALF_TOPIC"
CHECKED_TOPIC = b"TRANS_CHECK_MAX_TIME_TOPIC"  # half messages that nobody said anything of
TRACE_TOPIC = b"RMQ_SYS_TRACE_TOPIC"
UNSENDABLE = frozenset(
    {SCHEDULE_TOPIC, HALF_TOPIC, OP_TOPIC, CHECKED_TOPIC, b"SELF_TEST_TOPIC", b"OFFSET_MOVED_EVENT"}
)
SYSTEM_TOPICS = frozenset(UNSENDABLE | {DEFAULT_TOPIC, b"BenchmarkTest", TRACE_TOPIC, b"CHECKPOINT_TOPIC"})
SYSTEM_GROUP_PREFIX = b"CID_RMQ_SYS_"
_ALLOWED = re.compile(rb"[%|a-zA-Z0-9_-]+")
_CHARACTERS = ", contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"


def topic_refusal(name: bytes) -> str:
    """What RocketMQ says of a topic that cannot have this name; empty if it can."""
    refusal = _refusal("topic", name)
    if refusal:
        return refusal
    if name.startswith((RETRY_PREFIX, DLQ_PREFIX)):
        if len(name) > RETRY_TOPIC_MAX:
            longer = f"and it's longer than topic max length: {RETRY_TOPIC_MAX}"
            return f"The specified topic is DLQ or Retry topic: {name.decode()}, {longer}"
    elif len(name) > TOPIC_MAX:
        return f"The specified topic: {name.decode()}, is longer than topic max length: {TOPIC_MAX}"
    return ""


def group_refusal(name: bytes) -> str:
    """What RocketMQ says of a group that cannot have this name; empty if it can."""
    refusal = _refusal("group", name)
    if not refusal and len(name) > GROUP_MAX:
        return f"The specified group: {name.decode()}, is longer than group max length: {GROUP_MAX}"
    return refusal


def _refusal(kind: str, name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    if not text.strip():
        return f"The specified {kind} is blank."
    return "" if _ALLOWED.fullmatch(name) else f"The specified {kind}: {text}{_CHARACTERS}"


def is_system_topic(name: bytes) -> bool:
    """Whether the broker itself has that topic, wherever it runs."""
    return name in SYSTEM_TOPICS or name.startswith(SYSTEM_PREFIX)


def retry_topic(group: bytes) -> bytes:
    """Where what the group's members could not consume waits for the next attempt."""
    return RETRY_PREFIX + group


def dead_letter_topic(group: bytes) -> bytes:
    """Where it ends after the last."""
    return DLQ_PREFIX + group
