"""What the name server tells: routes in both forms of JSON, clusters, topics, order topics, KV, configuration."""

import json

import pytest

from namesrv.requests import VERBS
from protocols.remoting.codes import Request
from protocols.remoting.fastjson import BodyError
from tests.namesrv.world import BROKER, SLAVE, World, topic

SECOND = {**BROKER, "brokerName": "b2", "brokerAddr": "127.0.0.2:1", "__ZONE_NAME": "z1"}


@pytest.fixture
def world():
    return World()


def topics(answer):
    assert answer.code == 0, answer
    return json.loads(answer.body)["topicList"]


def test_old_clients_get_keys_without_quotes_and_new_ones_strict_json(world):
    world.register()
    world.register(broker=SLAVE)
    bare, quoted = b'{"brokerAddrs":{0:"127.0.0.1:1",1:"127.0.0.1:5"},', b'{"brokerAddrs":{"0":"127.0.0.1:1",'
    for version, fields, shape in (
        (400, {}, bare),
        (401, {}, quoted),
        (513, {}, quoted),
        (317, {"acceptStandardJsonOnly": "true"}, quoted),
        (317, {"acceptStandardJsonOnly": "false"}, bare),
    ):
        assert shape in world.ask(105, {"topic": "T", **fields}, version=version).body


def test_cluster_info_and_member_groups_have_bare_keys_for_everybody(world):
    world.register()
    assert world.ask(106).body == (
        b'{"brokerAddrTable":{"b":{"brokerAddrs":{0:"127.0.0.1:1"},"brokerName":"b","cluster":"c",'
        b'"enableActingMaster":false}},"clusterAddrTable":{"c":["b"]}}'
    )
    group = world.ask(901, {"clusterName": "c", "brokerName": "b"}).body
    assert group == b'{"brokerMemberGroup":{"brokerAddrs":{0:"127.0.0.1:1"},"brokerName":"b","cluster":"c"}}'
    nobody = world.ask(901, {"clusterName": "c", "brokerName": "x"}).body
    assert nobody == b'{"brokerMemberGroup":{"brokerAddrs":{},"brokerName":"x","cluster":"c"}}'


def test_a_topic_that_nobody_has_is_refused_in_rocketmqs_words(world):
    answer = world.ask(105, {"topic": "T"})
    assert (answer.code, answer.remark) == (
        17,
        "No topic route info in name server for the topic: T\n"
        "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
    )


def test_a_zone_sees_its_own_brokers_and_those_without_a_master(world):
    world.register()
    world.register(broker=SECOND, mappings=None)

    def seen(**fields):
        route = world.route(**fields)
        names = [each["brokerName"] for each in route["brokerDatas"]]
        assert sorted(each["brokerName"] for each in route["queueDatas"]) == sorted(names)
        return names

    assert seen() == ["b", "b2"]
    assert seen(__ZONE_MODE="true", __ZONE_NAME="Z1") == ["b2"]
    assert seen(__ZONE_MODE="false", __ZONE_NAME="z1") == ["b", "b2"]
    assert seen(__ZONE_MODE="true", __ZONE_NAME=" ") == ["b", "b2"]
    assert seen(__ZONE_MODE="true", __ZONE_NAME="else") == []
    world.register(broker={**SLAVE, "enableActingMaster": "false"}, channel="s")
    world.ask(104, BROKER)
    assert seen(__ZONE_MODE="true", __ZONE_NAME="z1") == ["b", "b2"]


def test_routes_wait_after_a_start_where_the_configuration_says_so():
    world = World("needWaitForService=true\nwaitSecondsForService=45")
    world.register()
    world.time += 44
    assert world.ask(105, {"topic": "T"}).remark == "name server not ready"
    world.time += 1
    assert world.route() is not None


def test_order_topics_are_in_the_route_where_the_configuration_says_so(world):
    world.register()
    assert world.register().body == b"", "no such namespace yet"
    world.ask(100, {"namespace": "ORDER_TOPIC_CONFIG", "key": "T", "value": "b:4"})
    assert json.loads(world.register().body) == {"table": {"T": "b:4"}}
    assert "orderTopicConf" not in world.route()
    world.ask(318, None, b"orderMessageEnable=true")
    assert world.route()["orderTopicConf"] == "b:4" and "orderTopicConf" not in world.route("U")
    world.ask(318, None, b"returnOrderTopicConfigToBroker=false")
    assert world.register().body == b""


def test_write_permission_is_wiped_and_given_back_for_all_topics_of_a_broker(world):
    world.register("T", "U", topic("R", perm=4))
    world.register(broker=SECOND)
    assert world.ask(205, {"brokerName": "b"}).fields == {"wipeTopicCount": "3"}
    assert world.perms() == {"b": 4, "b2": 6} and world.perms("R") == {"b": 4}
    world.register("T", "U", topic("R", perm=4))
    assert world.perms() == {"b": 4, "b2": 6}, "the same version changes nothing"
    assert world.ask(327, {"brokerName": "b"}).fields == {"addTopicCount": "3"}
    assert world.perms() == {"b": 6, "b2": 6} and world.perms("R") == {"b": 6}
    world.ask(205, {"brokerName": "b"})
    world.register("T", "U", topic("R", perm=4), counter=2)
    assert world.perms()["b"] == 6
    assert world.ask(205, {"brokerName": "nobody"}).fields == {"wipeTopicCount": "0"}


