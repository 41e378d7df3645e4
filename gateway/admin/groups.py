"""mqadmin: consumer groups, and who is connected."""

from __future__ import annotations

import time
from typing import Any

from corduroy.client import Admin, BrokerError, ClientError
from corduroy.client.admin import GROUP_CONFIG, tables
from corduroy.client.codes import Request
from corduroy.client.lenient_json import dumps
from gateway.admin.command import Command, Failed, Given, table, time_text, truth, whole
from gateway.admin.topics import DLQ, RETRY, masters
from namesrv.command_line import Option

SHOWN = (
    *("groupName", "consumeEnable", "consumeFromMinEnable", "consumeBroadcastEnable", "consumeMessageOrderly"),
    *("retryQueueNums", "retryMaxTimes", "groupRetryPolicy", "brokerId", "whichBrokerWhenConsumeSlowly"),
    *("notifyConsumerIdsChangedEnable", "groupSysFlag", "consumeTimeoutMinute", "subscriptionDataSet", "attributes"),
)
POLICY = "GroupRetryPolicy{type=CUSTOMIZED, exponentialRetryPolicy=null, customizedRetryPolicy=null}"
FLAGS = {
    "s": "consumeEnable",
    "m": "consumeFromMinEnable",
    "d": "consumeBroadcastEnable",
    "o": "consumeMessageOrderly",
    "a": "notifyConsumerIdsChangedEnable",
}
V4, HIGHER = 212, 612  # numbers of versions
NUMBERS = {"q": "retryQueueNums", "r": "retryMaxTimes", "i": "brokerId", "w": "whichBrokerWhenConsumeSlowly"}


async def update_sub_group(admin: Admin, given: Given) -> None:
    """updateSubGroup"""
    config = {**GROUP_CONFIG, "groupName": given["g"], "consumeBroadcastEnable": False, "consumeFromMinEnable": False}
    config |= {name: truth(given, option) for option, name in FLAGS.items() if option in given}
    config |= {name: whole(given, option, 0) for option, name in NUMBERS.items() if option in given}
    for address in await masters(admin, given):
        await admin.ask(address, Request.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, dumps(config))
        print(f"create subscription group to {address} success.")
    shown = config | {"groupRetryPolicy": POLICY, "subscriptionDataSet": None}
    print(f"SubscriptionGroupConfig{{{', '.join(f'{name}={_java(shown[name])}' for name in SHOWN)}}}", end="")


