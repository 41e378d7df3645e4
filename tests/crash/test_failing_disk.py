"""A disk that fails under the log: nobody knows what is on it, so the broker stops, and the next start looks."""

import resource

from pika import spec

from tests.clients.broker import STOP_SECONDS
from tests.clients.raw import Ended, RawConnection, encode_content, encode_method
from tests.crash.load import PERSISTENT, contents, declare, publish

LIMIT_BYTES = 256 << 10
EX_IOERR = 74


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
