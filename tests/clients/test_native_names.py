"""Where RocketMQ's clients find this broker: the embedded name server, and others that it registers with."""

import json

import pytest

from tests.clients.broker import until
from tests.clients.native import native
from tests.namesrv.process import Namesrv

pytestmark = pytest.mark.ours
HEARTBEAT = {
    "clientID": "c1",
    "consumerDataSet": [{"groupName": "g", "messageModel": "CLUSTERING", "subscriptionDataSet": []}],
    "producerDataSet": [],
}
SYSTEM_TOPICS = {"TBW102", "BenchmarkTest", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRACE_TOPIC", "SELF_TEST_TOPIC"}


@pytest.fixture
def name_server(tmp_path):
    """name_server(port) starts mqnamesrv."""
    started = []

    def start(port=0):
        folder = tmp_path / f"namesrv{len(started)}"
        folder.mkdir()
        started.append(Namesrv(folder, port=port))
        return started[-1].start()

    yield start
    for each in started:
        each.stop()


def route(client, topic):
    """(address of the master, [queues]) of the topic's route, or None."""
    header, body = client.ask(105, {"topic": topic})
    if header["code"] == 17:
        return None
    found = json.loads(body)
    (broker,), (queues,) = found["brokerDatas"], found["queueDatas"]
    assert broker["brokerName"] == queues["brokerName"]
    return broker["brokerAddrs"]["0"], queues["readQueueNums"], queues["perm"]


def topics(client):
    return set(json.loads(client.ask(206)[1])["topicList"])


def heartbeat(broker, group="g"):
    """A consumer that comes."""
    client = native(broker)
    consumers = [HEARTBEAT["consumerDataSet"][0] | {"groupName": group}]
    assert client.ask(34, body=json.dumps(HEARTBEAT | {"consumerDataSet": consumers}).encode())[0]["code"] == 0
    return client


def test_the_embedded_name_server_knows_the_broker_from_its_first_moment(start_broker):
    broker = start_broker("rocketmq.brokerName=b1", "rocketmq.brokerClusterName=c1")
    names = native(broker, "namesrv")
    assert route(names, "TBW102") == (broker.addresses["remoting"], 8, 7)
    assert topics(names) >= SYSTEM_TOPICS | {"b1", "c1", "c1_REPLY_TOPIC"}
    cluster = names.ask(106)[1].decode()
    assert cluster.endswith('"clusterAddrTable":{"c1":["b1"]}}') and f'0:"{broker.addresses["remoting"]}"' in cluster
    names.close()


def test_what_changes_while_the_broker_runs_is_told_to_name_servers(start_broker, name_server):
    other = name_server()
    broker = start_broker("rocketmq.brokerPermission=4", f"rocketmq.namesrvAddr=127.0.0.1:{other.port}")
    here, there, client = native(broker, "namesrv"), other.client(), native(broker)
    assert route(here, "BenchmarkTest")[1:] == (1024, 4) and route(here, "TBW102")[1:] == (8, 5)
    until(lambda: route(there, "BenchmarkTest"), 10, "the registration")
    assert route(there, "BenchmarkTest")[1:] == (1024, 4)
    assert client.ask(25, body=b"brokerPermission=6\ndefaultTopicQueueNums=3\n")[0]["code"] == 0
    assert route(here, "BenchmarkTest")[1:] == (1024, 6) and route(here, "TBW102")[1:] == (3, 7)
    until(lambda: route(there, "TBW102")[1:] == (3, 7) and route(there, "BenchmarkTest")[2] == 6, 10, "the changes")
    for each in (here, there, client):
        each.close()


def test_a_consumers_first_heartbeat_gives_its_retry_topic_a_route_at_once(start_broker):
    broker = start_broker()
    names = native(broker, "namesrv")
    assert route(names, "%RETRY%g") is None
    client = heartbeat(broker)
    assert route(names, "%RETRY%g") == (broker.addresses["remoting"], 1, 6)
    client.close()
    broker.restart()
    assert route(native(broker, "namesrv"), "%RETRY%g") == (broker.addresses["remoting"], 1, 6)


def test_routes_lead_to_the_address_that_their_asker_came_in_by(start_broker):
    broker = start_broker("listeners.remoting=0.0.0.0:0", "listeners.namesrv=0.0.0.0:0")
    port = broker.addresses["remoting"].rpartition(":")[2]
    for host in ("127.0.0.1", "127.0.0.2"):
        names = native(broker, "namesrv", host)
        assert route(names, "TBW102")[0] == f"{host}:{port}"
        assert f'"{host}:{port}"'.encode() in names.ask(106)[1]
        names.close()


def test_routes_lead_where_broker_ip1_says(start_broker):
    settings = ("listeners.remoting=0.0.0.0:0", "listeners.namesrv=0.0.0.0:0", "rocketmq.brokerIP1=mq.example.org")
    broker = start_broker(*settings)
    port = broker.addresses["remoting"].rpartition(":")[2]
    assert route(native(broker, "namesrv"), "TBW102")[0] == f"mq.example.org:{port}"


def test_other_name_servers_are_told_of_the_broker_and_of_what_changes(start_broker, name_server):
    servers = [name_server(), name_server()]
    addresses = ";".join(f"127.0.0.1:{server.port}" for server in servers)
    broker = start_broker(f"rocketmq.namesrvAddr={addresses}", "listeners.namesrv=off", "rocketmq.brokerName=b1")
    for server in servers:
        client = server.client()
        until(lambda client=client: route(client, "TBW102"), what="the broker's registration")
        assert route(client, "TBW102") == (broker.addresses["remoting"], 8, 7)
        assert topics(client) >= SYSTEM_TOPICS
    heartbeat(broker)
    for server in servers:
        until(lambda server=server: route(server.client(), "%RETRY%g"), what="a new topic's route")
    broker.stop()
    for server in servers:
        until(lambda server=server: topics(server.client()) == set(), what="the broker's farewell")


def test_a_name_server_that_comes_late_or_again_is_told_all_of_it(start_broker, name_server):
    first = name_server()
    port = first.port
    settings = (f"rocketmq.namesrvAddr=127.0.0.1:{port}", "rocketmq.registerNameServerPeriod=1000")
    broker = start_broker(*settings)
    until(lambda: route(first.client(), "TBW102"), what="the broker's registration")
    first.stop()
    until(lambda: "name server cannot be reached" in broker.log, what="the operator's line")
    heartbeat(broker, "while-it-was-away")
    again = name_server(port)
    until(lambda: route(again.client(), "%RETRY%while-it-was-away"), 20, "the broker's registration")
    assert topics(again.client()) >= SYSTEM_TOPICS and "name server can be reached" in broker.log
    assert broker.log.count("name server cannot be reached") == 1


def test_a_name_server_that_forgot_the_broker_is_told_again(start_broker, name_server):
    server = name_server()
    broker = start_broker(f"rocketmq.namesrvAddr=127.0.0.1:{server.port}", "rocketmq.registerNameServerPeriod=1000")
    client = server.client()
    until(lambda: route(client, "TBW102"), what="the broker's registration")
    (data,) = json.loads(client.ask(105, {"topic": "TBW102"})[1])["brokerDatas"]
    who = {"brokerName": data["brokerName"], "clusterName": data["cluster"], "brokerId": "0"}
    who["brokerAddr"] = broker.addresses["remoting"]
    assert client.ask(104, who)[0]["code"] == 0 and route(client, "TBW102") is None
    until(lambda: route(client, "TBW102"), what="the broker's registration")


def test_another_broker_may_register_with_the_embedded_name_server(start_broker):
    first = start_broker("rocketmq.brokerName=b1")
    second = start_broker(f"rocketmq.namesrvAddr={first.addresses['namesrv']}", "rocketmq.brokerName=b2")
    names = native(first, "namesrv")

    def brokers():
        return json.loads(names.ask(105, {"topic": "TBW102"})[1])["brokerDatas"]

    until(lambda: len(brokers()) == 2, what="both brokers")
    shown = {each["brokerName"]: each["brokerAddrs"]["0"] for each in brokers()}
    assert shown == {"b1": first.addresses["remoting"], "b2": second.addresses["remoting"]}


def test_without_native_listeners_nothing_of_it_is_there(start_broker):
    broker = start_broker("listeners.remoting=off", "listeners.remoting_vip=off")
    assert topics(native(broker, "namesrv")) == set()
