"""What a restart gives back, after a stop or a kill, with state/ or rebuilt from the log alone."""

import contextlib
import os
import shutil
import signal

import pika
import pytest
from pika import spec

from tests.clients.broker import Broker, parameters
from tests.clients.deliveries import depth, drain, fill, pour
from tests.clients.octets import ALL_PROPERTIES
from tests.clients.raw import RawConnection, encode_content, encode_method

TTL = {"x-message-ttl": 3_600_000}


def by_stop(broker: Broker) -> None:
    """SIGTERM."""
    broker.stop()


def by_kill(broker: Broker) -> None:
    """SIGKILL."""
    broker.kill9()


def by_stop_without_state(broker: Broker) -> None:
    """SIGTERM, and state/ is lost."""
    broker.stop()
    delete_state(broker)


def by_kill_without_state(broker: Broker) -> None:
    """SIGKILL, and state/ is lost."""
    broker.kill9()
    delete_state(broker)


def delete_state(broker: Broker) -> None:
    """Remove every state/ folder: it is a cache of the log."""
    folders = [path for path in broker.data.rglob("state") if path.is_dir()]
    assert folders, "no state/ folder in the data folder"
    for folder in folders:
        shutil.rmtree(folder)


ENDINGS = [by_stop, by_kill, by_stop_without_state, by_kill_without_state]


@pytest.fixture(params=ENDINGS, ids=lambda each: each.__name__)
def restart(request, broker):
    """restart(): the broker ends this way and starts again; gives a new connection's channel each time."""
    opened = []

    def again():
        request.param(broker)
        broker.start()
        opened.append(pika.BlockingConnection(parameters(broker)))
        return opened[-1].channel()

    yield again
    for each in opened:
        with contextlib.suppress(pika.exceptions.AMQPError):  # an earlier life's
            each.close()


@pytest.fixture
def channel(broker):
    """A channel of the first life."""
    broker.start()
    return pika.BlockingConnection(parameters(broker)).channel()


def gone(channel, act) -> bool:
    """Whether a passive declare answers 404."""
    asking = channel.connection.channel()
    try:
        act(asking)
    except pika.exceptions.ChannelClosedByBroker as refusal:
        assert refusal.reply_code == 404
        return True
    asking.close()
    return False


def test_durable_exchanges_queues_and_bindings_come_back(channel, restart):
    channel.exchange_declare("topics", "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"})
    channel.exchange_declare("inner", "headers", durable=True, internal=True)
    channel.exchange_bind("inner", "topics", "a.#")
    channel.queue_declare("durable", durable=True, arguments=TTL)
    channel.queue_declare("quorum", durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind("durable", "inner", "", {"x-match": "any", "h": 1})
    channel.queue_bind("quorum", "amq.fanout")
    channel.queue_bind("durable", "topics", "dropped")
    channel.queue_unbind("durable", "topics", "dropped")
    channel = restart()
    channel.exchange_declare("topics", "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"})
    channel.exchange_declare("inner", "headers", durable=True, internal=True)
    channel.queue_declare("durable", durable=True, arguments=TTL)
    channel.queue_declare("quorum", durable=True, arguments={"x-queue-type": "quorum"})
    channel.confirm_delivery()
    for key in ("a.b", "dropped"):
        properties = pika.BasicProperties(headers={"h": 1}, delivery_mode=2)
        channel.basic_publish("topics", key, key.encode(), properties, mandatory=True)
    assert [each.body for each in drain(channel, "durable")] == [b"a.b"]
    assert channel.basic_get("quorum", auto_ack=True)[2] == b"dropped"  # by the alternate exchange


def test_what_is_not_durable_is_gone(channel, restart):
    channel.queue_declare("transient")
    channel.queue_declare("exclusive", durable=True, exclusive=True)
    channel.exchange_declare("passing", "fanout")
    channel.queue_declare("durable", durable=True)
    channel.queue_bind("durable", "passing")
    fill(channel, "transient", [b"1"], delivery_mode=2)
    channel = restart()
    assert gone(channel, lambda c: c.queue_declare("transient", passive=True))
    assert gone(channel, lambda c: c.queue_declare("exclusive", passive=True))
    assert gone(channel, lambda c: c.exchange_declare("passing", passive=True))
    channel.queue_declare("transient")
    assert depth(channel, "transient") == 0


