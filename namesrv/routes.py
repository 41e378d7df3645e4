"""Brokers and the topics they registered: everything here came from brokers and goes when they do.

Pure: time is given, connections are whatever object their owner passes in. Source: RocketMQ's RouteInfoManager.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from namesrv.bodies import BrokerData, DataVersion, QueueData, Registration, TopicConfig, TopicMapping

MASTER_ID = 0
READ, WRITE = 4, 2  # bits of a topic's perm
EXPIRY_MS = 120_000
BROKERS_MAX = 10_000  # addresses
ROUTES_MAX = 2_000_000  # topics times brokers


class RegistryFull(Exception):
    """A bound was met; the text names it."""


class BrokerAt(NamedTuple):
    """One broker process."""

    cluster: str
    address: str


class Live:
    """What is known of a broker that registered; `seen` is when it last did, or sent a heartbeat (seconds)."""

    __slots__ = ("channel", "expiry_ms", "filters", "ha_address", "name", "seen", "version")

    def __init__(self, name: str, channel: object, ha_address: str, expiry_ms: int):
        self.name = name
        self.channel = channel
        self.ha_address = ha_address
        self.expiry_ms = expiry_ms
        self.version = DataVersion()
        self.filters: list[str] = []
        self.seen = 0.0


class Registered(NamedTuple):
    """What a slave is told of its master; both empty for a master."""

    master_address: str = ""
    ha_address: str = ""


class Routes:
    """The tables. `now()` is monotonic seconds."""

    def __init__(self, now: Callable[[], float]):
        self._now = now
        self.topics: dict[str, dict[str, QueueData]] = {}  # topic -> broker name -> its queues there
        self.brokers: dict[str, BrokerData] = {}
        self.clusters: dict[str, dict[str, None]] = {}  # cluster -> broker names, in order
        self.live: dict[BrokerAt, Live] = {}
        self.mappings: dict[str, dict[str, TopicMapping]] = {}  # static topics: topic -> broker name -> mapping
        self._count = 0  # of QueueData

    # --- brokers come and go

    def register(self, asked: Registration, channel: object, *, replaces_topics: bool = False) -> Registered | None:
        """A broker says that it is there, and what it has. None: a single topic of a broker that never said the rest.

        A broker whose id another address has with a newer state is not taken in, and not told. Raises RegistryFull.
        """
        at = BrokerAt(asked.cluster, asked.address)
        group = self.brokers.get(asked.name)
        known = group.addresses if group is not None else {}
        if self._outdated(asked, known):
            self.live.pop(at, None)
            return Registered()
        if asked.broker_id not in known and len(asked.topics) == 1:
            return None
        if at not in self.live and len(self.live) >= BROKERS_MAX:
            raise RegistryFull(f"there are {BROKERS_MAX} brokers already")
        before = self.live.get(at)
        if before is not None and before.name != asked.name:
            self.unregister(at.cluster, at.address, before.name)
        data = self._group_of(asked)
        is_first = asked.broker_id not in data.addresses
        data.addresses[asked.broker_id] = asked.address
        if self._may_define_topics(asked, data):
            self._take_topics(asked, data, is_first, replaces_topics)
        self._note_alive(at, asked, channel)
        return self._master_of(asked, data)

    def _group_of(self, asked: Registration) -> BrokerData:
        """The brokers of that name, without another id at this address: a slave may have become master."""
        data = self.brokers.get(asked.name)
        if data is None:
            data = self.brokers[asked.name] = BrokerData(asked.cluster, asked.name)
        self.clusters.setdefault(asked.cluster, {})[asked.name] = None
        data.acting_master = bool(asked.acting_master)
        data.zone = asked.zone
        for broker_id in [each for each, address in data.addresses.items() if address == asked.address]:
            if broker_id != asked.broker_id:
                del data.addresses[broker_id]
        return data

    def _outdated(self, asked: Registration, known: dict[int, str]) -> bool:
        """Whether another address has the id, and a newer state."""
        address = known.get(asked.broker_id)
        if address is None or address == asked.address:
            return False
        other = self.live.get(BrokerAt(asked.cluster, address))
        return other is not None and other.version.state_version > asked.version.state_version

    @staticmethod
    def _may_define_topics(asked: Registration, data: BrokerData) -> bool:
        """The master may; without one the slave with the least id, unless it is older than that rule."""
        if asked.broker_id == MASTER_ID:
            return True
        return asked.acting_master is not None and asked.broker_id == min(data.addresses)

    def _take_topics(self, asked: Registration, data: BrokerData, is_first: bool, replaces: bool) -> None:
        before = self.live.get(BrokerAt(asked.cluster, asked.address))
        changed = is_first or before is None or before.version != asked.version
        if replaces and not asked.mappings:
            gone = [topic for topic, there in self.topics.items() if asked.name in there and topic not in asked.topics]
            for topic in gone:
                self.drop(topic, asked.name)
        acts = asked.broker_id != MASTER_ID and data.acting_master
        for topic, config in asked.topics.items():
            if changed or asked.name not in self.topics.get(topic, ()):
                self._put(topic, queue_data(asked.name, config, readable_only=acts))
        if changed:
            for topic, mapping in asked.mappings.items():
                self.mappings.setdefault(topic, {})[asked.name] = mapping

    def _note_alive(self, at: BrokerAt, asked: Registration, channel: object) -> None:
        live = self.live.get(at)
        if live is None:
            live = self.live[at] = Live(asked.name, channel, asked.ha_address, EXPIRY_MS)
        live.name, live.channel, live.ha_address = asked.name, channel, asked.ha_address
        live.expiry_ms = EXPIRY_MS if asked.expiry_ms is None else asked.expiry_ms
        live.version = asked.version
        live.seen = self._now()
        if asked.filters is not None:
            live.filters = asked.filters

    def _master_of(self, asked: Registration, data: BrokerData) -> Registered:
        address = data.addresses.get(MASTER_ID) if asked.broker_id != MASTER_ID else None
        master = self.live.get(BrokerAt(asked.cluster, address)) if address is not None else None
        return Registered() if master is None else Registered(address or "", master.ha_address)

    def heartbeat(self, cluster: str, address: str) -> None:
        """It is still there; of a broker that did not register, nothing."""
        live = self.live.get(BrokerAt(cluster, address))
        if live is not None:
            live.seen = self._now()

    def version_of(self, cluster: str, address: str) -> DataVersion | None:
        """The version of what it registered last."""
        live = self.live.get(BrokerAt(cluster, address))
        return None if live is None else live.version

    def unregister(self, cluster: str, address: str, name: str) -> None:
        """A broker leaves; topics that nobody else has go with it."""
        self.live.pop(BrokerAt(cluster, address), None)
        data = self.brokers.get(name)
        if data is None:
            return
        for broker_id in [each for each, there in data.addresses.items() if there == address]:
            del data.addresses[broker_id]
        if data.addresses:
            if data.acting_master and MASTER_ID not in data.addresses:
                self._change_perm(name, lambda perm: perm & ~WRITE)
            return
        del self.brokers[name]
        names = self.clusters.get(data.cluster, {})
        names.pop(name, None)
        if not names:
            self.clusters.pop(data.cluster, None)
        for topic in [topic for topic, there in self.topics.items() if name in there]:
            self.drop(topic, name)

    def expire(self) -> list[tuple[BrokerAt, object]]:
        """Unregister brokers that were not heard of for too long; return them with their connections."""
        now = self._now()
        gone = [(at, live) for at, live in self.live.items() if live.seen + live.expiry_ms / 1000 < now]
        for at, live in gone:
            self.unregister(at.cluster, at.address, live.name)
        return [(at, live.channel) for at, live in gone]

    def lost(self, channel: object) -> list[BrokerAt]:
        """A connection is gone: so is every broker that registered over it."""
        gone = [(at, live) for at, live in self.live.items() if live.channel is channel]
        for at, live in gone:
            self.unregister(at.cluster, at.address, live.name)
        return [at for at, _ in gone]

    # --- topics

    def _put(self, topic: str, data: QueueData) -> None:
        there = self.topics.get(topic)
        if there is None or data.broker_name not in there:
            if self._count >= ROUTES_MAX:
                raise RegistryFull(f"there are {ROUTES_MAX} routes already")
            self._count += 1
        self.topics.setdefault(topic, {})[data.broker_name] = data

    def drop(self, topic: str, name: str) -> None:
        """The broker of that name has the topic no longer."""
        there = self.topics.get(topic, {})
        if there.pop(name, None) is not None:
            self._count -= 1
        if not there:
            self.topics.pop(topic, None)
        mapped = self.mappings.get(topic, {})
        mapped.pop(name, None)
        if not mapped:
            self.mappings.pop(topic, None)

    def add_topic(self, topic: str, queues: list[QueueData]) -> None:
        """Somebody says where a topic is. Nothing is taken if one of the brokers is not there. Raises RegistryFull."""
        if all(each.broker_name in self.brokers for each in queues):
            for each in queues:
                self._put(topic, each)

    def delete_topic(self, topic: str, cluster: str = "") -> None:
        """Forget where the topic is, in one cluster or in all; brokers that have it say so again when they change."""
        names = self.clusters.get(cluster, {}) if cluster else list(self.topics.get(topic, ()))
        for name in names:
            self.drop(topic, name)

    def _change_perm(self, name: str, change: Callable[[int], int]) -> int:
        count = 0
        for there in self.topics.values():
            data = there.get(name)
            if data is not None:
                data.perm = change(data.perm)
                count += 1
        return count

    def wipe_write_perm(self, name: str) -> int:
        """Nobody sends to that broker, until it registers with another version. Return how many topics."""
        return self._change_perm(name, lambda perm: perm & ~WRITE)

    def add_write_perm(self, name: str) -> int:
        """All topics of that broker may be read and written. Return how many."""
        return self._change_perm(name, lambda perm: READ | WRITE)

    def topics_of(self, cluster: str) -> Iterator[str]:
        """The topics that a broker of the cluster has."""
        names = self.clusters.get(cluster, {})
        return (topic for topic, there in self.topics.items() if not names.keys().isdisjoint(there))

    def topics_with(self, wanted: Callable[[int], bool]) -> Iterator[str]:
        """The topics whose system flag is as wanted, on the broker that registered them first."""
        for topic, there in self.topics.items():
            if wanted(next(iter(there.values())).topic_sys_flag):
                yield topic

    def filters_of(self, data: BrokerData, addresses: Iterable[str]) -> dict[str, list[str]]:
        """The filter servers of the brokers that have some."""
        found = {}
        for address in addresses:
            live = self.live.get(BrokerAt(data.cluster, address))
            if live is not None and live.filters:
                found[address] = live.filters
        return found


def queue_data(name: str, config: TopicConfig, *, readable_only: bool) -> QueueData:
    """A broker's part of a topic, as it goes into routes."""
    perm = config.perm & ~WRITE if readable_only else config.perm
    return QueueData(
        broker_name=name,
        perm=perm,
        read_queue_nums=config.read_queue_nums,
        topic_sys_flag=config.topic_sys_flag,
        write_queue_nums=config.write_queue_nums,
    )
