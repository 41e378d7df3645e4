"""Fixtures of the client's tests: a broker that speaks RocketMQ's remoting protocol, and clients of it.

CORDUROY_TEST_NAMESRV=HOST:PORT      one that runs already; it must have enablePropertyFilter and recallMessageEnable on
CORDUROY_TEST_ROCKETMQ=apache,ours   what to start instead (default: both): Apache RocketMQ, where java and its jars are
                                     (tests/client/apache.py), and this project's own broker
"""

import asyncio
import os
import uuid
from types import SimpleNamespace

import msgspec
import pytest

from core.config import RocketmqConfig
from tests.client import apache
from tests.clients.broker import Broker

EXTERNAL = os.environ.get("CORDUROY_TEST_NAMESRV")
STARTED = os.environ.get("CORDUROY_TEST_ROCKETMQ", "apache,ours").split(",")
BROKERS = ["external"] if EXTERNAL else STARTED
KNOWN = {field.encode_name for field in msgspec.structs.fields(RocketmqConfig)}
NAMED = ["brokerName", *apache.QUICK]
OURS = [f"rocketmq.{key}={apache.BROKER[key]}" for key in NAMED if key in KNOWN]  # what is not served yet is slow


@pytest.fixture(scope="package")
def apache_rocketmq(tmp_path_factory):
    if because := apache.missing():
        pytest.skip(f"needs Apache RocketMQ: {because}")
    started = apache.Apache(tmp_path_factory.mktemp("rocketmq"))
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture(scope="package")
def ours_rocketmq(tmp_path_factory):
    started = Broker(tmp_path_factory.mktemp("ours"), *OURS).start()
    try:
        yield SimpleNamespace(kind="ours", name_server=started.addresses["namesrv"])
    finally:
        started.stop()


def shared(request, kind):
    """The broker of that kind which tests share: use names of your own. `name_server` is its address."""
    if kind == "external":
        return SimpleNamespace(kind="external", name_server=EXTERNAL)
    return request.getfixturevalue(f"{kind}_rocketmq")


@pytest.fixture(scope="package", params=BROKERS)
def broker(request):
    """Each in turn."""
    return shared(request, request.param)


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
