"""A disk that fails under the log: nobody knows what is on it, so the broker stops, and the next start looks."""

import resource
import shutil
import threading

import pytest
from pika import spec

from tests.clients.broker import STOP_SECONDS, until
from tests.clients.raw import Ended, RawConnection, encode_content, encode_method
from tests.crash.failing import FailingBroker
from tests.crash.load import PERSISTENT, contents, declare, publish

LIMIT_BYTES = 256 << 10
EX_IOERR = 74
SECONDS = 30
SMALL = ("log.segment_bytes=262144", "log.ahead_bytes=65536", "log.keep_bytes=0", "log.checkpoint_seconds=1")
ROLL_OVER = [b"%d" % number + b"." * 20_000 for number in range(40)]  # three segments


def test_a_write_that_fails_stops_the_broker_which_says_so_and_confirms_nothing_more(broker):
    broker.start()
    declare(broker.port, "q")
    kept = [b"%d" % number + b"." * 20_000 for number in range(20)]  # beyond the limit, so that no other file meets it
    publish(broker.port, "q", kept)
    client = RawConnection(broker.port).open()
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    _, hard = resource.prlimit(broker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))  # no write beyond it from now on
    client.send(encode_method(spec.Basic.Publish(routing_key="q"), 1) + encode_content(1, b"lost", PERSISTENT))
    try:
        raise AssertionError(f"answered {client.read_method()}")
    except Ended:
        client.close()
    assert broker.process.wait(STOP_SECONDS) == EX_IOERR
    lines = [line for line in broker.log.splitlines() if "the log failed, stopping" in line]
    assert len(lines) == 1 and "File too large" in lines[0] and "Traceback" not in broker.log
    broker.start()
    assert contents(broker.port, "q") == kept


@pytest.fixture
def failing(tmp_path):
    """A broker whose disk fails when it is told to."""
    broker = FailingBroker(tmp_path, *SMALL)
    yield broker
    broker.orders()
    if broker.alive():
        broker.stop()


def stopped_with(broker, *words) -> None:
    """It ended, and said why in one line."""
    assert broker.process.wait(STOP_SECONDS) == EX_IOERR
    lines = [line for line in broker.log.splitlines() if "the log failed, stopping" in line]
    assert len(lines) == 1 and all(word in lines[0] for word in words), broker.log[-4000:]
    assert "Traceback" not in broker.log


def publish_until_it_ends(broker, queue) -> list[bytes]:
    """What was confirmed of ROLL_OVER."""
    for number, each in enumerate(ROLL_OVER):
        try:
            publish(broker.port, queue, [each])
        except (Ended, OSError):
            return ROLL_OVER[:number]
    raise AssertionError("all of it was confirmed")


@pytest.mark.parametrize(
    ("operation", "number", "words"),
    [
        ("write", "EROFS", "Read-only file system"),
        ("write_zeros", "EROFS", "Read-only file system"),
        ("open", "EROFS", "Read-only file system"),
        ("sync", "EIO", "Input/output error"),
        ("open", "EMFILE", "Too many open files"),
        ("open", "EACCES", "Permission denied"),
    ],
)
def test_a_disk_that_can_no_longer_be_written_stops_the_broker_and_nothing_confirmed_is_lost(
    failing, operation, number, words
):
    failing.start()
    declare(failing.port, "q")
    publish(failing.port, "q", ROLL_OVER[:2])
    failing.orders(**{operation: number})
    kept = ROLL_OVER[:2] + publish_until_it_ends(failing, "q")
    stopped_with(failing, words)
    failing.start()
    found = contents(failing.port, "q")
    assert found[: len(kept)] == kept and len(found) <= len(kept) + 1, "the last one was on its way"


def test_a_segment_that_cannot_be_removed_stops_the_broker(failing):
    failing.start()
    declare(failing.port, "q", "other")
    failing.orders(remove="EROFS")
    publish(failing.port, "q", ROLL_OVER)
    client = RawConnection(failing.port).open()
    client.call(spec.Queue.Purge(queue="q"), spec.Queue.PurgeOk)
    client.close()
    stopped_with(failing, "Read-only file system")
    failing.start()
    assert contents(failing.port, "q") == []


@pytest.mark.parametrize("what", ["commitlog", "."], ids=["the log's directory", "the whole data directory"])
def test_a_directory_that_is_removed_while_it_runs_stops_the_broker(failing, what):
    failing.start()
    declare(failing.port, "q")
    publish(failing.port, "q", ROLL_OVER[:2])
    shutil.rmtree(failing.data / what)
    stopped_with(failing, "was removed", str(failing.data))


def test_while_the_disk_is_slow_everything_else_goes_on_and_publishers_hear_of_it(failing):
    failing.start()
    declare(failing.port, "q", "other")
    publish(failing.port, "other", [b"before"])
    waits = RawConnection(failing.port).open()
    waits.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    failing.orders(sync="hold")
    waits.send(encode_method(spec.Basic.Publish(routing_key="q"), 1) + encode_content(1, b"slow", PERSISTENT))
    assert waits.serves(), "its confirm waits, and nothing else"
    assert contents(failing.port, "other") == [b"before"]
    flood = RawConnection(failing.port).open()
    message = encode_method(spec.Basic.Publish(routing_key="q"), 1) + encode_content(1, b"f" * 100_000, PERSISTENT)
    sending = threading.Thread(target=lambda: [flood.send(message) for _ in range(800)])
    sending.start()
    assert flood.expect(spec.Connection.Blocked, 0).reason == "disk is behind"
    waits.expect(spec.Connection.Blocked, 0)
    failing.orders()
    assert {type(waits.read_method()) for _ in range(2)} == {spec.Basic.Ack, spec.Connection.Unblocked}
    sending.join()
    ready = "rabbitmq_queue_messages_ready"
    until(lambda: failing.metric(ready) == 802, SECONDS, "all of the flood, though nobody was asked to send it again")
    for client in (waits, flood):
        client.close()


def test_a_disk_that_takes_no_more_blocks_publishers_until_there_is_space(failing):
    failing.start()
    declare(failing.port, "q", "full")
    publish(failing.port, "full", ROLL_OVER[:5])
    failing.orders(write_zeros="ENOSPC")
    client = RawConnection(failing.port).open()
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    for each in ROLL_OVER:
        client.send(encode_method(spec.Basic.Publish(routing_key="q"), 1) + encode_content(1, each, PERSISTENT))
    confirmed = 0
    while not isinstance(method := client.read_method(), spec.Connection.Blocked):
        confirmed = method.delivery_tag
    assert method.reason == "low on disk" and confirmed < len(ROLL_OVER)
    assert contents(failing.port, "full") == ROLL_OVER[:5], "who reads goes on"
    failing.orders()
    while confirmed < len(ROLL_OVER):
        method = client.read_method()
        confirmed = method.delivery_tag if isinstance(method, spec.Basic.Ack) else confirmed
    client.close()
    assert contents(failing.port, "q") == ROLL_OVER
