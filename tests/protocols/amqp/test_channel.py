"""What waits on a channel, what overtakes it, and how a channel ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.amqp import methods
from protocols.amqp.methods import (
    BasicAck,
    BasicConsume,
    BasicDeliver,
    BasicGet,
    BasicQos,
    BasicQosOk,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionUnblocked,
    QueueDeclare,
    QueueDeclareOk,
)
from tests.protocols.amqp.world import PERSISTENT, Client, World, frame, publish

DURABLE = QueueDeclare(queue="d", durable=True)


def kinds(replies):
    return [type(reply) for reply in replies]


def bodies(queue):
    """What a transient queue holds."""
    return [queue.held.get(offset).body for offset in range(queue.next, queue.end())]


def test_a_reply_waits_for_the_commit_and_the_channels_frames_for_the_reply(world, client):
    client.send(DURABLE, BasicQos(prefetch_count=3), *publish(1, "d", b"x"))
    assert client.replies() == [] and world.publisher.messages == 0
    world.finish()
    assert kinds(client.replies()) == [QueueDeclareOk, BasicQosOk] and world.publisher.messages == 1


def test_another_channel_does_not_wait(world):
    client = Client(world).open(1, 2)
    client.send(DURABLE, channel=1)
    client.send(BasicQos(prefetch_count=3), channel=2)
    assert [(channel, type(method)) for channel, method in client.received()] == [(2, BasicQosOk)]


def test_declarations_without_a_reply_wait_for_nothing_and_those_behind_answer_in_order(world, client):
    client.send(
        QueueDeclare(queue="a", durable=True, nowait=True),
        QueueDeclare(queue="b", durable=True, nowait=True),
        QueueDeclare(queue="c", durable=True),
        QueueDeclare(queue="t"),
    )
    assert [name for _, name, _ in world.topology.done] == ["a", "b", "c"] and client.replies() == []
    world.finish()
    assert [reply.queue for reply in client.replies()] == ["c", "t"]


def test_an_alarm_holds_publishes_and_tells_the_client_once(world, client):
    queue = world.add_queue("q")
    client.send(*publish(1, "q", b"before"))
    world.alarm(True)
    client.send(*publish(1, "q", b"one"), *publish(1, "q", b"two"))
    assert client.replies() == [ConnectionBlocked("low on memory")]
    assert bodies(queue) == [b"before"] and client.connection.held_bytes > 0
    world.alarm(False)
    world.run()
    assert client.replies() == [ConnectionUnblocked()]
    assert bodies(queue) == [b"before", b"one", b"two"] and client.connection.held_bytes == 0


def test_who_never_published_hears_of_no_alarm(world, client):
    world.alarm(True)
    world.alarm(False)
    world.run()
    assert client.replies() == []


def test_acks_consumes_gets_and_qos_overtake_held_publishes_and_declarations_do_not(world, client):
    world.add_queue("q")
    client.send(*publish(1, "q", b"0"), *publish(1, "q", b"1"), BasicConsume(queue="q", consumer_tag="c"))
    client.replies()
    world.alarm(True)
    client.send(*publish(1, "q", b"held"), BasicAck(1), BasicQos(prefetch_count=1), QueueDeclare(queue="late"))
    assert kinds(client.replies()) == [ConnectionBlocked, BasicQosOk]
    assert world.vhost.queues["q"].acked == 1 and "late" not in world.vhost.queues
    world.alarm(False)
    world.run()
    replies = kinds(client.replies())
    assert replies.index(QueueDeclareOk) > 0 and BasicDeliver in replies


def test_a_content_that_began_before_the_alarm_goes_in(world, client):
    queue = world.add_queue("q")
    method, header, *parts = publish(1, "q", b"abc", cuts=(1, 2))
    client.send(method, header, parts[0])
    world.alarm(True)
    client.send(*parts[1:])
    assert queue.ready == 1
    client.send(*publish(1, "q", b"next"))
    assert queue.ready == 1


def test_a_publish_that_waited_for_a_commit_and_then_for_an_alarm_keeps_its_content(world, client):
    method, header, body = publish(1, "q", b"abc")
    queue = world.add_queue("q")
    client.send(DURABLE, method)
    world.alarm(True)
    world.finish()
    client.send(header)
    world.run()
    client.send(body)
    assert QueueDeclareOk in kinds(client.replies()) and queue.ready == 0
    world.alarm(False)
    world.finish()
    assert bodies(queue) == [b"abc"] and not client.transport.closed


@pytest.mark.parametrize("kind", [ChannelClose, ConnectionClose])
@pytest.mark.parametrize("waiting", [False, True])
def test_a_close_takes_in_what_is_held_first(world, client, kind, waiting):
    queue = world.add_queue("q")
    world.alarm(True)
    client.send(*publish(1, "q", b"1"), *([DURABLE] if waiting else []), *publish(1, "q", b"2"), run=False)
    client.send(kind(200, "", 0, 0), channel=1 if kind is ChannelClose else 0)
    world.finish()
    assert [queue.held.get(offset).body for offset in range(queue.end())] == [b"1", b"2"]
    assert type(client.replies()[-1]) in (ChannelCloseOk, ConnectionCloseOk)
    assert client.connection.held_bytes == 0


def test_more_than_may_be_held_stops_the_reading_until_the_alarm_is_over():
    world = World(limits={"held_bytes": 4096})
    client = Client(world).open()
    queue = world.add_queue("q")
    world.alarm(True)
    client.send(*(part for number in range(20) for part in publish(1, "q", bytes([number]) * 500)))
    assert client.paused and client.connection.held_bytes < 6000 and client.rest
    world.alarm(False)
    world.run()
    assert not client.paused and [body[0] for body in bodies(queue)] == list(range(20))


def test_a_confirm_that_is_due_leaves_before_the_close_and_none_after_it(world, client):
    world.add_queue("q")
    world.add_queue("d", durable=True)
    client.send(ConfirmSelect(), *publish(1, "q", b"x"), *publish(1, "d", b"y", properties=PERSISTENT))
    client.replies()
    client.send(*publish(1, "q", b"x"), ChannelClose(200, "", 0, 0), ChannelOpen(), run=False)
    world.finish()
    assert client.replies() == [BasicAck(3, False), ChannelCloseOk(), ChannelOpenOk()]


def test_a_channel_that_ends_gives_back_in_order_and_delivers_nothing_more(world, client):
    queue = world.add_queue("q")
    for number in range(4):
        client.send(*publish(1, "q", b"%d" % number))
    client.send(BasicQos(prefetch_count=3), BasicConsume(queue="q", consumer_tag="c"))
    client.replies()
    client.send(BasicAck(2), ChannelClose(200, "", 0, 0))
    assert client.replies() == [ChannelCloseOk()]
    assert (queue.ready, queue.unacked, queue.consumers) == (3, 0, [])
    client.send(ChannelOpen(), BasicConsume(queue="q", consumer_tag="c"))
    delivered = [reply for reply in client.replies() if type(reply) is BasicDeliver]
    assert [(each.delivery_tag, each.redelivered) for each in delivered] == [(1, True), (2, True), (3, False)]


def test_after_our_close_everything_is_dropped_until_the_answer_and_then_the_number_is_free(world, client):
    client.send(BasicAck(99), *publish(1, "nowhere", b""), BasicQos(prefetch_count=1))
    close = client.replies()
    assert [(each.reply_code, each.class_id, each.method_id) for each in close] == [(406, 60, 80)]
    assert close[0].reply_text == "PRECONDITION_FAILED - unknown delivery tag 99"
    client.send(ChannelCloseOk(), ChannelOpen(), BasicQos(prefetch_count=1))
    assert kinds(client.replies()) == [ChannelOpenOk, BasicQosOk]


def test_crossing_closes_are_both_answered(world, client):
    client.send(BasicAck(99), ChannelClose(200, "", 0, 0), ChannelCloseOk(), ChannelOpen())
    assert kinds(client.replies()) == [ChannelClose, ChannelCloseOk, ChannelOpenOk]


def test_tags_are_unsigned_in_the_text_too(world, client):
    client.send(BasicAck((1 << 64) - 1))
    assert client.replies()[0].reply_text.endswith(f"unknown delivery tag {(1 << 64) - 1}")


@pytest.mark.parametrize(
    ("sent", "code", "text"),
    [
        (ChannelOpen(), 504, "second 'channel.open' seen"),
        (methods.ChannelFlow(False), 540, "active=false"),
        (methods.BasicQos(prefetch_size=10), 540, "prefetch_size!=0 (10)"),
        (methods.BasicRecover(requeue=False), 540, "requeue=false"),
        (methods.ConnectionOpen("/"), 503, "connection.open is not a method of a client on an open channel"),
        (frame(1, 1, b"\x00"), 502, "a method frame needs 4 bytes for its class and method id"),
        (frame(2, 1, bytes(14)), 505, "expected method frame, got non method frame instead"),
    ],
)
def test_what_breaks_the_rules_closes_the_connection(world, client, sent, code, text):
    client.send(sent, BasicQos(prefetch_count=1))
    close = client.replies()
    assert [type(each) for each in close] == [ConnectionClose]
    assert close[0].reply_code == code and close[0].reply_text.endswith(" - " + text)


def transacted(world, client):
    """A transient queue q with two messages, of which tags 1 and 2 are held in tx mode."""
    queue = world.add_queue("q")
    client.send(*publish(1, "q", b"1"), *publish(1, "q", b"2"), BasicGet(queue="q"), BasicGet(queue="q"))
    client.send(methods.TxSelect())
    client.replies()
    return queue


def test_an_alarm_holds_a_commit_back_that_has_messages_and_the_acks_behind_it(world, client):
    queue = transacted(world, client)
    client.send(*publish(1, "q", b"3"))
    world.alarm(True)
    client.send(methods.TxCommit(), BasicAck(1), methods.TxRollback(), run=True)
    assert kinds(client.replies()) == [ConnectionBlocked] and queue.unacked == 2 and queue.ready == 0
    world.alarm(False)
    world.run()
    assert kinds(client.replies()) == [ConnectionUnblocked, methods.TxCommitOk, methods.TxRollbackOk]
    assert queue.unacked == 2 and queue.ready == 1


def test_an_alarm_does_not_hold_back_a_commit_of_acks_or_a_rollback(world, client):
    queue = transacted(world, client)
    world.alarm(True)
    client.send(BasicAck(1), methods.TxCommit(), BasicAck(2), methods.TxRollback())
    assert kinds(client.replies())[-2:] == [methods.TxCommitOk, methods.TxRollbackOk]
    assert queue.unacked == 1


def test_acks_do_not_overtake_held_publishes_in_tx_mode_nor_a_held_select(world, client):
    queue = world.add_queue("q")
    client.send(*publish(1, "q", b"1"), BasicGet(queue="q"))
    world.alarm(True)
    client.send(*publish(1, "q", b"2"), methods.TxSelect(), BasicAck(1))
    assert queue.unacked == 1
    world.alarm(False)
    world.run()
    assert queue.unacked == 1 and methods.TxSelectOk in kinds(client.replies())
    client.send(methods.TxCommit())
    assert queue.unacked == 0


@pytest.mark.parametrize("end", ["close", "loss"])
def test_a_held_commit_happens_before_the_connection_ends(world, client, end):
    queue = transacted(world, client)
    client.send(*publish(1, "q", b"3"), BasicAck(1))
    world.alarm(True)
    client.send(methods.TxCommit(), *publish(1, "q", b"never"))
    assert queue.acked == 0
    if end == "close":
        client.send(ConnectionClose(200, "", 0, 0), channel=0)
        assert type(client.replies()[-1]) is ConnectionCloseOk
    else:
        client.connection.lost()
    assert (queue.acked, queue.ready) == (1, 2)  # 2 came back, 3 is there


def test_commit_ok_waits_for_the_disk(world, client):
    world.add_queue("d", durable=True)
    client.send(methods.TxSelect(), *publish(1, "d", b"x", properties=PERSISTENT), methods.TxCommit())
    assert kinds(client.replies()) == [methods.TxSelectOk]
    world.finish()
    assert kinds(client.replies()) == [methods.TxCommitOk]


STEPS = st.lists(
    st.sampled_from(
        ["publish", "publish", "split", "declare", "transient", "nowait", "qos", "get", "on", "off", "commit", "turn"]
    ),
    max_size=25,
)


class Interleaving:
    """Sends frames of one channel amid commits and alarms; `sent` = what must happen in this order."""

    def __init__(self, random):
        self.random = random
        self.world = World()
        self.client = Client(self.world).open()
        self.queue = self.world.add_queue("q")
        self.published, self.declared, self.qos = 0, [], 0

    def step(self, kind):
        world, client = self.world, self.client
        if kind in ("publish", "split"):
            parts = publish(1, "q", b"%08d" % self.published, cuts=(3,))
            self.published += 1
            for part in parts:
                client.send(part, run=False)
                if kind == "split":
                    self.disturb()
        elif kind in ("declare", "transient", "nowait"):
            name = f"{kind}{len(self.declared)}"
            client.send(QueueDeclare(queue=name, durable=kind != "transient", nowait=kind == "nowait"), run=False)
            self.declared.append(("declare", name, self.published))
        elif kind == "qos":
            client.send(BasicQos(prefetch_count=1), run=False)
            self.qos += 1
        elif kind == "get":
            client.send(BasicGet(queue="q", no_ack=True), run=False)
        elif kind in ("on", "off"):
            world.alarm(kind == "on")
        elif kind == "commit" and world.engine.done is not None:
            world.engine.finish()
        elif kind == "turn":
            world.run()

    def disturb(self):
        """Between two frames of one content."""
        world = self.world
        for _ in range(self.random.randrange(3)):
            self.random.choice((world.finish, lambda: world.alarm(True), lambda: world.alarm(False), world.run))()

    def check(self, replies):
        assert [done for done in self.world.topology.done if done[0] == "declare"] == self.declared
        assert self.world.publisher.messages == self.published
        taken = [reply for reply in replies if isinstance(reply, bytes) and len(reply) in (3, 5)]
        got = b"".join(taken)
        left = b"".join(
            b"".join(self.queue.held.get(offset).fragments()) for offset in range(self.queue.next, self.queue.end())
        )
        assert got + left == b"".join(b"%08d" % number for number in range(self.published)), "lost, or out of order"
        answered = [reply.queue for reply in replies if type(reply) is QueueDeclareOk]
        assert answered == [name for _, name, _ in self.declared if not name.startswith("nowait")]
        assert kinds(replies).count(BasicQosOk) == self.qos


@settings(max_examples=150)
@given(STEPS, st.randoms(use_true_random=False), st.sampled_from(["off", "channel", "connection"]))
def test_nothing_is_lost_and_order_is_kept_whatever_waits(steps, random, ending):
    use = Interleaving(random)
    for kind in steps:
        use.step(kind)
    if ending == "off":
        use.world.alarm(False)
    else:
        close = ChannelClose if ending == "channel" else ConnectionClose
        use.client.send(close(200, "", 0, 0), channel=1 if ending == "channel" else 0, run=False)
    use.world.finish()
    replies = use.client.replies()
    use.check(replies)
    assert ending == "off" or type(replies[-1]) in (ChannelCloseOk, ConnectionCloseOk)
    assert use.client.connection.held_bytes == 0
