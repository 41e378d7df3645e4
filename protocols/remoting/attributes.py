"""A topic's attributes, and changes of them: `+key=value` sets, `-key` takes away.

Source: RocketMQ's AttributeParser, AttributeUtil, TopicAttributes; the refusals are in their words.
"""

from __future__ import annotations

from collections.abc import Mapping

MESSAGE_TYPES = ("UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED")
CHOICES = {
    "queue.type": ("SimpleCQ", "BatchCQ"),
    "cleanup.policy": ("DELETE", "COMPACTION"),
    "message.type": MESSAGE_TYPES,
}
UNSERVED = {("queue.type", "BatchCQ"), ("cleanup.policy", "COMPACTION")}  # kinds of queues that this broker has not
UNCHANGEABLE = ("queue.type", "cleanup.policy")
RESERVE_TIME = "reserve.time"  # -1 or more
LONG_MAX = (1 << 63) - 1


class AttributeRefused(Exception):
    """A change that cannot be made."""


def parse(text: str) -> dict[str, str]:
    """A change as it comes in a header: sign and key -> value. Raises AttributeRefused."""
    found: dict[str, str] = {}
    for item in text.split(",") if text else ():
        key, equals, value = item.partition("=")
        if equals and ("+" not in key or not value):
            raise AttributeRefused(f"add/alter attribute format is wrong: {key}")
        if not equals and "-" not in key:
            raise AttributeRefused(f"delete attribute format is wrong: {key}")
        if key in found:
            raise AttributeRefused(f"key duplication: {key}")
        found[key] = value
    return found


def altered(current: Mapping[str, str] | None, change: Mapping[str, str]) -> dict[str, str]:
    """The attributes after that change; None = the topic is made by it. Raises AttributeRefused."""
    after = dict(current or {})
    seen: set[str] = set()
    for signed, value in change.items():
        sign, key = signed[:1], signed[1:]
        if not key or "+" in key or "-" in key:
            raise AttributeRefused("kv string format wrong.")
        if key in seen:
            raise AttributeRefused(f"alter duplication key. key: {key}")
        seen.add(key)
        if current is None and sign != "+":
            raise AttributeRefused(f"only add attribute is supported while creating topic. key: {key}")
        if sign not in "+-":
            raise AttributeRefused(f"wrong format key: {key}")
        if sign == "-" and key not in after:
            raise AttributeRefused(f"attempt to delete a nonexistent key: {key}")
        _check(key, value if sign == "+" else None, is_new=current is None)
        if sign == "+":
            after[key] = value
        else:
            del after[key]
    return after


def _check(key: str, value: str | None, is_new: bool) -> None:
    if key not in CHOICES and key != RESERVE_TIME:
        raise AttributeRefused(f"unsupported key: {key}")
    if not is_new and key in UNCHANGEABLE:
        raise AttributeRefused(f"attempt to update an unchangeable attribute. key: {key}")
    if value is None:
        return
    if key == RESERVE_TIME:
        _check_reserve_time(value)
    elif value not in CHOICES[key]:
        raise AttributeRefused(f"value is not in set: [{', '.join(CHOICES[key])}]")
    elif (key, value) in UNSERVED:
        raise AttributeRefused(f"{key} {value} is not served by this broker")


def _check_reserve_time(value: str) -> None:
    try:
        number = int(value)
    except ValueError:
        raise AttributeRefused(f'For input string: "{value}"') from None
    if not -1 <= number <= LONG_MAX:
        raise AttributeRefused(f"value is not in range(-1, {LONG_MAX})")
