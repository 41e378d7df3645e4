"""Exchanges and what they route (amqp.md E1-E8)."""

import pika
import pytest

from tests.clients.deliveries import depth, drain

PREDECLARED = {
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
}
TOPICS = [
    ("#", ["", "a", "a.b", "..", "a.b.c.d"], []),
    ("", [""], ["a", "."]),
    ("*", ["a"], ["a.b", "", "a.b.c"]),
    ("a.*", ["a.b", "a."], ["a", "a.b.c"]),
    ("*.a", [".a", "b.a"], ["a", "b.c.a"]),
    ("a.#", ["a", "a.b", "a.b.c"], ["b", "", "ab"]),
    ("#.a", ["a", "b.a", "c.b.a"], ["a.b", ""]),
    ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "z", "a.b"]),
    ("#.a.#", ["a", "x.a", "a.y", "x.y.a.z"], ["b", "x.y"]),
    ("a.*.#", ["a.b", "a.b.c"], ["a", "b.a"]),
    ("*.*", ["a.b", "."], ["a", "a.b.c"]),
    ("a.b", ["a.b"], ["a.B", "a.b.", "a"]),
    ("#.#", ["", "a", "a.b"], []),
]
HEADERS = [
    ({"x-match": "all", "a": 1, "b": "2"}, [{"a": 1, "b": "2"}, {"a": 1, "b": "2", "c": 3}], [{"a": 1}, {}]),
    ({"a": 1, "b": "2"}, [{"a": 1, "b": "2"}], [{"a": 1}, {"b": "2"}]),
    ({"x-match": "any", "a": 1, "b": "2"}, [{"a": 1}, {"b": "2", "z": 0}], [{"a": 2}, {}, {"a": "1"}]),
    ({"x-match": "all", "a": None}, [{"a": 1}, {"a": "any"}], [{"b": 1}]),
    ({"x-match": "all", "x-ignored": 9}, [{}, {"a": 1}], []),
    ({"x-match": "any", "x-ignored": 9}, [], [{}, {"x-ignored": 9}]),
    ({"x-match": "all"}, [{}, {"a": 1}], []),
    ({"x-match": "any"}, [], [{}, {"a": 1}]),
    ({"x-match": "all-with-x", "x-a": 1, "b": 2}, [{"x-a": 1, "b": 2}], [{"b": 2}, {"x-a": 1}, {}]),
    ({"x-match": "any-with-x", "x-a": 1, "b": 2}, [{"x-a": 1}, {"b": 2}], [{"x-a": 2}, {}]),
    ({"x-match": "any-with-x"}, [], [{"x-match": "any-with-x"}, {}]),
    ({"x-match": "all", "a": True}, [{"a": True}], [{"a": 1}, {"a": False}, {"a": "true"}]),
]


@pytest.fixture
def queue(channel, name):
    """A queue that nobody else reads."""
    return channel.queue_declare(name, exclusive=True).method.queue


@pytest.fixture
def publish(channel):
    """publish(exchange, key, body, headers): whether it was routed."""
    channel.confirm_delivery()

    def send(exchange, key, body=b"x", headers=None):
        try:
            channel.basic_publish(exchange, key, body, pika.BasicProperties(headers=headers), mandatory=True)
        except pika.exceptions.UnroutableError:
            return False
        return True

    return send


def bodies(channel, queue):
    """Everything in the queue."""
    return [each.body for each in drain(channel, queue)]


@pytest.mark.parametrize("exchange", PREDECLARED)
def test_predeclared_exchanges_are_there_and_durable(channel, exchange):
    channel.exchange_declare(exchange, passive=True)
    channel.exchange_declare(exchange, PREDECLARED[exchange], durable=True)


def test_the_trace_exchange_is_there_and_internal(connection, channel):
    channel.exchange_declare("amq.rabbitmq.trace", "topic", durable=True, internal=True)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        publishing = connection.channel()
        publishing.confirm_delivery()
        publishing.basic_publish("amq.rabbitmq.trace", "k", b"")
    text = "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'"
    assert (refused.value.reply_code, refused.value.reply_text) == (403, text)


def test_the_default_exchange_reaches_every_queue_by_its_name(channel, publish, queue, name):
    assert publish("", queue, b"1")
    assert not publish("", name + ".other")
    assert bodies(channel, queue) == [b"1"]


def test_direct_routes_by_the_whole_key(channel, publish, queue, name):
    channel.exchange_declare(name, "direct", auto_delete=True)
    channel.queue_bind(queue, name, "k1")
    channel.queue_bind(queue, name, "k2")
    assert publish(name, "k1", b"1") and publish(name, "k2", b"2")
    assert not publish(name, "k") and not publish(name, "k11") and not publish(name, "")
    assert bodies(channel, queue) == [b"1", b"2"]


def test_fanout_gives_every_queue_one_copy_whatever_the_key(channel, publish, queue, name):
    channel.exchange_declare(name, "fanout", auto_delete=True)
    second = channel.queue_declare("", exclusive=True).method.queue
    for each, key in ((queue, "a"), (queue, "b"), (second, "")):
        channel.queue_bind(each, name, key)
    assert publish(name, "whatever", b"1")
    assert bodies(channel, queue) == bodies(channel, second) == [b"1"]


@pytest.mark.parametrize("pattern, matching, others", TOPICS, ids=[repr(row[0]) for row in TOPICS])
def test_topic_patterns(channel, publish, queue, name, pattern, matching, others):
    channel.exchange_declare(name, "topic", auto_delete=True)
    channel.queue_bind(queue, name, pattern)
    assert [key for key in matching + others if publish(name, key, key.encode() or b"-")] == matching
    assert bodies(channel, queue) == [key.encode() or b"-" for key in matching]


