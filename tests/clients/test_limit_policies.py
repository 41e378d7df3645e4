"""Length limits by policies and operator policies, at start and at SIGHUP, on queues that are full (amqp.md Q3, S1)."""

import json

import pika
import pytest

from tests.clients.broker import until
from tests.clients.deliveries import depth, drain, fill
from tests.clients.test_policies import operator_policy, policy, reload

pytestmark = pytest.mark.ours


def numbers(count, first=0):
    return [b"%04d" % number for number in range(first, first + count)]


def bodies(channel, queue):
    return [each.body for each in drain(channel, queue)]


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "transient"])
@pytest.mark.parametrize("definition", [{"max-length": 10}, {"max-length-bytes": 40}], ids=["messages", "bytes"])
def test_a_limit_that_comes_is_kept_and_one_that_goes_is_forgotten(start_broker, open_channel, definition, durable):
    broker = start_broker(definitions={})
    channel = open_channel(broker)
    channel.queue_declare("q", durable=durable)
    fill(channel, "q", numbers(3000), delivery_mode=2)
    tags = [channel.basic_get("q")[0].delivery_tag for _ in range(2)]
    reload(broker, policies=[policy("p", "^q$", definition)])
    until(lambda: depth(channel, "q") == 10, what="10 messages")
    for tag in tags:
        channel.basic_nack(tag)
    assert depth(channel, "q") == 10
    fill(channel, "q", numbers(2, first=3000), delivery_mode=2)
    assert bodies(channel, "q") == numbers(10, first=2992)
    reload(broker)
    fill(channel, "q", numbers(20), delivery_mode=2)
    assert bodies(channel, "q") == numbers(20)


def test_the_least_of_argument_policy_and_operator_policy_counts(start_broker, open_channel):
    mine = policy("p", "", {"max-length": 7, "max-length-bytes": 1000})
    lower = operator_policy("o", "^low", {"max-length": 3})
    broker = start_broker(definitions={"policies": [mine], "parameters": [lower]})
    channel = open_channel(broker)
    kept = {}
    for queue, arguments in (("own", {"x-max-length": 5}), ("its", {"x-max-length": 9}), ("plain", {}), ("low", {})):
        channel.queue_declare(queue, arguments=arguments)
        fill(channel, queue, numbers(20))
        kept[queue] = depth(channel, queue)
    assert kept == {"own": 5, "its": 7, "plain": 7, "low": 3}
    reload(broker, policies=[policy("p", "", {"max-length-bytes": 8})], parameters=[lower])
    until(lambda: {queue: depth(channel, queue) for queue in kept} == dict.fromkeys(kept, 2))


def test_what_happens_to_a_full_queue_is_a_policy_s_to_say_unless_an_argument_does(start_broker, open_channel):
    broker = start_broker(definitions={"policies": [policy("p", "plain|own", {"max-length": 2})]})
    channel = open_channel(broker)
    channel.confirm_delivery()
    channel.queue_declare("dead")
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue_declare("plain", arguments=letters)
    channel.queue_declare("own", arguments={"x-overflow": "drop-head"})

    def publish(queue, count=1):
        told = []
        for body in numbers(count):
            try:
                channel.basic_publish("", queue, body)
                told.append(True)
            except pika.exceptions.NackError:
                told.append(False)
        return told

    def letters_become(count):
        until(lambda: depth(channel, "dead") == count, what=f"{count} letters")

    assert publish("plain", 3) == [True] * 3
    letters_become(1)
    limit = {"max-length": 2, "overflow": "reject-publish"}
    reload(broker, policies=[policy("p", "plain|own", limit)])
    assert (publish("plain"), publish("own", 4)) == ([False], [True] * 4)
    reload(broker, policies=[policy("p", "plain|own", {**limit, "overflow": "reject-publish-dlx"})])
    assert publish("plain") == [False]
    letters_become(2)
    reload(broker, policies=[policy("p", "plain|own", {"max-length": 1, "overflow": "reject-publish"})])
    assert (depth(channel, "plain"), publish("plain")) == (2, [False]), "what is there stays, what comes does not"
    reload(broker, policies=[policy("p", "plain|own", {"max-length": 1})])
    until(lambda: depth(channel, "plain") == 1)
    letters_become(3)
    reload(broker)
    assert publish("plain", 3) == [True] * 3 and depth(channel, "plain") == 4


def test_a_policy_that_came_while_the_broker_was_down_is_kept_by_what_comes_back(start_broker, open_channel):
    broker = start_broker(definitions={})
    channel = open_channel(broker)
    for queue in ("few", "small"):
        channel.queue_declare(queue, durable=True)
        fill(channel, queue, numbers(1200), delivery_mode=2)
    channel.connection.close()
    broker.stop()
    limits = [policy("few", "few", {"max-length": 5}), policy("small", "small", {"max-length-bytes": 20})]
    (broker.folder / "definitions.json").write_text(json.dumps({"policies": limits}))
    channel = open_channel(broker.start())
    for queue in ("few", "small"):
        until(lambda queue=queue: depth(channel, queue) == 5)
        assert bodies(channel, queue) == numbers(5, first=1195)


def test_the_metrics_count_what_limits_cost(start_broker, open_channel):
    broker = start_broker(definitions={})
    channel = open_channel(broker)
    channel.queue_declare("drops", arguments={"x-max-length": 2})
    channel.queue_declare("refuses", arguments={"x-max-length": 2, "x-overflow": "reject-publish"})

    def fates():
        family = "mq_messages_over_limit_total"
        return [broker.metric(f'{family}{{fate="{fate}"}}') for fate in ("dropped", "refused")]

    assert fates() == [0, 0]
    for number, queue in enumerate(("drops", "refuses")):
        for body in numbers(5 + number):
            channel.basic_publish("", queue, body)
        assert depth(channel, queue) == 2
    assert fates() == [3, 4]
    channel.queue_delete("drops")
    channel.queue_delete("refuses")
    assert fates() == [3, 4]


def test_an_operator_s_overflow_counts_before_a_policy_s_and_for_quorum_queues_before_an_argument_s(
    start_broker, open_channel
):
    drops = policy("p", "", {"max-length": 3, "overflow": "drop-head"})
    refuses = operator_policy("o", "", {"overflow": "reject-publish"})
    broker = start_broker(definitions={"policies": [drops], "parameters": [refuses]})
    channel = open_channel(broker)
    mine = {"x-overflow": "drop-head"}
    declared = {"plain": {}, "own": mine, "quorum": {"x-queue-type": "quorum", **mine}}
    for queue, arguments in declared.items():
        channel.queue_declare(queue, durable=True, arguments=arguments)
        for body in numbers(5):
            channel.basic_publish("", queue, body)
    kept = {"plain": numbers(3), "own": numbers(3, first=2), "quorum": numbers(3)}
    assert {queue: bodies(channel, queue) for queue in declared} == kept
