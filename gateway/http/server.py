"""aiohttp on the broker's own sockets. Imported only if an HTTP listener is on: that costs a quarter second."""

from __future__ import annotations

import socket

from aiohttp import web

from gateway.http.health import health_routes
from gateway.metrics import CONTENT_TYPE, exposition
from gateway.native_metrics import NativeCollector

SHUTDOWN_SECONDS = 2.0


def http_application(broker) -> web.Application:
    """What the `http` listener serves: /healthz/{live,ready,startup}."""
    application = web.Application()
    application.add_routes(health_routes(broker))
    return application


def metrics_application(broker, remoting) -> web.Application:
    """What the `metrics` listener serves: /metrics, and with what there is of each native topic and group
    /metrics/per-object. remoting: what native connections share."""

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=exposition(broker), headers={"Content-Type": CONTENT_TYPE})

    async def per_object(request: web.Request) -> web.Response:
        body = exposition(broker, NativeCollector(remoting))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/metrics/per-object", per_object)
    return application


def applications(broker, remoting) -> dict[str, web.Application]:
    """Of each listener."""
    return {"http": http_application(broker), "metrics": metrics_application(broker, remoting)}


async def serve(application: web.Application, listening: socket.socket) -> web.AppRunner:
    """Accept on a socket that listens already; cleanup() of what is returned ends it."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    return runner
