"""What brokers say of themselves, and what is said of them: the bodies of requests and answers.

Source: RocketMQ's protocol.body and protocol.route. Names of
fields are RocketMQ's in camel case, answers in the order in which fastjson writes them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from protocols.remoting.codes import REGISTER_BODY_SINCE, STATIC_TOPICS_SINCE
from protocols.remoting.fastjson import BodyError, bare_keys, decode
from protocols.remoting.frame import FRAME_BYTES_MAX
from protocols.remoting.headers import RegisterBroker

INFLATED_BYTES_MAX = 4 * FRAME_BYTES_MAX
INT_BYTES = 4


class Shape(msgspec.Struct, kw_only=True, rename="camel", gc=False):
    """A JSON object of RocketMQ's; members that are not named here are ignored."""


class DataVersion(Shape, kw_only=True, rename="camel", gc=False):
    """Which state of a broker's topics this is; another one means that something changed."""

    counter: int = 0
    state_version: int = 0
    timestamp: int = 0


class TopicConfig(Shape, kw_only=True, rename="camel", gc=False):
    """One topic as its broker has it."""

    topic_name: str | None = None
    read_queue_nums: int = 16
    write_queue_nums: int = 16
    perm: int = 6
    topic_sys_flag: int = 0


class QueueData(Shape, kw_only=True, rename="camel", gc=False):
    """One broker's part of a topic."""

    broker_name: str
    perm: int = 0
    read_queue_nums: int = 0
    topic_sys_flag: int = 0
    write_queue_nums: int = 0


class TopicMapping(Shape, kw_only=True, rename="camel", gc=False):
    """A static topic's queues on one broker: logical -> physical queue id."""

    bname: str
    curr_id_map: dict[int, int] = {}
    dirty: bool = False
    epoch: int = 0
    scope: str = "__global__"
    topic: str
    total_queues: int = 0


class TopicConfigs(Shape, kw_only=True, rename="camel"):
    """TopicConfigAndMappingSerializeWrapper."""

    data_version: DataVersion = msgspec.field(default_factory=DataVersion)
    topic_config_table: dict[str, TopicConfig] = {}
    topic_queue_mapping_info_map: dict[str, TopicMapping] = {}


class RegisterBody(Shape, kw_only=True, rename="camel"):
    """RegisterBrokerBody."""

    filter_server_list: list[str] | None = None
    topic_config_serialize_wrapper: TopicConfigs = msgspec.field(default_factory=TopicConfigs)


class RouteBody(Shape, kw_only=True, rename="camel"):
    """Of TopicRouteData what REGISTER_TOPIC_IN_NAMESRV needs."""

    queue_datas: list[QueueData] = []


class BrokerData:
    """The brokers that share a name: a master and its slaves, by id."""

    __slots__ = ("acting_master", "addresses", "cluster", "name", "zone")

    def __init__(self, cluster: str, name: str):
        self.cluster = cluster
        self.name = name
        self.addresses: dict[int, str] = {}
        self.acting_master = False
        self.zone: str | None = None


class Registration(msgspec.Struct, kw_only=True):
    """All that a broker says when it registers."""

    cluster: str
    name: str
    address: str
    broker_id: int
    ha_address: str
    zone: str | None
    expiry_ms: int | None
    acting_master: bool | None
    version: DataVersion
    topics: dict[str, TopicConfig]
    mappings: dict[str, TopicMapping]
    filters: list[str] | None


def registration(header: RegisterBroker, version: int, body: bytes) -> Registration:
    """A registration from its header and the body of a broker of that MQVersion. Raises BodyError."""
    if version < REGISTER_BODY_SINCE:
        configs, filters = decode(body, TopicConfigs) if body else TopicConfigs(), None
    else:
        whole = register_body(body, header.compressed, version)
        configs, filters = whole.topic_config_serialize_wrapper, whole.filter_server_list
    return Registration(
        cluster=header.cluster_name,
        name=header.broker_name,
        address=header.broker_addr,
        broker_id=header.broker_id,
        ha_address=header.ha_server_addr,
        zone=header.zone_name,
        expiry_ms=header.heartbeat_timeout_millis,
        acting_master=header.enable_acting_master,
        version=configs.data_version,
        topics={each.topic_name: each for each in configs.topic_config_table.values() if each.topic_name},
        mappings=configs.topic_queue_mapping_info_map,
        filters=filters,
    )