def test_lists_of_topics(world):
    plain, unit, sub, both = (topic(name, topicSysFlag=flag) for flag, name in enumerate(("T", "U", "V", "W")))
    world.register(plain, unit, sub, both)
    world.register("T", "X", broker={**SECOND, "clusterName": "d"})
    assert topics(world.ask(206)) == ["T", "U", "V", "W", "X"]
    assert topics(world.ask(224, {"cluster": "d"})) == ["T", "X"]
    assert topics(world.ask(224, {"cluster": "c"})) == ["T", "U", "V", "W"]
    assert topics(world.ask(224, {"cluster": "nobody"})) == []
    assert [topics(world.ask(code)) for code in (311, 312, 313)] == [["U", "W"], ["V", "W"], ["V"]]
    assert json.loads(world.ask(304).body) == {"brokerAddr": "127.0.0.1:1", "topicList": ["c", "b", "d", "b2"]}


def test_system_topics_of_nobody(world):
    assert world.ask(304).body == b'{"topicList":[]}'


def test_lists_may_be_forbidden():
    world = World("enableAllTopicList=false\nenableTopicList=false")
    for code in (206, 224, 311, 312, 313):
        answer = world.ask(code, {"cluster": "c"})
        assert (answer.code, answer.remark) == (1, "disable")


def test_a_topic_is_deleted_in_one_cluster_or_in_all(world):
    world.register()
    world.register(broker={**SECOND, "clusterName": "d"})
    world.ask(216, {"topic": "T", "clusterName": "nobody"})
    assert world.perms() == {"b": 6, "b2": 6}
    world.ask(216, {"topic": "T", "clusterName": "c"})
    assert world.perms() == {"b2": 6}
    world.ask(216, {"topic": "U"})
    assert world.route("U") is None
    assert world.ask(216, {"topic": "never"}).code == 0


def test_a_topic_may_be_registered_for_brokers_that_are_there(world):
    def register(*names):
        queues = [{"brokerName": name, "perm": 6, "readQueueNums": 2, "writeQueueNums": 2} for name in names]
        body = json.dumps({"queueDatas": queues}).encode()
        return world.ask(217, {"topic": "N"}, body).code

    world.register()
    assert register("b", "nobody") == 0 and world.route("N") is None
    assert register("b") == 0 and world.perms("N") == {"b": 6}
    assert world.ask(217, {"topic": "M"}).code == 0 and world.route("M") is None
    lenient = b'{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:1"}}],"queueDatas":[{"brokerName":"b"}]}'
    assert world.ask(217, {"topic": "L"}, lenient).code == 0
    assert world.route("L")["queueDatas"] == [
        {"brokerName": "b", "perm": 0, "readQueueNums": 0, "topicSysFlag": 0, "writeQueueNums": 0}
    ]
    assert "REGISTER_TOPIC_IN_NAMESRV" in world.ask(217, {"topic": "N"}, b"{x").remark


def test_the_version_of_a_brokers_topics(world):
    asking = {name: BROKER[name] for name in ("brokerName", "brokerAddr", "clusterName", "brokerId")}
    assert (world.ask(322, asking).fields, world.ask(322, asking).body) == ({"changed": "true"}, b"")
    world.register()
    for version, changed in (
        ((1, 0, 1000), "false"),
        ((2, 0, 1000), "true"),
        ((1, 1, 1000), "true"),
        ((1, 0, 9), "true"),
    ):
        body = json.dumps(dict(zip(("counter", "stateVersion", "timestamp"), version))).encode()
        answer = world.ask(322, asking, body)
        assert answer.fields == {"changed": changed}
        assert json.loads(answer.body) == {"counter": 1, "stateVersion": 0, "timestamp": 1000}


