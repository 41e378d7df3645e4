"""mqadmin: consumer groups, and who is connected."""

from __future__ import annotations

from typing import Any

from corduroy.client import Admin
from corduroy.client.admin import GROUP_CONFIG
from corduroy.client.codes import Request
from corduroy.client.lenient_json import dumps
from gateway.admin.command import Command, Failed, Given, java_text, truth, whole
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
    print(f"SubscriptionGroupConfig{{{', '.join(f'{name}={java_text(shown[name])}' for name in SHOWN)}}}", end="")


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
)
