"""kill -9 in the middle of returns: what came back before something that was confirmed has been counted, for good."""

import random

import pika
import pytest

from tests.clients.broker import parameters
from tests.clients.deliveries import drain
from tests.crash.load import declare
from tests.crash.returns import killed_during_returns

ROUNDS = 4


@pytest.mark.timeout(240)
def test_counts_before_a_confirm_survive_kill_9(broker):
    rng = random.Random("counts")
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        connection.channel().queue_declare("work", durable=True, arguments={"x-queue-type": "quorum"})
    declare(broker.port, "markers")
    for _ in range(ROUNDS):
        returner = killed_during_returns(broker, rng.randrange(200, 4000))
        with pika.BlockingConnection(parameters(broker)) as connection:
            got = drain(connection.channel(), "work")
        found = {each.body: each.properties.headers["x-delivery-count"] for each in got}
        assert len(found) == len(got), "twice"
        returner.check(found)
        assert sum(found.values()) > 0
