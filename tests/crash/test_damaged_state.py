"""Any byte of state/ may be damaged: a start serves what the log says, and says so in one line when it had to rebuild.

Only what a start does not read, the index in the middle of a long queue, is met later: that queue stops, with a word,
and the next start rebuilds it.
"""

import random

import lmdb
import pika
import pytest

from core.queue.index import CHUNK_UNITS
from core.state.snapshot import chunk_key
from tests.clients.broker import Broker, parameters
from tests.crash.load import contents
from tests.crash.test_verify import EX_DATAERR, SMALL, STATE_FILE, verify

MESSAGES = 3 * CHUNK_UNITS + 100
QUEUES = {
    "plain": {},
    "levels": {"x-max-priority": 3},
    "quorum": {"x-queue-type": "quorum"},
}
REBUILDING = "state is damaged, rebuilding it from the log"


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path, *SMALL, f"log.tail_bytes={64 << 10}")
    yield broker
    if broker.alive():
        broker.stop()


def lay(broker):
    """Queues of some chunks each; returns what they hold, after a clean stop."""
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        channel.tx_select()
        for name, arguments in QUEUES.items():
            channel.queue_declare(name, durable=True, arguments=arguments)
            for number in range(MESSAGES):
                properties = pika.BasicProperties(delivery_mode=2, priority=number % 4)
                channel.basic_publish("", name, b"%d" % number, properties)
        channel.tx_commit()
    held = {name: contents(broker.port, name) for name in QUEUES}
    assert all(len(each) == MESSAGES for each in held.values())
    broker.stop()
    return held


def chunk(broker, name, number):
    """Where in the file that chunk of a queue's index lies."""
    queue_id = list(QUEUES).index(name)
    with lmdb.open(str((broker.data / STATE_FILE).parent), readonly=True, max_dbs=4) as store:
        table = store.open_db(b"chunks", create=False)
        with store.begin(db=table) as transaction:
            ids = sorted({int.from_bytes(key[:8], "big") for key, _ in transaction.cursor()})
            row = transaction.get(chunk_key(ids[queue_id], number))
    return (broker.data / STATE_FILE).read_bytes().index(row[:200])


def flip(broker, data, at):
    """The sound file with another byte there."""
    damaged = bytearray(data)
    damaged[at] ^= 0x10
    (broker.data / STATE_FILE).write_bytes(damaged)


def served(broker, held):
    """Whether all of it is served. If not, it is because a queue was stopped, which was told."""
    for name in QUEUES:
        try:
            assert contents(broker.port, name) == held[name]
        except AssertionError as error:
            assert "<Basic.Cancel(" in str(error)
            assert "the next start rebuilds it from the log" in broker.log
            return False
    return True


@pytest.mark.timeout(300)
def test_whatever_byte_is_damaged_a_start_serves_what_was_there(broker):
    held = lay(broker)
    rng = random.Random("state")
    size = (broker.data / STATE_FILE).stat().st_size
    places = [rng.randrange(4096 * 2) for _ in range(2)] + [rng.randrange(8192, size) for _ in range(4)]
    places += [rng.randrange(size // 4096) * 4096 + rng.randrange(24) for _ in range(5)]
    rebuilt = stopped = 0
    for at in places:
        data = (broker.data / STATE_FILE).read_bytes()
        flip(broker, data, at % len(data))
        broker.start()
        rebuilt += broker.log.count(REBUILDING)
        assert broker.log.count(REBUILDING) <= 1 and "Traceback" not in broker.log
        if not served(broker, held):
            stopped += 1
            broker.restart()
            assert broker.log.count(REBUILDING) == 1
            assert served(broker, held), at
        broker.stop()
        assert verify(broker.data)[0] == 0
    assert rebuilt > 0 and stopped > 0


def test_what_is_read_when_queues_are_built_is_rebuilt_in_the_same_start(broker):
    held = lay(broker)
    at = chunk(broker, "levels", 1)
    flip(broker, (broker.data / STATE_FILE).read_bytes(), at + 100)
    code, report = verify(broker.data)
    assert code == EX_DATAERR and "delete it and the next start rebuilds it" in report["findings"][0]
    broker.start()
    assert broker.pid == broker.process.pid
    assert broker.log.count(REBUILDING) == 1 and "Traceback" not in broker.log
    assert served(broker, held)


def test_what_is_read_later_stops_its_queue_until_the_next_start(broker):
    held = lay(broker)
    flip(broker, (broker.data / STATE_FILE).read_bytes(), chunk(broker, "plain", 2) + 100)
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        got = [body for _, _, body in connection.channel().consume("plain")]  # ends when the broker cancels
    assert got == held["plain"][: len(got)] and len(got) < MESSAGES
    assert "the next start rebuilds it from the log" in broker.log and "Traceback" not in broker.log
    for name in ("levels", "quorum"):
        assert contents(broker.port, name) == held[name]
    broker.restart()
    assert broker.log.count(REBUILDING) == 1
    assert served(broker, held)