def test_kv_items_are_put_read_and_deleted_and_last(world):
    answer = world.ask(101, {"namespace": "n", "key": "k"})
    assert (answer.code, answer.remark) == (22, "No config item, Namespace: n Key: k")
    answer = world.ask(219, {"namespace": "n"})
    assert (answer.code, answer.remark) == (22, "No config item, Namespace: n")
    for key, value in (("k", "v"), ("k2", ""), ("k", "new")):
        assert world.ask(100, {"namespace": "n", "key": key, "value": value}).code == 0
    assert world.ask(101, {"namespace": "n", "key": "k"}).fields == {"value": "new"}
    assert json.loads(world.ask(219, {"namespace": "n"}).body) == {"table": {"k": "new", "k2": ""}}
    assert json.loads(world.saved["kv"]) == {"configTable": {"n": {"k": "new", "k2": ""}}}
    again = World()
    again.names.load_kv(world.saved["kv"])
    assert again.ask(101, {"namespace": "n", "key": "k"}).fields == {"value": "new"}
    for key in ("k", "k2", "never"):
        assert world.ask(102, {"namespace": "n", "key": key}).code == 0
    assert world.ask(102, {"namespace": "never", "key": "k"}).code == 0
    assert json.loads(world.ask(219, {"namespace": "n"}).body) == {"table": {}}
    assert world.ask(100, {"key": "k", "value": "v"}).remark == "namespace or key is null"
    assert world.ask(100, {"namespace": "n", "key": "k"}).remark == "the custom field <value> is null"


def test_a_kv_item_that_cannot_be_written_is_refused_and_not_there(world):
    world.full_disk = True
    answer = world.ask(100, {"namespace": "n", "key": "k", "value": "v"})
    assert (answer.code, answer.remark) == (1, "the KV configuration cannot be written: No space left on device")
    assert world.ask(101, {"namespace": "n", "key": "k"}).code == 22


def test_the_kv_configuration_has_a_bound(world, monkeypatch):
    monkeypatch.setattr("namesrv.kv.BYTES_MAX", 60)
    assert world.ask(100, {"namespace": "n", "key": "k", "value": "v" * 20}).code == 0
    answer = world.ask(100, {"namespace": "n", "key": "k2", "value": "v" * 20})
    assert answer.code == 1 and "more than 60" in answer.remark
    assert world.ask(101, {"namespace": "n", "key": "k2"}).code == 22


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"configTable":{"n":5}}'])
def test_a_kv_file_that_is_none_is_refused(world, content):
    with pytest.raises(BodyError, match="holds no KV configuration"):
        world.names.load_kv(content)


def test_the_configuration_is_shown_sorted_and_updated_with_its_file(world):
    lines = world.ask(319).body.decode().splitlines()
    assert lines == sorted(lines) and "listenPort=9876" in lines and "orderMessageEnable=false" in lines
    answer = world.ask(318, None, b"orderMessageEnable=true\nnobodyKnows=1\nproductEnvName=a\\\\b\n")
    assert answer.code == 0
    assert "orderMessageEnable=true" in world.ask(319).body.decode().splitlines()
    assert "productEnvName=a\\b" in world.ask(319).body.decode().splitlines()
    assert b"nobodyKnows" not in world.ask(319).body
    again = World(world.saved["conf"].decode())
    assert again.ask(319).body == world.ask(319).body


@pytest.mark.parametrize("key", ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"])
def test_some_keys_are_for_the_file_only(world, key):
    answer = world.ask(318, None, f"orderMessageEnable=true\n{key}=x".encode())
    assert (answer.code, answer.remark) == (16, "Can not update config in black list.")
    assert world.names.config["orderMessageEnable"] is False and "conf" not in world.saved


def test_the_black_list_may_be_longer():
    world = World("configBlackList=listenPort;productEnvName")
    assert world.ask(318, None, b"productEnvName=x").code == 16
    assert world.ask(318, None, b"orderMessageEnable=true").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"listenPort=abc", "listenPort: 'abc' is not a number within 0..65535"),
        (b"scanNotActiveBrokerInterval=0", "scanNotActiveBrokerInterval: '0' is not a number within 1..2147483647"),
        (b"orderMessageEnable=yes", "orderMessageEnable: 'yes' is neither true nor false"),
        (b"productEnvName=a\\nlistenPort=1", "productEnvName: a value has no line breaks"),
        (b"a=\\u12", "string2Properties error"),
    ],
)
def test_a_value_that_cannot_be_is_refused(world, text, said):
    answer = world.ask(318, None, text)
    assert (answer.code, answer.remark) == (1, said)


def test_a_configuration_that_cannot_be_written_is_not_changed(world):
    world.full_disk = True
    answer = world.ask(318, None, b"orderMessageEnable=true")
    assert (answer.code, answer.remark) == (1, "the configuration cannot be written: No space left on device")
    assert world.names.config["orderMessageEnable"] is False
    assert world.ask(318).code == 0


def test_what_nobody_asks_a_name_server_is_refused_in_rocketmqs_words(world):
    for code in (0, -142, 10, 1001, 9999):
        answer = world.ask(code, {})
        assert (answer.code, answer.remark) == (3, f" request type {code} not supported")


WITHOUT_FIELDS = {106, 206, 304, 311, 312, 313, 318, 319}


@pytest.mark.parametrize("code", sorted(set(VERBS) - WITHOUT_FIELDS), ids=lambda code: Request(code).name)
def test_whatever_is_asked_without_its_fields_names_one(world, code):
    for fields in (None, {}, {"unknown": "x"}):
        answer = world.ask(code, fields)
        assert answer.code == 1 and "is null" in answer.remark