def test_messages_come_back_in_order_and_settled_ones_do_not(channel, restart):
    channel.queue_declare("q", durable=True)
    pour(channel, "q", [b"%d" % number for number in range(2000)], delivery_mode=2)
    tags = [channel.basic_get("q")[0].delivery_tag for _ in range(50)]
    channel.basic_ack(tags[39], multiple=True)
    channel.basic_reject(tags[45], requeue=False)
    fill(channel, "q", [b"last"], delivery_mode=2)  # committed behind the acks
    channel = restart()
    expected = [b"%d" % number for number in range(40, 2000) if number != 45] + [b"last"]
    assert [each.body for each in drain(channel, "q")] == expected


def test_purges_and_deletes_hold(channel, restart):
    for queue in ("purged", "deleted", "made-again"):
        channel.queue_declare(queue, durable=True)
        fill(channel, queue, [b"old"] * 5, delivery_mode=2)
    channel.exchange_declare("deleted", "fanout", durable=True)
    channel.queue_purge("purged")
    channel.queue_delete("deleted")
    channel.exchange_delete("deleted")
    channel.queue_delete("made-again")
    channel.queue_declare("made-again", durable=True)
    for queue in ("purged", "made-again"):
        fill(channel, queue, [b"new"], delivery_mode=2)
    channel = restart()
    assert gone(channel, lambda c: c.queue_declare("deleted", passive=True))
    assert gone(channel, lambda c: c.exchange_declare("deleted", passive=True))
    assert [each.body for each in drain(channel, "purged")] == [b"new"]
    assert [each.body for each in drain(channel, "made-again")] == [b"new"]


def test_a_messages_properties_and_body_are_the_same_octets(broker, channel, restart):
    bodies = [b"", b"short", bytes(range(256)) * 4000]
    client = RawConnection(broker.port).open()
    client.call(spec.Queue.Declare(queue="q", durable=True), spec.Queue.DeclareOk)
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    for number, each in enumerate(bodies, 1):
        publish = spec.Basic.Publish(exchange="", routing_key="q")
        client.send(encode_method(publish, 1) + encode_content(1, each, ALL_PROPERTIES))
        while client.expect(spec.Basic.Ack, 1).delivery_tag < number:
            pass
    client.close()
    restart()
    client = RawConnection(broker.port).open()
    for each in bodies:
        client.send_method(spec.Basic.Get(queue="q", no_ack=True), 1)
        answer = client.expect(spec.Basic.GetOk, 1)
        assert (answer.exchange, answer.routing_key) == ("", "q")
        assert client.read_content() == (ALL_PROPERTIES, each)
    client.close()


def test_two_restarts_are_as_good_as_one(channel, restart):
    channel.queue_declare("q", durable=True)
    fill(channel, "q", [b"1", b"2", b"3"], delivery_mode=2)
    channel = restart()
    method, _, _ = channel.basic_get("q")
    channel.basic_ack(method.delivery_tag)
    fill(channel, "q", [b"4"], delivery_mode=2)
    channel = restart()
    assert [each.body for each in drain(channel, "q")] == [b"2", b"3", b"4"]
    fill(channel, "q", [b"5"], delivery_mode=2)
    assert [each.body for each in drain(restart(), "q")] == [b"5"]


def test_a_log_of_many_segments_comes_back(broker, restart):
    broker.options.append(f"log.segment_bytes={4 << 20}")
    broker.start()
    channel = pika.BlockingConnection(parameters(broker)).channel()
    channel.queue_declare("q", durable=True)
    bodies = [b"%d" % number + b"x" * 500_000 for number in range(30)]
    fill(channel, "q", bodies, delivery_mode=2)
    channel = restart()
    assert [each.body for each in drain(channel, "q")] == bodies


def test_two_sigterms_are_one(broker):
    broker.start()
    os.kill(broker.process.pid, signal.SIGTERM)
    broker.stop()
    assert "Traceback" not in broker.log


def test_a_queue_with_priorities_keeps_its_order(broker, restart):
    broker.start()
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.queue_declare("levels", durable=True, arguments={"x-max-priority": 3})
    for number in range(12):
        fill(channel, "levels", [b"%d" % number], delivery_mode=2, priority=number % 4)
    assert channel.basic_get("levels", auto_ack=True)[2] == b"3"
    with contextlib.suppress(pika.exceptions.AMQPError):
        connection.close()
    channel = restart()
    bodies = [channel.basic_get("levels", auto_ack=True)[2] for _ in range(11)]
    settled = 0 if bodies[0] != b"3" else 1  # an ack is on its way to the disk for 20 ms
    assert bodies[settled:] == [b"7", b"11", b"2", b"6", b"10", b"1", b"5", b"9", b"0", b"4", b"8"][: 11 - settled]
