"""Sends whose messages wait: half messages for their sender's word, timed ones for their time.

Source: RocketMQ's SendMessageProcessor.sendMessage, TransactionalMessageBridge.parseHalfMessageInner and
HookUtils.handleScheduleMessage.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from core.native import PREPARED, TRANSACTION, Native, java_hash
from protocols.remoting import names, properties, recall
from protocols.remoting.codes import Response
from protocols.remoting.errors import Refused
from protocols.remoting.making import TIMER_NAMES, Making
from protocols.remoting.message_ids import offset_id

TIMER_OUT_MS, TIMER_DELETES = b"TIMER_OUT_MS", b"TIMER_DEL_UNIQKEY"
MS_MAX = (1 << 42) - 1  # of a due time (core/state/delayed.py): 2109
ILLEGAL_TIMER = (
    "timer message illegal, the delay time should not be bigger than the max delay {}ms; or if set del msg, the delay "
    "time should be bigger than the current time"
)


class Held(NamedTuple):
    """What a send is answered with: the message's UNIQ_KEY, where it lies in the log, what it is called where it waits,
    and by what it may be recalled."""

    unique_id: bytes
    log_offset: int
    offset: int
    handle: bytes = b""


class Holding:
    """Takes messages that wait."""

    def __init__(self, broker: Any, making: Making):
        self._making = making
        self._rules = making.rules
        self._clock = broker.clock
        self._log = broker.log
        self._timers = broker.timers
        self._halves = broker.halves

    def take(self, message: Native, level: int) -> Held | None:
        """Store a message that is to wait, and say what the sender is told; None: it is to be stored as others are.
        `level`: of its delay, 0 = none. Raises Refused, LimitReached."""
        said = properties.as_dict(message.properties)
        is_half = said.get(b"TRAN_MSG", b"").lower() == b"true" and not (message.reconsume_times > 0 and level > 0)
        bits = message.sys_flag & TRANSACTION
        if bits not in (0, PREPARED) or (bits and not said.get(b"TRAN_MSG")):
            remark = "only a message with the property TRAN_MSG=true may be prepared; nothing is sent committed"
            raise Refused(Response.MESSAGE_ILLEGAL, remark)
        message.sys_flag &= ~TRANSACTION
        if is_half:
            return self._half(message, said, level)
        if level <= 0 and TIMER_OUT_MS not in said and message.topic != names.TIMER_TOPIC:
            return self._timed(message, said)
        return None

    def _half(self, message: Native, said: dict[bytes, bytes], level: int) -> Held:
        rules, unique_id = self._rules, said[b"UNIQ_KEY"]
        if rules.reject_transactions:
            remark = f"the broker[{rules.address}] sending transaction message is forbidden"
            raise Refused(Response.NO_PERMISSION, remark)
        if level > 0 or any(name in said for name in TIMER_NAMES):
            raise Refused(Response.MESSAGE_ILLEGAL, "a transaction's message cannot be delayed")
        message.properties = properties.put(message.properties, b"__transactionId__", unique_id)
        self._go_to(message, said, names.HALF_TOPIC)
        due_ms = self._clock.ms + immune_ms(said, rules.transaction_timeout_ms)
        offset = self._halves.hold(self._making.ensure(names.HALF_TOPIC, 1), message, min(due_ms, MS_MAX))
        return Held(unique_id, message.offset, offset)

    def _timed(self, message: Native, said: dict[bytes, bytes]) -> Held | None:
        """None: its time has passed already."""
        due_ms, now = self._due_ms(said), self._clock.ms
        if due_ms is None:
            return None
        most = 1000 * self._rules.timer_max_delay_seconds
        if due_ms <= now and TIMER_DELETES not in said:
            return None
        if due_ms > min(now + most, MS_MAX) or TIMER_DELETES in said:
            raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL_TIMER.format(most))
        if not self._rules.timers:
            remark = "accurate timer message is not enabled, timerWheelEnable is false"
            raise Refused(Response.SYSTEM_ERROR, remark)
        topic, unique_id = message.topic, said[b"UNIQ_KEY"]
        # one precision, of 1 ms, before it is due, as RocketMQ's wheel has it
        message.properties = properties.put(message.properties, TIMER_OUT_MS, b"%d" % (due_ms - 1))
        self._go_to(message, said, names.TIMER_TOPIC)
        wheel, mark = self._making.ensure(names.TIMER_TOPIC, 1), recall.mark_of(unique_id)
        offset = self._timers.hold(wheel, message, due_ms, mark)
        handle = recall.Handle(topic, self._rules.broker.encode(), due_ms, unique_id).encode()
        is_retry = topic.startswith(names.RETRY_PREFIX)
        return Held(unique_id, message.offset, offset, b"" if is_retry else handle)

    def answer(self, connection: Any, opaque: int, queue_id: int, held: Held) -> None:
        """Tell the sender, when it is on the disk; queue_id: of the topic that was sent to."""
        rules = self._rules
        fields = [
            (b"queueId", queue_id),
            (b"transactionId", held.unique_id),
            (b"TRACE_ON", b"true" if rules.trace_on else b"false"),
            (b"MSG_REGION", rules.region.encode()),
            (b"msgId", offset_id(rules.store_host.hex().upper().encode(), held.log_offset)),
            (b"queueOffset", held.offset),
        ]
        if held.handle:
            fields.append((b"recallHandle", held.handle))
        self._log.when_committed(partial(connection.respond, opaque, Response.SUCCESS, None, fields))

    def _due_ms(self, said: dict[bytes, bytes]) -> int | None:
        """When it is due; None: it is no timed message. Raises Refused."""
        now, most = self._clock.ms, 1000 * self._rules.timer_max_delay_seconds
        ways = (b"TIMER_DELAY_SEC", 1000, now), (b"TIMER_DELAY_MS", 1, now), (b"TIMER_DELIVER_MS", 1, 0)
        for name, factor, begin in ways:
            if name in said:
                try:
                    value = int(said[name])
                except ValueError:
                    raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL_TIMER.format(most)) from None
                return begin + factor * value
        return None

    def _go_to(self, message: Native, said: dict[bytes, bytes], topic: bytes) -> None:
        """It waits in that system topic, and says where it goes then."""
        text = properties.put(message.properties, b"REAL_TOPIC", message.topic)
        message.properties = properties.put(text, b"REAL_QID", b"%d" % message.queue_id)
        message.topic, message.queue_id = topic, 0
        message.tags_code = java_hash(said.get(b"TAGS", b""))


def immune_ms(said: dict[bytes, bytes], timeout_ms: int) -> int:
    """How long after it came nobody asks about a half message (TransactionalMessageUtil.getImmunityTime): what it says
    itself, but at least the broker's transactionTimeOut."""
    try:
        return max(timeout_ms, 1000 * int(said.get(b"CHECK_IMMUNITY_TIME_IN_SECONDS", b"0")))
    except ValueError:
        return timeout_ms


def becoming(was: Native, said: dict[bytes, bytes], making: Making) -> tuple[Any, Native] | None:
    """What was held as the message that it becomes, without its own properties yet, and its topic; None: the topic is
    not there any more, or has no queue."""
    name = said.get(b"REAL_TOPIC", b"")
    if name.startswith((names.RETRY_PREFIX, names.DLQ_PREFIX)):
        topic: Any = making.ensure(name, 1)
    else:
        topic = making.find(name)
    if topic is None or not len(topic.queues):
        return None
    number = said.get(b"REAL_QID", b"")
    queue_id = int(number) if number.isdigit() else 0
    message = Native(name, queue_id if queue_id < len(topic.queues) else 0, was.body, was.properties)
    message.flag, message.sys_flag, message.born_ms = was.flag, was.sys_flag, was.born_ms
    message.born_host, message.store_host = was.born_host, was.store_host
    message.reconsume_times = was.reconsume_times
    message.tags_code = java_hash(said.get(b"TAGS", b""))
    return topic, message
