"""mqadmin: clusters and brokers."""

from __future__ import annotations

import asyncio
import time

from corduroy.client import Admin, BrokerError, ClientError
from corduroy.client.codes import Request
from gateway.admin.command import Command, Failed, Given, whole
from gateway.admin.topics import masters
from namesrv.command_line import Option

HOUR_MS = 3_600_000
BASE = "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:>11}  {:<12}  {:<8}  {:>10}"
BASE_HEAD = "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:<11}  {:<12}  {:<8}  {:<10}"
BASE_NAMES = (
    "Cluster Name|Broker Name|BID|Addr|Version|InTPS(LOAD)|OutTPS(LOAD)|Timer(Progress)|PCWait(ms)|Hour|SPACE|ACTIVATED"
)
MORE_NAMES = "Cluster Name|Broker Name|InTotalYest|OutTotalYest|InTotalToday|OutTotalToday"
MORE = "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}"


async def cluster_list(admin: Admin, given: Given) -> None:
    """clusterList"""
    while True:
        clusters = await admin.clusters()
        names = [given["c"]] if given.get("c") else list(clusters)
        if "m" in given:
            print(MORE.format(*(f"#{name}" for name in MORE_NAMES.split("|"))))
        else:
            print(BASE_HEAD.format(*(f"#{name}" for name in BASE_NAMES.split("|"))))
        for cluster in names:
            for broker, places in sorted(clusters.get(cluster, {}).items()):
                for number, address in places.items():
                    await _print_broker(admin, (cluster, broker, number, address), more="m" in given)
        if "i" not in given:
            return
        await asyncio.sleep(whole(given, "i", 1))


async def _print_broker(admin: Admin, place: tuple[str, str, int, str], more: bool) -> None:
    try:
        info = await admin.runtime_info(place[3])
    except ClientError as error:
        print(error)
        info = {}
    print(_more_row(place, info) if more else _base_row(place, info))


def _base_row(place: tuple[str, str, int, str], info: dict[str, str]) -> str:
    def rate(name: str) -> float:
        return float((info.get(name) or "0").split(" ")[0])

    earliest, ratio = info.get("earliestMessageTimeStamp", ""), info.get("commitLogDiskRatio", "")
    hours = (time.time() * 1000 - int(earliest)) / HOUR_MS if earliest else 0.0
    timer = [float(info.get(f"timer{name}") or 0) for name in ("ReadBehind", "OffsetBehind", "CongestNum")]
    rates = [float(info.get(f"timer{name}Tps") or 0) for name in ("Enqueue", "Dequeue")]
    load = {
        name: f"{info.get(f'{name}ThreadPoolQueueSize', absent)},"
        f"{info.get(f'{name}ThreadPoolQueueHeadWaitTimeMills', absent)}ms"
        for name, absent in (("send", ""), ("pull", ""), ("ack", "N"))
    }
    return BASE.format(
        *place,
        info.get("brokerVersionDesc", ""),
        f"{rate('putTps'):9.2f}({load['send']})",
        f"{rate('getTransferredTps'):9.2f}({load['pull']}|{load['ack']})",
        f"{timer[0]:.0f}-{timer[1]:.0f}({timer[2] / 10000:.1f}w, {rates[0]:.1f}, {rates[1]:.1f})",
        info.get("pageCacheLockTimeMills", ""),
        f"{hours:2.2f}",
        f"{float(ratio or 0):.4f}",
        str(info.get("brokerActive") == "true").lower(),
    )


def _more_row(place: tuple[str, str, int, str], info: dict[str, str]) -> str:
    def between(name: str, begin: str, end: str) -> int:
        return int(info.get(f"msg{name}Total{end}", 0)) - int(info.get(f"msg{name}Total{begin}", 0))

    days = (("YesterdayMorning", "TodayMorning"), ("TodayMorning", "TodayNow"))
    return MORE.format(*place[:2], *(between(name, *day) for day in days for name in ("Put", "Get")))


