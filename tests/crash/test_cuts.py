"""The log cut behind each of its last records: wherever a crash ends it, what moves is in one place, and whole.

What moves in one record cannot be cut apart; two that should be one, or be joined, would show, whatever the timing.
Cut are whole records, so that a kill may have ended the log there.
"""

import shutil

import pika
import pytest

from tests.clients.broker import Broker, parameters, until
from tests.clients.deliveries import depth
from tests.crash.segments import records
from tests.crash.test_restart import delete_state

SMALL = ["log.segment_bytes=1048576", "log.ahead_bytes=65536", "log.batch_bytes=65536"]  # quickly copied
MARK = b"the message that moves"
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def channel_of(broker):
    channel = pika.BlockingConnection(parameters(broker)).channel()
    channel.confirm_delivery()
    return channel


def declare(channel, name, **arguments):
    channel.queue_declare(name, durable=True, arguments=arguments)


def to_dead(**arguments):
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"} | arguments


def delayed(broker, channel):
    """It waits, and fires into a queue."""
    declare(channel, "q")
    channel.basic_publish("", "q", MARK, pika.BasicProperties(delivery_mode=2, headers={"x-delay": 100}))
    until(lambda: depth(channel, "q") == 1, what="fired")


def check_delayed(broker, channel, stored):
    until(lambda: broker.metric("mq_messages_delayed") == 0, what="nothing waits")
    assert depth(channel, "q") == stored


def rejected(broker, channel):
    """It is rejected, and becomes a dead letter."""
    declare(channel, "q", **to_dead())
    declare(channel, "dead")
    channel.basic_publish("", "q", MARK, PERSISTENT)
    channel.basic_reject(channel.basic_get("q")[0].delivery_tag, requeue=False)
    until(lambda: depth(channel, "dead") == 1, what="dead letter")


def check_rejected(broker, channel, stored):
    assert depth(channel, "q") + depth(channel, "dead") == stored


def refused(broker, channel):
    """It is rejected, and becomes a dead letter that a full queue refuses, whose dead letters go further."""
    declare(channel, "q", **to_dead(**{"x-dead-letter-routing-key": "full"}))
    full = {"x-max-length": 0, "x-overflow": "reject-publish-dlx"}
    declare(channel, "full", **to_dead(**full))
    declare(channel, "dead")
    channel.basic_publish("", "q", MARK, PERSISTENT)
    channel.basic_reject(channel.basic_get("q")[0].delivery_tag, requeue=False)
    until(lambda: depth(channel, "dead") == 1, what="dead letter")


def refused_by_one(broker, channel):
    """It is rejected, and becomes two dead letters, one of which a full queue refuses."""
    channel.queue_declare("too", durable=True)
    channel.queue_bind("too", "amq.fanout")
    declare(channel, "q", **to_dead(**{"x-dead-letter-exchange": "amq.fanout"}))
    full = {"x-max-length": 0, "x-overflow": "reject-publish-dlx"}
    declare(channel, "full", **to_dead(**full))
    channel.queue_bind("full", "amq.fanout")
    declare(channel, "dead")
    channel.basic_publish("", "q", MARK, PERSISTENT)
    channel.basic_reject(channel.basic_get("q")[0].delivery_tag, requeue=False)
    until(lambda: depth(channel, "dead") == 1, what="dead letter")


def refused_by_two(broker, channel):
    """It is rejected, and both queues that it goes to are full: of their letters one goes nowhere."""
    declare(channel, "q", **to_dead(**{"x-dead-letter-exchange": "amq.fanout"}))
    for name, key in (("full", "nowhere"), ("fuller", "dead")):
        full = {"x-max-length": 0, "x-overflow": "reject-publish-dlx", "x-dead-letter-routing-key": key}
        declare(channel, name, **to_dead(**full))
        channel.queue_bind(name, "amq.fanout")
    declare(channel, "dead")
    channel.basic_publish("", "q", MARK, PERSISTENT)
    channel.basic_reject(channel.basic_get("q")[0].delivery_tag, requeue=False)
    until(lambda: depth(channel, "dead") == 1, what="dead letter")


