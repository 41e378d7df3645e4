"""Brokers come, say what they have, and go: by request, in silence, or with their connection."""

import json
import struct
import zlib

import pytest

from namesrv import routes
from tests.namesrv.world import BROKER, SLAVE, World, registering, topic

MAPPING = {"bname": "b", "currIdMap": {"0": 0}, "dirty": False, "epoch": 5, "scope": "__global__"}


@pytest.fixture
def world():
    return World()


def clusters(world):
    return json.loads(world.ask(106).body.replace(b"{0:", b'{"0":').replace(b",1:", b',"1":'))


def test_a_broker_that_registers_is_found_and_its_topics_have_routes(world):
    assert world.route() is None
    assert world.register().fields is None
    assert world.route() == {
        "brokerDatas": [
            {"brokerAddrs": {"0": "127.0.0.1:1"}, "brokerName": "b", "cluster": "c", "enableActingMaster": False}
        ],
        "filterServerTable": {},
        "queueDatas": [
            {"brokerName": "b", "perm": 6, "readQueueNums": 4, "topicSysFlag": 0, "writeQueueNums": 4},
        ],
    }
    assert clusters(world)["clusterAddrTable"] == {"c": ["b"]}


def test_a_topic_that_was_created_or_changed_is_taken_when_the_version_moved(world):
    world.register()
    world.register("T", topic("U", perm=4), "New", counter=1)
    assert world.perms("U") == {"b": 6} and world.perms("New") == {"b": 6}, "the version says that nothing changed"
    world.register("T", topic("U", perm=4), counter=2)
    assert world.perms("U") == {"b": 4}
    assert world.perms("New") == {"b": 6}, "topics do not go by registration"


def test_topics_go_by_registration_where_the_configuration_says_so():
    world = World("deleteTopicWithBrokerRegistration=true")
    world.register("T", "U", "V")
    world.register("T", "U", counter=2)
    assert world.route("V") is None and world.route("U") is not None


def test_one_topic_of_a_broker_that_never_said_the_rest_is_refused_and_leaves_no_trace(world):
    answer = world.ask(103, BROKER, registering("T"))
    assert (answer.code, answer.remark) == (1, "register broker failed")
    assert clusters(world) == {"brokerAddrTable": {}, "clusterAddrTable": {}}
    world.register("T", "U")
    world.register("V", counter=2)
    assert world.perms("V") == {"b": 6}


def test_a_slave_is_told_its_master_and_defines_no_topics(world):
    world.register()
    fields = world.register("T", "OfSlave", broker=SLAVE).fields
    assert fields == {"masterAddr": "127.0.0.1:1", "haServerAddr": "127.0.0.1:2"}
    assert world.route()["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.1:1", "1": "127.0.0.1:5"}
    assert world.route("OfSlave") is None


def test_a_slave_without_a_master_may_define_topics_unless_it_is_older_than_that_rule(world):
    world.register(broker=SLAVE)
    assert world.route() is None
    world.register(broker={**SLAVE, "enableActingMaster": "false"})
    assert world.perms() == {"b": 6}
    world.register(broker={**SLAVE, "enableActingMaster": "true"}, counter=2)
    assert world.perms() == {"b": 4}, "an acting master is not written to"


def test_an_acting_master_is_shown_as_master_where_the_configuration_says_so():
    world = World("supportActingMaster=true")
    acting = {**SLAVE, "enableActingMaster": "true"}
    world.register(broker={**BROKER, "enableActingMaster": "true"}, channel="m")
    world.register(broker=acting, channel="s")
    assert world.route()["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.1:1", "1": "127.0.0.1:5"}
    world.names.lost("m")
    assert world.perms() == {"b": 4}
    assert world.route()["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.1:5"}
    world.ask(327, {"brokerName": "b"})
    assert world.route()["brokerDatas"][0]["brokerAddrs"] == {"1": "127.0.0.1:5"}, "it is written to: to no slave"


