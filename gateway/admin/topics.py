"""mqadmin: topics."""

from __future__ import annotations

from typing import Any

from corduroy.client import Admin, BrokerError, NoRoute
from corduroy.client.admin import tables
from corduroy.client.codes import Request
from corduroy.client.lenient_json import loads
from gateway.admin.command import Command, Given, pretty, table, time_text, truth, whole
from namesrv.command_line import Option

RETRY, DLQ = "%RETRY%", "%DLQ%"
NAMESPACE_ORDER = "ORDER_TOPIC_CONFIG"
QUEUES = 8
PERMS = {2: "-W-", 3: "-WX", 4: "R--", 5: "R-X", 6: "RW-", 7: "RWX"}
ROUTE = "{:<45} {:<32} {:<50} {:<10} {:<11} {:<5}"
RULE = 158  # dashes under topicRoute -l


async def masters(admin: Admin, given: Given) -> list[str]:
    """The brokers that -b or -c names."""
    return [given["b"]] if "b" in given else await admin.masters(given["c"])


async def update_topic(admin: Admin, given: Given) -> None:
    """updateTopic"""
    order, queues, perm = truth(given, "o"), whole(given, "w", QUEUES), whole(given, "p", 6)
    fields = {
        "topic": given["t"],
        "defaultTopic": "TBW102",
        "readQueueNums": whole(given, "r", QUEUES),
        "writeQueueNums": queues,
        "perm": perm,
        "topicFilterType": "SINGLE_TAG",
        "topicSysFlag": truth(given, "u") | truth(given, "s") << 1,
        "order": order,
        "attributes": given.get("a", ""),
    }
    addresses = await masters(admin, given)
    for address in addresses:
        await admin.ask(address, Request.UPDATE_AND_CREATE_TOPIC, fields)
        print(f"create topic to {address} success.")
    if order:
        await _set_order(admin, given, addresses, queues)
    attributes = ", ".join(pair.replace(":", "=") for pair in given.get("a", "").split(",") if pair)
    print(
        f"TopicConfig [topicName={given['t']}, readQueueNums={fields['readQueueNums']}, writeQueueNums={queues}, "
        f"perm={PERMS.get(perm, '---')}, topicFilterType=SINGLE_TAG, topicSysFlag={fields['topicSysFlag']}, "
        f"order={str(order).lower()}, attributes={{{attributes}}}]"
    )


async def _set_order(admin: Admin, given: Given, addresses: list[str], queues: int) -> None:
    clusters = await admin.clusters()
    brokers = [name for each in clusters.values() for name, table in each.items() if table.get(0) in addresses]
    value = ";".join(f"{name}:{queues}" for name in brokers)
    await admin.put_kv(NAMESPACE_ORDER, given["t"], value)
    print(f"set {'broker' if 'b' in given else 'cluster'} orderConf. isOrder=true, orderConf=[{value}]")


async def delete_topic(admin: Admin, given: Given) -> None:
    """deleteTopic"""
    topic, cluster = given["t"], given["c"]
    for address in await admin.masters(cluster):
        await admin.ask(address, Request.DELETE_TOPIC_IN_BROKER, {"topic": topic})
    print(f"delete topic [{topic}] from cluster [{cluster}] success.")
    for address in admin.remoting.name_servers:
        await admin.ask(address, Request.DELETE_TOPIC_IN_NAMESRV, {"topic": topic, "clusterName": cluster})
    print(f"delete topic [{topic}] from NameServer success.")


async def topic_route(admin: Admin, given: Given) -> None:
    """topicRoute"""
    answer = await admin.ask_name_server(Request.GET_ROUTEINFO_BY_TOPIC, {"topic": given["t"]})
    route = loads(answer.body)
    if "l" not in given:
        print(pretty(_numbered(route)))
        return
    names = "#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"
    print(ROUTE.format(*names))
    queues = {each["brokerName"]: each for each in route["queueDatas"]}
    for broker in sorted(route["brokerDatas"], key=lambda each: each["brokerName"]):
        mine = queues[broker["brokerName"]]
        places = "{" + ", ".join(f"{number}={place}" for number, place in broker["brokerAddrs"].items()) + "}"
        counts = mine["readQueueNums"], mine["writeQueueNums"], mine["perm"]
        print(ROUTE.format(broker["cluster"], broker["brokerName"], places, *counts))
    print("-" * RULE)
    total = [sum(each[name] for each in queues.values()) for name in ("readQueueNums", "writeQueueNums")]
    print(ROUTE.format("Total:", len(queues), "", *total, ""))


