"""consume, cancel, get, deliveries, acks and qos on one channel."""

import pytest

from protocols.amqp import methods
from protocols.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    BasicGet,
    BasicGetEmpty,
    BasicGetOk,
    BasicNack,
    BasicQos,
    BasicQosOk,
    BasicRecover,
    BasicRecoverAsync,
    BasicRecoverOk,
    BasicReject,
    ChannelClose,
    ConnectionClose,
    QueueDelete,
    QueueDeleteOk,
)
from tests.protocols.amqp.world import Client, World, publish


@pytest.fixture
def queue(world):
    return world.add_queue("q")


def fill(client, count, key="q"):
    client.send(*(part for number in range(count) for part in publish(1, key, b"%d" % number)))


def deliveries(client):
    """[(consumer tag, delivery tag, redelivered)] since last asked."""
    found = [reply for reply in client.replies() if type(reply) is BasicDeliver]
    return [(each.consumer_tag, each.delivery_tag, each.redelivered) for each in found]


def test_a_delivery_is_a_method_a_header_and_a_body(client, queue):
    client.send(BasicConsume(queue="q", consumer_tag="tag"), *publish(1, "q", b"body"))
    assert client.replies() == [
        BasicConsumeOk("tag"),
        BasicDeliver("tag", 1, False, "", b"q"),
        (60 << 16).to_bytes(4, "big") + (4).to_bytes(8, "big") + b"\0\0",
        b"body",
    ]


def test_consume_ok_goes_before_the_first_delivery(client, queue):
    fill(client, 1)
    client.send(BasicConsume(queue="q"))
    assert [type(each) for each in client.replies()[:2]] == [BasicConsumeOk, BasicDeliver]


def test_a_consumer_without_a_tag_gets_one(client, queue):
    client.send(BasicConsume(queue="q"))
    assert client.replies()[0].consumer_tag.startswith("amq.ctag-")


def test_a_prefetch_counts_for_consumers_that_start_after_it(client, queue):
    fill(client, 10)
    client.send(BasicQos(prefetch_count=2), BasicConsume(queue="q", consumer_tag="a"))
    client.send(BasicQos(prefetch_count=3))
    assert len(deliveries(client)) == 2
    client.send(BasicConsume(queue="q", consumer_tag="b"))
    assert len(deliveries(client)) == 3
    client.send(BasicAck(2, multiple=True))
    assert deliveries(client) == [("a", 6, False), ("a", 7, False)]


def test_a_global_prefetch_is_shared_and_can_be_changed_at_once(client, queue):
    fill(client, 10)
    client.send(BasicQos(prefetch_count=3, global_=True))
    client.send(BasicConsume(queue="q", consumer_tag="a"), BasicConsume(queue="q", consumer_tag="b"))
    assert len(deliveries(client)) == 3
    client.send(BasicQos(prefetch_count=5, global_=True))
    assert len(deliveries(client)) == 2
    client.send(BasicQos(prefetch_count=0, global_=True))
    assert len(deliveries(client)) == 5


def wait(client, ms):
    """Time passes, and the connection looks at its limits, as it does twice a second."""
    client.world.pass_ms(ms)
    client.connection.tick(client.world.clock.monotonic())
    client.world.run()


def test_a_delivery_may_stay_unacknowledged_for_ever_by_default(client, queue):
    fill(client, 1)
    client.send(BasicConsume(queue="q"))
    client.replies()
    wait(client, 365 * 86_400_000)
    client.send(BasicAck(1))
    assert client.replies() == [] and queue.unacked == 0


def test_a_timeout_counts_from_the_delivery_of_the_oldest_that_is_unacknowledged(client, queue):
    client.send(BasicConsume(queue="q", arguments={"x-consumer-timeout": 1000}))
    for _ in range(2):
        fill(client, 1)
        wait(client, 600)
        if queue.unacked == 1:
            client.send(BasicAck(1))
            fill(client, 1)  # it takes the place of the one acknowledged, 600 ms later
    client.replies()
    wait(client, 400)
    assert client.replies() == []
    wait(client, 1)
    text = (
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms. "
        "This timeout value can be configured, see consumers doc guide to learn more"
    )
    assert client.replies() == [ChannelClose(406, text, 0, 0)]
    assert (queue.ready, queue.unacked, client.world.metrics.consumer_timeouts) == (2, 0, 1)
    wait(client, 10_000)
    assert client.replies() == []


def test_acks_and_rejects_settle_or_give_back(client, queue):
    fill(client, 4)
    client.send(BasicConsume(queue="q", consumer_tag="a"))
    deliveries(client)
    client.send(BasicAck(1), BasicReject(2, requeue=False), BasicReject(3, requeue=True))
    assert deliveries(client) == [("a", 5, True)]
    client.send(BasicNack(0, multiple=True, requeue=True))
    assert deliveries(client) == [("a", 6, True), ("a", 7, True)]
    client.send(BasicNack(7, multiple=True))
    assert (queue.ready, queue.unacked) == (0, 0)


