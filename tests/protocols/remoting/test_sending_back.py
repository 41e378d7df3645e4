"""What a consumer sends back comes again after its delay, or is a dead letter; delayed messages come in time."""

import pytest

from core.native import LEVELS_SECONDS, Native
from core.state.records import TopicConfig
from protocols.remoting import properties
from protocols.remoting.codes import Request
from protocols.remoting.delivering import Delivering
from protocols.remoting.errors import FAQ
from protocols.remoting.rules import READ
from protocols.remoting.stored import record_properties, stored_message
from tests.protocols.remoting.native_world import NativeWorld, record, send_fields, text
from tests.protocols.remoting.world import request

BACK, SEND = Request.CONSUMER_SEND_MSG_BACK, Request.SEND_MESSAGE_V2
SCHEDULE, RETRY, DEAD = b"SCHEDULE_TOPIC_XXXX", b"%RETRY%g", b"%DLQ%g"


@pytest.fixture
def world():
    world = NativeWorld()
    world.topic()
    return world


@pytest.fixture
def client(world):
    return world.client()


def put(world, **more):
    """A message that is committed."""
    fields = send_fields(e=2, h=5, f=1, i=text(UNIQ_KEY="0A", TAGS="TagA", KEYS="k"))
    world.client(port=60000).send(request(SEND, fields | more, b"hi"))
    world.commit()
    return world.messages()[-1]


def back_fields(message, **more):
    fields = {"offset": message.offset, "group": "g", "delayLevel": 0, "originMsgId": "x", "originTopic": "T"}
    return fields | {"unitMode": "false", "maxReconsumeTimes": 16} | more


def sent_back(client, message, **more):
    """The message as it was stored anew; the answer came with the commit."""
    version = more.pop("version", 479)
    before = client.world.log.appended
    client.send(request(BACK, back_fields(message, **more), version=version))
    client.world.run()
    assert client.received() == []
    client.world.commit()
    ((header, _),) = client.received()
    assert (header["code"], header.get("remark")) == (0, None)
    stored = client.world.messages(SCHEDULE) + (client.world.messages(DEAD) if client.world.topics.find(DEAD) else [])
    (found,) = [each for each in stored if each.offset >= before]
    return found


def test_a_message_goes_to_its_groups_retry_topic_by_way_of_the_schedule(world, client):
    was = put(world)
    now = sent_back(client, was)
    assert (now.topic, now.queue_id, now.body, now.flag, now.sys_flag) == (SCHEDULE, 2, b"hi", 5, 1)
    assert (now.reconsume_times, now.born_ms, now.born_host) == (1, was.born_ms, was.born_host)
    said = properties.as_dict(now.properties)
    assert (
        said
        | {
            b"RETRY_TOPIC": b"T",
            b"REAL_TOPIC": RETRY,
            b"REAL_QID": b"0",
            b"DELAY": b"3",
            b"WAIT": b"false",
            b"TAGS": b"TagA",
            b"UNIQ_KEY": b"0A",
            b"ORIGIN_MESSAGE_ID": b"7F00000100002A9F%016X" % was.offset,
        }
        == said
    )
    assert world.topics.find(RETRY).config == TopicConfig(name=RETRY, read_queues=1, write_queues=1)


def test_each_attempt_waits_longer_and_the_last_is_a_dead_letter(world, client):
    message = put(world)
    delivering = Delivering(world, world.making)
    delivering.start()
    levels = []
    for attempt in range(16):
        waits = sent_back(client, message)
        levels.append(waits.queue_id + 1)
        world.later(1000 * LEVELS_SECONDS[waits.queue_id] - 1)
        assert len(world.messages(RETRY)) == attempt
        world.later(1)
        world.commit()
        message = world.messages(RETRY)[attempt]
        assert (message.reconsume_times, message.body) == (attempt + 1, b"hi")
    assert levels == list(range(3, 19)) and delivering.delivered == 16
    dead = sent_back(client, message)
    said = properties.as_dict(dead.properties)
    assert (dead.topic, dead.queue_id, dead.reconsume_times, said[b"DELAY"]) == (DEAD, 0, 17, b"0")
    assert (said[b"RETRY_TOPIC"], said[b"ORIGIN_MESSAGE_ID"]) == (
        b"T",
        b"7F00000100002A9F%016X" % world.messages()[0].offset,
    )
    assert world.topics.find(DEAD).config == TopicConfig(name=DEAD, read_queues=1, write_queues=1)


