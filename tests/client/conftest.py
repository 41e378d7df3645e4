"""Fixtures of the client's tests: a broker that speaks RocketMQ's remoting protocol, and clients of it.

CORDUROY_TEST_NAMESRV=HOST:PORT  one that runs already; it must have enablePropertyFilter and recallMessageEnable on
else                             Apache RocketMQ, if there are java and its jars (tests/client/apache.py)
"""

import asyncio
import os
import uuid
from types import SimpleNamespace

import pytest

from tests.client import apache

EXTERNAL = os.environ.get("CORDUROY_TEST_NAMESRV")


@pytest.fixture(scope="session")
def apache_rocketmq(tmp_path_factory):
    if because := apache.missing():
        pytest.skip(f"needs Apache RocketMQ: {because}")
    started = apache.Apache(tmp_path_factory.mktemp("rocketmq"))
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture(scope="session", params=["external"] if EXTERNAL else ["apache"])
def broker(request):
    """The broker that tests share: use names of your own. `name_server` is its address, `kind` what it is."""
    if request.param == "external":
        return SimpleNamespace(kind="external", name_server=EXTERNAL)
    return request.getfixturevalue(f"{request.param}_rocketmq")


@pytest.fixture
def name():
    """A name nobody else uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def run():
    """run(coroutine) runs it in a loop of its own, for 60 seconds at most."""

    def run_(coroutine):
        async def bounded():
            async with asyncio.timeout(60):
                return await coroutine

        return asyncio.run(bounded())

    return run_
