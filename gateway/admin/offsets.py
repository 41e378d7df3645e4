"""mqadmin: how far groups are, what passes, and groups that are sent elsewhere."""

from __future__ import annotations

import time
from typing import Any

from corduroy.client import Admin, BrokerError, ClientError, NoRoute
from corduroy.client.admin import tables
from corduroy.client.codes import Request
from corduroy.client.errors import TopicNotExist
from gateway.admin.command import Command, Failed, Given, java_text, table, time_text, truth, whole
from gateway.admin.groups import version_text
from gateway.admin.topics import DLQ, RETRY
from namesrv.command_line import Option

ALL_QUEUES = -1


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
    """Of the brokers that have the group's retry topic, else of those that have the topic, as the original asks. Raises
    NoRoute."""
    fields = {"consumerGroup": group, "topic": topic}
    try:
        route = await admin.route(RETRY + group)
    except (NoRoute, TopicNotExist):
        if topic is None:
            raise
        route = await admin.route(topic)
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


async def reset_offset_by_time(admin: Admin, given: Given) -> None:
    """resetOffsetByTime"""
    moment = given["s"]
    ms = {"now": int(time.time() * 1000), "-1": -1}.get(moment) if not moment.isdigit() else int(moment)
    if ms is None:
        try:
            ms = int(time.mktime(time.strptime(moment[:19], "%Y-%m-%d#%H:%M:%S"))) * 1000 + int(moment[20:] or 0)
        except ValueError:
            raise Failed("specified timestamp invalid.") from None
    if "b" in given and whole(given, "q", ALL_QUEUES) >= 0:
        await _reset_queue(admin, given, ms)
        return
    offsets = await admin.reset_offset(given["g"], given["t"], ms, force=truth(given, "f", default=True))
    print(
        f"start reset consumer offset by specified, group[{given['g']}], topic[{given['t']}], "
        f"force[{java_text(truth(given, 'f', True))}], timestamp(string)[{moment}], timestamp(long)[{ms}]"
    )
    row = table("<40", "<40", "<40")
    row("#brokerName", "#queueId", "#offset")
    for queue, offset in sorted(offsets.items()):
        row(queue.broker_name[:32], queue.queue_id, offset)


async def _reset_queue(admin: Admin, given: Given, ms: int) -> None:
    """One queue at one broker, to an offset or a time. As the original, this does not go to offset 0."""
    group, topic, queue, broker = given["g"], given["t"], whole(given, "q", ALL_QUEUES), given["b"]
    print(
        f"start reset consumer offset by specified, group[{group}], topic[{topic}], queueId[{queue}], "
        f"broker[{broker}], timestamp(string)[{given['s']}], timestamp(long)[{ms}]"
    )
    place = {"topic": topic, "queueId": queue}
    if "o" in given:
        offset = whole(given, "o", 0)
    else:
        answer = await admin.remoting.call(broker, Request.SEARCH_OFFSET_BY_TIMESTAMP, place | {"timestamp": ms})
        offset = int(answer.fields["offset"])
    print(f"reset consumer offset to {offset}")
    if offset > 0:
        moved = place | {"consumerGroup": group, "commitOffset": offset}
        await admin.remoting.call(broker, Request.UPDATE_CONSUMER_OFFSET, moved)
        fields = place | {"group": group, "timestamp": 0, "isForce": True, "offset": offset}
        await admin.ask(broker, Request.INVOKE_BROKER_TO_RESET_OFFSET, fields)


async def clone_group_offset(admin: Admin, given: Given) -> None:
    """cloneGroupOffset"""
    source, target, topic = given["s"], given["d"], given["t"]
    offsets = tables(await _consume_stats(admin, source, None), "offsetTable")
    route = await admin.route(topic) if offsets else None
    for queue, wrapper in offsets.items():
        if route is not None and queue.broker_name in route.addresses and wrapper["consumerOffset"] >= 0:
            fields = {"consumerGroup": target, "topic": queue.topic, "queueId": queue.queue_id}
            fields["commitOffset"] = wrapper["consumerOffset"]
            await admin.remoting.call(route.master(queue.broker_name), Request.UPDATE_CONSUMER_OFFSET, fields)
    print(f"clone group offset success. srcGroup[{source}], destGroup=[{target}], topic[{topic}]", end="")


