"""CC and BCC headers (amqp.md E13): more routing keys for one message."""

import pika
import pytest

from tests.clients.deliveries import drain, pump


def queues(channel, name, *ends):
    """Exclusive queues of these names."""
    for end in ends:
        channel.queue_declare(name + end, exclusive=True)
    return [name + end for end in ends]


def publish(channel, key, exchange="", **headers):
    """Publish with these headers, and wait until it is routed."""
    channel.basic_publish(exchange, key, b"x", pika.BasicProperties(headers=headers, correlation_id="c"))
    channel.basic_qos(0)


def test_copies_go_to_every_key_once_and_bcc_is_taken_out(channel, name):
    to, cc, bcc = queues(channel, name, "to", "cc", "bcc")
    publish(channel, to, CC=[cc, to, cc], BCC=[bcc, cc], keep={"a": [1, "b"]}, n=5)
    for queue in (to, cc, bcc):
        (got,) = drain(channel, queue)
        assert got.properties.headers == {"CC": [cc, to, cc], "keep": {"a": [1, "b"]}, "n": 5}
        assert (got.method.routing_key, got.properties.correlation_id) == (to, "c")


def test_a_copy_alone_is_routed_enough_for_mandatory(channel, name):
    (cc,) = queues(channel, name, "cc")
    channel.confirm_delivery()
    headers = pika.BasicProperties(headers={"CC": [cc]})
    channel.basic_publish("", name + "nowhere", b"x", headers, mandatory=True)
    assert len(drain(channel, cc)) == 1


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout", "headers"])
def test_any_key_matches_and_a_queue_gets_one_copy(channel, name, kind):
    one, two = queues(channel, name, "1", "2")
    channel.exchange_declare(name, kind, auto_delete=True)
    for queue, key in ((one, "a"), (one, "b"), (two, "c")):
        channel.queue_bind(queue, name, key, {"n": 1} if kind == "headers" else None)
    publish(channel, "a", name, CC=["b"], n=1)
    everybody = kind in ("fanout", "headers")
    assert (len(drain(channel, one)), len(drain(channel, two))) == (1, 1 if everybody else 0)


def test_the_alternate_is_asked_only_when_no_key_matches(channel, name):
    hit, miss = queues(channel, name, "hit", "miss")
    channel.exchange_declare(name + "alternate", "fanout", auto_delete=True)
    channel.queue_bind(miss, name + "alternate")
    arguments = {"alternate-exchange": name + "alternate"}
    channel.exchange_declare(name, "direct", auto_delete=True, arguments=arguments)
    channel.queue_bind(hit, name, "b")
    publish(channel, "a", name, CC=["b"])
    assert (len(drain(channel, hit)), len(drain(channel, miss))) == (1, 0)
    publish(channel, "a", name, CC=["c"])
    assert (len(drain(channel, hit)), len(drain(channel, miss))) == (0, 1)


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_a_header_that_is_no_array_is_refused(connection, name, header):
    channel = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        publish(channel, name, **{header: "one"})
    assert (refusal.value.reply_code, refusal.value.reply_text) == (
        406,
        f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{header}",longstr}}',
    )


def test_a_message_after_one_with_copies_has_none(channel, name):
    to, cc = queues(channel, name, "to", "cc")
    publish(channel, to, CC=[cc])
    publish(channel, to, CCC=[cc])
    assert (len(drain(channel, to)), len(drain(channel, cc))) == (2, 1)


def dying(channel, name, durable=False, **arguments):
    """A queue whose dead letters go by their keys, and queues for what has each of the keys."""
    channel.exchange_declare(name, "direct", auto_delete=True)
    made = queues(channel, name, "cc", "bcc", "to", "other")
    for queue in made:
        channel.queue_bind(queue, name, queue)
    source = name + "source"
    arguments = {"x-dead-letter-exchange": name, **arguments}
    channel.queue_declare(source, exclusive=not durable, durable=durable, arguments=arguments)
    channel.queue_bind(source, "amq.direct", made[2])
    return made


def die(channel, name):
    """Have the message of dying()'s queue rejected."""
    method, properties, _ = channel.basic_get(name + "source")
    assert "BCC" not in properties.headers
    channel.basic_reject(method.delivery_tag, requeue=False)
    channel.basic_qos(0)


def keys_of_death(channel, queue):
    """routing-keys of the only death of the only message, which has come or is coming; its headers are as they were."""
    got = []
    pump(channel.connection, lambda: got.extend(drain(channel, queue)) or got)
    (letter,) = got
    (death,) = letter.properties.headers["x-death"]
    assert "BCC" not in letter.properties.headers
    return death["routing-keys"], letter.method.routing_key, letter.properties.headers.get("CC")


def test_a_dead_letter_goes_to_all_its_copies_again_and_names_none_of_the_blind_ones(channel, name):
    cc, bcc, to, _ = dying(channel, name)
    publish(channel, to, "amq.direct", CC=[cc], BCC=[bcc])
    die(channel, name)
    for queue in (to, cc, bcc):
        assert keys_of_death(channel, queue) == ([to, cc], to, [cc])


def test_a_dead_letter_with_a_key_of_its_own_has_no_copies_any_more(channel, name):
    cc, bcc, to, other = dying(channel, name, **{"x-dead-letter-routing-key": name + "other"})
    publish(channel, to, "amq.direct", CC=[cc], BCC=[bcc])
    die(channel, name)
    assert keys_of_death(channel, other) == ([to, cc], other, None)
    assert [drain(channel, queue) for queue in (to, cc, bcc)] == [[], [], []]


@pytest.mark.ours
def test_blind_copies_are_known_after_a_crash(start_broker, open_channel, name):
    broker = start_broker()
    channel = open_channel(broker)
    cc, bcc, to, _ = dying(channel, name, durable=True)
    channel.confirm_delivery()
    headers = {"CC": [cc], "BCC": [bcc]}
    channel.basic_publish("amq.direct", to, b"x", pika.BasicProperties(headers=headers, delivery_mode=2))
    channel.connection.close()
    broker.kill9()
    channel = open_channel(broker.start())
    cc, bcc, to, _ = dying(channel, name, durable=True)
    die(channel, name)
    assert keys_of_death(channel, bcc) == ([to, cc], to, [cc])
