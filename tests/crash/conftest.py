"""Fixtures of the crash tests: a broker whose life is the test's own."""

import os
from pathlib import Path

import pytest

from tests.clients.broker import Broker

FOLDER = Path(__file__).parent
TEST_SECONDS = 120


def pytest_collection_modifyitems(config, items):
    """Bound every test; a foreign broker cannot be killed here."""
    for item in items:
        if FOLDER not in item.path.parents:  # a run of more asks here for all of its items
            continue
        if config.pluginmanager.hasplugin("timeout") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
        if os.environ.get("CORDUROY_TEST_AMQP"):
            item.add_marker(pytest.mark.skip(reason="only for this project's own broker"))


@pytest.fixture
def broker(tmp_path):
    """A broker that the test starts, kills and starts again."""
    broker = Broker(tmp_path)
    yield broker
    if broker.alive():
        broker.stop()
