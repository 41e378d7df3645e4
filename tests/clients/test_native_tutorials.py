"""Apache RocketMQ's own clients do what its tutorials do: programs under foreign/, asserts inside. The Go client, the
Java clients of 4.9 and of 5.x (the same classes; 5.x's jars are where the benchmarks look for them), the C++ client and
one for Node."""

import asyncio
import os
import subprocess

import pytest

from corduroy.client import PushConsumer
from corduroy.client.admin import Admin
from tests.clients.foreign.builds import program
from tests.namesrv.test_peers import JARS

RUN_SECONDS = 200
SCENARIOS = {"broadcast", "delay", "ordered", "retry", "sync-async-oneway", "tags", "transaction"}
JAVA = {"litepull", "namespace", "trace"}
pytestmark = [pytest.mark.ours, pytest.mark.timeout(700)]  # the first time packages are fetched and compiled


def java_5(folder):
    """The program compiled for 4.9, with the jars of 5.x."""
    if not JARS:
        pytest.skip("no jars of RocketMQ 5.x")
    (*line, _, main), built = program("native_java")
    return [*line, f"{built}:{JARS[-1]}/*", main], folder


CLIENTS = {
    "go": (lambda _: program("native_go"), SCENARIOS),
    "java4": (lambda _: program("native_java"), SCENARIOS | JAVA),
    "java5": (java_5, SCENARIOS | JAVA),
    "node": (lambda _: program("native_node"), {"broadcast", "retry", "send", "tags"}),
    "cpp": (lambda _: program("native_cpp"), {"delay", "ordered", "pull", "retry", "tags", "ways_to_send"}),
}


async def prepare(servers):
    """Topics for the client that does not make any, and the retry topics of the groups that will need them: these
    clients look for a new one every 30 s only."""
    async with Admin(servers) as admin:
        for scenario in ("broadcast", "send", "tags"):
            await admin.create_topic(f"node-{scenario}")
        for client in CLIENTS:
            await admin.create_topic(f"{client}-retry")
            first = PushConsumer(f"{client}-retry-consumers", list.clear, servers)
            first.subscribe(f"{client}-retry")
            async with first:
                pass


def start(client, servers, tmp_path):
    """The running program; its logs, and the offsets of who broadcasts, go to tmp_path."""
    line, folder = CLIENTS[client][0](tmp_path)
    if line[0] == "java":
        line = [line[0], f"-Duser.home={tmp_path}", *line[1:]]
    environment = os.environ | {"HOME": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*line, servers, client], cwd=folder, env=environment, text=True, **pipes)


def test_every_scenario_of_each_program_passes(start_broker, tmp_path):
    broker = start_broker("rocketmq.transactionTimeOut=1000", "rocketmq.transactionCheckInterval=1000")
    servers = broker.addresses["namesrv"]
    asyncio.run(prepare(servers))
    running, missing = {}, []
    try:
        for client in CLIENTS:  # all at once: they wait most of the time
            try:
                running[client] = start(client, servers, tmp_path)
            except pytest.skip.Exception as reason:
                missing.append(f"{client}: {reason}")
        for client, process in running.items():
            said, errors = process.communicate(timeout=RUN_SECONDS)
            assert sorted(said.splitlines()) == [f"ok {each}" for each in sorted(CLIENTS[client][1])], client + errors
    finally:
        for process in running.values():
            process.kill()
    if missing:
        pytest.skip(", ".join(missing))
