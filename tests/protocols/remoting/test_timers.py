"""Timed messages: delivered when they are due, whole and once; until then their sender may take them back."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest

from protocols.remoting import properties, recall
from protocols.remoting.codes import Request
from tests.protocols.remoting.native_world import send_fields, text
from tests.protocols.remoting.served_world import ServedWorld
from tests.protocols.remoting.world import request

WHEEL, SCHEDULE = b"rmq_sys_wheel_timer", b"SCHEDULE_TOPIC_XXXX"
STATES = pytest.mark.parametrize("state_lost", [False, True])
DAY_MS = 86_400_000
ILLEGAL = (
    "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set del msg, the "
    "delay time should be bigger than the current time"
)


@pytest.fixture
def world():
    return ServedWorld().boot()


@pytest.fixture
def client(world):
    return world.client()


def timed(client, body=b"later", topic="T", **said):
    """Send one; returns (code, fields or remark) of the answer."""
    said = {"UNIQ_KEY": "0A", "TAGS": "TagA"} | said
    client.send(request(Request.SEND_MESSAGE_V2, send_fields(topic=topic, e=2, h=3, i=text(**said)), body), seconds=0)
    client.world.run(0.01)
    ((header, _),) = client.received()
    return header["code"], header.get("remark") or header["extFields"]


def recalled(client, handle, topic="T"):
    """(code, remark or message id)."""
    fields = {"topic": topic, "recallHandle": handle, "producerGroup": "g"}
    client.send(request(Request.RECALL_MESSAGE, fields), seconds=0)
    client.world.run(0.01)
    ((header, _),) = client.received()
    return header["code"], header.get("remark") or header["extFields"]["msgId"]


def bodies(world, topic=b"T", queue_id=2):
    return [message.body for message in world.messages(topic, queue_id)]


@pytest.mark.parametrize("name", ["TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"])
def test_it_comes_when_it_is_due_to_the_millisecond(world, client, name):
    now = world.clock.tick()
    due = {"TIMER_DELAY_SEC": 3, "TIMER_DELAY_MS": 3000, "TIMER_DELIVER_MS": now + 3000}[name]
    code, fields = timed(client, **{name: due})
    assert (code, fields["queueId"], fields["queueOffset"], fields["transactionId"]) == (0, "2", "0", "0A")
    (waiting,) = world.messages(WHEEL)
    said = properties.as_dict(waiting.properties)
    assert (said[b"REAL_TOPIC"], said[b"REAL_QID"], said[b"TIMER_OUT_MS"]) == (b"T", b"2", b"%d" % (now + 2999))
    assert fields["msgId"].endswith(f"{waiting.offset:016X}")
    world.run(2.988)
    assert bodies(world) == [] and world.broker.timers.count == 1
    world.run(0.01)
    (came,) = world.messages(b"T", 2)
    assert came.store_ms == now + 3000
    assert (came.body, came.flag, came.born_ms, came.born_host) == (b"later", 3, waiting.born_ms, waiting.born_host)
    said = properties.as_dict(came.properties)
    assert not said.keys() & {b"REAL_TOPIC", b"REAL_QID"} and said[b"UNIQ_KEY"] == b"0A"
    assert (int(said[b"TIMER_ENQUEUE_MS"]), int(said[b"TIMER_DEQUEUE_MS"])) == (waiting.store_ms, now + 3000)
    queue = world.broker.topics.find(b"T").queues[2]
    assert queue.index.find(0) == 1 and queue.index.code == 2598919  # Java's "TagA".hashCode()
    assert world.broker.timers.count == 0


def test_any_length_up_to_the_longest_that_is_configured(world, client):
    assert timed(client, TIMER_DELAY_MS=3 * DAY_MS)[0] == 0
    assert timed(client, TIMER_DELAY_MS=3 * DAY_MS + 1) == (13, ILLEGAL)
    assert timed(client, TIMER_DELAY_SEC=259_201) == (13, ILLEGAL)
    assert timed(client, TIMER_DELIVER_MS="soon") == (13, ILLEGAL)
    assert timed(client, TIMER_DELIVER_MS=10**30) == (13, ILLEGAL)
    assert timed(client, TIMER_DELAY_SEC=1, TIMER_DEL_UNIQKEY="T+0A") == (13, ILLEGAL)
    world.run(3 * 86_400 - 1)
    assert bodies(world) == []
    world.run(1)
    assert bodies(world) == [b"later"]


@pytest.mark.parametrize("said", [{"TIMER_DELAY_SEC": 0}, {"TIMER_DELIVER_MS": 1}, {"TIMER_DELAY_MS": -5}], ids=str)
def test_what_is_due_already_is_an_ordinary_message(world, client, said):
    code, fields = timed(client, **said)
    assert code == 0 and "recallHandle" not in fields and bodies(world) == [b"later"]
    assert world.broker.timers.count == 0


def test_a_delay_level_counts_instead_of_a_time(world, client):
    assert timed(client, TIMER_DELAY_SEC=60, DELAY=1)[0] == 0
    (waiting,) = world.messages(SCHEDULE)
    assert b"TIMER_DELAY_SEC" not in properties.as_dict(waiting.properties)
    world.run(1.1)
    assert bodies(world) == [b"later"]


def test_what_was_timed_once_is_not_timed_again(world, client):
    """A consumer of it may send it on with all its properties."""
    assert timed(client, TIMER_DELAY_SEC=60, TIMER_OUT_MS=1)[0] == 0
    assert bodies(world) == [b"later"]


def test_timers_can_be_switched_off():
    remark = "accurate timer message is not enabled, timerWheelEnable is false"
    assert timed(ServedWorld(timers=False).boot().client(), TIMER_DELAY_SEC=1) == (1, remark)


def test_when_its_topic_is_gone_it_is_dropped_and_that_is_said(world, client):
    assert timed(client, TIMER_DELAY_SEC=1)[0] == 0
    world.broker.topics.delete(b"T")
    world.run(2)
    assert world.broker.timers.count == 0 and world.remoting.timers.dropped == 1
    assert world.reports == [("timed message dropped: its topic is not there any more", {"topic": "T"})]


def test_when_its_topic_has_no_queue_any_more_it_is_dropped_and_the_others_go(world, client):
    for topic in ("T", "U"):
        assert timed(client, topic=topic, TIMER_DELAY_SEC=1)[0] == 0
    config = world.broker.topics.find(b"T").config
    world.broker.topics.put(type(config)(name=b"T", read_queues=0, write_queues=0))
    world.run(2)
    assert world.remoting.timers.dropped == 1 and bodies(world, b"U") == [b"later"]


def test_what_is_sent_to_a_queue_that_is_gone_comes_to_the_first(world, client):
    assert timed(client, TIMER_DELAY_SEC=1)[0] == 0
    config = world.broker.topics.find(b"T").config
    world.broker.topics.put(type(config)(name=b"T", read_queues=1, write_queues=1))
    world.run(2)
    assert bodies(world, queue_id=0) == [b"later"]


@STATES
@pytest.mark.parametrize("checkpoint", [False, True])
def test_it_survives_a_crash_and_is_delivered_once(world, client, checkpoint, state_lost):
    for number in range(10):
        assert timed(client, b"%d" % number, TIMER_DELAY_MS=1000 + 100 * number)[0] == 0
    world.run(1.3)
    if checkpoint:
        world.checkpoint()
    before = bodies(world)
    world.crash(state_lost=state_lost)
    world.boot()
    world.run(2)
    found = bodies(world)
    assert found == [b"%d" % number for number in range(10)] and found[: len(before)] == before


@STATES
def test_a_delay_level_delivers_once_over_crashes(state_lost):
    """Cut at many moments around the delivery: what was delivered, and that it was, are one."""
    delivered = set()
    for cut in range(24):
        world = ServedWorld(seed=cut).boot()
        client = world.client()
        for number in range(3):
            assert timed(client, b"%d" % number, DELAY=1)[0] == 0
        world.run(0.965 + cut * 0.00132)
        world.crash(state_lost=state_lost)
        world.boot()
        world.run(2)
        delivered.add(world.remoting.delivering.delivered)
        assert bodies(world) == [b"0", b"1", b"2"]
        world.crash(state_lost=state_lost)
        world.boot()
        world.run(2)
        assert bodies(world) == [b"0", b"1", b"2"]
    assert len(delivered) > 2


# --- recall


def test_a_handle_is_what_rocketmq_makes_of_it():
    """RecallMessageHandleTest of RocketMQ 5.5."""
    handle = recall.Handle(b"topic", b"broker-0", 1_707_111_111, b"ABC")
    assert urlsafe_b64decode(handle.encode()) == b"v1 topic broker-0 1707111111 ABC"
    assert recall.decode(handle.encode()) == recall.decode(handle.encode().rstrip(b"=")) == handle
    wrong = [b"", b"a", b"\xff\xff", b"nonsense", urlsafe_b64encode(b"v0 a b 1 c"), urlsafe_b64encode(b"v1 a b 1")]
    assert [recall.decode(text) for text in wrong] == [None] * 6
    assert recall.decode(urlsafe_b64encode(b"v1 a b soon c")).due_ms == -1


def test_a_timed_message_can_be_taken_back_once(world, client):
    handles, due_ms = [], world.clock.ms + 5000
    for number in range(5):
        code, fields = timed(client, b"%d" % number, UNIQ_KEY=f"0{number}", TIMER_DELIVER_MS=due_ms)
        assert code == 0
        handles.append(fields["recallHandle"])
    assert recalled(client, handles[3]) == (0, "03")
    gone = (604, "recall failed, the message was delivered or recalled already")
    assert recalled(client, handles[3]) == gone
    world.crash()
    world.boot()
    client = world.client()
    assert recalled(client, handles[1]) == (0, "01") and recalled(client, handles[3]) == gone
    world.run(6)
    assert bodies(world) == [b"0", b"2", b"4"] and world.broker.timers.count == 0
    assert recalled(client, handles[0]) == (604, "recall failed, timestamp invalid")


def handle(world, topic="T", broker="broker-a", due_ms=None, unique_id="0A"):
    due_ms = world.clock.ms + 1000 if due_ms is None else due_ms
    return urlsafe_b64encode(f"v1 {topic} {broker} {due_ms} {unique_id}".encode()).decode()


WRONG = {
    "no handle": (lambda world: "nonsense", "recall handle is invalid"),
    "another topic": (lambda world: handle(world, topic="U"), "recall failed, topic not match"),
    "another broker": (lambda world: handle(world, broker="b"), "recall failed, broker service not available"),
    "no time": (lambda world: handle(world, due_ms="x"), "recall failed, timestamp invalid"),
    "too late": (lambda world: handle(world, due_ms=world.clock.ms), "recall failed, timestamp invalid"),
    "too far": (lambda world: handle(world, due_ms=world.clock.ms + 3 * DAY_MS), "recall failed, timestamp invalid"),
    "unknown": (lambda world: handle(world), "recall failed, the message was delivered or recalled already"),
}


@pytest.mark.parametrize(("made", "remark"), WRONG.values(), ids=WRONG)
def test_a_handle_that_leads_nowhere_is_refused(world, client, made, remark):
    assert timed(client, TIMER_DELAY_SEC=100)[0] == 0
    assert recalled(client, made(world)) == (604, remark)
    assert recalled(client, handle(world), topic="U") == (17, "recall failed, the topic[U] not exist")
    assert world.broker.timers.count == 1


def test_recalling_can_be_forbidden():
    world = ServedWorld(recalls=False).boot()
    assert recalled(world.client(), handle(world)) == (16, "recall failed, operation is forbidden")
