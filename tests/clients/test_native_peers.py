"""Apache RocketMQ's own mqadmin and Java clients with our broker. Needs what tests/namesrv/test_peers.py needs."""

import json
import re
import subprocess

import pytest

from tests.clients.broker import until
from tests.clients.native import native
from tests.namesrv.test_peers import java
from tests.namesrv.test_peers import pytestmark as conditions

pytestmark = [*conditions, pytest.mark.ours]
SECONDS = 250  # mqadmin waits 3 s for an answer, which is little on a busy machine
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


@pytest.fixture
def printed(start_broker, tmp_path):
    """(the broker, printed(expected, *words) -> what mqadmin prints, once it has that)."""
    broker = start_broker("rocketmq.brokerName=broker-a")
    (tmp_path / "conf").mkdir()

    def mqadmin(*words):
        main = "org.apache.rocketmq.tools.command.MQAdminStartup"
        line = java(tmp_path, "128m", main, *words, "-n", broker.addresses["namesrv"])
        return subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120).stdout

    def wait(expected, *words):
        return until(lambda: (text := mqadmin(*words)) and re.search(expected, text) and text, SECONDS, expected)

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
