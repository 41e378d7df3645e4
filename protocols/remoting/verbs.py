"""The table of verbs: request code -> what carries it out, gathered from the module of each family.

A verb is called with (connection, frame) and answers with connection.respond(), at once or later; or it raises
Refused, FieldError, BodyError or a BrokerError, which are answered for it. Frame and connection stay what they are:
who answers later takes frame.opaque and the values it needs along, as the frame is only valid during the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocols.remoting import (
    assignment,
    configuring,
    consumption,
    groups,
    heartbeat,
    offsets,
    passing_on,
    pop,
    pop_acks,
    pop_questions,
    pull,
    queue_verbs,
    replying,
    resetting,
    send,
    sending_back,
    statistics,
    status,
    timers,
    topic_verbs,
    transactions,
    upkeep,
    viewing,
)

Verb = Callable[[Any, Any], None]

FAMILIES: tuple[Mapping[Any, Verb], ...] = (
    *(groups.VERBS, heartbeat.VERBS, offsets.VERBS, send.VERBS, pull.VERBS, sending_back.VERBS),
    replying.VERBS,
    *(topic_verbs.VERBS, queue_verbs.VERBS, viewing.VERBS, status.VERBS),
    *(statistics.VERBS, consumption.VERBS, resetting.VERBS, passing_on.VERBS, upkeep.VERBS),
    *(configuring.VERBS, transactions.VERBS, timers.VERBS),
    *(pop.VERBS, pop_acks.VERBS, pop_questions.VERBS, assignment.VERBS),
)


def table(families: tuple[Mapping[Any, Verb], ...] = FAMILIES) -> dict[int, Verb]:
    """All verbs by code; no two families may claim one."""
    found: dict[int, Verb] = {}
    for family in families:
        assert not found.keys() & family.keys(), found.keys() & family.keys()
        found.update({int(code): verb for code, verb in family.items()})
    return found