def _java(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


async def delete_sub_group(admin: Admin, given: Given) -> None:
    """deleteSubGroup"""
    group, fields = given["g"], {"groupName": given["g"], "cleanOffset": truth(given, "r")}
    for address in await masters(admin, given):
        await admin.ask(address, Request.DELETE_SUBSCRIPTIONGROUP, fields)
        where = f" in cluster [{given['c']}]" if "c" in given else ""
        print(f"delete subscription group [{group}] from broker [{address}]{where} success.")
    if "c" in given:
        for topic in (RETRY + group, DLQ + group):
            await admin.delete_topic(topic, cluster=given["c"])


async def consumer_progress(admin: Admin, given: Given) -> None:
    """consumerProgress"""
    if "g" in given:
        await _progress_of(admin, given["g"], given)
        return
    row = "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  {}"
    print(row.format("#Group", "#Count", "#Version", "#Type", "#Model", "#TPS", "#Diff Total"))
    for topic in await admin.topics():
        if topic.startswith(RETRY):
            print(row.format(*await _group_row(admin, topic.removeprefix(RETRY))))


async def _progress_of(admin: Admin, group: str, given: Given) -> None:
    answers = await _consume_stats(admin, group, given.get("t"))
    clients = await _clients_of_queues(admin, group) if truth(given, "s") else None
    names = ["#Topic", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset"]
    rest = "{:<20} {:<20}" if clients is None else "{:<20} {:<20} {:<20}"
    row = "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  " + rest
    print(row.format(*names, *(["#Client IP"] if clients is not None else []), "#Diff", "#Inflight") + "#LastTime")
    diffs = inflights = 0
    for queue, wrapper in sorted(tables(answers, "offsetTable").items()):
        diff = wrapper["brokerOffset"] - wrapper["consumerOffset"]
        inflight = wrapper.get("pullOffset", 0) - wrapper["consumerOffset"]
        diffs, inflights = diffs + diff, inflights + inflight
        last = time_text(wrapper["lastTimestamp"]) if wrapper["lastTimestamp"] else "N/A"
        client = [] if clients is None else [clients.get(queue, "N/A")]
        place = queue.topic[:64], queue.broker_name[:32], queue.queue_id
        print(row.format(*place, wrapper["brokerOffset"], wrapper["consumerOffset"], *client, diff, inflight), last)
    print()
    print(f"Consume TPS: {sum(float(answer.get('consumeTps', 0)) for answer in answers):.2f}")
    print(f"Consume Diff Total: {diffs}")
    print(f"Consume Inflight Total: {inflights}")


async def _consume_stats(admin: Admin, group: str, topic: str | None) -> list[dict[str, Any]]:
    """Of the brokers that have the group's retry topic, as the original asks. Raises NoRoute."""
    fields = {"consumerGroup": group, "topic": topic}
    route = await admin.route(RETRY + group)
    return [await admin.ask(route.master(name), Request.GET_CONSUME_STATS, fields) for name in route.addresses]


async def _clients_of_queues(admin: Admin, group: str) -> dict[Any, str]:
    """Which client reads which queue: its address."""
    found: dict[Any, str] = {}
    try:
        for member in (await admin.consumer_connections(group))["connectionSet"]:
            info = await admin.running_info(group, member["clientId"])
            found.update((queue, member["clientId"].split("@")[0]) for queue in tables([info], "mqTable"))
    except ClientError:  # nobody is there
        pass
    return found


async def _group_row(admin: Admin, group: str) -> tuple[Any, ...]:
    diff, rate = 0, 0.0
    try:
        answers = await _consume_stats(admin, group, None)
        rate = sum(float(answer.get("consumeTps", 0)) for answer in answers)
        diff = sum(each["brokerOffset"] - each["consumerOffset"] for each in tables(answers, "offsetTable").values())
    except ClientError:
        pass
    try:
        group_of = await admin.consumer_connections(group)
    except BrokerError:
        return group[:64], 0, "OFFLINE", "", "", int(rate), diff
    kind = "PUSH" if group_of["consumeType"] == "CONSUME_PASSIVELY" else "PULL"
    version = min(member["version"] for member in group_of["connectionSet"])
    count = len(group_of["connectionSet"])
    return group[:64], count, version_text(version), kind, group_of["messageModel"], int(rate), diff


def version_text(number: int) -> str:
    """RocketMQ's name for a version's number (MQVersion): two for each, V5_5_0_SNAPSHOT 512, V5_5_0 513."""
    major, rest = divmod(number - V4, 200)
    if major < 0:
        return "before V4_0_0"
    if number >= HIGHER:
        return "HIGHER_VERSION"
    minor, rest = divmod(rest, 20)
    return f"V{4 + major}_{minor}_{rest // 2}" + ("" if rest % 2 else "_SNAPSHOT")


async def consumer_connection(admin: Admin, given: Given) -> None:
    """consumerConnection"""
    found = await _connection(admin, given)
    print("{:<36} {:<22} {:<10} {}".format("#ClientId", "#ClientAddr", "#Language", "#Version"))
    for member in found["connectionSet"]:
        version = version_text(member["version"])
        print(f"{member['clientId']:<36} {member['clientAddr']:<22} {member['language']:<10} {version}")
    print("\nBelow is subscription:")
    print("{:<20} {}".format("#Topic", "#SubExpression"))
    for topic, subscription in found["subscriptionTable"].items():
        print(f"{topic:<20} {subscription['subString']}")
    print(f"\nConsumeType: {found['consumeType']}")
    print(f"MessageModel: {found['messageModel']}")
    print(f"ConsumeFromWhere: {found['consumeFromWhere']}")


async def _connection(admin: Admin, given: Given) -> dict[str, Any]:
    if "b" not in given:
        return await admin.consumer_connections(given["g"])
    found: dict[str, Any] = await admin.ask(
        given["b"], Request.GET_CONSUMER_CONNECTION_LIST, {"consumerGroup": given["g"]}
    )
    return found


async def producer_connection(admin: Admin, given: Given) -> None:
    """producerConnection"""
    found = await admin.producer_connections(given["g"])
    if not found:
        raise Failed(f"the producer group[{given['g']}] not exist")
    for number, member in enumerate(found, 1):
        version = version_text(member["version"])
        print(f"{number:04d}  {member['clientId']:<32} {member['clientAddr']:<22} {member['language']:<8} {version}")


async def reset_offset_by_time(admin: Admin, given: Given) -> None:
    """resetOffsetByTime"""
    moment = given["s"]
    ms = {"now": int(time.time() * 1000), "-1": -1}.get(moment) if not moment.isdigit() else int(moment)
    if ms is None:
        try:
            ms = int(time.mktime(time.strptime(moment[:19], "%Y-%m-%d#%H:%M:%S"))) * 1000 + int(moment[20:] or 0)
        except ValueError:
            raise Failed("specified timestamp invalid.") from None
    offsets = await admin.reset_offset(given["g"], given["t"], ms, force=truth(given, "f", default=True))
    print(
        f"start reset consumer offset by specified, group[{given['g']}], topic[{given['t']}], "
        f"force[{_java(truth(given, 'f', True))}], timestamp(string)[{moment}], timestamp(long)[{ms}]"
    )
    row = table("<40", "<40", "<40")
    row("#brokerName", "#queueId", "#offset")
    for queue, offset in sorted(offsets.items()):
        row(queue.broker_name[:32], queue.queue_id, offset)


GROUP = Option("g", "groupName", True, "consumer group name")
COMMANDS = (
    Command(
        "updateSubGroup",
        "Update or create subscription group.",
        (
            Option("a", "notifyConsumerIdsChanged", True, "notify consumerId changed"),
            Option("b", "brokerAddr", True, "create subscription group to which broker"),
            Option("c", "clusterName", True, "create subscription group to which cluster"),
            Option("d", "consumeBroadcastEnable", True, "broadcast"),
            GROUP,
            Option("i", "brokerId", True, "consumer from which broker id"),
            Option("m", "consumeFromMinEnable", True, "from min offset"),
            Option("o", "consumeMessageOrderly", True, "consume message orderly"),
            Option("q", "retryQueueNums", True, "retry queue nums"),
            Option("r", "retryMaxTimes", True, "retry max times"),
            Option("s", "consumeEnable", True, "consume enable"),
            Option("w", "whichBrokerWhenConsumeSlowly", True, "which broker id when consume slowly"),
        ),
        ("g", "b|c"),
        update_sub_group,
    ),
    Command(
        "deleteSubGroup",
        "Delete subscription group from broker.",
        (
            Option("b", "brokerAddr", True, "delete subscription group from which broker"),
            Option("c", "clusterName", True, "delete subscription group from which cluster"),
            Option("g", "groupName", True, "subscription group name"),
            Option("r", "removeOffset", True, "remove offset"),
        ),
        ("g", "b|c"),
        delete_sub_group,
    ),
    Command(
        "consumerProgress",
        "Query consumer's progress, speed.",
        (
            GROUP,
            Option("s", "showClientIP", True, "Show Client IP per Queue"),
            Option("t", "topicName", True, "topic name"),
        ),
        (),
        consumer_progress,
    ),
    Command(
        "consumerConnection",
        "Query consumer's socket connection, client version and subscription.",
        (
            Option("b", "brokerAddr", True, "broker address"),
            Option("g", "consumerGroup", True, "consumer group name"),
        ),
        ("g",),
        consumer_connection,
    ),
    Command(
        "producerConnection",
        "Query producer's socket connection and client version.",
        (Option("g", "producerGroup", True, "producer group name"), Option("t", "topic", True, "topic name")),
        ("g",),
        producer_connection,
    ),
    Command(
        "resetOffsetByTime",
        "Reset consumer offset by timestamp (without client restart).",
        (
            Option("f", "force", True, "set the force rollback by timestamp switch[true|false]"),
            Option("g", "group", True, "set the consumer group"),
            Option("s", "timestamp", True, "set the timestamp[now|currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
            Option("t", "topic", True, "set the topic"),
        ),
        ("g", "t", "s"),
        reset_offset_by_time,
    ),
)
