"""Apache RocketMQ's own mqadmin and Java clients with our broker. Needs what tests/namesrv/test_peers.py needs."""

import json
import re
import subprocess

import pytest

from corduroy.client import ConsumeFrom, Message, MessageQueue, blocking
from tests.clients.broker import until
from tests.clients.mqadmin import Mqadmin
from tests.clients.native import native
from tests.namesrv.test_peers import java
from tests.namesrv.test_peers import pytestmark as conditions

pytestmark = [*conditions, pytest.mark.ours]
SECONDS = 100  # mqadmin waits 3 s for an answer, which is little on a busy machine
HEARTBEAT = {
    "clientID": "10.1.2.3@4242",
    "consumerDataSet": [
        {
            **{"groupName": "g", "messageModel": "CLUSTERING", "consumeType": "CONSUME_PASSIVELY"},
            **{"consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "unitMode": False},
            "subscriptionDataSet": [
                {
                    **{"topic": "t", "subString": "TagA", "tagsSet": ["TagA"], "codeSet": [2598919]},
                    **{"subVersion": 5, "expressionType": "TAG", "classFilterMode": False},
                }
            ],
        }
    ],
    "producerDataSet": [{"groupName": "p"}],
}


@pytest.fixture(scope="module")
def mqadmin(tmp_path_factory):
    """One process for all commands."""
    folder = tmp_path_factory.mktemp("mqadmin")
    (folder / "conf").mkdir()
    started = Mqadmin(folder, java(folder, "128m")).start()
    yield started
    started.stop()


@pytest.fixture
def printed(start_broker, mqadmin):
    """(the broker, printed(expected, *words) -> what mqadmin prints, once it has that)."""
    broker = start_broker("rocketmq.brokerName=broker-a")

    def wait(expected, *words):
        def seen():
            text = mqadmin.ask(*words, "-n", broker.addresses["namesrv"])
            return text if re.search(expected, text) else None

        return until(seen, SECONDS, f"{expected} of {words}")

    return broker, wait


def test_mqadmin_finds_the_broker_makes_a_group_and_sees_who_is_there(printed):
    broker, wait = printed
    address = re.escape(broker.addresses["remoting"])
    listed = wait(rf"DefaultCluster +broker-a +0 +{address} +V5_3_3 ", "clusterList")
    assert re.search(r"0\.00\(0,0ms\) +0\.00\(0,0ms\|0,0ms\) .* true\s*$", listed.splitlines()[1])
    assert re.search(r"(?m)brokerActive +: true$", wait("brokerActive", "brokerStatus", "-c", "DefaultCluster"))
    config = wait("flushDiskType", "getBrokerConfig", "-c", "DefaultCluster")
    assert re.search(r"(?m)^brokerName +=  broker-a$", config) and "SYNC_FLUSH" in config
    made = wait("subscription group to", "updateSubGroup", "-c", "DefaultCluster", "-g", "g", "-r", "3")
    assert f"create subscription group to {broker.addresses['remoting']} success." in made
    shown = wait("retryMaxTimes", "getConsumerConfig", "-g", "g")
    assert re.search(r"retryMaxTimes += +3\b", shown) and re.search(r"consumeBroadcastEnable += +false", shown)
    client = native(broker)
    assert client.ask(34, body=json.dumps(HEARTBEAT).encode())[0]["code"] == 0
    seen = wait("10.1.2.3@4242", "consumerConnection", "-g", "g")
    assert re.search(r"10\.1\.2\.3@4242 +127\.0\.0\.1:\d+ +JAVA +V5_3_3", seen)
    assert re.search(r"t +TagA", seen) and "ConsumeType: CONSUME_PASSIVELY" in seen and "CLUSTERING" in seen
    produces = wait("10.1.2.3@4242", "producerConnection", "-g", "p", "-t", "TBW102")
    assert re.search(r"0001 +10\.1\.2\.3@4242 +127\.0\.0\.1:\d+ +JAVA +V5_3_3", produces)
    gone = wait("success", "deleteSubGroup", "-c", "DefaultCluster", "-g", "g", "-r", "true")
    assert "delete subscription group [g] from broker" in gone
    client.close()


@pytest.fixture
def group(printed):
    """(wait, the consumer): the group g has consumed three messages of the topic T, which has two queues."""
    broker, wait = printed
    names = broker.addresses["namesrv"]
    wait("create topic to", "updateTopic", "-t", "T", "-c", "DefaultCluster", "-r", "2", "-w", "2")
    seen = []
    reader = blocking.PushConsumer("g", lambda messages: seen.extend(messages), names, consume_from=ConsumeFrom.FIRST)
    reader.subscribe("T", "*")
    with blocking.Producer("p", names) as producer:
        for number in (0, 0, 1):
            producer.send(Message("T", b"x"), queue=MessageQueue("T", "broker-a", number))
        with reader:
            until(lambda: len(seen) == 3, 30, "the messages")
            blocking.LOOP.run(reader._client.assignment.commit())
            yield wait, reader._client


def test_mqadmin_sees_how_far_a_group_is_and_sends_it_elsewhere(printed, group):
    wait, reader = group
    address = printed[0].addresses["remoting"]
    progress = wait("Consume Diff Total: 0", "consumerProgress", "-g", "g")
    assert re.search(r"(?m)^T +broker-a +0 +2 +2 +0 +0 +\d{4}-", progress)
    assert re.search(r"(?m)^%RETRY%g +broker-a +0 +0 +0 +0 +0 +N/A", progress)
    listed = wait(r"(?m)^g +1 ", "consumerProgress")
    assert re.search(r"(?m)^g +1 +V5_3_3 +PUSH +CLUSTERING +\d+ +0 *$", listed)
    shown = wait("broker-a", "consumerProgress", "-g", "g", "-t", "T", "-s", "true")
    assert re.search(r"(?m)^T +broker-a +1 +1 +1 +[\d.]+ +0 +0 ", shown)  # it asks the consumer for its queues
    running = wait("Consumer MQ Detail", "consumerStatus", "-g", "g", "-i", reader.remoting.client_id)
    assert re.search(r"(?m)^T +broker-a +0 +2 ", running)
    every = wait("(?m)^T ", "brokerConsumeStats", "-b", address, "-t", "30000", "-l", "0")
    assert re.search(r"(?m)^T +g +broker-a +0 +2 +2 +0 ", every) and "Diff Total: 0" in every
    stats = wait("(?m)^T ", "statsAll", "-t", "T")
    assert re.search(r"(?m)^T +g +0 +\d+\.\d\d +\d+\.\d\d +\d+ +\d+ *$", stats)
    units = wait("idx: 1", "queryCq", "-t", "T", "-q", "0", "-i", "1", "-c", "5", "-b", address)
    assert "max: 2, min: 0" in units and units.count("ConsumeQueueData{") == 1
    moved = wait("#brokerName", "resetOffsetByTime", "-g", "g", "-t", "T", "-s", "0")
    assert re.findall(r"(?m)^broker-a +(\d) +(\d) *$", moved) in ([("0", "0"), ("1", "0")], [("1", "0"), ("0", "0")])
    wait("Consume Diff Total: 0", "consumerProgress", "-g", "g")  # it read again
    wait("create subscription group", "updateSubGroup", "-c", "DefaultCluster", "-g", "h")
    wait("clone group offset success", "cloneGroupOffset", "-s", "g", "-d", "h", "-t", "T")
    assert re.search(r"(?m)^T +broker-a +0 +2 +2 ", wait("(?m)^T ", "consumerProgress", "-g", "h", "-t", "T"))


def test_mqadmin_changes_what_may_change_and_cleans_up(printed):
    broker, wait = printed
    address = broker.addresses["remoting"]
    changed = wait("success", "updateBrokerConfig", "-b", address, "-k", "defaultTopicQueueNums", "-v", "5")
    assert changed == f"update broker config success, {address}\n"
    config = wait("flushDiskType", "getBrokerConfig", "-b", address)
    assert re.search(r"(?m)^defaultTopicQueueNums +=  5$", config)
    client = native(broker)
    fields = {"a": "p", "b": "made", "c": "TBW102", "d": "8", "e": "0", "f": "0", "g": "1", "h": "0", "i": "", "j": "0"}
    assert client.ask(310, fields | {"k": "false"}, body=b"x")[0]["code"] == 0
    assert json.loads(client.ask(351, {"topic": "made"})[1])["writeQueueNums"] == 5
    client.close()
    wait("cannot change while the broker runs", "updateBrokerConfig", "-b", address, "-k", "brokerName", "-v", "x")
    for command in ("cleanExpiredCQ", "cleanUnusedTopic", "deleteExpiredCommitLog"):
        wait("success", command, "-b", address)
    wait("#MasterCommitLogMaxOffset\\t\\d+\\n#SlaveNum\\t0\\n", "haStatus", "-b", address)


@pytest.fixture
def consumer(start_broker, tmp_path):
    """(the broker, consumer(name) -> a process: RocketMQ's own push consumer in the group g)."""
    broker, started = start_broker(), []

    def start(name):
        folder = tmp_path / name
        folder.mkdir()
        words = ("-g", "g", "-t", "BenchmarkTest", "-s", "*", "-f", "false")
        line = java(folder, "128m", f"-Drocketmq.namesrv.addr={broker.addresses['namesrv']}", *CONSUMER, *words)
        with open(folder / "out", "wb") as out:
            started.append(subprocess.Popen(line, stdout=out, stderr=out))
        return started[-1]

    yield broker, start
    for each in started:
        each.kill()
        each.wait(30)


CONSUMER = ("org.apache.rocketmq.example.operation.Consumer",)


def test_javas_push_consumers_are_members_while_they_live(consumer):
    broker, start = consumer
    client = native(broker)

    def members():
        header, body = client.ask(203, {"consumerGroup": "g"})
        return json.loads(body) if header["code"] == 0 else {"connectionSet": []}

    first = start("first")
    until(lambda: len(members()["connectionSet"]) == 1, SECONDS, "the first member")
    start("second")
    until(lambda: len(members()["connectionSet"]) == 2, SECONDS, "the second member")
    found = members()
    assert found["consumeType"] == "CONSUME_PASSIVELY" and found["messageModel"] == "CLUSTERING"
    assert found["subscriptionTable"].keys() == {"BenchmarkTest", "%RETRY%g"}
    assert {row["language"] for row in found["connectionSet"]} == {"JAVA"}
    first.kill()
    until(lambda: len(members()["connectionSet"]) == 1, 30, "the end of a member whose connection ended")
    client.close()
