"""Health: live = the loop turns, startup = recovery is through, ready = no alarm blocks publishers."""

from __future__ import annotations

from aiohttp import web


def health_routes(broker) -> list[web.RouteDef]:
    """GET /healthz/live, /healthz/startup and /healthz/ready; /healthz is the last. 200, or 503 with the reason."""

    def answer(problem: str) -> web.Response:
        if problem:
            return web.json_response({"status": "failed", "reason": problem}, status=503)
        return web.json_response({"status": "ok"})

    async def live(request: web.Request) -> web.Response:
        return answer("")

    async def startup(request: web.Request) -> web.Response:
        return answer("" if broker.started else "recovering")

    async def ready(request: web.Request) -> web.Response:
        if not broker.started:
            return answer("recovering")
        return answer(f"publishers are blocked: {broker.flow.reason}" if broker.flow.blocked else "")

    return [
        web.get("/healthz/live", live),
        web.get("/healthz/startup", startup),
        web.get("/healthz/ready", ready),
        web.get("/healthz", ready),
    ]
