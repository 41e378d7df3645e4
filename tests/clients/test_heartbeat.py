"""Heartbeats (amqp.md C7): sent when idle, any octet counts, silence ends the connection."""

import time

from pika import spec

from tests.clients.raw import HEARTBEAT, RawConnection, encode_frame


def heartbeats_until_end(client: RawConnection, seconds: float) -> tuple[int, bool]:
    """Read for at most `seconds`: (heartbeats seen, whether the broker ended the connection)."""
    deadline, seen = time.monotonic() + seconds, 0
    while (left := deadline - time.monotonic()) > 0:
        try:
            got = client.read_frame(left)
        except TimeoutError:
            break
        if got is None:
            return seen, True
        seen += got.kind == HEARTBEAT
    return seen, False


def test_a_silent_client_gets_heartbeats_and_is_then_sent_away(raw):
    started = time.monotonic()
    seen, ended = heartbeats_until_end(raw().open(heartbeat=1), 6)
    assert ended and seen >= 2
    assert time.monotonic() - started >= 1.5  # one missed interval is not silence


def test_any_octet_counts_as_a_sign_of_life(raw):
    client = raw().open(heartbeat=1)
    for octet in encode_frame(HEARTBEAT, 0, b""):  # eight octets in four seconds
        client.send(bytes([octet]))
        _, ended = heartbeats_until_end(client, 0.5)
        assert not ended
    client.send_method(spec.Basic.Qos(), 1)
    client.expect(spec.Basic.QosOk, 1)


def test_methods_count_as_a_sign_of_life(raw):
    client = raw().open(heartbeat=1)
    for _ in range(7):
        client.send_method(spec.Basic.Qos(), 1)
        client.expect(spec.Basic.QosOk, 1)
        _, ended = heartbeats_until_end(client, 0.5)
        assert not ended


def test_heartbeat_zero_means_none(raw):
    client = raw().open(heartbeat=0)
    assert heartbeats_until_end(client, 3) == (0, False)
    assert client.serves()


def test_a_heartbeat_on_a_channel_is_an_error_of_that_connection_only(raw):
    client = raw().open()
    client.send(encode_frame(HEARTBEAT, 1, b""))
    client.send_method(spec.Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    client.send_method(spec.Connection.CloseOk())
    assert raw().open().serves()
