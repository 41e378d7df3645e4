"""Queues with x-max-length and x-max-length-bytes, and what x-overflow makes of what is too much (amqp.md Q3, Q4)."""

from datetime import datetime

import pika
import pytest
from pika import spec

from tests.clients.conftest import EXTERNAL
from tests.clients.deliveries import Inbox, depth, pump
from tests.clients.raw import encode_content, encode_method

REFUSING = ["reject-publish", "reject-publish-dlx"]


@pytest.fixture
def publish(connection):
    """publish(queue, bodies): True for each that was confirmed, False for each that was nacked."""
    confirming = connection.channel()
    confirming.confirm_delivery()

    def send(queue, bodies, exchange="", **properties):
        told = []
        for body in bodies:
            try:
                confirming.basic_publish(exchange, queue, body, pika.BasicProperties(delivery_mode=2, **properties))
                told.append(True)
            except pika.exceptions.NackError:
                told.append(False)
        return told

    return send


def drain(channel, queue):
    """The bodies of everything that is ready, by basic.get."""
    bodies = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        bodies.append(got[2])
    return bodies


def numbers(count, first=0):
    return [b"%d" % number for number in range(first, first + count)]


@pytest.fixture(params=[False, True], ids=["transient", "durable"])
def declare(request, channel, name):
    """declare(arguments, suffix) declares a queue, of both kinds in turn, and returns its name."""
    declared = []

    def make(arguments=None, suffix=""):
        declared.append(name + suffix)
        channel.queue_declare(name + suffix, durable=request.param, arguments=arguments)
        return name + suffix

    yield make
    cleaning = channel if channel.is_open else channel.connection.channel()
    for each in declared:
        cleaning.queue_delete(each)


@pytest.mark.parametrize("arguments", [{}, {"x-overflow": "drop-head"}], ids=["default", "named"])
def test_the_head_of_a_full_queue_goes(channel, declare, publish, arguments):
    queue = declare({"x-max-length": 3, **arguments})
    assert publish(queue, numbers(10)) == [True] * 10
    assert depth(channel, queue) == 3
    assert drain(channel, queue) == numbers(3, first=7)


def test_a_burst_leaves_the_newest_at_once(channel, declare):
    queue = declare({"x-max-length": 3})
    for body in numbers(1000):
        channel.basic_publish("", queue, body)
    assert drain(channel, queue) == numbers(3, first=997)


@pytest.mark.parametrize("overflow", REFUSING)
def test_a_full_queue_refuses(channel, declare, publish, overflow):
    queue = declare({"x-max-length": 3, "x-overflow": overflow})
    assert publish(queue, numbers(5)) == [True, True, True, False, False]
    assert channel.basic_get(queue, auto_ack=True)[2] == b"0"
    assert publish(queue, numbers(2, first=5)) == [True, False]
    assert drain(channel, queue) == [b"1", b"2", b"5"]


def test_a_refused_message_without_confirms_is_dropped_and_never_returned(channel, declare):
    queue = declare({"x-max-length": 1, "x-overflow": "reject-publish"})
    returned = []
    channel.add_on_return_callback(lambda *arguments: returned.append(arguments))
    for body in numbers(3):
        channel.basic_publish("", queue, body, mandatory=True)
    assert drain(channel, queue) == [b"0"]
    assert returned == []


@pytest.mark.parametrize("overflow", ["drop-head", *REFUSING])
def test_only_bodies_count_as_bytes(channel, declare, publish, overflow):
    queue = declare({"x-max-length-bytes": 100, "x-overflow": overflow})
    told = publish(queue, [b"a" * 40, b"b" * 60, b"c" * 0, b"d" * 1], headers={"much": "x" * 5000})
    if overflow == "drop-head":
        assert told == [True] * 4
        assert drain(channel, queue) == [b"b" * 60, b"", b"d"]
    else:
        assert told == [True, True, True, False]
        assert drain(channel, queue) == [b"a" * 40, b"b" * 60, b""]


def test_what_alone_is_too_large_goes_with_all_before_it(channel, declare, publish):
    queue = declare({"x-max-length-bytes": 10})
    assert publish(queue, [b"a", b"b", b"c" * 11]) == [True] * 3
    assert drain(channel, queue) == []
    assert publish(queue, [b"d" * 10]) == [True]
    assert drain(channel, queue) == [b"d" * 10]


