"""A start that cannot work: exit code other than 0, one clear line, no traceback."""

import json
import os
import signal
import socket
from pathlib import Path

import lmdb
import pytest

from core.disk.store import FORMAT, FORMAT_KEY
from tests.clients.broker import Broker
from tests.core.log.newer import NEWER, placed
from tests.crash.commands import run
from tests.crash.load import contents, declare, publish
from tests.crash.segments import records
from tests.crash.test_restart import delete_state
from tests.crash.test_verify import EX_CANTCREAT, SMALL, lay_in


def refused(broker: Broker, *words: str) -> str:
    """Start, expect the refusal, and return the one line that has all these words."""
    ready = broker.spawn()
    said = broker.wait_refused()
    assert "Traceback" not in said, said
    assert not ready.exists()
    lines = [line for line in said.splitlines() if all(word in line for word in words)]
    assert len(lines) == 1, said
    return lines[0]


def test_a_second_broker_on_the_data_folder(broker):
    broker.start()
    second = Broker(broker.folder)
    second.folder = broker.folder / "second"
    second.folder.mkdir()
    refused(second, str(broker.data))
    assert broker.alive()
    broker.restart()  # the first is none the worse


def test_a_lock_left_by_a_killed_broker_is_no_lock(broker):
    broker.start()
    broker.kill9()
    broker.start()


def state_folder(broker: Broker):
    """Where the broker keeps its LMDB."""
    (found,) = {path.parent for path in broker.data.rglob("state/data.mdb")}
    return found


def set_format(broker: Broker, number: int) -> None:
    """Have a stopped broker's store say that it is of that format."""
    with lmdb.open(str(state_folder(broker)), max_dbs=8) as store:
        table = store.open_db(b"meta")
        with store.begin(write=True, db=table) as transaction:
            transaction.put(FORMAT_KEY, b"%d" % number)


def test_a_store_of_a_newer_version(broker):
    broker.start()
    declare(broker.port, "q")
    publish(broker.port, "q", [b"kept"])
    broker.stop()
    set_format(broker, FORMAT + 1)
    refused(broker, str(state_folder(broker)), "newer")
    delete_state(broker)  # what the line advises
    broker.start()
    assert contents(broker.port, "q") == [b"kept"]


def test_a_log_with_a_record_of_a_newer_version_is_refused_by_all_commands(broker, tmp_path):
    broker.options += SMALL
    broker.start()
    lay_in(broker, 100)
    broker.stop()
    found = records(broker.data)
    offset = found[-1].offset + found[-1].size
    found[-1].write(found[-1].size, NEWER["topic"](placed(found[50].read(), offset)))
    before = {path: path.read_bytes() for path in (broker.data / "commitlog").iterdir()}
    said = [refused(broker, f"log offset {offset}")]
    settings = [word for setting in SMALL for word in ("--set", setting)]
    for command in (["backup", tmp_path / "copy"], ["dump", tmp_path / "all.jsonl"], ["repair", "--yes"], ["verify"]):
        done = run("--data-dir", broker.data, *settings, *command)
        assert done.code == EX_CANTCREAT and done.stdout == "", done
        said.append(done.stderr.rstrip())
        assert not any(path.exists() for path in command if isinstance(path, Path))
    assert set(said) == {
        f"mqgateway: the record at log offset {offset} is of a kind that this version does not know: "
        f"start the version that wrote it"
    }
    assert {path: path.read_bytes() for path in before} == before


def test_a_store_of_an_older_version_is_rebuilt_from_the_log(broker):
    broker.start()
    declare(broker.port, "q")
    publish(broker.port, "q", [b"kept"])
    broker.stop()
    set_format(broker, FORMAT - 1)
    broker.start()
    assert f"written by an older version (format {FORMAT - 1}" in broker.log
    assert contents(broker.port, "q") == [b"kept"]


def test_a_damaged_store_is_rebuilt_from_the_log(broker):
    broker.start()
    declare(broker.port, "q")
    publish(broker.port, "q", [b"kept"])
    broker.stop()
    (state_folder(broker) / "data.mdb").write_bytes(b"noise" * 10_000)
    broker.start()
    assert contents(broker.port, "q") == [b"kept"]


@pytest.mark.parametrize("listener", ["amqp", "http", "metrics"])
def test_a_port_in_use(broker, listener):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        broker.options.append(f"listeners.{listener}=127.0.0.1:{port}")
        refused(broker, str(port))


def test_a_data_folder_that_is_a_file(broker):
    broker.data.write_text("not a folder")
    refused(broker, str(broker.data))


@pytest.mark.parametrize(
    "setting, words",
    [
        ("log.segment_byte=1", ["log.segment_byte", "log.segment_bytes"]),
        ("limits.memory_bytes=plenty", ["limits.memory_bytes", "plenty"]),
        ("log.flush=sometimes", ["log.flush", "sometimes", "async"]),
        ("listeners.amqp=nowhere", ["listeners.amqp", "nowhere"]),
        ("no.such.key=1", ["no.such.key"]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_setting_that_cannot_be_is_named(broker, setting, words):
    broker.options.append(setting)
    refused(broker, *words)


@pytest.mark.parametrize("content", ["{", json.dumps({"users": [{"name": 5}]}), json.dumps([])])
def test_a_definitions_file_that_cannot_be_read_is_named(broker, content):
    file = broker.folder / "definitions.json"
    file.write_text(content)
    broker.options.append(f"definitions.file={file}")
    refused(broker, "definitions")


def test_an_unknown_option_is_a_usage_error(broker):
    ready = broker.folder / "ready"
    command = [*broker.command(ready), "--no-such-option"]
    assert os.spawnv(os.P_WAIT, command[0], command) == 2


def test_a_stop_while_starting_is_a_stop(broker):
    broker.spawn()
    os.kill(broker.process.pid, signal.SIGTERM)
    assert broker.process.wait(20) in (0, -signal.SIGTERM)  # before or after its handler was there
    broker.start()
