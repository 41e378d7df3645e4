"""Stored messages, batches, properties, compression and ids: RocketMQ's bytes, and what is broken is refused."""

import itertools
import struct
import sys
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corduroy.client import compression, properties, records
from corduroy.client.codes import SysFlag
from corduroy.client.errors import CodecError, InvalidMessage, MissingCodec
from corduroy.client.ids import UniqueIds, host_bytes, host_text, id_time_ms, offset_id, parse_offset_id
from corduroy.client.messages import Message
from corduroy.client.signing import Credentials

V4, V6 = "127.0.0.1:10911", "[fe80::1]:5000"


def stored(body=b"hello0", topic="TopicTest", sys_flag=0, text="KEYS\x01k\x02", hosts=(V4, V4), magic=records.MAGIC):
    """A record as a broker writes it."""
    born, store = ((lambda address, port: address + struct.pack(">I", port))(*host_bytes(host)) for host in hosts)
    sys_flag |= 0x10 * (len(born) > 8) | 0x20 * (len(store) > 8)
    head = struct.pack(">iiqqiq", 2, 7, 5, 268, sys_flag, 1000) + born + struct.pack(">q", 2000) + store
    head += struct.pack(">iqI", 3, 99, len(body)) + body
    name = topic.encode()
    head += struct.pack(">B" if magic == records.MAGIC else ">H", len(name)) + name
    head += struct.pack(">H", len(text.encode())) + text.encode()
    return struct.pack(">III", len(head) + 12, magic, zlib.crc32(body) & 0x7FFFFFFF) + head


@pytest.mark.parametrize("hosts", list(itertools.product([V4, V6], repeat=2)))
@pytest.mark.parametrize("magic", [records.MAGIC, records.MAGIC_LONG_TOPIC])
def test_a_record_is_read_field_by_field_whatever_its_hosts_and_topic(hosts, magic):
    topic = "T" * (300 if magic == records.MAGIC_LONG_TOPIC else 9)
    (message,) = records.decode_all(stored(topic=topic, hosts=hosts, magic=magic), "broker-a")
    assert (message.topic, message.body, message.properties) == (topic, b"hello0", {"KEYS": "k"})
    assert (message.queue_id, message.flag, message.queue_offset, message.commit_log_offset) == (2, 7, 5, 268)
    assert (message.born_ms, message.store_ms, message.reconsume_times) == (1000, 2000, 3)
    assert (message.born_host, message.store_host, message.prepared_transaction_offset) == (*hosts, 99)
    assert message.queue.broker_name == "broker-a"
    assert parse_offset_id(message.message_id) == (hosts[1], 268)


def test_the_checksum_of_a_body_is_rocketmqs_and_is_checked():
    data = bytearray(stored())
    assert struct.unpack_from(">I", data, 8)[0] == 0x7036E992  # observed for "hello0"
    data[data.index(b"hello0")] ^= 1
    with pytest.raises(CodecError, match="checksum"):
        records.decode_all(bytes(data))
    assert records.decode_all(bytes(data), check_crc=False)[0].body == b"iello0"


def test_records_follow_each_other_and_bodies_are_decompressed():
    body, bits = compression.compress(b"x" * 5000)
    assert bits == 0x301
    data = stored() + stored(body, sys_flag=bits) + stored(body, sys_flag=1)
    assert [message.body for message in records.decode_all(data)] == [b"hello0", b"x" * 5000, b"x" * 5000]


@given(st.integers(0, len(stored()) - 1), st.integers(1, 255))
def test_a_damaged_record_is_refused_or_read_but_never_crashes(at, bits):
    data = bytearray(stored())
    data[at] ^= bits
    for damaged in (bytes(data), bytes(data[:at])):
        try:
            records.decode_all(damaged)
        except CodecError:
            pass


def test_a_batch_item_is_rocketmqs_byte_for_byte():
    golden = "00000033000000000000000000000000000000026869001b4b455953016b0257414954017472756502544147530154616741 02"
    text = properties.encode({"KEYS": "k", "WAIT": "true", "TAGS": "TagA"})
    assert records.encode_batch([(b"hi", 0, text)]) == bytes.fromhex(golden)


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(-5, 5), st.sampled_from(["", "a\x01b\x02"])), max_size=4))
def test_a_batch_is_read_as_it_was_written(items):
    found = records.decode_batch(records.encode_batch(items))
    assert found == [(body, flag, properties.decode(text)) for body, flag, text in items]