def test_a_slave_that_becomes_master_has_one_entry(world):
    world.register()
    world.register(broker=SLAVE)
    world.register(broker={**SLAVE, "brokerId": "0"}, counter=2)
    assert world.route()["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.1:5"}


def test_an_id_that_another_address_has_with_a_newer_state_is_not_taken(world):
    world.register(state=5)
    other = {**BROKER, "brokerAddr": "127.0.0.9:1"}
    world.register(topic("T", perm=2), "U", broker=other, state=4)
    assert world.route()["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.1:1"} and world.perms() == {"b": 6}
    world.register(topic("T", perm=2), "U", broker=other, state=5)
    assert world.route()["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.9:1"} and world.perms() == {"b": 2}


def test_a_broker_with_another_name_at_the_same_address_replaces_it(world):
    world.register()
    world.register(broker={**BROKER, "brokerName": "renamed"})
    assert clusters(world)["clusterAddrTable"] == {"c": ["renamed"]}
    assert world.perms() == {"renamed": 6}


def test_a_broker_is_forgotten_120_seconds_after_it_was_last_heard_of(world):
    world.register()
    world.time += 119
    world.ask(904, BROKER)
    world.time += 120
    assert world.names.expire() == [] and world.route() is not None
    world.time += 1
    assert world.names.expire() == ["channel"]
    assert world.route() is None and clusters(world) == {"brokerAddrTable": {}, "clusterAddrTable": {}}
    assert world.ask(904, BROKER).code == 0, "a heartbeat of nobody is no error"
    assert world.names.expire() == [] and not world.routes.live


def test_a_broker_says_itself_how_long_it_may_be_silent(world):
    world.register(broker={**BROKER, "heartbeatTimeoutMillis": "3000"})
    world.time += 3
    assert world.names.expire() == []
    world.time += 0.5
    assert world.names.expire() == ["channel"]


def test_a_registration_is_a_sign_of_life_and_so_is_the_question_for_the_version(world):
    asking = {name: BROKER[name] for name in ("brokerName", "brokerAddr", "clusterName", "brokerId")}
    for ask in (lambda: world.register(), lambda: world.ask(322, asking)):
        world.register()
        world.time += 100
        ask()
        world.time += 100
        assert world.names.expire() == []


def test_what_registered_over_a_connection_goes_with_it(world):
    world.register(channel="one")
    world.register("T", "V", broker={**BROKER, "brokerName": "b2", "brokerAddr": "127.0.0.2:1"}, channel="one")
    world.register("T", "W", broker={**BROKER, "brokerName": "b3", "brokerAddr": "127.0.0.3:1"}, channel="two")
    world.names.lost("one")
    assert world.perms() == {"b3": 6}
    assert world.route("U") is None and world.route("V") is None and world.route("W") is not None
    world.names.lost("one")
    assert world.perms() == {"b3": 6}


def test_a_broker_that_came_back_over_another_connection_stays_when_the_old_one_goes(world):
    world.register(channel="old")
    world.register(channel="new")
    world.names.lost("old")
    assert world.route() is not None


def test_a_broker_that_unregisters_is_gone_at_once(world):
    world.register()
    world.register(broker=SLAVE)
    assert world.ask(104, SLAVE).code == 0
    assert world.route()["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.1:1"}
    assert world.ask(104, BROKER).code == 0
    assert world.route() is None and not world.routes.topics and not world.routes.brokers


@pytest.mark.parametrize("crc", ["5", str(zlib.crc32(b"{}") ^ 1)])
def test_a_body_that_was_damaged_on_its_way_is_refused(world, crc):
    answer = world.ask(103, {**BROKER, "bodyCrc32": crc}, b"{}")
    assert (answer.code, answer.remark) == (1, "crc32 not match")
    body = registering("T", "U")
    assert world.ask(103, {**BROKER, "bodyCrc32": str(zlib.crc32(body) & 0x7FFFFFFF)}, body).code == 0


