"""x-recent-history: what it remembers, and who learns of it."""

import pytest

from core.message import Message
from core.routing.exchange import Exchange
from core.routing.history import LENGTH, History
from core.routing.router import Router
from core.state.records import EXCHANGE, QUEUE
from protocols.amqp.properties import encode_properties
from tests.core.state.world import World, exchange


def message(body, expire_at=0):
    made = Message((b"/", b"x", b"k"), b"", body, len(body), True)
    made.store_ms, made.expire_at = 1000, expire_at
    return made


@pytest.mark.parametrize(("arguments", "length"), [({}, LENGTH), ({"x-recent-history-length": 3}, 3)])
def test_the_last_messages_are_remembered_oldest_first(arguments, length):
    history = Exchange("x", "x-recent-history", arguments=arguments).history
    for number in range(LENGTH + 9):
        history.remember(message(b"%d" % number))
    assert [copy.body for copy in history.replay(0)] == [b"%d" % n for n in range(LENGTH + 9 - length, LENGTH + 9)]


def test_a_copy_is_a_message_of_its_own_and_lives_as_long_anew():
    history = History(2)
    original = message(b"1", expire_at=1500)
    original.offset = 99
    history.remember(original)
    (copy,) = history.replay(5000)
    assert copy.offset == -1 and copy.expire_at == 5500 and copy.routing_key == b"k"
    assert [copy.expire_at for copy in History(1).replay(0)] == []


def test_every_route_through_it_says_so_even_one_that_finds_no_queue():
    router, source, recent = Router(), Exchange("s", "fanout"), Exchange("r", "x-recent-history")
    for each in (source, recent):
        router.add_exchange(each)
    assert router.route(source, b"k", None).histories is None
    router.bind(source, recent, "", {})
    for start in (source, recent):
        route = router.route(start, b"k", None)
        assert route.histories == (recent.history,) and route.queues == ()
        assert router.route(start, b"k", None) is route


@pytest.fixture
def world():
    return World().boot()


def remember(world, recent, *bodies, **properties):
    header = encode_properties(properties) if properties else b""
    for body in bodies:
        recent.history.remember(Message((b"/", b"x", b"k"), header, body, len(body), True))


def test_a_new_binding_gets_what_is_remembered_once(world):
    recent = exchange(world, "x", "x-recent-history")
    remember(world, recent, b"1", b"2")
    world.declare("q")
    world.bind("q", "x", "")
    world.bind("q", "x", "")
    assert [body for _, body, _ in world.take("q", 9).got] == [b"1", b"2"]


def test_an_exchange_that_is_bound_routes_what_is_remembered(world):
    recent = exchange(world, "x", "x-recent-history")
    remember(world, recent, b"1", b"2", headers={"a": 1})
    remember(world, recent, b"3")
    world.declare("q")
    exchange(world, "h", "headers")
    world.bind("q", "h", "", {"a": 1})
    world.topology.bind(world.vhost, "x", (EXCHANGE, "h"), "", {})
    assert [body for _, body, _ in world.take("q", 9).got] == [b"1", b"2"]


def test_what_a_binding_got_is_durable_and_a_restart_forgets_the_history(world):
    recent = exchange(world, "x", "x-recent-history")
    world.declare("q")
    remember(world, recent, b"1")
    world.topology.bind(world.vhost, "x", (QUEUE, "q"), "", {})
    world.run()
    world.crash()
    world.boot()
    world.declare("other")
    world.bind("other", "x", "")
    assert [body for _, body, _ in world.take("q", 9).got] == [b"1"]
    assert world.take("other", 9).got == []
