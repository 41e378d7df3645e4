"""Publishing: mandatory and return, confirms and their order (amqp.md E14, P1)."""

import pika
import pytest
from pika import spec

from tests.clients.deliveries import Inbox, drain, fill, pump
from tests.clients.raw import decode_method, encode_content, encode_method

BURST = 2000


def test_an_unroutable_mandatory_message_comes_back_whole(connection, channel, name):
    returned = []
    channel.add_on_return_callback(lambda *each: returned.append(each[1:]))
    properties = pika.BasicProperties(message_id="m", headers={"a": 1}, delivery_mode=2)
    channel.basic_publish("amq.direct", name, b"back", properties, mandatory=True)
    pump(connection, lambda: returned)
    method, kept, body = returned[0]
    assert (method.reply_code, method.reply_text) == (312, "NO_ROUTE")
    assert (method.exchange, method.routing_key, body) == ("amq.direct", name, b"back")
    assert (kept.message_id, kept.headers, kept.delivery_mode) == ("m", {"a": 1}, 2)


def test_an_unroutable_message_without_mandatory_is_dropped_and_confirmed(channel, name):
    channel.confirm_delivery()
    channel.basic_publish("amq.direct", name, b"dropped")


def test_a_routed_mandatory_message_does_not_come_back(channel, name):
    channel.queue_declare(name, exclusive=True)
    channel.confirm_delivery()
    channel.basic_publish("", name, b"kept", mandatory=True)
    assert [each.body for each in drain(channel, name)] == [b"kept"]


def test_the_return_comes_before_its_confirm(raw, name):
    client = raw().open()
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    client.send_method(spec.Basic.Publish(exchange="", routing_key=name, mandatory=True), 1)
    client.send(encode_content(1, b"back"))
    assert client.expect(spec.Basic.Return, 1).routing_key == name
    assert client.read_content()[1] == b"back"
    ack = client.expect(spec.Basic.Ack, 1)
    assert (ack.delivery_tag, ack.multiple) == (1, False)


@pytest.mark.parametrize("durable", [False, True], ids=["transient", "durable"])
def test_a_burst_is_confirmed_completely_each_tag_once_per_channel_from_one(raw, name, durable):
    client = raw().open()
    client.call(spec.Queue.Declare(queue=name, durable=durable), spec.Queue.DeclareOk)
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    properties = b"\x10\x00\x02"  # delivery mode 2
    one = encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + encode_content(1, b"m" * 50, properties)
    client.send(one * BURST)
    open_tags = set(range(1, BURST + 1))
    while open_tags:
        ack = client.expect(spec.Basic.Ack, 1)
        settled = {tag for tag in open_tags if tag <= ack.delivery_tag} if ack.multiple else {ack.delivery_tag}
        assert settled <= open_tags, f"confirmed twice or never published: {ack}"
        assert ack.delivery_tag in settled
        open_tags -= settled
    client.call(spec.Queue.Purge(queue=name), spec.Queue.PurgeOk)
    client.call(spec.Queue.Delete(queue=name), spec.Queue.DeleteOk)


@pytest.mark.ours  # RabbitMQ coalesces too, but by its own rhythm
def test_the_confirms_of_a_burst_are_coalesced(raw, name):
    client = raw().open()
    client.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    one = encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + encode_content(1, b"m")
    client.send(one * BURST)
    answers, last = 0, 0
    while last < BURST:
        last = client.expect(spec.Basic.Ack, 1).delivery_tag
        answers += 1
    assert answers < BURST / 10


def test_each_channel_counts_its_own_confirms(raw, name):
    client = raw().open()
    client.open_channel(2)
    for number in (1, 2):
        client.call(spec.Confirm.Select(), spec.Confirm.SelectOk, number)
    for number in (1, 2):
        client.send_method(spec.Basic.Publish(exchange="", routing_key=name), number)
        client.send(encode_content(number, b"x"))
    frames = [client.read_frame() for _ in range(2)]
    assert {(each.channel, decode_method(each.payload).delivery_tag) for each in frames} == {(1, 1), (2, 1)}


def test_confirm_select_twice_changes_nothing(raw, name):
    client = raw().open()
    for tag in (1, 2):
        client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
        client.send_method(spec.Basic.Publish(exchange="", routing_key=name), 1)
        client.send(encode_content(1, b"x"))
        assert client.expect(spec.Basic.Ack, 1).delivery_tag == tag


def test_publishes_before_confirm_select_do_not_count(raw, name):
    client = raw().open()
    publish = encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + encode_content(1, b"x")
    client.send(publish)
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    client.send(publish)
    assert client.expect(spec.Basic.Ack, 1).delivery_tag == 1


def test_one_message_to_many_queues_is_confirmed_once(raw, name):
    client = raw().open()
    client.call(spec.Exchange.Declare(exchange=name, type="fanout", auto_delete=True), spec.Exchange.DeclareOk)
    for durable in (False, True, False):
        declare = spec.Queue.Declare(exclusive=not durable, durable=durable)
        queue = client.call(declare, spec.Queue.DeclareOk).queue
        client.call(spec.Queue.Bind(queue=queue, exchange=name), spec.Queue.BindOk)
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    client.send_method(spec.Basic.Publish(exchange=name, routing_key=""), 1)
    client.send(encode_content(1, b"x", b"\x10\x00\x02"))
    assert client.expect(spec.Basic.Ack, 1).delivery_tag == 1
    assert client.serves()  # and no other ack before this answer
    client.send_method(spec.Exchange.Delete(exchange=name), 1)


def test_order_is_kept_from_one_publisher_to_one_consumer(connection, channel, name):
    channel.queue_declare(name, exclusive=True)
    inbox = Inbox()
    channel.basic_consume(name, inbox, auto_ack=True)
    sent = [b"%06d" % each for each in range(BURST)]
    publishing = connection.channel()
    for body in sent:
        publishing.basic_publish("", name, body)
    assert inbox.wait(connection, BURST, 30) == sent


def test_order_is_kept_through_a_durable_queue(channel, name):
    channel.queue_declare(name, durable=True)
    sent = [b"%06d" % each for each in range(200)]
    fill(channel, name, sent, delivery_mode=2)
    assert [each.body for each in drain(channel, name)] == sent
    channel.queue_delete(name)
