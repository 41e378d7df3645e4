"""Declaring queues as RabbitMQ does it; the texts are those measured on it (reference/amqp.md, section 2)."""

import re

import pytest

from core.config import Limits
from core.errors import (
    AccessRefused,
    LimitReached,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
)
from core.state.records import QUEUE
from protocols.amqp.tables import Int64, UInt8
from tests.core.state.world import Owner, Taker, World, appended, exchange, refuses


@pytest.fixture
def world():
    return World().boot()


@pytest.fixture
def topology(world):
    return world.topology


def test_a_missing_queue_is_named(world, topology):
    with refuses(NotFound, "no queue 'none' in vhost '/'"):
        topology.queue(world.vhost, "none", None)
    with refuses(NotFound, "no queue 'none' in vhost '/'"):
        topology.purge(world.vhost, "none", None)
    assert topology.delete_queue(world.vhost, "none", None) == 0


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ({"durable": False}, {"durable": True}, "'durable' for {}: received 'true' but current is 'false'"),
        ({}, {"auto_delete": True}, "'auto_delete' for {}: received 'true' but current is 'false'"),
        (
            {"arguments": {"x-message-ttl": 5}},
            {"arguments": {"x-message-ttl": 6}},
            "'x-message-ttl' for {}: received '6' but current is '5'",
        ),
        (
            {"arguments": {"x-message-ttl": 5}},
            {},
            "'x-message-ttl' for {}: received none but current is the value '5' of type 'signedint'",
        ),
        (
            {},
            {"arguments": {"x-max-length": 5}},
            "'x-max-length' for {}: received the value '5' of type 'signedint' but current is none",
        ),
        (
            {"arguments": {"x-queue-type": "quorum"}},
            {"arguments": {"x-queue-type": "classic"}},
            "'x-queue-type' for {}: received 'classic' but current is 'quorum'",
        ),
    ],
)
def test_a_redeclare_with_another_property_is_refused(world, first, second, text):
    world.declare("rq", **first)
    with refuses(PreconditionFailed, "inequivalent arg " + text.format("queue 'rq' in vhost '/'")):
        world.declare("rq", **second)


def test_a_redeclare_of_the_same_is_the_same_queue_whatever_the_width_of_numbers(world):
    queue = world.declare("q", arguments={"x-message-ttl": UInt8(5), "x-unknown": 1})
    before = appended(world)
    assert world.declare("q", arguments={"x-message-ttl": Int64(5), "x-unknown": 2}) is queue
    assert appended(world) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-message-ttl": -1}, "'x-message-ttl' for {}: {{value_negative,-1}}"),
        ({"x-message-ttl": "1"}, "'x-message-ttl' for {}: \"expected integer, got longstr\""),
        ({"x-message-ttl": 1 << 62}, "'x-message-ttl' for {}: {{value_too_large,4611686018427387904}}"),
        ({"x-expires": 0}, "'x-expires' for {}: {{value_zero,0}}"),
        ({"x-queue-type": "zz"}, "'x-queue-type' for {}: \"unsupported queue type 'zz'\""),
        ({"x-queue-type": 1}, "'x-queue-type' for {}: {{unacceptable_type,signedint}}"),
        ({"x-queue-mode": "odd"}, "'x-queue-mode' for {}: \"unsupported queue mode 'odd'\""),
        ({"x-queue-version": 3}, "'x-queue-version' for {}: \"unsupported queue version '3'\""),
        ({"x-single-active-consumer": "a"}, "'x-single-active-consumer' for {}: {{unacceptable_type,longstr}}"),
        ({"x-single-active-consumer": 1}, "'x-single-active-consumer' for {}: {{unacceptable_type,signedint}}"),
        ({"x-dead-letter-routing-key": "d"}, "'x-dead-letter-routing-key' for {}: routing_key_but_no_dlx_defined"),
        ({"x-max-priority": 256}, "'x-max-priority' for {}: {{max_value_exceeded,256}}"),
        ({"x-max-priority": -1}, "'x-max-priority' for {}: {{value_negative,-1}}"),
        ({"x-max-priority": "5"}, "'x-max-priority' for {}: \"expected integer, got longstr\""),
        ({"x-max-priority": 5, "x-queue-type": "quorum"}, "'x-max-priority' for {} of queue type rabbit_quorum_queue"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_name(world, arguments, text):
    with refuses(PreconditionFailed, "invalid arg " + text.format("queue 'q1' in vhost '/'")):
        world.declare("q1", arguments=arguments)
    assert world.vhost.queues == {}


def test_arguments_that_are_hints_or_unknown_are_kept(world):
    world.declare("a", arguments={"x-queue-mode": "lazy", "x-queue-version": 2, "x-whatever": [1]})
    hints = {"x-queue-type": "quorum", "x-quorum-initial-group-size": 3, "x-queue-leader-locator": "balanced"}
    world.declare("b", arguments=hints)
    world.run()
    world.crash()
    world.boot()
    with pytest.raises(PreconditionFailed, match="'x-queue-mode'.*received none but current is the value 'lazy'"):
        world.declare("a")
    world.declare("b", arguments=hints)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"exclusive": True}, "exclusive-owner"),
        ({"durable": False}, "non-durable"),
        ({"auto_delete": True}, "auto-delete"),
    ],
)
def test_what_a_quorum_queue_cannot_be(world, options, name):
    with refuses(PreconditionFailed, f"invalid property '{name}' for queue 'q' in vhost '/'"):
        world.declare("q", arguments={"x-queue-type": "quorum"}, **options)


