"""mqadmin: single messages."""

from __future__ import annotations

import codecs
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

from corduroy.client import (
    Admin,
    Message,
    MessageQueue,
    Producer,
    PullConsumer,
    ReceivedMessage,
)
from corduroy.client.codes import Request
from corduroy.client.properties import RESERVED
from corduroy.client.pulling import PullResult, PullStatus
from gateway.admin.command import Command, Failed, Given, table, whole
from gateway.admin.message_text import fields, java_text, keep_body, tracks
from namesrv.command_line import Option

TOOLS_GROUP = "TOOLS_CONSUMER"
FOREVER_MS = (1 << 63) - 1
RECENT_MS = 36 * 3600 * 1000  # as far back, and ahead, as queryMsgByUniqueKey looks
HOUR_MS = 3600 * 1000
COUNT = 128  # of consumeMessage
TIME_FORM = "%Y-%m-%d#%H:%M:%S:%f"
STATUSES = {
    PullStatus.FOUND: "FOUND",
    PullStatus.NO_NEW_MESSAGE: "NO_NEW_MSG",
    PullStatus.NO_MATCHED_MESSAGE: "NO_MATCHED_MSG",
    PullStatus.OFFSET_ILLEGAL: "OFFSET_ILLEGAL",
}


async def send_message(admin: Admin, given: Given) -> None:
    """sendMessage"""
    if "i" in given and "b" not in given:
        raise Failed("Broker name must be set if the queue is chosen!")
    message = Message(given["t"], given["p"].encode(), tags=given.get("c", ""), keys=given.get("k", ""))
    async with _producer(admin) as producer:
        queue = MessageQueue(given["t"], given["b"], whole(given, "i", 0)) if "i" in given else None
        sent = await producer.send(message, queue=queue)
    row = table("<32", "<4", "<20", "<0")
    row("#Broker Name", "#QID", "#Send Result", "  #MsgId")
    row(sent.queue.broker_name, sent.queue.queue_id, sent.status.name, f"  {sent.message_id}")


def _producer(admin: Admin, group: str = "") -> Producer:
    return Producer(group or f"{time.time_ns() // 1_000_000}", ";".join(admin.remoting.name_servers))


async def query_by_id(admin: Admin, given: Given) -> None:
    """queryMsgById"""
    charset = _charset(given)
    for message_id in (text.strip() for text in given["i"].split(",") if text.strip()):
        if "g" in given and "d" in given:
            await _push(admin, given, message_id)
            continue
        message = await admin.message(given["t"], message_id)
        if "s" not in given:
            await _show(admin, message, charset)
        elif given["s"].lower() == "true":
            await _send_again(admin, message_id, message)


def _charset(given: Given) -> str:
    """The encoding that bodies are printed in; empty: they are not."""
    if "f" not in given:
        return ""
    try:
        return codecs.lookup(given["f"]).name
    except LookupError:
        raise Failed(f"-f: no encoding is called {given['f']!r}") from None


async def _show(admin: Admin, message: ReceivedMessage, charset: str = "") -> None:
    rows = {**fields(message), "Message Body Path": keep_body(message)}
    if charset:
        rows["Message Body"] = message.body.decode(charset, "replace")
    await _print(admin, message, rows)
    print()


async def _print(admin: Admin, message: ReceivedMessage, rows: dict[str, Any], ends: str = "\n") -> None:
    for name, value in rows.items():
        print(f"{name + ':':<20} {value}")
    said = await tracks(admin, message)
    print("\n" if said else "\n\nWARN: No Consumer", end="\n" if said else "")
    print("".join(line + ends for line in said), end="")


async def _push(admin: Admin, given: Given, message_id: str) -> None:
    """Have one member of a group consume it, whatever it has consumed before."""
    info = await admin.running_info(given["g"], given["d"])
    if info["properties"].get("PROP_CONSUME_TYPE") != "CONSUME_PASSIVELY":
        raise Failed(f"this {given['d']} client is not push consumer ,not support direct push")
    message = await admin.message(given["t"], message_id)
    asked = {"consumerGroup": given["g"], "clientId": given["d"], "msgId": message.offset_message_id}
    asked |= {"brokerName": message.broker_name, "topic": message.topic}
    said = await admin.ask(message.store_host, Request.CONSUME_MESSAGE_DIRECTLY, asked)
    names = ("order", "autoCommit", "consumeResult", "remark", "spentTimeMills")
    text = ", ".join(f"{name}={_java(said.get(name))}" for name in names)
    print(f"ConsumeMessageDirectlyResult [{text}]", end="")


