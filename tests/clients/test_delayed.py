"""Delayed messages: the exchange type of RabbitMQ's plugin, and the header x-delay on any exchange."""

import time

import pika
import pytest

from tests.clients.broker import parameters, until
from tests.clients.deliveries import Inbox, drain

pytestmark = pytest.mark.ours  # the plugin is not part of RabbitMQ
LATE_SECONDS = 1.0  # a loaded machine; how exact the timer is, tests/core/test_delays.py asks


def properties(delay, **others):
    return pika.BasicProperties(headers={"x-delay": delay}, delivery_mode=2, **others)


@pytest.fixture
def queue(channel, name):
    return channel.queue_declare(name, exclusive=True).method.queue


@pytest.fixture
def delayed(channel, name, queue):
    """An x-delayed-message exchange of type direct, bound to the queue by the key `k`."""
    channel.exchange_declare(name, "x-delayed-message", auto_delete=True, arguments={"x-delayed-type": "direct"})
    channel.queue_bind(queue, name, "k")
    return name


def consume(channel, queue, count, seconds=10):
    """(seconds since the call, body, headers) of `count` deliveries."""
    got, start = [], time.monotonic()
    for _, each, body in channel.consume(queue, auto_ack=True, inactivity_timeout=seconds):
        assert body is not None, f"{len(got)} of {count} messages within {seconds} s"
        got.append((time.monotonic() - start, body, each.headers))
        if len(got) == count:
            break
    channel.cancel()
    return got


@pytest.mark.parametrize("anywhere", [False, True])
def test_messages_arrive_when_their_delay_is_over_marked_as_delayed(channel, delayed, queue, anywhere):
    exchange, key = ("", queue) if anywhere else (delayed, "k")
    channel.confirm_delivery()
    for delay in (600, 200, 400):
        channel.basic_publish(exchange, key, b"%d" % delay, properties(delay), mandatory=True)
    channel.basic_publish(exchange, key, b"at once", pika.BasicProperties(headers={"a": 1}))
    got = consume(channel, queue, 4)
    assert [body for _, body, _ in got] == [b"at once", b"200", b"400", b"600"]
    assert [headers.get("x-delay") for _, _, headers in got] == [None, -200, -400, -600]
    assert 0.4 < got[3][0] < 0.6 + LATE_SECONDS


@pytest.mark.parametrize("delay", [0, -1000, "soon", True, 1 << 60, None])
def test_what_is_no_delay_does_not_wait_and_stays_as_it_is(channel, delayed, queue, delay):
    channel.basic_publish(delayed, "k", b"x", properties(delay))
    ((_, _, headers),) = consume(channel, queue, 1, seconds=2)
    assert headers == {"x-delay": delay}


def test_digits_are_a_delay(channel, delayed, queue):
    channel.basic_publish(delayed, "k", b"x", properties("200"))
    assert channel.queue_declare(queue, passive=True).method.message_count == 0
    assert consume(channel, queue, 1)[0][2] == {"x-delay": -200}


def test_it_is_routed_when_it_is_due(channel, delayed, queue):
    channel.queue_unbind(queue, delayed, "k")
    channel.exchange_declare(delayed, "x-delayed-message", auto_delete=True, arguments={"x-delayed-type": "direct"})
    channel.basic_publish(delayed, "later", b"x", properties(300))
    channel.queue_bind(queue, delayed, "later")
    assert consume(channel, queue, 1)[0][1] == b"x"


