"""Policies and operator policies from the definitions file, at start and at SIGHUP (amqp.md S1, E7)."""

import json
import os
import signal

import pika
import pytest

from tests.clients.broker import until

pytestmark = pytest.mark.ours


def policy(name, pattern, definition, apply_to="all", priority=0):
    return {
        "vhost": "/",
        "name": name,
        "pattern": pattern,
        "apply-to": apply_to,
        "priority": priority,
        "definition": definition,
    }


def operator_policy(name, pattern, definition):
    value = {"pattern": pattern, "definition": definition, "priority": 0, "apply-to": "queues"}
    return {"component": "operator_policy", "vhost": "/", "name": name, "value": value}


def reload(broker, **definitions):
    """Write other definitions and have the broker read them."""
    before = broker.log.count("definitions applied")
    (broker.folder / "definitions.json").write_text(json.dumps(definitions))
    os.kill(broker.pid, signal.SIGHUP)
    until(lambda: broker.log.count("definitions applied") > before, what="reload")


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


@pytest.mark.parametrize("durable", [True, False])
def test_the_lesser_ttl_of_argument_policy_and_operator_policy_counts(start_broker, open_channel, durable):
    low, high = policy("low", "^t-", {"expires": 1}), policy("p", "^t-", {"message-ttl": 60_000}, "queues", 1)
    operator = operator_policy("o", "^t-short", {"message-ttl": 50})
    broker = start_broker(definitions={"policies": [low, high], "parameters": [operator]})
    channel = open_channel(broker)
    hour = {"x-message-ttl": 3_600_000}
    for name in ("t-short", "t-long", "other"):
        channel.queue_declare(name, durable=durable, arguments=hour)
        channel.basic_publish("", name, b"x", pika.BasicProperties(delivery_mode=2))
    until(lambda: ready(channel, "t-short") == 0)
    assert (ready(channel, "t-long"), ready(channel, "other")) == (1, 1)
    channel.queue_declare("t-short", durable=durable, arguments=hour)  # what it was declared with stays what it was


def test_a_reload_reaches_queues_that_are_there_at_once(start_broker, open_channel):
    broker = start_broker(definitions={})
    channel = open_channel(broker)
    for name in ("gone", "kept"):
        channel.queue_declare(name, durable=True)
    reload(broker, policies=[policy("p", "^gone$", {"expires": 50})])
    prober = open_channel(broker)
    prober.confirm_delivery()

    def gone():
        try:
            prober.basic_publish("", "gone", b"x", mandatory=True)  # unlike a declare, no use of the queue
        except pika.exceptions.UnroutableError:
            return True
        return False

    until(gone)
    assert ready(channel, "kept") == 0
    reload(broker, policies=[policy("p", "^kept$", {"message-ttl": 0})])
    channel.basic_publish("", "kept", b"x")
    until(lambda: ready(channel, "kept") == 0)
    reload(broker)
    channel.basic_publish("", "kept", b"x")
    assert ready(channel, "kept") == 1


@pytest.mark.parametrize("durable", [True, False])
def test_another_ttl_is_for_messages_that_come_then_and_they_may_overtake(start_broker, open_channel, durable):
    """As in RabbitMQ, whose messages carry their time."""
    broker = start_broker(definitions={"policies": [policy("p", "^q$", {"message-ttl": 60_000})]})
    channel = open_channel(broker)
    channel.queue_declare("q", durable=durable)
    channel.confirm_delivery()

    def publish(body):
        channel.basic_publish("", "q", body, pika.BasicProperties(delivery_mode=2))

    publish(b"minute")
    reload(broker, policies=[policy("p", "^q$", {"message-ttl": 300})])
    publish(b"lower")
    assert ready(channel, "q") == 2
    until(lambda: ready(channel, "q") == 1)
    publish(b"kept its time")
    reload(broker)
    publish(b"for ever")
    until(lambda: ready(channel, "q") == 2)
    assert [channel.basic_get("q", auto_ack=True)[2] for _ in range(2)] == [b"minute", b"for ever"]


def test_a_restart_brings_queues_up_with_their_policies(start_broker, open_channel):
    broker = start_broker(definitions={"policies": [policy("p", "", {"message-ttl": 0}, "classic_queues")]})
    channel = open_channel(broker)
    channel.queue_declare("q", durable=True)
    channel.connection.close()
    channel = open_channel(broker.restart())
    channel.confirm_delivery()
    channel.basic_publish("", "q", b"x", pika.BasicProperties(delivery_mode=2))
    until(lambda: ready(channel, "q") == 0)


def test_an_alternate_exchange_by_policy_comes_and_goes_and_an_argument_wins(start_broker, open_channel):
    broker = start_broker(definitions={})
    channel = open_channel(broker)
    channel.confirm_delivery()
    for name, arguments in (("plain", None), ("own", {"alternate-exchange": "mine"}), ("its", None), ("mine", None)):
        channel.exchange_declare(name, "fanout", arguments=arguments)
    for exchange in ("its", "mine"):
        channel.queue_declare(f"{exchange}-q")
        channel.queue_bind(f"{exchange}-q", exchange)

    def publish(exchange):
        channel.basic_publish(exchange, "key", b"x", mandatory=True)

    with pytest.raises(pika.exceptions.UnroutableError):
        publish("plain")
    alternate = policy("ae", "^plain$|^own$|^amq.direct$", {"alternate-exchange": "its"}, "exchanges")
    reload(broker, policies=[alternate])
    for exchange in ("plain", "own", "amq.direct"):
        publish(exchange)
    assert (ready(channel, "its-q"), ready(channel, "mine-q")) == (2, 1)
    reload(broker)
    with pytest.raises(pika.exceptions.UnroutableError):
        publish("plain")


def test_a_file_that_cannot_be_changes_nothing_and_says_which_policy_it_is(start_broker, open_channel):
    broker = start_broker(definitions={"policies": [policy("p", "", {"message-ttl": 0})]})
    channel = open_channel(broker)
    channel.queue_declare("q")
    wrong = {"policies": [policy("bad", "", {"message-ttl": -1})]}
    (broker.folder / "definitions.json").write_text(json.dumps(wrong))
    os.kill(broker.pid, signal.SIGHUP)
    until(lambda: "policy 'bad' in vhost '/': -1 is not a valid message TTL" in broker.log)
    channel.basic_publish("", "q", b"x")
    until(lambda: ready(channel, "q") == 0)


def test_what_has_no_effect_is_told_in_the_log(start_broker):
    broker = start_broker(definitions={"policies": [policy("ha", "", {"ha-mode": "all", "expires": 5000})]})
    assert "policy 'ha' in vhost '/': ha-mode" in broker.log