@pytest.mark.parametrize(
    "more, topic, queue",
    [
        ({"delayLevel": 7}, SCHEDULE, 6),
        ({"delayLevel": -1}, DEAD, 0),
        ({"maxReconsumeTimes": 0}, DEAD, 0),
        ({"maxReconsumeTimes": 0, "version": 120}, SCHEDULE, 2),
    ],
)
def test_the_consumer_says_when_and_whether_it_comes_again(world, client, more, topic, queue):
    stored = sent_back(client, put(world), **more)
    assert (stored.topic, stored.queue_id) == (topic, queue)


def refused(client, message, code, remark, **more):
    client.send(request(BACK, back_fields(message, **more)))
    client.world.commit()
    ((header, _),) = client.received()
    assert (header["code"], header["remark"]) == (code, remark)


def test_what_cannot_come_back_is_refused(world, client):
    message = put(world)
    refused(client, message, 1, "look message by offset failed, 12345", offset=12345)
    refused(client, message, 1, "look message by offset failed, -1", offset=-1)
    refused(client, message, 26, f"subscription group not exist, {'g' * 121} {FAQ}", group="g" * 121)
    world.topics.put(TopicConfig(name=b"%RETRY%h", read_queues=1, write_queues=1, perm=4))
    refused(client, message, 16, "the topic[%RETRY%h] sending message is forbidden", group="h")
    assert not world.messages(SCHEDULE)


def test_a_broker_that_may_not_be_written_takes_nothing_back():
    world = NativeWorld(permission=READ)
    world.topic()
    refused(world.client(), put(world), 16, "the broker[127.0.0.1] sending message is forbidden")


def test_a_group_without_retry_queues_gets_nothing_again(world, client):
    world.groups.table[b"g"] = type(world.groups.use(b"x"))(name="g", retry_queue_nums=0)
    assert client.ask(BACK, back_fields(put(world)))[0]["code"] == 0
    assert not world.messages(SCHEDULE)


def test_one_whose_record_is_that_of_another_protocol_is_refused(world, client):
    world.queries.by_id = lambda text, done: done([type("Found", (), {"message": object()})])
    refused(client, put(world), 1, "look message by offset failed, 5", offset=5)


# --- delays


def test_delayed_messages_come_in_time_level_by_level(world, client):
    Delivering(world, world.making).start()
    for level, body in ((1, b"1s"), (2, b"5s"), (1, b"1s too")):
        client.send(request(SEND, send_fields(e=3, i=text(DELAY=level, UNIQ_KEY=f"{level}")), body))
    world.commit()
    world.later(999)
    assert not world.messages()
    world.later(1)
    assert [message.body for message in world.messages()] == [b"1s", b"1s too"]
    world.commit()
    world.later(4000)
    stored = world.messages()[-1]
    assert (stored.body, stored.queue_id, stored.topic) == (b"5s", 3, b"T")
    assert properties.as_dict(stored.properties)[b"REAL_TOPIC"] == b"T"


def test_what_was_delivered_is_not_delivered_again_after_a_restart(world, client):
    for body in (b"one", b"two"):
        client.send(request(SEND, send_fields(i=text(DELAY=1)), body))
    world.commit()
    world.pass_ms(1000)
    Delivering(world, world.making).start()
    assert world.groups.offsets[b"CID_RMQ_SYS_SCHEDULE", SCHEDULE, 0] == 2
    Delivering(world, world.making).start()
    assert [message.body for message in world.messages()] == [b"one", b"two"]


def test_many_that_are_due_are_delivered_in_portions(world, client):
    for n in range(100):
        client.send(request(SEND, send_fields(i=text(DELAY=1)), b"%d" % n))
    world.commit()
    world.pass_ms(1000)
    Delivering(world, world.making).start()
    assert len(world.messages()) == 32
    world.later(0)
    assert [message.body for message in world.messages()] == [b"%d" % n for n in range(100)]


