"""A whole broker on a simulated disk with all that its native port serves, and clients of it."""

import json

from corduroy.client.lenient_json import loads
from core.flow import Flow
from core.state.records import TopicConfig
from protocols.remoting.codes import Request
from protocols.remoting.configuring import Configuration
from protocols.remoting.rules import Rules
from protocols.remoting.serving import serve
from protocols.remoting.stored import stored_message
from tests.protocols.remoting.native_world import send_fields, text
from tests.protocols.remoting.world import BrokerWorld, request

RESPONSE = 1


class ServedWorld(BrokerWorld):
    """boot() serves; rules: see Rules. reports: what the broker said since it booted."""

    def __init__(self, seed=1, **rules):
        super().__init__(seed)
        self.rules = Rules(broker="broker-a", **rules)
        self.changes = []  # of the configuration, that were asked for

    def boot(self, clean=False):
        super().boot(clean)
        self.reports = []
        self.broker.report = lambda event, **fields: self.reports.append((event, fields))
        self.broker.flow = Flow(1 << 40, 1 << 20, lambda: (0, 1 << 40))
        serve(self.remoting, self.rules, bytes(10), Configuration(dict, self.changes.append))
        self.run(0.1)
        return self

    def messages(self, topic, queue_id=0):
        """What a queue shows."""
        queue, records = self.broker.topics.find(topic).queues[queue_id], []
        at, late = queue.min_offset, []
        while at < queue.max_offset:
            found = queue.read(at, 5000, 1 << 30, None, late.append)
            if found is None:
                self.run(0.05)
                found = late.pop()
            records += found.records
            at = found.next_offset
        return [stored_message(record) for record in records]

    def topic(self, name="T", queues=2, **fields):
        topic = self.broker.topics.put(
            TopicConfig(name=name.encode(), read_queues=queues, write_queues=queues, **fields)
        )
        self.run(0.1)
        return topic

    def put(self, *bodies, topic="T", queue=0):
        """Messages that are committed."""
        sender = self.client(port=60000)
        for body in bodies:
            fields = send_fields(topic=topic, e=queue, i=text(UNIQ_KEY="1", TAGS="TagA"))
            sender.send(request(Request.SEND_MESSAGE_V2, fields, body))
        self.run(0.1)
        return [header["code"] for header, _ in sender.received()]

    def told(self, client, code, fields=None, body=b"", **more):
        """The answer to a request, once it is there: (code, remark, its body as JSON)."""
        client.send(request(code, fields, body, **more))
        self.run(0.1)
        answers = [each for each in client.received() if each[0]["flag"] & RESPONSE]
        assert len(answers) == 1, answers
        header, body = answers[0]
        return header["code"], header.get("remark"), loads(body) if body else None

    def join(self, client, group="g", *topics, client_id="c1"):
        """The client consumes as a member of the group."""
        wanted = [{"topic": topic, "subString": "*", "subVersion": 1, "expressionType": "TAG"} for topic in topics]
        data = {"groupName": group, "messageModel": "CLUSTERING", "consumeType": "CONSUME_PASSIVELY"}
        beat = {"clientID": client_id, "consumerDataSet": [{**data, "subscriptionDataSet": wanted}]}
        assert self.told(client, Request.HEART_BEAT, body=json.dumps(beat).encode())[0] == 0

    def commit(self, client, queue, offset, group="g", topic="T"):
        """The group commits an offset."""
        fields = {"consumerGroup": group, "topic": topic, "queueId": queue, "commitOffset": offset}
        return self.told(client, Request.UPDATE_CONSUMER_OFFSET, fields)[:2]
