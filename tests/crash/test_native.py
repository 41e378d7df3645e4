"""kill -9 under native load: what was answered is there once, also what waited, and offsets never go back."""

import json
import random
import struct

import pytest

from tests.clients.broker import until
from tests.clients.native import native
from tests.namesrv.world import request
from tests.protocols.remoting.native_world import pull_fields, send_fields, text

SEND, PULL, END, HEART_BEAT, CHECK, MAX, MIN = 310, 11, 37, 34, 39, 30, 31
UPDATE_OFFSET, QUERY_OFFSET = 15, 14
ROUNDS, WINDOW, SECONDS = 3, 100, 30
COMMIT, DONE = 8, 1  # DONE: of an opaque, it is the answer to END_TRANSACTION
PLAIN, TIMED, LEVEL, HALF = "Plain", "Timed", "Level", "Half"
KINDS = (PLAIN, PLAIN, TIMED, LEVEL, HALF, HALF)


class Load:
    """Sends numbered messages of all kinds, a window of them unanswered, and remembers what was answered."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.next = 0
        self.answered = {kind: {} for kind in KINDS}  # number -> (queue id, offset) as it was told
        self.committed = 0  # the highest offset that the group said

    def run(self, broker, goal):
        """Until so many were answered; then the broker is killed, and what it still said counts."""
        client, waiting, count = native(broker), 0, 0
        beat(client, consumerDataSet=[{"groupName": "g", "subscriptionDataSet": []}])
        try:
            while True:
                while waiting < WINDOW:
                    client.send(self.message())
                    waiting += 1
                header, _ = client.answer()
                if header["opaque"] & DONE or not header["flag"] & 1:
                    continue
                waiting -= 1
                count += 1
                self.take(client, header)
                if count == goal:
                    broker.kill9()
        except (EOFError, OSError):
            client.close()

    def message(self):
        number, self.next = self.next, self.next + 1
        kind = KINDS[number % len(KINDS)]
        said = {"UNIQ_KEY": f"{number:032X}"}
        if kind == TIMED:
            said["TIMER_DELAY_MS"] = self.random.randrange(1, 400)
        elif kind == LEVEL:
            said["DELAY"] = 1
        elif kind == HALF:
            said |= {"TRAN_MSG": "true", "PGROUP": "group"}
        fields = send_fields(kind, e=number % 2 if kind == PLAIN else 0, i=text(**said))
        body = b"%d:" % number + b"." * self.random.randrange(1500)
        return request(SEND, fields, body, opaque=2 * number)

    def take(self, client, header):
        """The answer to a send. Most halves are ended at once; of the others the broker asks."""
        number, told = header["opaque"] // 2, header["extFields"]
        assert header["code"] == 0, header
        kind = KINDS[number % len(KINDS)]
        self.answered[kind][number] = int(told["queueId"]), int(told["queueOffset"])
        if kind == HALF and number % 4:
            client.send(request(END, end_fields(told["queueOffset"], told["msgId"][16:]), opaque=2 * number + DONE))
        elif kind == PLAIN and told["queueId"] == "0":
            self.committed = max(self.committed, int(told["queueOffset"]))
            fields = {"consumerGroup": "g", "topic": PLAIN, "queueId": 0, "commitOffset": self.committed}
            client.send(request(UPDATE_OFFSET, fields, flag=2))


def beat(client, **groups):
    data = {"clientID": "me", "producerDataSet": [], "consumerDataSet": []} | groups
    assert client.ask(HEART_BEAT, {}, json.dumps(data).encode())[0]["code"] == 0


def end_fields(offset, log_offset, asked=False):
    fields = {"producerGroup": "group", "tranStateTableOffset": offset, "commitLogOffset": int(log_offset, 16)}
    return fields | {"commitOrRollback": COMMIT, "fromTransactionCheck": str(asked).lower()}


def numbers(client, topic, queue_id=0):
    """What lies in the queue, by offset: every offset has a message."""
    high = extent(client, topic, queue_id)[1]
    found = []
    while len(found) < high:
        header, data = client.ask(PULL, pull_fields(topic, queueId=queue_id, queueOffset=len(found)))
        assert header["code"] == 0 and int(header["extFields"]["nextBeginOffset"]) > len(found)
        found += [int(body.partition(b":")[0]) for body in bodies(data)]
    return found


def bodies(data):
    """The body of each record."""
    found = []
    while data:
        size, body_size = struct.unpack_from(">I80xI", data)
        found.append(data[88 : 88 + body_size])
        data = data[size:]
    return found


def extent(client, topic, queue_id=0):
    asked = {"topic": topic, "queueId": queue_id}
    return tuple(int(client.ask(code, asked)[0]["extFields"]["offset"]) for code in (MIN, MAX))


def answer_questions(client):
    """Commit what the broker asks about, one question at a time."""
    client.socket.settimeout(SECONDS)
    header, _ = client.answer()
    if header["code"] == CHECK:
        asked = header["extFields"]
        fields = end_fields(asked["tranStateTableOffset"], f"{int(asked['commitLogOffset']):x}", asked=True)
        client.send(request(END, fields, flag=2))


def check(broker, load, before):
    """After a start: everything that was answered is there or comes, once; offsets are where they were or further."""
    client, producer = native(broker), native(broker)
    beat(producer, producerDataSet=[{"groupName": "group"}])
    for queue_id in (0, 1):
        there = numbers(client, PLAIN, queue_id)
        told = {offset: number for number, (queue, offset) in load.answered[PLAIN].items() if queue == queue_id}
        assert {offset: there[offset] for offset in told} == told
        assert len(there) == len(set(there))
        low, high = extent(client, PLAIN, queue_id)
        assert (low, high >= before.get(queue_id, 0)) == (0, True)
        before[queue_id] = high
    asked = {"consumerGroup": "g", "topic": PLAIN, "queueId": 0, "setZeroIfNotFound": "true"}
    offset = int(client.ask(QUERY_OFFSET, asked)[0]["extFields"]["offset"])
    assert before.get("group", 0) <= offset <= load.committed
    before["group"] = offset
    while not load.answered[HALF].keys() <= set(numbers(client, HALF)):
        answer_questions(producer)
    for kind in (TIMED, LEVEL):
        until(lambda: load.answered[kind].keys() <= set(numbers(client, kind)), SECONDS, kind)  # noqa: B023
    until(lambda: broker.metric("mq_native_timed_messages") == 0, SECONDS, "no timed message waits")
    for kind in (HALF, TIMED, LEVEL):
        there = numbers(client, kind)
        assert len(there) == len(set(there)), f"{kind}: twice"
    client.close()
    producer.close()


@pytest.mark.timeout(240)
def test_what_was_answered_is_there_once_over_kills(broker):
    broker.options += ["rocketmq.transactionTimeOut=300", "rocketmq.transactionCheckInterval=300"]
    broker.start()
    load, before = Load("native"), {}
    for _ in range(ROUNDS):
        load.run(broker, load.random.randrange(200, 1200))
        broker.start()
        check(broker, load, before)
    assert all(len(answered) > 100 for answered in load.answered.values()) and before["group"] > 0