def test_a_queue_matched_by_many_patterns_gets_one_copy(channel, publish, queue, name):
    channel.exchange_declare(name, "topic", auto_delete=True)
    for pattern in ("#", "a.*", "*.b", "a.b"):
        channel.queue_bind(queue, name, pattern)
    assert publish(name, "a.b", b"once")
    assert bodies(channel, queue) == [b"once"]


@pytest.mark.parametrize("arguments, matching, others", HEADERS, ids=[str(row[0]) for row in HEADERS])
def test_headers_matching(channel, publish, queue, name, arguments, matching, others):
    channel.exchange_declare(name, "headers", auto_delete=True)
    channel.queue_bind(queue, name, "", arguments)
    assert [headers for headers in matching + others if publish(name, "k", headers=headers)] == matching


def test_headers_bindings_of_one_queue_differ_by_their_arguments(channel, publish, queue, name):
    channel.exchange_declare(name, "headers", auto_delete=True)
    channel.queue_bind(queue, name, "", {"a": 1})
    channel.queue_bind(queue, name, "", {"a": 2})
    channel.queue_unbind(queue, name, "", {"a": 1})
    assert publish(name, "", headers={"a": 2}) and not publish(name, "", headers={"a": 1})


def test_a_bad_x_match_is_refused(channel, queue):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_bind(queue, "amq.headers", "", {"x-match": "some"})
    assert refusal.value.reply_code == 406


def test_exchanges_bound_to_exchanges_pass_on_and_cycles_end(channel, publish, queue, name):
    for suffix, kind in ((".1", "topic"), (".2", "fanout"), (".3", "direct")):
        channel.exchange_declare(name + suffix, kind)
    channel.exchange_bind(name + ".2", name + ".1", "a.*")
    channel.exchange_bind(name + ".3", name + ".2")
    channel.exchange_bind(name + ".1", name + ".3", "a.b")
    channel.queue_bind(queue, name + ".3", "a.b")
    assert publish(name + ".1", "a.b", b"1") and not publish(name + ".1", "a.c")
    assert bodies(channel, queue) == [b"1"]
    channel.exchange_unbind(name + ".2", name + ".1", "a.*")
    assert not publish(name + ".1", "a.b")
    for suffix in (".1", ".2", ".3"):
        channel.exchange_delete(name + suffix)


def test_the_alternate_exchange_takes_what_nobody_wanted(channel, publish, queue, name):
    channel.exchange_declare(name + ".rest", "fanout")
    channel.exchange_declare(name, "direct", arguments={"alternate-exchange": name + ".rest"})
    channel.queue_bind(queue, name + ".rest")
    other = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(other, name, "known")
    assert publish(name, "known", b"1") and publish(name, "unknown", b"2")
    assert (bodies(channel, other), bodies(channel, queue)) == ([b"1"], [b"2"])
    channel.exchange_delete(name + ".rest")
    assert not publish(name, "unknown")
    channel.exchange_delete(name)


def test_an_internal_exchange_is_reached_through_another(channel, publish, queue, name):
    channel.exchange_declare(name + ".inner", "fanout", internal=True)
    channel.exchange_declare(name, "fanout")
    channel.exchange_bind(name + ".inner", name)
    channel.queue_bind(queue, name + ".inner")
    assert publish(name, "", b"1") and bodies(channel, queue) == [b"1"]
    channel.exchange_delete(name)
    channel.exchange_delete(name + ".inner")


def exists(connection, exchange) -> bool:
    """Whether the exchange is there, asked on a channel of its own."""
    asking = connection.channel()
    try:
        asking.exchange_declare(exchange, passive=True)
    except pika.exceptions.ChannelClosedByBroker as refusal:
        assert refusal.reply_code == 404
        return False
    asking.close()
    return True


def test_an_auto_delete_exchange_goes_with_its_last_binding_never_before_the_first(connection, channel, queue, name):
    channel.exchange_declare(name, "direct", auto_delete=True)
    assert exists(connection, name)
    channel.queue_bind(queue, name, "1")
    channel.queue_bind(queue, name, "2")
    channel.queue_unbind(queue, name, "1")
    assert exists(connection, name)
    channel.queue_unbind(queue, name, "2")
    assert not exists(connection, name)


def test_an_auto_delete_exchange_goes_when_its_queue_is_deleted_and_so_does_the_one_before_it(
    connection, channel, queue, name
):
    channel.exchange_declare(name + ".1", "fanout", auto_delete=True)
    channel.exchange_declare(name + ".2", "fanout", auto_delete=True)
    channel.exchange_bind(name + ".2", name + ".1")
    channel.queue_bind(queue, name + ".2")
    channel.queue_delete(queue)
    assert not exists(connection, name + ".2")
    assert not exists(connection, name + ".1")


def test_deleting_an_exchange_takes_its_bindings(channel, publish, queue, name):
    channel.exchange_declare(name, "fanout")
    channel.queue_bind(queue, name)
    channel.exchange_delete(name)
    channel.exchange_declare(name, "fanout")
    assert not publish(name, "")
    channel.exchange_delete(name)


def test_a_binding_made_twice_is_one(channel, publish, queue):
    channel.queue_bind(queue, "amq.direct", queue)
    channel.queue_bind(queue, "amq.direct", queue)
    assert publish("amq.direct", queue)
    channel.queue_unbind(queue, "amq.direct", queue)
    assert not publish("amq.direct", queue)
    assert depth(channel, queue) == 1
