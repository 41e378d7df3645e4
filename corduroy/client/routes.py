"""Which brokers serve a topic, as the name server tells (TopicRouteData)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from corduroy.client.errors import CodecError, NoRoute
from corduroy.client.lenient_json import loads
from corduroy.client.messages import MessageQueue

MASTER_ID = 0
READ, WRITE = 4, 2  # bits of perm


@dataclass(frozen=True, slots=True)
class QueueData:
    """How many queues of the topic one broker has, and what may be done with them (4 read, 2 write)."""

    broker_name: str
    read_queues: int
    write_queues: int
    perm: int


@dataclass(frozen=True)
class Route:
    """Brokers of a topic: `addresses[broker name][broker id]`, id 0 the master; and their queues."""

    topic: str
    addresses: dict[str, dict[int, str]]
    queues: tuple[QueueData, ...]

    @cached_property
    def write_queues(self) -> list[MessageQueue]:
        """Where messages may be sent to: queues whose broker has a master. In the same order for everyone."""
        masters = {name for name, table in self.addresses.items() if MASTER_ID in table}
        usable = [each for each in self.queues if each.perm & WRITE and each.broker_name in masters]
        return self._expand([(each.broker_name, each.write_queues) for each in usable])

    @cached_property
    def read_queues(self) -> list[MessageQueue]:
        """Where messages may be read from."""
        usable = [each for each in self.queues if each.perm & READ and each.broker_name in self.addresses]
        return self._expand([(each.broker_name, each.read_queues) for each in usable])

    def _expand(self, counts: list[tuple[str, int]]) -> list[MessageQueue]:
        return sorted(MessageQueue(self.topic, broker, number) for broker, count in counts for number in range(count))

    def master(self, broker_name: str) -> str:
        """The address of a broker's master. Raises NoRoute."""
        try:
            return self.addresses[broker_name][MASTER_ID]
        except KeyError:
            raise NoRoute(f"broker {broker_name} has no master that the name server knows") from None

    def for_new_topic(self, topic: str, queues_max: int) -> Route:
        """This route, of the topic that new ones are made after (TBW102), as that of a topic which is not there yet."""
        counts = [(each.broker_name, min(queues_max, each.read_queues), each.perm) for each in self.queues]
        return Route(topic, self.addresses, tuple(QueueData(name, count, count, perm) for name, count, perm in counts))


def parse_addresses(broker: Any) -> dict[int, str]:
    """{broker id: address} of a BrokerData."""
    return {int(number): address for number, address in broker["brokerAddrs"].items()}


def parse_route(topic: str, body: bytes) -> Route:
    """The route in a name server's answer. Raises CodecError."""
    data = loads(body)
    try:
        addresses = {broker["brokerName"]: parse_addresses(broker) for broker in data["brokerDatas"]}
        queues = [
            QueueData(each["brokerName"], each["readQueueNums"], each["writeQueueNums"], each["perm"])
            for each in data["queueDatas"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CodecError(f"route of {topic} lacks or misspells {error}") from None
    return Route(topic, addresses, tuple(queues))