def _numbered(route: dict[str, Any]) -> dict[str, Any]:
    """Broker ids as the numbers that they are."""
    for broker in route["brokerDatas"]:
        broker["brokerAddrs"] = {int(number): place for number, place in broker["brokerAddrs"].items()}
    return route


async def topic_status(admin: Admin, given: Given) -> None:
    """topicStatus"""
    route = await admin.route(given.get("c", given["t"]))
    fields = {"topic": given["t"]}
    answers = [
        await admin.ask(route.master(broker), Request.GET_TOPIC_STATS_INFO, fields) for broker in route.addresses
    ]
    row = table("<32!", "<4", "<20", "<20", "<0")
    row("#Broker Name", "#QID", "#Min Offset", "#Max Offset", "  #Last Updated")
    for queue, stats in sorted(tables(answers, "offsetTable").items()):
        updated = stats["lastUpdateTimestamp"]
        last = f"  {time_text(updated, with_ms=True)}" if updated > 0 else "  "
        row(queue.broker_name, queue.queue_id, stats["minOffset"], stats["maxOffset"], last)
    print()
    print(f"Topic Put TPS: {sum(float(answer.get('topicPutTps', 0)) for answer in answers)}")


async def topic_list(admin: Admin, given: Given) -> None:
    """topicList"""
    topics = loads((await admin.ask_name_server(Request.GET_ALL_TOPIC_LIST_FROM_NAMESERVER)).body)["topicList"]
    if "c" not in given:
        print("".join(f"{topic}\n" for topic in topics), end="")
        return
    clusters = await admin.clusters()
    table("<20", "<48", "<48")("#Cluster Name", "#Topic", "#Consumer Group")
    for topic in topics:
        if not topic.startswith((RETRY, DLQ)):
            cluster, groups = await _cluster_and_groups(admin, topic, clusters)
            for group in groups or [""]:
                table("<20!", "<64!", "<64!")(cluster, topic, group)


async def _cluster_and_groups(admin: Admin, topic: str, clusters: dict[str, Any]) -> tuple[str, list[str]]:
    try:
        broker = next(iter((await admin.route(topic)).addresses))
        cluster = next((name for name, brokers in clusters.items() if broker in brokers), "")
        return cluster, await admin.groups_of(topic)
    except (NoRoute, BrokerError):
        return "", []


async def topic_cluster_list(admin: Admin, given: Given) -> None:
    """topicClusterList"""
    brokers = (await admin.route(given["t"])).addresses
    for cluster, members in (await admin.clusters()).items():
        if brokers.keys() & members:
            print(cluster)


TOPIC = Option("t", "topic", True, "topic name")
COMMANDS = (
    Command(
        "updateTopic",
        "Update or create topic",
        (
            Option("a", "attributes", True, "attribute(+a=b,+c=d,-e)"),
            Option("b", "brokerAddr", True, "create topic to which broker"),
            Option("c", "clusterName", True, "create topic to which cluster"),
            Option("o", "order", True, "set topic's order(true|false)"),
            Option("p", "perm", True, "set topic's permission(2|4|6), intro[2:W 4:R; 6:RW]"),
            Option("r", "readQueueNums", True, "set read queue nums"),
            Option("s", "hasUnitSub", True, "has unit sub (true|false)"),
            TOPIC,
            Option("u", "unit", True, "is unit topic (true|false)"),
            Option("w", "writeQueueNums", True, "set write queue nums"),
        ),
        ("t", "b|c"),
        update_topic,
    ),
    Command(
        "deleteTopic",
        "Delete topic from broker and NameServer.",
        (Option("c", "clusterName", True, "delete topic from which cluster"), TOPIC),
        ("t", "c"),
        delete_topic,
    ),
    Command(
        "topicRoute",
        "Examine topic route info.",
        (Option("l", "list", False, "Use list format to print data"), TOPIC),
        ("t",),
        topic_route,
    ),
    Command(
        "topicStatus",
        "Examine topic Status info.",
        (
            Option("c", "cluster", True, "cluster name or lmq parent topic, lmq is used to find the route."),
            TOPIC,
        ),
        ("t",),
        topic_status,
    ),
    Command(
        "topicList",
        "Fetch all topic list from name server.",
        (Option("c", "clusterModel", False, "clusterModel"),),
        (),
        topic_list,
    ),
    Command("topicClusterList", "Get cluster info for topic.", (TOPIC,), ("t",), topic_cluster_list),
)
