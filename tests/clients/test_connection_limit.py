"""limits.connections: one more is turned away, and costs the others nothing."""

import pika
import pytest

from tests.clients.broker import parameters

pytestmark = pytest.mark.ours


def test_one_more_than_allowed_is_turned_away_until_one_goes(start_broker):
    broker = start_broker("limits.connections=2")
    first, second = (pika.BlockingConnection(parameters(broker)) for _ in range(2))
    with pytest.raises(pika.exceptions.AMQPError):
        pika.BlockingConnection(parameters(broker))
    assert first.channel().is_open and second.channel().is_open
    second.close()
    third = pika.BlockingConnection(parameters(broker))
    assert third.channel().is_open
    for each in (first, third):
        each.close()
