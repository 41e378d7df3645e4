"""Exchanges and bindings as RabbitMQ has them; the texts are those measured on it (reference/amqp.md, section 2)."""

import pytest

from core.errors import (
    CommandInvalid,
    NotFound,
    PreconditionFailed,
)
from core.state.records import EXCHANGE, QUEUE
from protocols.amqp.tables import Int64, UInt8
from tests.core.state.world import Owner, World, appended, exchange, refuses

HISTORY = "Invalid argument {}, 'x-recent-history-length' must be a positive integer"


@pytest.fixture
def world():
    return World().boot()


@pytest.fixture
def topology(world):
    return world.topology


def test_unknown_and_inequivalent_exchanges(world, topology):
    with refuses(CommandInvalid, "unknown exchange type 'zz'"):
        exchange(world, "e", "zz")
    with refuses(NotFound, "no exchange 'none' in vhost '/'"):
        topology.check_exchange(world.vhost, "none")
    text = "inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'fanout' but current is 'direct'"
    with refuses(PreconditionFailed, text):
        exchange(world, "amq.direct", "fanout")
    exchange(world, "e", "fanout", internal=True)
    for options, name in (({"durable": False}, "durable"), ({"auto_delete": True}, "auto_delete"), ({}, "internal")):
        with pytest.raises(PreconditionFailed, match=f"^inequivalent arg '{name}' for exchange 'e' in vhost '/'"):
            exchange(world, "e", "fanout", **options)
    with refuses(
        PreconditionFailed,
        "inequivalent arg 'alternate-exchange' for exchange 'e' in vhost '/': "
        "received the value 'a' of type 'longstr' but current is none",
    ):
        exchange(world, "e", "fanout", internal=True, arguments={"alternate-exchange": "a"})
    with refuses(
        PreconditionFailed, "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'n' in vhost '/'"
    ):
        exchange(world, "n", arguments={"alternate-exchange": 1})


def test_predeclared_exchanges(world, topology):
    kinds = {name: x.kind for name, x in world.vhost.router.exchanges.items()}
    assert kinds == {
        "": "direct",
        "amq.direct": "direct",
        "amq.fanout": "fanout",
        "amq.topic": "topic",
        "amq.headers": "headers",
        "amq.match": "headers",
        "amq.rabbitmq.trace": "topic",
    }
    exchange(world, "amq.topic", "topic")


def test_bindings_need_both_ends_to_be_made_and_none_to_be_undone(world, topology):
    world.declare("q")
    with refuses(NotFound, "no exchange 'none' in vhost '/'"):
        world.bind("nope", "none", "k")
    with refuses(NotFound, "no queue 'nope' in vhost '/'"):
        world.bind("nope", "amq.direct", "k")
    with refuses(NotFound, "no exchange 'nope' in vhost '/'"):
        topology.bind(world.vhost, "amq.direct", (EXCHANGE, "nope"), "k", {})
    for name, source in (("nope", "amq.direct"), ("q", "none"), ("q", "amq.direct")):
        topology.unbind(world.vhost, source, (QUEUE, name), "k", {})
    with pytest.raises(PreconditionFailed, match="x-match"):
        world.bind("q", "amq.headers", "", {"x-match": "odd"})


def test_the_same_binding_twice_is_one_record(world):
    world.declare("q")
    world.bind("q", "amq.direct", "k", {"n": UInt8(1)})
    before = appended(world)
    world.bind("q", "amq.direct", "k", {"n": Int64(1)})
    assert appended(world) == before
    world.topology.unbind(world.vhost, "amq.direct", (QUEUE, "q"), "k", {"n": 1})
    world.run()
    world.crash()
    world.boot()
    assert world.vhost.router.exchanges["amq.direct"].bindings() == []


def test_delete_exchange_if_unused(world, topology):
    exchange(world, "eu")
    world.declare("q")
    world.bind("q", "eu", "k")
    with refuses(PreconditionFailed, "exchange 'eu' in vhost '/' in use"):
        topology.delete_exchange(world.vhost, "eu", if_unused=True)
    topology.delete_exchange(world.vhost, "eu")
    topology.delete_exchange(world.vhost, "eu")
    assert world.vhost.router.bindings_to(world.queue("q")) == []