def test_of_two_limits_the_one_that_is_met_counts(channel, declare, publish):
    queue = declare({"x-max-length": 3, "x-max-length-bytes": 10})
    publish(queue, [b"a", b"b", b"c", b"d"])
    assert drain(channel, queue) == [b"b", b"c", b"d"]
    publish(queue, [b"a" * 6, b"b" * 6])
    assert drain(channel, queue) == [b"b" * 6]


@pytest.mark.parametrize("limit", [{"x-max-length": 2}, {"x-max-length-bytes": 2}], ids=["messages", "bytes"])
def test_what_is_unacknowledged_does_not_count(channel, declare, publish, limit):
    queue = declare({**limit, "x-overflow": "reject-publish"})
    assert publish(queue, numbers(3)) == [True, True, False]
    gets = [channel.basic_get(queue) for _ in range(2)]
    assert publish(queue, numbers(3, first=3)) == [True, True, False]
    channel.basic_nack(gets[0][0].delivery_tag)
    pump(channel.connection, lambda: depth(channel, queue) == 3)
    assert publish(queue, [b"6"]) == [False]
    channel.basic_ack(gets[1][0].delivery_tag)
    assert drain(channel, queue) == [b"0", b"3", b"4"]
    assert publish(queue, numbers(3, first=7)) == [True, True, False]


def test_what_comes_back_to_a_full_queue_is_the_first_to_go(channel, declare, publish):
    queue = declare({"x-max-length": 2})
    publish(queue, numbers(3))
    gets = [channel.basic_get(queue) for _ in range(2)]
    publish(queue, numbers(1, first=3))
    assert [got[2] for got in gets] == [b"1", b"2"]
    channel.basic_nack(gets[1][0].delivery_tag)
    channel.basic_nack(gets[0][0].delivery_tag)
    assert drain(channel, queue) == [b"2", b"3"]


def test_all_that_one_nack_brings_back_is_there_before_the_first_goes(connection, channel, declare, publish):
    queue = declare({"x-max-length-bytes": 100})
    inbox, reading = Inbox(), connection.channel()
    tag = reading.basic_consume(queue, inbox)
    publish(queue, [b"a" * 10, b"b" * 60])
    inbox.wait(connection, 2)
    reading.basic_nack(inbox.tags[0])
    inbox.wait(connection, 3)
    assert inbox.bodies[2] == b"a" * 10, "the older message has the later tag"
    reading.basic_cancel(tag)
    publish(queue, [b"c" * 60])
    reading.basic_nack(0, multiple=True)
    pump(connection, lambda: depth(reading, queue) == 1)
    assert drain(channel, queue) == [b"c" * 60]


def test_a_consumer_gets_what_a_queue_of_length_0_cannot_hold(connection, channel, declare, publish):
    queue = declare({"x-max-length": 0})
    inbox, reading = Inbox(), connection.channel()
    assert publish(queue, [b"nobody is there"]) == [True]
    tag = reading.basic_consume(queue, inbox, auto_ack=True)
    assert publish(queue, numbers(3)) == [True] * 3
    inbox.wait(connection, 3)
    reading.basic_cancel(tag)
    publish(queue, numbers(1))
    assert inbox.bodies == numbers(3)
    assert depth(channel, queue) == 0


def test_a_queue_of_length_0_refuses_even_what_a_consumer_waits_for(connection, declare, publish):
    queue = declare({"x-max-length": 0, "x-overflow": "reject-publish"})
    inbox = Inbox()
    connection.channel().basic_consume(queue, inbox, auto_ack=True)
    assert publish(queue, numbers(2)) == [False, False]
    assert inbox.bodies == []


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
def test_a_burst_goes_to_the_consumer_that_takes_it(connection, channel, declare, overflow):
    queue = declare({"x-max-length": 2, "x-overflow": overflow})
    inbox, reading = Inbox(), connection.channel()
    reading.basic_qos(prefetch_count=50)
    reading.basic_consume(queue, inbox)
    for body in numbers(60):
        channel.basic_publish("", queue, body)
    inbox.wait(connection, 50)
    assert inbox.bodies == numbers(50)
    kept = numbers(2, first=58) if overflow == "drop-head" else numbers(2, first=50)
    reading.basic_ack(inbox.tags[-1], multiple=True)
    inbox.wait(connection, 52)
    assert inbox.bodies[50:] == kept