def check_refused_by_one(broker, channel, stored):
    assert depth(channel, "q") + depth(channel, "dead") == stored
    assert depth(channel, "too") == depth(channel, "dead")


def expired(broker, channel):
    """It expires, and becomes a dead letter."""
    declare(channel, "q", **to_dead())
    declare(channel, "dead")
    channel.basic_publish("", "q", MARK, pika.BasicProperties(delivery_mode=2, expiration="50"))
    until(lambda: depth(channel, "dead") == 1, what="dead letter")


def check_expired(broker, channel, stored):
    until(lambda: depth(channel, "q") == 0, what="it expires again")
    assert depth(channel, "dead") == stored


def returned(broker, channel):
    """It comes back to a quorum queue twice, and the third time it is dropped, as a dead letter."""
    declare(channel, "q", **to_dead(**{"x-queue-type": "quorum", "x-delivery-limit": 2}))
    declare(channel, "dead")
    declare(channel, "other")
    channel.basic_publish("", "q", MARK, PERSISTENT)
    for _ in range(3):
        channel.basic_nack(channel.basic_get("q")[0].delivery_tag)
        channel.basic_publish("", "other", b"", PERSISTENT)  # so that each return is on the disk before the next
    until(lambda: depth(channel, "q") == 0, what="dropped")


def check_returned(broker, channel, stored):
    method, properties, _ = channel.basic_get("q")
    assert (method is not None) + depth(channel, "dead") == stored
    assert method is None or properties.headers["x-delivery-count"] <= 2


def committed(broker, channel):
    """A transaction takes it from one queue and puts two into others."""
    for name in ("q", "a", "b"):
        declare(channel, name)
    channel.basic_publish("", "q", MARK, PERSISTENT)
    transaction = channel.connection.channel()
    transaction.tx_select()
    tag = transaction.basic_get("q")[0].delivery_tag
    for name in ("a", "b"):
        transaction.basic_publish("", name, b"from it", PERSISTENT)
    transaction.basic_ack(tag)
    transaction.tx_commit()


def check_committed(broker, channel, stored):
    found = tuple(depth(channel, name) for name in ("q", "a", "b"))
    assert found in ([(1, 0, 0), (0, 1, 1)] if stored else [(0, 0, 0)])


MOVES = {
    "delay": (delayed, check_delayed),
    "reject": (rejected, check_rejected),
    "refusal": (refused, check_rejected),
    "refusal by one of two": (refused_by_one, check_refused_by_one),
    "refusal by two": (refused_by_two, check_rejected),
    "expiry": (expired, check_expired),
    "delivery limit": (returned, check_returned),
    "transaction": (committed, check_committed),
}


MARKED = {"transaction": 1, "refusal by one of two": 3}  # records with its body


@pytest.mark.parametrize("kind", MOVES)
def test_what_moves_is_in_one_place_wherever_the_log_ends(broker, tmp_path, kind):
    move, check = MOVES[kind]
    broker.options += SMALL
    broker.start()
    channel = channel_of(broker)
    move(broker, channel)
    declare(channel, "last")  # answered when all of it is on the disk
    broker.kill9()
    whole = records(broker.data)
    first = next(at for at, record in enumerate(whole) if MARK in record.read())
    moved = [at for at, record in enumerate(whole) if MARK in record.read()]
    assert len(moved) == MARKED.get(kind, 2), "its first record, and the one that moves it"
    for end in range(first, len(whole) + 1):
        folder = tmp_path / f"cut at {end}"
        folder.mkdir()
        other = Broker(folder, *SMALL)
        shutil.copytree(broker.data, other.data)
        if end < len(whole):
            records(other.data)[end].truncate(0)
        delete_state(other)
        other.start()
        try:
            check(other, channel_of(other), 1 if end > first else 0)
        finally:
            other.kill9()
