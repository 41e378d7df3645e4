"""`mqgateway dump` and `restore`: what comes out of a restored directory, what is refused, and kills in between."""

import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pika
import pytest

from tests.clients.broker import LISTENERS, Broker, parameters, until
from tests.crash import commands
from tests.crash.load import Producer, contents, declare, identity
from tests.crash.segments import records
from tests.crash.test_backup import backup
from tests.crash.test_verify import EX_CANTCREAT, EX_DATAERR, EX_NOINPUT, MESSAGES, SMALL, lay_in, verify

EX_IOERR = 74


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path, *SMALL, "log.checkpoint_seconds=1")
    yield broker
    if broker.alive():
        broker.stop()


@pytest.fixture
def other(tmp_path):
    """A broker on what is restored: its data is not there yet."""
    (tmp_path / "other").mkdir()
    broker = Broker(tmp_path / "other", *SMALL)
    yield broker
    if broker.alive():
        broker.stop()


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    """A dump of what lay_in() leaves."""
    broker = Broker(tmp_path_factory.mktemp("dumped"), *SMALL).start()
    lay_in(broker)
    broker.stop()
    assert run("dump", broker.data, broker.folder / "all.jsonl")[0] == 0
    return broker.folder / "all.jsonl"


def command(name, data, file, *options):
    executable = str(Path(sys.executable).with_name("mqgateway"))
    settings = [word for setting in SMALL for word in ("--set", setting)]
    return [executable, name, "--data-dir", str(data), *settings, *options, str(file)]


def run(name, data, file, *options):
    """Exit code, and what was printed."""
    done = commands.run(*command(name, data, file, *options)[1:])
    return done.code, done.text


def taken(data):
    """Bytes of the disk that the segments take; -1 before there is a folder for them."""
    sizes = [path.stat().st_blocks * 512 for path in data.glob("commitlog/*")]
    return sum(sizes) if (data / "commitlog").exists() else -1


def lines(file):
    """The lines behind the head, which tells the time."""
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rb") as stream:
        return stream.read().splitlines()[1:]