def test_one_queue_that_refuses_is_enough_for_a_nack(channel, declare, publish, name):
    full = declare({"x-max-length": 1, "x-overflow": "reject-publish"})
    other = declare(suffix="-other")
    for queue in (full, other):
        channel.queue_bind(queue, "amq.fanout")
    assert publish("", numbers(2), exchange="amq.fanout") == [True, False]
    assert drain(channel, full) == [b"0"]
    assert drain(channel, other) == [b"0", b"1"]


def outcomes(connection, count):
    """What became of messages 1 to `count` of a raw channel: True = acked. Each is told of once."""
    told = {}
    while len(told) < count:
        method = connection.read_method(1)
        assert isinstance(method, (spec.Basic.Ack, spec.Basic.Nack)), method
        first = min(set(range(1, count + 1)) - told.keys()) if method.multiple else method.delivery_tag
        for tag in set(range(first, method.delivery_tag + 1)) - told.keys():
            told[tag] = isinstance(method, spec.Basic.Ack)
    return [told[tag] for tag in sorted(told)]


PERSISTENT, FLEETING = b"\x10\x00\x02", b"\x10\x00\x01"  # flags and delivery mode


def test_a_nack_is_for_the_one_message_among_those_that_are_confirmed(raw, channel, declare):
    full = declare({"x-max-length": 1, "x-overflow": "reject-publish"})
    other = declare(suffix="-other")
    confirming = raw().open()
    confirming.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    octets = b""
    for number in range(300):
        queue = full if number % 3 == 0 else other
        octets += encode_method(spec.Basic.Publish(routing_key=queue), 1)
        octets += encode_content(1, b"%d" % number, PERSISTENT if number % 2 else FLEETING)
    confirming.send(octets)
    acked = outcomes(confirming, 300)
    assert [number for number in range(300) if not acked[number]] == list(range(3, 300, 3))
    assert drain(channel, full) == [b"0"]
    assert drain(channel, other) == [b"%d" % number for number in range(300) if number % 3]


def assert_died(headers, queue):
    """Once, of a queue's length, having come by the default exchange."""
    (death,) = headers["x-death"]
    assert isinstance(death.pop("time"), datetime)
    assert death == {"count": 1, "reason": "maxlen", "queue": queue, "exchange": "", "routing-keys": [queue]}
    first = {name: headers[f"x-first-death-{name}"] for name in ("exchange", "queue", "reason")}
    assert first == {"exchange": "", "queue": queue, "reason": "maxlen"}