def test_while_publishers_are_blocked_nothing_is_stored_anew(world, client):
    client.send(request(SEND, send_fields(i=text(DELAY=1)), b"one"))
    world.commit()
    Delivering(world, world.making).start()
    world.flow.set_alarm("disk", True)
    world.later(1000)
    assert not world.messages()
    world.flow.set_alarm("disk", False)
    world.later(200)
    assert len(world.messages()) == 1


def test_a_message_whose_topic_is_gone_keeps_no_other_waiting(world, client):
    delivering = Delivering(world, world.making)
    delivering.start()
    world.topic(b"U")
    for topic in ("U", "T"):
        client.send(request(SEND, send_fields(topic=topic, i=text(DELAY=1)), topic.encode()))
    world.commit()
    world.topics.delete(b"U")
    world.later(1000)
    assert [message.body for message in world.messages()] == [b"T"]
    assert (delivering.delivered, delivering.dropped) == (1, 1)


def test_a_read_that_fails_is_told_and_tried_again(world, client):
    client.send(request(SEND, send_fields(i=text(DELAY=1)), b"one"))
    world.commit()
    told = []
    world.report = lambda event, **fields: told.append((event, fields["because"]))
    queue = world.topics.find(SCHEDULE).queues[0]
    real, queue.read = queue.read, lambda *asked: asked[-1](OSError("gone"))
    Delivering(world, world.making).start()
    assert told == [("delayed messages cannot be read", "gone")]
    queue.read = real
    world.later(10_000)
    assert len(world.messages()) == 1


def test_one_that_cannot_be_stored_stops_no_level_and_doubles_nothing(world, client, caplog):
    for level, body in ((1, b"one"), (1, b"bad"), (1, b"three"), (2, b"other")):
        client.send(request(SEND, send_fields(i=text(DELAY=level)), body))
    world.commit()
    real = world.topics.append

    def append(topic, message):
        if message.body == b"bad":
            raise ZeroDivisionError("for this one")
        real(topic, message)

    world.topics.append = append
    Delivering(world, world.making).start()
    world.later(1000)
    assert [message.body for message in world.messages()] == [b"one"]
    assert world.groups.offsets[b"CID_RMQ_SYS_SCHEDULE", SCHEDULE, 0] == 1
    world.later(4000)
    world.later(6000)
    assert [message.body for message in world.messages()] == [b"one", b"other"]
    world.topics.append = real
    world.later(10_000)
    assert [message.body for message in world.messages()] == [b"one", b"other", b"bad", b"three"]
    told = [(each.message, each.level) for each in caplog.records if each.exc_info]
    assert told == [("delayed messages cannot be delivered", 1)] * 2


def test_a_look_that_fails_is_tried_again(world, client):
    client.send(request(SEND, send_fields(i=text(DELAY=1)), b"one"))
    world.commit()
    queue = world.topics.find(SCHEDULE).queues[0]
    real, queue.read = queue.read, None
    Delivering(world, world.making).start()
    queue.read = real
    world.later(9999)
    assert not world.messages()
    world.later(1)
    assert len(world.messages()) == 1


@pytest.mark.parametrize("host", [b"\x01\x02\x03\x04\0\0\0\x05", bytes(range(16)) + b"\0\0\0\x05"])
@pytest.mark.parametrize("topic", [b"T", b"%RETRY%" + b"g" * 121])
def test_a_record_is_read_back_as_it_was_stored(host, topic):
    message = Native(topic, 3, b"body", b"TAGS\x01t\x02")
    message.born_host = message.store_host = host
    message.flag, message.sys_flag, message.born_ms, message.reconsume_times = -1, 8, 12, 4
    message.queue_offset, message.offset, message.store_ms, message.prepared_offset = 5, 6, 7, 8
    read = stored_message(record(message))
    names = (
        "topic queue_id body properties born_host store_host flag born_ms reconsume_times queue_offset offset store_ms"
    )
    for name in names.split():
        assert getattr(read, name) == getattr(message, name), name
    assert read.sys_flag & 0xF == 8 and read.prepared_offset == 8
    assert record_properties(record(message)) == {"TAGS": "t"}