def compressed(*topics, filters=("f:1",), mappings=(), sections=4):
    """A body as RegisterBrokerBody.encode(true) makes it."""

    def part(data):
        return struct.pack(">I", len(data)) + data

    parts = [
        part(b'{"counter":9,"stateVersion":0,"timestamp":5}'),
        struct.pack(">I", len(topics)) + b"".join(part(each) for each in topics),
        part(json.dumps(filters).encode()),
        struct.pack(">I", len(mappings)) + b"".join(part(each) for each in mappings),
    ]
    return zlib.compress(b"".join(parts[:sections]), 9)


def test_a_compressed_body_says_the_same(world):
    mapping = (
        b'{"bname":"b","currIdMap":{0:0},"dirty":false,"epoch":5,"scope":"__global__","topic":"T","totalQueues":2}'
    )
    body = compressed(b"T 3 5 6 SINGLE_TAG {}", b"U 1 1 2 MULTI_TAG", mappings=[mapping])
    header = {**BROKER, "compressed": "true", "bodyCrc32": str(zlib.crc32(body) & 0x7FFFFFFF)}
    assert world.ask(103, header, body).code == 0
    route = world.route()
    assert route["queueDatas"][0] | {"readQueueNums": 3, "writeQueueNums": 5, "perm": 6} == route["queueDatas"][0]
    assert route["filterServerTable"] == {"127.0.0.1:1": ["f:1"]}
    assert route["topicQueueMappingByBroker"] == {"b": {**MAPPING, "topic": "T", "totalQueues": 2}}
    assert world.perms("U") == {"b": 2}
    version = world.ask(322, BROKER)
    assert json.loads(version.body) == {"counter": 9, "stateVersion": 0, "timestamp": 5}


def test_a_broker_before_5_0_compresses_no_static_topics(world):
    body = compressed(b"T 3 5 6 SINGLE_TAG {}", b"U 1 1 2 MULTI_TAG", sections=3)
    assert world.ask(103, {**BROKER, "compressed": "true"}, body, version=412).code == 0
    assert world.route() is not None
    assert world.ask(103, {**BROKER, "compressed": "true"}, body, version=413).code == 1


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense", compressed(b"T 3 5 6 SINGLE_TAG")[:-9], compressed(b"T x 5 6 SINGLE_TAG"), compressed(sections=2),
        zlib.compress(b"\xff\xff\xff\xff"), zlib.compress(b""),
    ],
)  # fmt: skip
def test_a_compressed_body_that_is_broken_is_refused_and_changes_nothing(world, body):
    answer = world.ask(103, {**BROKER, "compressed": "true"}, body)
    assert answer.code == 1 and answer.remark.startswith("Failed to decode the body of REGISTER_BROKER: ")
    assert not world.routes.live


def test_a_compressed_body_has_a_bound(world, monkeypatch):
    monkeypatch.setattr("namesrv.bodies.INFLATED_BYTES_MAX", 1000)
    body = compressed(*[b"T%d 3 5 6 SINGLE_TAG" % number for number in range(100)])
    answer = world.ask(103, {**BROKER, "compressed": "true"}, body)
    assert answer.code == 1 and "more than 1000 bytes" in answer.remark


@pytest.mark.parametrize("size", [-1, 0, 4, 6, 2**31 - 1])
def test_a_part_of_a_compressed_body_has_the_size_that_it_says(world, size):
    whole = zlib.decompress(compressed(b"T 3 5 6 SINGLE_TAG {}", b"U 1 1 2 MULTI_TAG", sections=2))
    last = b'["f"]'
    body = zlib.compress(whole + struct.pack(">i", size) + last)
    answer = world.ask(103, {**BROKER, "compressed": "true"}, body, version=412)
    assert answer.code == 1 and answer.remark.startswith("Failed to decode the body of REGISTER_BROKER: ")