def test_a_batch_stored_as_one_record_comes_out_one_by_one():
    body = records.encode_batch([(b"one", 1, "a\x01b\x02"), (b"two", 2, "")])
    data = stored(
        body, sys_flag=SysFlag.NEED_UNWRAP | SysFlag.INNER_BATCH, text="INNER_BASE\x0140\x02INNER_NUM\x012\x02"
    )
    found = records.decode_all(data)
    assert [(each.body, each.queue_offset, each.flag) for each in found] == [(b"one", 40, 1), (b"two", 41, 2)]
    with pytest.raises(CodecError):
        records.decode_batch(body[:-1])


def test_properties_are_read_as_rocketmq_reads_them():
    assert properties.decode("a\x01b\x02c\x01d") == {"a": "b", "c": "d"}
    assert properties.decode("a\x01\x02\x01b\x02x\x02a\x011\x02a\x012\x02") == {"a": "2"}
    for bad in ({"": "a"}, {"a": ""}, {"a\x01": "b"}, {"a": "b\x02"}, {"a": "x" * 32767}):
        with pytest.raises(InvalidMessage):
            properties.encode(bad)


@pytest.mark.parametrize(("codec", "package"), [("lz4", "lz4"), ("zstd", "zstandard")])
def test_lz4_and_zstd_work_where_their_package_is_and_say_so_where_not(codec, package, monkeypatch):
    try:
        body, bits = compression.compress(b"x" * 5000, codec)
        assert compression.decompress(body, bits) == b"x" * 5000
    except MissingCodec as error:
        assert f"pip install {package}" in str(error)
    for module in ("lz4", "lz4.frame", "zstandard", "compression.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingCodec, match=f"pip install {package}"):
        compression.decompress(b"", SysFlag.COMPRESSED | compression.CODECS[codec])


def test_a_compressed_body_that_is_broken_or_grows_too_big_is_refused(monkeypatch):
    body, bits = compression.compress(b"x" * 5000)
    with pytest.raises(CodecError, match="broken"):
        compression.decompress(b"nonsense", bits)
    with pytest.raises(CodecError, match="cut short"):
        compression.decompress(body[:-2], bits)
    with pytest.raises(CodecError, match="unknown compression"):
        compression.decompress(body, 0x501)
    monkeypatch.setattr(compression, "BODY_BYTES_MAX", 4999)
    with pytest.raises(CodecError, match="beyond 4999"):
        compression.decompress(body, bits)


def test_offset_ids_are_rocketmqs():
    assert offset_id("127.0.0.1:21911", 268) == "7F00000100005597000000000000010C"
    for host in (V4, V6):
        assert parse_offset_id(offset_id(host, 2**40)) == (host, 2**40)
        assert host_text(*host_bytes(host)) == host
    for bad in ("", "zz" * 16, "7F" * 10, "7F00000100015597000000000000010C"):
        with pytest.raises(CodecError):
            parse_offset_id(bad)


def test_unique_ids_differ_and_tell_when_they_were_made():
    ids = UniqueIds(b"\x7f\0\0\1")
    made = [ids.next() for _ in range(70_000)]
    assert len(set(made)) == len(made)
    assert {len(each) for each in made} == {32} and {each[:8] for each in made} == {"7F000001"}
    assert len(UniqueIds(bytes(16)).next()) == 56
    now = time.time() * 1000
    assert now - 60_000 < id_time_ms(made[0], int(now) + 1) <= now + 1


def test_a_signature_is_rocketmqs():
    fields = {"consumerGroup": "g", "extraInfo": "x", "offset": "1", "queueId": "0", "topic": "t"}
    signed = Credentials("rocketmq2", "12345678").sign(fields, b"body")
    assert signed == {**fields, "AccessKey": "rocketmq2", "Signature": "y/Jty/Xd41CigOvXZkaP045MqT8="}
    assert "12345678" not in repr(Credentials("a", "12345678", "token-7"))


@pytest.mark.parametrize(
    "change",
    [{"topic": ""}, {"topic": "a b"}, {"topic": "x" * 128}, {"body": b""}, {"body": bytes((4 << 20) + 1)},
     {"body": "é"}, {"properties": {"KEYS": "a"}}, {"delay_level": 19}, {"delay_level": 1, "delay_ms": 5}],
)  # fmt: skip
def test_a_message_that_no_broker_takes_is_refused_here(change):
    Message("t", b"x").check()
    with pytest.raises(InvalidMessage):
        Message(**{"topic": "t", "body": b"x", **change}).check()


def test_a_messages_properties_travel_under_rocketmqs_names():
    message = Message("t", b"x", "TagA", ["k1", "k2"], {"mine": "1"}, sharding_key="s", delay_level=3)
    assert message.wire_properties() == {
        "mine": "1", "KEYS": "k1 k2", "TAGS": "TagA", "__SHARDINGKEY": "s", "DELAY": "3",
    }  # fmt: skip
    assert Message("t", b"x", delay_ms=0).wire_properties() == {"TIMER_DELAY_MS": "0"}