def test_what_was_dumped_is_served_by_a_broker_on_the_restored_directory(broker, other, tmp_path):
    broker.start()
    lay_in(broker)
    broker.stop()
    file = tmp_path / "all.jsonl"
    code, text = run("dump", broker.data, file)
    assert code == 0 and text.startswith(f"{file}: ") and f"{MESSAGES - 1} messages" in text  # one is in two queues
    before = {path: path.read_bytes() for path in (broker.data / "commitlog").iterdir()}
    code, text = run("restore", other.data, file)
    assert code == 0 and "2 queues" in text
    assert {path: path.read_bytes() for path in before} == before, "the dumped directory is as it was"
    assert verify(other.data)[1]["messages"] == MESSAGES and verify(other.data)[0] == 0
    assert run("dump", other.data, tmp_path / "again.jsonl")[0] == 0
    assert lines(tmp_path / "again.jsonl") == lines(file)
    broker.start()
    other.start()
    for name in ("one", "two"):
        assert contents(other.port, name) == contents(broker.port, name)
    with pika.BlockingConnection(parameters(other)) as connection:
        channel = connection.channel()
        channel.exchange_declare("logs", "topic", durable=True, passive=True)
        channel.queue_declare("two", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("logs", "any", b"routed as before", mandatory=True)


def test_of_a_backup_of_a_busy_broker_and_compressed(broker, other, tmp_path):
    broker.start()
    declare(broker.port, "q0")
    producer = Producer(0, "", "q0", 1, 1)
    producer.attach(broker.port)
    until(lambda: producer.confirmed > 800, 30, "confirms")
    confirmed = producer.confirmed
    code, text = run("dump", broker.data, tmp_path / "all.gz")
    assert code == EX_NOINPUT and "a broker is running on" in text and text.count("\n") == 1
    assert backup(broker.data, tmp_path / "copy")[0] == 0
    broker.kill9()
    producer.join(30)
    assert run("dump", tmp_path / "copy", tmp_path / "all.gz")[0] == 0
    assert run("restore", other.data, tmp_path / "all.gz")[0] == 0
    other.start()
    found = [identity(each)[1] for each in contents(other.port, "q0")]
    assert found == list(range(1, len(found) + 1)) and len(found) >= confirmed


def test_nothing_is_overwritten(broker, tmp_path):
    broker.start()
    lay_in(broker, 100)
    broker.stop()
    file = tmp_path / "all.jsonl"
    assert run("dump", broker.data, file)[0] == 0
    code, text = run("dump", broker.data, file)
    assert code == EX_NOINPUT and f"{file} is there already" in text
    before = {path: path.read_bytes() for path in (broker.data / "commitlog").iterdir()}
    code, text = run("restore", broker.data, file)
    assert code == EX_CANTCREAT and "restore into a new directory" in text and text.count("\n") == 1
    assert {path: path.read_bytes() for path in before} == before
    assert verify(broker.data)[0] == 0


def test_what_cannot_be_dumped_or_restored_is_said_in_one_line_and_leaves_nothing(broker, other, tmp_path):
    broker.start()
    lay_in(broker, 100)
    broker.stop()
    file = tmp_path / "all.gz"
    record = records(broker.data)[50]
    old = record.read()
    record.damage(60)
    code, text = run("dump", broker.data, file)
    assert code == EX_DATAERR and f"damaged at offset {record.offset}" in text and "mqgateway repair" in text
    assert run("dump", tmp_path, file)[0] == EX_NOINPUT
    record.write(0, old)
    code, text = run("dump", broker.data, "/dev/full")
    assert code == EX_NOINPUT
    assert list(tmp_path.glob("all.gz*")) == []
    assert run("dump", broker.data, file)[0] == 0
    whole = file.read_bytes()
    newer = gzip.compress(b'{"line":"dump","version":2}\n')
    for bad in (whole[:-100], whole[:200] + b"\xff" + whole[201:], newer, b"", b"x"):
        file.write_bytes(bad)
        code, text = run("restore", other.data, file)
        assert code == EX_DATAERR and "cannot be restored: it" in text and text.count("\n") == 1, text
        assert {path.name for path in other.data.iterdir()} <= {"lock"}
    assert run("restore", other.data, tmp_path / "nothing")[0] == EX_NOINPUT
    file.write_bytes(whole)
    assert run("restore", other.data, file)[0] == 0


@pytest.mark.parametrize("ending", ["stop", "kill9"])
def test_what_the_state_reflects_and_the_log_has_lost_is_refused_by_all(broker, tmp_path, ending):
    broker.start()
    lay_in(broker, 100)

    def reflected():
        report = verify(broker.data)[1]
        return report["stamp"] == report["log"]["tail"]

    until(reflected, 30, "a checkpoint of all of it")
    getattr(broker, ending)()
    last = records(broker.data)[-1]
    last.damage(60)
    broker.spawn()
    said = broker.wait_refused()
    assert f"damaged at offset {last.offset}" in said and "mqgateway repair" in said and "Traceback" not in said
    for name, to in (("backup", tmp_path / "copy"), ("dump", tmp_path / "all.jsonl")):
        code, text = run(name, broker.data, to)
        assert code == EX_DATAERR and f"damaged at offset {last.offset}" in text and "mqgateway repair" in text
        assert text.count("\n") == 1 and not to.exists()
    assert verify(broker.data)[0] == EX_DATAERR
    code, text = run("repair", broker.data, "--yes")
    assert code == 0 and verify(broker.data)[0] == 0, text
    broker.start()


def test_no_room_for_a_dump_or_a_restored_log(broker, other, tmp_path):
    broker.start()
    lay_in(broker)
    broker.stop()
    small = ("bash", "-c", 'ulimit -f 600; exec "$@"', "bash")  # KiB a file may have: as a disk that is full
    file = tmp_path / "all.jsonl"
    done = subprocess.run([*small, *command("dump", broker.data, file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == EX_IOERR and f"{file} cannot be written" in done.stderr
    assert list(tmp_path.glob("all.jsonl*")) == []
    assert run("dump", broker.data, file)[0] == 0
    done = subprocess.run([*small, *command("restore", other.data, file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == EX_IOERR and done.stderr.count("\n") == 1
    assert {path.name for path in other.data.iterdir()} <= {"lock"}


@pytest.mark.parametrize("seed", range(6))
def test_a_restore_that_was_killed_is_told_and_can_only_be_done_again(dumped, other, tmp_path, seed):
    process = subprocess.Popen(command("restore", other.data, dumped), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    written = random.Random(seed).randrange(2 << 20)
    until(lambda: taken(other.data) >= written or process.poll() is not None, 30, "so much of the log")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    if (other.data / "restoring").exists():
        listeners = [word for name in LISTENERS for word in ("--set", f"listeners.{name}=127.0.0.1:0")]
        broker_line = [*command("run", other.data, "")[:-1], *listeners]
        for line in (command("dump", other.data, tmp_path / "no"), broker_line):
            done = subprocess.run(line, capture_output=True, text=True, timeout=60)
            assert done.returncode == EX_CANTCREAT
            assert "mqgateway restore was interrupted here, run it again" in done.stderr
        code, text = verify(other.data)
        assert code == EX_CANTCREAT and "run it again" in text
        assert run("restore", other.data, dumped)[0] == 0
    assert verify(other.data)[1]["messages"] == MESSAGES
    assert run("dump", other.data, tmp_path / "again.jsonl")[0] == 0
    assert lines(tmp_path / "again.jsonl") == lines(dumped)


def test_wherever_a_dump_is_killed_it_is_done_again_and_is_the_same(broker, tmp_path):
    broker.start()
    lay_in(broker)
    broker.stop()
    file, again = tmp_path / "all.jsonl", tmp_path / "again.jsonl"
    assert run("dump", broker.data, file)[0] == 0
    died = 0
    while commands.dies(died, *command("dump", broker.data, again)[1:]):
        died += 1
        assert again.exists() or run("dump", broker.data, again)[0] == 0
        assert lines(again) == lines(file)
        assert not again.with_name("again.jsonl.partial").exists()
        again.unlink()
    assert died > 4


def test_wherever_a_restore_is_killed_it_is_done_again_and_ends_the_same(dumped, other, tmp_path):
    again = tmp_path / "again.jsonl"
    died = marked = 0
    while commands.dies(died, *command("restore", other.data, dumped)[1:]):
        died += 1
        if (other.data / "restoring").exists():
            marked += 1
            code, text = verify(other.data)
            assert code == EX_CANTCREAT and "mqgateway restore was interrupted here, run it again" in text
        if (other.data / "restoring").exists() or not (other.data / "commitlog").exists():
            assert run("restore", other.data, dumped)[0] == 0
        assert verify(other.data)[0] == 0 and run("dump", other.data, again)[0] == 0
        assert lines(again) == lines(dumped)
        again.unlink()
        shutil.rmtree(other.data)
    assert marked > 5 and died > marked


def test_interrupted_by_ctrl_c_nothing_is_left(broker, other, tmp_path):
    broker.start()
    lay_in(broker)
    broker.stop()
    file = tmp_path / "all.jsonl"
    process = subprocess.Popen(command("dump", broker.data, file), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: list(tmp_path.glob("all*")) or process.poll() is not None, 30, "its beginning")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert list(tmp_path.glob("*.partial")) == []
    if not file.exists():
        assert run("dump", broker.data, file)[0] == 0
    process = subprocess.Popen(command("restore", other.data, file), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: (other.data / "restoring").exists() or process.poll() is not None, 30, "its beginning")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert not (other.data / "restoring").exists()
    if process.returncode:
        assert {path.name for path in other.data.iterdir()} <= {"lock"}
        assert run("restore", other.data, file)[0] == 0
    assert verify(other.data)[1]["messages"] == MESSAGES


def test_the_lines_are_as_described(broker, tmp_path):
    broker.start()
    lay_in(broker, 100)
    broker.stop()
    file = tmp_path / "all.jsonl"
    assert run("dump", broker.data, file)[0] == 0
    text = (Path(__file__).parents[2] / "docs" / "dump.md").read_text()
    for line in file.read_text().splitlines():
        fields = json.loads(line)
        assert f"`{fields['line']}`" in text
        assert all(f"`{name}`" in text for name in fields), fields.keys()