@pytest.mark.parametrize("settle", [BasicAck(1), BasicNack(1), BasicReject(1), BasicAck(3, multiple=True), BasicAck(0)])
def test_a_tag_that_is_not_open_closes_the_channel(client, queue, settle):
    fill(client, 2)
    client.send(BasicConsume(queue="q"))
    client.send(BasicAck(1))
    client.replies()
    client.send(settle)
    close = client.replies()[0]
    assert type(close) is ChannelClose
    assert close.reply_text == f"PRECONDITION_FAILED - unknown delivery tag {settle.delivery_tag}"
    assert (queue.ready, queue.unacked) == (1, 0)


def test_zero_and_multiple_with_nothing_open_is_no_error(client):
    client.send(BasicAck(0, multiple=True), BasicQos())
    assert client.replies() == [BasicQosOk()]


def test_recover_gives_all_back(client, queue):
    fill(client, 2)
    client.send(BasicConsume(queue="q", consumer_tag="a"))
    client.replies()
    client.send(BasicRecover(requeue=True))
    assert client.replies()[0] == BasicRecoverOk()
    client.send(BasicRecoverAsync(requeue=True))
    assert deliveries(client) == [("a", 5, True), ("a", 6, True)]


def test_what_a_cancelled_consumer_holds_stays_ackable(client, queue):
    fill(client, 3)
    client.send(BasicQos(prefetch_count=2), BasicConsume(queue="q", consumer_tag="a"))
    client.replies()
    client.send(BasicCancel("a"), BasicCancel("never was"))
    assert client.replies() == [BasicCancelOk("a"), BasicCancelOk("never was")]
    client.send(BasicAck(1), BasicReject(2, requeue=True))
    assert client.replies() == [] and (queue.ready, queue.unacked, queue.consumers) == (2, 0, [])


def test_get_answers_with_what_is_left_or_with_empty(client, queue):
    fill(client, 2)
    client.send(*[BasicGet(queue="q")] * 3)
    replies = client.replies()
    assert [replies[0], replies[3], replies[6]] == [
        BasicGetOk(1, False, "", b"q", 1),
        BasicGetOk(2, False, "", b"q", 0),
        BasicGetEmpty(),
    ]
    client.send(BasicAck(2, multiple=True))
    assert queue.unacked == 0


def test_the_last_declared_queue_is_meant_by_an_empty_name(client, world):
    client.send(methods.QueueDeclare(queue="last"), *publish(1, "last", b"x"), BasicGet(queue=""))
    assert type(client.replies()[1]) is BasicGetOk


def test_a_consumer_is_told_when_its_queue_is_deleted_if_it_understands(world, queue):
    knowing, other = Client(world).open(), Client(world, capabilities={}).open()
    for client in (knowing, other):
        client.send(BasicConsume(queue="q", consumer_tag="a"))
        client.replies()
    knowing.send(QueueDelete(queue="q"))
    assert knowing.replies() == [BasicCancel("a", True), QueueDeleteOk(0)]
    assert other.replies() == []
    knowing.send(BasicCancel("a"), methods.BasicCancelOk("a"))
    assert knowing.replies() == [BasicCancelOk("a")]


@pytest.mark.parametrize(
    ("first", "second", "kind", "text"),
    [
        (BasicConsume(queue="q", consumer_tag="t"), BasicConsume(queue="q", consumer_tag="t"), ConnectionClose,
         "NOT_ALLOWED - attempt to reuse consumer tag 't'"),
        (BasicConsume(queue="q", exclusive=True), BasicConsume(queue="q"), ChannelClose,
         "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"),
        (BasicConsume(queue="q"), BasicConsume(queue="q", exclusive=True), ChannelClose,
         "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"),
        (BasicConsume(queue="q", exclusive=True), BasicGet(queue="q"), ChannelClose,
         "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"),
        (BasicQos(), BasicConsume(queue="none"), ChannelClose, "NOT_FOUND - no queue 'none' in vhost '/'"),
        (BasicQos(), BasicGet(queue="none"), ChannelClose, "NOT_FOUND - no queue 'none' in vhost '/'"),
        (BasicQos(), BasicConsume(queue=""), ChannelClose, "NOT_FOUND - no previously declared queue"),
        (BasicQos(), BasicConsume(queue="q", arguments={"x-priority": "1"}), ChannelClose,
         "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': "
         '"expected integer, got longstr"'),
        (BasicConsume(queue="q", exclusive=True), BasicConsume(queue="q", arguments={"x-priority": True}), ChannelClose,
         "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got bool\""),
        (BasicQos(), BasicConsume(queue="q", arguments={"x-stream-offset": "first"}), ChannelClose,
         "PRECONDITION_FAILED - consumer prefetch count is not set for 'queue 'q' in vhost '/''"),
    ],
)  # fmt: skip
def test_what_is_refused(client, queue, first, second, kind, text):
    client.send(first)
    client.replies()
    client.send(second)
    close = client.replies()[0]
    assert type(close) is kind and close.reply_text == text
    assert (close.class_id, close.method_id) == second.ids


