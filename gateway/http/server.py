"""aiohttp on the broker's own sockets. Imported only if an HTTP listener is on: that costs a quarter second."""

from __future__ import annotations

import socket

from aiohttp import web

from gateway.http.health import health_routes
from gateway.metrics import CONTENT_TYPE, exposition

SHUTDOWN_SECONDS = 2.0


def http_application(broker) -> web.Application:
    """What the `http` listener serves: /healthz/{live,ready,startup}."""
    application = web.Application()
    application.add_routes(health_routes(broker))
    return application


def metrics_application(broker) -> web.Application:
    """What the `metrics` listener serves: /metrics."""

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=exposition(broker), headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    return application


async def serve(application: web.Application, listening: socket.socket) -> web.AppRunner:
    """Accept on a socket that listens already; cleanup() of what is returned ends it."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    return runner