@pytest.mark.parametrize("body", [b"{nonsense", b"[]", b'{"topicConfigSerializeWrapper":5}', b"\xff"])
def test_a_body_that_is_broken_is_refused_and_changes_nothing(world, body):
    answer = world.ask(103, BROKER, body)
    assert answer.code == 1 and answer.remark.startswith("Failed to decode the body of REGISTER_BROKER: ")
    assert not world.routes.live


def test_a_broker_before_3_0_11_sends_its_topics_only(world):
    body = json.dumps({"dataVersion": {"counter": 1}, "topicConfigTable": {"O": topic("O"), "P": topic("P")}}).encode()
    assert world.ask(103, BROKER, body, version=36).code == 0
    assert world.perms("O") == {"b": 6}


def test_a_registration_without_a_body_has_no_topics(world):
    assert world.ask(103, BROKER).code == 0
    assert clusters(world)["clusterAddrTable"] == {"c": ["b"]} and not world.routes.topics


def test_filter_servers_stay_until_the_broker_has_none(world):
    world.register(filters=["f:1", "f:2"])
    assert world.route()["filterServerTable"] == {"127.0.0.1:1": ["f:1", "f:2"]}
    world.register()
    assert world.route()["filterServerTable"] == {}


def test_static_topics_go_with_their_broker(world):
    world.register(mappings={"T": {**MAPPING, "topic": "T", "totalQueues": 2}})
    assert world.route()["topicQueueMappingByBroker"]["b"]["currIdMap"] == {"0": 0}
    world.names.lost("channel")
    assert not world.routes.mappings


def test_there_is_room_for_so_many_brokers(world, monkeypatch):
    monkeypatch.setattr(routes, "BROKERS_MAX", 1)
    world.register()
    answer = world.ask(103, {**BROKER, "brokerAddr": "127.0.0.9:1", "brokerName": "x"}, registering("T", "U"))
    assert (answer.code, answer.remark) == (1, "there are 1 brokers already")
    world.register(counter=2)
    world.names.lost("channel")
    world.register(broker={**BROKER, "brokerAddr": "127.0.0.9:1", "brokerName": "x"})


def test_there_is_room_for_so_many_routes_and_what_goes_makes_room(world, monkeypatch):
    monkeypatch.setattr(routes, "ROUTES_MAX", 2)
    world.register("T", "U")
    answer = world.ask(103, {**BROKER, "brokerAddr": "127.0.0.9:1", "brokerName": "x"}, registering("T", "V"))
    assert (answer.code, answer.remark) == (1, "there are 2 routes already")
    world.ask(104, BROKER)
    world.register("V", "W", broker={**BROKER, "brokerAddr": "127.0.0.9:1", "brokerName": "x"})


@pytest.mark.parametrize("name", sorted(BROKER))
def test_a_registration_without_a_field_names_it(world, name):
    answer = world.ask(103, {key: value for key, value in BROKER.items() if key != name}, registering("T", "U"))
    assert (answer.code, answer.remark) == (1, f"the custom field <{name}> is null")


def test_a_real_brokers_registration_is_taken(world):
    from tests.protocols.remoting.test_frame import GOLDEN

    data = bytearray.fromhex(next(row["bytes"] for row in GOLDEN if "registers" in row["name"]))
    assert world.frame.take(data, 0, len(data)) == len(data)
    answer = world.names.answer(world.frame, "channel")
    assert (answer.code, answer.remark) == (1, "crc32 not match"), "its body was cut for the table"
    fields = {name: value for name, value in world.frame.fields().items() if name != "bodyCrc32"}
    body = bytes(world.frame.body())
    assert world.ask(103, fields, body, version=513).remark == "register broker failed", "a single topic at first"
    world.register("Other", "Another", broker=fields)
    assert world.ask(103, fields, body, version=513).code == 0
    assert world.route("RMQ_SYS_TRANS_HALF_TOPIC")["queueDatas"][0]["brokerName"] == "broker-a"
