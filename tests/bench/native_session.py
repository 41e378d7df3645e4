"""What comes before and after a native load: topics, groups and offsets, blocking; and the requests to send.

Header fields of requests under load are in RocketMQ's binary form, as Apache's benchmark programs send them.
"""

from __future__ import annotations

import json
import socket
import struct
import zlib
from typing import Any

from corduroy.client.frames import Frame, FrameReader, encode, texts
from tests.bench.session import CONNECT_SECONDS, LoadError

GROUP = "bench"
UNIQ_KEY = "7F0000010001" + "0" * 20  # as long as a client's own
SEND_V2, SEND_BATCH, PULL, COMMIT, SUBSCRIBED = 310, 320, 11, 1, 2
MAX_OFFSET, CONSUMER_OFFSET, HEARTBEAT, CREATE_TOPIC, DELETE_TOPIC = 30, 14, 34, 17, 215
QUERY_NOT_FOUND = 22
SUSPEND_MS = 15_000  # what a push consumer asks for
PULLED_MAX = 32
OPAQUE_AT = 13  # in a frame with a binary header
JAVA, VERSION = 0, 500


def binary_request(code: int, fields: dict[str, Any], body: bytes = b"") -> bytes:
    """A request with a binary header and the opaque 0."""
    packed = b""
    for name, value in texts(fields).items():
        packed += struct.pack(">H", len(name)) + name.encode() + struct.pack(">I", len(value.encode())) + value.encode()
    header = struct.pack(">hBhiiii", code, JAVA, VERSION, 0, 0, 0, len(packed)) + packed
    return struct.pack(">II", 4 + len(header) + len(body), 1 << 24 | len(header)) + header + body


def send_request(topic: str, queue_id: int, body: bytes) -> tuple[bytes, int]:
    """SEND_MESSAGE_V2 as Java's producer writes it, and where in it the body begins."""
    frame = binary_request(SEND_V2, _send_fields(topic, queue_id, f"UNIQ_KEY\1{UNIQ_KEY}\2WAIT\1true"), body)
    return frame, len(frame) - len(body)


def batch_request(topic: str, queue_id: int, bodies: list[bytes]) -> bytes:
    """SEND_BATCH_MESSAGE of these."""
    properties = f"UNIQ_KEY\1{UNIQ_KEY}\2WAIT\1true".encode()
    items = b""
    for body in bodies:
        size = 20 + len(body) + 2 + len(properties)
        items += struct.pack(">IIIiI", size, 0, zlib.crc32(body), 0, len(body)) + body
        items += struct.pack(">H", len(properties)) + properties
    fields = _send_fields(topic, queue_id, f"UNIQ_KEY\1{UNIQ_KEY}\2WAIT\1true") | {"m": True}
    return binary_request(SEND_BATCH, fields, items)


def _send_fields(topic: str, queue_id: int, properties: str) -> dict[str, Any]:
    return {
        **{"a": GROUP, "b": topic, "c": "TBW102", "d": 4, "e": queue_id, "f": 0, "g": 1_700_000_000_000, "h": 0},
        **{"i": properties, "j": 0, "k": False, "l": 0, "m": False, "n": "broker-a"},
    }


def pull_request(group: str, topic: str, queue_id: int) -> tuple[bytes, int]:
    """PULL_MESSAGE as a push consumer writes it, for 32 messages; and where in it the 18 digits of its offset lie."""
    mark = "9" * 18
    fields = {
        **{"consumerGroup": group, "topic": topic, "queueOffset": mark, "queueId": queue_id, "maxMsgNums": PULLED_MAX},
        **{"sysFlag": SUBSCRIBED, "commitOffset": 0, "suspendTimeoutMillis": SUSPEND_MS, "subVersion": 0},
        **{"expressionType": "TAG", "maxMsgBytes": 2147483647, "bname": "broker-a"},
    }
    frame = binary_request(PULL, fields)
    return frame, frame.index(mark.encode())


class NativeSession:
    """One connection that asks and waits. A context: leaving it closes the socket."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, CONNECT_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader()
        self._opaque = 1 << 20

    def __enter__(self) -> NativeSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def call(self, code: int, fields: dict[str, Any], body: bytes = b"", accept: int = 0) -> Frame:
        """The answer; its code is 0 or `accept`."""
        self._opaque += 1
        self.sock.sendall(encode(Frame(code, texts(fields), body, opaque=self._opaque)))
        while True:
            frame = self._reader.next_frame()
            if frame is None:
                data = self.sock.recv(1 << 16)
                if not data:
                    raise LoadError("the broker closed the connection without a word")
                self._reader.feed(data)
            elif frame.is_response and frame.opaque == self._opaque:
                if frame.code not in (0, accept):
                    raise LoadError(f"request {code} was refused: {frame.code} {frame.remark}")
                return frame

    def create_topic(self, name: str, queues: int = 4) -> None:
        """A topic with so many queues."""
        fields = {
            **{"topic": name, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues, "perm": 6},
            **{"topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False},
        }
        self.call(CREATE_TOPIC, fields)

    def delete_topic(self, name: str) -> None:
        """It goes with its messages."""
        self.call(DELETE_TOPIC, {"topic": name})

    def stored(self, topic: str, queues: int = 4) -> int:
        """How many messages were ever stored in the topic."""
        ends = [self.call(MAX_OFFSET, {"topic": topic, "queueId": at}) for at in range(queues)]
        return sum(int(end.fields["offset"]) for end in ends)

    def consumed(self, group: str, topic: str, queues: int = 4) -> int:
        """The group's offsets in the topic, added up."""
        total = 0
        for at in range(queues):
            fields = {"consumerGroup": group, "topic": topic, "queueId": at, "setZeroIfNotFound": True}
            answer = self.call(CONSUMER_OFFSET, fields, accept=QUERY_NOT_FOUND)
            total += int(answer.fields["offset"]) if answer.code == 0 else 0
        return total

    def join(self, group: str, topics: list[str]) -> None:
        """This connection is that of a push consumer of the group, for the time being."""
        subscriptions = [
            {
                **{"classFilterMode": False, "codeSet": [], "expressionType": "TAG", "subString": "*", "subVersion": 1},
                **{"tagsSet": [], "topic": topic},
            }
            for topic in topics
        ]
        consumer = {
            **{"consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "consumeType": "CONSUME_PASSIVELY"},
            **{"groupName": group, "messageModel": "CLUSTERING", "unitMode": False},
            "subscriptionDataSet": subscriptions,
        }
        said = {"clientID": f"{group}-{self.sock.fileno()}", "consumerDataSet": [consumer], "producerDataSet": []}
        self.call(HEARTBEAT, {}, json.dumps(said).encode())
