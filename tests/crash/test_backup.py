"""`mqgateway backup`: a broker that starts on the copy has all that was confirmed before the command began."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.broker import Broker, until
from tests.crash.commands import dies, run
from tests.crash.load import Producer, contents, declare, identity
from tests.crash.segments import records
from tests.crash.test_verify import EX_DATAERR, EX_NOINPUT, MESSAGES, SMALL, STATE_FILE, lay_in, verify


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path, *SMALL, "log.checkpoint_seconds=1")
    yield broker
    if broker.alive():
        broker.stop()


def command(data, to):
    executable = str(Path(sys.executable).with_name("mqgateway"))
    settings = [word for setting in SMALL for word in ("--set", setting)]
    return [executable, "--data-dir", str(data), *settings, "backup", str(to)]


def backup(data, to):
    done = run(*command(data, to)[1:])
    return done.code, done.text


@pytest.fixture
def start_copy(broker):
    """start_copy(folder): a broker that has its data in folder/data."""
    started = []

    def start(folder):
        started.append(Broker(folder, *broker.options).start())
        return started[-1]

    yield start
    for each in started:
        if each.alive():
            each.stop()


def test_beside_a_busy_broker_nothing_confirmed_before_is_missing(broker, start_copy, tmp_path):
    broker.start()
    declare(broker.port, "q0")
    producer = Producer(0, "", "q0", 1, 1)
    producer.attach(broker.port)
    copies = []
    for number in range(3):
        until(lambda number=number: producer.confirmed > 400 * (number + 1), 30, "confirms")
        confirmed = producer.confirmed
        folder = tmp_path / f"copy{number}"
        folder.mkdir()
        code, text = backup(broker.data, folder / "data")
        assert code == 0 and "of the running broker" in text
        copies.append((folder, confirmed))
    broker.kill9()
    producer.join(30)
    for folder, confirmed in copies:
        assert verify(folder / "data")[0] == 0
        copied = start_copy(folder)
        found = [identity(each)[1] for each in contents(copied.port, "q0")]
        copied.stop()
        assert found == list(range(1, len(found) + 1)) and len(found) >= confirmed


def test_of_a_stopped_broker_it_is_a_clean_copy(broker, start_copy, tmp_path):
    broker.start()
    lay_in(broker)
    broker.stop()
    code, text = backup(broker.data, tmp_path / "copy" / "data")
    assert code == 0 and text.startswith(str(tmp_path / "copy" / "data"))
    code, report = verify(tmp_path / "copy" / "data")
    assert (code, report["messages"], report["online"]) == (0, MESSAGES, False)
    assert "clean_stop=True" in start_copy(tmp_path / "copy").log


def test_what_is_there_is_not_overwritten(broker, tmp_path):
    broker.start()
    code, text = backup(broker.data, broker.data)
    assert code == EX_NOINPUT and "is there already" in text
    assert backup(tmp_path, tmp_path / "copy")[0] == EX_NOINPUT


def test_what_is_damaged_is_refused(broker, tmp_path):
    broker.start()
    lay_in(broker, 100)
    broker.stop()
    record = records(broker.data)[50]
    old = record.read()
    record.damage(60)
    code, text = backup(broker.data, tmp_path / "copy")
    assert code == EX_DATAERR and f"damaged at offset {record.offset}" in text and not (tmp_path / "copy").exists()
    record.write(0, old)
    file = broker.data / STATE_FILE
    file.write_bytes(file.read_bytes()[:100])
    code, text = backup(broker.data, tmp_path / "copy")
    assert code == EX_DATAERR and "cannot be read" in text and not (tmp_path / "copy").exists()


def test_wherever_it_is_killed_there_is_no_copy_or_a_whole_one(broker, tmp_path):
    broker.start()
    lay_in(broker, 100)
    broker.stop()
    copy = tmp_path / "copy"
    died = 0
    while dies(died, *command(broker.data, copy)[1:]):
        died += 1
        if not copy.exists():
            assert backup(broker.data, copy)[0] == 0
        code, report = verify(copy)
        assert (code, report["messages"]) == (0, 100 - 25 + 2)
        assert not copy.with_name("copy.partial").exists()
        shutil.rmtree(copy)
    assert died > 8


def test_interrupted_there_is_no_copy_of_that_name(broker, tmp_path):
    broker.start()
    lay_in(broker, 100)
    process = subprocess.Popen(command(broker.data, tmp_path / "copy"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: (tmp_path / "copy.partial").exists() or process.poll() is not None, 30, "the partial copy")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    (tmp_path / "copy.partial").mkdir(exist_ok=True)
    if not (tmp_path / "copy").exists():  # it may have been through
        assert backup(broker.data, tmp_path / "copy")[0] == 0
    assert verify(tmp_path / "copy")[0] == 0