def test_consumers_of_a_channel_have_a_bound():
    world = World(limits={"consumers_per_channel": 2})
    world.add_queue("q")
    client = Client(world).open()
    client.send(*[BasicConsume(queue="q")] * 3)
    assert client.replies()[-1].reply_code == 406


def test_what_a_channel_holds_has_a_bound_that_acks_of_gets_widen_too():
    world = World(limits={"unacked_per_channel": 3})
    world.add_queue("q")
    client = Client(world).open()
    fill(client, 6)
    client.send(*[BasicGet(queue="q")] * 3)
    client.replies()
    client.send(BasicConsume(queue="q", consumer_tag="a"))
    assert deliveries(client) == []
    client.send(BasicAck(1))
    assert deliveries(client) == [("a", 4, False)]
    client.send(BasicAck(0, multiple=True))
    assert deliveries(client) == [("a", 5, False), ("a", 6, False)]


class TestOutput:
    def test_one_turn_sends_a_bounded_amount_and_the_next_goes_on(self, world, client, queue):
        for _ in range(50):
            client.send(*publish(1, "q", bytes(20_000)))
        client.send(BasicConsume(queue="q", no_ack=True), run=False)
        sizes = []
        while world.soon:
            before = len(client.transport.data)
            world.soon.pop(0)()
            sizes.append(len(client.transport.data) - before)
        assert max(sizes) < 262_144 + 21_000 and sum(sizes) > 50 * 20_000

    def test_a_socket_that_takes_nothing_gets_no_deliveries_until_it_does(self, world, client, queue):
        client.send(BasicConsume(queue="q", consumer_tag="a"))
        client.replies()
        client.connection.pause_writing()
        fill(client, 3)
        assert deliveries(client) == [] and queue.ready == 3
        client.connection.resume_writing()
        world.run()
        assert len(deliveries(client)) == 3

    def test_another_consumer_takes_what_a_stalled_one_cannot(self, world, client, queue):
        other = Client(world).open()
        for each in (client, other):
            each.send(BasicConsume(queue="q"))
        client.connection.pause_writing()
        fill(other, 4)
        assert len(deliveries(other)) == 4

    def test_a_stalled_consumer_is_remembered_once_whatever_it_acks(self, world, client, queue):
        fill(client, 9)
        client.send(BasicQos(prefetch_count=5), BasicConsume(queue="q"))
        client.connection.pause_writing()
        for tag in range(1, 6):
            client.send(BasicAck(tag))
        assert len(client.connection.stalled) == 1
        for number in range(5):
            client.send(BasicConsume(queue="q", consumer_tag=str(number)), BasicCancel(str(number)))
        assert len(client.connection.stalled) == 1


class TestCold:
    @pytest.fixture
    def world(self):
        return World(tail_bytes=1)

    @pytest.fixture
    def queue(self, world, client):
        queue = world.add_queue("q", durable=True)
        self.messages = {number: world.publish(queue, b"%d" % number) for number in range(3)}
        world.finish()
        return queue

    def test_the_channel_waits_for_a_get_that_reads_the_disk(self, world, client, queue):
        client.send(BasicGet(queue="q"), BasicQos())
        assert client.replies() == []
        queue.read_finished(self.messages)
        world.run()
        assert [type(each) for each in client.replies()] == [BasicGetOk, bytes, bytes, BasicQosOk]

    @pytest.mark.parametrize("no_ack", [False, True])
    def test_a_connection_that_is_lost_meanwhile_costs_no_message(self, world, client, queue, no_ack):
        client.send(BasicGet(queue="q", no_ack=no_ack))
        client.connection.lost()
        queue.read_finished(self.messages)
        world.run()
        assert (queue.ready, queue.unacked) == (3, 0)

    def test_a_close_is_answered_after_the_get(self, world, client, queue):
        client.send(BasicGet(queue="q"), run=False)
        client.send(methods.ConnectionClose(200, "", 0, 0), channel=0)
        assert client.replies() == []
        queue.read_finished(self.messages)
        world.run()
        replies = client.replies()
        assert type(replies[0]) is BasicGetOk and type(replies[-1]) is methods.ConnectionCloseOk
        assert client.transport.closed and queue.ready == 3

    def test_a_get_from_a_queue_that_is_deleted_meanwhile_is_answered(self, world, client, queue):
        client.send(BasicGet(queue="q"))
        other = Client(world).open()
        other.send(QueueDelete(queue="q"))
        assert client.replies() == [BasicGetEmpty()]