def _java(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


async def _send_again(admin: Admin, message_id: str, message: ReceivedMessage) -> None:
    print(f"prepare resend msg. originalMsgId={message_id}", end="")
    mine = {name: value for name, value in message.properties.items() if name not in RESERVED}
    again = Message(message.topic, message.body, message.tags, message.keys, mine, flag=message.flag)
    async with _producer(admin, "ReSendMsgById") as producer:
        sent = await producer.send(again)
    text = f"sendStatus={sent.status.name}, msgId={sent.message_id}, offsetMsgId={sent.offset_message_id}"
    print(f"SendResult [{text}, messageQueue={_name(sent.queue)}, queueOffset={sent.queue_offset}]", end="")


async def query_by_key(admin: Admin, given: Given) -> None:
    """queryMsgByKey"""
    kind, topic, key = given.get("p", "K"), given["t"], given["k"]
    if kind not in ("K", "T"):
        raise Failed("index type error, just support K for keys or T for tags")
    times: dict[str, Any] = {"from_ms": whole(given, "b", 0), "to_ms": whole(given, "e", FOREVER_MS)}
    found = await admin.messages_by_key(topic, key, count=whole(given, "m", 64), tags=kind == "T", **times)
    row = "{:<50} {:>4} {:>40} {:<200}".format
    print(row("#Message ID", "#QID", "#Offset", "#IndexKey"))
    for each in sorted(found, key=lambda message: message.commit_log_offset):
        hour = each.store_ms - each.store_ms % HOUR_MS
        index_key = f"{hour}@{topic}@{kind}@{key}@{each.message_id}@{each.commit_log_offset}"
        print(row(each.message_id, each.queue_id, each.queue_offset, index_key))


async def query_by_unique_key(admin: Admin, given: Given) -> None:
    """queryMsgByUniqueKey"""
    if "g" in given and "d" in given:
        await _push(admin, given, given["i"])
        return
    now = int(time.time() * 1000)
    times: dict[str, Any] = {"from_ms": now - RECENT_MS, "to_ms": now + RECENT_MS}
    if "s" in given and "e" in given:
        times = {"from_ms": whole(given, "s", 0), "to_ms": whole(given, "e", 0)}
    found = await admin.messages_by_key(given["t"], given["i"], unique=True, **times)
    found.sort(key=lambda message: message.store_ms)
    for number, message in enumerate(found if "a" in given else found[:1]):
        rows = fields(message)
        del rows["OffsetID"]
        rows["Message Body Path"] = keep_body(message, f"_{number}" if number else "")
        await _print(admin, message, rows, "")


async def query_by_offset(admin: Admin, given: Given) -> None:
    """queryMsgByOffset"""
    queue = MessageQueue(given["t"], given["b"], whole(given, "i", 0))
    charset = _charset(given)
    async with PullConsumer(TOOLS_GROUP, ";".join(admin.remoting.name_servers)) as consumer:
        await consumer.queues(given.get("r", given["t"]))
        result = await consumer.pull(queue, whole(given, "o", 0), count=1)
    for message in pulled(result)[:1]:
        await _show(admin, message, charset)


def pulled(result: PullResult) -> list[ReceivedMessage]:
    """Its messages, with the properties that Java's clients add to what they pull."""
    bounds = {"MIN_OFFSET": str(result.min_offset), "MAX_OFFSET": str(result.max_offset)}
    return [replace(message, properties=message.properties | bounds) for message in result.messages]


async def consume_message(admin: Admin, given: Given) -> None:
    """consumeMessage"""
    left = whole(given, "c", COUNT)
    if left <= 0:
        raise Failed("Please input a positive messageNumber!")
    if "i" in given and "b" not in given:
        raise Failed("Please set the brokerName before queueId!")
    if "o" in given and "i" not in given:
        raise Failed("Please set queueId before offset!")
    begin, end = _time(given, "s", "begin"), _time(given, "e", "end")
    if begin > end > 0:
        raise Failed("Please make sure that the beginTimestamp is less than or equal to the endTimestamp")
    async with PullConsumer(given.get("g", TOOLS_GROUP), ";".join(admin.remoting.name_servers)) as consumer:
        queues = await consumer.queues(given["t"])
        if "i" in given:
            queue = MessageQueue(given["t"], given["b"], whole(given, "i", 0))
            await _consume_one(consumer, queue, (begin, end), whole(given, "o", 0), left)
            return
        for queue in sorted(queues):
            first, last = await _bounds(consumer, queue, begin, end)
            if last - first > left:
                print(f"The older {left} message of the {queue.queue_id} queue will be provided")
                last = first + left - 1
                left = 0
            else:
                left -= last - first + 1
            await _consume(consumer, queue, first, last)
            if left == 0:
                return


def _time(given: Given, option: str, name: str) -> int:
    """ms, or local time as yyyy-MM-dd#HH:mm:ss:SSS; 0 = not given. Raises Failed."""
    text = given.get(option, "0")
    try:
        ms = int(text) if text.isdigit() else int(datetime.strptime(text, TIME_FORM).timestamp() * 1000)
    except ValueError:
        raise Failed(f"-{option}: {text!r} is no time: ms, or yyyy-MM-dd#HH:mm:ss:SSS") from None
    if ms > time.time() * 1000:
        raise Failed(f"Please set the {name}Timestamp before now!")
    return ms


async def _bounds(consumer: PullConsumer, queue: MessageQueue, begin: int, end: int) -> tuple[int, int]:
    """From which offset up to which one, itself included, it is read."""
    first = await (consumer.offset_at(queue, begin) if begin else consumer.min_offset(queue))
    last = await (consumer.offset_at(queue, end) if end else consumer.max_offset(queue))
    return first, last


async def _consume_one(
    consumer: PullConsumer, queue: MessageQueue, times: tuple[int, int], offset: int, count: int
) -> None:
    first, last = await _bounds(consumer, queue, *times)
    if offset > last:
        print(f"{_name(queue)} no matched msg, offset={offset}")
        return
    first = max(first, offset)
    if last - first > count:
        print(f"The oldler {count} message will be provided")
        last = first + count - 1
    await _consume(consumer, queue, first, last)


async def _consume(consumer: PullConsumer, queue: MessageQueue, offset: int, last: int) -> None:
    while offset <= last:
        result = await consumer.pull(queue, offset, count=last - offset + 1)
        offset = result.next_offset
        if result.status is PullStatus.FOUND:
            print("Consume ok")
            for message in pulled(result):
                text = message.body.decode(errors="replace")
                print(f"MSGID: {message.message_id} {java_text(message)} BODY: {text}")
            continue
        matched = result.status is PullStatus.NO_MATCHED_MESSAGE
        said = "no matched msg" if matched else "print msg finished"
        print(f"{_name(queue)} {said}. status={STATUSES[result.status]}, offset={offset}")
        if not matched:
            return


def _name(queue: MessageQueue) -> str:
    return f"MessageQueue [topic={queue.topic}, brokerName={queue.broker_name}, queueId={queue.queue_id}]"


CLUSTER = Option("c", "cluster", True, "Cluster name or lmq parent topic, lmq is used to find the route.")
CHARSET = Option("f", "bodyFormat", True, "print message body by the specified format")
GROUP = Option("g", "consumerGroup", True, "consumer group name")
CLIENT = Option("d", "clientId", True, "The consumer's client id")
KEY_TYPE = "Index key type, default index key type is K, you can use K for keys OR T for tags"
TIME = "timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"

COMMANDS = (
    Command(
        "sendMessage",
        "Send a message.",
        (
            Option("b", "broker", True, "Send message to target broker"),
            Option("c", "tags", True, "Message tags"),
            Option("i", "qid", True, "Send message to target queue"),
            Option("k", "key", True, "Message keys"),
            Option("p", "body", True, "UTF-8 string format of the message body"),
            Option("t", "topic", True, "Topic name"),
        ),
        ("t", "p"),
        send_message,
    ),
    Command(
        "queryMsgById",
        "Query Message by Id.",
        (
            CLUSTER,
            CLIENT,
            CHARSET,
            GROUP,
            Option("i", "msgId", True, "Message Id"),
            Option("s", "sendMessage", True, "resend message"),
            Option("t", "topic", True, "topic name"),
            Option("u", "unitName", True, "unit name"),
        ),
        ("t", "i"),
        query_by_id,
    ),
    Command(
        "queryMsgByKey",
        "Query Message by Key.",
        (
            Option("b", "beginTimestamp", True, "Begin timestamp(ms). default:0, eg:1676730526212"),
            CLUSTER,
            Option("e", "endTimestamp", True, "End timestamp(ms). default:Long.MAX_VALUE, eg:1676730526212"),
            Option("k", "msgKey", True, "Message Key"),
            Option("l", "lastKey", True, "Last Key"),
            Option("m", "maxNum", True, "The maximum number of messages returned by the query, default:64"),
            Option(
                "p",
                "keyType",
                True,
                KEY_TYPE,
            ),
            Option("t", "topic", True, "Topic name"),
        ),
        ("t", "k"),
        query_by_key,
    ),
    Command(
        "queryMsgByUniqueKey",
        "Query Message by Unique key.",
        (
            Option("a", "showAll", False, "Print all message, the limit is 32"),
            CLUSTER,
            CLIENT,
            Option("e", "endTime", True, "endTime"),
            GROUP,
            Option("i", "msgId", True, "Message Id"),
            Option("s", "startTime", True, "startTime"),
            Option("t", "topic", True, "The topic of msg"),
        ),
        ("i", "t"),
        query_by_unique_key,
    ),
    Command(
        "queryMsgByOffset",
        "Query Message by offset.",
        (
            Option("b", "brokerName", True, "Broker Name"),
            CHARSET,
            Option("i", "queueId", True, "Queue Id"),
            Option("o", "offset", True, "Queue Offset"),
            Option("r", "routeTopic", True, "the topic which is used to find route info"),
            Option("t", "topic", True, "topic name"),
        ),
        ("t", "b", "i", "o"),
        query_by_offset,
    ),
    Command(
        "consumeMessage",
        "Consume message.",
        (
            Option("b", "brokerName", True, "Broker name"),
            Option("c", "MessageNumber", True, "Number of message to be consumed"),
            Option("e", "endTimestamp", True, f"End {TIME}"),
            Option("g", "consumerGroup", True, "Consumer group name"),
            Option("i", "queueId", True, "Queue Id"),
            Option("o", "offset", True, "Queue offset"),
            Option("s", "beginTimestamp", True, f"Begin {TIME}"),
            Option("t", "topic", True, "Topic name"),
        ),
        ("t",),
        consume_message,
    ),
)