def test_what_is_dropped_goes_to_the_dead_letter_exchange(channel, declare, publish):
    dead = declare(suffix="-dead")
    arguments = {"x-max-length": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = declare(arguments)
    publish(queue, numbers(5))
    pump(channel.connection, lambda: depth(channel, dead) == 3)
    assert drain(channel, queue) == [b"3", b"4"]
    _, properties, body = channel.basic_get(dead, auto_ack=True)
    assert body == b"0"
    assert_died(properties.headers, queue)
    assert drain(channel, dead) == [b"1", b"2"]


def test_what_is_refused_goes_there_only_if_asked_to(channel, declare, publish):
    dead = declare(suffix="-dead")
    arguments = {"x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    plain = declare({**arguments, "x-overflow": "reject-publish"}, suffix="-plain")
    queue = declare({**arguments, "x-overflow": "reject-publish-dlx"})
    assert publish(plain, numbers(2)) == publish(queue, numbers(2)) == [True, False]
    pump(channel.connection, lambda: depth(channel, dead) == 1)
    _, properties, body = channel.basic_get(dead, auto_ack=True)
    assert body == b"1"
    assert_died(properties.headers, queue)
    assert drain(channel, queue) == [b"0"]


def test_a_letter_that_is_refused_in_its_turn_goes_on_or_is_gone(channel, declare, publish):
    end = declare(suffix="-end")
    letters = {"x-max-length": 1, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": ""}
    middle = declare({**letters, "x-dead-letter-routing-key": end}, suffix="-middle")
    last = declare({"x-max-length": 1, "x-overflow": "reject-publish"}, suffix="-last")
    queue = declare({**letters, "x-dead-letter-routing-key": middle})
    other = declare({**letters, "x-dead-letter-routing-key": last}, suffix="-other")
    assert publish(queue, numbers(3)) == publish(other, numbers(3)) == [True, False, False]
    pump(channel.connection, lambda: depth(channel, end) == 1)
    _, properties, body = channel.basic_get(end, auto_ack=True)
    assert (body, [death["queue"] for death in properties.headers["x-death"]]) == (b"2", [middle, queue])
    assert (drain(channel, middle), drain(channel, last)) == ([b"1"], [b"1"])


def test_what_only_goes_round_is_kept_out_of_the_way(channel, declare, publish):
    queue = declare({"x-max-length": 0, "x-dead-letter-exchange": ""}, suffix="-round")
    assert publish(queue, [b"round"]) == [True]
    refusing = {"x-max-length": 1, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": ""}
    queue = declare(refusing)
    assert publish(queue, numbers(2)) == [True, False]
    assert drain(channel, queue) == [b"0"]


def test_the_highest_priority_goes_first_when_it_is_too_much(channel, declare, publish):
    queue = declare({"x-max-length": 3, "x-max-priority": 3})
    for number, priority in enumerate([1, 3, 2, 3, 0]):
        publish(queue, [b"%d" % number], priority=priority)
    assert drain(channel, queue) == [b"2", b"0", b"4"]


def test_a_commit_with_a_refused_message_closes_the_channel_and_keeps_the_rest(connection, channel, declare):
    full = declare({"x-max-length": 1, "x-overflow": "reject-publish"})
    other = declare(suffix="-other")
    channel.basic_publish("", other, b"taken")
    transacting = connection.channel()
    transacting.tx_select()
    taken = transacting.basic_get(other)
    transacting.basic_ack(taken[0].delivery_tag)
    for body in numbers(2):
        transacting.basic_publish("", full, body)
        transacting.basic_publish("", other, body)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        transacting.tx_commit()
    told = refusal.value
    assert (told.reply_code, told.reply_text) == (406, "PRECONDITION_FAILED - partial tx completion")
    assert drain(channel, full) == [b"0"]
    assert drain(channel, other) == [b"0", b"1"]


@pytest.fixture
def quorum(channel, name):
    """quorum(overflow) declares a quorum queue of at most two messages, and a queue for its letters: their names."""
    dead = name + "-dead"

    def make(overflow):
        channel.queue_declare(dead, durable=True)
        letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        arguments = {"x-queue-type": "quorum", "x-max-length": 2, "x-overflow": overflow, **letters}
        channel.queue_declare(name, durable=True, arguments=arguments)
        return name, dead

    yield make
    channel.queue_delete(name)
    channel.queue_delete(dead)


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish-dlx"])
def test_a_full_quorum_queue_drops_its_head_even_when_it_should_refuse_with_dead_letters(
    channel, quorum, publish, overflow
):
    queue, dead = quorum(overflow)
    assert publish(queue, numbers(5)) == [True] * 5
    pump(channel.connection, lambda: depth(channel, dead) == 3)
    assert (drain(channel, queue), drain(channel, dead)) == (numbers(2, first=3), numbers(3))


def test_a_full_quorum_queue_refuses(channel, quorum, publish):
    """Exactly at its limit, as a classic one. RabbitMQ tells a publisher only when its last message was one too many
    (measured on 3.10.8, and rabbit_fifo's evaluate_limit of 3.13): a limit of 2 takes 3 there, more from several."""
    queue, dead = quorum("reject-publish")
    told = publish(queue, numbers(6))
    taken = 3 if EXTERNAL else 2
    assert told == [True] * taken + [False] * (6 - taken)
    assert drain(channel, queue) == numbers(sum(told))
    assert depth(channel, dead) == 0
