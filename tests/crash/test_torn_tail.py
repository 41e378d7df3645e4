"""A torn last record is cut and reported; a bad one further back refuses the start and is named."""

import re

import pytest

from tests.clients.broker import Broker
from tests.crash.load import contents, declare, publish
from tests.crash.segments import records
from tests.crash.test_restart import delete_state

COUNT = 10
MEBIBYTE = 1 << 20
HARMS = {
    "the file ends within the record": lambda record: record.truncate(record.size - 5),
    "the file ends within its head": lambda record: record.truncate(6),
    "the last octets are other ones": lambda record: record.damage(record.size - 7, 7),
    "the last half never arrived": lambda record: record.write(record.size // 2, bytes(record.size - record.size // 2)),
    "one bit of the body is flipped": lambda record: record.damage(record.read().index(b"body-"), 1),
    "one bit of its size is flipped": lambda record: record.damage(2, 1),
    "one bit of its store time is flipped": lambda record: record.damage(63, 1),
}


def cut_lines(broker: Broker) -> list[str]:
    """The log lines that speak of a cut."""
    return [line for line in broker.log.splitlines() if re.search(r"\bcut\b", line) and re.search(r"\d", line)]


@pytest.fixture
def killed(broker):
    """A broker killed after ten confirmed messages."""
    broker.start()
    declare(broker.port, "q")
    publish(broker.port, "q", [b"body-%d " % number + b"x" * 1000 for number in range(COUNT)])
    broker.kill9()
    return broker


def numbers(broker: Broker) -> list[int]:
    """The numbers of the messages in the queue."""
    return [int(each.split()[0].removeprefix(b"body-")) for each in contents(broker.port, "q")]


@pytest.mark.parametrize("without_state", [False, True], ids=["with state", "state deleted"])
@pytest.mark.parametrize("harm", HARMS)
def test_a_torn_last_record_is_cut_and_told_in_one_line(killed, harm, without_state):
    last = records(killed.data)[-1]
    assert b"body-%d " % (COUNT - 1) in last.read(), "the last record is the last confirmed message"
    HARMS[harm](last)
    if without_state:
        delete_state(killed)
    killed.start()
    assert len(cut_lines(killed)) == 1, killed.log
    assert "Traceback" not in killed.log
    assert numbers(killed) == list(range(COUNT - 1))
    publish(killed.port, "q", [b"body-%d x" % COUNT])
    killed.kill9()
    killed.start()  # the cut holds: nothing of the torn record is read again
    assert not cut_lines(killed)
    assert numbers(killed) == [*range(COUNT - 1), COUNT]


def test_a_whole_log_is_not_cut(killed):
    killed.start()
    assert not cut_lines(killed)
    assert numbers(killed) == list(range(COUNT))
    killed.restart()
    assert not cut_lines(killed)


def test_noise_behind_the_last_record_is_cut(killed):
    last = records(killed.data)[-1]
    last.write(last.size, b"\xff\xfe\xfd" * 100)
    killed.start()
    assert numbers(killed) == list(range(COUNT))
    publish(killed.port, "q", [b"body-%d x" % COUNT])
    killed.kill9()
    killed.start()
    assert numbers(killed) == list(range(COUNT + 1))


@pytest.mark.parametrize("at", ["body", "size"])
def test_a_bad_record_far_from_the_end_refuses_the_start_and_is_named(broker, at):
    broker.start()
    declare(broker.port, "q")
    publish(broker.port, "q", [b"body-0 x", b"body-1 x"])
    publish(broker.port, "q", [b"body-2 " + b"x" * MEBIBYTE] * 20)  # more than any one batch behind it
    broker.stop()
    bad = next(record for record in records(broker.data) if b"body-1 x" in record.read())
    bad.damage(bad.read().index(b"body-1") if at == "body" else 2, 1)
    delete_state(broker)
    broker.spawn()
    said = broker.wait_refused()
    assert str(bad.offset) in said and "Traceback" not in said, said


def test_a_bad_record_is_not_made_worse_by_the_refusal(broker):
    broker.start()
    declare(broker.port, "q")
    publish(broker.port, "q", [b"body-0 x"])
    publish(broker.port, "q", [b"body-1 " + b"x" * MEBIBYTE] * 20)
    broker.stop()
    bad = next(record for record in records(broker.data) if b"body-0 x" in record.read())
    at = bad.read().index(b"body-0")
    bad.damage(at, 1)
    delete_state(broker)
    for _ in range(2):
        broker.spawn()
        broker.wait_refused()
    bad.damage(at, 1)  # repaired
    broker.start()
    assert numbers(broker) == [0] + [1] * 20


def ended(broker: Broker, flush: str) -> None:
    """Kill a broker that flushed so, with three confirmed messages, each in a batch of its own, of which the second
    has not come through."""
    broker.options = [f"log.flush={flush}"]
    broker.start()
    declare(broker.port, "q")
    for number in range(3):
        publish(broker.port, "q", [b"body-%d x" % number])
    broker.kill9()
    hole = next(record for record in records(broker.data) if b"body-1 x" in record.read())
    hole.damage(hole.read().index(b"body-1"), 1)


def test_what_was_not_synced_is_cut_also_when_it_is_to_be_synced_from_now_on(broker):
    ended(broker, "async")
    broker.options = ["log.flush=sync"]
    broker.start()
    assert len(cut_lines(broker)) == 1, broker.log
    assert numbers(broker) == [0]


def test_what_was_synced_is_not_cut_also_when_it_need_not_be_synced_from_now_on(broker):
    ended(broker, "sync")
    broker.options = ["log.flush=async"]
    broker.spawn()
    said = broker.wait_refused()
    assert "the log is damaged at offset" in said and "Traceback" not in said, said
