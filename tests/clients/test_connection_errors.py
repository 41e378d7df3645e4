"""Refusals that end the whole connection (amqp.md §2): exact code and text."""

import pika
import pytest
from pika import spec

from tests.clients.raw import RawConnection, encode_content, encode_method

ROWS = {
    "an unknown exchange type": (
        [spec.Exchange.Declare(exchange="{n}", type="zz")],
        503,
        "COMMAND_INVALID - unknown exchange type 'zz'",
        (40, 10),
    ),
    "immediate publish": (
        [spec.Basic.Publish(exchange="", routing_key="k", immediate=True), b"x"],
        540,
        "NOT_IMPLEMENTED - immediate=true",
        (60, 40),
    ),
    "prefetch size": (
        [spec.Basic.Qos(prefetch_size=10)],
        540,
        "NOT_IMPLEMENTED - prefetch_size!=0 (10)",
        (60, 10),
    ),
    "recover without requeue": (
        [spec.Basic.Recover(requeue=False)],
        540,
        "NOT_IMPLEMENTED - requeue=false",
        (60, 110),
    ),
    "recover-async without requeue": (
        [spec.Basic.RecoverAsync(requeue=False)],
        540,
        "NOT_IMPLEMENTED - requeue=false",
        (60, 100),
    ),
    "flow off": ([spec.Channel.Flow(active=False)], 540, "NOT_IMPLEMENTED - active=false", (20, 20)),
    "a consumer tag twice": (
        [
            spec.Queue.Declare(queue="{n}", exclusive=True, nowait=True),
            spec.Basic.Consume(queue="{n}", consumer_tag="t", nowait=True),
            spec.Basic.Consume(queue="{n}", consumer_tag="t"),
        ],
        530,
        "NOT_ALLOWED - attempt to reuse consumer tag 't'",
        (60, 20),
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_the_connection_is_closed_with_code_text_and_the_method(raw, name, case):
    methods, code, text, ids = ROWS[case]
    client, other = raw().open(), raw().open()
    for method in methods:
        if isinstance(method, bytes):
            client.send(encode_content(1, method))
            continue
        for field in ("exchange", "queue"):
            if getattr(method, field, None) == "{n}":
                setattr(method, field, name)
        client.send(encode_method(method, 1))
    close = client.expect(spec.Connection.Close, 0)
    assert (close.reply_code, close.reply_text, (close.class_id, close.method_id)) == (code, text, ids)
    client.send_method(spec.Connection.CloseOk())
    assert client.read_frame() is None
    assert other.serves()


def test_pika_shows_code_and_text_of_a_connection_error(connection, name):
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as refusal:
        connection.channel().exchange_declare(name, "no-such-type")
    assert (refusal.value.reply_code, refusal.value.reply_text) == (
        503,
        "COMMAND_INVALID - unknown exchange type 'no-such-type'",
    )


def test_flow_on_is_answered(raw):
    client = raw().open()
    assert client.call(spec.Channel.Flow(active=True), spec.Channel.FlowOk).active


def test_a_new_secret_is_taken(raw):
    client = raw().open()
    client.send_method(spec.Connection.UpdateSecret(new_secret="guest", reason="renewed"))
    client.expect(spec.Connection.UpdateSecretOk, 0)
    assert client.serves()


@pytest.mark.ours
def test_a_message_above_the_limit_closes_its_channel(start_broker):
    client = RawConnection(start_broker("limits.message_bytes=1000").port).open()
    client.send_method(spec.Basic.Publish(exchange="", routing_key="q"), 1)
    client.send(encode_content(1, bytes(1001)))
    close = client.expect(spec.Channel.Close, 1)
    text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000"
    assert (close.reply_code, close.reply_text) == (406, text)
    client.close()
