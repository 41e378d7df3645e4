"""The properties and every field-table type, octet for octet (amqp.md E15)."""

import datetime
import struct

import pika
import pytest
from pika import spec

from tests.clients.deliveries import drain, fill
from tests.clients.octets import ALL_PROPERTIES, FIELDS, long, short
from tests.clients.raw import encode_content, encode_method


def round_trip(client, queue: str, properties: bytes, durable: bool) -> bytes:
    """Publish with these property octets and return those that come back."""
    client.call(spec.Queue.Declare(queue=queue, durable=durable), spec.Queue.DeclareOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=queue), 1))
    client.send(encode_content(1, b"body", properties))
    client.send_method(spec.Basic.Get(queue=queue, no_ack=True), 1)
    client.expect(spec.Basic.GetOk, 1)
    got, body = client.read_content()
    assert body == b"body"
    client.call(spec.Queue.Delete(queue=queue), spec.Queue.DeleteOk)
    return got


@pytest.mark.parametrize("durable", [False, True], ids=["transient", "durable"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_header_field_keeps_its_type_and_value(raw, name, field, durable):
    properties = struct.pack(">H", 0x2000) + long(short("key") + FIELDS[field])
    assert round_trip(raw().open(), name, properties, durable) == properties


@pytest.mark.parametrize("durable", [False, True], ids=["transient", "durable"])
def test_all_properties_come_back_as_they_were(raw, name, durable):
    assert round_trip(raw().open(), name, ALL_PROPERTIES, durable) == ALL_PROPERTIES


def test_each_property_alone_comes_back_through_pika(channel, name):
    channel.queue_declare(name, exclusive=True)
    values = {
        "content_type": "text/plain",
        "content_encoding": "utf-8",
        "headers": {"a": 1, "b": [1, "x", {"c": None}], "d": datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC)},
        "delivery_mode": 1,
        "priority": 0,
        "correlation_id": "c" * 255,
        "reply_to": "r",
        "message_id": "",
        "timestamp": 0,
        "type": "größe",
        "user_id": "guest",
        "app_id": "a",
        "cluster_id": "k",
    }
    for key, value in values.items():
        fill(channel, name, [b""], **{key: value})
        (got,) = drain(channel, name)
        assert got.properties == pika.BasicProperties(**{key: value}), key


def test_a_message_without_properties_stays_so(raw, name):
    assert round_trip(raw().open(), name, b"\x00\x00", False) == b"\x00\x00"


def test_a_large_header_table_comes_back(raw, name):
    table = b"".join(short(f"key-{number}") + b"S" + long(b"v" * 100) for number in range(800))
    properties = struct.pack(">H", 0x2000) + long(table)
    assert round_trip(raw().open(), name, properties, True) == properties


@pytest.mark.ours  # RabbitMQ hands them on
@pytest.mark.parametrize("properties", [b"\x80\x00\xff", b"\x20\x00\x00\x00\x00\x09\x01a", b"\x80\x00", b"\x00\x01"])
def test_properties_that_end_too_early_end_that_connection_only(raw, name, properties):
    client, other = raw().open(), raw().open()
    client.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1))
    client.send(encode_content(1, b"body", properties))
    assert client.closed_with()[0] in (501, 502)
    assert other.serves()