# -- what passes

STATS = "{:<64}  {:<64} {:>12} {:>11} {:>11} {:>14} {:>14}"
STATS_NAMES = "#Topic", "#Consumer Group", "#Accumulation", "#InTPS", "#OutTPS", "#InMsg24Hour", "#OutMsg24Hour"


async def stats_all(admin: Admin, given: Given) -> None:
    """statsAll"""
    print(STATS.format(*STATS_NAMES))
    for topic in await admin.topics():
        if not topic.startswith((RETRY, DLQ)) and given.get("t") in (None, "", topic):
            try:
                await _print_topic(admin, topic, only_active="a" in given)
            except ClientError:  # it went, or its brokers cannot be asked: the others are shown
                continue


async def _print_topic(admin: Admin, topic: str, only_active: bool) -> None:
    route = await admin.route(topic)
    brokers = [route.master(name) for name in route.addresses]
    in_tps, in_count = await _passed(admin, brokers, "TOPIC_PUT_NUMS", topic)
    groups = await admin.groups_of(topic)
    for group in groups:
        out_tps, out_count = await _passed(admin, brokers, "GROUP_GET_NUMS", f"{topic}@{group}")
        behind = await _behind(admin, group, topic)
        if not only_active or in_count or out_count:
            rates = f"{in_tps:.2f}", f"{out_tps:.2f}"
            print(STATS.format(topic[:64], group[:64], behind, *rates, in_count, out_count))
    if not groups and (in_count or not only_active):
        print(STATS.format(topic[:64], "", 0, f"{in_tps:.2f}", "", in_count, "NO_CONSUMER"))


async def _passed(admin: Admin, brokers: list[str], name: str, key: str) -> tuple[float, int]:
    """Per second, and in the last day, or as far as there are samples; what a broker has not counted is nothing."""
    rate, count = 0.0, 0
    for address in brokers:
        try:
            found = await admin.broker_stats(address, name, key)
        except ClientError:
            continue
        rate += found["statsMinute"]["tps"]
        sums = (found[window]["sum"] for window in ("statsDay", "statsHour", "statsMinute"))
        count += next((each for each in sums if each), 0)
    return rate, count


async def _behind(admin: Admin, group: str, topic: str) -> int:
    try:
        rows = tables(await _consume_stats(admin, group, topic), "offsetTable").values()
    except ClientError:
        return 0
    return max(0, sum(row["brokerOffset"] - row["consumerOffset"] for row in rows))


COMMANDS = (
    Command(
        "consumerProgress",
        "Query consumer's progress, speed.",
        (
            Option("c", "cluster", True, "Cluster name or lmq parent topic, lmq is used to find the route."),
            Option("g", "groupName", True, "consumer group name"),
            Option("s", "showClientIP", True, "Show Client IP per Queue"),
            Option("t", "topicName", True, "topic name"),
        ),
        (),
        consumer_progress,
    ),
    Command(
        "resetOffsetByTime",
        "Reset consumer offset by timestamp(without client restart).",
        (
            Option("b", "broker", True, "broker addr"),
            Option("c", "cluster", True, "Cluster name or lmq parent topic, lmq is used to find the route."),
            Option("f", "force", True, "set the force rollback by timestamp switch[true|false]. Deprecated."),
            Option("g", "group", True, "set the consumer group"),
            Option("o", "offset", True, "Expect queue offset, not support old version broker"),
            Option("q", "queue", True, "queue id"),
            Option("s", "timestamp", True, "set the timestamp[now|currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
            Option("t", "topic", True, "set the topic"),
        ),
        ("g", "t", "s"),
        reset_offset_by_time,
    ),
    Command(
        "cloneGroupOffset",
        "Clone offset from other group.",
        (
            Option("d", "destGroup", True, "set destination consumer group"),
            Option("o", "offline", True, "the group or the topic is offline"),
            Option("s", "srcGroup", True, "set source consumer group"),
            Option("t", "topic", True, "set the topic"),
        ),
        ("s", "d", "t"),
        clone_group_offset,
    ),
    Command(
        "statsAll",
        "Topic and Consumer tps stats.",
        (
            Option("a", "activeTopic", False, "print active topic only"),
            Option("t", "topic", True, "print select topic only"),
        ),
        (),
        stats_all,
    ),
)