async def broker_status(admin: Admin, given: Given) -> None:
    """brokerStatus"""
    for address in [given["b"]] if "b" in given else await _all_of(admin, given["c"]):
        for key, value in sorted((await admin.runtime_info(address)).items()):
            print((f"{address:<24} " if "c" in given else "") + f"{key:<32}: {value}")


async def _all_of(admin: Admin, cluster: str) -> list[str]:
    """Masters and slaves. Raises Failed."""
    found = [place for places in (await admin.clusters()).get(cluster, {}).values() for place in places.values()]
    if not found:
        raise Failed("Make sure the specified clusterName exists or the name server connected to is correct.")
    return found


async def get_broker_config(admin: Admin, given: Given) -> None:
    """getBrokerConfig"""
    for address in await masters(admin, given) if given.keys() & {"b", "c"} else ():
        print(f"============{'' if 'b' in given else 'Master: '}{address}============")
        for key, value in (await admin.broker_config(address)).items():
            print(f"{key:<50}=  {value}")
        print()


async def update_broker_config(admin: Admin, given: Given) -> None:
    """updateBrokerConfig"""
    for address in await _all_of(admin, given["c"]) if "a" in given and "c" in given else await masters(admin, given):
        try:
            await admin.update_broker_config(address, {given["k"]: given["v"]})
        except BrokerError as error:
            raise Failed(str(error)) from None
        print(f"update broker config success, {address}")


async def _change_perm(admin: Admin, given: Given, code: Request, field: str, word: str) -> None:
    for address in admin.remoting.name_servers:
        where = f"{word} write perm of broker[{given['b']}] in name server[{address}]"
        try:
            answer = await admin.remoting.call(address, code, {"brokerName": given["b"]})
        except ClientError as error:
            print(f"{where} Failed")
            raise Failed(str(error)) from None
        print(f"{where} OK, {answer.fields[field]}")


async def wipe_write_perm(admin: Admin, given: Given) -> None:
    """wipeWritePerm"""
    await _change_perm(admin, given, Request.WIPE_WRITE_PERM_OF_BROKER, "wipeTopicCount", "wipe")


async def add_write_perm(admin: Admin, given: Given) -> None:
    """addWritePerm"""
    await _change_perm(admin, given, Request.ADD_WRITE_PERM_OF_BROKER, "addTopicCount", "add")


BROKER_NAME = Option("b", "brokerName", True, "broker name")
COMMANDS = (
    Command(
        "clusterList",
        "List cluster infos.",
        (
            Option("c", "clusterName", True, "which cluster"),
            Option("i", "interval", True, "specify intervals numbers, it is in seconds"),
            Option("m", "moreStats", False, "Print more stats"),
        ),
        (),
        cluster_list,
    ),
    Command(
        "brokerStatus",
        "Fetch broker runtime status data.",
        (Option("b", "brokerAddr", True, "Broker address"), Option("c", "clusterName", True, "which cluster")),
        ("b|c",),
        broker_status,
    ),
    Command(
        "getBrokerConfig",
        "Get broker config by cluster or special broker.",
        (Option("b", "brokerAddr", True, "get which broker"), Option("c", "clusterName", True, "get which cluster")),
        (),
        get_broker_config,
    ),
    Command(
        "updateBrokerConfig",
        "Update broker's config.",
        (
            Option("a", "updateAllBroker", True, "update all brokers include slave"),
            Option("b", "brokerAddr", True, "update which broker"),
            Option("c", "clusterName", True, "update which cluster"),
            Option("k", "key", True, "config key"),
            Option("v", "value", True, "config value"),
        ),
        ("k", "v", "b|c"),
        update_broker_config,
    ),
    Command(
        "wipeWritePerm",
        "Wipe write perm of broker in all name server you defined in the -n param.",
        (BROKER_NAME,),
        ("b",),
        wipe_write_perm,
    ),
    Command(
        "addWritePerm",
        "Add write perm of broker in all name server you defined in the -n param.",
        (BROKER_NAME,),
        ("b",),
        add_write_perm,
    ),
)
