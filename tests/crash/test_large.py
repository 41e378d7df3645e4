"""Messages larger than any block that recovery reads or writes survive what small ones survive."""

import hashlib
import random

from tests.crash.load import contents, declare, publish
from tests.crash.test_restart import delete_state

SIZES = (100, 5000, (4 << 20) - 777, 13 << 20)  # the last batch is the one that recovery writes again


def test_large_messages_are_the_same_octets_after_two_kills(broker):
    rng = random.Random(7)
    bodies = [rng.randbytes(size) for size in SIZES]
    broker.start()
    declare(broker.port, "q")
    publish(broker.port, "q", bodies)
    for _ in range(2):
        broker.kill9()
        delete_state(broker)
        broker.start()
    digests = [hashlib.sha256(body).hexdigest() for body in contents(broker.port, "q")]
    assert digests == [hashlib.sha256(body).hexdigest() for body in bodies]
