"""What the name server tells of its tables: routes, clusters, lists of topics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from namesrv.bodies import BrokerData, QueueData, broker_data, encoded, mapping_data, numbered, topic_list
from namesrv.routes import MASTER_ID, WRITE, Routes

UNIT, UNIT_SUB = 1, 2  # bits of a topic's system flag
SYNC_BROKER_MEMBER = "rmq_sys_SYNC_BROKER_MEMBER_"  # such topics keep the brokers as they are, master or not


class Wanted(NamedTuple):
    """How a route is asked for.

    strict         JSON as everybody reads it; else numbers stand as keys without quotes
    zone           only brokers of that zone, and those whose master is gone; empty = all
    acting_master  the least slave stands in for a master that is gone
    show           how who asks is to see a broker's address
    """

    strict: bool
    zone: str = ""
    acting_master: bool = False
    show: Callable[[str], str] = str


def route(routes: Routes, topic: str, wanted: Wanted, order: str | None = None) -> bytes | None:
    """TopicRouteData, or None if no broker has the topic. `order` is the topic's entry among the order topics."""
    queues = routes.topics.get(topic, {})
    groups = [routes.brokers[name] for name in queues if name in routes.brokers]
    if not groups:
        return None
    shown = list(queues.values())
    if wanted.zone:
        groups = [each for each in groups if _is_near(each, wanted.zone)]
        near = {each.name for each in groups}
        shown = [each for each in shown if each.broker_name in near]
    acting = wanted.acting_master and not topic.startswith(SYNC_BROKER_MEMBER)
    filters: dict[str, list[str]] = {}
    for each in groups:
        filters |= routes.filters_of(each, each.addresses.values())
    body: dict[str, Any] = {
        "brokerDatas": [
            broker_data(_with_master(each, queues) if acting else each, wanted.strict, wanted.show) for each in groups
        ],
        "filterServerTable": filters,
    }
    if order is not None:
        body["orderTopicConf"] = order
    body["queueDatas"] = shown
    mappings = routes.mappings.get(topic)
    if mappings:
        body["topicQueueMappingByBroker"] = {
            name: mapping_data(mapping, wanted.strict) for name, mapping in mappings.items()
        }
    return encoded(body)


def _is_near(group: BrokerData, zone: str) -> bool:
    return MASTER_ID not in group.addresses or (group.zone or "").lower() == zone.lower()


def _with_master(group: BrokerData, queues: dict[str, QueueData]) -> BrokerData:
    """The group with its least slave as master, if it has none, allows that and is not written to."""
    addresses = group.addresses
    if MASTER_ID in addresses or not addresses or not group.acting_master or queues[group.name].perm & WRITE:
        return group
    acting = BrokerData(group.cluster, group.name)
    acting.acting_master, acting.zone = group.acting_master, group.zone
    least = min(addresses)
    acting.addresses = {broker_id: address for broker_id, address in addresses.items() if broker_id != least}
    acting.addresses[MASTER_ID] = addresses[least]
    return acting


def cluster_info(routes: Routes, show: Callable[[str], str]) -> bytes:
    """ClusterInfo, always with bare keys: mqadmin reads it so."""
    return encoded(
        {
            "brokerAddrTable": {name: broker_data(data, False, show) for name, data in routes.brokers.items()},
            "clusterAddrTable": {cluster: list(names) for cluster, names in routes.clusters.items()},
        }
    )


def member_group(routes: Routes, cluster: str, name: str) -> bytes:
    """GetBrokerMemberGroupResponseBody."""
    data = routes.brokers.get(name)
    addresses = numbered({} if data is None else data.addresses, strict=False)
    return encoded({"brokerMemberGroup": {"brokerAddrs": addresses, "brokerName": name, "cluster": cluster}})


def system_topics(routes: Routes) -> bytes:
    """The names of clusters and brokers, which are topics, and the address of one broker to ask further."""
    names = [name for cluster, brokers in routes.clusters.items() for name in (cluster, *brokers)]
    addresses = [address for data in routes.brokers.values() for address in data.addresses.values()]
    return topic_list(names, addresses[0] if addresses else None)
