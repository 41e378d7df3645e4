"""What many sends share, one after the other: the header that is read, the message, the topic, the ring of answers."""

import pytest

from tests.protocols.remoting.native_world import NativeWorld, send_fields, text
from tests.protocols.remoting.test_send import V2, refused, sent
from tests.protocols.remoting.world import request


@pytest.fixture
def world():
    world = NativeWorld()
    world.topic()
    return world


@pytest.fixture
def client(world):
    return world.client("10.1.2.3", 4660)


def test_more_sends_than_the_ring_holds_are_answered_in_their_order(world, client):
    for opaque in range(600):
        client.connection.receive(bytearray(data := request(V2, send_fields(), b"hi", opaque=opaque)), 0, len(data))
    world.commit()
    answers = [header for header, _ in client.received()]
    assert [answer["opaque"] for answer in answers] == list(range(600))
    assert [answer["extFields"]["queueOffset"] for answer in answers] == [str(offset) for offset in range(600)]


@pytest.mark.parametrize("key", ['"', "\\", "\n", "é", "0A" * 5000])
def test_whatever_id_a_sender_gives_its_answer_repeats_it(world, client, key):
    assert sent(client, send_fields(i=text(UNIQ_KEY=key)))["transactionId"] == key


def test_a_client_with_many_sends_under_way_is_known_to_have_more_to_send(world, client):
    for _ in range(8):
        client.send(request(V2, send_fields(), b"hi"))
    assert not client.connection.pipelined
    client.send(request(V2, send_fields(), b"hi"))
    assert client.connection.pipelined
    world.commit()
    client.send(request(V2, send_fields(), b"hi"))
    assert not client.connection.pipelined


def test_what_one_header_says_is_not_taken_for_the_next_ones(world, client):
    sent(client, send_fields(e=2, j=3))
    code, remark = refused(client, send_fields(e=None))
    assert (code, remark) == (1, "the custom field <e> is null")
    assert sent(client, send_fields(j=None))["queueId"] == "0"
    assert world.messages()[-1].reconsume_times == 0


def test_a_topic_that_went_or_changed_is_not_sent_to_as_it_was(world, client):
    sent(client, send_fields(e=3))
    world.topic(queues=2)
    assert refused(client, send_fields(e=3))[0] == 29
    world.topics.delete(b"T")
    assert refused(client, send_fields(e=0, c="none"))[0] == 17
    world.topic()
    assert sent(client, send_fields(e=3))["queueOffset"] == "0"


def test_what_one_message_had_is_not_in_the_next(world, client):
    sent(client, send_fields(h=5, j=2, i=text(UNIQ_KEY="0A", TAGS="TagA")), b"first")
    sent(client, send_fields(i=text(UNIQ_KEY="0B")), b"second")
    first, second = world.messages()
    assert (first.flag, first.reconsume_times, first.body) == (5, 2, b"first")
    assert (second.flag, second.reconsume_times, second.tags_code, second.body) == (0, 0, 0, b"second")
