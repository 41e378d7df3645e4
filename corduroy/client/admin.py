"""What tools ask of name servers and brokers: topics, groups, who is connected, how far they are, single messages.

Where an answer has many fields it is given as RocketMQ's JSON has it, under RocketMQ's names.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, Unpack

from corduroy.client import properties as names
from corduroy.client.codes import Request, Response
from corduroy.client.errors import BrokerError, CodecError, NoRoute
from corduroy.client.frames import Frame
from corduroy.client.ids import id_time_ms, parse_offset_id
from corduroy.client.lenient_json import dumps, loads
from corduroy.client.messages import MessageQueue, ReceivedMessage
from corduroy.client.offsets import queue_of
from corduroy.client.queue_calls import QueueCalls
from corduroy.client.records import decode, decode_all
from corduroy.client.remoting import DEFAULT_TOPIC, NAME_SERVERS, ClientOptions, Remoting
from corduroy.client.requests_of_brokers import offsets_in
from corduroy.client.routes import MASTER_ID, Route, parse_addresses

ADMIN_SECONDS = 10.0
READ_WRITE = 6
FOREVER_MS = (1 << 63) - 1

GROUP_CONFIG: dict[str, Any] = {
    "attributes": {},
    "brokerId": 0,
    "consumeBroadcastEnable": True,
    "consumeEnable": True,
    "consumeFromMinEnable": True,
    "consumeMessageOrderly": False,
    "consumeTimeoutMinute": 15,
    "groupSysFlag": 0,
    "notifyConsumerIdsChangedEnable": True,
    "retryMaxTimes": 16,
    "retryQueueNums": 1,
    "whichBrokerWhenConsumeSlowly": 1,
}  # SubscriptionGroupConfig's defaults


class Admin:
    """`async with Admin("127.0.0.1:9876") as admin: await admin.create_topic("orders", queues=8)`.

    What concerns brokers goes to every master of the cluster, of all clusters if none is named. All methods raise
    BrokerError, NoRoute, RequestTimeout, ConnectionFailed.
    """

    def __init__(self, name_servers: str = NAME_SERVERS, **options: Unpack[ClientOptions]):
        self.remoting = Remoting(name_servers, **options)
        self.queues = QueueCalls(self.remoting)

    async def start(self) -> Self:
        """Begin; connections are made when they are needed."""
        await self.remoting.start()
        return self

    async def stop(self) -> None:
        """End the connections."""
        await self.remoting.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- calls

    async def ask(self, address: str, code: int, fields: Mapping[str, Any] | None = None, body: bytes = b"") -> Any:
        """The JSON body of a broker's answer; None if it has none."""
        answer = await self.remoting.call(address, code, fields, body, timeout=ADMIN_SECONDS)
        return loads(answer.body) if answer.body else None

    async def ask_name_server(self, code: int, fields: Mapping[str, Any] | None = None) -> Frame:
        """The answer of a name server."""
        return await self.remoting.ask_name_server(code, fields, timeout=ADMIN_SECONDS)

    async def _each(self, code: int, fields: Mapping[str, Any], body: bytes = b"", cluster: str = "") -> list[Any]:
        """The answers of all masters."""
        masters = await self.masters(cluster)
        return list(await asyncio.gather(*(self.ask(address, code, fields, body) for address in masters)))

    async def _each_of(self, topic: str, code: int, fields: Mapping[str, Any]) -> list[Any]:
        """The answers of the masters that have the topic."""
        route = await self.route(topic)
        masters = [route.master(broker) for broker in route.addresses]
        return list(await asyncio.gather(*(self.ask(address, code, fields) for address in masters)))

    async def _first(self, code: int, fields: Mapping[str, Any], absent: Callable[[BrokerError], bool]) -> Any:
        """The first answer of a master that does not say that there is no such thing; raises the last such refusal."""
        last: BrokerError | None = None
        for address in await self.masters():
            try:
                return await self.ask(address, code, fields)
            except BrokerError as error:
                if not absent(error):
                    raise
                last = error
        assert last is not None
        raise last

    # ---- clusters

    async def clusters(self) -> dict[str, dict[str, dict[int, str]]]:
        """{cluster: {broker name: {broker id: address}}}."""
        info = loads((await self.ask_name_server(Request.GET_BROKER_CLUSTER_INFO)).body)
        brokers = {name: parse_addresses(broker) for name, broker in (info.get("brokerAddrTable") or {}).items()}
        table = info.get("clusterAddrTable") or {}
        return {
            cluster: {name: brokers[name] for name in members if name in brokers} for cluster, members in table.items()
        }

    async def masters(self, cluster: str = "") -> list[str]:
        """The addresses of all masters, of that cluster. Raises NoRoute if there is none."""
        tables = await self.clusters()
        members = [brokers for name, brokers in tables.items() if cluster in ("", name)]
        found = {table[MASTER_ID] for brokers in members for table in brokers.values() if MASTER_ID in table}
        if not found:
            raise NoRoute(f"no master of cluster {cluster or '(any)'} is registered")
        return sorted(found)

    async def broker_config(self, address: str) -> dict[str, str]:
        """Its configuration: {key: value}."""
        answer = await self.remoting.call(address, Request.GET_BROKER_CONFIG, {})
        return properties_in(answer.body)

    async def update_broker_config(self, address: str, changes: Mapping[str, Any]) -> None:
        """Change some of it while it runs."""
        body = "".join(f"{key}={value}\n" for key, value in changes.items()).encode()
        await self.remoting.call(address, Request.UPDATE_BROKER_CONFIG, {}, body)

    async def runtime_info(self, address: str) -> dict[str, str]:
        """Its counters, by RocketMQ's names (brokerStatus)."""
        table: dict[str, str] = (await self.ask(address, Request.GET_BROKER_RUNTIME_INFO))["table"]
        return table

    async def broker_stats(self, address: str, name: str, key: str) -> dict[str, Any]:
        """One counter by minute, hour and day: BROKER_PUT_NUMS of a cluster, TOPIC_PUT_NUMS of a topic …"""
        stats: dict[str, Any] = await self.ask(
            address, Request.VIEW_BROKER_STATS_DATA, {"statsName": name, "statsKey": key}
        )
        return stats

    async def wipe_write_perm(self, broker_name: str) -> int:
        """Let nobody send to a broker any more; how many topics that concerned, at the name server that was asked."""
        answer = await self.ask_name_server(Request.WIPE_WRITE_PERM_OF_BROKER, {"brokerName": broker_name})
        return int(answer.fields["wipeTopicCount"])

    async def add_write_perm(self, broker_name: str) -> int:
        """Let them again."""
        answer = await self.ask_name_server(Request.ADD_WRITE_PERM_OF_BROKER, {"brokerName": broker_name})
        return int(answer.fields["addTopicCount"])

    # ---- topics

    async def topics(self) -> list[str]:
        """The names of all topics, RocketMQ's own among them."""
        answer = await self.ask_name_server(Request.GET_ALL_TOPIC_LIST_FROM_NAMESERVER)
        return sorted(loads(answer.body).get("topicList") or [])

    async def route(self, topic: str) -> Route:
        """Which brokers serve it. Raises TopicNotExist."""
        return await self.remoting.route(topic, fresh=True)

    async def create_topic(self, /, topic: str, *, queues: int = 8, cluster: str = "", **more: Any) -> None:
        """Make it, or change it. `more`: read_queues and write_queues where they differ, perm (4 read, 2 write), order,
        attributes {"message.type": "FIFO"}. Clients see it when brokers have told the name server, which may take a
        moment."""
        attributes = more.get("attributes") or {}
        fields = {
            "topic": topic,
            "defaultTopic": DEFAULT_TOPIC,
            "readQueueNums": more.get("read_queues", queues),
            "writeQueueNums": more.get("write_queues", queues),
            "perm": more.get("perm", READ_WRITE),
            "topicFilterType": "SINGLE_TAG",
            "topicSysFlag": 0,
            "order": bool(more.get("order")),
            "attributes": ",".join(f"+{key}={value}" for key, value in attributes.items()),
        }
        await self._each(Request.UPDATE_AND_CREATE_TOPIC, fields, cluster=cluster)

    async def delete_topic(self, topic: str, *, cluster: str = "") -> None:
        """Delete it and its messages, at brokers and name servers."""
        await self._each(Request.DELETE_TOPIC_IN_BROKER, {"topic": topic}, cluster=cluster)
        for address in self.remoting.name_servers:
            await self.remoting.call(address, Request.DELETE_TOPIC_IN_NAMESRV, {"topic": topic})

    async def topic_config(self, topic: str) -> dict[str, Any]:
        """Its TopicConfig, of the first broker that has it. Raises TopicNotExist."""
        config: dict[str, Any] = await self._first(
            Request.GET_TOPIC_CONFIG, {"topic": topic}, lambda error: error.code == Response.TOPIC_NOT_EXIST
        )
        return config

    async def topic_stats(self, topic: str) -> dict[MessageQueue, dict[str, int]]:
        """{queue: minOffset, maxOffset, lastUpdateTimestamp (ms since 1970)}."""
        answers = await self._each_of(topic, Request.GET_TOPIC_STATS_INFO, {"topic": topic})
        return tables(answers, "offsetTable")

    async def groups_of(self, topic: str) -> list[str]:
        """The groups that read it, or did."""
        answers = await self._each_of(topic, Request.QUERY_TOPIC_CONSUME_BY_WHO, {"topic": topic})
        return sorted({group for answer in answers for group in answer.get("groupList") or ()})

    # ---- groups

    async def groups(self) -> dict[str, dict[str, Any]]:
        """{group: its SubscriptionGroupConfig}."""
        fields = {"groupSeq": 0, "maxGroupNum": 1 << 30}
        answers = await self._each(Request.GET_ALL_SUBSCRIPTIONGROUP_CONFIG, fields)
        return {name: config for answer in answers for name, config in answer["subscriptionGroupTable"].items()}

    async def create_group(self, /, group: str, *, cluster: str = "", **config: Any) -> None:
        """Make it, or change it; `config` by RocketMQ's names: retryMaxTimes=3, consumeEnable=False …"""
        body = dumps({**GROUP_CONFIG, **config, "groupName": group})
        await self._each(Request.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, body, cluster)

    async def delete_group(self, group: str, *, offsets: bool = True, cluster: str = "") -> None:
        """Delete it, and what it committed."""
        fields = {"groupName": group, "cleanOffset": offsets}
        await self._each(Request.DELETE_SUBSCRIPTIONGROUP, fields, cluster=cluster)

    async def group_config(self, group: str) -> dict[str, Any]:
        """Its SubscriptionGroupConfig. A broker that makes groups on use makes it."""
        config: dict[str, Any] = await self._first(
            Request.GET_SUBSCRIPTIONGROUP_CONFIG,
            {"group": group},
            lambda error: error.code == Response.SUBSCRIPTION_GROUP_NOT_EXIST,
        )
        return config

    async def topics_of(self, group: str) -> list[str]:
        """The topics that it reads, or did."""
        answers = await self._each(Request.QUERY_TOPICS_BY_CONSUMER, {"group": group})
        return sorted({topic for answer in answers for topic in answer.get("topicList") or ()})

    async def consumer_connections(self, group: str) -> dict[str, Any]:
        """Its members and what they want (ConsumerConnection). Raises ConsumerNotOnline."""
        connections: dict[str, Any] = await self._first(
            Request.GET_CONSUMER_CONNECTION_LIST,
            {"consumerGroup": group},
            lambda error: error.code == Response.CONSUMER_NOT_ONLINE,
        )
        return connections

    async def producer_connections(self, group: str) -> list[dict[str, Any]]:
        """The members of a producer group that brokers know."""
        found: dict[str, dict[str, Any]] = {}
        for address in await self.masters():
            try:
                answer = await self.ask(address, Request.GET_PRODUCER_CONNECTION_LIST, {"producerGroup": group})
            except BrokerError as error:
                if error.code != Response.SYSTEM_ERROR:  # what a broker says that knows none
                    raise
                continue
            found.update((each["clientId"], each) for each in answer["connectionSet"])
        return list(found.values())

    async def running_info(self, group: str, client_id: str) -> dict[str, Any]:
        """What a member says of itself (ConsumerRunningInfo)."""
        fields = {"consumerGroup": group, "clientId": client_id, "jstackEnable": False}
        info: dict[str, Any] = await self._first(Request.GET_CONSUMER_RUNNING_INFO, fields, lambda error: True)
        return info

    async def consume_stats(self, group: str, topic: str = "") -> dict[MessageQueue, dict[str, int]]:
        """{queue: brokerOffset (the next to come), consumerOffset (committed), pullOffset, lastTimestamp}."""
        fields = {"consumerGroup": group, "topic": topic or None}
        return tables(await self._each(Request.GET_CONSUME_STATS, fields), "offsetTable")

    async def reset_offset(self, group: str, topic: str, ms: int, *, force: bool = True) -> dict[MessageQueue, int]:
        """The group goes on with what was stored at that time or later (-1: with what is to come), also backward if
        `force`. Returns the new offsets."""
        fields = {"group": group, "topic": topic, "timestamp": ms, "isForce": force, "queueId": -1}
        return await self._reset(await self.route(topic), fields)

    async def reset_queue_offset(self, group: str, queue: MessageQueue, offset: int) -> dict[MessageQueue, int]:
        """The same for one queue, to an offset."""
        route = await self.route(queue.topic)
        only = Route(queue.topic, {queue.broker_name: route.addresses[queue.broker_name]}, route.queues)
        fields = {"group": group, "topic": queue.topic, "queueId": queue.queue_id, "offset": offset}
        return await self._reset(only, {**fields, "timestamp": -1, "isForce": True})

    async def _reset(self, route: Route, fields: Mapping[str, Any]) -> dict[MessageQueue, int]:
        found: dict[MessageQueue, int] = {}
        for broker in route.addresses:
            answer = await self.remoting.call(
                route.master(broker), Request.INVOKE_BROKER_TO_RESET_OFFSET, fields, timeout=ADMIN_SECONDS
            )
            found.update(offsets_in(answer.body) if answer.body else {})
        return found

    # ---- messages

    async def message(self, topic: str, message_id: str) -> ReceivedMessage:
        """The message with that id: of either kind. Raises QueryNotFound, or BrokerError."""
        try:
            host, offset = parse_offset_id(message_id)
            if host in self.remoting.masters() or host in await self.masters():
                return await self._view(host, topic, offset)
        except CodecError:
            pass  # an id given by its sender
        found = await self.messages_by_key(topic, message_id, unique=True)
        return found[0]

    async def _view(self, address: str, topic: str, offset: int) -> ReceivedMessage:
        fields = {"offset": offset, "topic": topic}
        return decode((await self.remoting.call(address, Request.VIEW_MESSAGE_BY_ID, fields)).body)[0]

    async def messages_by_key(
        self, /, topic: str, key: str, *, count: int = 32, unique: bool = False, tags: bool = False, **times: int
    ) -> list[ReceivedMessage]:
        """Messages with that key, newest first; `unique`: with that id of their sender's; `tags`: with that tag.
        `times`: from_ms and to_ms, of their storing. Raises QueryNotFound."""
        now = int(time.time() * 1000)
        begin = times.get("from_ms", id_time_ms(key, now) - 1000 if unique else 0)
        fields = {"topic": topic, "key": key, "maxNum": count, "indexType": "U" if unique else "T" if tags else "K"}
        fields.update(beginTimestamp=begin, endTimestamp=times.get("to_ms", FOREVER_MS), _UNIQUE_KEY_QUERY=unique)
        route = await self.route(topic)
        last: BrokerError | None = None
        found: list[ReceivedMessage] = []
        for broker in route.addresses:
            try:
                answer = await self.remoting.call(route.master(broker), Request.QUERY_MESSAGE, fields)
            except BrokerError as error:
                if error.code != Response.QUERY_NOT_FOUND:
                    raise
                last = error
                continue
            found += [each for each in decode_all(answer.body, broker) if has_key(each, key, unique, tags)]
        if not found and last is not None:
            raise last
        return sorted(found, key=lambda message: -message.store_ms)

    # ---- the name server's key-value configuration

    async def put_kv(self, namespace: str, key: str, value: str) -> None:
        """At every name server: they do not tell each other."""
        fields = {"namespace": namespace, "key": key, "value": value}
        for address in self.remoting.name_servers:
            await self.remoting.call(address, Request.PUT_KV_CONFIG, fields)

    async def get_kv(self, namespace: str, key: str) -> str:
        """Raises QueryNotFound."""
        answer = await self.ask_name_server(Request.GET_KV_CONFIG, {"namespace": namespace, "key": key})
        return answer.fields.get("value", "")

    async def delete_kv(self, namespace: str, key: str) -> None:
        """At every name server."""
        for address in self.remoting.name_servers:
            await self.remoting.call(address, Request.DELETE_KV_CONFIG, {"namespace": namespace, "key": key})


def has_key(message: ReceivedMessage, key: str, unique: bool, tags: bool = False) -> bool:
    """Brokers find by hash: whether it really has the key."""
    if tags:
        return message.tags == key
    return message.properties.get(names.UNIQ_KEY) == key if unique else key in message.keys


def tables(answers: Iterable[Any], name: str) -> dict[MessageQueue, dict[str, int]]:
    """Maps keyed by queues, of several answers, as one."""
    return {queue_of(key): value for answer in answers for key, value in (answer.get(name) or {}).items()}


def properties_in(body: bytes) -> dict[str, str]:
    """`key=value` lines."""
    pairs = (line.partition("=") for line in body.decode().splitlines())
    return {key.strip(): value.strip() for key, separator, value in pairs if separator and not key.startswith("#")}