def test_auto_delete_exchanges_go_in_a_chain_as_one_record(world, topology):
    for name in "abc":
        exchange(world, name, auto_delete=True)
    world.declare("q")
    topology.bind(world.vhost, "a", (EXCHANGE, "b"), "", {})
    topology.bind(world.vhost, "b", (EXCHANGE, "c"), "", {})
    world.bind("q", "c", "")
    world.bind("q", "c", "other")
    topology.unbind(world.vhost, "c", (QUEUE, "q"), "other", {})
    assert {"a", "b", "c"} <= world.vhost.router.exchanges.keys()
    before = appended(world)
    topology.delete_queue(world.vhost, "q", None)
    assert appended(world) == before + 1 and not {"a", "b", "c"} & world.vhost.router.exchanges.keys()
    world.run()
    world.crash()
    world.boot()
    assert not {"a", "b", "c"} & world.vhost.router.exchanges.keys()


def test_a_durable_auto_delete_exchange_goes_with_its_transient_binding(world, topology):
    exchange(world, "x", auto_delete=True)
    owner = Owner()
    world.declare("t", exclusive=True, owner=owner)
    topology.bind(world.vhost, "x", (QUEUE, "t"), "", {}, owner=owner)
    topology.connection_gone(owner)
    world.run()
    world.crash()
    world.boot()
    assert "x" not in world.vhost.router.exchanges


def test_transient_things_write_no_record(world, topology):
    before = appended(world)
    exchange(world, "x", durable=False)
    owner = Owner()
    world.declare("t", durable=False)
    world.declare("e", exclusive=True, owner=owner)
    world.bind("t", "x", "")
    topology.bind(world.vhost, "amq.fanout", (QUEUE, "e"), "", {}, owner=owner)
    topology.delete_queue(world.vhost, "t", None)
    topology.connection_gone(owner)
    topology.delete_exchange(world.vhost, "x")
    assert appended(world) == before


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        (
            "x-consistent-hash",
            {"hash-header": "h", "hash-property": "timestamp"},
            "hash-header and hash-property are mutually exclusive",
        ),
        ("x-consistent-hash", {"hash-property": "type"}, "Unsupported property: type"),
        (
            "x-consistent-hash",
            {"hash-header": 1},
            "invalid type 'signedint' for arg 'hash-header' in exchange 'x' in vhost '/'",
        ),
        ("x-recent-history", {"x-recent-history-length": UInt8(1)}, HISTORY.format(1)),
        ("x-recent-history", {"x-recent-history-length": Int64(0)}, HISTORY.format(0)),
        ("x-recent-history", {"x-recent-history-length": True}, HISTORY.format("true")),
        (
            "x-recent-history",
            {"x-recent-history-length": 10_001},
            "Invalid argument 10001, 'x-recent-history-length' must not exceed 10000",
        ),
    ],
)
def test_arguments_of_an_exchange_type_that_cannot_be(world, kind, arguments, text):
    with refuses(PreconditionFailed, text):
        exchange(world, "x", kind, arguments=arguments)
    assert "x" not in world.vhost.router.exchanges


def test_arguments_of_another_type_do_not_matter(world):
    exchange(world, "x", "fanout", arguments={"hash-property": "type", "x-recent-history-length": -1})


def test_types_and_their_arguments_outlive_a_restart(world):
    exchange(world, "c", "x-consistent-hash", arguments={"hash-header": "h"})
    exchange(world, "r", "x-recent-history", arguments={"x-recent-history-length": Int64(2)})
    world.declare("q")
    world.bind("q", "c", "7")
    world.run()
    world.crash()
    exchanges = world.boot().vhost.router.exchanges
    assert exchanges["c"].by_headers and exchanges["c"].matches(b"", {})[0].destination is world.queue("q")
    for number in range(3):
        exchanges["r"].history.remember(number)
    assert len(exchanges["r"].history) == 2
