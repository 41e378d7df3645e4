"""What health answers before the broker serves, and while it refuses messages."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from gateway.http.health import health_routes


def ask(path, started=True, blocked=False):
    flow = SimpleNamespace(blocked=blocked, reason="low on memory")
    routes = {route.path: route.handler for route in health_routes(SimpleNamespace(started=started, flow=flow))}
    response = asyncio.run(routes[path](None))
    return response.status, json.loads(response.text)


@pytest.mark.parametrize("path", ["/healthz", "/healthz/ready", "/healthz/startup"])
def test_a_broker_that_recovers_is_alive_and_not_ready(path):
    assert ask(path, started=False) == (503, {"status": "failed", "reason": "recovering"})
    assert ask("/healthz/live", started=False)[0] == 200
    assert ask(path)[0] == 200


def test_an_alarm_makes_it_unready_and_nothing_else():
    assert ask("/healthz/ready", blocked=True) == (
        503, {"status": "failed", "reason": "publishers are blocked: low on memory"}
    )  # fmt: skip
    assert ask("/healthz/startup", blocked=True)[0] == ask("/healthz/live", blocked=True)[0] == 200
