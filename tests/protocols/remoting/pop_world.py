"""A whole broker on a simulated disk, whose native port serves pops, and what its clients say."""

from types import SimpleNamespace

from corduroy.client.pop_consumer import popped
from core.native import Native, tags_code
from core.state.records import TopicConfig
from protocols.remoting.codes import Request
from tests.protocols.remoting.served_world import ServedWorld
from tests.protocols.remoting.world import request

POP, ACK, CHANGE = Request.POP_MESSAGE, Request.ACK_MESSAGE, Request.CHANGE_MESSAGE_INVISIBLETIME


class Popped:
    """A message out of a pop's answer, with its receipt, as corduroy.client makes it."""

    def __init__(self, message):
        self.body, self.topic, self.queue_id = message.body, message.topic, message.queue_id
        self.offset, self.times = message.queue_offset, message.reconsume_times
        self.properties = message.properties
        self.receipt = message.properties["POP_CK"]

    def fields(self, group="g"):
        """What an ack names."""
        topic = self.topic if self.receipt.split(" ")[4] == "0" else f"%RETRY%{group}_{self.topic}"
        named = {"consumerGroup": group, "topic": topic, "queueId": self.queue_id}
        return named | {"offset": self.offset, "extraInfo": self.receipt}


def messages(said, body):
    """Those in the answer to a pop."""
    return [Popped(each) for each in popped(SimpleNamespace(fields=said, body=body), "broker-a")]


class PopWorld(ServedWorld):
    def run(self, seconds=0.1):
        super().run(seconds)

    def topic(self, name=b"T", queues=1):
        found = self.broker.topics.put(TopicConfig(name=name, read_queues=queues, write_queues=queues))
        self.run()
        return found

    def put(self, *bodies, topic=b"T", queue=0, properties=b""):
        """Messages that are committed."""
        for body in bodies:
            message = Native(topic, queue, body, properties)
            message.tags_code = tags_code(topic, properties, 0)
            self.broker.topics.append(self.broker.topics.find(topic), message)
        self.run()

    def offset(self, group=b"g", topic=b"T", queue=0):
        return self.broker.groups.offset(group, topic, queue)

    def stored(self, topic):
        """How many messages the topic ever had."""
        found = self.broker.topics.find(topic)
        return sum(queue.end for queue in found.queues.made.values()) if found else 0

    def pop(self, client=None, **more):
        """What a pop that waits for nothing brings."""
        client = client or self.client()
        header, body = client.ask(POP, pop_fields(self, **more))
        return messages(header["extFields"], body) if header["code"] == 0 else header["code"]

    def ack(self, message, client=None, group="g"):
        return (client or self.client()).ask(ACK, message.fields(group))[0]["code"]

    def all(self, count=20, **more):
        """The bodies of all that can be popped now."""
        found = []
        while not isinstance(some := self.pop(maxMsgNums=count, **more), int):
            found += some
        return sorted(each.body for each in found)


def pop_fields(world, **more):
    fields = {"consumerGroup": "g", "topic": "T", "queueId": -1, "maxMsgNums": 32, "invisibleTime": 60_000}
    fields |= {"pollTime": 0, "bornTime": world.clock.ms, "initMode": 0, "exp": "*", "expType": "TAG", "order": "false"}
    return fields | more


def begin(client, code, fields):
    """Send, and let nothing happen but that it is taken."""
    data = bytearray(request(code, fields))
    assert client.connection.receive(data, 0, len(data)) == len(data)
    return client


def asked(client, code, fields=None, body=b""):
    """Send, and give the answers that came, which may be none."""
    client.send(request(code, fields, body))
    return [(header["code"], header.get("extFields", {}), body) for header, body in client.received()]
