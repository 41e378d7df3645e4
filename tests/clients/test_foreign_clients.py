"""Clients in Go, JavaScript and Java: one program each under foreign/, all with the same scenarios, asserts inside."""

import subprocess

import pytest

from tests.clients.foreign.builds import program

RUN_SECONDS = 150
pytestmark = pytest.mark.timeout(700)  # the first time packages are fetched and compiled


def url(broker) -> str:
    """The broker's address as these clients write it."""
    return f"amqp://guest:guest@127.0.0.1:{broker.port}"


@pytest.fixture(params=["go", "node", "java"])
def command(request):
    """The built program's command line and folder."""
    return program(request.param)


def test_every_scenario_of_the_program_passes(command, broker):
    line, folder = command
    done = subprocess.run(
        [*line, url(broker)], cwd=folder, text=True, capture_output=True, timeout=RUN_SECONDS, check=False
    )
    said = done.stdout.splitlines()
    assert [each for each in said if not each.startswith("ok ")] == [], done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    assert len(said) == 14


@pytest.mark.ours
@pytest.mark.parametrize("stop", ["stop", "kill9"])
def test_the_program_survives_a_restart_of_the_broker(command, start_broker, stop):
    line, folder = command
    broker = start_broker()
    broker.options.append(f"listeners.amqp=127.0.0.1:{broker.port}")  # clients come back to where they were
    with subprocess.Popen(
        [*line, url(broker), "recover"], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as client:
        try:
            assert client.stdout.readline() == "connected\n", client.stdout.read()
            getattr(broker, stop)()
            broker.start()
            rest, _ = client.communicate(timeout=RUN_SECONDS)
            assert rest.endswith("recovered\n"), rest
            assert client.returncode == 0
        finally:
            client.kill()