def test_a_delayed_message_is_not_returned(channel, delayed):
    """As the plugin documents, mandatory is not for delayed messages: what will be there then, nobody knows."""
    returned = Inbox()
    channel.add_on_return_callback(returned)
    channel.confirm_delivery()
    channel.basic_publish(delayed, "nowhere", b"x", properties(60_000), mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(delayed, "nowhere", b"x", properties(0), mandatory=True)


def test_the_types_arguments_are_checked(connection, name):
    def declare(**arguments):
        connection.channel().exchange_declare(name, "x-delayed-message", arguments=arguments)

    for arguments, text in (
        ({}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
        (
            {"x-delayed-type": "x-delayed-message"},
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
        ),
    ):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
            declare(**arguments)
        assert (refusal.value.reply_code, refusal.value.reply_text) == (406, f"PRECONDITION_FAILED - {text}")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as refusal:
        declare(**{"x-delayed-type": "zz"})
    assert (refusal.value.reply_code, refusal.value.reply_text) == (503, "COMMAND_INVALID - unknown exchange type 'zz'")


def test_the_header_can_be_left_to_the_exchange_type(start_broker, name):
    broker = start_broker("amqp.delay_anywhere=false")
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.queue_declare(name)
    channel.exchange_declare("d", "x-delayed-message", arguments={"x-delayed-type": "fanout"})
    channel.queue_bind(name, "d")
    channel.confirm_delivery()
    channel.basic_publish("", name, b"at once", properties(60_000))
    channel.basic_publish("d", "", b"later", properties(60_000))
    assert [each.body for each in drain(channel, name)] == [b"at once"]
    connection.close()


@pytest.fixture
def relay(start_broker, name):
    """A channel of a broker on which the header delays in exchanges of that type only: to a fanout exchange `entry` are
    bound the queue `now` and an x-delayed-message exchange, and to that one the queue `later`."""
    broker = start_broker("amqp.delay_anywhere=false")
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.exchange_declare("entry", "fanout", durable=True)
    channel.exchange_declare("d", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
    channel.exchange_bind("d", "entry")
    for queue, exchange in (("now", "entry"), ("later", "d")):
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, exchange, "k")
    yield channel
    connection.close()


@pytest.mark.parametrize("transacting", [False, True])
def test_one_that_comes_to_such_an_exchange_through_another_waits_there_and_goes_on(relay, transacting):
    """As with the plugin: its exchange alone has it wait, others let it through, and it stays what was published."""
    if transacting:
        relay.tx_select()
    else:
        relay.confirm_delivery()
    relay.basic_publish("entry", "k", b"undelayed", pika.BasicProperties(headers={"x-delay": 0}))
    relay.basic_publish("entry", "k", b"x", properties(300, expiration="60000"), mandatory=True)
    if transacting:
        relay.tx_commit()
    at_once = [each.body for each in drain(relay, "now")]
    early = [each.body for each in drain(relay, "later")]
    method, headers = next((method, each.headers) for method, each, _ in relay.consume("later", inactivity_timeout=10))
    assert (at_once, early) == ([b"undelayed", b"x"], [b"undelayed"])
    assert (method.exchange, method.routing_key, headers) == ("entry", "k", {"x-delay": -300})
    assert drain(relay, "now") == []


def test_one_that_such_an_exchange_alone_takes_is_confirmed_and_not_given_back(relay):
    relay.exchange_unbind("d", "entry")
    relay.exchange_declare("other", "fanout")
    relay.exchange_bind("d", "other")
    relay.confirm_delivery()
    headers = {"x-delay": 100, "BCC": ["k"]}
    relay.basic_publish("other", "z", b"x", pika.BasicProperties(headers=headers), mandatory=True)
    assert consume(relay, "later", 1)[0][1:] == (b"x", {"x-delay": -100})
    with pytest.raises(pika.exceptions.UnroutableError):
        relay.basic_publish("d", "z", b"x", pika.BasicProperties(headers={}), mandatory=True)


def test_a_dead_letter_waits_there_too(relay):
    letters = {"x-dead-letter-exchange": "entry", "x-dead-letter-routing-key": "k"}
    relay.queue_declare("dying", durable=True, arguments=letters)
    relay.basic_publish("", "dying", b"x", properties(300))
    relay.basic_reject(relay.basic_get("dying")[0].delivery_tag, requeue=False)
    relay.queue_declare("dying", passive=True)
    until(lambda: ready(relay, "now") == 1)
    assert (ready(relay, "later"), ready(relay, "dying")) == (0, 0)
    ((_, body, headers),) = consume(relay, "later", 1)
    assert (body, headers["x-delay"], headers["x-death"][0]["queue"]) == (b"x", -300, "dying")
    assert ready(relay, "now") == 1


def test_a_confirmed_one_survives_a_kill_and_what_is_overdue_comes_at_start(start_broker, name):
    broker = start_broker()
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    for delay in (700, 300, 500, 3_600_000):
        channel.basic_publish("", name, b"%d" % delay, properties(delay))
    broker.kill9()
    broker.start()
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    assert [body for _, body, _ in consume(channel, name, 3)] == [b"300", b"500", b"700"]
    until(lambda: channel.queue_declare(name, passive=True).method.message_count == 0)
    connection.close()


# -- with everything else


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


@pytest.mark.parametrize("kind", ["", "direct", "topic"])
def test_all_its_keys_count_when_it_is_due_and_blind_ones_are_not_seen(channel, name, kind):
    to, cc, bcc = (channel.queue_declare(name + end, exclusive=True).method.queue for end in ("to", "cc", "bcc"))
    if kind:
        arguments = {"x-delayed-type": kind}
        channel.exchange_declare(name, "x-delayed-message", auto_delete=True, arguments=arguments)
        for queue in (to, cc, bcc):
            channel.queue_bind(queue, name, queue)
    headers = {"CC": [cc], "BCC": [bcc, to], "x-delay": 100, "n": 1}
    for _ in range(2):  # the second one's headers are known
        channel.basic_publish(name if kind else "", to, b"x", pika.BasicProperties(headers=headers))
    for queue in (to, cc, bcc):
        got = consume(channel, queue, 2)
        assert [each for _, _, each in got] == [{"CC": [cc], "x-delay": -100, "n": 1}] * 2
    assert [ready(channel, queue) for queue in (to, cc, bcc)] == [0, 0, 0]


def test_an_alternate_takes_it_when_it_is_due(channel, name, queue):
    channel.exchange_declare(name + "a", "fanout", auto_delete=True)
    channel.queue_bind(queue, name + "a")
    arguments = {"x-delayed-type": "direct", "alternate-exchange": name + "a"}
    channel.exchange_declare(name, "x-delayed-message", arguments=arguments)
    channel.basic_publish(name, "nobody", b"x", properties(300))
    assert ready(channel, queue) == 0
    assert consume(channel, queue, 1)[0][2] == {"x-delay": -300}
    channel.exchange_delete(name)


@pytest.mark.parametrize("kind", ["fanout", "x-recent-history", "x-random", "x-modulus-hash", "x-consistent-hash"])
def test_it_is_routed_as_its_type_says(channel, name, queue, kind):
    arguments = {"x-delayed-type": kind}
    channel.exchange_declare(name, "x-delayed-message", auto_delete=True, arguments=arguments)
    channel.queue_bind(queue, name, "1")
    channel.basic_publish(name, "k", b"x", properties(100))
    assert consume(channel, queue, 1)[0][2] == {"x-delay": -100}
    late = channel.queue_declare(name + "late", exclusive=True).method.queue
    channel.queue_bind(late, name, "1")
    assert ready(channel, late) == (1 if kind == "x-recent-history" else 0)


def test_a_transaction_s_messages_wait_from_its_commit(connection, name, queue):
    transacted, reader = connection.channel(), connection.channel()
    transacted.tx_select()
    transacted.basic_publish("", queue, b"rolled back", properties(1))
    transacted.tx_rollback()
    transacted.basic_publish("", queue, b"committed", properties(300))
    before = time.monotonic()
    transacted.tx_commit()
    ((_, body, _),) = consume(reader, queue, 1)
    assert body == b"committed" and time.monotonic() - before >= 0.295
    assert ready(reader, queue) == 0


def test_a_non_persistent_one_is_confirmed_waits_and_stays_so(channel, queue):
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"x", pika.BasicProperties(headers={"x-delay": 100}, delivery_mode=1))
    assert consume(channel, queue, 1)[0][1] == b"x"


def test_a_dead_letter_waits_in_an_exchange_of_this_type_once(start_broker, name):
    """A retry: as with the plugin, x-delay on any message counts where it comes to such an exchange."""
    channel = pika.BlockingConnection(parameters(start_broker("amqp.delay_anywhere=false"))).channel()
    channel.exchange_declare("retry", "x-delayed-message", arguments={"x-delayed-type": "direct"})
    dead_letters = {"x-dead-letter-exchange": "retry", "x-dead-letter-routing-key": "again"}
    channel.queue_declare(name, arguments=dead_letters)
    channel.queue_bind(name, "retry", "again")
    channel.basic_publish("", name, b"x", properties(300))
    delays, times = [], []
    for method, each, _ in channel.consume(name, inactivity_timeout=10):
        assert method is not None, "it came back"
        delays.append(each.headers["x-delay"])
        times.append(time.monotonic())
        if len(delays) == 3:
            break
        channel.basic_reject(method.delivery_tag, requeue=False)
    assert delays == [300, -300, -300]
    assert times[1] - times[0] >= 0.295
    channel.connection.close()


def test_no_policy_is_for_what_waits(start_broker, name):
    definition = {"message-ttl": 1, "expires": 1, "dead-letter-exchange": "", "dead-letter-routing-key": name}
    policy = {"vhost": "/", "name": "p", "pattern": "^amq[.]", "definition": definition, "priority": 0}
    broker = start_broker(definitions={"policies": [policy]})
    channel = pika.BlockingConnection(parameters(broker)).channel()
    channel.queue_declare(name)
    channel.queue_declare("other")
    channel.basic_publish("", "other", b"x", properties(500))
    assert consume(channel, "other", 1)[0][1] == b"x"
    assert ready(channel, name) == 0
    channel.connection.close()


def test_the_metrics_count_them(start_broker, name):
    broker = start_broker()

    channel = pika.BlockingConnection(parameters(broker)).channel()
    channel.queue_declare(name)
    channel.confirm_delivery()
    for delay in (60_000, 50, 60_000):
        channel.basic_publish("", name, b"x", properties(delay))
    until(lambda: broker.metric("mq_delayed_messages_fired_total") == 1)
    assert broker.metric("mq_messages_delayed") == 2
    assert (broker.metric("rabbitmq_queues"), broker.metric("rabbitmq_queue_messages_ready")) == (1, 1)
    channel.connection.close()