def register_body(body: bytes, compressed: bool, version: int) -> RegisterBody:
    """RegisterBrokerBody, as JSON or compressed. Raises BodyError."""
    if not body:
        return RegisterBody()
    return _Inflated(body).register_body(version) if compressed else decode(body, RegisterBody)


class _Inflated:
    """The compressed form: zlib of `i32 size + text` for each part (RegisterBrokerBody.encode)."""

    def __init__(self, body: bytes):
        inflating = zlib.decompressobj()
        try:
            self._data = inflating.decompress(body, INFLATED_BYTES_MAX)
        except zlib.error as error:
            raise BodyError(f"it cannot be inflated: {error}") from None
        if inflating.unconsumed_tail:
            raise BodyError(f"it is more than {INFLATED_BYTES_MAX} bytes when inflated")
        self._at = 0

    def _number(self) -> int:
        data = self._data[self._at : self._at + INT_BYTES]
        if len(data) < INT_BYTES:
            raise BodyError("it ends before its last part")
        self._at += INT_BYTES
        return int.from_bytes(data, "big", signed=True)

    def _part(self) -> bytes:
        size = self._number()
        data = self._data[self._at : self._at + max(0, size)]
        if len(data) != size:
            raise BodyError("it ends before its last part")
        self._at += size
        return data

    def register_body(self, version: int) -> RegisterBody:
        """All parts, in their order."""
        configs = TopicConfigs(data_version=decode(self._part(), DataVersion))
        for _ in range(self._number()):
            config = _topic_config(self._part())
            if config is not None and config.topic_name:
                configs.topic_config_table[config.topic_name] = config
        filters = decode(self._part(), list[str])
        if version >= STATIC_TOPICS_SINCE:
            for _ in range(self._number()):
                mapping = decode(self._part(), TopicMapping)
                configs.topic_queue_mapping_info_map[mapping.topic] = mapping
        return RegisterBody(filter_server_list=filters, topic_config_serialize_wrapper=configs)


def _topic_config(text: bytes) -> TopicConfig | None:
    """`name readQueues writeQueues perm FILTER_TYPE attributes`; None if it has fewer parts."""
    parts = text.decode("utf-8", "replace").split(" ")
    if len(parts) < 5:
        return None
    try:
        reads, writes, perm = (int(part) for part in parts[1:4])
    except ValueError:
        raise BodyError(f"it has a topic with broken numbers: {text[:80]!r}") from None
    return TopicConfig(topic_name=parts[0], read_queue_nums=reads, write_queue_nums=writes, perm=perm)


def encoded(value: object) -> bytes:
    """A body."""
    return msgspec.json.encode(value)


def numbered(table: dict[int, Any], strict: bool) -> Any:
    """A map whose keys are numbers: with quotes for who reads JSON only."""
    return {str(key): table[key] for key in sorted(table)} if strict else bare_keys(table)


def broker_data(data: BrokerData, strict: bool, show: Callable[[str], str] = str) -> dict[str, Any]:
    """BrokerData; show(address) is how who asks is to see it."""
    addresses = {broker_id: show(address) for broker_id, address in data.addresses.items()}
    found: dict[str, Any] = {
        "brokerAddrs": numbered(addresses, strict),
        "brokerName": data.name,
        "cluster": data.cluster,
        "enableActingMaster": data.acting_master,
    }
    if data.zone is not None:
        found["zoneName"] = data.zone
    return found


def mapping_data(mapping: TopicMapping, strict: bool) -> dict[str, Any]:
    """TopicQueueMappingInfo."""
    found: dict[str, Any] = msgspec.to_builtins(mapping)
    return {**found, "currIdMap": numbered(mapping.curr_id_map, strict)}


def topic_list(topics: list[str], address: str | None = None) -> bytes:
    """TopicList."""
    return encoded({"topicList": topics} if address is None else {"brokerAddr": address, "topicList": topics})
