"""mqadmin: a message as RocketMQ's tools print it, and which groups have consumed it.

Source: QueryMsgByIdSubCommand.printMsg, MessageExt.toString, DefaultMQAdminExtImpl.messageTrackDetail.
"""

from __future__ import annotations

import os
import re
from typing import Any

from corduroy.client import Admin, BrokerError, ReceivedMessage
from corduroy.client.codes import Response
from corduroy.client.subscriptions import java_hash
from gateway.admin.command import time_text

BODIES = "/tmp/rocketmq/msgbodys"
SAFE_NAME = re.compile(r"[0-9A-Za-z_-]{1,128}")
BUCKETS = 128  # of the HashMap that Java's clients read properties into; twice as many above three quarters


def fields(message: ReceivedMessage) -> dict[str, Any]:
    """Its fields, by the names under which they are printed; its body's file follows them."""
    return {
        "OffsetID": message.offset_message_id,
        "Topic": message.topic,
        "Tags": f"[{message.properties.get('TAGS', 'null')}]",
        "Keys": f"[{message.properties.get('KEYS', 'null')}]",
        "Queue ID": message.queue_id,
        "Queue Offset": message.queue_offset,
        "CommitLog Offset": message.commit_log_offset,
        "Reconsume Times": message.reconsume_times,
        "Born Timestamp": time_text(message.born_ms, with_ms=True),
        "Store Timestamp": time_text(message.store_ms, with_ms=True),
        "Born Host": message.born_host,
        "Store Host": message.store_host,
        "System Flag": message.sys_flag,
        "Properties": java_map(message.properties),
    }


def java_map(properties: dict[str, str]) -> str:
    """A java.util.HashMap as text: in the order of its buckets."""
    buckets = BUCKETS
    while len(properties) > buckets * 3 // 4:
        buckets *= 2

    def bucket(name: str) -> int:
        value = java_hash(name) & 0xFFFFFFFF
        return (value ^ value >> 16) & buckets - 1

    return "{" + ", ".join(f"{name}={properties[name]}" for name in sorted(properties, key=bucket)) + "}"


def java_text(message: ReceivedMessage) -> str:
    """What MessageExt.toString() says of it."""
    body = [byte - 256 if byte > 127 else byte for byte in message.body]
    half = message.properties.get("TRAN_MSG", "").lower() == "true"
    inner = (
        f"Message{{topic='{message.topic}', flag={message.flag}, properties={java_map(message.properties)}, "
        f"body={body}, transactionId='{message.message_id if half else 'null'}'}}"
    )
    return (
        f"MessageExt [brokerName={message.broker_name}, queueId={message.queue_id}, storeSize={message.record_size}, "
        f"queueOffset={message.queue_offset}, sysFlag={message.sys_flag}, bornTimestamp={message.born_ms}, "
        f"bornHost=/{message.born_host}, storeTimestamp={message.store_ms}, storeHost=/{message.store_host}, "
        f"msgId={message.offset_message_id}, commitLogOffset={message.commit_log_offset}, "
        f"bodyCRC={message.body_crc}, reconsumeTimes={message.reconsume_times}, "
        f"preparedTransactionOffset={message.prepared_transaction_offset}, toString()={inner}]"
    )


def keep_body(message: ReceivedMessage, suffix: str = "") -> str:
    """Write the body to the file that RocketMQ's tools write it to, and return its path. An id that is no plain name
    does not lead elsewhere: then the file is called by the place of the message."""
    name = message.message_id if SAFE_NAME.fullmatch(message.message_id) else message.offset_message_id
    path = f"{BODIES}/{name}{suffix}"
    os.makedirs(BODIES, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "wb") as file:
        file.write(message.body)
    return path


async def tracks(admin: Admin, message: ReceivedMessage) -> list[str]:
    """Of each group that reads its topic, whether it has consumed the message."""
    return [await _track(admin, message, group) for group in await admin.groups_of(message.topic)]


async def _track(admin: Admin, message: ReceivedMessage, group: str) -> str:
    why = "null"
    try:
        kind = await _kind(admin, message, group)
    except BrokerError as error:
        kind = "NOT_ONLINE" if error.code == Response.CONSUMER_NOT_ONLINE else "UNKNOWN"
        why = f"CODE:{error.code} DESC:{error.remark}"
    return f"MessageTrack [consumerGroup={group}, trackType={kind}, exceptionDesc={why}]"


async def _kind(admin: Admin, message: ReceivedMessage, group: str) -> str:
    connection = await admin.consumer_connections(group)
    if connection["consumeType"] == "CONSUME_ACTIVELY":
        return "PULL"
    if connection["consumeType"] != "CONSUME_PASSIVELY":
        return "UNKNOWN"
    if not await _consumed(admin, message, group):
        return "NOT_CONSUME_YET"
    wanted = (connection["subscriptionTable"].get(message.topic) or {}).get("tagsSet") or ()
    return "CONSUMED_BUT_FILTERED" if wanted and not {message.tags, "*"} & set(wanted) else "CONSUMED"


async def _consumed(admin: Admin, message: ReceivedMessage, group: str) -> bool:
    brokers = {name: table for members in (await admin.clusters()).values() for name, table in members.items()}
    for queue, stats in (await admin.consume_stats(group)).items():
        here = brokers.get(queue.broker_name, {}).get(0) == message.store_host
        same = (queue.topic, queue.queue_id) == (message.topic, message.queue_id)
        if here and same and stats["consumerOffset"] > message.queue_offset:
            return True
    return False
