"""A world and a client with one open channel."""

import pytest

from tests.protocols.amqp.world import Client, World


@pytest.fixture
def world():
    return World()


@pytest.fixture
def client(world):
    return Client(world).open()
