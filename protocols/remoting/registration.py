"""What name servers are told of this broker: that it is there, its topics, what of them changed, that it leaves.

    QUERY_DATA_VERSION, every period: is what you have of us what there is? ──► no: REGISTER_BROKER with all topics
    REGISTER_BROKER with those topics that changed, when they do            UNREGISTER_BROKER at a stop

Source: RocketMQ's BrokerOuterAPI, whose forms these are; it sends all topics every time unless it is told not to.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from core.state.records import TopicConfig
from protocols.remoting.codes import Request, Response
from protocols.remoting.frame_writer import FrameWriter
from protocols.remoting.rules import INHERIT, READ, WRITE

JSON = 0
CRC_BITS = 0x7FFFFFFF
MASTER_ID = 0


class Identity(NamedTuple):
    """Who registers: `address` is HOST:PORT where clients come."""

    cluster: str
    name: str
    address: str


class Registrar:
    """Makes the requests to one name server, and knows what its answers ask for. topics: the broker's; permission() =
    what the broker permits of what its topics do, as bits."""

    def __init__(self, identity: Identity, topics: Any, permission: Callable[[], int] = lambda: READ | WRITE):
        self.identity = identity
        self._topics = topics
        self._permission = permission
        self._writer = FrameWriter()
        self._opaque = 0
        self._asked = -1  # the opaque of the last QUERY_DATA_VERSION

    def ask(self) -> bytes:
        """Is it up to date? This also says that the broker is there."""
        data = self._request(Request.QUERY_DATA_VERSION, {}, msgspec.json.encode(self._version()))
        self._asked = self._opaque
        return data

    def take(self, frame: Any) -> tuple[bytes, str]:
        """An answer: what to send now, and what went wrong; each may be empty."""
        if frame.code != Response.SUCCESS:
            return b"", f"response code {frame.code}: {frame.remark}"
        changed = frame.opaque == self._asked and frame.get(b"changed") == b"true"
        return (self.all() if changed else b""), ""

    def all(self) -> bytes:
        """Everything."""
        return self._register(topic.config for topic in self._topics.all())

    def some(self, names: Iterable[bytes]) -> bytes:
        """These topics, as they are now; those that are not there any more are left out."""
        found = (self._topics.find(name) for name in names)
        return self._register(topic.config for topic in found if topic is not None)

    def leave(self) -> bytes:
        """The broker stops."""
        return self._request(Request.UNREGISTER_BROKER, {})

    def _version(self) -> dict[str, int]:
        version = self._topics.version
        return {"counter": version.counter, "stateVersion": 0, "timestamp": version.ms}

    def _register(self, configs: Iterable[TopicConfig]) -> bytes:
        permission = self._permission() | INHERIT
        wrapper = {
            "dataVersion": self._version(),
            "mappingDataVersion": {"counter": 0, "stateVersion": 0, "timestamp": 0},
            "topicConfigTable": {config.name.decode(): topic_row(config, permission) for config in configs},
            "topicQueueMappingDetailMap": {},
            "topicQueueMappingInfoMap": {},
        }
        body = msgspec.json.encode({"filterServerList": [], "topicConfigSerializeWrapper": wrapper})
        fields = {"haServerAddr": self.identity.address, "compressed": "false", "enableActingMaster": "false"}
        fields["bodyCrc32"] = str(zlib.crc32(body) & CRC_BITS)
        return self._request(Request.REGISTER_BROKER, fields, body)

    def _request(self, code: int, fields: dict[str, str], body: bytes = b"") -> bytes:
        self._opaque = (self._opaque + 1) & 0x7FFFFFFF
        who = {"brokerName": self.identity.name, "brokerAddr": self.identity.address}
        who |= {"clusterName": self.identity.cluster, "brokerId": str(MASTER_ID)}
        self._writer.begin(JSON, code, self._opaque, 0)
        for name, value in (who | fields).items():
            self._writer.field(name.encode(), value.encode())
        return self._writer.end(len(body)) + body


def topic_row(config: TopicConfig, permission: int) -> dict[str, Any]:
    """RocketMQ's TopicConfig."""
    return {
        "attributes": config.attributes,
        "order": config.order,
        "perm": config.perm & permission,
        "readQueueNums": config.read_queues,
        "topicFilterType": config.filter_type,
        "topicName": config.name.decode(),
        "topicSysFlag": config.sys_flag,
        "writeQueueNums": config.write_queues,
    }
