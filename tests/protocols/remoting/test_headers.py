"""Typed headers: what must be there is named when it is missing, and what cannot be is named with its value."""

import json
import struct

import pytest

from protocols.remoting import headers
from protocols.remoting.codes import Request, Response
from protocols.remoting.fields import FieldError
from protocols.remoting.frame import Frame

BROKER = {"brokerName": "b", "brokerAddr": "1.2.3.4:10911", "clusterName": "c", "brokerId": "0", "haServerAddr": "h"}


def frame(fields):
    text = json.dumps({"extFields": fields}).encode()
    made = Frame()
    data = bytearray(struct.pack(">II", 4 + len(text), len(text)) + text)
    made.take(data, 0, len(data))
    return made


def test_a_header_is_read_from_texts_with_defaults_for_what_may_be_missing():
    header = headers.read(headers.RegisterBroker, frame({**BROKER, "compressed": "true", "bname": "ignored"}))
    assert (header.broker_name, header.broker_addr, header.broker_id) == ("b", "1.2.3.4:10911", 0)
    assert (header.compressed, header.body_crc32, header.zone_name) == (True, 0, None)
    assert (header.enable_acting_master, header.heartbeat_timeout_millis) == (None, None)
    more = {"enableActingMaster": "false", "heartbeatTimeoutMillis": "3000", "__ZONE_NAME": "z"}
    header = headers.read(headers.RegisterBroker, frame({**BROKER, **more}))
    assert (header.enable_acting_master, header.heartbeat_timeout_millis, header.zone_name) == (False, 3000, "z")


@pytest.mark.parametrize("name", sorted(BROKER))
def test_a_missing_field_is_named_as_rocketmq_names_it(name):
    fields = {key: value for key, value in BROKER.items() if key != name}
    with pytest.raises(FieldError, match=f"^the custom field <{name}> is null$"):
        headers.read(headers.RegisterBroker, frame(fields))
    with pytest.raises(FieldError, match=f"^the custom field <{name}> is null$"):
        headers.read(headers.RegisterBroker, frame({**BROKER, name: None}))


@pytest.mark.parametrize(("name", "value"), [("brokerId", "x"), ("compressed", "maybe"), ("bodyCrc32", "1.5")])
def test_a_value_that_cannot_be_is_named(name, value):
    with pytest.raises(FieldError, match=f"the custom field <{name}> cannot be '{value}'"):
        headers.read(headers.RegisterBroker, frame({**BROKER, name: value}))


def test_codes_have_rocketmqs_names():
    assert (Request(103).name, Request.POP_MESSAGE, Response(17).name) == ("REGISTER_BROKER", 200050, "TOPIC_NOT_EXIST")
    assert Response.REQUEST_CODE_NOT_SUPPORTED == 3
