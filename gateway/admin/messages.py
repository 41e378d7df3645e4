"""mqadmin: single messages."""

from __future__ import annotations

import time

from corduroy.client import Admin, Message, MessageQueue, Producer
from gateway.admin.command import Command, Failed, Given, table, whole
from namesrv.command_line import Option


async def send_message(admin: Admin, given: Given) -> None:
    """sendMessage"""
    if "i" in given and "b" not in given:
        raise Failed("Broker name must be set if the queue is chosen!")
    message = Message(given["t"], given["p"].encode(), tags=given.get("c", ""), keys=given.get("k", ""))
    async with Producer(f"{time.time_ns() // 1_000_000}", ";".join(admin.remoting.name_servers)) as producer:
        queue = MessageQueue(given["t"], given["b"], whole(given, "i", 0)) if "i" in given else None
        sent = await producer.send(message, queue=queue)
    row = table("<32", "<4", "<20", "<0")
    row("#Broker Name", "#QID", "#Send Result", "  #MsgId")
    row(sent.queue.broker_name, sent.queue.queue_id, sent.status.name, f"  {sent.message_id}")


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
)