def test_reserved_names(world, topology):
    with refuses(AccessRefused, "queue name 'amq.x' contains reserved prefix 'amq.*'"):
        world.declare("amq.x")
    with refuses(AccessRefused, "exchange name 'amq.x' contains reserved prefix 'amq.*'"):
        exchange(world, "amq.x")
    with refuses(AccessRefused, "deletion of system exchange 'amq.direct' in vhost '/' not allowed"):
        topology.delete_exchange(world.vhost, "amq.direct")
    for act in (
        lambda: exchange(world, ""),
        lambda: topology.check_exchange(world.vhost, ""),
        lambda: topology.delete_exchange(world.vhost, ""),
        lambda: world.bind("q", "", "k"),
    ):
        with refuses(AccessRefused, "operation not permitted on the default exchange"):
            act()


def test_the_server_names_a_queue_and_asks_whether_it_may(world, topology):
    asked = []
    queue = world.declare("", allowed=asked.append)
    assert re.fullmatch(r"amq\.gen-[\w-]{22}", queue.name) and asked == [queue.name]
    assert world.declare(queue.name) is queue
    assert world.declare("").name != queue.name

    def refuse(name):
        raise AccessRefused(name)

    with pytest.raises(AccessRefused):
        world.declare("", allowed=refuse)
    assert len(world.vhost.queues) == 2


LOCKED = (
    "cannot obtain exclusive access to locked queue 'exq' in vhost '/'. It could be originally declared on another "
    "connection or the exclusive property value does not match that of the original declaration."
)


def test_an_exclusive_queue_is_its_connections_alone(world, topology):
    mine, other = Owner(), Owner()
    queue = world.declare("exq", exclusive=True, owner=mine)
    assert not queue.durable
    assert world.declare("exq", exclusive=True, owner=mine) is queue
    for act in (
        lambda: world.declare("exq", exclusive=True, owner=other),
        lambda: world.declare("exq", owner=mine),
        lambda: topology.queue(world.vhost, "exq", other),
        lambda: topology.delete_queue(world.vhost, "exq", other),
        lambda: topology.purge(world.vhost, "exq", other),
        lambda: topology.bind(world.vhost, "amq.direct", (QUEUE, "exq"), "k", {}, owner=other),
    ):
        with refuses(ResourceLocked, LOCKED):
            act()
    topology.bind(world.vhost, "amq.direct", (QUEUE, "exq"), "k", {}, owner=mine)
    topology.connection_gone(mine)
    assert world.vhost.queues == {} and queue.deleted


def test_delete_if_unused_and_if_empty(world, topology):
    queue = world.declare("u1")
    taker = Taker(queue, 0)
    queue.add_consumer(taker)
    world.publish("", "u1")
    with refuses(PreconditionFailed, "queue 'u1' in vhost '/' in use"):
        topology.delete_queue(world.vhost, "u1", None, if_unused=True)
    with refuses(PreconditionFailed, "queue 'u1' in vhost '/' not empty"):
        topology.delete_queue(world.vhost, "u1", None, if_empty=True)
    assert topology.delete_queue(world.vhost, "u1", None) == 1
    assert taker.is_gone and taker.cancelled and queue.deleted
    world.run()


def test_a_parked_get_is_answered_when_its_queue_goes(world, topology):
    class Getter(Taker):
        def nothing(self):
            self.is_gone = True

    queue = world.declare("q")
    getter = Getter(queue)
    queue.park(getter)
    topology.delete_queue(world.vhost, "q", None)
    world.run()
    assert getter.is_gone


def test_purge_takes_the_ready_only(world, topology):
    world.declare("q")
    for _ in range(5):
        world.publish("", "q")
    world.take("q", 2)
    assert topology.purge(world.vhost, "q", None) == 3 and world.queue("q").unacked == 2


def test_line_ends_are_no_part_of_a_name(world):
    assert world.declare("a\r\nb").name == "ab"


def test_limits_are_named(world, topology):
    limits = Limits(message_bytes=4096, queues=1, exchanges=1, bindings=1)
    world.topology._changes.ports = world.topology._changes.ports._replace(limits=limits)
    world.declare("a")
    exchange(world, "x")
    world.bind("a", "x", "k")
    with refuses(LimitReached, "cannot declare queue 'b' in vhost '/': limits.queues (1) is reached"):
        world.declare("b")
    with refuses(LimitReached, "cannot declare exchange 'y' in vhost '/': limits.exchanges (1) is reached"):
        exchange(world, "y")
    with refuses(LimitReached, "cannot bind to exchange 'x' in vhost '/': limits.bindings (1) is reached"):
        world.bind("a", "x", "k2")
    topology.delete_queue(world.vhost, "a", None)
    world.declare("b")
    world.bind("b", "x", "k2")


def test_virtual_hosts_come_and_go_with_what_is_in_them(world, topology):
    other = topology.add_vhost("other")
    assert topology.add_vhost("other") is other
    queue = topology.declare_queue(other, "q", durable=True)
    topology.bind(other, "amq.topic", (QUEUE, "q"), "#", {})
    taker = Taker(queue)
    queue.add_consumer(taker)
    topology.remove_vhost("other")
    assert taker.is_gone and other.removed and queue.deleted
    with refuses(NotFound, "no vhost 'other'"):
        topology.remove_vhost("other")
    world.run()
    world.crash(state_lost=True)
    world.boot()
    assert list(world.broker.model.vhosts) == ["/"] and world.broker.model.queues == {}
