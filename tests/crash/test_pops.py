"""Popped messages over kill -9: what was acked stays away, what was not comes again, each once."""

import pytest

from corduroy.client import blocking
from corduroy.client.messages import Message
from tests.crash.test_restart import by_kill, by_kill_without_state

SENT = 40


def pop_all(consumer, count):
    """So many messages, or what there is."""
    found = []
    while len(found) < count and (some := consumer.pop("T", wait=5)):
        found += some
    return found


@pytest.mark.parametrize("end", [by_kill, by_kill_without_state])
def test_what_was_acked_stays_away_and_the_rest_comes_again(broker, end):
    broker.start()
    with blocking.Producer("p", broker.addresses["namesrv"]) as producer:
        for number in range(SENT):
            producer.send(Message("T", b"%d" % number))
    with blocking.PopConsumer("g", broker.addresses["namesrv"]) as consumer:
        first = pop_all(consumer, SENT)
        acked = {each.body for each in first[::3]}
        for each in first[::3]:
            consumer.ack(each)
        assert broker.metric("mq_pop_in_flight") == SENT - len(acked)
        end(broker)
    broker.start()
    with blocking.PopConsumer("g", broker.addresses["namesrv"]) as consumer:
        again = [each.body for each in pop_all(consumer, SENT - len(acked))]
        assert sorted(again) == sorted({b"%d" % number for number in range(SENT)} - acked)
        assert consumer.pop("T") == []
