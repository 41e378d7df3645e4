"""What one turn delivers at most: 1,000 messages of a queue, 256 KiB to a connection, 2,000 in all."""

import pytest

from protocols.amqp.methods import BasicConsume, BasicDeliver
from tests.protocols.amqp.world import Client, publish

OUTPUT_BYTES = 256 << 10


def fill(world, client, name, count, body=b"x"):
    world.add_queue(name)
    for _ in range(count):
        client.send(*publish(1, name, body), run=False)
    world.run()


def turn(world, clients):
    """Run one turn; return how many messages each client got, and in how many bytes."""
    waiting, world.soon[:] = list(world.soon), []
    for callback in waiting:
        callback()
    sizes = [len(client.transport.data) for client in clients]
    return [sum(type(each) is BasicDeliver for each in client.replies()) for client in clients], sizes


@pytest.fixture
def other(world):
    return Client(world).open()


def test_a_queue_delivers_a_thousand_messages_a_turn(world, client):
    fill(world, client, "q", 2300)
    client.send(BasicConsume(queue="q", no_ack=True), run=False)
    assert [turn(world, [client])[0] for _ in range(4)] == [[1000], [1000], [300], [0]]


def test_a_connection_gets_no_more_than_256_kib_a_turn_and_the_rest_in_the_next_ones(world, client, other):
    fill(world, client, "q", 900, bytes(1024))
    fill(world, client, "p", 10)
    client.send(BasicConsume(queue="q", no_ack=True), run=False)
    other.send(BasicConsume(queue="p", no_ack=True), run=False)
    counts, sizes = turn(world, [client, other])
    one = sizes[0] / counts[0]
    assert OUTPUT_BYTES <= sizes[0] < OUTPUT_BYTES + 2 * one, "the one that reaches the limit is the last"
    assert counts[1] == 10, "which is no matter of others"
    got = counts[0]
    while world.soon:
        counts, sizes = turn(world, [client, other])
        assert sizes[0] < OUTPUT_BYTES + 2 * one
        got += counts[0]
    assert got == 900


def test_all_queues_together_deliver_two_thousand_a_turn_and_none_is_left_out(world, client):
    clients = [client] + [Client(world).open() for _ in range(3)]
    for number in range(len(clients)):
        fill(world, client, f"q{number}", 900)
    for number, each in enumerate(clients):
        each.send(BasicConsume(queue=f"q{number}", no_ack=True), run=False)
    counts, _ = turn(world, clients)
    assert sum(counts) == 2000 and counts[:2] == [900, 900]
    counts, _ = turn(world, clients)
    assert counts == [0, 0, 700, 900]
