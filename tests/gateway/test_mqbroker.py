"""The command mqbroker: options, files and the first line as RocketMQ's broker has them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.broker import until

MQBROKER = [sys.executable, "-c", "from gateway.mqbroker import main; main()"]
ROOT = Path(__file__).parents[2]


def run(*words, **environment):
    environment = {**os.environ, **environment}
    return subprocess.run([*MQBROKER, *words], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)


@pytest.fixture
def conf(tmp_path):
    """A broker.conf for this machine."""
    path = tmp_path / "broker.conf"
    path.write_text(
        "brokerClusterName=Shop\nbrokerName = broker-a\nbindAddress=127.0.0.1\nlistenPort=0\n"
        f"storePathRootDir={tmp_path}/store\nmapedFileSizeCommitLog=4194304\nbrokerRole=ASYNC_MASTER\n"
    )
    return path


def test_it_says_what_rocketmqs_broker_says_and_stops_when_told(conf, tmp_path):
    with open(tmp_path / "err", "wb") as errors:
        line = [*MQBROKER, "-c", str(conf), "-n", "127.0.0.1:9", "limits.disk_free_bytes=0"]
        broker = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)
    try:
        first = broker.stdout.readline().decode()
        expected = r"The broker\[broker-a, 127\.0\.0\.1:\d+\] boot success\. serializeType=JSON and name server is "
        assert re.fullmatch(expected + r"127\.0\.0\.1:9\n", first)
        told = (tmp_path / "err").read_text()
        assert "keys that have no effect here: brokerRole" in told
        listening = next(line for line in told.splitlines() if " listening " in line)
        assert re.findall(r" (\w+)=127", listening) == ["remoting"]  # nothing else is asked for
        assert sorted(path.name for path in (tmp_path / "store" / "commitlog").iterdir())
    finally:
        broker.send_signal(signal.SIGTERM)
        code = broker.wait(30)
        rest = broker.stdout.read()
        broker.stdout.close()
    assert code == 0 and rest == b""
    until(lambda: not (tmp_path / "store" / "abort").exists(), what="a clean stop")


def test_its_configuration_is_printed_by_rocketmqs_keys(conf):
    printed = run("-c", str(conf), "-p", "fileReservedTime=48", NAMESRV_ADDR="10.0.0.1:9876")
    assert printed.returncode == 0, printed.stderr
    lines = printed.stdout.splitlines()
    wanted = {"brokerName=broker-a", "brokerClusterName=Shop", "fileReservedTime=48", "flushDiskType=SYNC_FLUSH"}
    assert wanted | {"mappedFileSizeCommitLog=4194304", "namesrvAddr=10.0.0.1:9876", "listenPort=0"} <= set(lines)
    important = run("-c", str(conf), "-m", "-n", "10.0.0.2:9876").stdout.splitlines()
    assert "namesrvAddr=10.0.0.2:9876" in important and set(important) < {*lines, "namesrvAddr=10.0.0.2:9876"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-h"], 0, ""),
        (["--bogus"], 1, "Unrecognized option: --bogus\n"),
        (["-c", "/nowhere/broker.conf"], 78, "/nowhere/broker.conf: cannot be read: No such file or directory"),
        (["listenPort=x"], 78, "command line: listenPort: 'x' is not allowed; allowed: 0..65535"),
        (["word"], 78, "word: has no value; write KEY=VALUE"),
        (["flushDiskType=NO"], 78, "allowed: SYNC_FLUSH or ASYNC_FLUSH"),
    ],
)
def test_what_it_does_not_understand_is_one_line_and_an_exit_code(words, code, said):
    done = run(*words)
    assert done.returncode == code and said in done.stderr and done.stderr.count("\n") <= 1
    assert ("usage: mqbroker [-c <arg>] [-h] [-m] [-n <arg>] [-p]" in done.stdout) == (code < 2)


def test_the_example_says_the_defaults_and_is_taken(tmp_path):
    example = ROOT / "conf" / "broker.conf"
    text = "\n".join(re.sub(r"^# (\w+=\S*)( .*)?$", r"\1", line) for line in example.read_text().splitlines())
    every = tmp_path / "broker.conf"
    every.write_text("\n".join(line for line in text.splitlines() if not line.startswith(("namesrvAddr", "brokerIP1"))))
    assert run("-c", str(every), "-p").stdout == run("-c", str(example), "-p").stdout == run("-p").stdout
