"""Beside RocketMQ's own client for Java: it reads what we send and we what it sends, and a group may have both."""

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from corduroy.client.admin import Admin
from corduroy.client.messages import Message
from corduroy.client.producer import Producer
from tests.client import apache
from tests.client.listeners import Seen, consumer

SOURCE = Path(__file__).with_name("Member.java")

pytestmark = pytest.mark.skipif(bool(apache.missing()), reason=f"RocketMQ's Java client: {apache.missing()}")


class Member:
    """The Java program's lines, as they come."""

    def __init__(self, process):
        self.process = process
        self.lines = []

    async def until(self, condition):
        """Read on until it holds."""
        while not condition(self.lines):
            line = await self.process.stdout.readline()
            assert line, f"it ended: {self.lines}"
            self.lines.append(line.decode().strip())

    def said(self, word):
        """The lines that begin with it, without it, in fields."""
        return [line.split(" ")[1:] for line in self.lines if line.startswith(f"{word} ")]


@asynccontextmanager
async def member(broker, topic, group, home):
    """RocketMQ's client in a process of its own."""
    options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", f"-Duser.home={home}", "-cp", f"{apache.library()}/*"]
    command = ["java", *options, SOURCE]
    out, log = asyncio.subprocess.PIPE, os.open(home / "java.log", os.O_CREAT | os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(*command, broker.name_server, topic, group, stdout=out, stderr=log)
    os.close(log)
    try:
        yield Member(process)
    finally:
        process.kill()
        await process.wait()


def replying(producer):
    """A listener that answers what it gets."""

    async def listen(messages):
        for message in messages:
            await producer.reply(message, b"ours answers " + message.body)

    return listen


def test_javas_client_and_ours_understand_each_other_and_share_a_group(broker, name, run, tmp_path):
    async def life():
        async with Admin(broker.name_server) as admin:
            await admin.create_topic(name, queues=4)
            await admin.create_topic(f"{name}-asked", queues=1)
        seen = Seen()
        async with (
            Producer(name, broker.name_server) as producer,
            consumer(broker, name, name, seen) as ours,
            consumer(broker, f"{name}-replying", f"{name}-asked", replying(producer)),
            member(broker, name, name, tmp_path) as java,
        ):
            await java.until(lambda lines: "STARTED" in lines)
            assert java.said("REPLY") == [["ours", "answers", "java", "asks"]]
            while sum(queue.topic == name for queue in ours.assignment.queues) != 2:
                await asyncio.sleep(0.05)
            big = next(message for message in seen.messages if len(message.body) == 5000)
            assert (big.body, big.tags, big.keys) == (b"j" * 5000, "TagJ", ["key1", "key2"])
            assert big.properties["mine"] == "é"
            for key, queue_id in java.said("KEY"):
                sent = await producer.send(Message(name, b"x", sharding_key=key))
                assert (key, str(sent.queue.queue_id)) == (key, queue_id)
            theirs = next(queue for queue in await producer.queues(name) if queue not in ours.assignment.queues)
            reply = await producer.request(Message(name, b"ours asks", "ASK"), queue=theirs, timeout=20)
            assert (reply.body, reply.topic) == (b"java answers", "DefaultCluster_REPLY_TOPIC")
            sent = {}
            for queue in await producer.queues(name):
                message = Message(name, b"p" * 6000, "TagP", ["k1", "k2"], {"mine": "ü"})
                sent[queue] = await producer.send(message, queue=queue)
            theirs = set(sent) - set(ours.assignment.queues)
            wanted = [[str(q.queue_id), "TagP", "k1", "k2", "6000", "ü", sent[q].message_id] for q in sorted(theirs)]
            await java.until(lambda lines: all(each in java.said("GOT") for each in wanted))
            await seen.until(lambda seen: sum(message.tags == "TagP" for message in seen.messages) == 2)

    run(life())
