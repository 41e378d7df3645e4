"""Topics in JSON, as RocketMQ's classes TopicConfig, TopicList, TopicStatsTable and their wrappers are written.

Members come in the order of their names. Keys of maps that are queues are objects, bare, as fastjson writes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec


class DataVersion(msgspec.Struct, rename="camel"):
    """Which state of a table it is."""

    counter: int
    state_version: int
    timestamp: int


class TopicBody(msgspec.Struct, rename="camel", kw_only=True):
    """TopicConfig."""

    attributes: dict[str, str] = {}
    order: bool = False
    perm: int = 6
    read_queue_nums: int = 16
    topic_filter_type: str = "SINGLE_TAG"
    topic_name: str
    topic_sys_flag: int = 0
    write_queue_nums: int = 16


class TopicListBody(msgspec.Struct, rename="camel"):
    """UPDATE_AND_CREATE_TOPIC_LIST."""

    topic_config_list: list[TopicBody] = []


def topic_body(config: Any) -> TopicBody:
    """One topic's."""
    return TopicBody(
        attributes=dict(config.attributes),
        order=config.order,
        perm=config.perm,
        read_queue_nums=config.read_queues,
        topic_filter_type=config.filter_type,
        topic_name=config.name.decode(),
        topic_sys_flag=config.sys_flag,
        write_queue_nums=config.write_queues,
    )


def all_topics(configs: Iterable[Any], version: DataVersion) -> bytes:
    """TopicConfigAndMappingSerializeWrapper; there are no static topics here."""
    none = DataVersion(0, 0, version.timestamp)
    wrapper = {
        "dataVersion": version,
        "mappingDataVersion": none,
        "topicConfigTable": {config.name.decode(): topic_body(config) for config in configs},
        "topicQueueMappingDetailMap": {},
        "topicQueueMappingInfoMap": {},
    }
    return msgspec.json.encode(wrapper)


def topic_list(names: Iterable[bytes]) -> bytes:
    """TopicList."""
    return msgspec.json.encode({"topicList": [name.decode() for name in names]})


def queue_key(broker: str, name: bytes, queue_id: int) -> bytes:
    """MessageQueue."""
    return msgspec.json.encode({"brokerName": broker, "queueId": queue_id, "topic": name.decode()})


def bounds(key: bytes, least: int, most: int, last_ms: int) -> bytes:
    """TopicOffset of a queue_key: its first and its next offset, and when its last message was stored."""
    return b'%b:{"lastUpdateTimestamp":%d,"maxOffset":%d,"minOffset":%d}' % (key, last_ms, most, least)


def topic_stats(rows: Iterable[bytes], put_tps: float) -> bytes:
    """TopicStatsTable of bounds()."""
    return b'{"offsetTable":{%b},"topicPutTps":%b}' % (b",".join(rows), msgspec.json.encode(put_tps))
