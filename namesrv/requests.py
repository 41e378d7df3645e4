"""What is asked of the name server, by request code. Source: RocketMQ's processors of the same requests.

Where RocketMQ answers a missing field with its own exception's text, or as if the field said null, the answer here is
SYSTEM_ERROR and the field's name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from namesrv import lookup
from namesrv.bodies import DataVersion, RouteBody, encoded, registration, topic_list
from namesrv.config import BlackListed, Config, ConfigError
from namesrv.kv import ORDER_TOPICS, KvConfig, KvError
from namesrv.routes import RegistryFull, Routes
from protocols.remoting import headers
from protocols.remoting.codes import STRICT_JSON_SINCE, Request, Response
from protocols.remoting.fastjson import BodyError, decode
from protocols.remoting.fields import FieldError
from protocols.remoting.frame import Frame

CRC_BITS = 0x7FFFFFFF
NO_ROUTE = (
    "No topic route info in name server for the topic: {}\n"
    "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
)


class Answer(NamedTuple):
    """What goes back. Fields are text; a body is as it is sent."""

    code: int = Response.SUCCESS
    remark: str | None = None
    body: bytes = b""
    fields: dict[str, str] | None = None


class Files(NamedTuple):
    """Where content goes that must last; each raises OSError if it cannot."""

    save_kv: Callable[[bytes], None]
    save_config: Callable[[bytes], None]


class NameServer:
    """Answers requests. `now()` is monotonic seconds; `report(event, **fields)` tells the operator.

    show(channel, address)  how who asks over that connection is to see a broker's address; as it was registered, unless
                            who embeds the name server knows better
    """

    def __init__(self, config: Config, files: Files, now: Callable[[], float], report: Callable[..., None]):
        self.config = config
        self.routes = Routes(now)
        self.kv = KvConfig(files.save_kv)
        self._files = files
        self._now = now
        self.report = report
        self.show: Callable[[object, str], str] = lambda channel, address: address
        self._started = now()

    def load_kv(self, content: bytes) -> None:
        """Begin with what the KV file holds. Raises BodyError."""
        self.kv = KvConfig(self._files.save_kv, content)

    def answer(self, frame: Frame, channel: object) -> Answer:
        """The answer to a request that came over that connection."""
        verb = VERBS.get(frame.code)
        if verb is None:
            return Answer(Response.REQUEST_CODE_NOT_SUPPORTED, f" request type {frame.code} not supported")
        try:
            return verb(self, frame, channel)
        except (FieldError, KvError, RegistryFull, ConfigError) as error:
            return Answer(Response.SYSTEM_ERROR, str(error))
        except BodyError as error:
            return Answer(Response.SYSTEM_ERROR, f"Failed to decode the body of {Request(frame.code).name}: {error}")

    def lost(self, channel: object) -> None:
        """A connection is gone, and with it the brokers that registered over it."""
        for at in self.routes.lost(channel):
            self.report("broker's connection is gone", broker=at.address, cluster=at.cluster)

    def expire(self) -> list[object]:
        """Forget brokers that were not heard of for too long; return their connections, to be closed."""
        gone = self.routes.expire()
        for at, _ in gone:
            self.report("broker was not heard of for too long", broker=at.address, cluster=at.cluster)
        return [channel for _, channel in gone]

    # --- brokers

    def _register_broker(self, frame: Frame, channel: object) -> Answer:
        header = headers.read(headers.RegisterBroker, frame)
        body = frame.body()
        if header.body_crc32 and zlib.crc32(body) & CRC_BITS != header.body_crc32:
            return Answer(Response.SYSTEM_ERROR, "crc32 not match")
        asked = registration(header, frame.version, body)
        is_new = self.routes.version_of(asked.cluster, asked.address) is None
        replaces = self.config["deleteTopicWithBrokerRegistration"]
        done = self.routes.register(asked, channel, replaces_topics=replaces)
        if done is None:
            return Answer(Response.SYSTEM_ERROR, "register broker failed")
        if is_new:
            self.report("broker registered", broker=asked.address, cluster=asked.cluster, name=asked.name)
        fields = {"haServerAddr": done.ha_address, "masterAddr": done.master_address} if done.master_address else None
        order = self.kv.namespace(ORDER_TOPICS) if self.config["returnOrderTopicConfigToBroker"] else None
        return Answer(fields=fields, body=b"" if order is None else encoded({"table": order}))

    def _unregister_broker(self, frame: Frame, channel: object) -> Answer:
        header = headers.read(headers.BrokerAddress, frame)
        self.routes.unregister(header.cluster_name, header.broker_addr, header.broker_name)
        self.report("broker unregistered", broker=header.broker_addr, cluster=header.cluster_name)
        return Answer()

    def _heartbeat(self, frame: Frame, channel: object) -> Answer:
        header = headers.read(headers.BrokerHeartbeat, frame)
        self.routes.heartbeat(header.cluster_name, header.broker_addr)
        return Answer()

    def _query_data_version(self, frame: Frame, channel: object) -> Answer:
        header = headers.read(headers.BrokerAddress, frame)
        body = frame.body()
        theirs = decode(body, DataVersion) if body else None
        ours = self.routes.version_of(header.cluster_name, header.broker_addr)
        self.routes.heartbeat(header.cluster_name, header.broker_addr)
        changed = {"changed": "false" if ours is not None and ours == theirs else "true"}
        return Answer(fields=changed, body=b"" if ours is None else encoded(ours))

    def _wipe_write_perm(self, frame: Frame, channel: object) -> Answer:
        name = headers.read(headers.BrokerName, frame).broker_name
        count = self.routes.wipe_write_perm(name)
        self.report("write permission wiped", name=name, topics=count)
        return Answer(fields={"wipeTopicCount": str(count)})

    def _add_write_perm(self, frame: Frame, channel: object) -> Answer:
        name = headers.read(headers.BrokerName, frame).broker_name
        count = self.routes.add_write_perm(name)
        self.report("write permission added", name=name, topics=count)
        return Answer(fields={"addTopicCount": str(count)})

    def _member_group(self, frame: Frame, channel: object) -> Answer:
        header = headers.read(headers.BrokerGroup, frame)
        return Answer(body=lookup.member_group(self.routes, header.cluster_name, header.broker_name))

    def _cluster_info(self, frame: Frame, channel: object) -> Answer:
        return Answer(body=lookup.cluster_info(self.routes, partial(self.show, channel)))

    # --- topics

    def _route(self, frame: Frame, channel: object) -> Answer:
        header = headers.read(headers.GetRouteInfo, frame)
        waited = self._now() - self._started
        if self.config["needWaitForService"] and waited < self.config["waitSecondsForService"]:
            return Answer(Response.SYSTEM_ERROR, "name server not ready")
        wanted = lookup.Wanted(
            strict=frame.version >= STRICT_JSON_SINCE or header.accept_standard_json_only,
            zone=header.zone_name.strip() if header.zone_mode else "",
            acting_master=self.config["supportActingMaster"],
            show=partial(self.show, channel),
        )
        order = self.kv.get(ORDER_TOPICS, header.topic) if self.config["orderMessageEnable"] else None
        body = lookup.route(self.routes, header.topic, wanted, order)
        if body is None:
            return Answer(Response.TOPIC_NOT_EXIST, NO_ROUTE.format(header.topic))
        return Answer(body=body)

    def _register_topic(self, frame: Frame, channel: object) -> Answer:
        header = headers.read(headers.TopicInNamesrv, frame)
        body = frame.body()
        if body:
            self.routes.add_topic(header.topic, decode(body, RouteBody).queue_datas)
        return Answer()

    def _delete_topic(self, frame: Frame, channel: object) -> Answer:
        header = headers.read(headers.TopicInNamesrv, frame)
        self.routes.delete_topic(header.topic, header.cluster_name)
        self.report("topic deleted", topic=header.topic, cluster=header.cluster_name or "all")
        return Answer()

    def _all_topics(self, frame: Frame, channel: object) -> Answer:
        if not self.config["enableAllTopicList"]:
            return Answer(Response.SYSTEM_ERROR, "disable")
        return Answer(body=topic_list(list(self.routes.topics)))

    def _topics_by_cluster(self, frame: Frame, channel: object) -> Answer:
        cluster = headers.read(headers.ClusterTopics, frame).cluster
        return self._topics(list(self.routes.topics_of(cluster)))

    def _topics(self, topics: list[str]) -> Answer:
        if not self.config["enableTopicList"]:
            return Answer(Response.SYSTEM_ERROR, "disable")
        return Answer(body=topic_list(topics))

    def _system_topics(self, frame: Frame, channel: object) -> Answer:
        return Answer(body=lookup.system_topics(self.routes))

    def _unit_topics(self, frame: Frame, channel: object) -> Answer:
        return self._topics(list(self.routes.topics_with(lambda flag: flag & lookup.UNIT != 0)))

    def _unit_sub_topics(self, frame: Frame, channel: object) -> Answer:
        return self._topics(list(self.routes.topics_with(lambda flag: flag & lookup.UNIT_SUB != 0)))

    def _unit_sub_ununit_topics(self, frame: Frame, channel: object) -> Answer:
        both = lookup.UNIT | lookup.UNIT_SUB
        return self._topics(list(self.routes.topics_with(lambda flag: flag & both == lookup.UNIT_SUB)))

    # --- configuration

    def _put_kv(self, frame: Frame, channel: object) -> Answer:
        if frame.get(b"namespace") is None or frame.get(b"key") is None:
            return Answer(Response.SYSTEM_ERROR, "namespace or key is null")
        item = headers.read(headers.KvItem, frame)
        self.kv.put(item.namespace, item.key, item.value)
        return Answer()

    def _get_kv(self, frame: Frame, channel: object) -> Answer:
        asked = headers.read(headers.KvKey, frame)
        value = self.kv.get(asked.namespace, asked.key)
        if value is None:
            remark = f"No config item, Namespace: {asked.namespace} Key: {asked.key}"
            return Answer(Response.QUERY_NOT_FOUND, remark)
        return Answer(fields={"value": value})

    def _delete_kv(self, frame: Frame, channel: object) -> Answer:
        asked = headers.read(headers.KvKey, frame)
        self.kv.delete(asked.namespace, asked.key)
        return Answer()

    def _kv_namespace(self, frame: Frame, channel: object) -> Answer:
        namespace = headers.read(headers.KvNamespace, frame).namespace
        table = self.kv.namespace(namespace)
        if table is None:
            return Answer(Response.QUERY_NOT_FOUND, f"No config item, Namespace: {namespace}")
        return Answer(body=encoded({"table": table}))

    def _get_config(self, frame: Frame, channel: object) -> Answer:
        return Answer(body=self.config.text().encode())

    def _update_config(self, frame: Frame, channel: object) -> Answer:
        body = frame.body()
        if not body:
            return Answer()
        try:
            changed = self.config.update(body.decode("utf-8", "replace"), self._files.save_config)
        except BlackListed as error:
            return Answer(Response.NO_PERMISSION, str(error))
        self.report("configuration updated", keys=",".join(changed) or "none")
        return Answer()


VERBS: dict[int, Callable[[NameServer, Frame, object], Answer]] = {
    Request.PUT_KV_CONFIG: NameServer._put_kv,
    Request.GET_KV_CONFIG: NameServer._get_kv,
    Request.DELETE_KV_CONFIG: NameServer._delete_kv,
    Request.GET_KVLIST_BY_NAMESPACE: NameServer._kv_namespace,
    Request.REGISTER_BROKER: NameServer._register_broker,
    Request.UNREGISTER_BROKER: NameServer._unregister_broker,
    Request.BROKER_HEARTBEAT: NameServer._heartbeat,
    Request.QUERY_DATA_VERSION: NameServer._query_data_version,
    Request.GET_BROKER_MEMBER_GROUP: NameServer._member_group,
    Request.GET_BROKER_CLUSTER_INFO: NameServer._cluster_info,
    Request.WIPE_WRITE_PERM_OF_BROKER: NameServer._wipe_write_perm,
    Request.ADD_WRITE_PERM_OF_BROKER: NameServer._add_write_perm,
    Request.GET_ROUTEINFO_BY_TOPIC: NameServer._route,
    Request.REGISTER_TOPIC_IN_NAMESRV: NameServer._register_topic,
    Request.DELETE_TOPIC_IN_NAMESRV: NameServer._delete_topic,
    Request.GET_ALL_TOPIC_LIST_FROM_NAMESERVER: NameServer._all_topics,
    Request.GET_TOPICS_BY_CLUSTER: NameServer._topics_by_cluster,
    Request.GET_SYSTEM_TOPIC_LIST_FROM_NS: NameServer._system_topics,
    Request.GET_UNIT_TOPIC_LIST: NameServer._unit_topics,
    Request.GET_HAS_UNIT_SUB_TOPIC_LIST: NameServer._unit_sub_topics,
    Request.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST: NameServer._unit_sub_ununit_topics,
    Request.GET_NAMESRV_CONFIG: NameServer._get_config,
    Request.UPDATE_NAMESRV_CONFIG: NameServer._update_config,
}
