"""How long the broker's event loop stood still, as it says itself."""

from __future__ import annotations

import re
import urllib.request

from tests.bench.broker import Broker

PROBE = ("--set", "metrics.loop_probe_ms=1")
LAG = re.compile(r'^mq_loop_lag_seconds_bucket\{le="([\d.]+|\+Inf)"\} (\S+)$', re.MULTILINE)


def scraped(broker: Broker) -> str:
    """The broker's metrics."""
    with urllib.request.urlopen(f"http://{broker.metrics}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def stall_ms(before: str, after: str) -> float:
    """What the latest look of the loop at itself was late by, at most, in milliseconds."""
    bounds = dict(LAG.findall(before))
    last, most = 0.0, 0.0
    for bound, count in LAG.findall(after):
        more = float(count) - float(bounds[bound])
        if more > last:
            last, most = more, float(bound)
    return round(most * 1000, 1)
