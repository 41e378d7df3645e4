"""Fixtures of the client tests: a broker, ours or (CORDUROY_TEST_AMQP) one that runs already, and connections to it."""

import os
import uuid
from pathlib import Path

import pika
import pytest

from tests.clients.broker import Broker, External, parameters
from tests.clients.raw import RawConnection

EXTERNAL = os.environ.get("CORDUROY_TEST_AMQP")
FOLDER = Path(__file__).parent
TEST_SECONDS = 60


def pytest_configure(config):
    """Name our marker."""
    config.addinivalue_line("markers", "ours: needs control of the process, or is this broker's own extension")


def pytest_collection_modifyitems(config, items):
    """Bound every test here; skip what a foreign broker cannot show."""
    for item in items:
        if FOLDER not in item.path.parents:  # a run of more asks here for all of its items
            continue
        if config.pluginmanager.hasplugin("timeout") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
        if EXTERNAL and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason="only for this project's own broker"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """The broker that tests share: use names of your own."""
    if EXTERNAL:
        yield External(EXTERNAL, os.environ.get("CORDUROY_TEST_HTTP"))
        return
    ours = Broker(tmp_path_factory.mktemp("broker")).start()
    try:
        yield ours
    finally:
        if ours.alive():
            ours.stop()


@pytest.fixture
def start_broker(tmp_path):
    """start_broker(*settings, definitions=…) starts another broker, for this test only."""
    started = []

    def start(*options, definitions=None):
        folder = tmp_path / f"broker{len(started)}"
        folder.mkdir()
        started.append(Broker(folder, *options, definitions=definitions))
        return started[-1].start()

    yield start
    for each in started:
        if each.alive():
            each.stop()


@pytest.fixture
def name():
    """A name nobody else uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def connect(broker):
    """connect(**pika parameters) opens a blocking connection that is closed after the test."""
    opened = []

    def open_connection(**changes):
        opened.append(pika.BlockingConnection(parameters(broker, **changes)))
        return opened[-1]

    yield open_connection
    for each in opened:
        if each.is_open:
            each.close()


@pytest.fixture
def connection(connect):
    """A blocking pika connection as guest."""
    return connect()


@pytest.fixture
def channel(connection):
    """A channel of that connection."""
    return connection.channel()


@pytest.fixture
def raw(broker):
    """raw() gives a bare socket to the broker, closed after the test; raw().open() logs in."""
    opened = []

    def open_socket():
        opened.append(RawConnection(broker.port))
        return opened[-1]

    yield open_socket
    for each in opened:
        each.close()


@pytest.fixture
def open_channel():
    opened = []

    def connect(broker):
        """A channel of a new connection."""
        opened.append(pika.BlockingConnection(parameters(broker)))
        return opened[-1].channel()

    yield connect
    for each in opened:
        if each.is_open:
            each.close()
